"""Chords written as text for each bar."""

import pytest

from stage.beats.grid import BeatGrid
from stage.chords import read, text
from stage.errors import StageError


def cells(written: str) -> str:
    """The bars of a text, "_" for a held chord, in one line."""
    return " | ".join(" ".join(cell.name if cell else "_" for cell in bar) for bar in text.bars(written))


BARS = {
    "Am F C G": "Am | F | C | G",
    "Am . F G": "Am | Am | F | G",
    "Am,F C": "Am F | C",
    "| Am F | C G |": "Am F | C G",
    "Am F | C": "Am F | C",
    "| Am . . F | G / |": "Am _ _ F | G _",
    "| Am F | . G |": "Am F | F G",
    "| Am F | % |": "Am F | Am F",
    "|: Am | F :| C |": "Am | F | Am | F | C",
    "|: Am :|: F :|": "Am | Am | F | F",
    "Am | F :| C": "Am | F | Am | F | C",
    "| Am || F |]": "Am | F",
    "| Am |\n| F G |\n": "Am | F G",
    "Am, F, C": "Am | F | C",
    "Am - F – C": "Am | F | C",
    "Am\tF\nC": "Am | F | C",
    "C7(b9,#11),F": "C7b9(add#11) F",
    "| Am,F G . |": "Am F G _ _ _",
    "N.C. Am": "N.C. | Am",
}


@pytest.mark.parametrize("written", BARS)
def test_the_grammar(written):
    assert cells(written) == BARS[written]


UNREADABLE = {
    "": "there are no chords: write one a bar, like .Am F C G.",
    " \n | | ": "there are no chords",
    "Am F Hm C": 'bar 3: "Hm" is not a chord: H is German for B',
    "| Am F | C foo |": 'bar 2: "foo" is not a chord',
    ". Am": 'bar 1: "." holds the chord before',
    "% Am": 'bar 1: "%" holds the chord before',
    "C " * 10_001: "more than 10000 bars",
    "|" + " C" * 65 + "|": "bar 1 has 65 chords",
}


@pytest.mark.parametrize("written", UNREADABLE)
def test_what_cannot_be_read_names_the_bar(written):
    with pytest.raises(StageError, match=UNREADABLE[written]) as caught:
        text.bars(written)
    assert "\n" not in str(caught.value)


def test_signs_of_repetition_do_not_multiply():
    assert len(text.bars("|: C | F :| :| :| :| G |")) <= 10


def starts(written: str, beats: int, bar: float = 4.0) -> list[float]:
    grid = BeatGrid.regular(60 * beats / bar, beats, bar)
    return [span.start * beats / bar for span in read(written, grid, bar)]


def test_chords_of_a_bar_begin_on_beats():
    for written, beats, expected in (
        ("| C F |", 4, [0, 2]),
        ("| C F |", 3, [0, 2]),
        ("| C F G |", 4, [0, 1, 3]),
        ("| C . F |", 6, [0, 4]),
        ("| C,F G |", 4, [0, 1, 2]),
        ("| C F C F C F C F |", 4, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
    ):
        assert starts(written, beats) == pytest.approx(expected, abs=1e-5)


def test_fewer_and_more_chords_than_bars_are_remarked():
    grid = BeatGrid.regular(120, 4, 8.0)
    few, more, same = (read(written, grid, 8.0) for written in ("Am F", "Am F C G Dm E", "Am F C G"))
    assert [span.chord.name for span in few] == ["Am", "F", "Am", "F"]
    assert few.remarks == ("the chords of 2 bars are repeated over the 4 bars of the music",)
    assert more == same and same.remarks == ()
    assert more.remarks == ("the music has 4 bars: the chords of the 2 after them are left out",)
