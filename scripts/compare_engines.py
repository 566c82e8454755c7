"""The steps of a decoder of MusicGen-small's size by torch and by OpenVINO, taking turns step by step.

    python scripts/compare_engines.py --precision int8 --threads 1

So what else runs on the machine slows both alike. Prints a Markdown table. CPU time is that of all threads, with those
that wait busily; with one thread it is what the work itself takes. The weights are drawn (0.8 GB in a temporary
folder).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from stage.benchmark.measure import CONTEXT
from stage.checkpoints.engine_file import engine_of
from stage.checkpoints.tensors import fill_decoder, write
from stage.config import DecoderConfig
from stage.generation.decoding import Sampling, advance, begin
from stage.machine import describe
from stage.models.decoder import Decoder


def draw(config: DecoderConfig, path: Path) -> None:
    """Write weights from a normal distribution in bf16; norms are left as they begin."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in Decoder(config).state_dict().items()}

    def make(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            return torch.full(shape, float("norm" in name and name.endswith("weight")))
        return shape[-1] ** -0.5 * torch.randn(shape, generator=generator)

    write(path, {n: (shape, lambda n=n, shape=shape: make(n, shape)) for n, shape in shapes.items()}, torch.bfloat16)


def clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--precision", nargs="+", default=["int8", "int4"])
    ask.add_argument("--variations", type=int, default=1)
    ask.add_argument("--steps", type=int, default=60)
    ask.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    config, sampling, seeds = DecoderConfig(), Sampling(), range(given.variations)
    context = torch.randint(config.codebook_size, (config.codebooks, CONTEXT))
    text = torch.randn(8, config.dim)
    arguments = dict(stem=0, contexts=[context], text=text, frames=CONTEXT, sampling=sampling, hurry=False)
    print("| | a step: CPU ms, least | median | wall ms, least | median | prefill: CPU s | first use: CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="stage-engines-") as folder:
        os.environ["STAGE_HOME"] = folder
        draw(config, path := Path(folder, "decoder.safetensors"))
        for precision in given.precision:
            running = {}
            for name in ("torch", "openvino"):
                began = time.process_time()
                held = engine_of(path, config, precision) if name == "openvino" else None
                decoder = fill_decoder(config, path, precision, "cpu", engine=held)
                begin(decoder, seeds=(0,), **arguments)
                first, began = time.process_time() - began, time.process_time()
                state = begin(decoder, seeds=seeds, **arguments)
                running[name] = decoder, state, time.process_time() - began, first, []
            for step in range(given.steps + 5):
                for decoder, state, _, _, times in running.values():
                    before = clocks()
                    advance(decoder, state, sampling)
                    if step >= 5:  # the first are traced, and choose their kernels
                        times.append([1e3 * (now - then) for now, then in zip(clocks(), before)])
            for name, (*_, prefill, first, times) in running.items():
                columns = [sorted(column) for column in zip(*times)]
                shown = [f"{value:.1f}" for c in columns for value in (c[0], c[len(c) // 2])]
                shown += [f"{prefill:.1f}", f"{first - prefill:.1f}"]
                print(f"| {name} {precision} | {' | '.join(shown)} |", flush=True)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{given.variations} variations, {given.steps} steps, {describe()}{load}.")


if __name__ == "__main__":
    main()
