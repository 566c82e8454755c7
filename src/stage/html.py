"""HTML pages that need no other file, from the templates in `stage/templates`; what is put into them is escaped."""

from __future__ import annotations

import functools
from os import PathLike
from typing import Any

from stage.files import write_text

BASE = "page.html.j2"
"""What other templates extend: `{% extends "page.html.j2" %}`, with the blocks `style` (more CSS) and `body`."""


def render(template: str, **values: Any) -> str:
    """A template of `stage/templates` with its values. A value that is missing is an error; text is escaped unless it
    is `markupsafe.Markup`."""
    return _environment().get_template(template).render(values)


def write_page(path: str | PathLike, template: str, **values: Any) -> None:
    """Write a page, whole or not at all. Raises StageError where it cannot be written."""
    write_text(path, render(template, **values))


@functools.cache
def _environment():
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("stage"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
