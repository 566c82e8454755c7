"""Chords of a recording on its beats: `estimate` by the sound alone, `of_logits` from what a model reads.

The sound: magnitudes of notes in each beat are explained by notes with overtones (non-negative least squares, as in
Mauch and Dixon, ISMIR 2010), folded to pitch classes, once for the chord and once for the bass, and compared with
templates. The best path through the beats is taken: chords change on downbeats more easily than elsewhere.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, optimize

from stage.audio import filters, tuning
from stage.audio.files import resample, to_mono
from stage.beats.grid import BeatGrid
from stage.chords import path as paths
from stage.chords.chart import Chart, Span
from stage.chords.played import NAMED
from stage.chords.symbols import NO_CHORD, Chord

RATE = 11025
HOP = 1024
STEP = 512
"""Spectra that are computed at a time."""
CHORD_NOTES, CHORD_WINDOW, CHORD_CENTRE, CHORD_WIDTH = (48, 100), 4096, 66, 12
BASS_NOTES, BASS_WINDOW, BASS_CENTRE, BASS_WIDTH = (24, 60), 8192, 40, 7
"""MIDI numbers that are listened to, samples of a spectrum, and the note that counts most, with the deviation of the
bell around it in semitones; in the bass fine enough for semitones at 40 Hz."""
OVERTONES, DECAY = 10, 0.8
"""Partials of a note, and each one's height against the one before (of square roots of magnitudes)."""
QUALITIES = ("", "m", "7", "maj7", "m7")
"""Those that are looked for. With diminished and suspended ones, which are rare, more is mistaken than is found."""
ROOT, BASS, BASS_OF_CHORD, SEVENTH, IN_KEY, NOTHING = 0.2, 0.8, 0.3, 0.08, 0.4, 0.6
"""Of a score, which is a correlation of pitch classes: the root's extra weight in a template; what a bass on the root
gains, and on another tone of the chord, as a share of that; what a seventh costs; what tones of the song's scale gain;
and the score of "no chord"."""
SCALE, SURE = (0, 2, 4, 5, 7, 9, 11), 60.0
"""The scale of a song's key, major or its modes, and how sharply the best fitting one is preferred."""
CHANGE = (0.25, 0.375, 0.75)
"""What a new chord costs on a downbeat, in the middle of a bar, and elsewhere: tuned with the scores on 60 composed
songs that are in no figure."""
READING = (1.0, 1.5, 3.0)
RARE = 1.5
"""The same in nats, for what a model reads; and what the qualities beside `QUALITIES` cost, among which it is
uncertain."""
NOISE, TONES = 1.5, 2.2
"""Between these figures of `_tonal` a beat becomes tonal: noise has 1.4 to 1.7, drums 1.8 (median) to 2.5 (95 %), songs
with drums 4.0 (median) and 2.1 (5 %)."""
PLAIN_BEAT = 0.5
"""Seconds that are a beat where there are none."""


def estimate(audio: np.ndarray, rate: int, grid: BeatGrid | None = None, cents: float | None = None) -> Chart:
    """The chords of a recording. audio: float32 [C, N] or [N]; rate in Hz.

    grid: its beats; without it half a second is a beat. cents: its tuning from A = 440 Hz, None to estimate it. See
    docs/chords.md for what is found how often: major and minor triads and three sevenths, without their bass.
    """
    edges, numbers, bar = beats_over(grid, np.shape(audio)[-1] / rate)
    states, scores = fits(audio, rate, edges, cents)
    return _chart(states, scores, costs(numbers, bar), edges)


