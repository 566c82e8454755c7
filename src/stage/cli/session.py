"""`stage session`: an arrangement that grows take by take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stage.cli.lazy import PLAIN, Entry, lazy_group
from stage.cli.options import (
    BarsOption,
    BpmOption,
    ChordsOption,
    ComplexityOption,
    DoubleTimeOption,
    DynamicsOption,
    FillsOption,
    ForceOption,
    FormatOption,
    FormOption,
    FromBarOption,
    GridOption,
    GuidanceOption,
    HalfTimeOption,
    HumanizeOption,
    InstrumentOption,
    KindsOption,
    KitOption,
    MeterOption,
    ModelOption,
    PromptOption,
    PushOption,
    RegisterOption,
    SecondsOption,
    SeedOption,
    StartOption,
    StreamOption,
    SwingOption,
    TemperatureOption,
    TempoRangeOption,
    TightOption,
    ToBarOption,
    TopKOption,
    TopPOption,
    TuningOption,
    WithoutOption,
)

if TYPE_CHECKING:
    from stage.progress import Bar
    from stage.session import Session

HELP = """
Build an arrangement take by take; every step can be undone.

\b
  stage session new song.mp3                      begin, in the folder song-session
  stage session add drums --takes 3               a track: three takes, the first is kept
  stage session takes drums                       what there is, with a quick check of each
  stage session keep drums 2                      keep another
  stage session add bass                          hears the song and the drums
  stage session redo drums --bars 5-6             play bars again, all else stays
  stage session undo
  stage session export                            stems, MIDI, DAWproject, REAPER

Commands work in the session of this folder, in the only one that lies in it, or in the one that
-s names. Two words that are close: `redo` plays bars again, `redo-step` does an undone step again.
"""

COMMANDS = {
    "new": Entry("stage.cli.session:new", "Begin, for a song or for a tempo.", "Begin"),
    "show": Entry("stage.cli.session:show", "Show song, tracks and steps.", "Begin"),
    "mend": Entry("stage.cli.session:mend", "Mend beats, chords or form.", "Begin"),
    "song": Entry("stage.cli.session:song", "Say where the song lies now.", "Begin"),
    "add": Entry("stage.cli.session:add", "Add a track.", "Play"),
    "band": Entry("stage.cli.session:band", "Add several tracks, one after the other.", "Play"),
    "takes": Entry("stage.cli.session:takes", "List takes; make more of them.", "Play"),
    "redo": Entry("stage.cli.session:redo", "Play some bars again.", "Play"),
    "keep": Entry("stage.cli.session:keep", "Keep another take.", "Arrange"),
    "track": Entry("stage.cli.session:track", "Set gain, pan, mute, lock, name; remove.", "Arrange"),
    "undo": Entry("stage.cli.session:undo", "Undo the last step.", "Arrange"),
    "redo-step": Entry("stage.cli.session:redo_step", "Do an undone step again.", "Arrange"),
    "export": Entry("stage.cli.session:export", "Write stems, MIDI and DAW projects.", "Leave"),
    "verify": Entry("stage.cli.session:verify", "Make all again; say what differs.", "Leave"),
}

app = typer.Typer(cls=lazy_group(COMMANDS), no_args_is_help=True, **PLAIN)


@app.callback(help=HELP)
def common() -> None: ...


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


def opened(folder: Path | None, model: str | None = None) -> Session:
    """The session that is meant."""
    from stage.session import Session

    return Session.open(found(folder), model)


def new(
    song: Annotated[Path | None, typer.Argument(help="Any audio file; none for a session on a tempo.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; NAME-session by default.", rich_help_panel="Session")
    ] = None,
    bpm: BpmOption = None,
    bars: BarsOption = 8,
    rate: Annotated[
        int | None, typer.Option(help="Without a song: sampling rate in Hz; 44100.", rich_help_panel="Tempo")
    ] = None,
    start: StartOption = 0.0,
    seconds: SecondsOption = None,
    grid: GridOption = None,
    meter: MeterOption = None,
    tempo_range: TempoRangeOption = None,
    chords: ChordsOption = None,
    tuning: TuningOption = "auto",
    form: FormOption = None,
    extend: Annotated[
        float,
        typer.Option(help="Seconds that stems go on behind the song's end, at its tempo.", rich_help_panel="Song"),
    ] = 0.0,
    stream: StreamOption = 0,
) -> None:
    """Begin a session, for a song or for a tempo.

    \b
    stage session new song.mp3
    stage session new song.wav --start 30 --seconds 60 -o chorus
    stage session new --bpm 96 --bars 8 --chords "Am F C G" -o trio
    """
    heard = song, out, start, seconds, stream, grid, meter, tempo_range, chords, tuning
    session = begun(*heard, bpm, bars, rate, form, extend=extend)
    show_time(session)
    typer.echo(str(session.folder))


def begun(
    song: Path | None,
    folder: Path | None,
    start: float,
    seconds: float | None,
    stream: int,
    grid: str | None,
    meter: str | None,
    tempo_range: str | None,
    chords: str | None,
    tuning: str,
    bpm: float | None,
    bars: int,
    rate: int | None = None,
    form: str | None = None,
    model: str | None = None,
    end: str = "session",
    extend: float = 0.0,
) -> Session:
    """A new session, by the options of a command. end: of the folder's name, where none is chosen."""
    from stage.cli.results import read_grid
    from stage.errors import StageError
    from stage.session import Session

    if song is None and grid is not None and not Path(grid).is_file():
        raise StageError("without a song --grid takes a file of beats")
    if song is not None and bpm is not None:
        raise StageError("a session has a song or a tempo, not both: leave out --bpm")
    if folder is None:
        folder = Path(end if song is None else f"{song.stem}-{end}")
    if grid is not None and Path(grid).suffix.lower() in (".mid", ".midi") and Path(grid).is_file():
        from stage.session.time import of_midi

        beats: Any = of_midi(grid)
    else:
        beats = read_grid(grid, 0.0, None if song is None else meter, tempo_range)
    source: dict[str, Any] = dict(
        start=start, seconds=seconds, stream=stream, grid=beats, chords=chords, tuning=tuning, form=form
    )
    if song is not None:
        source["extend"] = extend
    elif extend:
        raise StageError("--extend is for a song: without one choose more --bars")
    tempo = dict(bpm=bpm, meter=meter or "4/4", bars=bars, rate=rate)
    return Session.new(folder, song, **source, **tempo, model=model)


