"""From numbers to rows: which examples a step takes, how they are cut, and how they become tokens on the device.

Example n depends on the recipe and n alone, and step s of a run takes the numbers s * E .. (s + 1) * E - 1, E examples
a step over all devices and passes. So a run goes on exactly after any stop, with any number of workers, and on any
number of devices that divides E. Torch's own randomness (dropout) is seeded anew for each pass for the same reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from stage.config import DecoderConfig
from stage.data.examples import Example
from stage.errors import StageError
from stage.models.codec import Codec
from stage.models.text import TextEncoder
from stage.prefix import Row, row, training_row
from stage.training.finetune.recipe import Loader
from stage.training.signals import undisturbed

UNDROPPED = {"whole_context": 1.0, "context_dropout": 0.0, "text_dropout": 0.0, "word_dropout": 0.0}
"""``CutOptions`` under which an example is whole."""
PLAIN = UNDROPPED | {"speed_probability": 0.0, "pitch_probability": 0.0, "click_pairs": True}
"""Under which it is also neither sped up nor transposed."""
AGAIN, TRIES = 1 << 40, 8
"""An example that cannot be cut (a broken file) is replaced by number + AGAIN, and so on: the same one in every run."""


@dataclass(frozen=True)
class Loaded:
    """Examples of one pass. target: audio [B, N] float32, or codes [B, K, T] int64.

    contexts: B times audio [M], codes [K, F], or None where it was dropped. skipped: messages of what could not be cut.
    """

    numbers: list[int]
    songs: list[str]
    stems: list[str]
    kinds: list[str]
    texts: list[str]
    target: Tensor
    contexts: list[Tensor | None]
    skipped: list[str] = field(default_factory=list)


class Cuts(Dataset):
    """Examples by number, as a DataLoader asks for them. cut: a ``Cutter``, or anything else that is called with a
    number."""

    def __init__(self, cut: Callable[[int], Example]):
        self.cut = cut

    def __getitem__(self, number: int) -> tuple[int, Example, list[str]]:
        skipped: list[str] = []
        for attempt in range(TRIES):
            try:
                return number, self.cut(number + attempt * AGAIN), skipped
            except (StageError, OSError, RuntimeError, ValueError) as error:
                skipped.append(
                    f"example {number + attempt * AGAIN}:"
                    f" {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                )
        raise StageError(f"{TRIES} examples in a row could not be cut; the last: {skipped[-1]}")


def collate(items: Sequence[tuple[int, Example, list[str]]]) -> Loaded:
    """Examples beside each other; audio is mono, so its first axis goes."""
    numbers, examples, skipped = zip(*items)

    def tensor(values: np.ndarray) -> Tensor:
        values = torch.as_tensor(np.ascontiguousarray(values))
        return values[0] if values.is_floating_point() else values.long()

    return Loaded(
        list(numbers),
        [e.song for e in examples],
        [e.stem for e in examples],
        [e.kind for e in examples],
        [e.text for e in examples],
        torch.stack([tensor(e.target) for e in examples]),
        [None if e.context is None else tensor(e.context) for e in examples],
        [note for notes in skipped for note in notes],
    )


class Order(Sampler):
    """The numbers of each pass of this process, from a step on: lists of ``size``."""

    def __init__(self, size: int, accumulate: int, world: int, rank: int, first: int, last: int):
        super().__init__()
        self.size, self.accumulate, self.world, self.rank, self.steps = (
            size,
            accumulate,
            world,
            rank,
            range(first, last),
        )

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.accumulate):
                start = ((step * self.accumulate + part) * self.world + self.rank) * self.size
                yield list(range(start, start + self.size))


def loader(cut: Callable[[int], Example], order: Order, options: Loader) -> DataLoader:
    """Passes in order, cut ahead of time by worker processes."""
    # a loader draws a seed for its workers: not from the generator that dropout uses
    generator = torch.Generator().manual_seed(0)
    many = dict(num_workers=options.workers, prefetch_factor=options.prefetch) if options.workers else {}
    return DataLoader(
        Cuts(cut), batch_sampler=order, collate_fn=collate, generator=generator, worker_init_fn=undisturbed, **many
    )


class Waiting:
    """An iterator that measures the seconds that are spent in it."""

    def __init__(self, source: Iterator[Any]):
        self.source, self.seconds = iter(source), 0.0

    def __iter__(self) -> Waiting:
        return self

    def __next__(self) -> Any:
        clock = time.perf_counter()
        try:
            return next(self.source)
        finally:
            self.seconds += time.perf_counter() - clock


# ---------------------------------------------------------------- on the device


@torch.no_grad()
def encode(loaded: Loaded, codec: Codec, device: torch.device) -> Loaded:
    """Audio to codes, targets and contexts in one batch; what is encoded already stays as it is.

    Contexts are filled up with silence to the targets' length, so that an example's codes do not depend on its
    neighbours; that silence reaches into the last frames of a cropped context.
    """
    if not loaded.target.is_floating_point():
        return loaded
    size = loaded.target.shape[1]
    present = [i for i, context in enumerate(loaded.contexts) if context is not None]
    fitted = [torch.nn.functional.pad(loaded.contexts[i], (0, size - len(loaded.contexts[i]))) for i in present]
    codes = codec.encode(torch.cat([loaded.target, *(one[None] for one in fitted)]).to(device)).cpu().clone()
    contexts: list[Tensor | None] = [None] * len(loaded.contexts)
    for place, i in enumerate(present, start=len(loaded.target)):
        contexts[i] = codes[place, :, : -(-len(loaded.contexts[i]) // codec.hop)]
    return replace(loaded, target=codes[: len(loaded.target)], contexts=contexts)


def lay(config: DecoderConfig, loaded: Loaded, roll: int = 0) -> Row:
    """Encoded examples as the rows of a training step, on the CPU. roll: each row gets the context of the row so many
    further on.

    Clicks go where the model has a place for them (a ``grid`` context), else where mixes go, as in the paper.
    """
    rows, count = [], len(loaded.contexts)
    for i, stem in enumerate(loaded.stems):
        source = (i + roll) % count
        contexts: list[Tensor | None] = [None] * len(config.contexts)
        grid = loaded.kinds[source] == "click" and "grid" in config.contexts
        contexts[config.contexts.index("grid") if grid else -1] = loaded.contexts[source]
        rows.append(row(config, contexts, config.stems.index(stem), loaded.target[i]))
    return training_row(config, rows)


@torch.no_grad()
def read_text(text: TextEncoder, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Embeddings [B, L, text_dim] and mask [B, L] of a frozen text encoder, as tensors that a backward pass can
    keep."""
    embedded, mask = text.encode(prompts)
    return embedded.clone(), mask.clone()


def flat(sequence: Any) -> tuple:
    """A row as the six plain values that wrappers of modules can hand on."""
    return sequence.columns, sequence.attend, sequence.positions, sequence.segments, sequence.first, sequence.frames
