"""The paper's work from data to table, in one command that goes on where it stopped:

    python scripts/reproduce_paper.py --data moisesdb --out paper
    python scripts/reproduce_paper.py --data moisesdb --out paper --also MUSDB18=musdb18hq --devices 4

The base is MusicGen-small; `stage models get facebook/musicgen-small` installs it. Each stage is a `stage` command that
is printed before it runs and can be run by hand: the songs are prepared once; three models are fine-tuned by recipes/
(drums, bass, and drums without click pairs, the ablation); each stem is evaluated by the paper's two protocols with all
controls, the ablation beside the drums. Every stage is resumable by itself, so that the same command after a crash, a
signal or the end of a cluster's job loses no more than the steps since the last checkpoint. A stage that fails ends the
work with its exit code.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from stage.checkpoints.installed import find
from stage.errors import StageError

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MODELS = {"drums": "drums", "bass": "bass", "no-click": "ablation-no-click"}
"""Name of a run -> its recipe."""


def stages(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """(title, arguments of `stage`) of each stage, in order."""
    out: Path = options.out
    extra = [part for change in options.set or [] for part in ("--set", change)]
    if options.devices:
        extra += ["--devices", str(options.devices)]
    songs = {"data": out / "songs"}
    rate = ["--rate", str(options.rate), *shlex.split(options.prepare)]
    work = [("prepare", ["prepare", options.data, str(songs["data"]), *rate])]
    for name, path in (pair.split("=", 1) for pair in options.also or []):
        songs[name] = out / f"songs-{name}"
        work.append((f"prepare {name}", ["prepare", path, str(songs[name]), *rate]))
    for name, recipe in MODELS.items():
        command = [
            "train",
            "finetune",
            str(options.recipes / f"{recipe}.yaml"),
            "--base",
            options.base,
            "--data",
            str(songs["data"]),
            "--out",
            str(out / name),
        ]
        work.append((f"train {name}", command + extra))
    evaluation = shlex.split(options.evaluate)
    for stem, others in (("drums", ["--baseline", f"no-click={out / 'no-click' / 'model'}"]), ("bass", [])):
        for name, folder in songs.items():
            place = out / f"evaluation-{stem}{'' if name == 'data' else '-' + name}"
            command = [
                "evaluate",
                str(out / stem / "model"),
                "--data",
                str(folder),
                "--stem",
                stem,
                "--out",
                str(place),
            ]
            work.append((f"evaluate {stem} on {name}", command + others + evaluation))
    return work


def main() -> int:
    """Run the stages; returns the exit code of the first that fails, 0 where none does, 2 where there is no base."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="MoisesDB, or any data set that stage prepare reads")
    parser.add_argument(
        "--also",
        action="append",
        metavar="NAME=FOLDER",
        help="another data set to evaluate on, as the paper does on MUSDB18; may be repeated",
    )
    parser.add_argument(
        "--base",
        default="facebook/musicgen-small",
        help="model to start from: a folder, an installed one, or OWNER/NAME of an installed one (docs/checkpoints.md)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--rate", type=int, default=32000, help="the base's sampling rate in Hz")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="folder with the recipes, where yours differ")
    parser.add_argument("--devices", type=int, help="GPUs of this machine to train on")
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="a change to all recipes, e.g. schedule.steps=100; may be repeated",
    )
    parser.add_argument(
        "--prepare", default="", metavar="OPTIONS", help='options of stage prepare, e.g. "--workers 8 --split paper"'
    )
    parser.add_argument(
        "--evaluate", default="", metavar="OPTIONS", help='options of stage evaluate, e.g. "--quick --workers 4"'
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    options = parser.parse_args()
    if wrong := [pair for pair in options.also or [] if not all(pair.partition("="))]:
        parser.error(f"--also takes NAME=FOLDER, not {wrong[0]}")
    try:
        find(options.base)  # before hours of preparing
    except StageError as error:
        print(f"reproduce_paper: {error}", file=sys.stderr)
        if not options.dry_run:
            return 2
    for title, arguments in stages(options):
        print(f"== {title}\n$ stage {shlex.join(arguments)}", flush=True)
        if not options.dry_run and (code := subprocess.run([sys.executable, "-m", "stage", *arguments]).returncode):
            print(f"{title} ended with {code}; the same command goes on from here", file=sys.stderr)
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