def add(
    stem: Annotated[str, typer.Argument(help="What to play: drums, bass, keys, guitar or pads.")],
    prompt: PromptOption = "",
    takes: Annotated[int, typer.Option(help="How many takes to make at once.", rich_help_panel="Music")] = 1,
    seed: SeedOption = 0,
    name: Annotated[
        str | None, typer.Option(help="The track's name; the stem's by default.", rich_help_panel="Session")
    ] = None,
    complexity: ComplexityOption = None,
    dynamics: DynamicsOption = None,
    fills: FillsOption = 0,
    swing: SwingOption = 0.0,
    push: PushOption = 0.0,
    tight: TightOption = 0.0,
    humanize: HumanizeOption = 0.0,
    without: WithoutOption = None,
    half_time: HalfTimeOption = False,
    double_time: DoubleTimeOption = False,
    register: RegisterOption = None,
    kit: KitOption = None,
    instrument: InstrumentOption = None,
    from_bar: FromBarOption = None,
    to_bar: ToBarOption = None,
    guidance: GuidanceOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    temperature: TemperatureOption = None,
    model: ModelOption = None,
    session: Where = None,
) -> None:
    """Add a track: it is played to the song and to the tracks that are there.

    \b
    stage session add drums --takes 3
    stage session add bass --prompt "laid back" --complexity 0.3
    """
    options = locals()
    from stage.cli.results import performance
    from stage.generation.request import check_many

    how = performance(stem, options)
    check_many(takes, seed)
    choice = dict(guidance=guidance, top_k=top_k, top_p=top_p, temperature=temperature)
    sampling = {key: value for key, value in choice.items() if value is not None}
    arrangement = opened(session, model)
    with _bar() as shown:
        track = arrangement.add(stem, prompt, takes, seed, name, how, sampling, _progress(arrangement, shown))
    _list(arrangement, track.name)


