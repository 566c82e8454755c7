"""Which style do drums play? A classifier on notes, trained in a minute on the true drums of training songs.

It is given where in the bar which pieces are hit and how loudly, and no tempo, since a prompt for a style comes with
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stage.beats.grid import BeatGrid
from stage.corpus.read import CorpusSong
from stage.evaluation.acceptance.player.clips import cut, song_notes
from stage.evaluation.figures.notes import LANE, places
from stage.models.playable import GROUPS
from stage.notes import Note

STYLES: dict[str, tuple[str, ...]] = {
    "rock": ("rock", "pop", "synth pop", "ballad", "soul", "metal", "folk", "country"),
    "jazz swing": ("jazz swing",),
    "blues shuffle": ("blues shuffle",),
    "house": ("house", "techno", "disco"),
    "latin": ("latin", "bossa nova"),
    "reggae": ("reggae",),
    "reggaeton": ("reggaeton",),
    "funk": ("funk", "hip hop", "trap", "drum and bass"),
}
"""Styles that drums can be told apart by, named by the word of a prompt, and the corpus' genres of each."""
STYLE_OF = {genre: style for style, genres in STYLES.items() for genre in genres}
METER = "4/4"
PARTS = 12
"""Places of a beat."""
KEYS = sorted(LANE)


def features(notes: Sequence[Note], grid: BeatGrid) -> np.ndarray:
    """float32 [8 groups x 4 beats x 12 places, the same for both kinds of beats (odd and even), pieces, velocities]."""
    numbers, inside = grid.numbers, [n for n in notes if grid.times[0] - 0.05 <= n.start <= grid.times[-1]]
    at = np.round(places(inside, grid) * PARTS).astype(int)
    beat = np.clip(at // PARTS, 0, len(numbers) - 1)
    bars = max(1.0, (len(grid) - 1) / 4)
    pattern = np.zeros((len(GROUPS), 4, PARTS), np.float32)
    loud = np.zeros_like(pattern)
    pieces = np.zeros(len(KEYS), np.float32)
    for note, place, number in zip(inside, at % PARTS, numbers[beat]):
        if note.pitch in LANE:
            cell = list(GROUPS).index(LANE[note.pitch]), (number - 1) % 4, place
            pattern[cell] += 1 / bars
            loud[cell] += note.velocity / 127 / bars
            pieces[KEYS.index(note.pitch)] += 1 / max(1, len(inside))
    kinds = loud.reshape(len(GROUPS), 2, 2, PARTS).mean(1)
    return np.concatenate([np.minimum(pattern, 2).ravel(), loud.ravel(), kinds.ravel(), pattern.mean((1, 2)), pieces])


@dataclass(frozen=True)
class Classifier:
    """A linear classifier. mean, spread: of the features in training."""

    styles: tuple[str, ...]
    mean: np.ndarray
    spread: np.ndarray
    layer: nn.Module

    @torch.inference_mode()
    def style(self, notes: Sequence[Note], grid: BeatGrid) -> str:
        """The style of drums on known beats."""
        x = (features(notes, grid) - self.mean) / self.spread
        return self.styles[int(self.layer(torch.from_numpy(x)[None].float()).argmax())]


def examples(songs: Sequence[CorpusSong], seconds: float, each: int, seed: int) -> list[tuple[np.ndarray, str]]:
    """(features, style) of stretches of songs in 4/4 whose genre has a style."""
    rng, found = np.random.default_rng([seed, 5]), []
    for song in songs:
        style = STYLE_OF.get(song.meta.get("genre", ""))
        if style is None or song.meta.get("meter") != METER or not song.meta.get("notes", {}).get("drums"):
            continue
        grid, notes = BeatGrid(song.beats, song.numbers), song_notes(song, "drums")
        for _ in range(each):
            start = float(rng.uniform(0, max(0.0, song.seconds - seconds)))
            part, beats = cut(notes, start, seconds), grid.crop(start, start + seconds)
            if len(part) >= 2 * len(beats.downbeats) + 4 and len(beats) >= 4:
                found.append((features(part, beats), style))
    return found


def train(songs: Sequence[CorpusSong], seconds: float = 10.0, seed: int = 0, steps: int = 400) -> Classifier | None:
    """From the drums of songs; None where fewer than two styles are among them."""
    made = examples(songs, seconds, 8, seed)
    styles = tuple(style for style in STYLES if any(style == s for _, s in made))
    if len(styles) < 2:
        return None
    x = np.stack([features for features, _ in made])
    y = torch.tensor([styles.index(style) for _, style in made])
    mean, spread = x.mean(0), x.std(0) + 0.05
    inputs = torch.from_numpy((x - mean) / spread).float()
    weights = len(y) / (len(styles) * torch.bincount(y, minlength=len(styles)).float())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = nn.Sequential(nn.Dropout(0.3), nn.Linear(x.shape[1], 48), nn.GELU(), nn.Linear(48, len(styles)))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-3, weight_decay=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(layer(inputs), y, weight=weights, label_smoothing=0.05).backward()
            optimizer.step()
    return Classifier(styles, mean, spread, layer.eval())


def accuracy(classifier: Classifier, songs: Sequence[CorpusSong], seconds: float, seed: int) -> dict[str, list[bool]]:
    """Of each style, whether it is found in stretches of other songs' true drums."""
    found: dict[str, list[bool]] = {}
    with torch.inference_mode():
        for x, style in examples(songs, seconds, 4, seed + 1):
            inputs = torch.from_numpy((x - classifier.mean) / classifier.spread)[None].float()
            hit = classifier.styles[int(classifier.layer(inputs).argmax())] == style
            found.setdefault(style, []).append(hit)
    return found
