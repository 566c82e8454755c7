"""Balance, undo, export and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.groups import Handoff
from stage.cli.options import ForceOption
from stage.cli.session.shown import Name, Where, opened, playing_bar, show_tracks


def export(
    handoff: Handoff,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; export in the session's by default.", rich_help_panel="Output"),
    ] = None,
    force: ForceOption = False,
    session: Where = None,
) -> None:
    """Write stems, mix, MIDI, a DAWproject file and a REAPER project, all on one time line.

    \b
    stage session export
    stage session export -o for-mixing --as stems,pieces,click --format float
    """
    arrangement = opened(session)
    folder = out or arrangement.folder / "export"
    kinds, count = handoff.words, handoff.count_in
    for path in arrangement.export(folder, *kinds, format=handoff.format, force=force, count_in=count):
        typer.echo(str(path))


def track(
    track: Name,
    gain: Annotated[float | None, typer.Option(help="Louder or softer, in dB.")] = None,
    pan: Annotated[float | None, typer.Option(help="-1 (left) to 1 (right).")] = None,
    mute: Annotated[
        bool | None, typer.Option("--mute/--unmute", help="Out of the mix, and of what new tracks are played to.")
    ] = None,
    lock: Annotated[bool | None, typer.Option("--lock/--unlock", help="Nothing of it can be changed.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    place: Annotated[int | None, typer.Option(help="Its place in the list, from 1 on.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out.")] = False,
    session: Where = None,
) -> None:
    """Set a track's gain, pan, mute, lock, name or place, or remove it.

    \b
    stage session track bass --gain -3 --pan 0.2
    stage session track drums --lock
    """
    from stage.errors import StageError

    arrangement = opened(session)
    if remove:
        arrangement.remove(track)
    elif place is not None:
        given = [value for value in (gain, pan, mute, lock, name) if value is not None]
        if given:
            raise StageError("a track is moved by itself: leave out the other options")
        arrangement.move(track, place)
    else:
        arrangement.change(track, gain=gain, pan=pan, mute=mute, lock=lock, name=name)
    show_tracks(arrangement)


def undo(session: Where = None) -> None:
    """Undo the last step."""
    typer.echo(f"undone: {opened(session).undo()}")


def redo_step(session: Where = None) -> None:
    """Do again the step that was undone last (bars are played anew by `redo`)."""
    typer.echo(f"done again: {opened(session).redo_step()}")


def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Only compare files with their checksums.")] = False,
    mend: Annotated[bool, typer.Option("--mend", help="Make missing and changed files again.")] = False,
    session: Where = None,
) -> None:
    """Make every take again from what is written, and say what differs.

    Exit code 1 where something does. On the same machine, with the same versions and as many threads, takes come out
    the same to the bit.
    """
    arrangement = opened(session)
    with playing_bar() as shown:
        differences = arrangement.verify(
            not quick, lambda name, share: shown.update(share, what=f"making {name} again"), mend
        )
    for one in differences:
        typer.echo(f"{one.what}: {one.why}")
    if differences:
        raise typer.Exit(1)
    typer.echo(f"{len(arrangement.book.takes)} takes: all as they were made")
