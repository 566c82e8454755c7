"""Options that several commands share, each with one spelling and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StemOption = Annotated[str, typer.Option("--stem", help="Instrument to play: drums or bass with the embedded model.")]
PromptOption = Annotated[str, typer.Option("--prompt", help='Style in words, like "busy, driving funk".')]
VariationsOption = Annotated[int, typer.Option("--variations", help="How many to make; each has its own seed.")]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the first variation. The same seed gives the same stem.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the results; NAME-stage by default. -: the stem, as WAV on standard output while it is made.",
    ),
]
PlayOption = Annotated[
    bool, typer.Option("--play", help="Hear song and stem while it is made, by ffplay, sox, aplay or $STAGE_PLAYER.")
]
RawOption = Annotated[
    bool, typer.Option("--raw", help="With -o -: float32, little endian, without a header, in place of WAV.")
]
GainOption = Annotated[
    float | None, typer.Option("--gain", help="dB for --play and -o -; by default what suits a usual stem.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace results that exist.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="A model in the package or installed (stage models), or a folder.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="float32, float16, bf16, int8 or int4: fewer bits are faster. auto: what suits model and machine.",
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", help="An adapter that plays its stem on the model: a name from `stage adapters`, or a folder."
    ),
]
GuidanceOption = Annotated[
    float | None, typer.Option("--guidance", help="How closely to follow the music (1: not pushed).")
]
TextOption = Annotated[
    float | None, typer.Option("--text-guidance", help="How closely to follow the prompt, apart from the music.")
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", help="Choose among this many of the likeliest codes; 0 for all.")
]
TopPOption = Annotated[
    float | None, typer.Option("--top-p", help="Choose among the codes that reach this probability; 0 for all.")
]
TemperatureOption = Annotated[float | None, typer.Option("--temperature", help="Below 1 safer, above 1 wilder.")]
