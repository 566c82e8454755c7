"""What a model is: the configurations that are saved beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

from stage.typed import check_range


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of the decoder; the defaults are MusicGen-small as STAGE extends it.

    Token rows of each codebook's embedding table, in order: the codes, the padding row
    ``codebook_size``, one separator for each stem, one closing token for each kind of context
    but the last (the last is closed by the stem's separator).

    Without stems and contexts it is MusicGen itself: whole music from text, and the padding row is its learned start
    token.
    """

    dim: int = 1024
    layers: int = 24
    heads: int = 16
    ffn_dim: int = 4096
    codebooks: int = 4
    codebook_size: int = 2048
    stems: tuple[str, ...] = ("drums",)
    contexts: tuple[str, ...] = ("mix",)  # kinds, in the order in which they stand in the row
    text_dim: int = 768
    positions: str = "sinusoidal"  # or "rotary"
    restart: bool = False  # positions count from the start of each context and of the target
    context_layers: int = 0  # of the context encoder over the last kind of context; 0: none, as in the released models
    context_width: int = 192
    context_codebooks: int = 0  # of the contexts' codec, where it is another than the target's; 0: the same
    delays: tuple[int, ...] = ()  # of the codebooks, in columns; empty: 0, 1, 2, ... (MusicGen's pattern)
    target_size: int = 0  # codes of the target, where they have tables of their own; 0: those of the contexts
    features: int = 0  # numbers that are known of each frame beside its codes (beat, chord, controls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stems", tuple(self.stems))
        object.__setattr__(self, "contexts", tuple(self.contexts))
        object.__setattr__(self, "delays", tuple(self.delays))
        if self.delays and (len(self.delays) != self.codebooks or min(self.delays) != 0):
            raise ValueError(f"delays are {self.codebooks} numbers, the least of them 0")
        if self.delays and max(self.delays) > 64:
            raise ValueError(f"a delay is at most 64 columns, not {max(self.delays)}")
        check_range(self, dim=(1, 16384), layers=(1, 256), heads=(1, 256), ffn_dim=(1, 65536), text_dim=(1, 16384))
        check_range(self, codebooks=(1, 64), codebook_size=(1, 65536))
        check_range(self, context_layers=(0, 64), context_width=(1, 4096))
        check_range(self, context_codebooks=(0, self.codebooks), target_size=(0, 65536), features=(0, 4096))
        for what, names in (("stem", self.stems), ("context", self.contexts)):
            if len(names) > 128 or not all(isinstance(name, str) and 0 < len(name) <= 100 for name in names):
                raise ValueError(f"a {what} has a name of 1 to 100 letters, and a model has 128 of them at most")
            if len(set(names)) < len(names):
                raise ValueError(f"each {what} has a name of its own")
        if bool(self.stems) != bool(self.contexts):
            raise ValueError("a model has stems and contexts, or, as MusicGen itself, neither")
        if self.dim % self.heads:
            raise ValueError(f"width {self.dim} is not a multiple of {self.heads} heads")
        if self.context_layers and not self.restart:
            raise ValueError(
                "a context encoder needs positions that restart (restart: true), which mark the columns of one moment"
            )
        if self.context_codebooks and not self.target_size:
            raise ValueError("contexts of a codec of their own need a target with tables of its own: target_size")
        if self.target_size and not self.stems:
            raise ValueError("tables of the target's own (target_size) are for models of stems")
        if self.features and not (self.restart and self.stems):
            raise ValueError("features of frames need positions that restart, by which they find their columns")
        if self.positions not in ("sinusoidal", "rotary"):
            raise ValueError(f"positions are 'sinusoidal' or 'rotary', not '{self.positions}'")

    @property
    def pad(self) -> int:
        """The padding token, also the mask of what is outside the pattern or dropped."""
        return self.codebook_size

    @property
    def unknown(self) -> int:
        """What stands for a code of the target that is not known: the padding token, which is a code like any other in
        tables of the target's own."""
        return -1 if self.target_size else self.pad

    @property
    def pattern(self) -> tuple[int, ...]:
        """Delay of each codebook, in columns."""
        return self.delays or tuple(range(self.codebooks))

    @property
    def trail(self) -> int:
        """Columns by which the last codebook stands behind the first."""
        return max(self.pattern)

    @property
    def target_start(self) -> int:
        """Token of the target's code 0: behind all others where the target has tables of its own."""
        return self.rows if self.target_size else 0

    @property
    def rows(self) -> int:
        """Rows of each codebook's embedding table."""
        return self.codebook_size + 1 + len(self.stems) + max(0, len(self.contexts) - 1)

    @property
    def segments(self) -> int:
        """Kinds of segments in a row: a target for each stem, then the contexts, the last one first."""
        return len(self.stems) + len(self.contexts)

    def segment(self, context: int) -> int:
        """Segment of the context of this kind."""
        return len(self.stems) + len(self.contexts) - 1 - context

    def separator(self, stem: int) -> int:
        """Token that closes the last context and names the stem."""
        return self.codebook_size + 1 + stem

    def closer(self, context: int, stem: int) -> int:
        """Token that closes the context of this kind."""
        if context == len(self.contexts) - 1:
            return self.separator(stem)
        return self.codebook_size + 1 + len(self.stems) + context


@dataclass(frozen=True)
class StageConfig:
    """A whole model: which stems, how long a window, and the sampling that suits it."""

    name: str = "stage"
    licence: str = ""
    origin: str = ""  # where a converted model is from
    window_seconds: float = 10.0
    grid: bool = False  # give the clicks of the tracked beats as a context of their own
    guidance: float = 3.0
    text_guidance: float | None = None  # None: text and context are dropped together
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, window_seconds=(0.1, 600), guidance=(0, 30), text_guidance=(0, 30))
        check_range(self, top_k=(0, 1_000_000), top_p=(0, 1), temperature=(0, 10))


@dataclass(frozen=True)
class EventsConfig:
    """Of a model whose target is played events (`stage.models.events`), not codes of audio.

    division: frames of a beat. frame_rate: frames a second where there are no beats. window_beats: length of a window.
    presence: weight of the guidance for whether something begins (`stage.generation.event_rules`).
    instruments: of each stem, in the order of their codes. reading: the chords that the model gets where none are
    given: "sound" (estimated from the mix), "model" (read by the model itself) or "none". lift: of each stem, nats by
    which it is likelier that something begins than the model has it, so that parts are as dense as true ones. sampling:
    of each stem, values in place of the model's guidance, text_guidance, top_p and temperature (`StageConfig`).
    """

    division: int = 12
    frame_rate: float = 24.0
    window_beats: int = 32
    presence: float = 1.5
    reading: str = "sound"
    lift: dict[str, float] = field(default_factory=dict)
    instruments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sampling: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {stem: tuple(names) for stem, names in self.instruments.items()}
        object.__setattr__(self, "instruments", named)
        check_range(self, division=(1, 96), frame_rate=(1, 400), window_beats=(4, 512), presence=(0, 30))
        for stem, values in self.sampling.items():
            if unknown := set(values) - {"guidance", "text_guidance", "top_p", "temperature"}:
                raise ValueError(f"sampling of {stem} has {', '.join(sorted(unknown))}, which is not known")
            replace(StageConfig(), **cast(dict[str, Any], values))
        if self.reading not in ("sound", "model", "none"):
            raise ValueError(f"reading is 'sound', 'model' or 'none', not '{self.reading}'")
        if self.window_beats % 2:
            raise ValueError("a window has an even number of beats: the next begins in its middle")
