"""What a prepared set holds: numbers for the console, and a page with histograms."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stage.data.song import Problem, Song

TEMPO_STEP = 10
SHOWN = 200
"""Problems that the page lists one by one; the rest are counted."""


@dataclass
class Summary:
    """hours, sounding: hours of each role, and of them those in which it sounds. tempi: songs by the lower edge of
    their ten BPM."""

    songs: int = 0
    hours: dict[str, float] = field(default_factory=dict)
    sounding: dict[str, float] = field(default_factory=dict)
    splits: Counter = field(default_factory=Counter)
    tempi: Counter = field(default_factory=Counter)
    keys: Counter = field(default_factory=Counter)
    genres: Counter = field(default_factory=Counter)
    with_beats: int = 0


def summarise(songs: Sequence[Song], silence: float = 0.01) -> Summary:
    """Count songs of any data set; what is known of prepared songs alone stays empty for others."""
    summary = Summary(len(songs))
    for song in songs:
        for role in song.stems:
            summary.hours[role] = summary.hours.get(role, 0.0) + song.seconds / 3600
            if song.sounding is not None:
                share = float((song.sounding[role] > silence).mean())
                summary.sounding[role] = summary.sounding.get(role, 0.0) + share * song.seconds / 3600
        summary.splits[song.split or "none"] += 1
        if song.tempo:
            summary.tempi[int(song.tempo // TEMPO_STEP) * TEMPO_STEP] += 1
        summary.keys[song.key or "unknown"] += 1
        summary.genres.update(song.genres or ["unknown"])
        summary.with_beats += song.beats is not None
    return summary


def lines(summary: Summary, problems: Sequence[Problem]) -> list[str]:
    """The summary in words."""
    splits = ", ".join(f"{count} {name}" for name, count in sorted(summary.splits.items()))
    said = [f"{summary.songs} songs ({splits}), {summary.with_beats} with beats"]
    for role, hours in sorted(summary.hours.items(), key=lambda item: -item[1]):
        known = f", sounding {summary.sounding[role]:.2f} h" if role in summary.sounding else ""
        said.append(f"  {role:12} {hours:8.2f} h{known}")
    for reason, count in Counter(problem.reason for problem in problems).most_common():
        one = next(problem for problem in problems if problem.reason == reason)
        said.append(f"  {count} x {reason}, e.g. {one.song}{one.stem and ', ' + one.stem}: {one.detail}")
    return said


def write_page(path: Path, title: str, summary: Summary, problems: Sequence[Problem]) -> None:
    """One HTML file that needs nothing else."""
    roles = sorted(summary.hours, key=lambda role: -summary.hours[role])
    hours = [
        (role, summary.hours[role], f"{summary.hours[role]:.2f} h, sounding {summary.sounding.get(role, 0.0):.2f} h")
        for role in roles
    ]
    low, high = (min(summary.tempi), max(summary.tempi)) if summary.tempi else (0, -1)
    tempi = [(f"{t}", summary.tempi[t], str(summary.tempi[t])) for t in range(low, high + 1, TEMPO_STEP)]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{summary.songs} songs, {summary.with_beats} with beats; "
        + ", ".join(f"{count} {html.escape(name)}" for name, count in sorted(summary.splits.items()))
        + "</p>",
        _bars("Hours of each stem", hours),
        _bars("Tempo (BPM, from)", tempi),
        _bars("Key", [(key, count, str(count)) for key, count in summary.keys.most_common()]),
        _bars("Genre", [(name, count, str(count)) for name, count in summary.genres.most_common(20)]),
        f"<h2>Left out, or told of ({len(problems)})</h2>",
    ]
    counts = Counter(p.reason for p in problems)
    parts.append(
        "<p>"
        + (", ".join(f"{count} x {html.escape(reason)}" for reason, count in counts.most_common()) or "nothing")
        + "</p>"
    )
    rows = "".join(
        f"<tr><td>{html.escape(p.song)}</td><td>{html.escape(p.stem)}</td><td>{html.escape(p.reason)}</td><td>{html.escape(p.detail)}</td></tr>"
        for p in problems[:SHOWN]
    )
    if rows:
        parts.append(f"<table><tr><th>song</th><th>stem</th><th>why</th><th></th></tr>{rows}</table>")
    path.write_text(PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")


def _bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: (name, value, words)."""
    top = float(np.max([value for _, value, _ in rows])) if rows else 0.0
    lines = "".join(
        f'<div class="row"><span class="name">{html.escape(str(name))}</span><span class="track"><span class="bar"'
        f' style="width:{100 * value / top if top else 0:.1f}%"></span></span><span'
        f' class="words">{html.escape(words)}</span></div>'
        for name, value, words in rows
    )
    return f'<h2>{html.escape(title)}</h2><div class="bars">{lines or "nothing known"}</div>'


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem }}
.row {{ display: grid; grid-template-columns: 8rem 1fr 16rem; gap: .8rem; align-items: center; margin: .15rem 0 }}
.name {{ text-align: right; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }}
.track {{ background: #eef1f4; border-radius: 3px; height: 1rem }} .bar {{ display: block; background: #3b6ea5; height: 100%; border-radius: 3px }}
.words {{ color: #666; font-size: .85rem }}
table {{ border-collapse: collapse; font-size: .85rem; width: 100% }} td, th {{ text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #ddd; vertical-align: top }}
</style></head><body>
{body}
</body></html>
"""
