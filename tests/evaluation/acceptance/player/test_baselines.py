import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.player.baselines import Beats, Known, Library, fixed, nearest
from stage.evaluation.acceptance.player.clips import NamedChord, PartClip
from stage.evaluation.figures import harmony
from stage.evaluation.figures.notes import part_f
from stage.evaluation.truth import Truth
from stage.notes import Note

MINOR = NamedChord(0.0, 2.0, frozenset({9, 0, 4}), 9, "Am")
MAJOR = NamedChord(2.0, 4.0, frozenset({5, 9, 0}), 5, "F")
GRID = BeatGrid.regular(120, 4, 4.0)


def clip(stem="drums", genre="rock", meter="4/4", notes=(), grid=GRID) -> PartClip:
    chords = (MINOR, MAJOR)
    return PartClip("000", "x", stem, 4.0, Truth(grid, 120.0, chords), notes, "", genre, meter, chords=chords)


def known(stem="bass", genre="rock", bpm=100.0, notes=(), meter="4/4") -> Known:
    grid = BeatGrid.regular(bpm, 4, 9.6)
    chords = (NamedChord(0.0, 9.6, frozenset({0, 4, 7}), 0, "C"),)
    return Known(stem, genre, meter, bpm, grid, tuple(notes), chords, "finger")


def library(*parts: Known) -> Library:
    made = Library(())
    made.__dict__["parts"] = {parts[0].stem: list(parts)}
    return made


@pytest.mark.parametrize("meter, beats", [("4/4", 4), ("3/4", 3), ("6/8", 2)])
def test_a_fixed_pattern_repeats_on_the_grid(meter, beats):
    grid = BeatGrid.regular(120, beats, 4.0)
    part = fixed(clip(meter=meter, grid=grid), grid)
    kicks = [note.start for note in part.notes if note.pitch == 36]
    assert set(np.round(grid.downbeats, 6)) <= set(np.round(kicks, 6))
    bar = [note for note in part.notes if note.start < beats * 0.5 - 1e-6]
    again = [
        n._replace(start=n.start - beats * 0.5) for n in part.notes if beats * 0.5 - 1e-6 <= n.start < beats - 1e-6
    ]
    assert part_f(bar, again, drums=True) == 1


def test_a_fixed_pattern_follows_the_grid_that_it_is_given():
    late = fixed(clip(), GRID.shift(0.2))
    assert {round((note.start - 0.2) / 0.125, 6) % 1 for note in late.notes} == {0.0}


@pytest.mark.parametrize("stem", ["bass", "keys", "guitar", "pads"])
def test_fixed_pitched_parts_play_the_chords(stem):
    part = fixed(clip(stem), GRID)
    assert harmony.share_in_chord(part.notes, (MINOR, MAJOR)) == 1
    assert {n.pitch % 12 for n in part.notes if n.start >= 2} <= MAJOR.classes
    if stem == "bass":
        assert {n.pitch % 12 for n in part.notes if n.start < 1.9} == {9}


def test_without_beats_a_regular_grid_stands_in():
    assert len(fixed(clip(), None).notes) > 10


def test_the_nearest_part_is_of_the_metre_then_the_genre_then_the_tempo():
    note = [Note(0.0, 0.1, 40, 90)]
    parts = [
        known(genre="jazz swing", bpm=120, notes=note),
        known(genre="rock", bpm=180, notes=note),
        known(genre="rock", bpm=130, notes=note),
        known(genre="rock", bpm=120, meter="3/4", notes=note),
    ]
    assert library(*parts).nearest(clip("bass")) is parts[2]
    assert library(*parts).nearest(clip("keys")) is None


def test_the_nearest_part_is_moved_onto_the_grid_and_into_the_chords():
    beat = 0.6
    notes = [Note(i * beat, i * beat + 0.3, pitch, 90) for i, pitch in enumerate([36, 40, 43, 48] * 4)]
    part = nearest(clip("bass"), GRID, library(known(notes=notes)))
    assert [round(n.start, 6) for n in part.notes] == [round(t, 6) for t in GRID.times]
    assert harmony.share_in_chord(part.notes, (MINOR, MAJOR)) == 1
    assert [n.pitch % 12 for n in part.notes][:2] == [9, 0]  # root and third of C become those of A minor
    assert part.instrument == "finger"


def test_places_and_seconds_go_on_beyond_the_grid():
    beats = Beats.of(GRID.shift(0.3))
    assert beats.seconds(np.array([-1.0, 0.0, 0.5, 9.0])) == pytest.approx([-0.2, 0.3, 0.55, 4.8])
    assert beats.places(beats.seconds(np.array([-1.0, 3.3, 9.0]))) == pytest.approx([-1.0, 3.3, 9.0])
    assert beats.covering(1.0) == [(-1, 4), (0, 1), (1, 2)]
