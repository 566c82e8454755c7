"""The single measurements. Each runs in a process of its own, so that its memory and its threads are its own:

    python -m stage.benchmark.measure '{"task": "steps", "precision": "int8", ...}'

prints one JSON object.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage.benchmark.peak import peak_bytes
from stage.models.described import described

if TYPE_CHECKING:
    from stage.generation.decoding import State

PROMPT = "busy funk drums with a slow beat"
CONTEXT = 500
"""Frames of the context, ten seconds; as many are generated."""


def run(task: str, **arguments: Any) -> dict[str, Any]:
    """Do a measurement in a new process. Raises RuntimeError with the last line of its errors when it fails."""
    environment = dict(os.environ)
    if task == "peer":
        environment.pop("MKL_CBWR", None)  # what repeatable sums cost us is not the peer's cost
    done = subprocess.run(
        [sys.executable, "-m", "stage.benchmark.measure", json.dumps({"task": task, **arguments})],
        capture_output=True,
        text=True,
        env=environment,
    )
    errors = done.stderr.strip().splitlines()
    if done.returncode:
        raise RuntimeError(errors[-1] if errors else f"the process ended with {done.returncode}")
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError("the process ended without a result") from None


def version(package: str) -> str:
    """Version of a package that may be missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def bandwidth(threads: int) -> dict[str, float]:
    """Bytes a second that all threads read together: the best of sums and of products with a vector, over 512 MiB."""
    import torch

    torch.set_num_threads(threads)
    big = torch.ones(8192, 16384)
    row, best = torch.ones(16384), 0.0
    for read in (big.sum, lambda: torch.mv(big, row)):
        for _ in range(8):
            began = time.perf_counter()
            read()
            best = max(best, big.numel() * 4 / (time.perf_counter() - began))
    return {"bytes_per_second": best}


