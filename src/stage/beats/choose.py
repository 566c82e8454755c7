"""Which tracker finds beats: Beat This! where it and its weights are installed, else the package's own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from stage.beats.grid import BeatGrid
from stage.errors import StageError

Tracker = Callable[[np.ndarray, int], BeatGrid]
"""Takes audio float32 [C, N] or [N] and its rate in Hz."""
CHECKPOINT = "beat_this-final0.ckpt"
USUAL_BAR = 4
"""Beats a bar where their number is not known."""


def beat_this_weights() -> Path | None:
    """The checkpoint `final0` of Beat This!: $STAGE_BEAT_THIS, or where torch keeps what was downloaded."""
    import torch

    named = os.environ.get("STAGE_BEAT_THIS")
    places = [Path(named)] if named else [Path(torch.hub.get_dir()) / "checkpoints" / CHECKPOINT]
    return next((place for place in places if place.exists()), None)


def choose(name: str = "auto") -> tuple[str, Tracker]:
    """(name, tracker) of "beat-this", "stage", or for "auto" the best that is installed.

    Raises StageError where Beat This! is asked for and not installed.
    """
    if name not in ("auto", "beat-this", "stage"):
        raise StageError(f'beats are tracked by auto, beat-this or stage, not "{name}"')
    if name != "stage" and importlib.util.find_spec("beat_this") and (weights := beat_this_weights()):
        try:
            return "beat-this", beat_this(str(weights))
        except (ImportError, OSError) as error:  # it needs torchaudio, which not every build of torch has beside it
            if name == "beat-this":
                raise StageError(f"Beat This! cannot be loaded: {str(error).splitlines()[0]}") from None
    if name == "beat-this":
        raise StageError(
            "Beat This! is not installed: install the package beat_this, and name its file"
            f" {CHECKPOINT} in STAGE_BEAT_THIS"
        )
    from stage.beats.tracker import track

    return "stage", track


@cache
def beat_this(weights: str) -> Tracker:
    """Beat This! without its optional DBN, as STAGE's authors use it."""
    from beat_this.inference import Audio2Beats

    model = Audio2Beats(checkpoint_path=weights, device="cpu", dbn=False)

    def track(audio: np.ndarray, rate: int) -> BeatGrid:
        beats, downbeats = model(np.atleast_2d(audio).mean(0), rate)
        return numbered(np.asarray(beats, float), np.asarray(downbeats, float))

    return track


def numbered(beats: np.ndarray, downbeats: np.ndarray) -> BeatGrid:
    """Beats [n] and those of them that are downbeats [m], seconds, as a grid.

    Beats before the first downbeat count back from it. Where there is no downbeat at all, bars of four are counted
    from the first beat.
    """
    beats = np.unique(beats)
    first = np.array([len(downbeats) > 0 and bool(np.abs(downbeats - time).min() < 0.035) for time in beats], bool)
    starts = np.flatnonzero(first)
    if not len(starts):
        return BeatGrid(beats, np.arange(len(beats)) % USUAL_BAR + 1)
    bar = int(np.median(np.diff(starts))) if len(starts) > 1 else USUAL_BAR
    numbers, count = np.zeros(len(beats), np.int64), -int(starts[0]) % bar
    for place, is_first in enumerate(first):
        count = 1 if is_first else count + 1
        numbers[place] = count
    return BeatGrid(beats, numbers)
