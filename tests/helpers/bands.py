"""Drawn music with known chords."""

import numpy as np

from stage.chords import Chart

RATE = 22050


def tone(pitch: float, seconds: float) -> np.ndarray:
    """A plucked note with overtones."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((pitch - 69) / 12)
    return sum(np.sin(2 * np.pi * hz * k * time) / k * np.exp(-time * (1 + k)) for k in range(1, 7))


def band(chart: Chart, seconds: float, drums: bool = True, cents: float = 0.0) -> np.ndarray:
    """A bass and chords on every beat of 100 BPM, and noise for drums: float32 [1, N]."""
    audio = np.zeros(round(seconds * RATE) + RATE)
    draw = np.random.default_rng(1)
    for start in np.arange(0, seconds - 0.1, 0.6):
        at, chord = round(start * RATE), chart.at(start + 0.3)
        for pitch in (
            [36 + (chord.bass - 0) % 12, *(60 + (x - 7) % 12 - 5 for x in chord.classes)] if chord.classes else []
        ):
            note = tone(pitch + cents / 100, 0.6)
            audio[at : at + len(note)] += 0.1 * note
        if drums:
            hit = draw.standard_normal(RATE // 10) * np.exp(-np.arange(RATE // 10) / 300)
            audio[at : at + len(hit)] += 0.2 * hit
    return audio[None, : round(seconds * RATE)].astype(np.float32)
