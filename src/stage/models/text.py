"""Prompts to embeddings: hashed words for the sketch model, T5 for the full-size ones."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from stage.typed import check_range


class TextEncoder(Protocol):
    """Prompts to a sequence of vectors for the decoder's cross-attention."""

    dim: int

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """-> (embeddings [B, L, dim] float32, mask [B, L] bool, True where there is a token)."""
        ...


@dataclass(frozen=True)
class HashedConfig:
    """Shape of ``HashedText``."""

    dim: int = 128
    buckets: int = 4096
    words: int = 24  # longer prompts are cut

    def __post_init__(self) -> None:
        check_range(self, dim=(1, 16384), buckets=(1, 10_000_000), words=(1, 10_000))


@lru_cache(4096)
def _buckets(word: str, buckets: int) -> tuple[int, ...]:
    marked = f"<{word}>"
    grams = [marked, marked] + [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(gram.encode()) % buckets for gram in grams)


class HashedText(nn.Module):
    """One vector for each word: the mean of the embeddings of its hashed word and character n-grams.

    Works offline and on any prompt: a word that is not in the training data shares its n-grams with words
    that are (fastText, arXiv 1607.04606). Trained together with the decoder.
    """

    def __init__(self, config: HashedConfig = HashedConfig()):
        super().__init__()
        self.config, self.dim = config, config.dim
        self.table = nn.Embedding(config.buckets, config.dim)

    def pieces(self, word: str) -> tuple[int, ...]:
        """Buckets of a word (twice, so that it weighs more) and of its 3- and 4-grams."""
        return _buckets(word, self.config.buckets)

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See ``TextEncoder``. A prompt without words has an all-False mask."""
        words = [re.findall(r"[\w#]+", prompt.lower())[: self.config.words] for prompt in prompts]
        length = max(1, max(map(len, words)))
        ids, offsets = [], []
        for row in words:
            for i in range(length):
                offsets.append(len(ids))
                ids.extend(self.pieces(row[i]) if i < len(row) else [])
        device = self.table.weight.device
        bags = nn.functional.embedding_bag(
            torch.tensor(ids, dtype=torch.int64, device=device),
            self.table.weight,
            torch.tensor(offsets, device=device),
            mode="mean",
        )
        mask = torch.tensor([[i < len(row) for i in range(length)] for row in words], device=device)
        return bags.view(len(words), length, self.dim), mask


class T5Text:
    """The encoder half of a T5 from ``transformers``, frozen, as MusicGen uses it (t5-base).

    Read from a local folder onto a CPU, it takes memory only while it encodes: half a gigabyte for a moment's work.
    """

    def __init__(self, model, tokenizer, weights: Path | None = None):
        """weights: the safetensors file that the model's are mapped from."""
        self.model, self.tokenizer = model.eval(), tokenizer
        self.weights = weights and (weights, _version(weights))
        self.dim = model.config.d_model

    @classmethod
    def from_pretrained(cls, path: str) -> T5Text:
        """Load from a local folder or the hub."""
        from transformers import AutoTokenizer, T5EncoderModel

        file = Path(path, "model.safetensors")
        with errors_only():
            model, tokenizer = (
                T5EncoderModel.from_pretrained(path, use_safetensors=True),
                AutoTokenizer.from_pretrained(path),
            )
        return cls(model, tokenizer, file if file.is_file() else None)

    def save_pretrained(self, path: str) -> None:
        """Write model and tokenizer to a folder."""
        with errors_only():
            self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See ``TextEncoder``. An empty prompt has an all-False mask."""
        tokens = self.tokenizer(list(prompts), padding=True, return_tensors="pt").to(self.model.device)
        mask = tokens["attention_mask"].bool()
        hidden = self.model(**tokens).last_hidden_state
        empty = torch.tensor([not prompt.strip() for prompt in prompts], device=mask.device)
        self._rest()
        return hidden, mask & ~empty[:, None]

    def _rest(self) -> None:
        """Map the file anew: pages that were read come back to the system, and are read again when they are asked
        for."""
        from safetensors.torch import load_file

        own = next(self.model.parameters())
        if self.weights is None or own.device.type != "cpu" or _version(self.weights[0]) != self.weights[1]:
            return
        fresh = load_file(self.weights[0])
        if all(tensor.dtype == own.dtype for tensor in fresh.values()):  # else they are no longer those of the file
            self.model.load_state_dict(fresh, strict=False, assign=True)
            self.model.tie_weights()


def _version(file: Path) -> tuple[int, int, int] | None:
    """What changes with a file; None where it is gone."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


@contextmanager
def errors_only() -> Iterator[None]:
    """Within, ``transformers`` shows no progress bars, and logs errors only."""
    from transformers.utils import logging

    were_on, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if were_on:
            logging.enable_progress_bar()
