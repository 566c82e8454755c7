"""One picture of a result: song and stem over the beats, and the stem's notes, or its spectrogram where it has none."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stage.audio.files import to_mono
from stage.files import whole_file
from stage.generation import roll

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stage.generation.result import Accompaniment

INK, PAPER = "#22262b", "#ffffff"
SONG, STEM, BEAT = "#8a94a3", "#d1495b", "#2e6f95"
COLUMNS = 1600
"""Points across the picture: enough for its pixels, few enough for an hour of music."""


def draw(
    path: str | os.PathLike, result: Accompaniment, variation: int = 0, name: str = "", force: bool = False
) -> None:
    """Write a PNG with the waveforms of song and stem over the beat grid, and below the stem's spectrogram, or what is
    played: a drum grid or a piano roll, with the names of the chords on top where they are known.

    Downbeats are drawn stronger; beats are left out where they would be too dense to see.
    """
    with _silent():
        figure = _figure(result, variation, name)
        with whole_file(path, force) as partial:
            figure.savefig(partial, format="png")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without matplotlib's words on a folder that it cannot write its caches to, and on letters that its font lacks."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*missing from.*font")
            yield
    finally:
        log.setLevel(level)


def _figure(result: Accompaniment, variation: int, name: str) -> Figure:
    """The whole picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = result.stems.shape[-1] / result.rate
    figure = Figure(figsize=(12, 6.4), dpi=110, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    stem = to_mono(result.stems[variation])
    if result.notes:
        _played(figure, result, variation, stem, seconds)
    else:
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1, 1.8])
        _waveform(top, to_mono(result.song), seconds, SONG, "song")
        _waveform(middle, stem, seconds, STEM, result.stem)
        image = _spectrogram(bottom, stem, result.rate)
        for axes, colour in ((top, BEAT), (middle, BEAT), (bottom, "#ffffff")):
            _beats(axes, result, seconds, colour)
        bottom.set(xlabel="seconds", ylabel="Hz", xlim=(0, seconds))
        for axes in (top, middle, bottom):
            _plain(axes)
        figure.colorbar(image, ax=bottom, label="dB", pad=0.01, aspect=18)
    title = figure.suptitle(_title(name, result, variation), color=INK, fontsize=12, x=0.01, ha="left")
    title.set_parse_math(False)  # a dollar sign is one
    return figure


def _played(figure: Figure, result: Accompaniment, variation: int, stem: np.ndarray, seconds: float) -> None:
    """Chords, song, stem and notes."""
    with_chords = result.chords is not None and len(result.chords) > 0
    heights = [*([0.22] if with_chords else []), 0.8, 0.8, 2.4]
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    *above, song, middle, bottom = rows
    if result.chords is not None and above:
        roll.chords(above[0], result.chords, seconds)
    _waveform(song, to_mono(result.song), seconds, SONG, "song")
    _waveform(middle, stem, seconds, STEM, result.stem)
    (roll.drum_grid if result.stem == "drums" else roll.piano_roll)(bottom, result.notes[variation], seconds)
    roll.legend(bottom)
    for axes in rows:
        if result.grid is not None:
            roll.grid_lines(axes, result.grid, seconds, BEAT)
        _plain(axes)
    if result.grid is not None:
        roll.bar_numbers(rows[0], result.grid.downbeats[result.grid.downbeats < seconds])
    bottom.set(xlabel="seconds", xlim=(0, seconds))


def _plain(axes) -> None:
    """Without a frame above and on the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def _title(name: str, result: Accompaniment, variation: int) -> str:
    """What the picture shows, in a line: "song · drums · jazz · seed 3 · 123.4 BPM, 15 beats"."""
    parts = [*([_printable(name)] if name else []), result.stem]
    if result.instruments:
        parts.append(_printable(Path(result.instruments[variation]).name))
    parts.append(f"seed {result.seeds[variation]}")
    if result.grid is not None and len(result.grid) > 1:
        parts.append(f"{result.grid.bpm:.1f} BPM, {len(result.grid)} beats given")
    if result.notes:
        count = len(result.notes[variation])
        parts.append(f"{count} {'hit' if result.stem == 'drums' else 'note'}{'s' if count != 1 else ''}")
    return " · ".join(parts)


def _printable(name: str) -> str:
    """A file's name as text of one line: bytes that are not UTF-8 and control characters become question marks."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)[:100]


def _waveform(axes, mono: np.ndarray, seconds: float, colour: str, label: str) -> None:
    """Lowest and highest sample of each column of pixels."""
    size = max(1, len(mono) // COLUMNS)
    blocks = mono[: len(mono) // size * size].reshape(-1, size)
    time = (np.arange(len(blocks)) + 0.5) * size * seconds / len(mono)
    axes.fill_between(time, blocks.min(1), blocks.max(1), color=colour, linewidth=0.4, zorder=2)
    loud = np.maximum(blocks.max(1), -blocks.min(1))
    # A lone spike must not make the rest a line.
    peak = 1.08 * max(0.02, min(float(loud.max()), 3 * float(np.percentile(loud, 95))))
    axes.set(ylim=(-peak, peak), ylabel=label)
    axes.yaxis.label.set_color(INK)


def _beats(axes, result: Accompaniment, seconds: float, colour: str) -> None:
    if result.grid is None:
        return
    grid = result.grid
    beats, downbeats = grid.times[grid.numbers != 1], grid.downbeats
    if len(grid) <= 200:
        axes.vlines(
            beats,
            0,
            1,
            transform=axes.get_xaxis_transform(),
            color=colour,
            linewidth=0.7,
            alpha=0.45,
            linestyle=(0, (3, 2)),
            zorder=3,
        )
    if len(downbeats) <= 200:
        axes.vlines(
            downbeats, 0, 1, transform=axes.get_xaxis_transform(), color=colour, linewidth=1.4, alpha=0.9, zorder=3
        )


def _spectrogram(axes, mono: np.ndarray, rate: int):
    """Magnitude in dB below the loudest, on a logarithmic scale of frequency from 40 Hz."""
    size = 2 ** int(np.ceil(np.log2(0.05 * rate)))
    hop = max(size // 8, -(-len(mono) // COLUMNS))
    padded = np.pad(mono, (size // 2, size))
    starts = np.arange(0, len(mono), hop)
    window = np.hanning(size).astype(np.float32)
    frames = np.stack([np.abs(np.fft.rfft(padded[s : s + size] * window)).astype(np.float32) for s in starts], axis=1)
    top = min(16000, rate / 2)
    edges = np.geomspace(40, top, 161)
    centres = np.sqrt(edges[1:] * edges[:-1])
    bins = np.fft.rfftfreq(size, 1 / rate)
    # The strongest bin of each band; where bands are narrower than bins, the nearest bin.
    bands = np.stack(
        [
            frames[inside].max(0)
            if (inside := (bins >= low) & (bins < high)).any()
            else frames[int(np.abs(bins - centre).argmin())]
            for low, high, centre in zip(edges[:-1], edges[1:], centres)
        ]
    )
    level = 20 * np.log10(np.maximum(bands / max(float(bands.max()), 1e-9), 1e-5))
    times = np.append(starts, starts[-1] + hop) / rate
    image = axes.pcolormesh(times, edges, level, cmap="magma", vmin=-75, vmax=0, rasterized=True)
    axes.set_yscale("log")
    axes.set_yticks([50, 100, 200, 500, 1000, 2000, 5000, 10000], ["50", "100", "200", "500", "1k", "2k", "5k", "10k"])
    axes.set_ylim(40, top)
    axes.minorticks_off()
    return image
