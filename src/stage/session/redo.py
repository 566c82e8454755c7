"""Stretches of a take played anew, in notes and in sound. Outside of them every sample stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from stage import audio as audio_files
from stage.audio.level import limit
from stage.errors import StageError
from stage.generation.decoding import generate
from stage.generation.refill import RELEASE, Region
from stage.generation.windows import Window, of_audio
from stage.instruments.stems import Playing
from stage.models.codec import decode_long, encode_long, frame_rate
from stage.session import sounds, state
from stage.session.making import Made, Scene, request
from stage.session.state import Recipe

if TYPE_CHECKING:
    from stage.generation.prepare import Prepared
    from stage.generation.request import Request
    from stage.pipeline import Progress, Stage

BEFORE = 0.01
"""Seconds before a stretch in which old and new sound are compared: where they are the same, nothing is faded."""
FADE_IN = 0.003
"""Seconds of the fade where they are not."""
ALIKE = 10 ** (-80 / 20)
"""Difference of samples below which they are the same."""


def remake(stage: Stage, recipe: Recipe, scene: Scene, on_progress: Progress | None = None) -> Made:
    """A take whose regions are played anew, by its recipe."""
    assert recipe.parent is not None
    parent, old = scene.take(recipe.parent), scene.sound(recipe.parent)
    asked = stage.complete(request(stage, recipe, scene, [recipe.seed]))
    if stage.events is None:
        new = _continued(stage, asked, recipe, scene, old, parent.gain)
        sound = splice(old, new, recipe.regions, scene.rate, fade_in=RELEASE)
        return Made(sound, None, parent.instrument, parent.gain)
    if parent.notes is None:
        raise StageError("this take was made as sound: it has no notes that a model of notes could play anew")
    notes, prepared = stage.replay(
        asked, scene.notes(recipe.parent), parent.instrument, recipe.regions, recipe.candidates, on_progress
    )
    channels, seed = min(2, scene.channels), state.root(recipe, scene.take).seed
    playing = Playing(recipe.stem, parent.instrument, scene.rate, seed % 2**32, prepared.tuning, channels=channels)
    played = prepared.envelope.apply(playing.finish(scene.seconds, notes))
    new = limit(played * np.float32(10 ** (parent.gain / 20)), scene.rate)
    sound = splice(old, new[:, : old.shape[1]], recipe.regions, scene.rate)
    return Made(sound, tuple(notes), parent.instrument, parent.gain)


def splice(
    old: np.ndarray, new: np.ndarray, regions: Sequence[Region], rate: int, fade_in: float | None = None
) -> np.ndarray:
    """Old sound [C, N] with the regions of the new one, rounded to 24 bits; every sample outside stays the same.

    The new sound goes over into the old one within the last 30 ms of a region, unless it ends with the piece. It begins
    at once where both are the same up to there, else by a fade of 3 ms, or of `fade_in` seconds.
    """
    made, samples = old.copy(), old.shape[1]
    for start, end in regions:
        first, last = int(np.ceil(start * rate - 1e-6)), min(int(np.floor(end * rate + 1e-6)), samples)
        if last <= first:
            continue
        weight = np.ones(last - first, np.float32)
        if last < samples:
            count = min(round(RELEASE * rate), last - first)
            weight[-count:] = np.cos(np.linspace(0, np.pi / 2, count + 2)[1:-1]) ** 2
        before = slice(max(0, first - round(BEFORE * rate)), first)
        seconds = fade_in
        if seconds is None and np.abs(new[:, before] - made[:, before]).max(initial=0.0) > ALIKE:
            seconds = FADE_IN
        if seconds and first > 0:
            count = min(round(seconds * rate), last - first)
            weight[:count] *= np.sin(np.linspace(0, np.pi / 2, count + 2)[1:-1]) ** 2
        part = slice(first, last)
        made[:, part] = sounds.rounded(made[:, part] + weight * (new[:, part] - made[:, part]))
    return made


def _continued(stage: Stage, asked: Request, recipe: Recipe, scene: Scene, old: np.ndarray, gain: float) -> np.ndarray:
    """Sound of a model of audio codes: `old` with each region made as a continuation of what stands before it."""
    prepared: Prepared = stage.prepare(asked)
    codec, (decoder, index) = stage.codec, stage.player(recipe.stem)
    device, kinds = decoder.device, decoder.config.contexts
    contexts = of_audio(codec, [prepared.contexts.get(kind) for kind in kinds], device)
    half = max(1, round(stage.config.window_seconds * frame_rate(codec)) // 2)
    plain = audio_files.resample(audio_files.to_mono(old) * np.float32(10 ** (-gain / 20)), scene.rate, prepared.rate)
    with torch.inference_mode():
        codes = encode_long(codec, torch.from_numpy(plain)[None].to(device))[0].cpu()
        pace = frame_rate(codec) * prepared.rate / codec.sample_rate
        for number, (start, end) in enumerate(recipe.regions):
            first, last = int(start * pace), min(int(np.ceil(end * pace)), codes.shape[1])
            for at in range(first, last, half):
                stop, begin = min(at + half, last), max(0, at - half)
                made = generate(
                    decoder,
                    stem=index,
                    contexts=contexts(Window(begin, stop, at - begin)),
                    text=stage.words(recipe.prompt),
                    frames=stop - begin,
                    seeds=[recipe.seed + 1000 * number + at],
                    prompt=codes[:, begin:at] if at > begin else None,
                    sampling=stage.sampled(asked.sampling, asked.stem),
                )
                codes[:, at:stop] = made[0, :, at - begin :].cpu()
        sound = decode_long(codec, codes[None].to(device))[0].float().cpu().numpy()
    new = audio_files.fit(audio_files.resample(sound, prepared.rate, scene.rate), old.shape[1])
    new = prepared.envelope.apply(new) * np.float32(10 ** (gain / 20))
    return np.broadcast_to(limit(new, scene.rate), old.shape)
