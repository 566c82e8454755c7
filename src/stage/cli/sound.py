"""`stage sound`: a MIDI file on sampled instruments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.options import ForceOption


def sound(
    midi: Annotated[Path | None, typer.Argument(help="A MIDI file of type 0 or 1.")] = None,
    instrument: Annotated[
        str | None,
        typer.Option(
            help="For pitched parts: a name like bass/finger, or an SFZ or SF2 file; by default by the programs.",
            rich_help_panel="Music",
        ),
    ] = None,
    kit: Annotated[
        str | None,
        typer.Option(help="For the drums: a name like jazz, or an SFZ or SF2 file.", rich_help_panel="Music"),
    ] = None,
    stem: Annotated[
        str | None,
        typer.Option(help="Only these parts: drums, bass, keys, guitar or pads.", rich_help_panel="Music"),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the small differences between equal hits.", rich_help_panel="Music")
    ] = 0,
    room: Annotated[
        float, typer.Option(help="A little room around the instruments: 0 (none) to 1.", rich_help_panel="Music")
    ] = 0.15,
    tuning: Annotated[float, typer.Option(help="The A in Hz, 400 to 480.", rich_help_panel="Music")] = 440.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="WAV or FLAC, 24 bits; NAME.wav by default.", rich_help_panel="Output"),
    ] = None,
    rate: Annotated[int, typer.Option(help="Sampling rate in Hz.", rich_help_panel="Output")] = 44100,
    show: Annotated[bool, typer.Option("--list", help="Print the instruments.")] = False,
    force: ForceOption = False,
) -> None:
    """Sound a MIDI file on sampled instruments.

    \b
    stage sound --list
    stage sound song.mid
    stage sound song.mid --stem drums --kit jazz
    stage sound song.mid --stem bass --instrument upright --rate 48000 -o upright.wav

    Channel 10 is drums. Users' SFZ files and SoundFonts (SF2) are played in place; what an SFZ file uses that is not
    supported is printed.
    """
    from stage import instruments
    from stage.audio.files import format_of, write
    from stage.errors import StageError
    from stage.files import check_folder, check_free
    from stage.instruments import scores

    if show:
        typer.echo("\n".join(instruments.names()))
        return
    if midi is None:
        raise StageError("name a MIDI file, or --list the instruments")
    out = out or Path(f"{midi.stem}.wav")
    format_of(out)
    check_free(out, force, "add --force to replace it, or name another file with -o")
    check_folder(out.parent)
    made = scores.render(midi, instrument, kit, stem, rate=rate, seed=seed, room=room, tuning=tuning)
    write(out, made.audio, rate, force)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(str(out))
