"""Recipes of fine-tuning: every constant of a run in one YAML file, read into frozen dataclasses that know their keys.

A recipe may begin with ``include: other.yaml`` (or a list); what it says itself goes on top, key by key. An unknown key
is
refused, and the nearest known one is suggested: a misspelt constant that is silently ignored costs days.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stage.data.examples import CutOptions
from stage.errors import MissingExtra, StageError
from stage.models.lora import ATTENTION
from stage.typed import build

WAYS = ("all", "lora", "embeddings+attention")
CHANGEABLE = (
    "about",
    "engine",
    "loader.workers",
    "loader.prefetch",
    "loader.cache_folder",
    "every",
    "keep",
    "track",
    "schedule.steps",
    "schedule.hours",
)
"""What may differ when a run goes on: where and how long it runs, and what it tells. Everything else would make it
another run."""


def _among(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{what} is one of {', '.join(known)}, not {value!r}")


def _positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value <= 0:
            raise ValueError(f"{name} is a number above 0, not {value!r}")


@dataclass(frozen=True)
class Learn:
    """What learns. parameters: all weights of the decoder; an adapter (LoRA); or token embeddings and self-attention.

    rank, alpha (the rank by default), layers, like: of the adapter, see ``stage.models.lora.new_adapter``.
    """

    parameters: str = "all"
    rank: int = 16
    alpha: float | None = None
    layers: tuple[str, ...] = ATTENTION
    like: str | None = None

    def __post_init__(self) -> None:
        _among("learn.parameters", self.parameters, WAYS)


@dataclass(frozen=True)
class Batch:
    """size: examples a device and pass. accumulate: passes a step. The paper's step is 2 x 4 examples on one device."""

    size: int = 2
    accumulate: int = 4

    def __post_init__(self) -> None:
        _positive(size=self.size, accumulate=self.accumulate)


@dataclass(frozen=True)
class Optimizer:
    """AdamW. clip_value: each gradient is cut to +- this (the paper's way); clip_norm: all of them together; null:
    not."""

    lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.001
    clip_value: float | None = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _positive(lr=self.lr, clip_value=self.clip_value, clip_norm=self.clip_norm)


@dataclass(frozen=True)
class Schedule:
    """Ends after ``steps``, or ``hours`` of training if they are over first. kind: constant (the paper) or cosine.

    warmup: steps in which the rate rises from 0. floor: share of the rate at which the cosine ends.
    """

    steps: int = 100_000
    hours: float | None = None
    kind: str = "constant"
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _positive(steps=self.steps, hours=self.hours)
        _among("schedule.kind", self.kind, ("constant", "cosine"))


