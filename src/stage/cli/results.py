"""Between the command line and the pipeline: what goes in is checked early, what comes out is written whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stage import audio
from stage.audio.playback import is_pipe
from stage.beats.find import Tracking, find, tempo_range
from stage.beats.grid import BeatGrid
from stage.errors import MissingFile, StageError
from stage.generation import outputs, request
from stage.generation.outputs import Outputs
from stage.generation.performance import Performance
from stage.generation.request import Request
from stage.progress import bar

if TYPE_CHECKING:
    import numpy as np

    from stage.audio.playback import Output
    from stage.generation.result import Accompaniment
    from stage.pipeline import Stage


def plan(
    folder: Path | None,
    name: str,
    stem: str,
    seed: int,
    variations: int,
    force: bool,
    grid: Path | None = None,
    pieces: bool = False,
    chords: Path | None = None,
) -> Outputs:
    """Name the results and make sure that they can be written, before minutes are spent on them.

    folder: None for NAME-stage, "-" for no files but the grid's: the stem goes to standard output. pieces: also
    those of the drums, one by one.
    Raises StageError if one exists and is not to be replaced, or cannot be written.
    """
    seeds = request.seeds_of(variations, seed)
    if is_pipe(folder) and pieces:
        raise StageError("pieces are files: they cannot be written with -o -")
    if is_pipe(folder):
        files = Outputs(name, grid=grid, chords=chords)
    else:
        files = Outputs.of(folder or Path(f"{name}-stage"), name, stem, seeds, grid, pieces, chords)
    files.check(force)
    return files


def performance(stem: str, options: dict[str, Any]) -> Performance:
    """How a stem is to be played, by those of a command's options that are of a `Performance` and were given. Raises
    StageError for what is out of range or of no use to the stem."""
    names = [field.name for field in fields(Performance)]
    made = Performance(**{name: options[name] for name in names if options[name] is not None})
    made.check(stem)
    return made


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
    choice: str | None, start: float, meter: str | None = None, tempi: str | None = None
) -> str | BeatGrid | Tracking | None:
    """What `--grid`, `--meter` and `--tempo-range` ask for, for audio that was read from `start` on: a word, the beats
    of a file, how to track them, or None where nothing is asked."""
    octave = choice if choice in ("half", "double") else None
    tracked = choice in (None, "on") or octave is not None
    if meter is not None or tempi is not None:
        if not tracked:
            raise StageError("--meter and --tempo-range are for beats that are tracked: use them without this --grid")
        return Tracking(meter, None if tempi is None else tempo_range(tempi), octave)
    if tracked or choice == "off":
        return choice
    if not Path(choice).is_file():
        raise MissingFile(f'--grid takes on, off, half, double or a file of beats: there is no file "{choice}"')
    return BeatGrid.load(choice).shift(-start)


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


@dataclass(frozen=True)
class Player:
    """Which model plays: its name or folder (None: player, or sketch for adapters), the precision of its weights, its
    adapters, where it runs (None: on the GPU where there is one), and what computes it."""

    given: str | None
    precision: str = "auto"
    adapters: Sequence[str] = ()
    device: str | None = None
    engine: str = "auto"

    @property
    def model(self) -> str:
        """Name or folder of the model."""
        return self.given or ("sketch" if self.adapters else "player")

    def load(self, on_share: Callable[[float], None]) -> Stage:
        """Load it. on_share: called with the share that is read, 0..1."""
        from stage.checkpoints.adapters import describe
        from stage.pipeline import Stage

        for adapter in self.adapters:
            describe(adapter)  # before a large model is loaded
        stage = Stage.from_pretrained(self.model, self.device, self.precision, on_share, self.engine)
        for adapter in self.adapters:
            stage.load_adapter(adapter, replace=True)
        return stage


def make(
    player: Player,
    request: Request,
    files: Outputs,
    force: bool,
    start: float = 0.0,
    live: Output | None = None,
    gain_db: float | None = None,
) -> None:
    """Load the model, make the music and write the results; `live`, if there is one, gets them while they are made."""
    with live or contextlib.nullcontext():
        from stage.checkpoints.licences import notice

        with bar("loading the model", 1.0, count=False) as shown:
            stage = player.load(shown.update)
            if files.pieces and stage.events is None:
                raise StageError(outputs.NO_PIECES)
            if text := notice(player.model, stage.config):
                shown.print(f"note: {text}")
            shown.begin("preparing", 1.0)

            def on_progress(share: float) -> None:
                shown.update(share, what="playing")

            if live:
                made = live.take(stage.make_stream(request, on_progress, gain_db=gain_db))
            else:
                made = stage.make(request, on_progress)
        write(files, made, force, start)
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
