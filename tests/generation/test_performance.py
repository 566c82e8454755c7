"""Options of how a part is played: what is refused, what steers the model, and what it does to the rules."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.generation.performance import PIECES, Performance, curve, nearest_octave, note_name
from stage.generation.steering import CRASH, FILL, FILL_END, LEAN, LIFT, TOMS, bars, controls, plays, rules
from stage.models.events import HOLD, LOWEST, ONSET, REST, TimeLine, codecs
from stage.models.features import CONTROLS, features
from stage.models.playable import GROUPS, REGISTERS
from stage.notes import Note

GRID = BeatGrid(np.arange(18) * 0.5, (np.arange(18) + 2) % 4 + 1)  # two beats, then four bars
LINE = TimeLine.musical(GRID, 9.0, 12)
BAR = np.repeat([0, 1, 2, 3, 4], [24, 48, 48, 48, 48])


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(complexity=1.5), "complexity cannot be 1.5: choose 0 (sparse) to 1 (busy), or a line over bars"),
        (dict(complexity=float("nan")), "complexity cannot be nan"),
        (dict(complexity="busy"), "complexity cannot be 'busy'"),
        (dict(dynamics=-0.1), "dynamics cannot be -0.1: choose 0 (soft) to 1 (loud)"),
        (dict(dynamics="0.3@1 0.8"), "dynamics cannot be '0.3@1 0.8'"),
        (dict(dynamics="0.3@0"), "dynamics cannot be 0.3@0"),
        (dict(dynamics=""), "dynamics cannot be ''"),
        (dict(dynamics="0.3@9 0.8@1"), "its bars must rise"),
        (dict(fills=-1), "fills cannot be -1: choose a fill every so many bars, like 4"),
        (dict(fills=2.5), "fills cannot be 2.5"),
        (dict(swing=1.2), "swing cannot be 1.2: choose 0 (as it is) to 1 (triplets)"),
        (dict(swing="much"), "swing cannot be much"),
        (dict(push=150), "push cannot be 150: choose -100 (behind the beat) to 100 (before it), in milliseconds"),
        (dict(tight=-1), "tight cannot be -1: choose 0 (as played) to 1 (on the grid)"),
        (dict(humanize=2), "humanize cannot be 2: choose 0 (as it is) to 1 (loose)"),
        (dict(without="rides,kazoo"), 'without "kazoo" is no drum piece: Known are kick, snare'),
        (dict(without=["snair"]), 'did you mean "snare"?'),
        (dict(without=[*GROUPS, "cymbals", "rim", "clap"]), "without leaves no piece to play"),
        (dict(register="C4"), "register cannot be 'C4': choose low, high, or two notes like E1-G2 or 28-43 (C4 is 60)"),
        (dict(register="C3-G3"), "two notes that are an octave apart or more"),
        (dict(register="G3-C2"), "an octave apart"),
        (dict(from_bar=0), "from-bar cannot be 0: choose a bar from 1 on"),
        (dict(to_bar=1.5), "to-bar cannot be 1.5"),
        (dict(from_bar=5, to_bar=4), "from-bar 5 is after to-bar 4"),
        (dict(half_time=True, double_time=True), "half-time and double-time exclude each other"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(StageError) as error:
        Performance(**options)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "stem, options, message",
    [
        ("keys", dict(fills=4), "fills is of no use to keys: it is for drums"),
        ("bass", dict(without="ride"), "without is of no use to bass: it is for drums"),
        ("drums", dict(register="low"), "register is of no use to drums: it is for the pitched stems"),
        ("guitar", dict(kit="jazz"), "kit is of no use to guitar: choose its sound with instrument"),
        ("drums", dict(instrument="jazz"), "instrument is of no use to drums: choose their sound with kit"),
        ("pads", dict(half_time=True), "half-time is of no use to pads"),
        ("drums", dict(kit="banjo"), "kit banjo is not known for drums: choose"),
        ("bass", dict(instrument="grand"), "instrument grand is not known for bass: choose"),
        ("bass", dict(register="C6-C8"), "register C6-C8 leaves no octave of what bass can play, D1 to C4"),
    ],
)
def test_what_is_of_no_use_to_the_stem_is_refused(stem, options, message):
    for ask in (Performance(**options).check, lambda stem: rules(Performance(**options), LINE, stem)):
        with pytest.raises(StageError) as error:
            ask(stem)
        assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_without_options_all_is_as_it_was():
    plain = Performance()
    assert not plain.changes and not Performance(complexity=0.5, fills=2, kit="jazz").changes
    assert Performance(to_bar=3).changes and Performance(without="ride").changes
    assert plain.neutral and not Performance(push=-1).neutral and not Performance(to_bar=3).neutral
    for stem, codec in codecs().items():
        plain.check(stem)
        made = rules(plain, LINE, stem, 1.5)
        assert made.lift is None and made.lean is None and made.least is None and made.presence == 1.5
        assert (made.allowed == codec.allowed()).all()
        assert controls(plain, LINE, stem) == {} and plain.span(stem) is None and plain.played(stem) is None
    assert plays(plain, LINE).all()


def test_names_are_read_as_people_write_them():
    assert Performance(without="Rides, open-hats").without == ("ride", "open hat")
    assert Performance(without=("toms", "crashes")).without == ("toms", "crash")
    assert PIECES["toms"] == {50, 48, 47, 45, 43, 41, 58} and PIECES["snare"] == {38, 40, 31}
    assert Performance(kit="Jazz").played("drums") == "jazz" and Performance(kit="kits/808").played("drums") == "808"
    assert Performance(instrument="round-synth").played("bass") == "round synth"
    assert Performance(instrument="mine.SFZ").played("bass") is None
    assert Performance(instrument="slow-strings").played("pads") is None  # shipped, and no code of the model
    assert Performance(register="E1-g2").span("bass") == (28, 43) == Performance(register="28-43").span("bass")
    assert Performance(register="Bb1-F#3").span("keys") == (34, 54)
    for stem, (low, high) in REGISTERS.items():
        a, b = (Performance(register=name).span(stem) for name in ("low", "high"))
        assert low <= a[0] < b[0] and a[1] < b[1] <= high
    assert note_name(60) == "C4" and note_name(28) == "E1"
    assert [nearest_octave(p, 28, 43) for p in (27, 28, 43, 44, 20, 80)] == [39, 28, 43, 32, 32, 32]


def test_bars_count_from_the_first_downbeat():
    assert np.array_equal(bars(LINE), BAR)
    line = TimeLine.regular(9.0, 24.0)
    assert np.array_equal(bars(line, GRID), np.repeat([0, 1, 2, 3, 4], [24, 48, 48, 48, 48]))
    for unknown in (
        lambda: bars(line),
        lambda: plays(Performance(from_bar=2), line),
        lambda: bars(line, BeatGrid.empty()),
    ):
        with pytest.raises(StageError, match="no bars are known here"):
            unknown()
    assert plays(Performance(complexity=0.2), line).all()  # a number needs none


def test_beats_before_the_grid_are_no_bars_of_the_song():
    grid = BeatGrid(0.6 + np.arange(16) * 0.5, (np.arange(16) + 1) % 4 + 1)
    line = TimeLine.musical(grid, 8.0, 12)
    assert line.numbers[12] == 1 and bars(line)[12] == 1  # goes on before the first beat
    first = float(line.times[np.flatnonzero(bars(line, grid) == 1)[0]])
    assert np.isclose(first, grid.downbeats[0]) and bars(line, grid)[12] == 0
    notes = [Note(time, time + 0.4, 40, 90) for time in (0.1, *grid.times)]
    made = Performance(from_bar=2, to_bar=2).apply(notes, grid, "bass", seconds=9.0)
    assert np.allclose([n.start for n in made], grid.downbeats[1] + np.arange(4) * 0.5)
    frames = np.flatnonzero(plays(Performance(from_bar=2, to_bar=2), line, grid))
    assert np.isclose(line.times[frames[0]], grid.downbeats[1]) and len(frames) == 48


def test_a_part_plays_in_its_bars():
    assert np.array_equal(plays(Performance(from_bar=2), LINE), BAR >= 2)
    assert np.array_equal(plays(Performance(to_bar=2), LINE), BAR <= 2)
    assert np.array_equal(plays(Performance(from_bar=2, to_bar=3), LINE), (BAR == 2) | (BAR == 3))
    assert np.array_equal(plays(Performance(to_bar=9), LINE), BAR >= 0)
    with pytest.raises(StageError, match="from-bar 5 is not there: the music ends with bar 4"):
        plays(Performance(from_bar=5), LINE)
    made = rules(Performance(from_bar=2), LINE, "keys")
    assert (made.lift[BAR < 2] == -np.inf).all() and (made.lift[BAR >= 2] == 0).all()


def test_lines_over_bars_rise_evenly():
    assert curve("dynamics", 0.4) == ((1, 0.4),) and curve("dynamics", None) == ()
    asked = Performance(dynamics="0@1 1@3 1@4 0@4")
    lean = rules(asked, LINE, "bass").lean.numpy() / LEAN
    assert np.allclose(lean[BAR == 0], -1) and np.allclose(lean[BAR == 1][[0, 24]], [-1, -0.5])
    assert np.isclose(lean[BAR == 2][0], 0) and np.allclose(lean[BAR == 3], 1) and np.allclose(lean[BAR == 4][1:], -1)
    given = controls(asked, LINE, "bass")["dynamics"]
    assert given.shape == (LINE.frames,) and (np.diff(given[BAR == 1]) > 0).all()


@pytest.mark.parametrize("stem", codecs())
def test_complexity_and_dynamics_rise(stem):
    asked = [Performance(complexity=x, dynamics=x) for x in (0, 0.25, 0.5, 0.75, 1)]
    given, made = [controls(p, LINE, stem) for p in asked], [rules(p, LINE, stem) for p in asked]
    for name in ("density", "dynamics"):
        values = [float(one[name][0]) for one in given]
        assert values == sorted(set(values)) and 0 <= values[0] and values[-1] <= 1
    lifts, leans = (
        [float(x) for x in xs]
        for xs in ([m.lift[0, 1] if m.lift is not None else 0 for m in made], [m.lean[0] for m in made])
    )
    assert np.allclose(lifts, np.linspace(-LIFT[stem], LIFT[stem], 5)) and np.allclose(
        leans, np.linspace(-LEAN, LEAN, 5)
    )
    assert not made[0].lift[:, 2::2].any() and not made[0].lift[:, 0].any()
    assert bool(made[0].lift[0, 3]) == (stem != "bass")  # no second voice of a bass
    assert features(LINE, None, given[0]).isfinite().all() and set(given[0]) <= set(CONTROLS)


def test_a_fill_stands_in_every_nth_bar():
    asked = Performance(fills=2)
    border = controls(asked, LINE, "drums")["border"]
    assert np.array_equal(border, (BAR == 2) | (BAR == 4))
    made = rules(asked, LINE, "drums")
    least = made.least
    assert made.lift is None and least is not None
    lane = {group: 1 + 2 * i for i, group in enumerate(GROUPS)}
    second = 24 + 48
    assert least[second : second + 24].sum() == 0
    for group, share in {"snare": 1, "high toms": TOMS, "low toms": TOMS}.items():
        strokes = least[second + 24 : second + 48, lane[group]].numpy()
        assert strokes[[0, 3, 6, 9]] == pytest.approx(share * FILL)
        assert strokes[12::3] == pytest.approx(share * FILL_END)
        assert np.count_nonzero(strokes) == 8
    assert least[second + 48, lane["crash"]] == CRASH and least[:, lane["hats"]].sum() == 0
    every = rules(Performance(fills=1), LINE, "drums").least[:, lane["snare"]].numpy()
    assert [np.count_nonzero(every[BAR == b]) for b in range(5)] == [0, 8, 8, 8, 8]
    late = rules(Performance(fills=2, from_bar=3), LINE, "drums").least
    assert late[BAR < 3].sum() == 0 and late[BAR == 4].sum() > 0


def test_unwanted_pieces_and_other_registers_cannot_be_chosen():
    made = rules(Performance(without="open hat,ride"), LINE, "drums").allowed
    plain = codecs()["drums"].allowed()
    lane = {group: 1 + 2 * i for i, group in enumerate(GROUPS)}
    assert not made[lane["ride"], 1:].any() and made[lane["ride"], 0]
    assert made[lane["hats"], :6].tolist() == [True, True, True, False, True, False]
    assert (plain & ~made).sum() == 3 + 2
    bass = rules(Performance(register="E1-G2", instrument="upright"), LINE, "bass").allowed
    assert bass[1].nonzero().flatten().tolist() == [REST, HOLD, *range(ONSET + 28 - LOWEST, ONSET + 44 - LOWEST)]
    assert bass[0].nonzero().flatten().tolist() == [0]
