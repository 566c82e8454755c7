"""A server with the shipped model, and Chromium. Skipped where there is none, or no Playwright; `.ci/run` has both."""

import base64
import shutil
from pathlib import Path

import pytest

WIDTHS = {1280: 800, 390: 844}
"""Of the window, with its height."""


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of `stage web` on an empty folder."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    if _chromium() is None:
        pytest.skip("no Chromium was found")
    from helpers.servers import Running

    with Running(tmp_path_factory.mktemp("web") / "data", Path("player")) as running:
        yield running.address


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """Path of the browser."""
    return _chromium()


@pytest.fixture(scope="module")
def browser(server):
    # not longer than a module: while it is there, the thread has a running event loop, and asyncio.run refuses
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=90_000)

    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """open_page(width, scheme): a page at the first screen. Any error in its console fails the test."""
    contexts, errors = [], []

    def wrong(said) -> bool:  # an answer of 4xx is said by the page itself
        return said.type == "error" and not said.text.startswith("Failed to load resource")

    def opened(width: int = 1280, scheme: str = "light", address: str = "/"):
        context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if wrong(said) else None)
        page.goto(server + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    """A real recording without its drums, as a WAV file."""
    from helpers.recordings import real_stems
    from stage import audio

    source = real_stems()
    stems = [audio.read(source, 0.1, 5.9, stream) for stream in (2, 3, 4)]
    path = tmp_path_factory.mktemp("song") / "falcon.wav"
    audio.write(path, 0.7 * sum(stem for stem, _ in stems), stems[0][1])
    return path


@pytest.fixture
def drop():
    """drop(page, path): drop a file on the page, as from a file manager."""

    def dropped(page, path: Path) -> None:
        data = page.evaluate_handle(
            """([name, text]) => {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], name, { type: "audio/wav" }));
                return data;
            }""",
            [path.name, base64.b64encode(path.read_bytes()).decode()],
        )
        page.dispatch_event(".start", "drop", {"dataTransfer": data})

    return dropped
