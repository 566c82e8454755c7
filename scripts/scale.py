"""What preparing and training on many hours costs, from rates measured here. Prints the tables of docs/scale.md. Run by
hand:

    python scripts/scale.py --data CORPUS --songs 12

Measured: seconds and bytes of `stage prepare` for an hour of song, on one core; seconds of a MusicGen-size EnCodec
(drawn weights) for an hour of one
stem, on one core; multiplications of a training step, counted by torch. Assumed, and printed as such: the effective
speed of a GPU, and stems in a song.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

STEMS = 5
"""Stems of a song, about."""
TOKEN_BYTES = 4 * 50 * 2 * 3600
"""Of an hour of one stem as EnCodec's tokens: 4 codebooks, 50 frames a second, 16 bits."""


def preparing(data: str, songs: int) -> tuple[float, float]:
    """(core seconds, bytes) for an hour of song, all stems."""
    from stage.data import open_songs
    from stage.data.prepare import Settings, prepare

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepare(data, Path(folder) / "out", Settings(), limit=songs)
        spent = time.perf_counter() - start
        hours = sum(song.seconds for song in open_songs(Path(folder) / "out")) / 3600
        size = sum(file.stat().st_size for file in (Path(folder) / "out").glob("shard-*.tar"))
    return spent / hours, size / hours


def tracking(data: str, songs: int) -> float:
    """Core seconds of the offline beat tracker for an hour of song."""
    from stage.beats.tracker import track
    from stage.data import open_songs

    chosen = open_songs(data)[:songs]
    mixes = [(song.read(song.stems, 0, song.samples), song.rate) for song in chosen]
    start = time.perf_counter()
    for audio, rate in mixes:
        track(audio, rate)
    return (time.perf_counter() - start) / (sum(song.seconds for song in chosen) / 3600)


def encoding(seconds: int = 20) -> float:
    """Core seconds of EnCodec, 32 kHz, for an hour of one stem."""
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(
        EncodecConfig(
            sampling_rate=32000,
            audio_channels=1,
            num_filters=64,
            upsampling_ratios=[8, 5, 4, 4],
            target_bandwidths=[2.2],
            codebook_size=2048,
            use_causal_conv=False,
            norm_type="weight_norm",
        )
    ).eval()
    audio = torch.zeros(1, 1, 32000 * seconds)
    with torch.inference_mode():
        model.encoder(audio[..., :32000])
        start = time.perf_counter()
        model.encoder(audio)
        return (time.perf_counter() - start) * 3600 / seconds


def step_operations() -> float:
    """Floating-point operations, forward and backward, of one example of 10 s after 10 s with MusicGen-small; counted
    with one layer and with two."""
    from stage.config import DecoderConfig
    from stage.models.decoder import Decoder
    from stage.prefix import row, training_row

    counts, wanted = [], DecoderConfig().layers
    for layers in (1, 2):
        config = DecoderConfig(layers=layers)
        decoder = Decoder(config)
        codes = torch.zeros(config.codebooks, 500, dtype=torch.long)
        sequence = training_row(config, [row(config, [codes], 0, codes)])
        with FlopCounterMode(display=False) as counter:
            hidden = decoder.run(decoder.enter(sequence)[0], sequence, None, None)
            decoder.target_logits(hidden, sequence)[0].sum().backward()
        counts.append(counter.get_total_flops())
    return counts[0] + (wanted - 1) * (counts[1] - counts[0])


def table(
    prepare_seconds: float,
    prepare_bytes: float,
    track_seconds: float,
    encode_seconds: float,
    operations: float,
    tflops: float,
) -> str:
    """Markdown for 1,000 and 100,000 hours of song."""
    rows = [("", "1,000 hours", "100,000 hours")]

    def add(name: str, of_hour: float, unit: str, digits: int = 0) -> None:
        rows.append((name, *(f"{of_hour * hours:,.{digits}f} {unit}" for hours in (1000, 100_000))))

    add("originals, 16-bit stereo at 44.1 kHz, not packed", STEMS * 44100 * 4 * 3600 / 1e12, "TB", 1)
    add("prepared shards, measured", prepare_bytes / 1e12, "TB", 2)
    add("tokens of all stems", STEMS * TOKEN_BYTES / 1e9, "GB", 0)
    add("preparing with known beats, measured", prepare_seconds / 3600, "core hours")
    add("tracking beats besides, measured", track_seconds / 3600, "core hours")
    add("encoding all stems on cores, measured", STEMS * encode_seconds / 3600, "core hours")
    examples = 3600 / 10 * STEMS
    add(
        f"one pass: {examples:,.0f} examples an hour of song, MusicGen-small, at {tflops:g} TFLOP/s",
        examples * operations / tflops / 1e12 / 3600,
        "GPU hours",
        1,
    )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- | --- | --- |", *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="songs with beats, e.g. of stage corpus")
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--tflops", type=float, default=300.0, help="assumed effective speed of one GPU in bf16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    values = (
        *preparing(options.data, options.songs),
        tracking(options.data, min(4, options.songs)),
        encoding(),
        step_operations(),
    )
    print(table(*values, options.tflops))
    print(
        f"\nMeasured on one core: prepare {values[0]:.0f} s and {values[1] / 1e9:.2f} GB, beats {values[2]:.0f} s,"
        f" EnCodec {values[3]:.0f} s a stem, for an hour; {values[4] / 1e12:.2f} TFLOP an example. Assumed: {STEMS}"
        f" stems a song, {options.tflops:g} TFLOP/s effective on a GPU."
    )


if __name__ == "__main__":
    main()
