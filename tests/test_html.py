"""Pages: what is put into them is escaped, and what is missing is an error."""

import jinja2
import pytest

from stage import html


def test_text_is_escaped_and_missing_values_are_errors(tmp_path):
    html.write_page(tmp_path / "a.html", html.BASE, title="<b> & 夜")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!doctype html>") and "<h1>&lt;b&gt; &amp; 夜</h1>" in page
    with pytest.raises(jinja2.UndefinedError, match="title"):
        html.render(html.BASE)
