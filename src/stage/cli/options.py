"""Options that several commands share, each with one spelling and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StemOption = Annotated[
    str,
    typer.Option(
        "--stem",
        help="What to play: a stem of the model or of an adapter, like drums or bass.",
        rich_help_panel="Music",
    ),
]
PromptOption = Annotated[
    str, typer.Option("--prompt", help='Style in words, like "busy, driving funk".', rich_help_panel="Music")
]
VariationsOption = Annotated[
    int, typer.Option("--variations", help="How many to make; each has its own seed.", rich_help_panel="Music")
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", help="Seed of the first variation. The same seed gives the same stem.", rich_help_panel="Music"
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the results; NAME-stage by default. -: the stem, as WAV on standard output while it is made.",
        rich_help_panel="Output",
    ),
]
PlayOption = Annotated[
    bool,
    typer.Option(
        "--play",
        help="Play song and stem while it is made: on the sound device (extra play), or by ffplay, sox, aplay or"
        " $STAGE_PLAYER.",
        rich_help_panel="Output",
    ),
]
RawOption = Annotated[
    bool,
    typer.Option(
        "--raw", help="With -o -: float32, little endian, without a header, in place of WAV.", rich_help_panel="Output"
    ),
]
GainOption = Annotated[
    float | None,
    typer.Option(
        "--gain", help="dB for --play and -o -; by default what suits a usual stem.", rich_help_panel="Output"
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace results that exist.", rich_help_panel="Output")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="A model in the package or installed (stage models), or a folder.", rich_help_panel="Model"
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="float32, float16, bf16, int8 or int4: fewer bits are faster. auto: what suits model and machine.",
        rich_help_panel="Model",
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        help="An adapter that plays its stem on the model: a name from `stage adapters`, or a folder.",
        rich_help_panel="Model",
    ),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option("--guidance", help="How closely to follow the music (1: not pushed).", rich_help_panel="Sampling"),
]
TextOption = Annotated[
    float | None,
    typer.Option(
        "--text-guidance", help="How closely to follow the prompt, apart from the music.", rich_help_panel="Sampling"
    ),
]
TopKOption = Annotated[
    int | None,
    typer.Option(
        "--top-k", help="Choose among this many of the likeliest codes; 0 for all.", rich_help_panel="Sampling"
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p", help="Choose among the codes that reach this probability; 0 for all.", rich_help_panel="Sampling"
    ),
]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", help="Below 1 safer, above 1 wilder.", rich_help_panel="Sampling")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="cpu, cuda or cuda:1; by default the GPU where there is one.", rich_help_panel="Model"
    ),
]
