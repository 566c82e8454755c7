"""Charts: chords on the bars of a grid, moved, cut and written."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.chords import Chart, Span, parse, read
from stage.chords.chart import bars_of
from stage.chords.symbols import NO_CHORD
from stage.errors import StageError
from stage.models.events import TimeLine
from stage.models.features import chord_features

GRID = BeatGrid.regular(120, 4, 20.0, 0.5)


def spans(chart: Chart) -> list[tuple[float, float, str]]:
    return [(span.start, span.end, span.chord.name) for span in chart]


def chart(*rows: tuple[float, float, str]) -> Chart:
    return Chart(tuple(Span(start, end, parse(name)) for start, end, name in rows))


def test_bars_of_a_grid_with_a_pickup():
    grid = BeatGrid([0.2, 0.7, 1.2, 1.7, 2.2, 2.7, 3.3], [3, 4, 1, 2, 3, 1, 2])
    bars = [bar.tolist() for bar in bars_of(grid, 9.0)]
    assert bars == [[1.2, 1.7, 2.2, 2.7], pytest.approx([2.7, 3.3, 3.9, 4.5])]
    assert len(bars_of(grid, 2.0)) == 1
    assert bars_of(BeatGrid.empty(), 9.0) == [] == bars_of(BeatGrid([1.0, 2.0], [2, 3]), 9.0)


def test_the_pickup_has_the_first_chord_and_the_end_the_last_ones():
    grid = BeatGrid.regular(60, 4, 14.0).shift_beats(2)  # downbeats at 2, 6 and 10 s
    assert spans(read("Am F C", grid, 15.0)) == [(0.0, 6.0, "Am"), (6.0, 10.0, "F"), (10.0, 15.0, "C")]


def test_what_sounds_at_a_time():
    made = chart((1.0, 2.0, "Am"), (3.0, 4.0, "F"))
    assert [made.at(x).name for x in (0.5, 1.0, 1.99, 2.0, 2.5, 3.5, 4.0)] == [
        *("N.C.", "Am", "Am", "N.C.", "N.C.", "F", "N.C.")
    ]
    assert Chart(()).at(1.0) == NO_CHORD


def test_cut_moved_and_stretched():
    made = chart((1.0, 2.0, "Am"), (2.0, 4.0, "F"), (4.0, 5.0, "C/E"))
    assert spans(made.crop(1.5, 4.0)) == [(0.0, 0.5, "Am"), (0.5, 2.5, "F")]
    assert spans(made.shift(-1.0)) == [(0.0, 1.0, "Am"), (1.0, 3.0, "F"), (3.0, 4.0, "C/E")]
    assert spans(made.scale(2.0))[0] == (2.0, 4.0, "Am")
    assert [name for *_, name in spans(made.transpose(-2))] == ["Gm", "Eb", "Bb/D"]
    assert made.shift(1.0).shift(-1.0) == made.transpose(5).transpose(-5) == made


def test_features_are_those_of_the_model():
    line = TimeLine.musical(GRID, 8.0)
    found = chord_features(line, read("Am N.C.", GRID, 8.0).features())
    bar = [round(float(x), 3) for x in found[(line.times[:-1] >= 0.5) & (line.times[:-1] < 2.4)].mean(0)]
    assert bar[0] == 1 and bar[1 + 9] == 1 and sum(bar[1:13]) == 1
    assert [i for i in range(12) if bar[13 + i]] == [0, 4, 9]
    rest = found[(line.times[:-1] >= 2.5) & (line.times[:-1] < 4.4)]
    assert rest[:, 0].all() and not rest[:, 1:].any()


@pytest.mark.parametrize("kind", ["lab", "txt", "csv"])
def test_what_is_written_is_read_back(kind, tmp_path):
    made = read("| Am F#m7b5 | Bb/D C7(b9,#11) G#dim7 | N.C. | X |", GRID.scale(1.0123456), 20.0).crop(0.333333333, 19)
    made.save(tmp_path / f"a.{kind}")
    assert read(tmp_path / f"a.{kind}") == made
    assert read(tmp_path / f"a.{kind}", BeatGrid.empty(), 40.0) == made
    assert read(tmp_path / f"a.{kind}", GRID, 5.0, start=2.0) == made.crop(2.0, 7.0)
    with pytest.raises(StageError, match="exists"):
        made.save(tmp_path / f"a.{kind}")
    made.save(tmp_path / f"a.{kind}", force=True)


def test_lab_files_are_those_of_researchers(tmp_path):
    chart((0.5, 1.0, "Am7/G"), (1.0, 2.0, "N.C.")).save(tmp_path / "a.lab")
    assert (tmp_path / "a.lab").read_text() == "0.500000 1.000000 A:min7/b7\n1.000000 2.000000 N\n"


def test_other_names_of_files_and_nothing_written(tmp_path):
    with pytest.raises(StageError, match=r"\.lab, \.txt or \.csv"):
        chart((0.0, 1.0, "C")).save(tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())


def test_text_of_bars_is_read_back():
    made = read("| Am | F . . G7 | . C/E | Dm,E |", GRID, 20.0)
    assert made.bars(GRID, 20.0).splitlines()[0] == "| Am | F . . G7 | G7 . C/E . | Dm . E . |"
    assert read(made.bars(GRID, 20.0), GRID, 20.0) == made


def test_order_and_lengths_are_checked():
    for rows, message in (
        ([(0.0, 1.0, "C"), (0.5, 2.0, "F")], "chord 2 .F. begins at 0.5 s, before"),
        ([(1.0, 1.0, "C")], "a chord ends after it begins"),
        ([(0.0, np.nan, "C")], "a chord ends after it begins"),
    ):
        with pytest.raises(StageError, match=message):
            chart(*rows)
