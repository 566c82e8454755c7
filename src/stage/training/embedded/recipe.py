"""Recipes of the trainings from scratch: codec, decoder, networks for beats and chords, and coherence scorer.

Times are in seconds, levels in dB, chances and shares from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stage.config import StageConfig
from stage.models.spectral import SpectralConfig
from stage.models.text import HashedConfig
from stage.training.recipe import among, not_negative, positive, shares
from stage.training.schedule import LinearSchedule

PRECISIONS = ("auto", "float32", "bf16")
CHANGEABLE = (
    "schedule.steps",
    "schedule.hours",
    "precision",
    "workers",
    "log_every",
    "save_every",
    "validate_every",
    "listen_every",
    "data.songs",
)
"""What may differ when a run goes on."""


@dataclass(frozen=True)
class Optimizer:
    """AdamW, and Muon for the hidden matrices where it has a rate, ``muon_lr``. clip: largest norm of the gradient."""

    lr: float
    weight_decay: float = 0.0
    muon_lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0

    def __post_init__(self) -> None:
        positive(lr=self.lr, clip=self.clip)
        not_negative(weight_decay=self.weight_decay, muon_lr=self.muon_lr or 0.0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas are shares from 0 to below 1, not {list(self.betas)}")


# ---------------------------------------------------------------- codec


@dataclass(frozen=True)
class CodecData:
    """Crops of ``seconds``, from at most so many songs in memory. stem, click: shares of single stems and of clicks;
    the rest are mixes; then a random equaliser, level, and noise for a share."""

    songs: int
    seconds: float
    stem: float
    click: float
    eq_db: float
    gain_db: tuple[float, float]
    noise: float

    def __post_init__(self) -> None:
        positive(songs=self.songs, seconds=self.seconds)
        shares(stem=self.stem, click=self.click, noise=self.noise)


@dataclass(frozen=True)
class CodecLosses:
    """Weights of the terms, see ``stage.training.embedded.codec.SpectralLoss``."""

    mel: float
    notes: float
    tones: float
    linear: float
    commitment: float


@dataclass(frozen=True)
class CodecRecipe:
    """Training of the spectral codec. batch: crops. quantize_after: steps without quantiser; its codebooks then start
    from the latents of the last ``start_batches`` batches."""

    seed: int
    model: SpectralConfig
    data: CodecData
    batch: int
    quantize_after: int
    start_batches: int
    losses: CodecLosses
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    save_every: int
    precision: str = "auto"

    def __post_init__(self) -> None:
        among("precision", self.precision, PRECISIONS)
        positive(
            batch=self.batch, start_batches=self.start_batches, log_every=self.log_every, save_every=self.save_every
        )


# ---------------------------------------------------------------- decoder


@dataclass(frozen=True)
class Shape:
    """The decoder's shape, see ``stage.config.DecoderConfig``; stems, codebooks and text come from the other keys."""

    dim: int
    layers: int
    heads: int
    ffn_dim: int
    contexts: tuple[str, ...] = ("grid", "mix")
    positions: str = "rotary"
    restart: bool = True
    context_layers: int = 0
    context_width: int = 192

    def __post_init__(self) -> None:
        positive(dim=self.dim, layers=self.layers, heads=self.heads, ffn_dim=self.ffn_dim)


@dataclass(frozen=True)
class Pretraining:
    """Of the context encoder alone, on mixes of ``seconds``, ``rows`` a step."""

    steps: int = 1200
    rows: int = 24
    seconds: float = 10.0
    lr: float = 2e-3

    def __post_init__(self) -> None:
        positive(steps=self.steps, rows=self.rows, seconds=self.seconds, lr=self.lr)


@dataclass(frozen=True)
class DecoderLosses:
    """Weights of the terms beside the target's, see ``stage.training.embedded.decoder``."""

    context: float
    phase: float
    chord: float
    density: float


