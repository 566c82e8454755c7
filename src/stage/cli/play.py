"""`stage accompany` and `stage click`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.options import (
    AdapterOption,
    ChordsOption,
    ComplexityOption,
    DeviceOption,
    DoubleTimeOption,
    DynamicsOption,
    EngineOption,
    FillsOption,
    FolderOption,
    ForceOption,
    FromBarOption,
    GainOption,
    GridOption,
    GuidanceOption,
    HalfTimeOption,
    HumanizeOption,
    InstrumentOption,
    KitOption,
    MeterOption,
    ModelOption,
    PiecesOption,
    PlayOption,
    PrecisionOption,
    PromptOption,
    PushOption,
    RawOption,
    RegisterOption,
    SaveChordsOption,
    SaveGridOption,
    SecondsOption,
    SeedOption,
    StartOption,
    StemOption,
    StreamOption,
    SwingOption,
    TemperatureOption,
    TempoRangeOption,
    TextOption,
    TightOption,
    ToBarOption,
    TopKOption,
    TopPOption,
    TuningOption,
    VariationsOption,
    WithoutOption,
)


def accompany(
    song: Annotated[Path, typer.Argument(help="Any audio file, or a video with sound.")],
    stem: StemOption,
    prompt: PromptOption = "",
    start: StartOption = 0.0,
    seconds: SecondsOption = None,
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    out: FolderOption = None,
    play: PlayOption = False,
    raw: RawOption = False,
    pieces: PiecesOption = False,
    gain: GainOption = None,
    grid: GridOption = None,
    meter: MeterOption = None,
    tempo_range: TempoRangeOption = None,
    save_grid: SaveGridOption = None,
    stream: StreamOption = 0,
    tuning: TuningOption = "auto",
    rest: Annotated[
        bool,
        typer.Option(
            "--rest/--no-rest", help="Whether to rest where the song is silent for a bar.", rich_help_panel="Music"
        ),
    ] = True,
    chords: ChordsOption = None,
    save_chords: SaveChordsOption = None,
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
    text_guidance: TextOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    temperature: TemperatureOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    device: DeviceOption = None,
    adapter: AdapterOption = None,
    force: ForceOption = False,
) -> None:
    """Play a new stem to a recording.

    \b
    stage accompany song.mp3 --stem drums
    stage accompany song.wav --stem bass --start 30 --seconds 20 --variations 4 -o ideas
    stage accompany song.flac --stem drums --save-grid beats.txt
    stage accompany song.flac --stem drums --grid beats.txt --seed 7
    stage accompany song.mp3 --stem drums --meter 7/4 --tempo-range 160-220
    stage accompany song.mp3 --stem drums --play

    For each variation the folder gets NAME.STEM.SEED.wav (the stem), .mid (its notes, from a model that plays notes),
    .mix.wav (song and stem) and .png (a picture of notes or spectrogram over the beats). With `-o -` the stem goes to
    standard output while it is made, as in `-o - | ffplay -`.
    """
    options = locals()
    from stage.audio import playback as playing
    from stage.cli import results
    from stage.generation.request import Request, check_sampling, tuning_cents

    choice = dict(guidance=guidance, text_guidance=text_guidance, top_k=top_k, top_p=top_p, temperature=temperature)
    check_sampling(**choice)
    performance = results.performance(stem, options)
    tuning_cents(tuning)
    live = playing.choose(out, play, raw, gain, variations)
    files = results.plan(out, song.stem, stem, seed, variations, force, save_grid, pieces, save_chords)
    beats = results.read_grid(grid, start, meter, tempo_range)
    part, rate = results.read_part(song, start, seconds, stream)
    request = Request.recording(
        part,
        rate,
        stem,
        prompt,
        variations=variations,
        seed=seed,
        grid=beats,
        tuning=tuning,
        sampling=choice,
        rest=rest,
        chords=chords,
        performance=performance,
    )
    results.make(
        results.Player(model, precision, adapter or [], device, engine), request, files, force, start, live, gain
    )


def click(
    bpm: Annotated[
        float,
        typer.Option(help="Tempo in beats a minute, 20 to 400; in 6/8 dotted quarters.", rich_help_panel="Metronome"),
    ],
    stem: StemOption,
    meter: Annotated[str, typer.Option(help="Metre, like 4/4, 3/4 or 6/8.", rich_help_panel="Metronome")] = "4/4",
    bars: Annotated[int, typer.Option(help="Length in bars.", rich_help_panel="Metronome")] = 8,
    prompt: PromptOption = "",
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    out: FolderOption = None,
    play: PlayOption = False,
    raw: RawOption = False,
    pieces: PiecesOption = False,
    gain: GainOption = None,
    rate: Annotated[
        int | None, typer.Option(help="Sampling rate of the results in Hz; the model's own by default.")
    ] = None,
    chords: ChordsOption = None,
    save_chords: SaveChordsOption = None,
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
    text_guidance: TextOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    temperature: TemperatureOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    device: DeviceOption = None,
    adapter: AdapterOption = None,
    force: ForceOption = False,
) -> None:
    """Play a stem to a metronome.

    \b
    stage click --bpm 128 --stem drums
    stage click --bpm 92.5 --meter 3/4 --bars 16 --stem bass --rate 48000
    stage click --bpm 60 --meter 6/8 --stem drums --prompt "sparse, slow ballad"

    The results are named like those of `accompany`; the mix has the clicks under the stem.
    """
    options = locals()
    from stage.audio import playback as playing
    from stage.cli import results
    from stage.generation.request import Request

    choice = dict(guidance=guidance, text_guidance=text_guidance, top_k=top_k, top_p=top_p, temperature=temperature)
    performance = results.performance(stem, options)
    request = Request.metronome(
        bpm,
        stem,
        meter,
        bars,
        prompt,
        variations,
        seed,
        rate,
        sampling=choice,
        chords=chords,
        performance=performance,
    )
    live = playing.choose(out, play, raw, gain, variations)
    files = results.plan(
        out, f"click-{bpm:g}-{meter.replace('/', '-')}", stem, seed, variations, force, None, pieces, save_chords
    )
    results.make(
        results.Player(model, precision, adapter or [], device, engine), request, files, force, live=live, gain_db=gain
    )
