"""Songs without a synthesiser, in the corpus's form, and a stage whose playing is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch

from helpers.fakes import PcmCodec
from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.clips import Material
from stage.evaluation.figures.beats import onsets

RATE = 32000
ROOTS = {94.0: (33, 29), 104.0: (35, 28), 116.0: (30, 37), 128.0: (32, 34)}
"""Tempo of each song, and the bass notes of its two chords."""


def hits(times, levels, sound: np.ndarray, seconds: float) -> np.ndarray:
    out = np.zeros(round((seconds + 2) * RATE))
    for time, level in zip(times, levels):
        if time >= 0:
            out[round(time * RATE) :][: len(sound)] += level * sound
    return out[: round(seconds * RATE)].astype(np.float32)


STEP = np.arange(round(0.2 * RATE)) / RATE
KICK = 0.6 * np.sin(2 * np.pi * 55 * STEP) * np.exp(-STEP / 0.06)
SNARE = 0.3 * np.random.default_rng(0).standard_normal(len(STEP)) * np.exp(-STEP / 0.05)
HAT = 0.1 * np.diff(np.random.default_rng(1).standard_normal(len(STEP) + 1)) * np.exp(-STEP / 0.015)


def drums(grid: BeatGrid, seconds: float) -> np.ndarray:
    odd = grid.numbers % 2
    kick = hits(grid.times, odd * np.where(grid.numbers == 1, 1.0, 0.7), KICK, seconds)
    return (
        kick
        + hits(grid.times, 1 - odd, SNARE, seconds)
        + hits(grid.times + 30 / grid.bpm, np.ones(len(grid)), HAT, seconds)
    )


def tone(midi: int, seconds: float) -> np.ndarray:
    step = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * step) * np.exp(-step * 4)


def write_corpus(root: Path, seconds: float = 16.0) -> Path:
    """Four songs of two chords with drums, bass and keys, each with its own tempo."""
    for index, (bpm, roots) in enumerate(ROOTS.items()):
        folder = root / "heldout" / f"song-{index}"
        folder.mkdir(parents=True)
        grid = BeatGrid.regular(bpm, 4, seconds, start=0.1 * index)
        bar = 240 / bpm
        bass, keys, chords = (
            np.zeros(round(seconds * RATE), np.float32),
            np.zeros(round(seconds * RATE), np.float32),
            [],
        )
        for count, down in enumerate(grid.downbeats):
            root_note = roots[count % 2]
            beats = grid.times[(grid.times >= down - 1e-6) & (grid.times < down + bar - 1e-6)]
            bass += hits(beats, np.ones(len(beats)), tone(root_note, 55 / bpm), seconds)
            for interval in (24, 27, 31):
                keys += hits(beats, np.ones(len(beats)), 0.3 * tone(root_note + interval, 50 / bpm), seconds)
            classes = sorted((root_note + interval) % 12 for interval in (0, 3, 7))
            chords.append(
                {"start": down, "end": down + bar, "name": "m", "root": root_note % 12, "pitch_classes": classes}
            )
        stems = {"drums": drums(grid, seconds), "bass": bass, "keys": keys}
        for name, audio in stems.items():
            soundfile.write(folder / f"{name}.flac", audio, RATE)
        meta = {
            "id": f"song-{index}",
            "rate": RATE,
            "samples": round(seconds * RATE),
            "tempo": bpm,
            "beats": grid.times.tolist(),
            "downbeat_numbers": grid.numbers.tolist(),
            "chords": chords,
            "stems": dict.fromkeys(stems, {}),
        }
        (folder / "song.json").write_text(json.dumps(meta))
    return root


@dataclass
class Session:
    """Stands for a Stage. It recognises the contexts of `known` clips and plays their true stem, `late` seconds late;
    to clicks it plays a kick, louder where the click is, and more of them when asked to be busy."""

    known: dict[bytes, np.ndarray]
    late: float = 0.0
    calls: list[str] = field(default_factory=list)
    stems: tuple[str, ...] = ("drums", "bass")

    def __post_init__(self) -> None:
        self.codec = PcmCodec()
        self.decoder = torch.nn.Linear(2, 2)
        self.decoder.config = SimpleNamespace(contexts=("grid", "mix"))
        self.config = SimpleNamespace(name="session", guidance=3.0)
        self.text = None

    @classmethod
    def of(cls, material: Material, late: float = 0.0) -> Session:
        known = {clip.context(RATE).tobytes(): clip.target(RATE) for clip in (*material.drums, *material.bass)}
        torch.manual_seed(0)
        return cls(known, late)

    def accompany(self, audio, rate, stem, seed=0, grid=None):
        self.calls.append(f"accompany {stem} {grid}")
        return SimpleNamespace(stems=self._late(self.known[audio.tobytes()])[None], rate=rate)

    def generate_audio(self, contexts, stem, prompt="", seconds=10.0, seeds=(0,)):
        self.calls.append(f"generate {stem} {prompt}")
        if not contexts:
            times = np.arange(0, seconds, 60 / 147)
            return hits(times, np.ones(len(times)), KICK if stem == "drums" else tone(40, 0.3), seconds)[None]
        click = contexts["grid"]
        times = onsets(click, RATE)
        times = times[times < seconds - 0.05]
        loudness = [np.square(click[round(t * RATE) :][:1600]).mean() for t in times]
        made = hits(times, np.array(loudness) / max(loudness), KICK, seconds)
        made += hits(times, np.ones(len(times)), HAT, seconds)
        if "busy" in prompt:
            made += hits(times + np.median(np.diff(times)) / 2, np.ones(len(times)), SNARE, seconds)
        return self._late(made)[None]

    def _late(self, audio: np.ndarray) -> np.ndarray:
        return np.roll(audio, round(self.late * RATE)).astype(np.float32)
