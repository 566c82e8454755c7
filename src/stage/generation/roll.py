"""Played notes over bars: a drum grid with a row for each piece, or a piano roll; and the names of chords."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stage.beats.grid import BeatGrid
from stage.chords.chart import Chart
from stage.models.playable import GROUPS
from stage.notes import Note

INK, FAINT, BAND = "#22262b", "#e9edf1", "#f3f5f8"
SHADES = ("#f6d4d0", "#e58a85", "#d1495b", "#8f1d3a")
"""Of velocities, from soft to loud."""
ALWAYS = (36, 38, 42)
"""Rows of a drum grid that are shown though nothing is played there."""
NATURAL = "C D EF G A B"
"""Names of the white keys, at their pitch classes."""
WHITE = tuple(p for p in range(12) if NATURAL[p] != " ")
DENSE = 400
"""Notes above which they are drawn thinner, without edges."""
MOST_BARS, MOST_LINES = 24, 200
"""Numbers of bars that are shown, and lines."""
LETTER = 0.00078
"""Width of a letter of a chord's name for each point of its size, as a share of the picture's."""
SIZES = (9.0, 7.5, 6.5)
"""Of the names of chords, points: the largest that fits most of them."""
HATS = ("closed", "pedal", "open", "closed edge", "half open")


def drum_grid(axes, notes: Sequence[Note], seconds: float) -> None:
    """Hits as marks, a row for each articulation; louder ones are darker and taller."""
    order = [key for pieces in GROUPS.values() for _, key in pieces]
    names = {key: f"{name} hat" if name in HATS else name for pieces in GROUPS.values() for name, key in pieces}
    there = {note.pitch for note in notes} | set(ALWAYS)
    keys = [key for key in order if key in there] + sorted(there - set(order))
    rows = {key: row for row, key in enumerate(keys)}
    starts = np.array([note.start for note in notes])
    gaps = np.diff(np.unique(np.round(starts, 2))) if len(notes) > 1 else np.array([0.2])
    least = 0.0014 if len(notes) > DENSE else 0.0035
    width = min(max(0.45 * float(np.percentile(gaps, 20)), least * seconds), 0.006 * seconds)
    boxes = [
        (note.start, rows[note.pitch] + 0.5 - 0.5 * height, width, height)
        for note in notes
        for height in (0.3 + 0.55 * note.velocity / 127,)
    ]
    _rows(axes, len(keys), [row for row in range(len(keys)) if row % 2])
    _boxes(axes, boxes, [note.velocity for note in notes])
    axes.set_yticks(np.arange(len(keys)) + 0.5, [names.get(key, f"key {key}") for key in keys], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, len(keys))


def piano_roll(axes, notes: Sequence[Note], seconds: float) -> None:
    """Notes as bars at their pitches, over the rows of white and black keys; louder ones are darker."""
    pitches = [note.pitch for note in notes] or [48, 60]
    low, high = min(pitches) - 2, max(pitches) + 3
    middle, least = (low + high) // 2, 12
    low, high = min(low, middle - least // 2), max(high, middle + least - least // 2)
    _rows(axes, high - low, [p - low for p in range(low, high) if NATURAL[p % 12] == " "])
    shortest = 0.003 * seconds
    boxes = [(n.start, n.pitch - low + 0.08, max(n.end - n.start, shortest), 0.84) for n in notes]
    _boxes(axes, boxes, [note.velocity for note in notes])
    named = [
        p for p in range(low, high) if p % 12 in ((0,) if high - low > 30 else (0, 5) if high - low > 18 else WHITE)
    ]
    axes.set_yticks([p - low + 0.5 for p in named], [f"{NATURAL[p % 12]}{p // 12 - 1}" for p in named], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, high - low)


def bar_numbers(axes, downbeats: np.ndarray, first: int = 1) -> None:
    """Numbers of bars above the axes, at the downbeats float [n]; every second, fourth .. where there are many."""
    every = 1
    while len(downbeats) / every > MOST_BARS:
        every *= 2
    for number, time in enumerate(downbeats.tolist(), first):
        if (number - 1) % every == 0:
            axes.annotate(
                str(number),
                (time, 1),
                (2, 2),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                fontsize=7.5,
                color="#5b6673",
                annotation_clip=False,
            )


def grid_lines(axes, grid: BeatGrid, seconds: float, colour: str) -> None:
    """Lines on bars, and on beats where they are not too dense, behind what is drawn; thinner where there are many."""
    bars = grid.downbeats[grid.downbeats < seconds]
    beats = grid.times[(grid.numbers != 1) & (grid.times < seconds)]
    many = len(bars) > MOST_BARS
    across = dict(transform=axes.get_xaxis_transform(), color=colour, zorder=1)
    if len(bars) <= MOST_LINES:
        axes.vlines(bars, 0, 1, linewidth=0.6 if many else 1.2, alpha=0.5 if many else 0.8, **across)
    if len(beats) <= MOST_LINES // 2:
        axes.vlines(beats, 0, 1, linewidth=0.6, alpha=0.4, linestyle=(0, (3, 2)), **across)


def legend(axes) -> None:
    """The shades of velocities, above the axes on the right."""
    from matplotlib.patches import Patch

    shades = [Patch(facecolor=shade, edgecolor=INK, linewidth=0.25) for shade in SHADES]
    axes.legend(
        shades,
        ["soft", "", "", "loud"],
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=4,
        frameon=False,
        fontsize=7.5,
        handlelength=1.0,
        handletextpad=0.3,
        columnspacing=0.4,
        borderaxespad=0.0,
    )


def chords(axes, chart: Chart, seconds: float) -> None:
    """The names of chords, each from where it begins; a name for which there is no room is left out."""
    spans = [span for span in chart.joined() if span.start < seconds and span.end > 0]
    rooms = [(min(span.end, seconds) - max(span.start, 0.0)) / seconds - 0.004 for span in spans]
    sizes = [s for s in SIZES if np.mean([len(x.chord.name) * LETTER * s <= r for x, r in zip(spans, rooms)]) > 0.8]
    size = sizes[0] if sizes else SIZES[-1]
    for number, (span, room) in enumerate(zip(spans, rooms)):
        start, end = max(span.start, 0.0), min(span.end, seconds)
        axes.axvspan(start, end, color=BAND if number % 2 else FAINT, linewidth=0, zorder=0)
        name = span.chord.name
        if len(name) * LETTER * size <= room:
            axes.text(start + 0.003 * seconds, 0.46, name, fontsize=size, color=INK, va="center", clip_on=True)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("chords", rotation=0, ha="right", va="center", fontsize=9, color=INK)


def _rows(axes, count: int, shaded: Iterable[int]) -> None:
    for row in shaded:
        axes.axhspan(row, row + 1, color=BAND, linewidth=0, zorder=0)
    axes.hlines(range(1, count), 0, 1, transform=axes.get_yaxis_transform(), color=FAINT, linewidth=0.5, zorder=0.5)


def _boxes(axes, boxes: Sequence[tuple[float, float, float, float]], velocities: Sequence[int]) -> None:
    """Rectangles (left, bottom, width, height) in the shades of velocities."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("velocity", SHADES)
    corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
    colours = [shades((velocity - 1) / 126) for velocity in velocities]
    axes.add_collection(
        PolyCollection(
            corners, facecolors=colours, edgecolors=INK, linewidths=0.25 if len(boxes) < 400 else 0, zorder=4
        )
    )
