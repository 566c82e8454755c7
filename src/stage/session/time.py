"""The time of a session: beats, chords, tuning and form, tracked, given or mended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Union

import numpy as np

from stage import text_files
from stage.audio.files import check_rate
from stage.audio.tuning import estimate as estimate_tuning
from stage.beats.find import Tracking, find
from stage.beats.grid import BeatGrid
from stage.chords.chart import Chart, Span, bars_of
from stage.chords.estimation import estimate as estimate_chords
from stage.chords.reading import read as read_chords
from stage.errors import StageError
from stage.generation.performance import Performance
from stage.generation.request import Grid, Metronome, Recording, check_seconds, tuning_cents
from stage.session.state import Click, Section, Time

Spans = Union[int, tuple[float, float], Sequence[Union[int, tuple[float, float]]]]
"""One number, a pair of first and last, or several of these."""
BARS_AGAIN = 4
"""Bars whose chords are repeated behind a recording's end."""
RATE = 44100
"""Hz of a session without a recording, where none is chosen."""


def of_song(
    part: Recording, start: float, grid: Grid, chords: str | Path | Chart | None, tuning: float | str | None
) -> Time:
    """The time of a recording: what is not given is tracked or estimated. start: of the stretch, in seconds; the times
    of a BeatGrid and of files count from the recording's beginning."""
    seconds = part.audio.shape[1] / part.rate
    beats = _beats(part, start, grid, seconds)
    cents = tuning_cents(tuning)
    if cents is None:
        found = estimate_tuning(part.audio, part.rate)
        cents = found.cents if found.is_off else 0.0
    if chords is None:
        chart = estimate_chords(part.audio, part.rate, beats, cents)
    else:
        chart = _chart(chords, beats, seconds, start)
    return Time.of(beats, chart, cents)


def of_click(
    bpm: float | None,
    meter: str,
    bars: int,
    rate: int | None,
    grid: Grid,
    chords: str | Path | Chart | None,
) -> tuple[Click, Time]:
    """The source and the time of a session without a recording."""
    if rate is not None:
        check_rate(rate, "the session")
    rate = rate or RATE
    if isinstance(grid, BeatGrid):
        if len(grid) < 2:
            raise StageError("a session without a song needs two beats or more")
        grid = grid.crop(0.0, np.inf)
        last = bars_of(grid, np.inf)
        seconds = float(last[-1][-1]) if last else float(2 * grid.times[-1] - grid.times[-2])
        check_seconds(seconds)
        beats = whole_bars(grid, seconds)
    elif grid is not None:
        raise StageError("a session without a song has the beats of a tempo or of a file: leave out this grid")
    elif bpm is None:
        raise StageError("name a song, or a tempo with bpm (--bpm 96)")
    else:
        source = Metronome(bpm, meter, bars, rate)
        seconds, beats = source.seconds, source.grid
    chart = None if chords is None else _chart(chords, beats, seconds, 0.0)
    return Click(rate, round(seconds * rate)), Time.of(beats, chart)


def beyond(seconds: float, more: float, rate: int) -> int:
    """Samples behind the end of a recording of so many seconds. Raises StageError for what cannot be."""
    if not 0 <= more < np.inf:
        raise StageError(f"a recording cannot be extended by {more:g} seconds: choose 0 or more")
    check_seconds(seconds + more)
    return round(more * rate)


def extended(time: Time, seconds: float, more: float) -> Time:
    """The time of a recording of so many seconds that goes on for some more: at the tempo of its last eight beats, with
    the chords of its last four bars again and again."""
    grid, chart, end = time.grid, time.chart, seconds + more
    if grid is None:
        return time
    gap, bar = float(np.median(np.diff(grid.times[-9:]))), max(1, grid.beats_per_bar)
    count = max(0, int(np.ceil((end - grid.times[-1]) / gap)) - 1)
    times = np.concatenate([grid.times, grid.times[-1] + gap * np.arange(1, count + 1)])
    numbers = np.concatenate([grid.numbers, (grid.numbers[-1] - 1 + np.arange(1, count + 1)) % bar + 1])
    longer = BeatGrid(times, numbers, grid.division)
    if chart is not None and len(chart):
        starts = [*longer.downbeats.tolist(), end]
        whole = [pair for pair in zip(starts, starts[1:]) if pair[1] <= seconds + gap / 2][-BARS_AGAIN:]
        spans = list(chart.crop(0.0, whole[-1][1] if whole else seconds))
        for i, (first, last) in enumerate(p for p in zip(starts, starts[1:]) if whole and p[0] >= whole[-1][1] - 1e-6):
            a, b = whole[i % len(whole)]
            again = chart.crop(a, b).scale((last - first) / (b - a)).shift(first)
            spans += [Span(max(s.start, spans[-1].end if spans else 0.0), s.end, s.chord) for s in again]
        chart = Chart(tuple(spans)).crop(0.0, end)
    return Time.of(longer, chart, time.tuning, time.sections)


