"""`stage bench`: every figure of speed, memory and exactness in one run, as tables and one line of JSON."""

from __future__ import annotations

import contextlib
import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from stage.errors import StageError


def bench(
    steps: Annotated[int, typer.Option(help="Steps to time of each; a ten-second stem has 503.")] = 500,
    variations: Annotated[int, typer.Option(help="How many at once, against one.")] = 8,
    threads: Annotated[int | None, typer.Option(help="Threads; all cores by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    weights: Annotated[
        Path | None, typer.Option(help="Keep the drawn weights in this folder (4 GB), or use those that are there.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only these parts, with commas: steps, peer, many, job, first, quality.")
    ] = None,
) -> None:
    """Measure speed, memory and exactness against transformers and the memory's own speed.

    \b
    stage bench                      everything, about half an hour on two cores
    stage bench --steps 50           a first look
    stage bench --only quality       what int8 and int4 cost the sketch model

    The full-size model has drawn weights in the shape of MusicGen-small: speed does not depend on their values. Every
    measurement runs in a process of its own, both engines' (torch, openvino) and transformers' on the same weights.
    Each figure is printed when it is there, one that fails stops no other, and the last line is JSON.
    """
    from stage.benchmark.report import failures, lines, print_tables

    parts = set(only.split(",")) if only else {"steps", "peer", "many", "job", "first", "quality"}
    if unknown := parts - {"steps", "peer", "many", "job", "first", "quality"}:
        raise StageError(f"there is no part {', '.join(sorted(unknown))} in the benchmark: see stage bench --help")
    if steps < 5 or variations < 2:
        raise StageError("choose at least 5 steps and 2 variations")
    import torch

    threads = threads or torch.get_num_threads()
    found: dict[str, Any] = {"machine": machine(threads, device), "steps": steps, "variations": variations}
    with _weights(weights, need=bool(parts & {"steps", "peer", "many", "job", "first"})) as folder:
        for name, task, arguments in plan(parts, str(folder), steps, variations, threads, device):
            found[name] = measured(name, task, arguments)
            print("\n".join(lines(found, name)), flush=True)
    print_tables(found)
    print(json.dumps(found), flush=True)
    if missing := failures(found):
        raise StageError(f"{len(missing)} measurements failed, the others stand: {', '.join(missing)}")


def plan(
    parts: set[str], weights: str, steps: int, variations: int, threads: int, device: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The measurements as (name, task, arguments); names are those of the JSON line."""
    from stage.benchmark.measure import SHIPPED
    from stage.models import engine

    kinds = {"torch": ("float32", "bf16", "int8", "int4") if device == "cpu" else ("float32", "bf16")}
    if device == "cpu" and engine.installed():
        kinds["openvino"] = engine.PRECISIONS
    best = "int8" if device == "cpu" else "bf16"
    common = dict(weights=weights, threads=threads, device=device)
    if device == "cpu":
        yield "bandwidth", "bandwidth", dict(threads=threads)
    if "peer" in parts:
        for precision in ("float32", "bf16"):
            yield f"transformers {precision}", "peer", dict(**common, precision=precision, variations=1, count=steps)
    if "steps" in parts:
        for name, precisions in kinds.items():
            for precision in precisions:
                arguments = dict(**common, precision=precision, variations=1, count=steps, engine=name)
                yield f"{name} {precision}", "steps", arguments
    if "many" in parts:
        many = variations if device == "cpu" else max(variations, 64)
        for name in kinds:
            arguments = dict(**common, precision=best, variations=many, count=steps, engine=name)
            yield f"{name} {best} x{many}", "steps", arguments
        if "peer" in parts:
            yield (
                f"transformers bf16 x{many}",
                "peer",
                dict(**common, precision="bf16", variations=many, count=max(5, steps // 5)),
            )
    if "job" in parts:
        for precision in ("int8", "int4") if device == "cpu" else (best,):
            yield f"job {precision}", "job", dict(**common, precision=precision)
        for name in SHIPPED:
            yield f"job {name}", "job", dict(common, weights=name, precision="auto")
    if "first" in parts:
        yield f"first {best}", "first", dict(**common, precision=best)
        for name in SHIPPED:
            yield f"first {name}", "first", dict(common, weights=name, precision="auto")
    if "quality" in parts:
        for precision in ("float32", "int8", "int4"):
            yield f"quality {precision}", "quality", dict(precision=precision, threads=threads)
        for precision in ("int8", "int4") if "openvino" in kinds else ():
            arguments = dict(precision=precision, threads=threads, engine="openvino")
            yield f"quality {precision} openvino", "quality", arguments


def measured(name: str, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One measurement, or {"failed": why}; its name is shown while it runs."""
    from rich.console import Console

    from stage.benchmark.measure import run

    with Console(stderr=True).status(f"measuring: {name}"):
        try:
            return run(task, **arguments)
        except RuntimeError as error:
            return {"failed": str(error)}


@contextlib.contextmanager
def _weights(folder: Path | None, need: bool) -> Iterator[Path | None]:
    """A folder with drawn weights in the layouts of transformers (``theirs``) and of ours (``stage``)."""
    if not need:
        yield None
    elif folder is not None:
        _draw(folder)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="stage-bench-") as place:
            _draw(Path(place))
            yield Path(place)


def _draw(folder: Path) -> None:
    import torch

    from stage.checkpoints.convert import convert
    from stage.testing.weights import save_musicgen

    if not (folder / "theirs/config.json").is_file():
        save_musicgen(folder / "theirs", "small")
    if not (folder / "stage/config.json").is_file():
        convert(folder / "theirs", folder / "stage", stems=["drums"], name="drawn-small", dtype=torch.bfloat16)


def machine(threads: int, device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    import torch
    import transformers

    from stage import __version__
    from stage.benchmark.measure import version
    from stage.machine import processor
    from stage.models.processor import detected

    return {
        "processor": processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": threads,
        "bf16_instructions": detected().bf16,
        "vnni": detected().vnni,
        "stage": __version__,
        "torch": torch.__version__,
        "openvino": version("openvino"),
        "transformers": transformers.__version__,
        "date": str(datetime.date.today()),
    }
