"""Beats and downbeats of a recording: `track`.

Small networks give the probability of a beat and of a downbeat 50 times a second: the published ones of BeatNet
(`stage.beats.beatnet`) and our own for music without drums (`stage.beats.beattcn`). The bar-pointer model of
`stage.beats.bar_pointer` finds the most probable beats; each is then moved to the nearest peak of the probabilities,
and neighbours are made to agree, since musicians keep a tempo better than frames of 20 ms can show. Where one tempo for
the whole recording is about as probable, it is taken (`stage.beats.steady`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stage.audio.files import resample, to_mono
from stage.beats.bar_pointer import BarPointer
from stage.beats.grid import BeatGrid
from stage.beats.steady import steadiest

MODEL = BarPointer()
"""The published parameters. On 64 clips of rendered songs a firmer tempo, or a preference for moderate tempi, gained
nothing: what half and double time lost in one song, it won in another."""

SONGS = replace(MODEL, beat_share=1 / 12)
"""What songs are tracked with, by all networks together. Of 78 mixes without drums of Freedoom's songs, which people
composed, 58 had the right beats so, with the published share of 1/16 50 and with 1/24 34; of 150 of our own composer
114, 113 and 97 (by the weights of half the training; docs/beats.md)."""

UNUSUAL = {2: 15.0, 5: 3.0, 7: 12.0}
"""Beats a bar, besides those of `MODEL`, that a song may turn out to have, and by how much the log probability of the
whole song must be higher for it. In 310 clips of 10 s, most without drums, five is taken for three or four in five, and
two and seven never; of 10 bands in 5/4 and 7/4 (24 s) all are counted as they are. Six is left out: it cannot be
distinguished from two bars of three."""

FAST, UNLIKELY = 170.0, 2.0
"""Beats a minute above which a song is taken at half the tempo, unless the log probability of its best path is higher
by so much a second. Of 415 clips of 10 s, of our composer and of Freedoom, it mends seven and spoils one; at 140 to 170
as many are right as doubled, whatever the difference."""
MODERATE, UNEVEN = 115.0, 0.5
"""Beats a minute above which a song is taken at half the tempo if every second beat shows that much less: by the
difference of the mean logarithms of the probabilities at the even and the odd beats. Of 675 clips of 10 s, most without
drums, it mends 17 that are doubled and halves 8 that are right (Freedoom's, 158 of them, not one); drums to doubled
beats miss the song's, to halved ones they meet them."""
HALVED = 0.93, 1.07
"""Around half a tempo, where it is looked for."""
CLICKED = 1.5
"""Nats a second by which one tempo for a whole recording may be less probable than the path that may change it, and is
taken all the same. Of eight recordings of metal bands and their guitars alone, all played to a click, 2 of 16 are right
without it and 9 with it; with drifts of 1 to 3 % in eight seconds nearly all are left to the path (docs/beats.md)."""

SILENCE = 1e-4
"""Peak (-80 dBFS) below which a recording has no beats to track."""
SHORTEST_SECONDS = 1.0
PEAK = 0.3
"""Audio is brought to this peak for the networks: the level at which they do well with both metronomes and music
without drums."""

OWN_SHARE = 0.8
"""Weight of our own network's probabilities beside those of the published ones."""

STEADY, JUMP = 3, 0.08
"""Beats to either side that show a jump of the tempo, and the least change of it that counts (a logarithm: 8 %)."""

FAINT = 1e-3
"""Probabilities below this one are alike."""

DOUBTFUL = 0.35
"""Confidence below which a recording may have no beats. Of 192 mixes of 10 s of our composer, most without drums, 157
have the right beats, and 150 of these reach it (nine in ten 0.42); of 118 of Freedoom's songs 90 and 74. Sustained
chords, rubato, noise and sound with the rhythm of speech have 0.10 to 0.23; 30 runs of hits at random moments (10 and
20 s) 0.15 to 0.34."""


@dataclass(frozen=True)
class Tracked:
    """grid: the beats, in seconds from the first sample. confidence: 0..1, how clearly the recording has them: the
    geometric mean over the beats of the networks' highest probability there, 0 where there are no beats. downbeats:
    float64 [n], nats by which each beat is likelier a downbeat than not, by the networks."""

    grid: BeatGrid
    confidence: float
    downbeats: np.ndarray


def track(
    audio: np.ndarray, rate: int, tempi: tuple[float, float] | None = None, beats_per_bar: int | None = None
) -> BeatGrid:
    """Beats and downbeats of a recording, offline: the grid of `track_with_confidence`."""
    return track_with_confidence(audio, rate, tempi, beats_per_bar).grid


def track_with_confidence(
    audio: np.ndarray, rate: int, tempi: tuple[float, float] | None = None, beats_per_bar: int | None = None
) -> Tracked:
    """Beats and downbeats of a recording, offline.

    audio: float32 [C, N] or [N]; rate in Hz. tempi: lowest and highest in beats a minute, those of `SONGS` if None.
    beats_per_bar: three or four if None, or two, five or seven where that fits clearly better (`UNUSUAL`).
    The grid is empty for audio that is silent, not finite or shorter than a second.
    """
    model = SONGS if tempi is None else replace(SONGS, min_bpm=tempi[0], max_bpm=tempi[1])
    if beats_per_bar is not None:
        model = replace(model, meters=(beats_per_bar,))
    probabilities = listen(audio, rate)
    found = decoded(probabilities, model)
    if tempi is None and (slower := at_half_tempo(probabilities, found)):
        found = slower
    if beats_per_bar is None and (other := in_unusual_metre(probabilities, found.grid, found.model)):
        found = decoded(probabilities, other)
    sure = confidence(probabilities, found.grid)
    if steady := at_one_tempo(probabilities, found):
        found = steady
    grid = found.grid.crop(0.0, audio.shape[-1] / rate)
    near = np.log(np.maximum(highest(probabilities, grid), FAINT))
    return Tracked(grid, max(sure, confidence(probabilities, grid)), near[:, 1] - near[:, 0])


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a model made of probabilities: the log probability of its best beats, and these, before they are cropped."""

    model: BarPointer
    score: float
    grid: BeatGrid


def decoded(probabilities: np.ndarray, model: BarPointer = SONGS) -> Decoded:
    """The most probable beats for what `listen` returned, with their log probability."""
    score, frames, numbers = model.best(probabilities)
    times = smooth(to_peaks(frames, probabilities.sum(axis=1)) / model.frame_rate)
    return Decoded(model, score, BeatGrid(times, numbers))


def at_half_tempo(probabilities: np.ndarray, found: Decoded) -> Decoded | None:
    """Around half the tempo, for a song that is faster than songs are (`FAST`), or whose beats are strong and weak in
    turn (`UNEVEN`); None where it stays.

    probabilities: what `listen` returned.
    """
    if len(found.grid) < 2 or found.grid.bpm <= MODERATE:
        return None
    uneven = unevenness(probabilities, found.grid) > UNEVEN
    if not uneven and found.grid.bpm <= FAST:
        return None
    low, high = (factor * found.grid.bpm / 2 for factor in HALVED)
    half = decoded(probabilities, replace(found.model, min_bpm=low, max_bpm=high))
    near = found.score - half.score < UNLIKELY * len(probabilities) / found.model.frame_rate
    return half if uneven or near else None


def unevenness(probabilities: np.ndarray, grid: BeatGrid) -> float:
    """How much less every second beat shows: nats of the probabilities' geometric means; 0 for fewer than four."""
    if len(grid) < 4:
        return 0.0
    shown = np.log(FAINT + highest(probabilities.sum(axis=1, keepdims=True), grid)[:, 0])
    return abs(float(shown[::2].mean() - shown[1::2].mean()))


def at_one_tempo(probabilities: np.ndarray, found: Decoded) -> Decoded | None:
    """One tempo for the whole recording, exactly; None where a tempo that changes is clearly likelier (`CLICKED`).

    probabilities: what `listen` returned.
    """
    if len(found.grid) < 2 * STEADY:
        return None
    steady = steadiest(probabilities, found.model, found.grid.bpm)
    if found.score - steady.score > CLICKED * len(probabilities) / found.model.frame_rate:
        return None
    frames, numbers = steady.beats(len(probabilities))
    activation, last = probabilities.sum(axis=1), len(probabilities) - 1
    peaks = to_peaks(np.minimum(np.round(frames).astype(np.int64), last), activation)
    index, shown = np.arange(len(frames)), activation[np.minimum(np.round(peaks).astype(int), last)]
    line = np.polynomial.Polynomial.fit(index, peaks - frames, 1, w=FAINT + shown)
    return Decoded(found.model, steady.score, BeatGrid((frames + line(index)) / found.model.frame_rate, numbers))


def in_unusual_metre(probabilities: np.ndarray, grid: BeatGrid, model: BarPointer = SONGS) -> BarPointer | None:
    """The model with the unusual number of beats a bar that fits a song clearly better; None where none does.

    probabilities: what `listen` returned. grid: what the model found, about whose tempi the metres are compared.
    """
    if len(grid) < 2 * max(UNUSUAL):
        return None
    tempi = 60 / np.diff(grid.times)
    near = replace(
        model,
        meters=(*model.meters, *UNUSUAL),
        min_bpm=max(model.min_bpm, 0.93 * float(tempi.min())),
        max_bpm=min(model.max_bpm, 1.07 * float(tempi.max())),
    )
    scores = {meter: score - UNUSUAL.get(meter, 0.0) for meter, score in near.log_probabilities(probabilities).items()}
    best = max(scores, key=scores.__getitem__)
    return None if best in model.meters else replace(near, meters=(best,))


def confidence(probabilities: np.ndarray, grid: BeatGrid) -> float:
    """How clearly a recording has the beats of a grid: see `Tracked`. probabilities: what `listen` returned."""
    if not len(grid) or not len(probabilities):
        return 0.0
    found = highest(probabilities.sum(axis=1, keepdims=True), grid)
    return float(np.exp(np.log(np.maximum(found, 1e-6)).mean()))


def highest(probabilities: np.ndarray, grid: BeatGrid) -> np.ndarray:
    """The highest probabilities within two frames of each beat: [n, C], of probabilities [T, C]."""
    if not len(probabilities):
        return np.zeros((len(grid), probabilities.shape[1]))
    padded = np.pad(probabilities, ((2, 2), (0, 0)))
    frames = np.round(grid.times * MODEL.frame_rate).astype(int).clip(0, len(probabilities) - 1)
    return padded[frames[:, None] + np.arange(5)].max(axis=1)


def listen(audio: np.ndarray, rate: int, published_only: bool = False) -> np.ndarray:
    """The networks' probabilities of a beat that is not a downbeat, and of a downbeat: float64 [T, 2] at 50 frames/s.

    audio: float32 [C, N] or [N]; rate in Hz. No frames for audio without anything to track. published_only: without
    our own network, which was trained on our corpus and so must not measure models that were trained on it too.
    """
    mono = to_mono(audio)
    peak = float(np.abs(mono).max(initial=0))
    if len(mono) < SHORTEST_SECONDS * rate or not np.isfinite(peak) or peak < SILENCE:
        return np.zeros((0, 2))
    # Here, not above: torch takes seconds to import, and a grid from a file does not need it.
    from stage.beats.beatnet import RATE, features, published
    from stage.beats.beattcn import own

    spectra = features(resample(mono * (PEAK / peak), rate, RATE))
    if published_only:
        return published(spectra)
    return (1 - OWN_SHARE) * published(spectra) + OWN_SHARE * own(spectra)


def decode(probabilities: np.ndarray, model: BarPointer = MODEL) -> BeatGrid:
    """The most probable beats for what `listen` returned, placed on the networks' peaks and smoothed."""
    return decoded(probabilities, model).grid


def to_peaks(frames: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Move each beat to the peak of the activation within three frames after the frame where it begins.

    frames: int64 [n]; activation: float [T]. Returns float64 [n] frames, finer than a frame by a parabola
    through the peak and its neighbours.
    """
    padded = np.pad(activation, (1, 5))
    window = padded[frames[:, None] + np.arange(1, 5)]
    peaks = frames + window.argmax(axis=1)
    before, at, after = (padded[peaks + offset] for offset in (0, 1, 2))
    curvature = before - 2 * at + after
    slope = np.where(curvature < 0, 0.5 * (before - after) / np.minimum(curvature, -1e-9), 0.0)
    return peaks + np.clip(slope, -0.5, 0.5)


def smooth(times: np.ndarray, reach: int = 4) -> np.ndarray:
    """Each time replaced by the line through the beats at most `reach` before and after it.

    No line reaches across a change of tempo (`jumps`); a beat at which the tempo changes ends one line and begins
    another, and is placed between the two.
    """
    if len(times) < 3:
        return times
    smoothed, counted = np.zeros_like(times), np.zeros(len(times))
    edges = [0, *jumps(times), len(times) - 1]
    for first, last in zip(edges, edges[1:]):
        for index in range(first, last + 1):
            low, high = max(first, index - reach), min(last, index + reach) + 1
            beats = np.arange(low, high) - index
            smoothed[index] += np.polyfit(beats, times[low:high], 1)[1]
            counted[index] += 1
    return smoothed / counted


def jumps(times: np.ndarray) -> list[int]:
    """The beats at which the tempo changes at once: rising indices, at least `STEADY` from each other and the ends.

    There all gaps before a beat are shorter, or longer, than all gaps after it, on average by more than `JUMP`.
    """
    found: list[tuple[float, int]] = []
    gaps = np.diff(times)
    for beat in range(STEADY, len(gaps) - STEADY + 1):
        before, after = gaps[beat - STEADY : beat], gaps[beat : beat + STEADY]
        if before.max() < after.min() or after.max() < before.min():
            size = abs(float(np.log(after.mean() / before.mean())))
            if size > JUMP:
                found.append((size, beat))
    kept: list[int] = []
    for _, beat in sorted(found, reverse=True):
        if all(abs(beat - other) >= STEADY for other in kept):
            kept.append(beat)
    return sorted(kept)
