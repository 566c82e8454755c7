"""Recipes of fine-tuning: every constant of a run, in frozen dataclasses with the paper's values as defaults."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stage.data.examples import CutOptions
from stage.errors import StageError
from stage.models.lora import ATTENTION
from stage.training import recipe as base
from stage.training.recipe import among, not_negative, positive
from stage.training.schedule import Schedule
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
"""What may differ when a run goes on: where and how long it runs, and what it reports. Any other change would make it
another run."""


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
        among("learn.parameters", self.parameters, WAYS)
        positive(rank=self.rank, alpha=self.alpha)


@dataclass(frozen=True)
class Batch:
    """size: examples a device and pass. accumulate: passes a step. The paper's step is 2 x 4 examples on one device."""

    size: int = 2
    accumulate: int = 4

    def __post_init__(self) -> None:
        positive(size=self.size, accumulate=self.accumulate)


@dataclass(frozen=True)
class Optimizer:
    """AdamW. clip_value: each gradient is cut to +- this (as in the paper); clip_norm: their common norm is limited;
    null: neither."""

    lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.001
    clip_value: float | None = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        positive(lr=self.lr, eps=self.eps, clip_value=self.clip_value, clip_norm=self.clip_norm)
        not_negative(weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas are shares from 0 to below 1, not {list(self.betas)}")


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
        positive(devices=self.devices, nodes=self.nodes)
        among("engine.accelerator", self.accelerator, ("auto", "cpu", "cuda"))
        among("engine.strategy", self.strategy, ("auto", "ddp", "fsdp"))
        among("engine.precision", self.precision, ("auto", "float32", "bf16", "16"))


@dataclass(frozen=True)
class Loader:
    """workers: processes for each device that cut examples; 0: the training process itself. prefetch: batches that each
    has ready.

    cache: none, or tokens: ``cached_examples`` examples are cut and encoded once, before the training, and used
    repeatedly (stage.training.finetune.tokencache), in ``cache_folder`` (null: in the run's folder), where other runs
    of the same examples find them.
    """

    workers: int = 4
    prefetch: int = 4
    cache: str = "none"
    cached_examples: int = 20_000
    cache_folder: str | None = None

    def __post_init__(self) -> None:
        not_negative(workers=self.workers)
        positive(prefetch=self.prefetch, cached_examples=self.cached_examples)
        among("loader.cache", self.cache, ("none", "tokens"))


@dataclass(frozen=True)
class Validation:
    """songs: how many are held out where the data have no splits (the last ids in alphabetical order). examples: for
    each kind of context."""

    songs: int = 24
    examples: int = 48

    def __post_init__(self) -> None:
        not_negative(songs=self.songs, examples=self.examples)


@dataclass(frozen=True)
class Every:
    """How often, in steps; 0: never. A run's end is validated and saved anyway, with listening examples unless
    ``listen`` is 0."""

    log: int = 10
    validate: int = 1000
    save: int = 1000
    listen: int = 5000

    def __post_init__(self) -> None:
        positive(log=self.log)
        not_negative(validate=self.validate, save=self.save, listen=self.listen)


@dataclass(frozen=True)
class Keep:
    """How many checkpoints stay: the last ones, and those with the lowest validation loss."""

    last: int = 2
    best: int = 1

    def __post_init__(self) -> None:
        positive(last=self.last)
        not_negative(best=self.best)


@dataclass(frozen=True)
class Track:
    """Where figures go besides metrics.jsonl. wandb: name of a project; needs the package and an account."""

    tensorboard: bool = True
    wandb: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A run. examples: how they are cut (``stage.data.examples.CutOptions``), with the target stems.

    ema: share of the old value that a moving average of the weights keeps at each step; 0: no average. export: which
    weights become the model, "last" or "best". codebook_weights: weight of each codebook in the loss; null: all alike,
    as in the paper. licence: of the model that is made; null: the base's, from whose weights it is derived.
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
        among("export", self.export, ("last", "best"))
        if self.learn.parameters == "lora" and len(self.stems) != 1:
            raise ValueError(f"an adapter plays one stem: give examples.stems one, not {len(self.stems)}")

    @property
    def stems(self) -> tuple[str, ...]:
        """Target stems, in the order of the model's separators."""
        return tuple(self.examples.stems)


# ---------------------------------------------------------------- reading


def read(path: str | Path, changes: Sequence[str] | None = ()) -> Recipe:
    """Read a recipe with its includes, apply ``key.sub=value`` changes, check every key and value.

    Raises StageError with the file and the key that is wrong.
    """
    return base.read(Recipe, path, changes)


def check_same(old: dict[str, Any], recipe: Recipe, out: Path) -> None:
    """Raise StageError where a run in ``out``, begun by a recipe of the plain values ``old``, cannot go on by this one.

    A key that the older recipe does not have counts as its default.
    """
    with contextlib.suppress(StageError):
        old = base.plain(build(Recipe, old, "the run's recipe"))
    if others := base.differences(old, base.plain(recipe), CHANGEABLE):
        raise StageError(
            f"{out} holds a run of another recipe ({'; '.join(others[:3])}): choose another --out, or the recipe in"
            f" {out / 'recipe.yaml'}"
        )
