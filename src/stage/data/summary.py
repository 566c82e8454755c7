"""What a prepared set holds: numbers for the console, and a page with histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stage import html
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
    """Count songs of any data set; figures that only prepared songs have stay empty for others."""
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
    """The summary as lines for the console."""
    splits = ", ".join(f"{count} {name}" for name, count in sorted(summary.splits.items()))
    found = [f"{summary.songs} songs ({splits}), {summary.with_beats} with beats"]
    for role, hours in sorted(summary.hours.items(), key=lambda item: -item[1]):
        known = f", sounding {summary.sounding[role]:.2f} h" if role in summary.sounding else ""
        found.append(f"  {role:12} {hours:8.2f} h{known}")
    for reason, count in Counter(problem.reason for problem in problems).most_common():
        one = next(problem for problem in problems if problem.reason == reason)
        found.append(f"  {count} x {reason}, e.g. {one.song}{one.stem and ', ' + one.stem}: {one.detail}")
    return found


def write_page(path: Path, title: str, summary: Summary, problems: Sequence[Problem]) -> None:
    """One HTML file that needs nothing else."""
    hours = [
        (role, total, f"{total:.2f} h, sounding {summary.sounding.get(role, 0.0):.2f} h")
        for role, total in sorted(summary.hours.items(), key=lambda item: -item[1])
    ]
    low, high = (min(summary.tempi), max(summary.tempi)) if summary.tempi else (0, -1)
    tempi = [(tempo, summary.tempi[tempo]) for tempo in range(low, high + 1, TEMPO_STEP)]
    html.write_page(
        path,
        "summary.html.j2",
        title=title,
        summary=summary,
        bars=[
            ("Hours of each stem", hours),
            ("Tempo (BPM, from)", [(name, count, count) for name, count in tempi]),
            ("Key", [(name, count, count) for name, count in summary.keys.most_common()]),
            ("Genre", [(name, count, count) for name, count in summary.genres.most_common(20)]),
        ],
        problems=problems,
        reasons=Counter(problem.reason for problem in problems).most_common(),
        shown=SHOWN,
    )
