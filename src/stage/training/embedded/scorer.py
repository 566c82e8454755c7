"""Training of the offline coherence scorer on songs with stems: sub-mixes of one moment against other songs, moments,
beats and keys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stage.audio.files import resample
from stage.data.song import Song
from stage.errors import StageError
from stage.evaluation.coherence import spectra
from stage.evaluation.coherence.scorer import SECONDS, Scorer
from stage.evaluation.figures.harmony import UNPITCHED
from stage.training import song_fingerprints, state
from stage.training.embedded.loop import Training, started
from stage.training.embedded.recipe import ScorerBatch, ScorerRecipe
from stage.training.state import save_weights

FRAMES = round(SECONDS * spectra.RATE / spectra.HOP)
WEIGHTS = "scorer.safetensors"


def song_bands(
    songs: Sequence[Song], cache: Path, on_song: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Bands of every stem of every song, computed once: [{"id", "stems": {role: [T, 112] float16}, "beat": seconds}].

    The values are natural logarithms of powers. cache: a folder that keeps them. Raises StageError for fewer than two
    usable songs.
    """
    found = []
    for count, (song, key) in enumerate(zip(songs, song_fingerprints.songs(songs))):
        stems = _bands(song, cache / f"{song.id.replace('/', '_')}.pt", key)
        if len(stems) > 1 and min(len(part) for part in stems.values()) > FRAMES + 1:
            beat = 60 / song.tempo if song.tempo else 0.5
            found.append({"id": song.id, "stems": stems, "beat": beat})
        if on_song:
            on_song(count + 1)
    if len(found) < 2:
        raise StageError("the scorer needs at least two songs with two sounding stems of more than 5 seconds")
    return found


def _bands(song: Song, place: Path, key: str) -> dict[str, Tensor]:
    """Bands of a song's stems, from the cache where they are of the same audio; a damaged file is made again."""
    with contextlib.suppress(StageError):
        if saved := state.load(place):
            if "key" not in saved:  # of an earlier version: the stems alone
                return saved
            if saved["key"] == key:
                return saved["stems"]
    stems = {}
    for role in song.stems:
        audio = torch.from_numpy(resample(song.read(role, 0, song.samples)[0], song.rate, spectra.RATE))
        if float(audio.abs().max()) > 0.01:
            stems[role] = (spectra.bands(audio) + 1e-12).log().half()
    state.save(place, {"key": key, "stems": stems})
    return stems


def draw(songs: Sequence[dict], rng: np.random.Generator, options: ScorerBatch) -> tuple[Tensor, Tensor]:
    """Stems [B, T, 112] and contexts [B * (1 + wrong), T, 112], as levels; context i belongs to stem i, the rest to
    none.

    The wrong ones of a row: the same moment later by part of a beat, transposed, or another moment of the song.
    """
    stems, right, wrong = [], [], []
    for place in rng.permutation(len(songs))[: options.rows]:
        song = songs[place]
        roles = list(song["stems"])
        length = min(len(part) for part in song["stems"].values())
        start = int(rng.integers(length - FRAMES))
        target = roles[rng.integers(len(roles))]
        others = [role for role in roles if role != target]
        chosen = [role for role in others if rng.random() < 0.6] or [others[rng.integers(len(others))]]

        def mix(names: Sequence[str], first: int) -> Tensor:
            return sum(song["stems"][name][first : first + FRAMES].float().exp() for name in names)

        kind = rng.random()
        # the song in another key, stem and context alike
        key = int(rng.integers(-4, 5)) if rng.random() < options.transpose else 0
        stem, context = spectra.transpose(mix([target], start), key), spectra.transpose(mix(chosen, start), key)
        if kind < 0.45:
            part = float(rng.choice([0.25, 0.5, 0.5, rng.uniform(0.15, 0.85)]))
            late = max(2, round(song["beat"] * part * spectra.RATE / spectra.HOP))
            first = start + late if start + late + FRAMES <= length else max(0, start - late)
            other = spectra.transpose(mix(chosen, first), key)
        elif kind < 0.75 and target not in UNPITCHED:
            other = spectra.transpose(context, int(rng.choice([-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])))
        else:
            other = spectra.transpose(mix(chosen, int(rng.integers(length - FRAMES))), key)
        stems.append(stem)
        right.append(context)
        wrong.append(other)
    sides = []
    for side in (stems, right + wrong):
        levels = spectra.levels(torch.stack(side))
        if rng.random() < options.mask:  # one of the two kinds of bands alone must do, now and then
            half = slice(0, spectra.MELS) if rng.random() < 0.5 else slice(spectra.MELS, spectra.BANDS)
            levels[..., half] = -1.0
        sides.append(levels + options.noise * torch.from_numpy(rng.standard_normal(levels.shape, np.float32)))
    return sides[0], sides[1]


def loss(model: Scorer, stems: Tensor, contexts: Tensor) -> tuple[Tensor, float]:
    """Cross-entropy of each stem over all contexts, and of each right context over the stems; with the share of stems
    that rank theirs first."""
    rows = len(stems)
    logits = model.logits(model.embed(stems), model.embed(contexts))
    right = torch.arange(rows)
    # the hard one of each row counts for that row alone: another song's wrong context is just another song
    total = F.cross_entropy(logits, right) + 0.5 * F.cross_entropy(logits[:, :rows].T, right)
    hard = torch.stack([logits.diagonal(), logits[:, rows:].diagonal()], 1)
    total = total + F.cross_entropy(hard, torch.zeros(rows, dtype=torch.long))
    return total, float((hard[:, 0] > hard[:, 1]).float().mean())


def train(
    recipe: ScorerRecipe,
    songs: Sequence[Song],
    out: Path,
    minutes: float | None = None,
    on_step: Callable[[int, dict], None] | None = None,
    on_song: Callable[[int], None] | None = None,
) -> Path:
    """Train by a recipe; goes on with what it finds in ``out``. Returns the weights' file.

    on_step: called with the steps done and their figures; on_song: with the songs whose bands are computed. Raises
    StageError, and Stopped after a signal.
    """
    with started(out, recipe):
        torch.manual_seed(recipe.seed)
        bands = song_bands(songs, out / "bands", on_song)
        ScorerTraining(recipe, bands, out, minutes, on_step).run()
    return out / WEIGHTS


class ScorerTraining(Training):
    """Steps of the scorer's training."""

    def __init__(
        self,
        recipe: ScorerRecipe,
        songs: list[dict],
        out: Path,
        minutes: float | None,
        on_step: Callable[[int, dict], None] | None,
    ):
        self.recipe, self.songs, self.scorer, options = recipe, songs, Scorer(), recipe.optimizer
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"model": self.scorer},
            [
                torch.optim.AdamW(
                    self.scorer.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay
                )
            ],
            options.clip,
            recipe.log_every,
            recipe.save_every,
            on_step=on_step,
        )

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch, and the share of stems that rank their context over the hard wrong one."""
        rng = np.random.default_rng([self.recipe.seed, self.step])
        total, hard = loss(self.scorer, *draw(self.songs, rng, self.recipe.batch))
        return total, {"loss": total, "hard": hard}

    def write_weights(self) -> None:
        """scorer.safetensors, in float16."""
        save_weights(self.out / WEIGHTS, {name: value.half() for name, value in self.scorer.state_dict().items()})
