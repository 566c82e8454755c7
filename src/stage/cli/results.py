"""Between the command line and the pipeline: what goes in is checked early, what comes out is written whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stage import audio
from stage.audio.playback import is_pipe
from stage.beats import reading
from stage.beats.find import Tracking, find, tempo_range
from stage.beats.grid import BeatGrid
from stage.errors import MissingFile, StageError
from stage.generation import outputs, request
from stage.generation.outputs import Outputs
from stage.generation.request import Metronome, Request
from stage.progress import bar

if TYPE_CHECKING:
    import numpy as np

    from stage.audio.playback import Output as Live
    from stage.cli.groups import Output, Player
    from stage.generation.result import Accompaniment
    from stage.pipeline import Stage


def plan(output: Output, name: str, stem: str, seed: int, variations: int, grid: Path | None = None) -> Outputs:
    """Name the results and make sure that they can be written, before minutes are spent on them.

    output: its folder is None for NAME-stage, "-" for no files but those of beats and chords: the stem goes to standard
    output. grid: where the beats go. Raises StageError if a file exists and is not to be replaced, or cannot be
    written.
    """
    seeds = request.seeds_of(variations, seed)
    if is_pipe(output.out) and output.pieces:
        raise StageError("pieces are files: they cannot be written with -o -")
    if is_pipe(output.out):
        files = Outputs(name, grid=grid, chords=output.save_chords)
    else:
        folder = output.out or Path(f"{name}-stage")
        files = Outputs.of(folder, name, stem, seeds, grid, output.pieces, output.save_chords)
    files.check(output.force)
    return files


def read_part(path: Path, start: float, seconds: float | None, stream: int) -> tuple[np.ndarray, int]:
    """Read the chosen stretch of a song. Returns (audio [C, N], rate); StageError if it is not all there or too
    long."""
    request.check_range(start, seconds)
    part, rate = audio.read(path, start, request.SECONDS_RANGE[1] + 1 if seconds is None else seconds, stream)
    length = part.shape[1] / rate
    if seconds is None and length > request.SECONDS_RANGE[1]:
        raise StageError(
            f"{path} is longer than the {request.SECONDS_RANGE[1]:g} seconds of one go: choose a part with --start and"
            " --seconds"
        )
    request.check_end(start + length, start + (seconds or length))
    request.check_seconds(length)
    return part, rate


def read_grid(
    choice: str | None,
    start: float,
    meter: str | None = None,
    tempi: str | None = None,
    until: float | None = None,
) -> str | BeatGrid | Tracking | None:
    """What `--grid`, `--meter` and `--tempo-range` ask for, for audio that was read from `start` on: a word, the beats
    of a file, how to track them, or None where nothing is asked. until: second up to which a MIDI file's beats go on
    after its end."""
    octave = choice if choice in ("half", "double") else None
    tracked = choice in (None, "on") or octave is not None
    if meter is not None or tempi is not None:
        if not tracked:
            raise StageError("--meter and --tempo-range are for beats that are tracked: use them without this --grid")
        return Tracking(meter, None if tempi is None else tempo_range(tempi), octave)
    if tracked or choice == "off":
        return choice
    return read_beats(choice, "on, off, half, double", until).shift(-start)


def read_beats(path: str, words: str, until: float | None = None) -> BeatGrid:
    """The beats of a file, text or MIDI. words: what else the option takes. until: see `stage.beats.reading.read`.
    Raises StageError where there is none."""
    if not Path(path).is_file():
        raise MissingFile(f'--grid takes {words} or a file of beats: there is no file "{path}"')
    return reading.read(path, until)


def find_beats(part: np.ndarray, rate: int, asked: str | BeatGrid | Tracking | None) -> BeatGrid | None:
    """The beats of a stretch, as `read_grid` says that they are asked for, with a note on what is doubtful."""
    if isinstance(asked, BeatGrid):
        return asked.crop(0.0, part.shape[1] / rate)
    if asked == "off":
        return None
    if not isinstance(asked, Tracking):
        asked = Tracking(octave=asked if asked in ("half", "double") else None)
    found = find(part, rate, asked)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    return found.grid


def load(player: Player, on_share: Callable[[float], None]) -> Stage:
    """Load the model that is to play. on_share: called with the share that is read, 0..1."""
    from stage.checkpoints.adapters import describe
    from stage.pipeline import Stage

    for adapter in player.adapters or ():
        describe(adapter)  # before a large model is loaded
    stage = Stage.from_pretrained(player.model, player.device, player.precision, on_share, player.engine)
    for adapter in player.adapters or ():
        stage.load_adapter(adapter, replace=True)
    return stage


def check_count_in(request: Request, bars: int, live: Live | None) -> None:
    """Raise StageError for a count-in that cannot be, or of what is heard while it is made."""
    if live is not None:
        raise StageError("a count-in is written into files: leave out --count-in with --play and -o -")
    if isinstance(request.source, Metronome):
        request.source.grid.counted_in(bars, 1000)


def make(
    player: Player,
    request: Request,
    files: Outputs,
    output: Output,
    live: Live | None = None,
    start: float = 0.0,
    count_in: int = 0,
) -> None:
    """Load the model, make the music and write the results; `live`, if there is one, gets them while they are made.
    start: of the request's stretch in the song, in seconds. count_in: bars of clicks before them."""
    with live or contextlib.nullcontext():
        from stage.checkpoints.licences import notice

        with bar("loading the model", 1.0, count=False) as shown:
            stage = load(player, shown.update)
            if files.pieces and stage.events is None:
                raise StageError(outputs.NO_PIECES)
            if text := notice(player.model, stage.config):
                shown.print(f"note: {text}")
            shown.begin("preparing", 1.0)

            def on_progress(share: float) -> None:
                shown.update(share, what="playing")

            if live:
                made = live.take(stage.make_stream(request, on_progress, gain_db=output.gain))
            else:
                made = stage.make(request, on_progress)
        write(files, made.counted_in(count_in) if count_in else made, output.force, start)
        if live:
            live.wait()


def write(files: Outputs, made: Accompaniment, force: bool, start: float = 0.0) -> None:
    """Write stems, mixes, pictures and beats, and print where they are."""
    for note in made.remarks:
        typer.echo(f"note: {note}", err=True)
    if made.grid is not None and len(made.grid) > 1:
        typer.echo(f"{made.grid.bpm:.1f} BPM, {len(made.grid)} beats", err=True)
    for instrument in dict.fromkeys(made.instruments):
        typer.echo(f"played on: {instrument}", err=True)
    for path in outputs.write(files, made, force, start):
        typer.echo(str(path), err=not files.stems)  # standard output may be the stem's
    if made.chords is not None and made.grid is not None:
        typer.echo(f"chords: {made.chords.bars(made.grid, made.stems.shape[-1] / made.rate)}", err=True)
    if files.chords and made.chords is None:
        typer.echo(f"note: no chords are known, so {files.chords} was not written", err=True)
    if files.grid and made.grid is None:
        typer.echo(f"note: no beats were used, so {files.grid} was not written", err=True)
