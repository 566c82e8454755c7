"""Begin a session, show it, and mend its time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stage.cli.groups import USUAL, Beginning, Model
from stage.cli.options import ChordsOption, FormOption
from stage.cli.session.shown import Where, opened, show_time, show_tracks

if TYPE_CHECKING:
    from stage.session import Session


def new(
    beginning: Beginning,
    song: Annotated[Path | None, typer.Argument(help="Any audio file; none for a session on a tempo.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; NAME-session by default.", rich_help_panel="Session")
    ] = None,
) -> None:
    """Begin a session, for a song or for a tempo.

    \b
    stage session new song.mp3
    stage session new song.wav --start 30 --seconds 60 -o chorus
    stage session new --bpm 96 --bars 8 --chords "Am F C G" -o trio
    """
    session = begun(song, out, beginning)
    show_time(session)
    typer.echo(str(session.folder))


def begun(
    song: Path | None, folder: Path | None, beginning: Beginning, model: Model = USUAL, end: str = "session"
) -> Session:
    """A new session, by the options of a command. end: of the folder's name, where none is chosen."""
    from stage.cli.results import read_grid
    from stage.errors import StageError
    from stage.session import Session

    grid, meter = beginning.grid, beginning.meter
    if song is None and grid is not None and not Path(grid).is_file():
        raise StageError("without a song --grid takes a file of beats")
    if song is not None and beginning.bpm is not None:
        raise StageError("a session has a song or a tempo, not both: leave out --bpm")
    if song is None and beginning.extend:
        raise StageError("--extend is for a song: without one choose more --bars")
    if folder is None:
        folder = Path(end if song is None else f"{song.stem}-{end}")
    tracked = (None, beginning.tempo_range, None) if song is None else (meter, beginning.tempo_range, beginning.end)
    return Session.new(
        folder,
        song,
        start=beginning.start,
        seconds=beginning.seconds,
        stream=beginning.stream,
        grid=read_grid(grid, 0.0, *tracked),
        chords=beginning.chords,
        tuning=beginning.tuning,
        bpm=beginning.bpm,
        meter=meter or "4/4",
        bars=beginning.bars,
        rate=beginning.rate,
        form=beginning.form,
        extend=beginning.extend,
        model=model.given,
        engine=model.engine,
    )


def mend(
    grid: Annotated[
        str | None,
        typer.Option(
            help="half or double of the beats, a file of beats, or a MIDI file, for its tempo map.",
            rich_help_panel="Song",
        ),
    ] = None,
    taps: Annotated[
        Path | None,
        typer.Option(help="A file of beats that were tapped, a time in seconds a line.", rich_help_panel="Song"),
    ] = None,
    shift: Annotated[
        int, typer.Option(help="Downbeats so many beats later; negative: earlier.", rich_help_panel="Song")
    ] = 0,
    chords: ChordsOption = None,
    form: FormOption = None,
    meter: Annotated[str, typer.Option(help="Of the taps: beats a bar.", rich_help_panel="Song")] = "4/4",
    session: Where = None,
) -> None:
    """Mend beats, chords or form, for what is made from now on.

    \b
    stage session mend --grid half
    stage session mend --shift -1
    stage session mend --grid beats.txt --chords "Am F C G"
    stage session mend --form "intro 1, verse 2"
    """
    from stage.beats.grid import beats_per_bar
    from stage.cli.results import read_beats
    from stage.errors import StageError
    from stage.session.time import read_taps

    arrangement = opened(session)
    beats: Any = grid
    if taps is not None:
        if grid is not None:
            raise StageError("beats are tapped or given: leave out --grid or --taps")
        beats = read_taps(taps, beats_per_bar(meter))
    elif grid is not None and grid not in ("half", "double"):
        end = getattr(arrangement.book.source, "start", 0.0) + arrangement.seconds
        beats = read_beats(grid, "half, double", end)
    arrangement.mend(grid=beats, shift=shift, chords=chords, form=form)
    show_time(arrangement)


def show(session: Where = None) -> None:
    """Show the song, the tracks, and the steps so far."""
    arrangement = opened(session)
    show_time(arrangement)
    show_tracks(arrangement)
    history, at = arrangement.book.history, arrangement.book.at
    typer.echo("steps: " + "; ".join(f"[{s.what}]" if i == at else s.what for i, s in enumerate(history)))


def song(path: Annotated[Path, typer.Argument(help="Where the song lies now.")], session: Where = None) -> None:
    """Say where the song lies, after it was moved.

    \b
    stage session song song.wav
    """
    opened(session).relink(path)
    typer.echo(str(path))
