"""The model in the package: it is there, it follows its context, and a run of it is small and whole."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stage
from stage import BeatGrid, Stage, audio
from stage.audio.level import CEILING, loudness, spread
from stage.evaluation.acceptance.score import Analysis, score
from stage.evaluation.truth import Truth

FOLDER = Path(stage.__file__).parent / "weights" / "sketch"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the sketch model is not trained yet")


@pytest.fixture(scope="module")
def sketch():
    return Stage.from_pretrained("sketch", device="cpu")


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).parents[1] / "scripts" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_drums_keep_the_tempo_of_a_metronome(sketch):
    """Beat F of three seeds at each tempo, by a tracker that was not trained on the corpus, against the other tempo's
    beats."""
    tempi = (96.0, 143.0)
    right, wrong = [], []
    for tempo, other in (tempi, tempi[::-1]):
        made = sketch.click(tempo, "drums", bars=4, seed=1, variations=3)
        seconds = made.stems.shape[1] / made.rate
        for stem in made.stems:
            found = Analysis.of(stem, made.rate, pitched=False)
            right.append(score(found, Truth(made.grid, tempo))["beat_f"])
            wrong.append(score(found, Truth(BeatGrid.regular(other, 4, seconds), other))["beat_f"])
    assert np.mean(right) >= 0.85 and np.mean(right) > np.mean(wrong) + 0.3, (right, wrong)


def test_it_plays_to_a_real_recording(sketch, demo, tmp_path):
    demo.prepare(tmp_path)
    for gone, grid in (("drums", BeatGrid.load(tmp_path / "beats.txt")), ("bass", "on")):
        recording, rate = audio.read(tmp_path / f"without-{gone}.wav")
        made = sketch.accompany(recording, rate, gone, grid=grid, seed=2)
        assert rate == 44100 and made.stems.shape == (1, recording.shape[1])
        assert np.isfinite(made.stems).all() and np.abs(made.stems).max() <= CEILING
        wanted, peak = loudness(recording, rate) - 4, np.abs(made.stems[0]).max()
        # a low bass that is to sound loud has its peaks at full scale before it is; the limiter then wins
        softest = 1.5 if peak < 0.98 * CEILING else 4
        assert wanted - softest < loudness(spread(made.stems[0], len(recording)), rate) < wanted + 1.5


def test_the_card_and_the_licence_are_there(sketch):
    assert "Apache-2.0" in json.loads((FOLDER / "config.json").read_text())["stage"]["licence"]
    assert len((FOLDER / "README.md").read_text(encoding="utf-8")) > 1000


def test_a_run_takes_less_than_1_5_gb(demo, tmp_path):
    demo.prepare(tmp_path)
    code = (
        "import sys; from stage.cli import app as cli; from stage.benchmark.peak import peak_bytes;"
        " code = cli.run(sys.argv[1:]); print(code, peak_bytes())"
    )
    args = ["accompany", tmp_path / "without-bass.wav", "--stem", "bass", "-o", tmp_path]
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=True)
    exit_code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert exit_code == 0 and peak < 1.5e9
