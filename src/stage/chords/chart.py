"""Chords on a recording's time line: `Chart`."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stage import files
from stage.beats.grid import BeatGrid
from stage.chords.symbols import NO_CHORD, Chord
from stage.errors import StageError

SHORTEST = 1e-3
"""Seconds below which a gap between chords, or an overlap of two, is rounding."""


Bar = tuple["Chord | None", ...]
"""Cells of a bar, equally long; None holds the chord before."""


@dataclass(frozen=True)
class Span:
    """A chord from `start` to `end` seconds, rounded to microseconds: as they are written."""

    start: float
    end: float
    chord: Chord

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", round(float(self.start), 6))
        object.__setattr__(self, "end", round(float(self.end), 6))


@dataclass(frozen=True)
class Chart:
    """Chords of a stretch of music, in order and without overlap; where there is none, nothing is known to sound.

    spans: their times are seconds from the start of the stretch. remarks: sentences for the user about how what was
        given was understood; they do not count when charts are compared.
    """

    spans: tuple[Span, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ends = 0.0
        for number, span in enumerate(self.spans, 1):
            if not (np.isfinite(span.start) and np.isfinite(span.end) and span.start < span.end):
                raise StageError(
                    f"chord {number} ({span.chord.name}) lasts from {span.start:g} to {span.end:g} s: a chord ends"
                    " after it begins"
                )
            if number > 1 and span.start < ends - SHORTEST:
                raise StageError(
                    f"chord {number} ({span.chord.name}) begins at {span.start:g} s, before the one before it ends"
                    f" ({ends:g} s)"
                )
            ends = span.end

    def __eq__(self, other: object) -> bool:
        return self.spans == other.spans if isinstance(other, Chart) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def at(self, seconds: float) -> Chord:
        """The chord that sounds at a time; `NO_CHORD` where there is none."""
        place = bisect.bisect_right(self.spans, seconds, key=lambda span: span.start) - 1
        return self.spans[place].chord if place >= 0 and seconds < self.spans[place].end else NO_CHORD

    def features(self) -> tuple[tuple[float, float, int, tuple[int, ...]], ...]:
        """(start, end, root or -1 for no chord, pitch classes) of each span: what the model is given
        (`stage.models.features.chord_features`)."""
        return tuple((span.start, span.end, span.chord.root, span.chord.classes) for span in self.spans)

    def crop(self, start: float, end: float) -> Chart:
        """What sounds in [start, end), its times relative to `start`."""
        inside = (Span(max(s.start, start) - start, min(s.end, end) - start, s.chord) for s in self.spans)
        return replace(self, spans=tuple(span for span in inside if span.end - span.start > SHORTEST))

    def scale(self, factor: float) -> Chart:
        """The same chords at times that are multiplied by `factor`: above 1 slower."""
        return replace(self, spans=tuple(Span(s.start * factor, s.end * factor, s.chord) for s in self.spans))

    def shift(self, seconds: float) -> Chart:
        """The same chords, later by `seconds` (earlier if negative)."""
        return replace(self, spans=tuple(Span(s.start + seconds, s.end + seconds, s.chord) for s in self.spans))

    def transpose(self, semitones: int) -> Chart:
        """All chords higher by `semitones` (lower if negative)."""
        return replace(self, spans=tuple(replace(s, chord=s.chord.transpose(semitones)) for s in self.spans))

    def joined(self) -> Chart:
        """The same, with equal chords that follow each other as one."""
        made: list[Span] = []
        for span in self.spans:
            if made and made[-1].chord == span.chord and span.start - made[-1].end < SHORTEST:
                made[-1] = replace(made[-1], end=span.end)
            else:
                made.append(span)
        return replace(self, spans=tuple(made))

    def remarked(self, *remarks: str) -> Chart:
        """The same with more remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))

    def bars(self, grid: BeatGrid, seconds: float) -> str:
        """The chart as text on the bars of a grid, "| Am | F . . G |", four bars a line, for people and for `read`.

        Each beat has the chord that sounds at its middle, so that shorter ones are not shown.
        """
        rows = []
        for bar in bars_of(grid, seconds):
            middles = np.minimum((bar[1:] + bar[:-1]) / 2, seconds - SHORTEST)  # the end may be within a bar
            names = [self.at(float(middle)).name for middle in middles]
            cells = [name if i == 0 or name != names[i - 1] else "." for i, name in enumerate(names)]
            rows.append(cells[0] if set(cells[1:]) <= {"."} else " ".join(cells))
        lines = ("| " + " | ".join(rows[i : i + 4]) + " |" for i in range(0, len(rows), 4))
        return "\n".join(lines)

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write the chart: a line for each chord, with its start and end in seconds and its name.

        .lab has the names of the annotations that researchers use ("A:min7"); .txt ("Am7", tabs: labels for Audacity)
        and .csv (with a heading) have symbols. All three are read back as the same chart. Raises StageError for other
        names, and where the file is there (but with force) or cannot be written. What lies before second 0 is left out.
        """
        path = Path(path)
        kind = check_name(path)
        between = {".lab": " ", ".txt": "\t", ".csv": ","}[kind]
        rows = [
            between.join((f"{s.start:.6f}", f"{s.end:.6f}", s.chord.lab if kind == ".lab" else _field(s.chord, kind)))
            for s in self.crop(0.0, np.inf)
        ]
        head = ["start,end,chord"] if kind == ".csv" else []
        files.write_text(path, "".join(row + "\n" for row in head + rows), force)


def check_name(path: str | Path) -> str:
    """The suffix of a name that charts can be written to. Raises StageError for others."""
    kind = Path(path).suffix.lower()
    if kind not in (".lab", ".txt", ".csv"):
        raise StageError(f"chords are written to .lab, .txt or .csv files, not to {Path(path).name}")
    return kind


def bars_of(grid: BeatGrid, seconds: float) -> list[np.ndarray]:
    """The times of the beats of each bar and of its end: float64 [beats + 1] each.

    The bars that begin before `seconds`. The last one has the usual number of beats, as long as the last two are apart.
    """
    starts = np.flatnonzero(grid.numbers == 1)
    if len(grid) < 2 or not len(starts):
        return []
    bars = [grid.times[a : b + 1] for a, b in zip(starts[:-1], starts[1:])]
    last = grid.times[starts[-1] :]
    gap = grid.times[-1] - grid.times[-2]
    missing = max(1, grid.beats_per_bar + 1 - len(last))
    bars.append(np.concatenate([last, last[-1] + gap * np.arange(1, missing + 1)]))
    return [bar for bar in bars if bar[0] < seconds]


def on_bars(bars: Sequence[Bar], grid: BeatGrid, seconds: float) -> Chart:
    """Bars of chords on the bars of a grid, from its first downbeat on, and again from the first where they are fewer.

    The cells of a bar are equally long; where they are no more than its beats they begin on beats. What lies before the
    first downbeat has the first chord, what lies after the last bar has the last one's. A remark says what did not fit.
    """
    places = bars_of(grid, seconds)
    if not places:
        raise StageError(
            "chords for each bar need beats with downbeats: give them with a file of beats, or times with a .lab file"
        )
    spans: list[Span] = []
    for number, beats in enumerate(places):
        cells, last = bars[number % len(bars)], len(beats) - 1
        edges = np.arange(len(cells) + 1) * last / len(cells)
        if len(cells) <= last:
            edges = np.floor(edges + 0.5)
        times = np.interp(edges, np.arange(len(beats)), beats)
        for cell, start, end in zip(cells, times[:-1], times[1:]):
            if cell is None:
                spans[-1] = Span(spans[-1].start, end, spans[-1].chord)
            else:
                spans.append(Span(start, end, cell))
    if spans[0].start > SHORTEST:
        spans.insert(0, Span(0.0, spans[0].start, spans[0].chord))
    if spans[-1].end < seconds:
        spans[-1] = Span(spans[-1].start, seconds, spans[-1].chord)
    return Chart(tuple(spans), _fit(len(bars), len(places))).crop(0.0, seconds).joined()


def _fit(given: int, there: int) -> tuple[str, ...]:
    """What did not fit."""
    bars = f"{there} bar{'s' * (there != 1)}"
    if given < there:
        return (f"the chords of {given} bar{'s' * (given != 1)} are repeated over the {bars} of the music",)
    if given > there:
        return (f"the music has {bars}: the chords of the {given - there} after them are left out",)
    return ()


def _field(chord: Chord, kind: str) -> str:
    return f'"{chord.name}"' if kind == ".csv" and "," in chord.name else chord.name
