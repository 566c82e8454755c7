"""A drawn voice over known chords: a line that no instrument of the corpus plays, for mixes that have one."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from stage.chords.chart import Chart
from stage.training.embedded.augment import uniform

LOW, HIGH = 52, 79
"""MIDI numbers between which it moves."""
PARTIALS = 10


def voice(chords: Chart, samples: int, rate: int, generator: torch.Generator) -> np.ndarray:
    """A line of mostly tones of the chords, with glides, vibrato and rests: float32 [samples], root mean square about 1
    while it sounds. Silence where there are no chords."""
    spans = [span for span in chords if span.chord.classes]
    pitch, level = np.full(samples, 60.0), np.zeros(samples)
    at, last = float(uniform(generator, 0, 2, 1)), int(uniform(generator, LOW + 5, HIGH - 5, 1))
    tones = sorted({x for span in spans for x in span.chord.classes})
    while at < samples / rate and spans:
        length = float(2 ** uniform(generator, -2.5, 0.7, 1))
        first, end = int(at * rate), min(samples, int((at + length) * rate))
        sung = bool(torch.rand(1, generator=generator) < 0.85)
        in_chord = bool(torch.rand(1, generator=generator) < 0.65)
        chord = next((span.chord for span in spans if span.start <= at < span.end), None)
        allowed = chord.classes if chord is not None and in_chord else tones
        near = [x for x in range(LOW, HIGH) if x % 12 in allowed and abs(x - last) <= 7]
        if near and sung:
            last = near[int(torch.randint(len(near), (1,), generator=generator))]
        pitch[first:end], level[first:end] = last, float(sung)
        at += length
    smooth = max(1, int(0.05 * rate))
    pitch, level = (uniform_filter1d(x, smooth, mode="nearest") for x in (pitch, level))
    depth, speed = float(uniform(generator, 0, 0.5, 1)), float(uniform(generator, 4.5, 6.5, 1))
    pitch = pitch + depth * np.sin(2 * np.pi * speed * np.arange(samples) / rate)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / rate
    heights = 2 ** uniform(generator, -2, 1, PARTIALS).numpy() / np.arange(1, PARTIALS + 1)
    heights[440 * 2 ** ((HIGH - 69) / 12) * np.arange(1, PARTIALS + 1) > rate / 2] = 0
    total = sum(height * np.sin(k * phase) for k, height in enumerate(heights, 1))
    return (level * total / np.sqrt(np.square(heights).sum() / 2)).astype(np.float32)
