import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from helpers.players import Player, write_noted_corpus
from stage.beats.find import Found
from stage.beats.grid import BeatGrid
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation import results
from stage.evaluation.acceptance.player import jobs, takes
from stage.evaluation.acceptance.player.baselines import Beats, Library
from stage.evaluation.acceptance.player.clips import PlayerMaterial, Settings
from stage.evaluation.acceptance.player.report import WIDTH, print_report, report, to_json, to_markdown
from stage.evaluation.acceptance.player.run import run, valid
from stage.evaluation.figures.sound import mel_spectrum

SETTINGS = Settings(mixes=4, clicks=2, drummers=2, controls=2, prompts=2, speed=1, seconds=8.0, examples=1)


def spectral(audio: np.ndarray, rate: int) -> np.ndarray:
    """Stands for musicnn: levels in bands of each third of a clip."""
    levels = np.log10(mel_spectrum(audio, rate, bands=24) + 1e-3)
    return np.stack([part.mean(0) for part in np.array_split(levels, 3)])


def correlation(stem: np.ndarray, context: np.ndarray, rate: int) -> float:
    """Stands for the scorer: levels that rise together."""
    a, b = (np.abs(x).reshape(-1, 320).mean(1) for x in (stem, context[: len(stem)]))
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def quick():
    """The embedding, the scorer and the tracker of the baselines are tested elsewhere; here they are cheap ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "find", lambda audio, rate: Found(BeatGrid.regular(110, 4, len(audio) / rate)))
        patch.setattr(takes.musicnn, "embed", spectral)
        patch.setattr(takes.scorer, "score", correlation)
        yield


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return tuple(songs(write_noted_corpus(tmp_path_factory.mktemp("corpus")), "heldout"))


@pytest.fixture(scope="module")
def material(held_out):
    return PlayerMaterial(held_out, SETTINGS, ("drums", "bass"))


@pytest.fixture(scope="module")
def library(held_out):
    return Library(held_out)


@pytest.fixture(scope="module")
def good(quick, material, library, tmp_path_factory):
    """A player of the true parts, what was measured, and where."""
    player, out = Player.of(material), tmp_path_factory.mktemp("out")
    return player, out, run(player, material, library, out)


def line(result, start: str):
    return next(line for line in result.lines if line.name.startswith(start))


def test_the_true_part_is_as_good_as_itself_and_wrong_contexts_are_not(good, material):
    result = report(good[2], material)
    for name in ("click", "mix ->", "mix alone", "bass /", "drums: hits", "bass: hits"):
        for value, _, _ in line(result, name).values.values():
            assert value == pytest.approx(1, abs=0.03), name
        assert line(result, name).met, name
    assert line(result, "notes in the sounding chord, right").values["bass"][0] == 1
    assert line(result, "notes in the sounding chord, wrong").met
    assert line(result, "notes in the sounding chord, chords").met
    assert line(result, "right minus wrong").met
    first = {
        name: [
            row["take"]["coherence"][0] == max(row["take"]["coherence"])
            for key, row in good[2].items()
            if key.startswith(f"{name} mix")
        ]
        for name in ("made", "true")
    }
    assert len(first["true"]) == 8 and sum(first["true"]) > 4  # of five contexts the right one
    assert line(result, "coherence").values[""][0] == pytest.approx(sum(first["made"]) / sum(first["true"]))
    conditions = result.conditions["mix drums"]
    assert conditions["made"]["onset_f"] == 1 > conditions["wrong"]["onset_f"] + 0.25
    assert set(conditions) == {"true", "made", "wrong", "none", "fixed", "nearest"}


def test_the_pattern_lies_on_the_grid_that_the_model_is_given(good, material):
    """The tracked one with a recording (here always 110 BPM from its beginning), the true one with a click."""

    def off(key: str, beats: Beats) -> float:
        starts = np.array([note[0] for note in good[2][key]["fixed"]["notes"]])
        twelfths = 12 * beats.places(starts)
        return float(np.abs(twelfths - twelfths.round()).mean())

    tracked = Beats(BeatGrid.regular(110, 4, 8.0))
    for task, grid in (("mix drums", tracked), ("click", None)):
        for clip in material.of(task):
            true = Beats(clip.truth.grid)
            assert off(f"baselines {task}/{clip.key}", grid or true) < 0.01
            assert off(f"baselines {task}/{clip.key}", true if grid else tracked) > 0.1


def test_the_true_part_is_near_the_true_parts_and_the_fixed_pattern_is_not(good, material):
    result = report(good[2], material)
    assert line(result, "FAD of stems / of the true").values["drums"][0] == pytest.approx(1, abs=0.05)
    found = result.distances["drums"]["stem"]["FAD"]
    assert found["made"] == pytest.approx(found["true"], rel=0.05)
    assert found["fixed"] > 2 * found["made"]


def test_fills_stand_before_borders(good, material):
    found = line(report(good[2], material), "fills")
    assert found.met
    assert "true parts" in found.note


def test_options_words_and_speed(good, material):
    result = report(good[2], material)
    assert line(result, "option push").met and line(result, "option without").met
    assert line(result, "option swing").met in (False, None)  # the stand-in has no swing
    assert line(result, "prompts: busy").met and line(result, "prompts: kit").met
    assert line(result, "prompts: style").met is None
    assert line(result, "seconds for 10 s of drums").values[""][0] > 0
    asked = {call["prompt"] for call in good[0].calls}
    assert {"rock drums", "busy, driving drums", "drums on standard kit"} <= asked
    charts = [call["chords"] for call in good[0].calls if call.get("chords")]
    assert len(charts) == SETTINGS.mixes and all(len(chart) >= 3 for chart in charts)


def test_a_late_player_fails_where_the_beat_counts(quick, good, material, library, tmp_path):
    few = replace(SETTINGS, mixes=2, clicks=1, controls=1, prompts=1)
    own = PlayerMaterial(material.songs, few, ("drums",))
    rows = run(Player.of(own, late=0.25, obeys=False), own, library, tmp_path)
    result = report(rows, own)
    assert not line(result, "mix -> drums").met
    assert not line(result, "kick and snare").met
    assert not line(result, "right minus wrong").met
    assert line(result, "option push").met is False
    assert line(result, "option without").met is False


def test_a_run_goes_on_where_it_stopped(good, material, library, tmp_path):
    player, out, rows = good
    kept = (out / results.ROWS).read_text().splitlines()
    (tmp_path / results.RUN).write_text((out / results.RUN).read_text())
    (tmp_path / results.ROWS).write_text("\n".join(kept[:-1]) + "\n" + kept[-1][:50])
    before, seen = len(player.calls), []
    again = run(player, material, library, tmp_path, lambda done, total, what: seen.append((done, total)))
    assert list(again) == list(rows)
    assert seen[0] == (len(rows) - 1, len(rows)) and seen[-1][0] == len(rows)
    assert 0 < len(player.calls) - before < 6
    other = replace(material, settings=replace(SETTINGS, seed=1))
    with pytest.raises(StageError, match="another settings"):
        run(player, other, library, tmp_path)


def test_rows_that_lack_a_figure_are_measured_again(good):
    rows = good[2]
    for key, change in (
        ("true mix drums/000", {"take": None}),
        ("made mix bass/000", {"take": {"notes": [[0, 1, 40]], "instrument": "finger"}}),
        ("made mix drums/000", {"take": {**rows["made mix drums/000"]["take"], "stem": "1:AAA"}}),
        ("baselines click/000", {"fixed": {}}),
        ("control push/000", {"effect": "1"}),
        ("kit/000", {"asked": None}),
        ("stream/000", {"took": None}),
    ):
        row = {"key": key, **json.loads(json.dumps(rows[key]))}
        assert valid(row) and not valid(row | change), key


def test_the_report_is_written_in_all_forms(good, material):
    result = report(good[2], material)
    text = to_markdown(result)
    assert "| mix -> drums, beat F / the true drums' |" in text and "reached" in text
    data = json.loads(to_json(result, SETTINGS, {"name": "player"}))
    assert {one["name"] for one in data["lines"]} == {one.name for one in result.lines}
    console = Console(record=True, width=WIDTH)
    print_report(result, console)
    assert "NOT reached" in console.export_text()
    assert (good[1] / "examples").is_dir()
