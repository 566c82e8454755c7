"""`stage chords`."""

from pathlib import Path

import numpy as np
import pytest

from stage import audio
from stage.beats.grid import BeatGrid
from stage.chords import parse, read
from stage.cli import app as cli

RATE = 22050


def stage(*args) -> int:
    return cli.run([str(arg) for arg in args])


@pytest.fixture
def song(tmp_path, monkeypatch) -> Path:
    """Am, F and C for two seconds each, in an empty current folder, and its beats."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(2 * RATE) / RATE
    parts = [
        sum(
            np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * k * time) / k
            for k in (1, 2, 3)
            for pitch in [36 + parse(name).root, *(60 + x for x in parse(name).classes)]
        )
        for name in ("Am", "F", "C")
    ]
    audio.write("song.wav", 0.05 * np.concatenate(parts)[None].astype(np.float32), RATE)
    BeatGrid.regular(120, 4, 6.0).save("beats.txt")
    return Path("song.wav")


def test_it_prints_bars_that_can_be_given_back(song, capsys):
    assert stage("chords", song, "--grid", "beats.txt") == 0
    printed = capsys.readouterr().out
    assert printed == "| Am | F | C |\n"
    assert len(read(printed, BeatGrid.load("beats.txt"), 6.0)) == 3
    assert sorted(path.name for path in Path().iterdir()) == ["beats.txt", "song.wav"]


def test_it_writes_times_from_the_beginning_of_the_recording(song, capsys):
    assert stage("chords", song, "--grid", "beats.txt", "--start", 2, "--seconds", 3, "-o", "out.lab") == 0
    assert capsys.readouterr().out == "| F | C |\n"
    assert Path("out.lab").read_text() == "2.000000 4.000000 F:maj\n4.000000 5.000000 C:maj\n"
    assert stage("chords", song, "--grid", "beats.txt", "-o", "out.lab") == 2
    assert "out.lab exists: add --force" in capsys.readouterr().err
    assert stage("chords", song, "--grid", "beats.txt", "-o", "out.lab", "--force") == 0


def test_without_beats_it_prints_times(song, capsys):
    assert stage("chords", song, "--grid", "off", "--start", 1) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for *_, name in lines] == ["Am", "F", "C"] and lines[0][0] == "1.000" and lines[-1][1] == "6.000"


def test_tracked_beats_can_be_kept(song, capsys):
    assert stage("chords", song, "--tempo-range", "80-160", "--save-grid", "found.txt") == 0
    assert len(BeatGrid.load("found.txt")) > 4 and "|" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args, message",
    [
        (["-o", "out.pdf"], "chords are written to .lab, .txt or .csv"),
        (["--grid", "none.txt"], "there is no file"),
        (["--tuning", "x"], "the tuning cannot be x"),
        (["--start", "90"], "90"),
        (["--grid", "off", "--meter", "3/4"], "--meter and --tempo-range are for beats that are tracked"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(song, capsys, args, message):
    before = sorted(Path().iterdir())
    assert stage("chords", song, *args) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert sorted(Path().iterdir()) == before
