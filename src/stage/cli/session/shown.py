"""Which session is meant, what is shown of it, and the bar while it plays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stage.cli.groups import USUAL, Model

if TYPE_CHECKING:
    from stage.progress import Bar
    from stage.session import Session

Where = Annotated[
    Path | None,
    typer.Option("--session", "-s", help="Folder of the session; by default the one here.", rich_help_panel="Session"),
]
Name = Annotated[str, typer.Argument(help="A track's name; `stage session show` has them.", metavar="TRACK")]


def found(folder: Path | None) -> Path:
    """The session's folder: the one that is named, this one, or the only one in it."""
    from stage.errors import StageError
    from stage.session.state import FILE

    if folder is not None:
        return folder
    if Path(FILE).is_file():
        return Path(".")
    there = sorted(path.parent for path in Path(".").glob(f"*/{FILE}"))
    if len(there) == 1:
        return there[0]
    if there:
        raise StageError(f"there are several sessions here ({', '.join(map(str, there))}): choose one with -s FOLDER")
    raise StageError("there is no session here: begin one with stage session new SONG, or name its folder with -s")


def opened(folder: Path | None, model: Model = USUAL) -> Session:
    """The session that is meant."""
    from stage.session import Session

    return Session.open(found(folder), model.given, model.engine)


def play_band(arrangement: Session, stems: str, prompt: str, takes: int, seed: int) -> None:
    """Add the stems that are named between commas, and show them."""
    names = [name.strip() for name in stems.split(",") if name.strip()]
    with playing_bar() as shown:
        on_progress = progress(arrangement, shown)
        arrangement.band(names, prompt, takes, seed, lambda stem, share: on_progress(share, stem))
    show_tracks(arrangement)


def playing_bar() -> Any:
    from stage.progress import bar

    return bar("loading the model", 1.0, count=False)


def progress(session: Session, shown: Bar) -> Any:
    """What is called while a session plays. The model's licence, if there is something to say about it, is printed when
    it begins to play: what cannot be done is said before it is loaded."""
    begun: list[str] = []

    def on_progress(share: float, what: str = "") -> None:
        from stage.checkpoints.licences import notice

        if not begun and (text := notice(session.model, session.stage.config)):
            shown.print(f"note: {text}")
        begun.append(what)
        shown.update(share, what=f"playing {what}".strip())

    return on_progress


def show_time(session: Session) -> None:
    time, grid = session.time, session.grid
    source = getattr(session.book.source, "path", None)
    name = "a tempo" if source is None else Path(source).name
    beats = "no beats" if grid is None else f"{grid.bpm:.1f} BPM, {len(grid.downbeats)} bars of {grid.beats_per_bar}"
    typer.echo(f"{name}: {session.seconds:.2f} s at {session.rate} Hz, {beats}")
    if time.sections:
        typer.echo("form: " + ", ".join(f"{section.name} from bar {section.bar}" for section in time.sections))
    if time.chart is not None and grid is not None:
        typer.echo(f"chords:\n{time.chart.bars(grid, session.seconds)}")


def show_tracks(session: Session) -> None:
    for track in session.tracks:
        words = [f"take {track.takes.index(track.kept) + 1} of {len(track.takes)}"]
        words += [f"{track.gain:+.1f} dB"] * bool(track.gain) + [f"pan {track.pan:+.2f}"] * bool(track.pan)
        words += ["muted"] * track.mute + ["locked"] * track.lock
        typer.echo(f"{track.name}: {', '.join(words)}")


def show_takes(session: Session, name: str) -> None:
    """The takes of a track, the best first."""
    track, there = session.track(name), session.takes(name)
    for take in session.ranked(name):
        one = there[take]
        figures = {key.replace("_", " "): value for key, value in one.check.items()}
        shown = ", ".join(f"{key} {value:g}" for key, value in sorted(figures.items(), key=lambda f: f[0] != "score"))
        kept = " (kept)" if take == track.kept else ""
        how = f"seed {one.recipe.seed}" + (f", of {one.recipe.parent}" if one.recipe.parent else "")
        typer.echo(f"{name} {track.takes.index(take) + 1}{kept}: {how}, {one.instrument or session.model}; {shown}")
        for remark in one.remarks:
            typer.echo(f"note: {remark}", err=True)
