"""A miniature of the whole: prepare, train 200 steps, kill, go on, evaluate, report; by the command that reproduces the
paper."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.fake_songs import small_base
from helpers.miniatures import band

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
examples:
  {{stems: [{stem}], seconds: 2.0, crop: [1.0, 2.0], speed_probability: 0.2, pitch_probability: 0.2,
   click_pairs: {clicks}}}
batch: {{size: 2, accumulate: 1}}
optimizer: {{lr: 1e-3}}
schedule: {{steps: 200}}
engine: {{accelerator: cpu, precision: float32}}
loader: {{workers: 0}}
validation: {{songs: 2, examples: 4}}
every: {{log: 10, validate: 100, save: 50, listen: 200}}
track: {{tensorboard: false}}
"""


@pytest.mark.slow
def test_the_paper_in_miniature(tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name, stem, clicks in (
        ("drums", "drums", "true"),
        ("bass", "bass", "true"),
        ("ablation-no-click", "drums", "false"),
    ):
        (recipes / f"{name}.yaml").write_text(RECIPE.format(stem=stem, clicks=clicks), encoding="utf-8")
    small_base(stems=("drums", "bass")).save_pretrained(str(tmp_path / "base"))
    out, songs = tmp_path / "paper", band(tmp_path / "band", songs=6, seconds=8.0)
    command = [
        sys.executable,
        str(ROOT / "scripts" / "reproduce_paper.py"),
        "--data",
        str(songs),
        "--base",
        str(tmp_path / "base"),
        "--out",
        str(out),
        "--recipes",
        str(recipes),
        "--prepare=--held 0.35",
        "--evaluate",
        "--songs 2 --passes 1 --clicks 1 --controls 1 --seconds 5 --embedding musicnn",
    ]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    while first.poll() is None and not list(out.glob("drums/**/*100*")):
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)  # no farewell
    assert first.wait() == -signal.SIGKILL, first.stdout.read()
    prepared = (out / "songs" / "index.json").stat().st_mtime_ns

    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr[-2000:] + ended.stdout[-2000:]
    assert (out / "songs" / "index.json").stat().st_mtime_ns == prepared
    for name in ("drums", "bass", "no-click"):
        assert (out / name / "model" / "decoder.safetensors").exists()
    results = json.loads((out / "evaluation-drums" / "results.json").read_text(encoding="utf-8"))
    there = {(line["kind"], line["condition"]) for line in results["summary"]}
    assert there >= {
        ("mix", "model"),
        ("mix", "no-click"),
        ("click", "model"),
        ("click", "no-click"),
        ("mix", "true"),
        ("mix", "wrong context"),
    }
    assert "no-click" in (out / "evaluation-drums" / "results.tex").read_text(encoding="utf-8")
    assert (out / "evaluation-bass" / "report.html").read_text(encoding="utf-8").count("<section>") == 3
