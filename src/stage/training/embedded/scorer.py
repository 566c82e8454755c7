"""Training of the offline scorer on songs with stems: sub-mixes of one moment against other songs, other moments, other
beats, other keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stage.data.song import Song
from stage.errors import StageError
from stage.evaluation.coherence import spectra
from stage.evaluation.coherence.scorer import SECONDS, Scorer
from stage.evaluation.figures.harmony import UNPITCHED

FRAMES = round(SECONDS * spectra.RATE / spectra.HOP)


def hear(songs: Sequence[Song], cache: Path, on_song: Callable[[int], None] | None = None) -> list[dict]:
    """Bands of every stem of every song, float16 logarithms, computed once: [{"id", "stems": {role: [T, 112]}, "beat":
    seconds}]."""
    heard = []
    cache.mkdir(parents=True, exist_ok=True)
    for count, song in enumerate(songs):
        place = cache / f"{song.id.replace('/', '_')}.pt"
        if place.exists():
            stems = torch.load(place, weights_only=True)
        else:
            stems = {}
            for role in song.stems:
                from stage.audio.files import resample

                audio = torch.from_numpy(resample(song.read(role, 0, song.samples)[0], song.rate, spectra.RATE))
                if float(audio.abs().max()) > 0.01:
                    stems[role] = (spectra.bands(audio) + 1e-12).log().half()
            part = place.with_suffix(".part")
            torch.save(stems, part)
            part.replace(place)
        if len(stems) > 1 and min(len(part) for part in stems.values()) > FRAMES + 1:
            beat = 60 / song.tempo if song.tempo else 0.5
            heard.append({"id": song.id, "stems": stems, "beat": beat})
        if on_song:
            on_song(count + 1)
    if len(heard) < 2:
        raise StageError("the scorer needs at least two songs with two sounding stems of more than 5 seconds")
    return heard


def draw(heard: Sequence[dict], rng: np.random.Generator, rows: int, options: dict) -> tuple[Tensor, Tensor]:
    """Stems [B, T, 112] and contexts [B * (1 + wrong), T, 112], as levels; context i belongs to stem i, the rest to
    none.

    The wrong ones of a row: the same moment later by part of a beat, transposed, or another moment of the song.
    """
    stems, right, wrong = [], [], []
    for place in rng.permutation(len(heard))[:rows]:
        song = heard[place]
        roles = list(song["stems"])
        length = min(len(part) for part in song["stems"].values())
        start = int(rng.integers(length - FRAMES))
        target = roles[rng.integers(len(roles))]
        others = [role for role in roles if role != target]
        chosen = [role for role in others if rng.random() < 0.6] or [others[rng.integers(len(others))]]

        def mix(names: Sequence[str], first: int) -> Tensor:
            return sum(song["stems"][name][first : first + FRAMES].float().exp() for name in names)

        kind = rng.random()
        key = (
            int(rng.integers(-4, 5)) if rng.random() < options["transpose"] else 0
        )  # the song in another key, stem and context alike
        stem, context = spectra.transpose(mix([target], start), key), spectra.transpose(mix(chosen, start), key)
        if kind < 0.45:
            late = max(
                2,
                round(
                    song["beat"]
                    * float(rng.choice([0.25, 0.5, 0.5, rng.uniform(0.15, 0.85)]))
                    * spectra.RATE
                    / spectra.HOP
                ),
            )
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
        if rng.random() < options["mask"]:  # one of the two kinds of bands alone must do, now and then
            half = slice(0, spectra.MELS) if rng.random() < 0.5 else slice(spectra.MELS, spectra.BANDS)
            levels[..., half] = -1.0
        sides.append(levels + options["noise"] * torch.from_numpy(rng.standard_normal(levels.shape, np.float32)))
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
    recipe: dict,
    songs: Sequence[Song],
    out: Path,
    minutes: float | None = None,
    on_step: Callable[[int, dict], None] | None = None,
    on_song: Callable[[int], None] | None = None,
) -> Path:
    """Train by a recipe; goes on with what it finds in `out`. Returns the weights' file."""
    from safetensors.torch import save_file

    from stage.training.embedded.loop import Log, Schedule, load_state, save_state

    torch.manual_seed(recipe["seed"])
    heard = hear(songs, out / "bands", on_song)
    model = Scorer()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe["optimizer"]["lr"], weight_decay=recipe["optimizer"]["weight_decay"]
    )
    schedule, log, step, spent = Schedule(minutes=minutes, **recipe["schedule"]), Log(out), 0, 0.0
    if state := load_state(out / "state.pt"):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    clock, path = time.time() - spent, out / "scorer.safetensors"

    def keep() -> None:
        save_state(
            out / "state.pt",
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "spent": time.time() - clock,
            },
        )
        save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)

    while schedule.progress(step, time.time() - clock) < 1:
        stems, contexts = draw(
            heard, np.random.default_rng([recipe["seed"], step]), recipe["batch"]["rows"], recipe["batch"]
        )
        for group in optimizer.param_groups:
            group["lr"] = recipe["optimizer"]["lr"] * schedule.factor(step, time.time() - clock)
        total, hard = loss(model, stems, contexts)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % recipe["log_every"] == 0:
            log.scalars(step, {"loss": float(total.detach()), "hard": hard})
            if on_step:
                on_step(step, {"loss": float(total.detach()), "hard": hard})
        if step % recipe["save_every"] == 0:
            keep()
    keep()
    return path
