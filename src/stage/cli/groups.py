"""Options that come together: a parameter of one of these types stands for an option of each field.

`stage.cli.lazy.load` takes them apart for the command line; a command gets them as one value. Nothing heavy is imported
here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stage.cli.options import (
    AdapterOption,
    BarsOption,
    BpmOption,
    ChordsOption,
    ComplexityOption,
    CountInOption,
    DeviceOption,
    DoubleTimeOption,
    DynamicsOption,
    EngineOption,
    FillsOption,
    FolderOption,
    ForceOption,
    FormatOption,
    FormOption,
    FromBarOption,
    GainOption,
    GridOption,
    GuidanceOption,
    HalfTimeOption,
    HumanizeOption,
    InstrumentOption,
    KindsOption,
    KitOption,
    MeterOption,
    ModelOption,
    PiecesOption,
    PlayOption,
    PrecisionOption,
    PushOption,
    RawOption,
    RegisterOption,
    SaveChordsOption,
    SecondsOption,
    StartOption,
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
    WithoutOption,
)

if TYPE_CHECKING:
    from stage.generation.performance import Performance


@dataclass(frozen=True)
class Stretch:
    """A stretch of a song, its beats and its tuning."""

    start: StartOption = 0.0
    seconds: SecondsOption = None
    grid: GridOption = None
    meter: MeterOption = None
    tempo_range: TempoRangeOption = None
    tuning: TuningOption = "auto"
    stream: StreamOption = 0

    @property
    def end(self) -> float:
        """Second of the song at which it ends at the latest."""
        from stage.generation.request import SECONDS_RANGE

        return self.start + (SECONDS_RANGE[1] if self.seconds is None else self.seconds)


@dataclass(frozen=True)
class Part(Stretch):
    """The same with its chords."""

    chords: ChordsOption = None


@dataclass(frozen=True)
class Beginning(Part):
    """What a session begins with: a stretch of a song, or a tempo."""

    bpm: BpmOption = None
    bars: BarsOption = 8
    rate: Annotated[
        int | None, typer.Option(help="Without a song: sampling rate in Hz; 44100.", rich_help_panel="Tempo")
    ] = None
    form: FormOption = None
    extend: Annotated[
        float,
        typer.Option(help="Seconds that stems go on behind the song's end, at its tempo.", rich_help_panel="Song"),
    ] = 0.0


@dataclass(frozen=True)
class Output:
    """Where results of a stem go."""

    out: FolderOption = None
    play: PlayOption = False
    raw: RawOption = False
    pieces: PiecesOption = False
    gain: GainOption = None
    save_chords: SaveChordsOption = None
    force: ForceOption = False


@dataclass(frozen=True)
class Handoff:
    """What is exported, and how."""

    kinds: KindsOption = "stems,mix,midi,dawproject,rpp"
    format: FormatOption = "wav"
    count_in: CountInOption = 0

    @property
    def words(self) -> list[str]:
        """The kinds, from words between commas."""
        return [word.strip() for word in self.kinds.split(",") if word.strip()]


@dataclass(frozen=True)
class Playing:
    """How a part is played: the fields of `stage.generation.performance.Performance`."""

    complexity: ComplexityOption = None
    dynamics: DynamicsOption = None
    fills: FillsOption = 0
    swing: SwingOption = 0.0
    push: PushOption = 0.0
    tight: TightOption = 0.0
    humanize: HumanizeOption = 0.0
    without: WithoutOption = None
    half_time: HalfTimeOption = False
    double_time: DoubleTimeOption = False
    register: RegisterOption = None
    kit: KitOption = None
    instrument: InstrumentOption = None
    from_bar: FromBarOption = None
    to_bar: ToBarOption = None

    def of(self, stem: str) -> Performance:
        """As it is asked of the model. Raises StageError for what is out of range or of no use to the stem."""
        from stage.generation.performance import Performance

        made = Performance(**{name: value for name, value in asdict(self).items() if value is not None})
        made.check(stem)
        return made


@dataclass(frozen=True)
class Sampled:
    """How the model is sampled."""

    guidance: GuidanceOption = None
    text_guidance: TextOption = None
    top_k: TopKOption = None
    top_p: TopPOption = None
    temperature: TemperatureOption = None

    @property
    def given(self) -> dict[str, Any]:
        """The values that are given, checked."""
        from stage.generation.request import check_sampling

        check_sampling(**asdict(self))
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Model:
    """What plays in a session: a model's name or folder (None: what played last), and what computes it."""

    given: ModelOption = None
    engine: EngineOption = "auto"


USUAL = Model()
"""What played last, computed as usual."""


@dataclass(frozen=True)
class Player:
    """Which model plays: its name or folder (None: player, or sketch for adapters), the precision of its weights, what
    computes it, where it runs (None: on the GPU where there is one), and its adapters."""

    given: ModelOption = None
    precision: PrecisionOption = "auto"
    engine: EngineOption = "auto"
    device: DeviceOption = None
    adapters: AdapterOption = None

    @property
    def model(self) -> str:
        """Name or folder of the model."""
        return self.given or ("sketch" if self.adapters else "player")