@dataclass(frozen=True)
class BatchOptions:
    """What a batch holds. columns: frames of all its rows. seconds: lengths of the target, one is drawn; contexts are
    cropped to 50..100 % of it, but for a share ``whole_context``. clean_grid: share of grids without tracking errors.
    layouts, stems: shares of the kinds of contexts and of the target stems. hide: chance of a row to have 20..80 % of
    its target hidden from the decoder."""

    columns: int
    seconds: tuple[float, ...]
    whole_context: float
    clean_grid: float
    layouts: dict[str, float]
    stems: dict[str, float]
    hide: float = 0.0

    def __post_init__(self) -> None:
        positive(columns=self.columns)
        if not self.seconds or min(self.seconds) <= 0:
            raise ValueError(f"batch.seconds are lengths above 0, not {list(self.seconds)}")
        shares(whole_context=self.whole_context, clean_grid=self.clean_grid, hide=self.hide)
        for name, drawn in (("layouts", self.layouts), ("stems", self.stems)):
            not_negative(**{f"batch.{name}.{key}": share for key, share in drawn.items()})
            if not sum(drawn.values()):
                raise ValueError(f"batch.{name} needs a share above 0")


@dataclass(frozen=True)
class TextOptions:
    """Prompts: chances that all of one, or a word of it, is dropped; that it consists of tags; that it describes the
    stem, not the song; that it is just the genre, with or without the stem (the player's training alone)."""

    dropout: float
    word_dropout: float
    tags: float
    stem: float
    short: float = 0.0

    def __post_init__(self) -> None:
        shares(dropout=self.dropout, word_dropout=self.word_dropout, tags=self.tags, stem=self.stem, short=self.short)


@dataclass(frozen=True)
class TrackerErrors:
    """Chances of half and double time and of wrong downbeats in a grid; jitter of its beats in seconds."""

    half: float = 0.04
    double: float = 0.02
    rotate: float = 0.15
    jitter: float = 0.01


@dataclass(frozen=True)
class MixOptions:
    """How songs and the mixes of their stems are varied before they are encoded. speed, pitch, room, noise: chances.
    keep: chance of each other stem to be in the mix. eq_db, gain_db: of the mix."""

    speed: float = 0.1
    pitch: float = 0.1
    keep: float = 0.75
    eq_db: float = 6.0
    gain_db: tuple[float, float] = (-8.0, 4.0)
    room: float = 0.25
    noise: float = 0.2

    def __post_init__(self) -> None:
        shares(speed=self.speed, pitch=self.pitch, keep=self.keep, room=self.room, noise=self.noise)


@dataclass(frozen=True)
class ViewOptions(MixOptions):
    """Views of tokens. target_db: levels of the target. tracker: errors of the grid."""

    target_db: tuple[float, float] = (-3.0, 3.0)
    tracker: TrackerErrors = field(default_factory=TrackerErrors)


@dataclass(frozen=True)
class DecoderRecipe:
    """Training of the decoder on token views, and how the views are made. codec: shape of the codec that encoded them;
    stage: settings of the exported model; context_first: the context encoder's own pretraining."""

    seed: int
    stems: tuple[str, ...]
    codec: SpectralConfig
    stage: StageConfig
    model: Shape
    hashed_text: HashedConfig
    embedding_scale: float
    codebook_weights: tuple[float, ...]
    losses: DecoderLosses
    batch: BatchOptions
    text: TextOptions
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    validate_every: int
    listen_every: int
    views: ViewOptions = field(default_factory=ViewOptions)
    context_first: Pretraining = field(default_factory=Pretraining)
    precision: str = "auto"

    def __post_init__(self) -> None:
        among("precision", self.precision, PRECISIONS)
        positive(log_every=self.log_every, validate_every=self.validate_every, listen_every=self.listen_every)
        if lost := [stem for stem, share in self.batch.stems.items() if share and stem not in self.stems]:
            raise ValueError(f"batch.stems names {lost[0]}, and stems are {', '.join(self.stems)}")
        if len(self.codebook_weights) != self.codec.codebooks or not sum(self.codebook_weights) > 0:
            raise ValueError(f"codebook_weights are {self.codec.codebooks} numbers, one for each codebook of the codec")


