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
    str | None,
    typer.Option(
        "--model",
        help="A model in the package or installed (stage models), or a folder. By default player (notes, on sampled"
        " instruments), with an adapter sketch (codes of sound).",
        rich_help_panel="Model",
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
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="torch, or openvino: faster for large models in int8 and int4 on CPUs (pip install 'stage-music[fast]')."
        " auto: what was measured to be faster.",
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
StartOption = Annotated[
    float, typer.Option("--start", help="Where in the song to begin, in seconds.", rich_help_panel="Song")
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", help="How much of the song; to the end by default.", rich_help_panel="Song"),
]
GridOption = Annotated[
    str | None,
    typer.Option(
        "--grid",
        help=(
            "on: track the beats; half, double: at half or twice the tracked tempo. off: without beats. Or a file of"
            " beats, one 'seconds number' a line, or a MIDI file, for its tempo map."
        ),
        rich_help_panel="Song",
    ),
]
MeterOption = Annotated[
    str | None,
    typer.Option(
        "--meter",
        help="Metre of the song, like 5/4 or 6/8; by default the one that fits best.",
        rich_help_panel="Song",
    ),
]
TempoRangeOption = Annotated[
    str | None,
    typer.Option(
        "--tempo-range",
        help="Where to look for the song's tempo in beats a minute, like 60-120.",
        rich_help_panel="Song",
    ),
]
SaveGridOption = Annotated[
    Path | None,
    typer.Option(
        "--save-grid",
        help="Also write the beats that were used, to mend and give back with --grid.",
        rich_help_panel="Song",
    ),
]
StreamOption = Annotated[
    int,
    typer.Option("--stream", help="Which audio stream of a file with several, from 0.", rich_help_panel="Song"),
]
TuningOption = Annotated[
    str,
    typer.Option(
        "--tuning",
        help="The song's A in Hz, like 442, or cents from 440, like -20. auto: estimated. off: 440.",
        rich_help_panel="Song",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="cpu, cuda or cuda:1; by default the GPU where there is one.", rich_help_panel="Model"
    ),
]
ComplexityOption = Annotated[
    str | None,
    typer.Option(
        "--complexity",
        help="How much is played, 0 (sparse) to 1 (busy), or a line over bars, like '0.3@1 0.8@9'. By default the"
        " model's choice.",
        rich_help_panel="Playing",
    ),
]
DynamicsOption = Annotated[
    str | None,
    typer.Option(
        "--dynamics",
        help="How loudly, 0 (soft) to 1 (loud), or a line over bars, like '0.2@1 0.9@8' for a crescendo.",
        rich_help_panel="Playing",
    ),
]
FillsOption = Annotated[
    int,
    typer.Option(
        "--fills",
        help="A fill in every so many bars, like 4 (drums). 0: the model's choice.",
        rich_help_panel="Playing",
    ),
]
SwingOption = Annotated[
    float,
    typer.Option("--swing", help="Off-beats late: 0 as they are, 1 triplets, 0.5 between.", rich_help_panel="Playing"),
]
PushOption = Annotated[
    float,
    typer.Option(
        "--push",
        help="Milliseconds ahead of the beat; negative: laid back, like -15. Up to 100.",
        rich_help_panel="Playing",
    ),
]
TightOption = Annotated[
    float,
    typer.Option("--tight", help="0 as played to 1 exactly on the grid (quantised).", rich_help_panel="Playing"),
]
HumanizeOption = Annotated[
    float,
    typer.Option(
        "--humanize",
        help="Small differences of time and velocity, 0 to 1; each seed has its own. After --tight, the only ones.",
        rich_help_panel="Playing",
    ),
]
WithoutOption = Annotated[
    str | None,
    typer.Option(
        "--without",
        help="Drum pieces to leave out, like ride,toms: kick, snare, rim, clap, hats, open hat, ride, crash, cymbals,"
        " toms, percussion or one of them.",
        rich_help_panel="Playing",
    ),
]
HalfTimeOption = Annotated[
    bool,
    typer.Option("--half-time", help="The pattern at half its speed: the backbeat on 3.", rich_help_panel="Playing"),
]
DoubleTimeOption = Annotated[
    bool, typer.Option("--double-time", help="The pattern at twice its speed.", rich_help_panel="Playing")
]
RegisterOption = Annotated[
    str | None,
    typer.Option(
        "--register",
        help="low, high, or lowest and highest note, like E1-G2 (C4 is middle C); for pitched stems.",
        rich_help_panel="Playing",
    ),
]
FromBarOption = Annotated[
    int | None,
    typer.Option(
        "--from-bar",
        help="First bar in which it plays; bar 1 begins with the first downbeat.",
        rich_help_panel="Playing",
    ),
]
ToBarOption = Annotated[
    int | None, typer.Option("--to-bar", help="Last bar in which it plays.", rich_help_panel="Playing")
]
PiecesOption = Annotated[
    bool,
    typer.Option(
        "--pieces",
        help="Also a WAV of each drum piece: kick, snare, hats, toms, ride, crash, percussion.",
        rich_help_panel="Output",
    ),
]
KitOption = Annotated[
    str | None,
    typer.Option(
        "--kit",
        help="Sound of the drums: a name like jazz, or an SFZ or SF2 file. By default what suits.",
        rich_help_panel="Playing",
    ),
]
InstrumentOption = Annotated[
    str | None,
    typer.Option(
        "--instrument",
        help="Sound of a pitched stem: a name like upright, or an SFZ or SF2 file. By default what suits.",
        rich_help_panel="Playing",
    ),
]
ChordsOption = Annotated[
    str | None,
    typer.Option(
        "--chords",
        help="Chords to play to: 'Am F C G' (one a bar), or a .lab, .txt, ChordPro or MIDI file. By default those that"
        " the model reads in the recording.",
        rich_help_panel="Song",
    ),
]
SaveChordsOption = Annotated[
    Path | None,
    typer.Option(
        "--save-chords",
        help="Also write the chords that were used (.lab), to mend and give back with --chords.",
        rich_help_panel="Song",
    ),
]
KindsOption = Annotated[
    str,
    typer.Option(
        "--as",
        help="What to write, of stems, mix, midi, dawproject, rpp (REAPER), pieces (each drum piece) and click.",
        rich_help_panel="Output",
    ),
]
FormatOption = Annotated[
    str,
    typer.Option("--format", help="Of the sound: wav (24 bits), float (WAV) or flac.", rich_help_panel="Output"),
]
BpmOption = Annotated[float | None, typer.Option("--bpm", help="Without a song: the tempo.", rich_help_panel="Tempo")]
BarsOption = Annotated[int, typer.Option("--bars", help="Without a song: its length in bars.", rich_help_panel="Tempo")]
FormOption = Annotated[
    str | None,
    typer.Option(
        "--form",
        help='Sections, their bars and energy, like "intro 4 0.2, verse 8 0.6"; song: found in it.',
        rich_help_panel="Song",
    ),
]
CountInOption = Annotated[
    int,
    typer.Option(
        "--count-in", help="Bars of clicks before the music, in all files; 0 for none.", rich_help_panel="Output"
    ),
]
