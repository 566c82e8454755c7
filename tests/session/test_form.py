"""The form of a song: sections that are found, energies and fills that follow them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.sessions import RATE
from stage import BeatGrid, StageError, audio
from stage.cli.app import run
from stage.generation import steering
from stage.generation.performance import Performance
from stage.models.events import TimeLine
from stage.session import Session, form
from stage.session import time as timing
from stage.session.making import request
from stage.session.state import Section, Time

BAR = 1.0


def song(letters: str, bars: int = 4) -> np.ndarray:
    """[1, N]: A soft and low, B loud and high, C noise, so many bars of a second each."""
    rng, moments = np.random.default_rng(0), np.arange(round(bars * BAR * RATE)) / RATE
    beat = 0.2 + 0.8 * np.exp(-8 * (moments % 0.25))

    def chord(*hz: float) -> np.ndarray:
        return sum(np.sin(2 * np.pi * one * moments) for one in hz) / len(hz)

    kinds = {
        "A": 0.1 * chord(110, 220, 261.6, 329.6),
        "B": 0.5 * chord(196, 392, 493.9, 587.3, 1174.7),
        "C": 0.05 * rng.standard_normal(len(moments)),
    }
    return np.concatenate([kinds[letter] * beat for letter in letters]).astype(np.float32)[None]


GRID = BeatGrid.regular(240, 4, 60)


def test_sections_are_found_and_those_alike_have_one_letter():
    sound = song("ABAC")
    found = form.found(sound, RATE, GRID.crop(0, 16))
    assert [(section.name, section.bar) for section in found] == [("A", 1), ("B", 5), ("A", 9), ("C", 13)]
    energies = [section.energy for section in found]
    assert energies[0] == energies[2] < energies[3] < energies[1] and min(energies) >= 0.1 and max(energies) <= 0.9


def test_what_is_the_same_all_the_time_is_one_section_without_energy():
    assert form.found(song("AAAA"), RATE, GRID.crop(0, 16)) == (Section("A", 1, None),)
    assert len(form.found(np.zeros((2, 16 * RATE), np.float32), RATE, GRID.crop(0, 16))) == 1
    assert form.found(song("A", 2), RATE, GRID.crop(0, 2)) == (Section("A", 1, None),)
    with pytest.raises(StageError, match="no bars"):
        form.found(song("AB"), RATE, None)


def test_the_cut_is_the_cheapest_of_all():
    bars = np.random.default_rng(3).normal(size=(11, 5)) / 3
    bars[4:8] += 1.0

    def cost(starts: list[int]) -> float:
        made = 0.0
        for a, b in zip(starts, [*starts[1:], len(bars)]):
            made += np.square(bars[a:b] - bars[a:b].mean(0)).sum() + form.USUAL.section
            made += form._length(b - a, form.USUAL, b == len(bars))
        return made

    every = [[0, *(i for i in range(1, 11) if mask >> (i - 1) & 1)] for mask in range(2**10)]
    assert form.cut(bars) == min(every, key=cost) and {4, 8} <= set(form.cut(bars))


def test_letters_go_on_after_z():
    bars = np.eye(30)
    assert form.labels(bars, list(range(30)), 0.5)[24:29] == ["Y", "Z", "A1", "B1", "C1"]


def test_a_session_finds_the_form_of_its_song(tmp_path, player, capsys):
    audio.write(tmp_path / "song.wav", song("ABA"), RATE)
    GRID.crop(0, 12).save(tmp_path / "beats.txt")
    words = ["--grid", str(tmp_path / "beats.txt"), "--tuning", "off", "--form", "song", "--extend", "4"]
    folder = tmp_path / "s"
    assert run(["session", "new", str(tmp_path / "song.wav"), *words, "-o", str(folder)]) == 0
    assert "form: A from bar 1, B from bar 5, A from bar 9" in capsys.readouterr().out
    session = Session.open(folder, player)
    before = session.time.sections
    session.mend(form="loud 12")
    assert session.mend(form="song").sections == before != ()
    other = Session.new(tmp_path / "t", bpm=120, bars=2, model=player)
    with pytest.raises(StageError, match="without a song no form"):
        other.mend(form="song")


def test_what_a_recipe_asks_of_the_model_has_the_form_of_its_time(session):
    recipe = session.book.takes[session.track("drums").kept].recipe
    assert request(session.stage, recipe, session.scene(), [0]).form == (("intro", 1), ("verse", 2))
    session.mend(form="a 1 0.2, b 1, a 1")
    assert request(session.stage, recipe, session.scene(), [0]).form == (("intro", 1), ("verse", 2))
    now = session._renewed(recipe, "drums")
    assert request(session.stage, now, session.scene(), [0]).form == (("a", 1), ("b", 2), ("a", 3))
    with pytest.raises(StageError, match="the form cannot have"):
        session.mend(form="a\x07 1")


def test_drums_have_a_fill_before_each_section_unless_others_are_asked_for():
    time = Time.of(GRID, sections=(Section("a", 1), Section("b", 5), Section("c", 9)))
    usual = Performance()
    assert timing.shaped(usual, time, "drums").fill_bars == (4, 8)
    assert timing.shaped(usual, time, "drums", fills=False) == timing.shaped(usual, time, "bass") == usual
    assert timing.shaped(Performance(fills=4), time, "drums").fill_bars == ()
    assert timing.shaped(Performance(fill_bars=[2]), time, "drums").fill_bars == (2,)
    assert timing.shaped(usual, Time.of(GRID, sections=(Section("a", 1),)), "drums") == usual


def test_fills_are_in_the_bars_that_are_named():
    line = TimeLine.musical(GRID.crop(0, 8), 8.0, 12)
    bar = steering.bars(line)
    least = steering.rules(Performance(fill_bars=(2, 5)), line, "drums").least.numpy()
    assert set(bar[(least[:, 3:] > 0).any(1)]) == {2, 3, 5, 6}  # the crash after a fill is in the next bar
    assert (steering.rules(Performance(fills=2), line, "drums").least.numpy()[bar == 4] > 0).any()
    both = steering.rules(Performance(fills=4, fill_bars=(2,)), line, "drums").least.numpy()
    assert (both[bar == 2] > 0).any() and (both[bar == 4] > 0).any()
    controls = steering.controls(Performance(fill_bars=(2,)), line, "drums")
    assert set(bar[controls["border"] > 0]) == {2}
    for wrong in ((0,), (1.5,), ("x",)):
        with pytest.raises(StageError, match="fill-bars"):
            Performance(fill_bars=wrong)
    with pytest.raises(StageError, match="drums"):
        Performance(fill_bars=(1,)).check("bass")


def test_bars_with_a_fill_are_in_the_recipe_and_older_ones_have_none(session):
    rows = json.loads((session.folder / "session.json").read_text(encoding="utf-8"))["takes"]
    drums = rows[session.track("drums").kept]["recipe"]["performance"]
    assert drums == {"fill_bars": [1]}  # intro 1, verse 2
    assert "fill_bars" not in rows[session.track("bass").kept]["recipe"]["performance"]
    session.add("drums", name="plain", border_fills=False)
    assert session.book.takes[session.track("plain").kept].recipe.performance == {}


def test_the_figures_of_a_form_by_hand():
    """Three borders found, two there; one right. Pairs of AABB against AAAB: one in common, of two and of three."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "form.py"
    spec = importlib.util.spec_from_file_location("form_figures", path)
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    assert figures.border_score(np.array([4.2, 4.4, 9.0]), np.array([4.0, 12.0]), 0.5) == pytest.approx(2 / 5)
    assert figures.pair_score(list("AABB"), list("AAAB")) == pytest.approx(2 / 5)
    song = {"samples": 16, "rate": 1, "sections": [{"start": 0.0, "kind": "a"}, {"start": 8.0, "kind": "b"}]}
    edges = np.arange(0.0, 18.0, 2.0)
    assert set(figures.score([0, 4], ["A", "B"], edges, song).values()) == {1.0}
    late = figures.score([0, 5], ["A", "B"], edges, song)
    assert (late["borders, half a bar"], late["borders, 1.5 bars"]) == (0.0, 1.0) and late["pairs"] < 1