def summary(seconds: list[float], columns: int) -> dict[str, float]:
    """Median step, and how many steps a second all of them made together; peak memory of this process."""
    ordered = sorted(seconds)
    return {
        "step_ms": 1e3 * ordered[len(ordered) // 2],
        "steps_per_second": len(seconds) / sum(seconds),
        "steps": columns,
        "peak_gb": peak_bytes() / 1e9,
    }


def steps(
    weights: str, precision: str, variations: int, count: int, threads: int, device: str = "cpu", engine: str = "torch"
) -> dict[str, float]:
    """Our decoder's steps: prefill of 500 frames, then ``count`` columns, with guidance and sampling."""
    import torch

    from stage.checkpoints.engine_file import engine_of
    from stage.checkpoints.paths import home
    from stage.checkpoints.tensors import fill_decoder
    from stage.config import DecoderConfig
    from stage.generation.decoding import Sampling, advance, begin
    from stage.models import engine as engines
    from stage.models.decoder import Decoder
    from stage.models.precision import BYTES, matrices
    from stage.models.tune import fastest

    torch.set_num_threads(threads)
    config = DecoderConfig(**json.loads(Path(weights, "stage/config.json").read_text())["decoder"])
    path = Path(weights, "stage/decoder.safetensors")
    held = engine_of(path, config, precision) if engine == "openvino" else None
    kernel = fastest(precision, home()) if device == "cpu" and held is None else ""
    decoder = fill_decoder(config, path, precision, device, kernel=kernel, engine=held)
    draw = torch.Generator().manual_seed(0)
    context = torch.randint(config.codebook_size, (config.codebooks, CONTEXT), generator=draw)
    text = torch.randn(8, config.dim, generator=draw)
    sampling = Sampling()

    def started(frames: int, seeds: Sequence[int]) -> tuple[State, float]:
        began = time.perf_counter()
        state = begin(
            decoder, stem=0, contexts=[context], text=text, frames=frames, seeds=seeds, sampling=sampling, hurry=False
        )
        float(state.logits.sum())
        return state, time.perf_counter() - began

    _, first = started(1, (0,))  # what is compiled, and what chooses kernels, is so once in a process
    state, prefill = started(CONTEXT, range(variations))
    advance(decoder, state, sampling)  # the first comes with the prefill
    times, read = [], 0
    for _ in range(min(count, state.steps - 1)):
        began = time.perf_counter()
        advance(decoder, state, sampling)
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
        read += sum(cache.bytes for cache in state.caches)
    with described():
        whole = Decoder(config)
    # every matrix but that of the text's keys and values, which the prefill has read
    weight = (
        sum(p.numel() for n, p in whole.named_parameters() if n in matrices(whole) and "cross_kv" not in n)
        * (engines.BYTES if held is not None else BYTES)[precision]
    )
    return summary(times, len(times)) | {
        "prefill_seconds": prefill,
        "first_prefill_seconds": first,
        "bytes_per_step": weight + read / len(times),
        "weight_bytes": weight,
    }


def peer(
    weights: str, precision: str, variations: int, count: int, threads: int, device: str = "cpu"
) -> dict[str, float]:
    """The same of ``transformers``: its decoder with its cache, both halves of the guidance in one batch."""
    import torch
    from transformers import MusicgenConfig, MusicgenForCausalLM

    from stage.checkpoints import header
    from stage.checkpoints.tensors import Files

    torch.set_num_threads(threads)
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
    config = MusicgenConfig.from_pretrained(Path(weights, "theirs")).decoder
    torch.set_default_dtype(dtype)
    model = MusicgenForCausalLM(config).eval().to(device)
    torch.set_default_dtype(torch.float32)
    tensors = Files(header.files_of(Path(weights, "theirs"))).below("decoder.")
    model.load_state_dict({name: tensors[name].to(dtype) for name in tensors}, strict=False)
    rows, books, times = 2 * variations, config.num_codebooks, []
    draw = torch.Generator().manual_seed(0)
    columns = torch.randint(config.vocab_size, (rows * books, CONTEXT + books), generator=draw).to(device)
    text = torch.randn(rows, 8, config.hidden_size, generator=draw).to(device, dtype)
    with torch.inference_mode():
        began = time.perf_counter()
        out = model(columns, encoder_hidden_states=text, use_cache=True)
        prefill = time.perf_counter() - began
        for _ in range(count):
            began = time.perf_counter()
            logits = out.logits.view(2, variations, books, -1, config.vocab_size)[..., -1, :].float()
            guided = logits[1] + 3.0 * (logits[0] - logits[1])
            best, codes = guided.topk(min(250, config.vocab_size))
            chosen = codes.gather(-1, torch.multinomial(best.softmax(-1).flatten(0, 1), 1).view(variations, books, 1))
            out = model(
                chosen.repeat(2, 1, 1).view(-1, 1),
                encoder_hidden_states=text,
                past_key_values=out.past_key_values,
                use_cache=True,
            )
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    return summary(times, count) | {"prefill_seconds": prefill}


def _recording(seconds: float = 10.0, rate: int = 32000, bpm: float = 120.0) -> Any:
    """A made-up recording: chords and a beat, float32 [1, N]."""
    import numpy as np

    time_ = np.arange(round(seconds * rate)) / rate
    hits = np.random.default_rng(0).normal(0, 1, len(time_)) * np.exp(-30 * (time_ % (60 / bpm)))
    chord = sum(np.sin(2 * np.pi * hz * time_) for hz in (110.0, 220.0, 277.2, 329.6))
    return (0.1 * hits + 0.05 * chord).astype(np.float32)[None]


SHIPPED = ("sketch", "player")
"""Models of the package, which are measured by name."""


def _place(weights: str) -> str:
    """A shipped model's name, or the folder of our model among drawn weights."""
    return weights if weights in SHIPPED else str(Path(weights, "stage"))


def job(weights: str, precision: str, threads: int, variations: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Ten seconds of recording in, ten seconds of stem out, everything but loading; and its memory, with loading."""
    import torch

    from stage import Stage

    torch.set_num_threads(threads)
    stage = Stage.from_pretrained(_place(weights), device=device, precision=precision)
    audio = _recording()
    stage.codec.encode(torch.zeros(1, stage.codec.sample_rate).to(device))  # kernels are chosen once in a process
    began = time.perf_counter()
    made = stage.accompany(audio, 32000, stage.stems[0], "" if weights in SHIPPED else PROMPT, variations=variations)
    seconds = time.perf_counter() - began
    peak = peak_bytes() / 1e9
    return {
        "seconds": seconds,
        "audio_seconds": made.stems.shape[0] * made.stems.shape[-1] / made.rate,
        "peak_gb": peak,
    }


def first(weights: str, precision: str, threads: int, device: str = "cpu") -> dict[str, float]:
    """Seconds from the request to the first audio of a stream for a context of ten seconds, in a process that has
    played a whole one before."""
    import torch

    from stage import Stage

    torch.set_num_threads(threads)
    stage = Stage.from_pretrained(_place(weights), device=device, precision=precision)
    audio, times = _recording(), []
    for seed in range(4):
        began = time.perf_counter()
        with stage.stream(audio, 32000, stage.stems[0], seed=seed) as chunks:
            length = next(chunks).shape[-1]
            times.append(time.perf_counter() - began)
            for _ in chunks if seed == 0 else ():
                pass
    return {"seconds": sorted(times[1:])[1], "first_in_process": times[0], "chunk_seconds": length / 32000}


if __name__ == "__main__":
    from stage.benchmark.quality import quality
    from stage.models import malloc

    given = json.loads(sys.argv[1])
    if given["task"] != "peer":
        malloc.keep()  # as the command line does
    print(
        json.dumps(
            {"steps": steps, "peer": peer, "job": job, "first": first, "bandwidth": bandwidth, "quality": quality}[
                given.pop("task")
            ](**given)
        )
    )