# ---------------------------------------------------------------- beat network and scorer


@dataclass(frozen=True)
class TcnShape:
    """Shape of ``stage.beats.beattcn.BeatTcn``."""

    width: int = 64
    layers: int = 10

    def __post_init__(self) -> None:
        positive(width=self.width, layers=self.layers)


@dataclass(frozen=True)
class TrackerData:
    """How mixes are drawn (`stage.training.embedded.beat_examples`). clicks: metronomes for each song. drums, room,
    noise, mask: chances; keep: of each stem to be in a mix. gain_db: of each stem; eq_db: of the mix. stretch: up to so
    many octaves faster or slower. bend: up to this change of the exponent of the magnitudes."""

    clicks: float
    drums: float
    keep: float
    eq_db: float
    room: float
    noise: float
    gain_db: float = 6.0
    stretch: float = 0.0
    bend: float = 0.0
    mask: float = 0.0

    def __post_init__(self) -> None:
        not_negative(eq_db=self.eq_db, gain_db=self.gain_db)
        shares(clicks=self.clicks, drums=self.drums, keep=self.keep, room=self.room, noise=self.noise)
        shares(stretch=self.stretch, bend=self.bend, mask=self.mask)


@dataclass(frozen=True)
class TrackerRecipe:
    """Training of the beat network. batch: rows of ``frames`` frames (1/50 s), or as many in shorter rows."""

    seed: int
    model: TcnShape
    data: TrackerData
    batch: int
    frames: int
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    save_every: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        positive(batch=self.batch, frames=self.frames, log_every=self.log_every, save_every=self.save_every)
        shares(dropout=self.dropout)


@dataclass(frozen=True)
class ScorerBatch:
    """rows: songs in a batch. transpose: chance of a pair to be in another key; mask: chance of a side to lack its mel
    bands or its semitones; noise: level of the noise on all bands."""

    rows: int
    transpose: float
    mask: float
    noise: float

    def __post_init__(self) -> None:
        positive(rows=self.rows)
        shares(transpose=self.transpose, mask=self.mask)


@dataclass(frozen=True)
class ScorerRecipe:
    """Training of the coherence scorer."""

    seed: int
    batch: ScorerBatch
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    save_every: int

    def __post_init__(self) -> None:
        positive(log_every=self.log_every, save_every=self.save_every)


@dataclass(frozen=True)
class ChordData:
    """views: versions of each song. Chances: keep, of each stem to be in a version; drums_alone, of drums without the
    others; voice, of a drawn voice over them; room, noise, drive, of what is done to the sound; exact, of the song's
    beats as they are. cents: deviation of the mistaken tuning. jitter: seconds by which other beats are moved."""

    views: int
    keep: float
    drums_alone: float
    voice: float
    eq_db: float
    room: float
    noise: float
    drive: float
    cents: float
    exact: float
    jitter: float

    def __post_init__(self) -> None:
        positive(views=self.views)
        not_negative(eq_db=self.eq_db, cents=self.cents, jitter=self.jitter)
        shares(keep=self.keep, drums_alone=self.drums_alone, voice=self.voice, room=self.room, noise=self.noise)
        shares(drive=self.drive, exact=self.exact)


@dataclass(frozen=True)
class ChordRecipe:
    """Training of the chord network. batch: rows of ``beats`` beats, from..to. tilt: octaves are up to this factor (log
    2) stronger or weaker."""

    seed: int
    width: int
    data: ChordData
    batch: int
    beats: tuple[int, int]
    optimizer: Optimizer
    schedule: LinearSchedule
    log_every: int
    save_every: int
    dropout: float = 0.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        positive(batch=self.batch, width=self.width, log_every=self.log_every, save_every=self.save_every)
        not_negative(tilt=self.tilt)
        shares(dropout=self.dropout)
        if not 2 <= self.beats[0] <= self.beats[1]:
            raise ValueError(f"beats are from..to, at least 2, not {list(self.beats)}")
