"""Stand-ins for a model of played events: they know the clips, and play true parts or others; and songs with notes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from helpers.clips import ROOTS, write_corpus
from stage.audio.level import loudness
from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.player.clips import PartClip, PlayerMaterial
from stage.evaluation.acceptance.player.jobs import RATE
from stage.evaluation.acceptance.player.takes import sounded
from stage.generation.performance import Performance
from stage.generation.prepare import STEM_LEVEL
from stage.models.playable import INSTRUMENTS
from stage.notes import Note


def write_noted_corpus(root: Path, seconds: float = 16.0) -> Path:
    """`write_corpus` with the notes that it sounds, a section's border in each song and a fill before it."""
    write_corpus(root, seconds)
    for index, (bpm, roots) in enumerate(ROOTS.items()):
        path = root / "heldout" / f"song-{index}" / "song.json"
        meta = json.loads(path.read_text())
        beats, beat = meta["beats"], 60 / bpm
        drums, bass, keys = [], [], []
        border = [time for time, number in zip(beats, meta["downbeat_numbers"]) if number == 1][4]
        bar = -1
        for time, number in zip(beats, meta["downbeat_numbers"]):
            bar += number == 1
            drums.append([time, time + 0.1, 36 if number % 2 else 38, 110 if number == 1 else 90])
            if border - 2 * beat - 0.01 <= time < border - 0.01:
                drums += [[time + part * beat, time + part * beat + 0.1, 45, 100] for part in (0.25, 0.5, 0.75)]
            else:
                drums.append([time + beat / 2, time + beat / 2 + 0.1, 42, 70])
            bass.append([time, time + 0.9 * beat, roots[bar % 2], 80 + 5 * number])
            keys += [[time, time + 0.8 * beat, roots[bar % 2] + step, 60 + 5 * number] for step in (24, 27, 31)]
        meta |= {
            "notes": {"drums": drums, "bass": bass, "keys": keys},
            "genre": ("rock", "house", "latin", "reggae")[index],
            "meter": "4/4",
            "sections": [
                {"start": 0.0, "end": border, "kind": "verse"},
                {"start": border, "end": seconds, "kind": "chorus"},
            ],
            "stems": {"drums": {"kit": 0}, "bass": {"program": 33}, "keys": {"program": 0}},
        }
        for row, bar_roots in zip(meta["chords"], [roots[i % 2] for i in range(len(meta["chords"]))]):
            names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
            row |= {"root": bar_roots % 12, "name": names[bar_roots % 12] + "m"}
        path.write_text(json.dumps(meta))
    return root


PLAIN = Performance()


@dataclass
class Player:
    """Stands for a Stage of played events. It recognises contexts and clicks, and plays what is known of them: `known`
    clips by context, `late` seconds late; to an unknown click a plain beat. Options and words have plain effects."""

    known: dict[bytes, PartClip]
    clicks: dict[tuple[float, str], PartClip]
    late: float = 0.0
    calls: list[dict[str, Any]] = field(default_factory=list)
    stems: tuple[str, ...] = ("drums", "bass")
    obeys: bool = True

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.decoder = torch.nn.Linear(2, 2)
        self.codec = self.text = self.events = SimpleNamespace()
        self.config = SimpleNamespace(name="player", guidance=3.0)

    @classmethod
    def of(cls, material: PlayerMaterial, **options: Any) -> Player:
        mixes = [clip for clips in material.mixes.values() for clip in clips]
        known = {clip.context(RATE).tobytes(): clip for clip in mixes}
        clicks = {(clip.truth.bpm, clip.meter): clip for clip in (*material.drummers, *material.clicks)}
        return cls(known, clicks, stems=material.stems, **options)

    def accompany(
        self, audio, rate, stem, prompt="", seed=0, grid=None, chords=None, performance=PLAIN
    ) -> SimpleNamespace:
        clip = self.known[audio.tobytes()]
        self.calls.append({"stem": stem, "prompt": prompt, "grid": grid, "chords": chords, "options": performance})
        beats = grid if isinstance(grid, BeatGrid) else clip.truth.grid
        level = loudness(audio, rate) + STEM_LEVEL
        return self._made(
            stem, list(clip.notes), prompt, clip.seconds, seed, performance, beats, clip.instrument, level
        )

    def click(self, bpm, stem, meter="4/4", bars=8, prompt="", seed=0, rate=RATE) -> SimpleNamespace:
        clip, beats = self.clicks.get((bpm, meter)), int(meter.split("/")[0])
        self.calls.append({"stem": stem, "prompt": prompt, "bpm": bpm})
        seconds = bars * beats * 60 / bpm
        grid = BeatGrid.regular(bpm, beats, seconds)
        notes = list(clip.notes) if clip else [Note(t, t + 0.2, 36 if stem == "drums" else 40, 90) for t in grid.times]
        return self._made(stem, notes, prompt, seconds, seed, PLAIN, grid, next(iter(INSTRUMENTS[stem])))

    def stream_click(self, bpm, stem, meter, bars, seed=0, rate=RATE) -> Iterator[np.ndarray]:
        made = self.click(bpm, stem, meter, bars, seed=seed)
        yield made.stems[:, :, :0]
        yield made.stems

    def _made(
        self, stem, notes, prompt, seconds, seed, options: Performance, grid, instrument, level=None
    ) -> SimpleNamespace:
        if "busy" in prompt:
            notes = notes + [note._replace(start=note.start + 0.11, end=note.end + 0.11) for note in notes]
        for kit in ("room", "power", "electronic", "808", "jazz"):
            instrument = kit if f"{kit} kit" in prompt else instrument
        if "brush" in prompt or "orchestral" in prompt:
            instrument = "brushes" if "brush" in prompt else "percussion"
        if self.obeys and options.push:
            notes = [note._replace(start=max(0.0, note.start - options.push / 1000)) for note in notes]
        if self.obeys and options.without:
            notes = [note for note in notes if note.pitch not in options.unwanted]
        notes = sorted(note._replace(start=note.start + self.late, end=note.end + self.late) for note in notes)
        take = sounded(notes, stem, instrument, seconds, RATE, seed, level)
        return SimpleNamespace(
            stems=take.audio[None, None], notes=(take.notes,), instruments=(instrument,), grid=grid, rate=RATE
        )
