"""`stage band`, a whole band in one command, and `stage export`, results as projects of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.groups import Beginning, Handoff, Model
from stage.cli.options import ForceOption, FormOption, PromptOption, SeedOption, StartOption


def band(
    beginning: Beginning,
    handoff: Handoff,
    model: Model,
    song: Annotated[Path | None, typer.Argument(help="Any audio file; none for a band on a tempo.")] = None,
    stems: Annotated[
        str, typer.Option(help="In this order; each is played to those before it.", rich_help_panel="Music")
    ] = "drums,bass,keys",
    prompt: PromptOption = "",
    takes: Annotated[
        int, typer.Option(help="Of each; the best by the quick check is kept.", rich_help_panel="Music")
    ] = 1,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; NAME-band by default.", rich_help_panel="Output")
    ] = None,
) -> None:
    """Play a whole band to a song, to a tempo or to chords.

    \b
    stage band song.mp3 --stems drums,bass,keys
    stage band --bpm 96 --bars 8 --chords "Am F C G" -o trio

    The folder is a session, in which takes can be changed (stage session); what is exported lies in its folder export.
    """
    from stage.cli.session.begin import begun
    from stage.cli.session.shown import play_band, show_time
    from stage.errors import StageError
    from stage.files import remove_folder

    session = begun(song, out, beginning, model, "band")
    show_time(session)
    try:
        play_band(session, stems, prompt, takes, seed)
    except StageError:
        if not session.tracks:  # what was asked for cannot be played: nothing is left behind
            remove_folder(session.folder)
        raise
    folder, count = session.folder / "export", handoff.count_in
    for path in session.export(folder, *handoff.words, format=handoff.format, count_in=count):
        typer.echo(str(path))


def export(
    handoff: Handoff,
    stems: Annotated[list[Path], typer.Argument(help="Stems of one stretch; their MIDI files lie beside them.")],
    song: Annotated[Path | None, typer.Option(help="The song that they were made for.", rich_help_panel="Song")] = None,
    start: StartOption = 0.0,
    form: FormOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; NAME-export by default.", rich_help_panel="Output")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write results as projects that DAWs open: stems, mix, MIDI, DAWproject, REAPER.

    \b
    stage export song-stage/song.drums.0.wav --song song.wav
    stage export song-stage/song.drums.0.wav song-stage/song.bass.0.wav --as rpp -o project
    stage export song-stage/song.drums.0.wav --form "intro 1, verse 1" -o formed
    """
    from stage.session.handoff.export import export as write
    from stage.session.handoff.files import arrangement

    found = arrangement(stems, song, start, form)
    for path in write(
        found, out or Path(f"{found.name}-export"), handoff.words, handoff.format, force, handoff.count_in
    ):
        typer.echo(str(path))
