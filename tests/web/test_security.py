"""Who may ask, and how: hosts, tokens, requests of other pages."""

import pytest

from stage.errors import StageError
from stage.web.security import Guard
from stage.web.settings import Settings

TOKEN = "a-token-of-some-length"


async def nothing(*_):
    raise AssertionError("this was let through")


def ask(settings: Settings, method: str = "GET", path: str = "/api/models", **headers: str) -> tuple | None:
    """The refusal of a request; None where it is let through."""
    given = {"host": "127.0.0.1:8765"} | {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = [(name.encode(), value.encode()) for name, value in given.items() if value]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    return Guard(nothing, settings).refusal(scope)


@pytest.fixture
def local(tmp_path):
    return Settings(tmp_path)


@pytest.fixture
def public(tmp_path):
    return Settings(tmp_path, host="0.0.0.0", token=TOKEN, hosts=("music.example",))


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "LOCALHOST:80"])
def test_its_own_names_are_answered(local, host):
    assert ask(local, host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8765",
        "192.168.1.5",
        "",
        "localhost:8x",
        "[::1",
    ],
)
def test_another_name_that_leads_here_is_refused(local, host):
    assert ask(local, host=host)[:2] == (400, "host")


def test_beyond_localhost_there_is_a_token_or_no_server(tmp_path):
    for host in ("0.0.0.0", "192.168.1.5", "::", "music.example"):
        with pytest.raises(StageError, match="token"):
            Settings(tmp_path, host=host)
    with pytest.raises(StageError, match="12 or more"):
        Settings(tmp_path, host="0.0.0.0", token="short")


def test_a_token_opens_all_and_without_it_only_the_page_answers(public):
    for path in ("/api/models", "/metrics", "/api/files/x", "/api/openapi.json", "/api/healthy", "//static/x"):
        assert ask(public, path=path)[:2] == (401, "token")
        assert ask(public, path=path, authorization=f"Bearer {TOKEN}x")[0] == 401
        assert ask(public, path=path, authorization=f"Bearer {TOKEN}") is None
    for path in ("/", "/static/app.js", "/api/health"):
        assert ask(public, path=path) is None
    assert ask(public, authorization=f"Bearer {TOKEN}", host="music.example") is None
    assert ask(public, authorization=f"Bearer {TOKEN}", host="evil.example")[1] == "host"


JSON = {"content_type": "application/json", "x_stage": "1"}


@pytest.mark.parametrize(
    "headers, code",
    [
        (JSON, None),
        (JSON | {"content_type": "application/json; charset=utf-8"}, None),
        (JSON | {"x_stage": ""}, "header"),
        (JSON | {"content_type": "text/plain"}, "content_type"),
        (JSON | {"content_type": "application/x-www-form-urlencoded"}, "content_type"),
        (JSON | {"content_type": "multipart/form-data; boundary=x"}, "content_type"),
        (JSON | {"origin": "http://evil.example"}, "cross_site"),
        (JSON | {"origin": "null"}, "cross_site"),
        (JSON | {"origin": "http://127.0.0.1:9999"}, "cross_site"),
        (JSON | {"origin": "http://127.0.0.1:8765"}, None),
        (JSON | {"sec_fetch_site": "cross-site"}, "cross_site"),
        (JSON | {"content_length": "99999999"}, "too_large"),
        (JSON | {"content_length": "-1"}, "length"),
    ],
)
def test_what_changes_something_cannot_be_sent_by_another_page(local, headers, code):
    refusal = ask(local, "POST", "/api/sessions", **headers)
    assert (refusal and refusal[1]) == code
