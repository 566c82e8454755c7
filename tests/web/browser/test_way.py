"""The whole way: from a recording that is dropped to an exported session of three stems, and a reload on the way."""

import zipfile

import mido
import numpy as np
import pytest

from helpers.pages import order
from stage import audio


def play(page, stem, takes):
    """Choose a stem, and wait for its takes."""
    from playwright.sync_api import expect

    order(page, stem, takes)
    track = page.get_by_role("region", name=f"Track {stem}")
    expect(track.locator(".chip:not(.making)")).to_have_count(takes)
    expect(page.locator(".job")).to_have_count(0)
    return track


@pytest.mark.parametrize("width, scheme", [(1280, "light"), pytest.param(390, "dark", marks=pytest.mark.slow)])
def test_from_a_dropped_recording_to_three_stems(open_page, drop, recording, tmp_path, width, scheme):
    from playwright.sync_api import expect

    page = open_page(width, scheme)
    drop(page, recording)
    expect(page.get_by_role("button", name="Play drums")).to_be_visible()
    assert page.get_by_label("Name of the session").input_value() == "falcon"

    drums = play(page, "drums", 2)
    drums.get_by_role("button", name="Take 2,").click()
    page.get_by_role("button", name="Keep take 2").click()
    expect(drums.locator(".chip.kept")).to_have_text("2")

    bass = play(page, "bass", 1)
    page.get_by_role("button", name="Undo: add bass").click()
    expect(bass).to_have_count(0)
    page.get_by_role("button", name="Redo: add bass").click()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    bass.get_by_role("button", name="bass", exact=True).click()
    page.get_by_role("button", name="Redo bar").click()
    expect(bass.locator(".chip:not(.making)")).to_have_count(2)
    expect(bass.locator(".chip.kept")).to_have_text("2")

    play(page, "keys", 1)
    page.get_by_role("button", name="Export").click()
    page.get_by_label("DAWproject").check()
    page.locator("dialog").get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "falcon.zip"
    download.value.save_as(tmp_path / "falcon.zip")
    assert page.locator(".problem").count() == 0

    with zipfile.ZipFile(tmp_path / "falcon.zip") as archive:
        archive.extractall(tmp_path)
    found = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    song, rate = audio.read(recording)
    assert any(name.endswith(".dawproject") for name in found)
    for name in ("drums", "bass", "keys"):
        stem, stem_rate = audio.read(found[f"{name}.wav"])
        assert (stem.shape[1], stem_rate) == (song.shape[1], rate)
        assert np.abs(stem).max() > 0.01
        assert any(message.type == "note_on" for message in mido.MidiFile(found[f"{name}.mid"]))


def test_a_reload_in_the_middle_of_a_job_loses_nothing(open_page, drop, recording):
    from playwright.sync_api import expect

    page = open_page()
    drop(page, recording)
    page.get_by_role("button", name="Play drums").wait_for()
    page.locator(".add summary").click()
    page.get_by_label("Takes", exact=True).fill("4")
    page.get_by_role("button", name="Play drums").click()
    chips = page.locator(".chip:not(.making)")
    expect(chips).not_to_have_count(0)
    expect(page.locator(".job")).to_have_count(1)  # the first take is there and can be played, others are being made
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    address = page.url
    page.reload()
    assert page.url == address
    expect(page.locator(".job")).to_have_count(1)
    expect(chips).to_have_count(4)
    expect(page.locator(".job")).to_have_count(0)