def fits(audio: np.ndarray, rate: int, edges: np.ndarray, cents: float | None = None) -> tuple[list[Chord], np.ndarray]:
    """(chords [S], how well each fits each beat: float64 [T, S]). edges: [T + 1] seconds of the beats' borders; else as
    `estimate`."""
    mono = resample(to_mono(np.asarray(audio, np.float32)), rate, RATE)
    if cents is None:
        found = tuning.estimate(mono, RATE)
        cents = found.cents if found.confidence >= tuning.SURE else 0.0
    magnitudes = _magnitudes(mono, cents, edges, *CHORD_NOTES, CHORD_WINDOW)
    chord = _classes(magnitudes, CHORD_NOTES, CHORD_CENTRE, CHORD_WIDTH)
    bass = _classes(_magnitudes(mono, cents, edges, *BASS_NOTES, BASS_WINDOW), BASS_NOTES, BASS_CENTRE, BASS_WIDTH)
    states, tonal = paths.candidates(QUALITIES), _tonal(magnitudes)[:, None]
    scores = _scores(chord, bass, states) + IN_KEY * _in_key(chord * tonal, states)
    scores *= tonal
    scores[:, states.index(NO_CHORD)] = NOTHING
    return states, scores


def of_logits(logits: np.ndarray, times: np.ndarray, grid: BeatGrid | None, seconds: float) -> Chart:
    """The chords that a model reads: of every quality, without their bass.

    logits: float [T, 25] of frames, 12 roots and "no chord" (one of them holds), then 12 pitch classes (each holds or
        not). times: [T + 1] seconds of the frames' borders. grid: beats, as in `estimate`. seconds: of the recording.
    """
    logits = np.asarray(logits, np.float64)
    edges, numbers, bar = beats_over(grid, seconds)
    roots = logits[:, :13] - np.logaddexp.reduce(logits[:, :13], axis=1, keepdims=True)
    on, off = -np.logaddexp(0, -logits[:, 13:]), -np.logaddexp(0, logits[:, 13:])
    states = paths.candidates(NAMED)
    masks = paths.masks(states)
    scores = roots[:, [chord.root if chord.root >= 0 else 12 for chord in states]] + on @ masks.T + off @ (1 - masks).T
    scores[:, :-1] -= RARE * np.repeat([name not in QUALITIES for name in NAMED], 12)
    middle = (np.asarray(times)[1:] + np.asarray(times)[:-1]) / 2
    scores = np.stack([scores[inside].mean(0) for inside in _inside(middle, edges)])
    return _chart(states, scores, costs(numbers, bar, READING), edges)


def beats_over(grid: BeatGrid | None, seconds: float) -> tuple[np.ndarray, np.ndarray, int]:
    """(edges [n + 1] of beats from 0 to `seconds`, their numbers [n], beats a bar); the grid goes on beyond its ends.

    Without two beats the numbers are 0, and so is the bar.
    """
    if grid is None or len(grid) < 2:
        count = max(1, round(seconds / PLAIN_BEAT))
        return np.linspace(0.0, seconds, count + 1), np.zeros(count, np.int64), 0
    first, last, bar = *(np.diff(grid.times)[[0, -1]]), max(1, grid.beats_per_bar)
    before = max(0, int(np.ceil(grid.times[0] / first - 1e-6)))
    after = max(0, int(np.ceil((seconds - grid.times[-1]) / last - 1e-6)) - 1)
    times = np.concatenate(
        [
            grid.times[0] - first * np.arange(before, 0, -1),
            grid.times,
            grid.times[-1] + last * np.arange(1, after + 1),
        ]
    )
    numbers = np.concatenate(
        [
            (grid.numbers[0] - 1 - np.arange(before, 0, -1)) % bar + 1,
            grid.numbers,
            (grid.numbers[-1] - 1 + np.arange(1, after + 1)) % bar + 1,
        ]
    )
    kept = (np.append(times[1:], np.inf) > 0) & (times < seconds)
    return np.append(times[kept].clip(0), seconds), numbers[kept], bar


def costs(numbers: np.ndarray, bar: int, change: tuple[float, float, float] = CHANGE) -> np.ndarray:
    """What a change of the chord costs at each beat, by its number in the bar: float64 [T]."""
    downbeat, middle, elsewhere = change
    if not bar:
        return np.full(len(numbers), middle)
    half = (numbers - 1) * 2 == bar
    return np.where(numbers == 1, downbeat, np.where(half, middle, elsewhere))


