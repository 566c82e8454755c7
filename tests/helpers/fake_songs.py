"""Small songs on the disk, and small bases with drawn weights, for the tests of fine-tuning."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

from stage.config import DecoderConfig, StageConfig
from stage.models.decoder import Decoder
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText
from stage.pipeline import Stage

RATE = 32000


def write_songs(root: Path, train: int = 4, held: int = 2, seconds: float = 5.0) -> Path:
    """Songs in our corpus' layout: noise on the beat, a low tone, a high one."""
    for split, first, count in (("train", 0, train), ("heldout", 50, held)):
        for i in range(first, first + count):
            folder = root / split / f"{split}-{i:02d}"
            folder.mkdir(parents=True)
            rng, time = np.random.default_rng(i), np.arange(round(seconds * RATE)) / RATE
            beats = [round(0.1 + 0.5 * n, 3) for n in range(int(2 * seconds) - 1)]
            hits = sum(np.exp(-30 * np.maximum(time - b, 0)) * (time >= b) for b in beats)
            stems = {
                "drums": 0.2 * hits * rng.standard_normal(len(time)),
                "bass": 0.2 * np.sin(2 * np.pi * (60 + 10 * i) * time),
                "keys": 0.1 * np.sin(2 * np.pi * (300 + 50 * i) * time),
            }
            for name, audio in stems.items():
                soundfile.write(folder / f"{name}.flac", audio, RATE, subtype="PCM_16")
            (folder / "song.json").write_text(
                json.dumps(
                    {
                        "id": folder.name,
                        "rate": RATE,
                        "samples": len(time),
                        "stems": {n: {} for n in stems},
                        "beats": beats,
                        "bpm": 120,
                        "downbeat_numbers": [n % 4 + 1 for n in range(len(beats))],
                        "genre": "rock",
                        "moods": ["calm"],
                        "captions": ["a calm song"],
                        "chords": [{"start": 0.0, "end": seconds, "name": "C", "root": 0, "pitch_classes": [0, 4, 7]}],
                        "key": "C major",
                        "stem_captions": {"drums": ["plain drums"], "bass": ["low bass"]},
                        "density": {n: 0.5 for n in stems},
                    }
                )
            )
    return root


def small_base(stems: tuple[str, ...] = ("drums",), as_embedded: bool = False) -> Stage:
    """A model as the paper's, but tiny: sinusoids that go on, one kind of context. Without stems it is MusicGen itself.

    as_embedded: as the sketch model instead, with two kinds of context, positions that restart, and a context encoder
    with dropout.
    """
    own = (
        dict(contexts=("grid", "mix"), positions="rotary", restart=True, context_layers=2, context_width=8)
        if as_embedded
        else dict(contexts=("mix",) if stems else ())
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = SpectralCodec(
            SpectralConfig(width=16, encoder_blocks=1, decoder_blocks=1, latent=8, codebooks=2, codebook_size=32)
        )
        codec.quantizer.embed.normal_()
        decoder = Decoder(
            DecoderConfig(
                dim=32, layers=2, heads=2, ffn_dim=64, codebooks=2, codebook_size=32, stems=stems, text_dim=8, **own
            )
        )
        text = HashedText(HashedConfig(dim=8, buckets=64))
    return Stage(
        decoder.eval(),
        codec.eval().requires_grad_(False),
        text.eval().requires_grad_(False),
        StageConfig(name="small", licence="CC-BY-NC-4.0", window_seconds=2.0, top_k=20),
    )


# ---------------------------------------------------------------- processes


def process(
    recipe: Path,
    changes: list[str],
    base: Path,
    data: Path,
    out: Path,
    rank: int,
    world: int,
    port: int,
    die_at: int,
    where: str,
) -> None:
    """One process of a run, as torchrun starts it; the first one is killed (SIGKILL) at a step: "between" steps, or
    while it is "saving"."""
    if world > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }
    from stage.training.finetune.recipe import read
    from stage.training.finetune.run import finetune

    def die(step: int, *_: object) -> None:
        if rank == 0 and step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if where == "saving":
        sync = os.fsync
        os.fsync = lambda file: (die(int(os.environ.get("STEP", 0))), sync(file))
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of the workers that cut examples
    finetune(
        read(recipe, changes),
        str(base),
        data,
        out,
        lambda step, *_: os.environ.update(STEP=str(step)) if where == "saving" else die(step),
        lambda line: None,
    )


def run(
    recipe: Path,
    changes: list[str],
    base: Path,
    data: Path,
    out: Path,
    world: int = 1,
    die_at: int = 0,
    where: str = "between",
) -> None:
    """A run in processes of its own, to its end or to its death; the others end with the first one that was killed."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for the server that loads torch once for all processes
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "helpers.fake_songs",
            "stage.training.finetune.run",
            "lightning_fabric",
            "torch._dynamo",
            "torch.distributed.fsdp",
        ]
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    many = [
        context.Process(target=process, args=(recipe, changes, base, data, out, rank, world, port, die_at, where))
        for rank in range(world)
    ]
    for one in many:
        one.start()
    many[0].join(100)
    for one in many[1:]:
        if die_at:
            one.kill()
        one.join(100)
    codes = [one.exitcode for one in many]
    assert codes[0] == (-signal.SIGKILL if die_at else 0), codes
