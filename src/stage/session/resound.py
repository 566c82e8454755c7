"""The notes of a take on another kit or instrument. No model is needed."""

from __future__ import annotations

import numpy as np

from stage.audio.level import limit, loudness, match_gain, spread
from stage.errors import StageError
from stage.instruments import stems
from stage.session import sounds, state
from stage.session.making import Made, Scene, shape
from stage.session.state import Recipe


def resound(recipe: Recipe, scene: Scene) -> Made:
    """A recipe's parent on the recipe's instrument, as loud as it was, with the same rests. Raises StageError for a
    take without notes, and for an instrument that cannot be used."""
    assert recipe.parent is not None
    if scene.take(recipe.parent).notes is None:
        raise StageError("this take was made as sound: it has no notes that another instrument could play")
    notes, old = scene.notes(recipe.parent), scene.sound(recipe.parent)
    root, channels = state.root(recipe, scene.take), min(2, scene.channels)
    playing = stems.Playing(
        recipe.stem,
        recipe.instrument,
        scene.rate,
        root.seed % 2**32,
        scene.times[root.time].tuning,
        channels=channels,
    )
    played = shape(root, scene).apply(playing.finish(scene.seconds, notes))
    target = loudness(spread(old, channels), scene.rate)
    gain = match_gain(played, scene.rate, target, channels=channels) if np.isfinite(target) else 0.0
    made = limit(played * np.float32(10 ** (gain / 20)), scene.rate)
    remarks = tuple(stems.remarks(notes, recipe.stem, recipe.instrument, scene.rate))
    return Made(sounds.rounded(made), notes, recipe.instrument, gain, remarks)