def whole_bars(grid: BeatGrid, seconds: float) -> BeatGrid:
    """A grid with the beats that its last bar lacks, up to `seconds`."""
    gap, times, numbers = grid.times[-1] - grid.times[-2], list(grid.times), list(grid.numbers)
    while times[-1] + gap < seconds - gap / 2:
        times.append(times[-1] + gap)
        numbers.append(numbers[-1] % max(1, grid.beats_per_bar) + 1)
    return BeatGrid(np.array(times), np.array(numbers), grid.division)


TAPS_LEAST = 4
SMOOTH = 4
"""Taps on either side among which a tap is brought to a straight line: people tap some 20 ms early or late."""


def taps(times: Sequence[float], beats_per_bar: int = 4) -> BeatGrid:
    """The beats that somebody tapped, the first of them a downbeat, with the unevenness of the hand taken out.

    times: in seconds, rising. Each tap moves to where a straight line through its neighbours, `SMOOTH` on either side,
    has it. Raises StageError for fewer than four, and for a gap of twice the usual length: a tap is missing.
    """
    found = np.asarray(times, np.float64)
    if len(found) < TAPS_LEAST or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise StageError(f"taps are {TAPS_LEAST} times or more, in seconds, that rise")
    gaps = np.diff(found)
    usual = float(np.median(gaps))
    for i, gap in enumerate(gaps):
        if not 0.6 * usual < gap < 1.6 * usual:
            where = f"between the taps at {found[i]:.2f} and {found[i + 1]:.2f} s"
            raise StageError(f"{where} lie {gap:.2f} s, elsewhere {usual:.2f}: tap every beat once")
    index = np.arange(len(found))
    smooth = np.empty(len(found))
    for i in index:
        near = slice(max(0, i - SMOOTH), i + SMOOTH + 1)
        slope, at = np.polyfit(index[near] - i, found[near], 1)
        smooth[i] = at
    return BeatGrid(smooth, index % max(1, beats_per_bar) + 1)


def read_taps(path: str | Path, beats_per_bar: int = 4) -> BeatGrid:
    """`taps` of a text file with a time a line. Raises StageError for anything else."""
    text = text_files.read(Path(path), "the taps", "a file of taps", "a time in seconds a line", 1 << 20)
    words = [line.split("#")[0].strip() for line in text.splitlines()]
    try:
        return taps([float(word) for word in words if word], beats_per_bar)
    except ValueError as error:
        if isinstance(error, StageError):
            raise StageError(f"{path}: {error}") from None
        raise StageError(f"{path} is not a file of taps: write a time in seconds a line") from None


def mended(
    time: Time,
    seconds: float,
    grid: Grid = None,
    shift: int = 0,
    chords: str | Path | Chart | None = None,
    start: float = 0.0,
) -> Time:
    """A time with other beats or chords.

    grid: "half" or "double" of the beats that are there, or beats. shift: the downbeats come so many beats later
    (earlier if negative). start: of the stretch in the recording, from whose beginning the times of beats and of files
    count.
    """
    beats = time.grid
    if isinstance(grid, BeatGrid):
        beats = grid.crop(start, start + seconds)
    elif grid in ("half", "double"):
        if beats is None:
            raise StageError("no beats are known that could be halved or doubled: give them as a file")
        beats = beats.half() if grid == "half" else beats.double().crop(0.0, seconds)
    elif grid is not None:
        raise StageError('beats are mended by "half", "double" or a file of beats')
    if shift:
        if beats is None:
            raise StageError("no beats are known that could be shifted: give them as a file")
        beats = beats.shift_beats(shift)
    if beats is not None and len(beats) < 2:
        raise StageError("the beat grid has fewer than two beats within the music")
    chart = time.chart if chords is None else _chart(chords, beats, seconds, start)
    return Time.of(beats, chart, time.tuning, time.sections)


def sections(form: str, time: Time) -> tuple[Section, ...]:
    """The sections of a form like "intro 4, verse 8, chorus 8 0.9": a name, a number of bars, and, with a decimal
    point, how much happens.

    Raises StageError for what cannot be read, and for more bars than there are.
    """
    made, bar = [], 1
    for part in filter(None, (part.strip() for part in form.split(","))):
        found = re.fullmatch(r"(.*?\S)\s+(\d+)(?:\s+(\d?\.\d+))?", part)
        if not found or not part.isprintable() or int(found[2]) < 1 or float(found[3] or 0) > 1:
            raise StageError(
                f'the form cannot have "{part}": write a name and bars, like "intro 4, verse 8", and an energy from 0.0'
                ' to 1.0 if you like, as in "chorus 8 0.9"'
            )
        made.append(Section(found[1], bar, None if found[3] is None else float(found[3])))
        bar += int(found[2])
    if not made:
        raise StageError('the form is empty: write names and bars, like "intro 4, verse 8"')
    there = len(downbeats(time))
    if made[-1].bar > there:
        raise StageError(f"the form has {bar - 1} bars, the music {there}")
    return tuple(made)


