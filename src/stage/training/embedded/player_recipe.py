"""Recipe of the player's training, and of the views that it reads. Chances and shares are from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass, field

from stage.config import EventsConfig, StageConfig
from stage.models.playable import INSTRUMENTS
from stage.models.text import HashedConfig
from stage.training.embedded.recipe import (
    PRECISIONS,
    MixOptions,
    Optimizer,
    Shape,
    TextOptions,
    TrackerErrors,
)
from stage.training.recipe import among, not_negative, positive, shares
from stage.training.schedule import LinearSchedule


@dataclass(frozen=True)
class PlayerViews(MixOptions):
    """Views of notes. versions: of each song."""

    speed: float = 0.25
    pitch: float = 0.5
    versions: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(versions=self.versions)


@dataclass(frozen=True)
class PlayerLosses:
    """Weights of the terms beside the target's. chord: of the chord that is read from the encoded context."""

    chord: float = 0.5

    def __post_init__(self) -> None:
        not_negative(chord=self.chord)


@dataclass(frozen=True)
class PlayerBatch:
    """What a batch holds. columns: frames of all its rows. beats: lengths of the target, one is drawn. stems: shares of
    the target stems.

    mix, alone: shares of batches with a mix, and of batches without any condition but the beat. chords, controls, bars:
    shares of examples that are given the chords, each of the controls, and the numbers of the beats in the bar. read:
    share of the chords that are not the true ones but those that are estimated from the mix. no_codes: share of the
    mixes that are given without their codes, by what is measured alone, and transposed; coarse: of the others, share of
    those of which only the first one to four codebooks are given.
    no_grid: share without the beat: on beats that stand in for unknown ones, as with `--grid off`. clean_grid: share of
    grids without the errors of a tracker. hide: chance of a row to have 20..80 % of its target hidden from the decoder.
    """

    columns: int
    beats: tuple[int, ...]
    stems: dict[str, float]
    mix: float = 0.85
    alone: float = 0.08
    chords: float = 0.4
    read: float = 0.5
    no_codes: float = 0.3
    coarse: float = 0.5
    controls: float = 0.3
    bars: float = 0.85
    no_grid: float = 0.05
    clean_grid: float = 0.5
    hide: float = 0.35
    tracker: TrackerErrors = field(default_factory=TrackerErrors)

    def __post_init__(self) -> None:
        positive(columns=self.columns)
        if not self.beats or min(self.beats) < 2:
            raise ValueError(f"batch.beats are lengths of 2 beats or more, not {list(self.beats)}")
        not_negative(**{f"batch.stems.{name}": share for name, share in self.stems.items()})
        if not sum(self.stems.values()):
            raise ValueError("batch.stems needs a share above 0")
        shares(mix=self.mix, alone=self.alone, chords=self.chords, controls=self.controls, bars=self.bars)
        shares(no_codes=self.no_codes, coarse=self.coarse)
        shares(read=self.read, no_grid=self.no_grid, clean_grid=self.clean_grid, hide=self.hide)


@dataclass(frozen=True)
class PlayerRecipe:
    """Training of the player on views of notes.

    workers: processes that make batches, 0: the training itself; a batch does not depend on them. dropout: of
    what each layer adds, in training.
    division: frames of a beat, or 0 for frames of equal length, ``frame_rate`` a second. stage, window_beats, presence,
    reading, lift, sampling: settings of the exported model.
    """

    seed: int
    stems: tuple[str, ...]
    model: Shape
    hashed_text: HashedConfig
    batch: PlayerBatch
    text: TextOptions
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    validate_every: int
    workers: int = 0
    dropout: float = 0.0
    division: int = 12
    frame_rate: float = 25.0
    embedding_scale: float = 0.5
    losses: PlayerLosses = field(default_factory=PlayerLosses)
    views: PlayerViews = field(default_factory=PlayerViews)
    precision: str = "auto"
    stage: StageConfig = field(default_factory=lambda: StageConfig("player", "Apache-2.0"))
    window_beats: int = 32
    presence: float = 1.5
    reading: str = "sound"
    lift: dict[str, float] = field(default_factory=dict)
    sampling: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        among("precision", self.precision, PRECISIONS)
        positive(log_every=self.log_every, validate_every=self.validate_every, frame_rate=self.frame_rate)
        not_negative(division=self.division, workers=self.workers)
        shares(dropout=self.dropout)
        self.events({}, self.division or EventsConfig.division)  # mistakes are said before the training
        for stem in self.stems:
            among("a stem", stem, tuple(INSTRUMENTS))
        if lost := [stem for stem, share in self.batch.stems.items() if share and stem not in self.stems]:
            raise ValueError(f"batch.stems names {lost[0]}, and stems are {', '.join(self.stems)}")
        if self.model.contexts != ("mix",) or not self.model.restart:
            raise ValueError("the player takes one context, the mix, and positions that restart")

    def events(self, instruments: dict[str, tuple[str, ...]], division: int | None = None) -> EventsConfig:
        """What the exported model has beside those of audio codes. division: in place of the recipe's. Raises
        ValueError for what no model can have, such as no division."""
        return EventsConfig(
            self.division if division is None else division,
            self.frame_rate,
            self.window_beats,
            self.presence,
            self.reading,
            self.lift,
            instruments,
            self.sampling,
        )
