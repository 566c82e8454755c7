"""One self-contained HTML page: the tables, and every clip with players, waveforms over the beat grid and figures, the
worst first."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stage.audio.files import read, resample
from stage.evaluation.protocol.clips import Clip
from stage.evaluation.protocol.report import TITLES, conditions

RATE = 24000
WIDTH, HEIGHT = 900, 56
SORT = {"click": "f_measure", "mix": "f_measure"}


def write_page(
    path: Path, title: str, tables: str, out: Path, made: Sequence[Clip], rows: Sequence[dict[str, Any]], most: int = 24
) -> None:
    """most: clips of each stem and protocol that are shown, the worst first; the rest are in clips.jsonl."""
    parts = [f"<h1>{html.escape(title)}</h1>", *(_table(part) for part in tables.split("\n\n"))]
    known = {clip.id: clip for clip in made}
    for stem, kind in dict.fromkeys((row["stem"], row["kind"]) for row in rows):
        group = [row for row in rows if (row["stem"], row["kind"]) == (stem, kind)]
        played = sorted((row for row in group if row["condition"] == "model"), key=lambda row: row.get(SORT[kind], 0.0))
        parts.append(
            f"<h2>{html.escape(stem)}, {'mixes' if kind == 'mix' else 'metronomes'}: {min(most, len(played))} of"
            f" {len(played)} clips, from the worst {TITLES[SORT[kind]]}</h2>"
        )
        for row in played[:most]:
            parts.append(_clip(out, known[row["clip"]], [other for other in group if other["clip"] == row["clip"]]))
    path.write_text(PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")


def _clip(out: Path, clip: Clip, rows: Sequence[dict[str, Any]]) -> str:
    where = f"{clip.song.title or clip.song.id} from {clip.start:.1f} s" if clip.song else f"{clip.bpm:g} BPM"
    text = f" <q>{html.escape(clip.text)}</q>" if clip.text else ""
    parts = [f"<section><h3>{html.escape(clip.id)}<small> {html.escape(where)}{text}</small></h3>"]
    context = clip.context(RATE)
    parts.append(_lane("context", "", context, clip, quiet=True))
    for condition in conditions(rows):
        row = next((row for row in rows if row["condition"] == condition), None)
        if row is None:
            continue
        audio, rate = read(out / "audio" / condition.replace(" ", "-") / f"{clip.id}.flac")
        stem = resample(audio[0], rate, RATE)
        figures = "".join(
            f"<span>{html.escape(TITLES.get(name, name))} <b>{value:.2f}</b></span>"
            for name, value in row.items()
            if isinstance(value, float)
        )
        parts.append(_lane(condition, figures, stem, clip, context))
    return "".join(parts) + "</section>"


def _lane(
    name: str, figures: str, audio: np.ndarray, clip: Clip, context: np.ndarray | None = None, quiet: bool = False
) -> str:
    """A stem: its name, waveform, players (with its context, and alone) and figures."""
    heard = audio
    if context is not None:
        size = max(len(audio), len(context))
        heard = np.pad(audio, (0, size - len(audio))) + 0.6 * np.pad(context, (0, size - len(context)))
        heard = heard / max(1.0, float(np.abs(heard).max()))
    label = f"<div class=name>{html.escape(name)}</div>"
    players = (
        _player(heard, "with the context") + (_player(audio, "alone") if context is not None else "")
        if not quiet
        else _player(audio, "")
    )
    return (
        f'<div class="lane{" quiet" if quiet else ""}">{label}{_waveform(audio, clip)}<div'
        f" class=side>{players}</div><div class=figures>{figures}</div></div>"
    )


def _player(audio: np.ndarray, words: str) -> str:
    """Sound in the page, as Ogg Vorbis."""
    import soundfile

    coded = io.BytesIO()
    soundfile.write(coded, np.clip(audio, -1, 1), RATE, format="OGG", subtype="VORBIS", compression_level=0.9)
    data = base64.b64encode(coded.getvalue()).decode("ascii")
    return f'<label>{words}<audio controls preload="none" src="data:audio/ogg;base64,{data}"></audio></label>'


def _waveform(audio: np.ndarray, clip: Clip) -> str:
    """The loudest sample of each of 450 parts, over the beats; downbeats stronger."""
    parts = np.array([np.abs(part).max(initial=0) for part in np.array_split(audio, WIDTH // 2)])
    heights = parts / max(1e-3, float(parts.max())) * HEIGHT / 2
    middle = HEIGHT / 2
    wave = "".join(f"M{2 * i + 1} {middle - h:.0f}V{middle + max(h, 0.5):.0f}" for i, h in enumerate(heights))
    grid = clip.truth.grid
    lines = "".join(
        f'<path class="{"down" if number == 1 else "beat"}" d="M{time / clip.seconds * WIDTH:.1f} 0V{HEIGHT}"/>'
        for time, number in zip(grid.times, grid.numbers)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{lines}<path class="wave" d="{wave}"/></svg>'
    )


def _table(markdown: str) -> str:
    """A Markdown table as HTML; other text as a paragraph."""
    lines = markdown.strip().splitlines()
    if not lines[0].startswith("|"):
        return f"<p>{html.escape(markdown)}</p>"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{_faint(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _faint(cell: str) -> str:
    """The interval of a figure is printed softly."""
    value, bracket, rest = cell.partition(" (")
    return html.escape(value) + (
        f"<i>({html.escape(rest)}</i>" if bracket and ".." in rest else html.escape(bracket + rest)
    )


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1.2rem; color: #1c2630; background: #fff }}
h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.2rem; margin: 2.5rem 0 1rem }} h3 {{ font-size: .95rem; margin: 0 0 .5rem }} h3 small {{ color: #667; font-weight: 400 }}
.wide {{ overflow-x: auto; margin: 1rem 0 }} table {{ border-collapse: collapse; font-size: .85rem; white-space: nowrap }}
td, th {{ vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid #e3e7eb; text-align: right }} td:first-child, th:first-child {{ text-align: left; font-weight: 600 }}
th {{ background: #f5f7f9 }} td i {{ display: block; color: #8a95a0; font-style: normal; font-size: .78em; line-height: 1.2 }}
section {{ border: 1px solid #e3e7eb; border-radius: 8px; padding: .8rem 1rem; margin: 0 0 1rem }}
.lane {{ display: grid; grid-template-columns: 7rem minmax(12rem, 1fr) 26.6rem; gap: .2rem .8rem; align-items: center; margin: .3rem 0 }}
.name {{ font-size: .85rem; font-weight: 600 }} .figures {{ grid-column: 2 / 4; font-size: .78rem; color: #667; display: flex; flex-wrap: wrap; gap: 0 .9rem }}
.side {{ display: flex; gap: .5rem }} label {{ font-size: .7rem; color: #667 }} audio {{ display: block; width: 13rem; height: 1.9rem }}
svg {{ width: 100%; height: {height}px; background: #fafbfc; border-radius: 4px }} .wave {{ stroke: #2c6fbb; stroke-width: 1.5 }} .quiet .wave {{ stroke: #9aa7b3 }}
.beat {{ stroke: #e8b7a0; stroke-width: 1 }} .down {{ stroke: #d4572a; stroke-width: 1.6 }}
@media (max-width: 50rem) {{ .lane {{ grid-template-columns: 1fr }} .figures {{ grid-column: 1 }} .side {{ flex-wrap: wrap }} }}
</style></head><body>
{body}
</body></html>
""".replace("{height}", str(HEIGHT))
