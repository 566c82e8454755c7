"""From a request to what the model is given: contexts, beats, tuning; and to what is done with its stem afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stage import audio as sound
from stage.audio.level import loudness
from stage.audio.tuning import estimate
from stage.beats.find import Tracking, find
from stage.beats.grid import BeatGrid, click_track
from stage.chords.chart import Chart
from stage.chords.reading import read
from stage.generation.envelope import Envelope, end_fade, envelope, rests
from stage.generation.request import Grid, Metronome, Recording, Request

STEM_LEVEL = -4.0
"""Loudness of a stem against the song it joins, in LU."""
CLICK_STEM_LUFS = -18.0
"""Loudness of a stem that was made for a metronome."""
A_HZ = 440.0
"""Tuning of the models' music."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a request comes to.

    contexts: kind -> mono float32 [M] at the codec's rate, on the model's time line. seconds: their length.
    rate: Hz at which the model's samples sound as the song does: the codec's, or, for a song that is not at A = 440 Hz,
        the codec's times that deviation. So the model gets a song at 440, a little slower or faster than it is, and
        its stem sounds at the song's own speed and tuning: time and pitch are both undone exactly.
    envelope: gain of the stem over time, at the song's rate. tuning: of the song, in cents from A = 440 Hz.
    grid: the beats that the model is given, on the song's time line, None if none.
    remarks: sentences about what is done otherwise than asked.
    pauses: stretches in which the stem rests, (first, end) in samples of the song.
    chart: the chords that were given, on the song's time line.
    """

    contexts: dict[str, np.ndarray]
    seconds: float
    rate: float
    grid: BeatGrid | None = None
    envelope: Envelope = Envelope()
    tuning: float = 0.0
    remarks: tuple[str, ...] = ()
    pauses: tuple[tuple[int, int], ...] = ()
    chart: Chart | None = None


def prepare(request: Request, kinds: Sequence[str], rate: int, clicks: bool = True) -> Prepared:
    """Find contexts, beats and tuning.

    request: complete (`stage.pipeline.Stage.complete`). kinds: of contexts that the model takes. rate: of its codec.
    clicks: whether beats are given as sound; a model of events takes them as they are.
    """
    source = request.source
    seconds = source.audio.shape[1] / source.rate
    if isinstance(source, Metronome):
        if not clicks:
            chart = _chart(request, source.grid, seconds)
            return Prepared({}, seconds, rate, source.grid, remarks=_remarks(chart), chart=chart)
        kind = "grid" if "grid" in kinds else "mix"
        clicks = {kind: click_track(source.grid, seconds, rate)}
        return Prepared(clicks, seconds, rate, source.grid, remarks=_division(source))
    grid, remarks = _beats(request.grid, source.audio, source.rate)
    chart = _chart(request, grid, seconds, source.start)
    cents, tuned = _tuning(request.tuning, source)
    ratio = 2 ** (cents / 1200)
    contexts = {"mix": sound.resample(sound.to_mono(source.audio), source.rate, rate * ratio)}
    if grid is not None and clicks:
        contexts["grid"] = click_track(grid.scale(ratio), seconds * ratio, rate)
    pauses = rests(source.audio, source.rate, grid) if request.rest else []
    shape = envelope(source.audio.shape[1], source.rate, pauses, end_fade(grid, seconds))
    remarks = (*remarks, *_remarks(chart), *tuned, *_pauses(pauses, source.rate))
    return Prepared(contexts, seconds * ratio, rate * ratio, grid, shape, cents, remarks, tuple(pauses), chart)


def target_level(request: Request) -> float:
    """Loudness in LUFS that the stem of a request is to have, as it sounds in the song's channels."""
    if isinstance(request.source, Metronome):
        return CLICK_STEM_LUFS
    return loudness(request.source.audio, request.rate) + STEM_LEVEL


def _beats(grid: Grid, song: np.ndarray, rate: int) -> tuple[BeatGrid | None, tuple[str, ...]]:
    """The beats to give to the model, tracked where they are not given, and what there is to say about them."""
    if isinstance(grid, BeatGrid):
        return grid, ()
    if grid == "off":
        return None, ()
    if isinstance(grid, str):
        grid = Tracking(octave=None if grid == "on" else grid)
    found = find(song, rate, grid)
    return found.grid, found.notes


def _chart(request: Request, grid: BeatGrid | None, seconds: float, start: float = 0.0) -> Chart | None:
    """The chords of a request on the stretch's time line, None where none are given."""
    if isinstance(request.chords, Chart):
        return request.chords.crop(start, start + seconds)
    return None if request.chords is None else read(request.chords, grid, seconds, start)


def _remarks(chart: Chart | None) -> tuple[str, ...]:
    return () if chart is None else chart.remarks


def _division(source: Metronome) -> tuple[str, ...]:
    """What there is to say about the parts of a metronome's beats."""
    if not source.grid.too_fast_to_divide:
        return ()
    eighths = f"the eighths of {source.meter} at {source.bpm:g} BPM"
    return (f"{eighths} are too fast to be clicked: the stem may be in simple time",)


def _tuning(cents: float | None, source: Recording) -> tuple[float, tuple[str, ...]]:
    """The tuning of a recording in cents, estimated if it is not given, and what there is to say about it."""
    if cents is not None:
        return cents, ()
    found = estimate(source.audio, source.rate)
    if not found.is_off:
        return 0.0, ()
    hz = A_HZ * 2 ** (found.cents / 1200)
    text = f"the song is tuned to A = {hz:.1f} Hz ({found.cents:+.0f} cents), and so is the stem (--tuning off: 440 Hz)"
    return found.cents, (text,)


def _pauses(pauses: list[tuple[int, int]], rate: int) -> tuple[str, ...]:
    """What there is to say about rests."""
    if not pauses:
        return ()
    where = ", ".join(f"{first / rate:.1f} to {end / rate:.1f} s" for first, end in pauses[:4])
    more = f" and {len(pauses) - 4} more" if len(pauses) > 4 else ""
    return (f"the stem rests where the song is silent ({where}{more}); --no-rest plays through",)
