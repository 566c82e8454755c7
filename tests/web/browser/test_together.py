"""Several people and windows at once, a server that is killed under an open page, and a recording from a microphone."""

import io
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.pages import order
from helpers.servers import Running

RATE = 48000
TONE = 523.0
"""Hz, of what the microphone records."""


def session_of(server, bars=2):
    from stage.client import Client

    return Client(server, token="").begin(bpm=150, bars=bars)


@pytest.mark.slow
def test_two_users_have_their_own_jobs_in_turn(open_page, server):
    from playwright.sync_api import expect

    sessions = [session_of(server), session_of(server)]
    pages = [open_page(address=f"/#s/{session.id}") for session in sessions]
    for page in pages:
        page.get_by_role("button", name="Play drums").wait_for()
    order(pages[0], "drums", 6)
    order(pages[0], "keys", 1)
    order(pages[1], "bass", 1)
    expect(pages[1].locator(".job")).to_have_count(1)  # not those of the other
    expect(pages[1].get_by_role("region", name="Track bass")).to_be_visible()
    expect(pages[1].get_by_role("region", name=re.compile("Track (drums|keys)"))).to_have_count(0)
    assert not sessions[0].refresh().tracks or "keys" not in [track["name"] for track in sessions[0].tracks]
    expect(pages[0].get_by_role("region", name="Track keys")).to_be_visible()
    expect(pages[0].get_by_role("region", name="Track drums").locator(".chip")).to_have_count(6)
    expect(pages[0].get_by_role("region", name="Track bass")).to_have_count(0)
    assert [track["name"] for track in sessions[1].refresh().tracks] == ["bass"]


@pytest.mark.slow
def test_two_windows_of_one_session_see_each_others_changes(open_page, server):
    from playwright.sync_api import expect

    session = session_of(server)
    one, two = (open_page(address=f"/#s/{session.id}") for _ in range(2))
    order(one, "drums", 2)
    drums = two.get_by_role("region", name="Track drums")
    expect(drums.locator(".chip:not(.making)")).to_have_count(2)
    drums.get_by_role("button", name="Take 2,").click()
    two.get_by_role("button", name="Keep take 2").click()
    expect(one.locator(".chip.kept")).to_have_text("2")
    one.get_by_role("button", name="Mute drums").click()
    expect(two.get_by_role("button", name="Mute drums", pressed=True)).to_be_visible()
    two.get_by_role("button", name=re.compile("^Undo")).click()
    expect(one.get_by_role("button", name="Mute drums", pressed=False)).to_be_visible()
    kit = two.get_by_label("Kit of drums")
    kit.select_option("brushes" if kit.input_value() != "brushes" else "power")
    expect(one.get_by_role("region", name="Track drums").locator(".chip.kept")).to_have_text("3")
    order(two, "bass", 1)
    expect(one.get_by_role("region", name="Track bass")).to_be_visible()
    one.get_by_role("button", name="bass", exact=True).click()
    one.keyboard.press("Alt+ArrowUp")
    expect(two.locator(".track .name").first).to_have_text("bass")
    grip, other = two.locator(".grip").nth(0), two.locator(".grip").nth(1)
    start, end = grip.bounding_box(), other.bounding_box()
    two.mouse.move(start["x"] + 5, start["y"] + 5)
    two.mouse.down()
    two.mouse.move(end["x"] + 5, end["y"] + 60, steps=5)
    two.mouse.up()
    expect(one.locator(".track .name").first).to_have_text("drums")


@pytest.mark.slow
def test_a_page_goes_on_with_a_server_that_was_killed(open_page, server, tmp_path):
    from playwright.sync_api import expect

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with Running(tmp_path / "data", Path("player"), "--port", port) as running:
        session = session_of(running.address)
        page = open_page()
        page.goto(f"{running.address}/#s/{session.id}")
        order(page, "drums", 5)
        expect(page.locator(".chip:not(.making)").first).to_be_visible()
        expect(page.locator(".job")).to_have_count(1)
        running.kill()
        expect(page.get_by_text("No connection to the server")).to_be_visible()
        running.log.close()
        running.process.stdout.close()
        running.start()
        expect(page.get_by_text("No connection to the server")).to_have_count(0)
        expect(page.locator(".chip:not(.making)")).to_have_count(5)
        expect(page.locator(".job")).to_have_count(0)
        assert [take["seed"] for take in session.refresh().track("drums")["takes"]] == [0, 1, 2, 3, 4]
        page.get_by_role("button", name="Mute drums").click()
        expect(page.get_by_role("button", name="Mute drums", pressed=True)).to_be_visible()


@pytest.mark.slow
def test_a_recording_becomes_a_song(browser, chromium, server, tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * TONE * np.arange(4 * RATE) / RATE), RATE, subtype="PCM_16")
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream"]
    arguments += ["--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={path}"]
    own = browser.browser_type.launch(executable_path=chromium, args=arguments)
    try:
        page = own.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(90_000)
        page.goto(server)
        page.get_by_role("button", name="Record").click()
        page.get_by_role("button", name="Start recording").click()
        page.get_by_role("timer").wait_for()
        page.wait_for_function("() => document.querySelector('[role=timer]').textContent === '0:04'")
        page.get_by_role("button", name="Stop and use it").click()
        page.get_by_role("button", name="Play drums").wait_for()
        id = page.evaluate("location.hash").removeprefix("#s/")
        made = page.request.get(f"{server}/api/sessions/{id}").json()
        body = page.request.get(f"{server}/api/files/{made['source']['file']}").body()
    finally:
        own.close()
    sound, rate = soundfile.read(io.BytesIO(body), always_2d=True)
    assert made["seconds"] == pytest.approx(len(sound) / rate) and 3.5 < made["seconds"] < 6
    middle = sound[rate : 3 * rate, 0]
    strongest = np.fft.rfftfreq(len(middle), 1 / rate)[np.argmax(np.abs(np.fft.rfft(middle)))]
    assert strongest == pytest.approx(TONE, abs=2) and np.abs(middle).max() > 0.1