def takes(
    track: Name,
    more: Annotated[int, typer.Option(help="Make so many more first.", rich_help_panel="Music")] = 0,
    like: Annotated[
        int, typer.Option(help="Make so many like the kept one: its first bars stay.", rich_help_panel="Music")
    ] = 0,
    other: Annotated[int, typer.Option(help="Make so many unlike those that are there.", rich_help_panel="Music")] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first of them; the next one by default.", rich_help_panel="Music")
    ] = None,
    model: ModelOption = None,
    session: Where = None,
) -> None:
    """List the takes of a track, the best first; with --more, --like or --other make some first.

    \b
    stage session takes drums
    stage session takes drums --more 4
    stage session takes drums --like 2

    They are ranked by a quick check, which says what is likely to be wrong, not what is good. score: on grid x in
    chord, less for a take that is silent more than half of the time or clips. on grid: share of the onsets within 40 ms
    of a sixteenth or triplet. in chord: share of the notes' time in tones of the chord. silent: share of the time.
    """
    arrangement = opened(session, model)
    if more or like or other:
        with _bar() as shown:
            on_progress = _progress(arrangement, shown)
            if more:
                arrangement.take(track, more, seed, on_progress)
            if like:
                arrangement.like(track, like, on_progress=on_progress)
            if other:
                arrangement.other(track, other, on_progress=on_progress)
    _list(arrangement, track)


def keep(
    track: Name, take: Annotated[str, typer.Argument(help="Its number, as `takes` lists it.")], session: Where = None
) -> None:
    """Keep another take of a track.

    \b
    stage session keep drums 2
    """
    arrangement = opened(session)
    arrangement.keep(track, take)
    _list(arrangement, track)


def redo(
    track: Name,
    bars: Annotated[
        list[str] | None,
        typer.Option(help="Bars to play anew, like 5 or 5-6; may be given several times.", rich_help_panel="Region"),
    ] = None,
    between: Annotated[
        list[str] | None,
        typer.Option(help="The same in seconds, like 12.5-16.", rich_help_panel="Region"),
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(
            help="How many to make of each region; the one is taken that what follows fits best.",
            rich_help_panel="Music",
        ),
    ] = 4,
    seed: Annotated[int | None, typer.Option(help="Another seed, for another result.", rich_help_panel="Music")] = None,
    complexity: ComplexityOption = None,
    dynamics: DynamicsOption = None,
    fills: FillsOption = 0,
    temperature: TemperatureOption = None,
    model: ModelOption = None,
    session: Where = None,
) -> None:
    """Play some bars of a track anew, as a new take. (To do an undone step again: redo-step.)

    \b
    stage session redo drums --bars 5-6
    stage session redo bass --bars 3 --bars 7-8 --complexity 0.8

    What stands before and after is known to the model, and every note and sample outside stays as it is. A pitched note
    that rings on behind the region stays too.
    """
    arrangement = opened(session, model)
    found = arrangement.track(track)
    how = dict(complexity=complexity, dynamics=dynamics, fills=fills or None)
    given = {key: value for key, value in how.items() if value is not None}
    before = arrangement.book.takes[found.kept].recipe.performance
    regions = [_span(word, int) for word in bars or []], [_span(word, float) for word in between or []]
    with _bar() as shown:
        arrangement.redo(
            track,
            *regions,
            candidates=candidates,
            seed=seed,
            performance={**before, **given} if given else None,
            sampling={} if temperature is None else {"temperature": temperature},
            on_progress=_progress(arrangement, shown),
        )
    _list(arrangement, track)


def _span(text: str, kind: type) -> tuple[Any, Any]:
    """ "5-6" or "5" as two numbers."""
    from stage.errors import StageError

    first, _, last = text.partition("-")
    try:
        return kind(first), kind(last or first)
    except ValueError:
        raise StageError(f'"{text}" is no region: write it like 5-6') from None


