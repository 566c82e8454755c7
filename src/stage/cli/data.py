"""`stage data`: what a folder of songs holds, before hours are spent on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stage.cli.lazy import spelled


@spelled(first=("--data",))
def data(
    path: Annotated[
        str,
        typer.Argument(
            help=(
                "Folder of a data set: MoisesDB, MUSDB18 (also HQ), Slakh2100, a corpus, stems, or a prepared set (or"
                " its URL)."
            )
        ),
    ],
    kind: Annotated[
        str, typer.Option(help="auto, prepared, moisesdb, musdb18, musdb18-hq, slakh, corpus or folder.")
    ] = "auto",
    examples: Annotated[int, typer.Option(min=0, help="How many problems of each kind to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs, with all problems.")] = False,
) -> None:
    """List what a data set holds: songs, hours of each stem, splits, and what cannot be used and why.

    \b
    stage data moisesdb
    stage data my-stems --kind folder --examples 10
    stage data musdb18 --json > musdb18.json
    """
    from rich.console import Console

    from stage.data.open import READERS, open_songs, recognise
    from stage.data.song import Problem

    problems: list[Problem] = []
    kind = recognise(path, kind)[0]
    with Console(stderr=True).status(f"Reading {path}"):
        songs = open_songs(path, kind, problems=problems)
    about = summary(kind, songs, problems)
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    show(about, READERS[kind].title if kind in READERS else "a prepared set", examples, Console())


def summary(kind: str, songs: Sequence[Any], problems: Sequence[Any]) -> dict[str, Any]:
    """What there is, in numbers. stems: role -> songs, tracks, hours of the songs that hold it, tracks with bleed."""
    stems: dict[str, dict[str, Any]] = {}
    for song in songs:
        for role, tracks in song.stems.items():
            row = stems.setdefault(role, {"songs": 0, "tracks": 0, "hours": 0.0, "bleed": 0})
            row["songs"] += 1
            row["tracks"] += len(tracks)
            row["hours"] += song.seconds / 3600
            row["bleed"] += sum(track.bleed for track in tracks)
    return {
        "kind": kind,
        "songs": len(songs),
        "hours": sum(song.seconds for song in songs) / 3600,
        "artists": len({song.artist for song in songs if song.artist}),
        "rates": dict(Counter(str(song.rate) for song in songs)),
        "splits": dict(Counter(song.split or "none" for song in songs)),
        "known": {name: sum(has(song) for song in songs) for name, has in KNOWN.items()},
        "stems": dict(sorted(stems.items(), key=lambda item: (-item[1]["songs"], item[0]))),
        "problems": [vars(problem) for problem in problems],
    }


KNOWN = {
    "beats": lambda song: song.beats is not None,
    "tempo": lambda song: song.tempo is not None,
    "key": lambda song: song.key is not None,
    "chords": lambda song: song.chords is not None,
    "genres": lambda song: bool(song.genres),
    "moods": lambda song: bool(song.moods),
}
"""What may be known of a song beside its sound."""


def show(about: dict[str, Any], title: str, examples: int, console: Any) -> None:
    """Print a summary: a line on the whole, a table of the stems, and the problems, counted, each kind with a few
    examples."""
    from rich.markup import escape
    from rich.table import Table

    console.print(
        f"{title}: {_plural(about['songs'], 'song')}, {about['hours']:.2f} hours, {_plural(about['artists'], 'artist')}"
        " named"
    )
    console.print(f"splits: {escape(_counts(about['splits']))}; Hz: {_counts(about['rates'])}")
    console.print(f"songs with {_counts(about['known'])}")
    table = Table("stem", "songs", "tracks", "hours", "with bleed")
    for column in table.columns[1:]:
        column.justify = "right"
    for role, row in about["stems"].items():
        table.add_row(escape(role), str(row["songs"]), str(row["tracks"]), f"{row['hours']:.2f}", str(row["bleed"]))
    console.print(table)
    reasons = Counter(problem["reason"] for problem in about["problems"])
    console.print(f"problems: {sum(reasons.values())}" if reasons else "no problems")
    for reason, count in reasons.most_common():
        console.print(f"  {count:5} {reason}")
        for problem in [one for one in about["problems"] if one["reason"] == reason][:examples]:
            where = problem["song"] + (f", {problem['stem']}" if problem["stem"] else "")
            console.print(f"        {where}: {problem['detail']}", markup=False, highlight=False, soft_wrap=True)


def _counts(table: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in table.items())


def _plural(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
