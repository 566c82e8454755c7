"""How well chords fit the notes of each beat (`stage.chords.salience`), by templates that are made by hand."""

from __future__ import annotations

import numpy as np

from stage.chords import path as paths
from stage.chords import salience
from stage.chords.salience import Beats
from stage.chords.symbols import Chord

ROOT, BASS, BASS_OF_CHORD, SEVENTH, IN_KEY, NOTHING = 0.2, 0.8, 0.3, 0.08, 0.4, 0.6
"""Of a score, which is a correlation of pitch classes: the root's extra weight in a template; what a bass on the root
gains, and on another tone of the chord, as a share of that; what a seventh costs; what tones of the song's scale gain;
and the score of "no chord"."""
SCALE, SURE = (0, 2, 4, 5, 7, 9, 11), 60.0
"""The scale of a song's key, major or its modes, and how sharply the best fitting one is preferred."""


def scores(beats: Beats, states: list[Chord]) -> np.ndarray:
    """How well each chord fits each beat by its pitch classes, its bass and the song's scale: float64 [T, S]. The last
    of the states is "no chord"."""
    chord, bass = salience.classes(beats.chord, salience.CHORD), salience.classes(beats.bass, salience.BASS)
    tonal = beats.tonal[:, None]
    made = _scores(chord, bass, states) + IN_KEY * _in_key(chord * tonal, states)
    made *= tonal
    made[:, -1] = NOTHING
    return made


def _scores(chord: np.ndarray, bass: np.ndarray, states: list[Chord]) -> np.ndarray:
    """How well each state fits each beat, but for "no chord": float64 [T, S]."""
    masks = paths.masks(states)
    roots = np.array([state.root for state in states])
    templates = masks.copy()
    templates[np.flatnonzero(roots >= 0), roots[roots >= 0]] += ROOT
    scores = _correlation(chord, templates)
    scores += BASS * np.where(roots >= 0, bass[:, roots] + BASS_OF_CHORD * (bass @ masks.T), 0.0)
    return scores - SEVENTH * (masks.sum(1) > 3)


def _correlation(rows: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Pearson's, of each row [T, 12] with each template [S, 12]; 0 where one of them is flat."""
    rows, templates = (x - x.mean(1, keepdims=True) for x in (rows, templates))
    sizes = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(templates, axis=1)
    return np.divide(rows @ templates.T, sizes, out=np.zeros((len(rows), len(templates))), where=sizes > 1e-9)


def _in_key(chord: np.ndarray, states: list[Chord]) -> np.ndarray:
    """How far the tones of each state [S] belong to the scale that fits all beats best: 0..1."""
    scales = np.stack([np.isin(np.arange(12), [(x + key) % 12 for x in SCALE]) for key in range(12)]).astype(float)
    total = chord.sum(0)
    fit = scales @ total / max(float(total.sum()), 1e-9)
    likely = np.exp(SURE * (fit - fit.max()))
    masks = paths.masks(states)
    return masks @ (likely / likely.sum() @ scales) / masks.sum(1).clip(min=1)
