import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.corpus import compose
from stage.corpus.drums import Drummer
from stage.evaluation.figures import notes as figures
from stage.notes import Note


def hits(*pairs: tuple[float, int], velocity: int = 90) -> list[Note]:
    return [Note(start, start + 0.1, pitch, velocity) for start, pitch in pairs]


BEAT = hits((0.0, 36), (0.5, 38), (1.0, 36), (1.5, 38))


def test_a_part_is_like_itself_and_unlike_one_that_is_late():
    late = [note._replace(start=note.start + 0.1) for note in BEAT]
    for figure in (figures.onset_f, figures.piece_f):
        assert figure(BEAT, BEAT) == 1
        assert figure(BEAT, late) == 0
        assert np.isnan(figure([], []))


def test_only_hits_of_one_group_match():
    other = hits((0.0, 38), (0.5, 36), (1.0, 36), (1.5, 40))
    assert figures.onset_f(BEAT, other) == 1
    assert figures.piece_f(BEAT, other) == pytest.approx(0.5)
    assert figures.piece_f(BEAT, hits((0.0, 36), (1.0, 36)), ("kick",)) == 1
    assert figures.piece_f(BEAT, hits((0.0, 36), (1.0, 36))) == pytest.approx(2 * 2 / 6)


def test_a_chord_is_one_onset():
    strum = hits((0.0, 60), (0.01, 64), (0.02, 67), (0.5, 60))
    assert figures.onset_times(strum).tolist() == [0.0, 0.5]
    assert figures.density(strum, 2.0, drums=False) == 1
    assert figures.density(strum, 2.0, drums=True) == 2


def test_bars_that_repeat():
    bars = np.array([0.0, 1.0, 2.0, 3.0])
    same = hits(*((bar + place, pitch) for bar in range(3) for place, pitch in ((0.0, 36), (0.5, 38))))
    assert figures.repetition(same, bars, drums=True) == 1
    other = [note._replace(start=note.start + 0.2) if 1 <= note.start < 2 else note for note in same]
    assert figures.repetition(other, bars, drums=True) == 0
    assert np.isnan(figures.repetition([], bars, drums=True))
    slower = [note._replace(start=note.start * (1 + 0.2 * note.start)) for note in same]  # a tempo that drifts
    assert figures.repetition(slower, bars * (1 + 0.2 * bars), drums=True) == 1


def test_spread_and_held_share():
    assert figures.velocity_spread(hits((0.0, 36), velocity=80) + hits((1.0, 36), velocity=100)) == 10
    assert figures.held([Note(0.0, 0.5, 60, 90), Note(0.25, 1.0, 64, 90)], 2.0) == pytest.approx(0.5)
    assert np.isnan(figures.velocity_spread([]))


def test_places_are_beats_of_the_grid():
    grid = BeatGrid(np.array([1.0, 1.5, 2.5]), np.array([1, 2, 3]))
    found = figures.places(hits((0.5, 36), (0.98, 36), (1.25, 36), (2.0, 36), (3.0, 36)), grid)
    assert found == pytest.approx([-0.04, 0.5, 1.5])


def test_fills_of_composed_songs_are_found(monkeypatch):
    """The composer's own fills: most are found, and hardly anything else is taken for one."""
    filled: set[int] = set()
    plain = Drummer.bar

    def bar(self, section, number, *, fill, **rest):
        if fill:
            filled.add(number)
        return plain(self, section, number, fill=fill, **rest)

    monkeypatch.setattr(Drummer, "bar", bar)
    right = wrong = missed = at_border = borders = elsewhere = others = 0
    for seed in range(40):
        filled.clear()
        song = compose.compose(np.random.default_rng([11, seed]), 32.0, 0)
        if "drums" not in song.notes:
            continue
        notes = [Note(song.seconds(n.beat), song.seconds(n.beat) + 0.1, *n[2:4]) for n in song.notes["drums"]]
        starts = np.array([song.seconds(number * song.metre.beats) for number in range(song.bars + 1)])
        last = {section.start + section.bars - 1 for section in song.sections}
        for number, found in enumerate(figures.fills(notes, starts)):
            played = number in filled and any(starts[number] <= n.start < starts[number + 1] for n in notes)
            right, wrong, missed = right + (found and played), wrong + (found and not played), missed + (played > found)
            at_border, borders = at_border + found * (number in last), borders + (number in last)
            elsewhere, others = elsewhere + found * (number not in last), others + (number not in last)
    assert right > 30
    assert right / (right + missed) > 0.5
    assert right / (right + wrong) > 0.9
    assert at_border / borders > 10 * elsewhere / others
