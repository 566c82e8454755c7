"""What options do to notes: each effect is there, grows with the option, and leaves notes that can be played."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.evaluation.figures.parts import effect
from stage.generation.performance import PIECES, Performance
from stage.generation.touch import tidy
from stage.models.events import TimeLine
from stage.notes import Note

SECONDS = 8.2
TIMES = np.cumsum(0.5 + 0.02 * np.sin(np.arange(20)))  # a tempo that breathes
GRID = BeatGrid(TIMES - TIMES[0] + 0.1, np.arange(20) % 4 + 1)
LINE = TimeLine.musical(GRID, SECONDS, 12)
BEATS = TimeLine.musical(GRID, SECONDS, 1)


def at(place: float) -> float:
    """Seconds of a place in beats after the grid's first."""
    return float(np.interp(place, np.arange(20), GRID.times))


def place(seconds) -> np.ndarray:
    """The inverse of `at`."""
    return BEATS.place(seconds) - BEATS.place(GRID.times[0])


def part(stem: str, seed: int = 0, sixteenths: bool = False) -> list[Note]:
    """Four bars with human timing."""
    rng, notes = np.random.default_rng([seed, len(stem)]), []

    def add(place: float, length: float, pitch: int, velocity: int) -> None:
        start = max(0.0, at(place) + rng.normal(0, 0.012))
        end = start if stem == "drums" else min(max(at(place + length) - 0.01, start + 0.05), SECONDS)
        notes.append(Note(start, end, pitch, int(velocity + rng.integers(-8, 9))))

    for beat in range(16):
        root = (40, 45, 38, 43)[beat // 4]
        for half in (0.0, 0.25, 0.5, 0.75) if sixteenths else (0.0, 0.5):
            if stem == "drums":
                add(beat + half, 0, 42 if beat < 12 else 51, 70)
            elif stem == "bass":
                add(beat + half, 0.5, root + (7 if half else 0), 90)
            elif half in (0.0, 0.5) and beat % 2 == 0:
                for i, pitch in enumerate((root + 12, root + 16, root + 19)):
                    add(beat + half + (0.02 * i if stem == "guitar" else 0), 0.5, pitch, 80)
        if stem == "drums":
            add(beat, 0, 38 if beat % 2 else 36, 100)
    if stem == "drums":
        notes += [Note(at(14 + i / 4), at(14 + i / 4), (50, 47, 45, 41)[i % 4], 90) for i in range(8)]
        notes.append(Note(at(5) - 0.03, at(5) - 0.03, 38, 40))  # a flam
    return tidy(notes, stem)


def check_playable(notes: list[Note], stem: str) -> None:
    assert notes == sorted(notes) and notes
    assert all(0 <= n.start < SECONDS and n.end <= SECONDS and 1 <= n.velocity <= 127 for n in notes)
    assert all(n.end >= n.start + (0 if stem == "drums" else 0.0099) for n in notes)
    for pitch in {n.pitch for n in notes}:
        row = [n for n in notes if n.pitch == pitch]
        assert all(a.end <= b.start and a.start < b.start for a, b in zip(row, row[1:]))


AMOUNTS = {
    "swing": (0, 0.3, 0.6, 1.0),
    "push": (-100, -30, 0, 30, 100),
    "tight": (0, 0.3, 0.7, 1.0),
    "humanize": (0, 0.3, 0.7, 1.0),
}


@pytest.mark.parametrize("stem", ["drums", "bass", "keys", "guitar", "pads"])
@pytest.mark.parametrize("option", AMOUNTS)
def test_the_effect_grows_with_the_option(stem, option):
    for seed in range(3):
        notes = part(stem, seed)
        made = [Performance(**{option: x}).apply(notes, LINE, stem, seed, SECONDS) for x in AMOUNTS[option]]
        for x, played in zip(AMOUNTS[option], made):
            assert played == notes if x == 0 else played != notes
            check_playable(played, stem)
        asked = Performance(**{option: AMOUNTS[option][-1]})
        base = notes if option == "humanize" else made[0]
        effects = [effect(option, base, played, LINE, stem, asked, SECONDS) for played in made]
        assert effects == sorted(effects) and all(b - a > 1e-3 for a, b in zip(effects, effects[1:])), effects
        line = [Performance(**{option: AMOUNTS[option][-1]}).apply(notes, b, stem, seed, SECONDS) for b in (GRID, LINE)]
        assert line[0] == line[1] == made[-1]


def test_without_options_notes_stay():
    odd = [Note(-0.2, 12.0, 40, 90), Note(0.5, 0.5, 40, 90)]
    for asked in (Performance(), Performance(complexity=0.9, dynamics="0@1 1@3")):
        assert asked.apply(odd, GRID, "bass") == odd
    assert Performance(push=20).apply([], GRID, "bass") == []


def test_swing_comes_to_thirds_and_not_beyond():
    straight = [Note(at(b + h), at(b + h), 42, 80) for b in range(12) for h in (0, 0.5)]
    places = place([n.start for n in Performance(swing=1).apply(straight, GRID, "drums")])
    assert np.allclose(places[1::2] % 1, 2 / 3) and np.allclose(places[::2], np.round(places[::2]))
    half = place([n.start for n in Performance(swing=0.5).apply(straight, GRID, "drums")])
    assert np.allclose(half[1::2] % 1, 7 / 12)
    light = [Note(at(b + h), at(b + h), 42, 80) for b in range(12) for h in (0, 0.56)]
    places = place([n.start for n in Performance(swing=1).apply(light, GRID, "drums")])
    assert np.allclose(places[1::2] % 1, 2 / 3)
    more = Performance(swing=0.2).apply(light, GRID, "drums")  # swings more by itself
    assert np.allclose([n.start for n in more], [n.start for n in light])
    thirds = [Note(at(b + h), at(b + h), 42, 80) for b in range(12) for h in (0, 1 / 3, 2 / 3)]
    made = Performance(swing=1).apply(thirds, GRID, "drums")
    assert np.allclose([n.start for n in made], [n.start for n in thirds])


def test_sixteenths_swing_within_half_beats():
    notes = [Note(at(b + h), at(b + h), 42, 80) for b in range(12) for h in (0, 0.25, 0.5, 0.75)]
    places = place([n.start for n in Performance(swing=1).apply(notes, GRID, "drums")])
    assert np.allclose(places.reshape(-1, 4) % 1, [0, 1 / 3, 0.5, 5 / 6])


def test_tight_is_on_the_grid_and_keeps_flams_and_strokes():
    tight = Performance(tight=1)
    notes = part("drums")
    made = tight.apply(notes, GRID, "drums")
    assert len(made) == len(notes)
    loose = [n.start for n in made if n.velocity > 45]
    strays = place(loose) * 4
    assert np.abs(strays - np.round(strays)).max() < 1e-6
    flam = [n.start for n in made if n.pitch == 38 and abs(n.start - at(5)) < 0.1]
    was = [n.start for n in notes if n.pitch == 38 and abs(n.start - at(5)) < 0.1]
    assert np.isclose(flam[1], at(5)) and np.isclose(flam[1] - flam[0], was[1] - was[0], atol=1e-3)
    thirds = [Note(at(b + h) + 0.01, at(b + h + 0.3), 45, 80) for b in range(12) for h in (0, 1 / 3, 2 / 3)]
    places = place([n.start for n in tight.apply(thirds, GRID, "bass")]) * 3
    assert np.abs(places - np.round(places)).max() < 1e-6
    strums = tight.apply(part("guitar"), GRID, "guitar")
    first = strums[:3]
    assert np.ptp([n.start for n in first]) > 0.005 and abs(np.mean([n.start for n in first]) - at(0)) < 1e-3


def test_notes_that_ended_with_the_next_still_do():
    rng = np.random.default_rng(0)
    starts = [max(0, at(b / 2) + rng.normal(0, 0.015)) for b in range(31)]
    notes = [Note(a, b, 40 + i % 5, 90) for i, (a, b) in enumerate(zip(starts, starts[1:]))]
    for asked in (Performance(tight=1), Performance(swing=1), Performance(humanize=1)):
        made = asked.apply(notes, GRID, "bass", 3)
        assert all(np.isclose(a.end, b.start) for a, b in zip(made, made[1:]))


def test_a_player_strays_alike_with_all_hands_and_by_the_seed():
    notes = [Note(at(b), at(b), pitch, 80) for b in range(16) for pitch in (36, 42, 38)]
    exact = Performance(humanize=1)
    made = exact.apply(notes, GRID, "drums", 5)
    assert made == exact.apply(notes, GRID, "drums", 5) != exact.apply(notes, GRID, "drums", 6)
    some = exact.apply(notes[:20], GRID, "drums", 5)
    assert made[:18] == some[:18]
    strays = np.array([[n.start for n in made if n.pitch == p] for p in (36, 42, 38)]) - [at(b) for b in range(16)]
    between, within = strays.mean(0).std(), strays.std(0).mean()
    assert between > within and 0.004 < strays.std() < 0.03
    assert 3 < np.std([n.velocity for n in made]) < 15


def test_push_keeps_to_the_first_sample_and_the_end():
    notes = [Note(0.0, 0.3, 40, 90), Note(0.05, 0.09, 45, 90), Note(SECONDS - 0.02, SECONDS, 40, 90)]
    early = Performance(push=100).apply(notes, GRID, "bass", seconds=SECONDS)
    assert [n.start for n in early] == pytest.approx([0, 0, SECONDS - 0.12]) and min(
        n.end - n.start for n in early
    ) > 0.019
    late = Performance(push=-100).apply(notes, GRID, "bass", seconds=SECONDS)
    assert [n.start for n in late] == pytest.approx([0.1, 0.15])
    check_playable(early, "bass")


def test_pieces_are_left_out():
    notes = part("drums")
    made = Performance(without="hats,toms").apply(notes, GRID, "drums")
    assert made == [n for n in notes if n.pitch not in PIECES["hats"] | PIECES["toms"]] != notes
    assert effect("without", notes, made, GRID, "drums", Performance(without="hats,toms"), SECONDS) == 24 + 8
    assert np.isnan(effect("without", notes, notes, GRID, "drums", Performance(without="cowbell"), SECONDS))


def test_what_lies_outside_the_register_moves_by_octaves():
    notes = part("keys")
    asked = Performance(register="C2-C3")
    made = asked.apply(notes, GRID, "keys", seconds=SECONDS)
    assert {n.pitch for n in made} <= set(range(36, 49))
    assert {(round(n.start, 6), n.pitch % 12) for n in made} == {(round(n.start, 6), n.pitch % 12) for n in notes}
    assert effect("register", notes, made, GRID, "keys", asked, SECONDS) > 10
    check_playable(made, "keys")
    both = [Note(0.0, 1.0, 48, 60), Note(0.0, 2.0, 72, 90)]
    assert Performance(register="C3-C4").apply([*both[:1], both[1]._replace(pitch=60)], GRID, "keys") == [
        both[0],
        both[1]._replace(pitch=60),
    ]
    assert Performance(register="28-43").apply([Note(0, 1, 45, 60), Note(0, 2, 57, 90)], GRID, "bass") == [
        Note(0, 2, 33, 90)
    ]


def test_half_time_brings_the_backbeat_on_three():
    notes = [n for n in part("drums") if n.pitch in (36, 38, 42) and n.start < at(12) - 0.1]
    asked = Performance(half_time=True)
    made = asked.apply(notes, GRID, "drums", seconds=SECONDS)
    snares = place([n.start for n in made if n.pitch == 38 and n.velocity > 60])
    assert np.allclose(snares % 4, 2, atol=0.1) and len(snares) == 3
    assert [n for n in made if n.pitch == 42] == [n for n in notes if n.pitch == 42]
    assert effect("half_time", notes, made, GRID, "drums", asked, SECONDS) > 0
    twice = Performance(double_time=True)
    double = twice.apply(notes, GRID, "drums", seconds=SECONDS)
    snares = place([n.start for n in double if n.pitch == 38 and n.velocity > 60])
    assert np.allclose(snares % 1, 0.5, atol=0.1) and len(snares) == 12
    assert effect("double_time", notes, double, GRID, "drums", twice, SECONDS) > 0
    check_playable(made, "drums")
    fill = asked.apply(part("drums"), GRID, "drums", seconds=SECONDS)
    assert sum(n.pitch in PIECES["toms"] for n in fill) == 8


@pytest.mark.parametrize("stem", ["bass", "keys", "guitar"])
def test_half_and_double_time_keep_the_harmony(stem):
    notes = part(stem)
    for asked, option in ((Performance(half_time=True), "half_time"), (Performance(double_time=True), "double_time")):
        made = asked.apply(notes, GRID, stem, seconds=SECONDS)
        check_playable(made, stem)
        assert effect(option, notes, made, GRID, stem, asked, SECONDS) > 0.3
        for bar in range(4):
            low, high = at(4 * bar) - 0.05, at(4 * bar + 4) - 0.05
            inside = [{n.pitch % 12 for n in part if low <= n.start < high} for part in (notes, made)]
            assert inside[1] and inside[1] <= inside[0]
    if stem == "guitar":
        stroke = [n for n in made if n.start < 0.2]
        assert len(stroke) == 3 and np.ptp([n.start for n in stroke]) > 0.005


def test_bars_bound_what_is_played():
    notes = part("bass")
    asked = Performance(from_bar=2, to_bar=3)
    made = asked.apply(notes, GRID, "bass", seconds=SECONDS)
    assert all(at(4) - 0.06 < n.start < at(12) and n.end <= at(12) for n in made) and len(made) == 16
    assert effect("from_bar", notes, made, GRID, "bass", asked, SECONDS) == 8
    assert effect("to_bar", notes, made, GRID, "bass", asked, SECONDS) == 8
    with pytest.raises(StageError, match="from-bar 9 is not there: the music ends with bar 5"):
        Performance(from_bar=9).apply(notes, GRID, "bass", seconds=SECONDS)


@pytest.mark.parametrize("options", [dict(swing=1), dict(tight=0.5), dict(half_time=True), dict(to_bar=3)])
def test_what_needs_beats_says_so(options):
    for beats in (TimeLine.regular(8.0, 24.0), BeatGrid.empty()):
        with pytest.raises(StageError, match="needs the beats: leave out --grid off"):
            Performance(**options).apply(part("bass"), beats, "bass", seconds=SECONDS)
    made = Performance(push=10, humanize=0.5).apply(part("bass"), BeatGrid.empty(), "bass", seconds=SECONDS)
    check_playable(made, "bass")


def test_all_at_once_can_be_played():
    for stem in ("drums", "bass", "keys", "guitar", "pads"):
        for seed in range(4):
            options = dict(swing=0.8, push=(-60, 60, 100, -100)[seed], tight=0.5, humanize=1.0, double_time=True)
            options |= dict(without="open hat") if stem == "drums" else dict(register="low")
            made = Performance(**options).apply(part(stem, seed, sixteenths=True), GRID, stem, seed, SECONDS)
            check_playable(made, stem)


def test_tidy_makes_one_of_two_and_cuts_overlaps():
    notes = [Note(0.0, 1.0, 40, 60), Note(0.002, 2.0, 40, 90), Note(0.5, 0.7, 40, 50), Note(3.0, 3.5, 40, 50)]
    assert tidy(notes, "bass", 3.2) == [Note(0.0, 0.5, 40, 90), Note(0.5, 0.7, 40, 50), Note(3.0, 3.2, 40, 50)]
    assert tidy([Note(-1.0, -0.5, 40, 9), Note(3.0, 4.0, 40, 9)], "bass", 3.0) == []
