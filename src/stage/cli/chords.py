"""`stage chords`: the chords of a recording, estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.groups import Stretch
from stage.cli.options import ForceOption, SaveGridOption


def chords(
    song: Annotated[Path, typer.Argument(help="Any audio file, or a video with sound.")],
    stretch: Stretch,
    save_grid: SaveGridOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Also write them with their times: FILE.lab, .txt (labels for Audacity) or .csv.",
            rich_help_panel="Output",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Print the chords of a recording, bar by bar.

    \b
    stage chords song.mp3
    stage chords song.mp3 --meter 3/4 -o chords.lab
    stage chords song.mp3 --grid beats.txt --start 1 --seconds 2

    Major and minor chords and their sevenths are looked for, by the sound alone. What is printed is text that can be
    mended and given back, and so is the file. Without beats (--grid off) a line has start, end and chord.
    """
    from stage.chords.chart import check_name
    from stage.chords.estimation import estimate
    from stage.cli import results
    from stage.files import check_folder, check_free
    from stage.generation.request import tuning_cents

    cents = tuning_cents(stretch.tuning)
    if out is not None:
        check_name(out)
    for path in filter(None, (out, save_grid)):
        check_free(path, force, "add --force to replace it, or choose another name")
        check_folder(path.parent)
    start = stretch.start
    asked = results.read_grid(stretch.grid, start, stretch.meter, stretch.tempo_range, stretch.end)
    part, rate = results.read_part(song, start, stretch.seconds, stretch.stream)
    length = part.shape[1] / rate
    beats = results.find_beats(part, rate, asked)
    chart = estimate(part, rate, beats, cents)
    text = "" if beats is None else chart.bars(beats, length)
    typer.echo(text or "\n".join(f"{s.start + start:.3f} {s.end + start:.3f} {s.chord.name}" for s in chart))
    if out is not None:
        chart.shift(start).save(out, force)
        typer.echo(str(out), err=True)
    if save_grid is not None and beats is not None:
        beats.shift(start).save(save_grid)
        typer.echo(str(save_grid), err=True)
