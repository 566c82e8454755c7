"""One HTML page that needs no other file: the tables, and clips with players, waveforms over the beat grid and figures,
the worst first."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stage import html
from stage.audio.files import read, resample
from stage.evaluation.protocol.clips import Clip
from stage.evaluation.protocol.report import NOTES, TITLES, conditions
from stage.evaluation.protocol.task import MODEL, audio_path

RATE = 24000
WIDTH, HEIGHT = 900, 56
SORTED_BY = "f_measure"
CONTEXT_LEVEL = 0.6
"""Gain of the context under a stem."""


def write_page(
    path: Path, title: str, tables: str, out: Path, made: Sequence[Clip], rows: Sequence[dict[str, Any]], most: int = 24
) -> None:
    """most: clips of each stem and protocol that are shown, the worst first; the rest are in clips.jsonl."""
    known, groups = {clip.id: clip for clip in made}, []
    for stem, kind in dict.fromkeys((row["stem"], row["kind"]) for row in rows):
        group = [row for row in rows if (row["stem"], row["kind"]) == (stem, kind)]
        played = sorted((row for row in group if row["condition"] == MODEL), key=lambda row: row.get(SORTED_BY, 0.0))
        shown = [
            _clip(out, known[row["clip"]], [other for other in group if other["clip"] == row["clip"]])
            for row in played[:most]
        ]
        about = {"stem": stem, "protocol": NOTES[kind], "figure": TITLES[SORTED_BY], "all": len(played)}
        groups.append(about | {"clips": shown})
    blocks = [_block(part) for part in tables.split("\n\n")]
    html.write_page(path, "evaluation.html.j2", title=title, blocks=blocks, groups=groups, width=WIDTH, height=HEIGHT)


def _clip(out: Path, clip: Clip, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the template shows of a clip: its context, and the stem of each condition."""
    context = clip.context(RATE)
    lanes = [
        {"name": "context", "is_context": True, "wave": _wave(context), "players": [("", _ogg(context))], "figures": []}
    ]
    for condition in conditions(rows):
        row = next((row for row in rows if row["condition"] == condition), None)
        if row is None:
            continue
        audio, rate = read(audio_path(out, condition, clip.id))
        stem = resample(audio[0], rate, RATE)
        figures = [(TITLES.get(name, name), f"{value:.2f}") for name, value in row.items() if isinstance(value, float)]
        players = [("with the context", _ogg(_together(stem, context))), ("alone", _ogg(stem))]
        lanes.append(
            {"name": condition, "is_context": False, "wave": _wave(stem), "players": players, "figures": figures}
        )
    grid = clip.truth.grid
    return {
        "id": clip.id,
        "place": f"{clip.song.title or clip.song.id} from {clip.start:.1f} s" if clip.song else f"{clip.bpm:g} BPM",
        "text": clip.text,
        "lanes": lanes,
        "beats": [(n == 1, f"{time / clip.seconds * WIDTH:.1f}") for time, n in zip(grid.times, grid.numbers)],
    }


def _together(stem: np.ndarray, context: np.ndarray) -> np.ndarray:
    """A stem with its context, float32 [N] within full scale."""
    size = max(len(stem), len(context))
    mix = np.pad(stem, (0, size - len(stem))) + CONTEXT_LEVEL * np.pad(context, (0, size - len(context)))
    return mix / max(1.0, float(np.abs(mix).max()))


def _ogg(audio: np.ndarray) -> str:
    """Audio as Ogg Vorbis in base64."""
    import soundfile

    coded = io.BytesIO()
    soundfile.write(coded, np.clip(audio, -1, 1), RATE, format="OGG", subtype="VORBIS", compression_level=0.9)
    return base64.b64encode(coded.getvalue()).decode("ascii")


def _wave(audio: np.ndarray) -> str:
    """The loudest sample of each of 450 parts, as the path of an SVG."""
    parts = np.array([np.abs(part).max(initial=0) for part in np.array_split(audio, WIDTH // 2)])
    heights = parts / max(1e-3, float(parts.max())) * HEIGHT / 2
    middle = HEIGHT / 2
    return "".join(f"M{2 * i + 1} {middle - h:.0f}V{middle + max(h, 0.5):.0f}" for i, h in enumerate(heights))


def _block(markdown: str) -> dict[str, Any]:
    """A Markdown table as head and rows of (value, interval); other text as it is."""
    lines = markdown.strip().splitlines()
    if not lines or not lines[0].startswith("|"):
        return {"text": markdown, "rows": []}
    head, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")
    ]
    return {"head": head, "rows": [[_value(cell) for cell in row] for row in rows]}


def _value(cell: str) -> tuple[str, str]:
    """A cell's value, and its interval "(low..high)" or ""."""
    value, bracket, rest = cell.partition(" (")
    return (value, f"({rest}") if bracket and ".." in rest else (cell, "")