def _chart(states: list[Chord], scores: np.ndarray, costs: np.ndarray, edges: np.ndarray) -> Chart:
    path = [states[i] for i in paths.best(scores, costs)]
    spans = (Span(start, end, chord) for start, end, chord in zip(edges[:-1], edges[1:], path))
    return Chart(tuple(span for span in spans if span.end - span.start > 1e-3)).joined()


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


def _tonal(magnitudes: np.ndarray) -> np.ndarray:
    """How far each beat [T, thirds of semitones] has tones, not noise: 0..1. By how much the highest place in each
    four semitones is above their mean."""
    parts = magnitudes[:, : magnitudes.shape[1] // 12 * 12].astype(np.float64).reshape(len(magnitudes), -1, 12)
    above = parts.max(2).sum(1) / np.maximum(parts.mean(2).sum(1), 1e-9)
    return ((above - NOISE) / (TONES - NOISE)).clip(0, 1)


def _classes(magnitudes: np.ndarray, notes: tuple[int, int], centre: float, width: float) -> np.ndarray:
    """Shares of the pitch classes in each beat, weighted around a note: float64 [T, 12], rows sum to 1, or 0."""
    low, high = notes
    spectra = np.sqrt(magnitudes.reshape(len(magnitudes), -1, 3).max(2))  # a note may lie beside the scale
    known = _overtones(high - low)
    played = np.stack([optimize.nnls(known, row)[0] for row in spectra.astype(np.float64)])
    pitches = np.arange(low, high)
    played *= np.exp(-0.5 * ((pitches - centre) / width) ** 2)
    classes = np.stack([played[:, pitches % 12 == pitch].sum(1) for pitch in range(12)], axis=1)
    total = classes.sum(1, keepdims=True)
    return np.divide(classes, total, out=np.zeros_like(classes), where=total > 1e-6)


def _magnitudes(mono: np.ndarray, cents: float, edges: np.ndarray, low: int, high: int, window: int) -> np.ndarray:
    """Magnitude at each third of a semitone from a third below `low` up to `high` in each beat: [T, 3 (high - low)],
    float32. It is the median over the beat's spectra, in which drums hardly show."""
    thirds = np.arange(low * 3 - 1, high * 3 - 1) / 3
    place = filters.note_hz(thirds + cents / 100) * window / RATE
    bin, share = place.astype(int), (place % 1).astype(np.float32)
    padded = np.pad(mono, (window // 2, window // 2 + HOP))
    cut = filters.frames(padded, window, HOP)
    bell = np.hanning(window).astype(np.float32) / window
    found = np.empty((len(cut), len(thirds)), np.float32)
    for start in range(0, len(cut), STEP):
        spectrum = np.abs(np.asarray(fft.rfft(cut[start : start + STEP] * bell, axis=1)))
        found[start : start + STEP] = spectrum[:, bin] * (1 - share) + spectrum[:, bin + 1] * share
    inside = _inside(np.arange(len(found)) * HOP / RATE, edges)
    return np.stack([np.median(found[rows], axis=0) for rows in inside])


def _inside(times: np.ndarray, edges: np.ndarray) -> list[slice]:
    """The moments [n], rising, that lie in each stretch between edges; the nearest one where there is none."""
    borders = np.searchsorted(times, edges)
    made = []
    for first, last, middle in zip(borders[:-1], borders[1:], (edges[1:] + edges[:-1]) / 2):
        nearest = int(np.abs(times - middle).argmin()) if first >= last else 0
        made.append(slice(first, last) if first < last else slice(nearest, nearest + 1))
    return made


def _overtones(notes: int) -> np.ndarray:
    """Semitones of notes with their overtones, a column each: float64 [notes, notes]."""
    made = np.zeros((notes, notes))
    for partial in range(1, OVERTONES + 1):
        above = round(12 * np.log2(partial))
        made += DECAY ** (partial - 1) * np.eye(notes, k=-above)
    return made