@dataclass(frozen=True)
class Engine:
    """Where it runs. accelerator: auto, cpu, cuda. strategy: auto (DDP for several devices), ddp, fsdp.

    precision: auto (bf16 on GPUs that have it, else float32), float32, bf16 or 16 (mixed: weights stay float32).
    activation_checkpointing: layers are computed twice, and need less memory. compile: layers go through torch.compile.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "auto"
    activation_checkpointing: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        _positive(devices=self.devices, nodes=self.nodes)
        _among("engine.accelerator", self.accelerator, ("auto", "cpu", "cuda"))
        _among("engine.strategy", self.strategy, ("auto", "ddp", "fsdp"))
        _among("engine.precision", self.precision, ("auto", "float32", "bf16", "16"))


@dataclass(frozen=True)
class Loader:
    """workers: processes that cut examples, for each device; 0: the training process itself. prefetch: batches each has
    ready.

    cache: none, or tokens: ``cached_examples`` examples are cut and encoded once, before the training, and used over
    and over
    (stage.training.finetune.tokencache), in ``cache_folder`` (null: in the run's own), where other runs of the same
    examples find them.
    """

    workers: int = 4
    prefetch: int = 4
    cache: str = "none"
    cached_examples: int = 20_000
    cache_folder: str | None = None

    def __post_init__(self) -> None:
        _positive(prefetch=self.prefetch, cached_examples=self.cached_examples)
        _among("loader.cache", self.cache, ("none", "tokens"))


@dataclass(frozen=True)
class Validation:
    """songs: held out where the data have no splits, the last ids in alphabetical order. examples: for each kind of
    context."""

    songs: int = 24
    examples: int = 48


@dataclass(frozen=True)
class Every:
    """How often, in steps; 0: never. A run's end is validated and saved anyway, and listened to unless ``listen`` is
    0."""

    log: int = 10
    validate: int = 1000
    save: int = 1000
    listen: int = 5000

    def __post_init__(self) -> None:
        _positive(log=self.log)


@dataclass(frozen=True)
class Keep:
    """How many checkpoints stay: the last ones, and those with the lowest validation loss."""

    last: int = 2
    best: int = 1

    def __post_init__(self) -> None:
        _positive(last=self.last)


@dataclass(frozen=True)
class Track:
    """Where figures go besides metrics.jsonl. wandb: the name of a project; it needs the package and an account."""

    tensorboard: bool = True
    wandb: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A run. examples: how they are cut (``stage.data.examples.CutOptions``), the target stems among it.

    ema: share of the old that a moving average of the weights keeps at each step; 0: none. export: which weights become
    the model.
    codebook_weights: of the codebooks in the loss, one each; null: all alike, as in the paper. licence: of the model
    that is made;
    null: the base's, since its weights live on.
    """

    examples: CutOptions
    name: str = ""
    about: str = ""
    licence: str | None = None
    seed: int = 1
    learn: Learn = field(default_factory=Learn)
    batch: Batch = field(default_factory=Batch)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    ema: float = 0.0
    codebook_weights: tuple[float, ...] | None = None
    export: str = "last"
    engine: Engine = field(default_factory=Engine)
    loader: Loader = field(default_factory=Loader)
    validation: Validation = field(default_factory=Validation)
    every: Every = field(default_factory=Every)
    keep: Keep = field(default_factory=Keep)
    track: Track = field(default_factory=Track)

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is a share from 0 to below 1, not {self.ema}")
        _among("export", self.export, ("last", "best"))
        if self.learn.parameters == "lora" and len(self.stems) != 1:
            raise ValueError(f"an adapter plays one stem: give examples.stems one, not {len(self.stems)}")

    @property
    def stems(self) -> tuple[str, ...]:
        """Target stems, in the order of the model's separators."""
        return tuple(self.examples.stems)


# ---------------------------------------------------------------- reading


def read(path: Path, changes: typing.Sequence[str] = ()) -> Recipe:
    """Read a recipe with its includes, apply ``key.sub=value`` changes, check every key and value.

    Raises StageError with the file and the key that is wrong.
    """
    import yaml

    values = _load(Path(path), ())
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals:
            raise StageError(f"--set takes key=value, not '{change}'")
        place = values
        *parents, last = name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise StageError(f"--set {change}: '{parent}' has no keys of its own")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise StageError(f"--set {change}: the value is not YAML") from None
    return build(Recipe, values, str(path))


def _load(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("training", "train") from None
    if path.resolve() in seen:
        raise StageError(f"{path} includes itself")
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise StageError(f"no recipe at {path}; the shipped ones are in recipes/") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise StageError(f"{path} is not a YAML recipe: {str(error).splitlines()[0]}") from None
    if not isinstance(own, dict):
        raise StageError(f"{path} is not a recipe: keys with values are expected")
    included = own.pop("include", [])
    values: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included:
        values = merge(values, _load(path.parent / name, (*seen, path.resolve())))
    return merge(values, own)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``under``, section by section."""
    both = dict(under)
    for key, value in over.items():
        both[key] = merge(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


# ---------------------------------------------------------------- writing


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values, for YAML and JSON."""

    def simple(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: simple(one) for key, one in value.items()}
        return [simple(one) for one in value] if isinstance(value, (list, tuple)) else value

    return simple(dataclasses.asdict(recipe))


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Keys in which two recipes differ and which a run cannot change on its way: "optimizer.lr: 1e-05, now 2e-05"."""
    found = []
    for key in sorted({*old, *new}):
        name = f"{path}.{key}" if path else key
        if name in CHANGEABLE or old.get(key) == new.get(key):
            continue
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            found += differences(old[key], new[key], name)
        else:
            found.append(f"{name}: {old.get(key)}, now {new.get(key)}")
    return found
