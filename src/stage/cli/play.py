"""`stage accompany` and `stage click`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.groups import Output, Part, Player, Playing, Sampled
from stage.cli.options import (
    ChordsOption,
    CountInOption,
    PromptOption,
    SaveGridOption,
    SeedOption,
    StemOption,
    VariationsOption,
)


def accompany(
    song: Annotated[Path, typer.Argument(help="Any audio file, or a video with sound.")],
    stem: StemOption,
    part: Part,
    output: Output,
    playing: Playing,
    sampled: Sampled,
    player: Player,
    prompt: PromptOption = "",
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    save_grid: SaveGridOption = None,
    rest: Annotated[
        bool,
        typer.Option(
            "--rest/--no-rest", help="Whether to rest where the song is silent for a bar.", rich_help_panel="Music"
        ),
    ] = True,
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
    from stage.audio import playback
    from stage.cli import results
    from stage.generation.request import Request, tuning_cents

    sampling = sampled.given
    performance = playing.of(stem)
    tuning_cents(part.tuning)
    live = playback.choose(output.out, output.play, output.raw, output.gain, variations)
    files = results.plan(output, song.stem, stem, seed, variations, save_grid)
    beats = results.read_grid(part.grid, part.start, part.meter, part.tempo_range, part.end)
    audio, rate = results.read_part(song, part.start, part.seconds, part.stream)
    request = Request.recording(
        audio,
        rate,
        stem,
        prompt,
        variations=variations,
        seed=seed,
        grid=beats,
        tuning=part.tuning,
        sampling=sampling,
        rest=rest,
        chords=part.chords,
        performance=performance,
    )
    results.make(player, request, files, output, live, part.start)


def click(
    bpm: Annotated[
        float,
        typer.Option(help="Tempo in beats a minute, 20 to 400; in 6/8 dotted quarters.", rich_help_panel="Metronome"),
    ],
    stem: StemOption,
    output: Output,
    playing: Playing,
    sampled: Sampled,
    player: Player,
    meter: Annotated[str, typer.Option(help="Metre, like 4/4, 3/4 or 6/8.", rich_help_panel="Metronome")] = "4/4",
    bars: Annotated[int, typer.Option(help="Length in bars.", rich_help_panel="Metronome")] = 8,
    prompt: PromptOption = "",
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    rate: Annotated[
        int | None, typer.Option(help="Sampling rate of the results in Hz; the model's own by default.")
    ] = None,
    chords: ChordsOption = None,
    count_in: CountInOption = 0,
) -> None:
    """Play a stem to a metronome.

    \b
    stage click --bpm 128 --stem drums
    stage click --bpm 92.5 --meter 3/4 --bars 16 --stem bass --rate 48000
    stage click --bpm 60 --meter 6/8 --stem drums --prompt "sparse, slow ballad"

    The results are named like those of `accompany`; the mix has the clicks under the stem.
    """
    from stage.audio import playback
    from stage.cli import results
    from stage.generation.request import Request

    request = Request.metronome(
        bpm,
        stem,
        meter,
        bars,
        prompt,
        variations,
        seed,
        rate,
        sampling=sampled.given,
        chords=chords,
        performance=playing.of(stem),
    )
    live = playback.choose(output.out, output.play, output.raw, output.gain, variations)
    if count_in:
        results.check_count_in(request, count_in, live)
    files = results.plan(output, f"click-{bpm:g}-{meter.replace('/', '-')}", stem, seed, variations)
    results.make(player, request, files, output, live, count_in=count_in)
