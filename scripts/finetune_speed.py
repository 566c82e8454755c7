"""Examples a second of fine-tuning, with the codec in the loop and with the examples cached as tokens. Run by hand:

    python scripts/finetune_speed.py --data CORPUS                      # on a CPU: the sketch model, 4 s, batch 4
    python scripts/finetune_speed.py --data PREPARED --base musicgen-small --paper --theirs 3.1

--paper is the setting of the released training loop: 10 s, batch 2 x 4, 16 bits, one GPU; --theirs takes the examples a
second that their loop reached on the same GPU (count their optimizer steps in a minute, times 8), and the last column
compares. Prints a table, and a line of JSON for each row. The steps of the warm-up (compilation, first reads) are left
out; so is the making of the cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from stage.training.finetune.recipe import read
from stage.training.finetune.run import METRICS, finetune
from stage.training.log import lines as log_lines

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
CPU = ["batch.size=4", "batch.accumulate=1", "examples.seconds=4.0", "examples.crop=[2.0,4.0]"]
PAPER = [
    "batch.size=2",
    "batch.accumulate=4",
    "engine.accelerator=cuda",
    "engine.precision=16",
    "loader.workers=8",
    "examples.seconds=10.0",
    "examples.crop=[5.0,10.0]",
]


def measure(base: str, data: str, settings: list[str], cache: str, steps: int, warmup: int, cached: int) -> dict:
    """One run of ``steps`` after ``warmup``; medians over its lines."""
    with tempfile.TemporaryDirectory() as folder:
        out, clock = Path(folder) / "run", time.perf_counter()
        whole = [
            "validation.examples=0",
            "every.validate=0",
            "every.save=0",
            "every.listen=0",
            "every.log=1",
            "track.tensorboard=false",
            f"schedule.steps={steps + warmup}",
            f"loader.cache={cache}",
            f"loader.cached_examples={cached}",
            *settings,
        ]
        finetune(read(RECIPES / "tiny.yaml", whole), base, data, out)
        seconds = time.perf_counter() - clock
        lines = [line for line in log_lines(out / METRICS) if line["step"] > warmup]
    ordered = sorted(line["samples_per_second"] for line in lines)
    size = steps and len(lines)
    total = sum(1 / line["samples_per_second"] for line in lines)
    return {
        "cache": cache,
        "examples_per_second": round(size / total, 2),
        "median": round(ordered[size // 2], 2),
        "waiting_for_data": round(
            sum(line["waiting_for_data"] / line["samples_per_second"] for line in lines) / total, 3
        ),
        "whole_run_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="songs: a folder, or the URL of a prepared set")
    parser.add_argument("--base", default="sketch")
    parser.add_argument("--paper", action="store_true", help="the released loop's setting, on a GPU")
    parser.add_argument("--theirs", type=float, help="examples a second of the released loop on the same GPU")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--cached", type=int, default=128, help="examples in the cache")
    parser.add_argument("--set", action="append", default=[], dest="changes", help="key=value of the recipe")
    given = parser.parse_args()
    settings = [*(PAPER if given.paper else CPU), *given.changes]
    rows = [
        measure(given.base, given.data, settings, cache, given.steps, given.warmup, given.cached)
        for cache in ("none", "tokens")
    ]
    print(f"| cache | examples/s | waiting for data |{' against the released loop |' if given.theirs else ''}")
    print(f"| --- | --- | --- |{' --- |' if given.theirs else ''}")
    for row in rows:
        against = f" {row['examples_per_second'] / given.theirs:.1f}x |" if given.theirs else ""
        print(f"| {row['cache']} | {row['examples_per_second']:.2f} | {100 * row['waiting_for_data']:.0f} % |{against}")
    for row in rows:
        print(json.dumps({"benchmark": "finetune_speed", "base": given.base, "settings": settings, **row}))


if __name__ == "__main__":
    main()