def energy(time: Time) -> str | None:
    """The energies of the form as a line over bars, as `Performance.complexity` takes it; None where none is given. A
    section without one has 0.5."""
    if all(section.energy is None for section in time.sections):
        return None
    starts = [section.bar for section in time.sections]
    ends = [*starts[1:], max(len(downbeats(time)), starts[-1]) + 1]
    values = [0.5 if section.energy is None else section.energy for section in time.sections]
    return " ".join(f"{value:g}@{start} {value:g}@{end}" for value, start, end in zip(values, starts, ends))


def shaped(how: Performance, time: Time, stem: str, fills: bool = True) -> Performance:
    """A performance that follows the form: its energies are the complexity and the dynamics where none are asked for,
    and, with `fills`, drums that are to have no others get one in the last bar of each section."""
    if line := energy(time):
        complexity, dynamics = (line if given is None else given for given in (how.complexity, how.dynamics))
        how = replace(how, complexity=complexity, dynamics=dynamics)
    last = tuple(section.bar - 1 for section in time.sections if section.bar > 1)
    if fills and last and stem == "drums" and not how.fills and not how.fill_bars:
        how = replace(how, fill_bars=last)
    return how


def spans(given: object) -> list[tuple[float, float]]:
    """Pairs of first and last from a number, a pair, or a list of these. Raises StageError for anything else."""
    if given is None:
        return []
    if isinstance(given, (int, float)):
        return [(given, given)]
    if not isinstance(given, (tuple, list)):
        raise StageError(f"{given!r} is no region: name a first and a last, like (5, 6)")
    if len(given) == 2 and isinstance(given, tuple) and all(isinstance(one, (int, float)) for one in given):
        return [(given[0], given[1])]
    return [pair for one in given for pair in spans(one)]


def downbeats(time: Time) -> np.ndarray:
    """float64 [bars], where each bar begins, in seconds."""
    return np.zeros(0) if time.grid is None else time.grid.downbeats


def bars(time: Time, first: int, last: int, seconds: float) -> tuple[float, float]:
    """The stretch of bars first..last, from 1 on (bar 1 begins with the first downbeat; 0 is what lies before it).

    What reaches beyond the end ends there. Raises StageError for bars that are not there.
    """
    starts = downbeats(time)
    if not len(starts):
        raise StageError("no bars are known here: name seconds, or mend the beats (stage session mend --grid FILE)")
    if first > last or first < 0:
        raise StageError(f"bars {first} to {last} are no region: the first bar comes first, and is 0 or more")
    if first > len(starts):
        raise StageError(f"bar {first} is not there: the music has {len(starts)} bars")
    begin = 0.0 if first == 0 else float(starts[first - 1])
    end = seconds if last >= len(starts) else float(starts[last])
    if end <= begin:
        raise StageError("there is nothing before the first bar")
    return begin, min(end, seconds)


def regions(time: Time, bars_: Spans | None, seconds: Spans | None, length: float) -> tuple[tuple[float, float], ...]:
    """Regions of a piece of `length` seconds, in seconds, in order and joined where they meet.

    bars_, seconds: see `stage.session.Session.redo`. Raises StageError for none, and for one outside of the piece.
    """
    found = []
    for first, last in spans(bars_):
        found.append(bars(time, int(first), int(last), length))
    for start, end in spans(seconds):
        if not 0 <= start < end or start >= length:
            ends = f"which ends at {length:.2f} s"
            raise StageError(f"the region from {start:g} to {end:g} s is not within the music, {ends}")
        found.append((float(start), min(float(end), length)))
    if not found:
        raise StageError("which bars? Name a region by bars or seconds (--bars 5-6)")
    joined: list[tuple[float, float]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1] + 1e-9:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _beats(part: Recording, start: float, grid: Grid, seconds: float) -> BeatGrid | None:
    if isinstance(grid, BeatGrid):
        beats = grid.crop(start, start + seconds)
        if not len(beats):
            raise StageError("the beat grid has no beat within the chosen stretch")
        return beats
    if grid == "off":
        return None
    asked = grid if isinstance(grid, Tracking) else Tracking(octave=grid if grid in ("half", "double") else None)
    return find(part.audio, part.rate, asked).grid


def _chart(chords: str | Path | Chart, grid: BeatGrid | None, seconds: float, start: float) -> Chart:
    if isinstance(chords, Chart):
        return chords.crop(start, start + seconds)
    return read_chords(chords, grid, seconds, start)