def band(
    stems: Annotated[str, typer.Option(help="In this order; each hears those before it.")] = "drums,bass,keys",
    prompt: PromptOption = "",
    takes: Annotated[int, typer.Option(help="Of each; the best by the quick check is kept.")] = 1,
    seed: SeedOption = 0,
    model: ModelOption = None,
    session: Where = None,
) -> None:
    """Add a track of each stem: each is played to the song and to those before it.

    \b
    stage session band --stems drums,bass,keys
    """
    play_band(opened(session, model), stems, prompt, takes, seed)


def play_band(arrangement: Session, stems: str, prompt: str, takes: int, seed: int) -> None:
    """Add the stems that are named between commas, and show them."""
    names = [name.strip() for name in stems.split(",") if name.strip()]
    with _bar() as shown:
        on_progress = _progress(arrangement, shown)
        arrangement.band(names, prompt, takes, seed, lambda stem, share: on_progress(share, stem))
    show_tracks(arrangement)


def export(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; export in the session's by default.", rich_help_panel="Output"),
    ] = None,
    kinds: KindsOption = "stems,mix,midi,dawproject,rpp",
    format: FormatOption = "wav",
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
    for path in arrangement.export(folder, *kinds_of(kinds), format=format, force=force):
        typer.echo(str(path))


def kinds_of(text: str) -> list[str]:
    """What is to be written, from words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def track(
    track: Name,
    gain: Annotated[float | None, typer.Option(help="Louder or softer, in dB.")] = None,
    pan: Annotated[float | None, typer.Option(help="-1 (left) to 1 (right).")] = None,
    mute: Annotated[bool | None, typer.Option("--mute/--unmute", help="Out of the mix, unheard by new tracks.")] = None,
    lock: Annotated[bool | None, typer.Option("--lock/--unlock", help="Nothing of it can be changed.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out.")] = False,
    session: Where = None,
) -> None:
    """Set a track's gain, pan, mute, lock or name, or remove it.

    \b
    stage session track bass --gain -3 --pan 0.2
    stage session track drums --lock
    """
    arrangement = opened(session)
    if remove:
        arrangement.remove(track)
    else:
        arrangement.change(track, gain=gain, pan=pan, mute=mute, lock=lock, name=name)
    show_tracks(arrangement)


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
    from stage.beats.grid import BeatGrid, beats_per_bar
    from stage.errors import MissingFile, StageError
    from stage.session.time import of_midi, read_taps

    arrangement = opened(session)
    beats: Any = grid
    if taps is not None:
        if grid is not None:
            raise StageError("beats are tapped or given: leave out --grid or --taps")
        beats = read_taps(taps, beats_per_bar(meter))
    elif grid is not None and grid not in ("half", "double"):
        if not Path(grid).is_file():
            raise MissingFile(f'--grid takes half, double or a file of beats: there is no file "{grid}"')
        beats = of_midi(grid) if Path(grid).suffix.lower() in (".mid", ".midi") else BeatGrid.load(grid)
    arrangement.mend(grid=beats, shift=shift, chords=chords, form=form)
    show_time(arrangement)


def undo(session: Where = None) -> None:
    """Undo the last step."""
    typer.echo(f"undone: {opened(session).undo()}")


def redo_step(session: Where = None) -> None:
    """Do again the step that was undone last (bars are played anew by `redo`)."""
    typer.echo(f"done again: {opened(session).redo_step()}")


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
    with _bar() as shown:
        differences = arrangement.verify(
            not quick, lambda name, share: shown.update(share, what=f"making {name} again"), mend
        )
    for one in differences:
        typer.echo(f"{one.what}: {one.why}")
    if differences:
        raise typer.Exit(1)
    typer.echo(f"{len(arrangement.book.takes)} takes: all as they were made")


# ---------------------------------------------------------------- what is printed


def _bar() -> Any:
    from stage.progress import bar

    return bar("loading the model", 1.0, count=False)


def _progress(session: Session, shown: Bar) -> Any:
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


def _list(session: Session, name: str) -> None:
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
