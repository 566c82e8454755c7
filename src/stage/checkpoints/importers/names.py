"""From the weights of other projects to ours, by a table of names: what each importer's `decoder_names` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stage.config import DecoderConfig
from stage.errors import StageError


def made_of(ours: str, theirs: list[str], weights: Mapping[str, Tensor]) -> Tensor:
    """One of our parameters made of theirs: several are stacked (embedding, head) or concatenated (qkv) along dimension
    0."""
    parts = [weights[name] for name in theirs]
    if ours in ("embed", "head"):
        return torch.stack(parts)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def gather(names: Mapping[str, list[str]], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters made of theirs. Raises KeyError with the first name that is missing."""
    return {ours: made_of(ours, theirs, weights) for ours, theirs in names.items()}


def short(problems: list[str]) -> str:
    """The first five of a list of problems, and how many more there are."""
    return "; ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")


def require(names: Iterable[str], weights: Mapping[str, Any], where: str) -> None:
    """Raise StageError with the names that ``weights`` lacks, if it lacks any."""
    gone = [name for name in names if name not in weights]
    if gone:
        raise StageError(f"{where} is not whole: missing are {short(gone)}")


def check_shapes(own: Mapping[str, Sequence[int]], theirs: Mapping[str, Sequence[int]], where: str) -> None:
    """Raise StageError with the names that ``theirs`` lacks, or that are of another shape than in ``own``."""
    require(own, theirs, where)
    wrong = [f"{n} is {list(theirs[n])}, not {list(own[n])}" for n in own if tuple(theirs[n]) != tuple(own[n])]
    if wrong:
        raise StageError(f"{where} does not fit: {short(wrong)}")


def load(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> nn.Module:
    """Fill a module; weights that it does not have are left out. Raises StageError with what is missing or of another
    shape."""
    own = module.state_dict()
    require(own, weights, where)
    found = {name: weights[name] for name in own}
    check_shapes({n: t.shape for n, t in own.items()}, {n: t.shape for n, t in found.items()}, where)
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in found.items()}, strict=False)
    return module.eval().requires_grad_(False)


def make_base(embed: Tensor, config: DecoderConfig, seed: int = 0) -> Tensor:
    """MusicGen's embedding tables [K, codes + 1, D] as STAGE begins with them (arXiv 2504.05690, section 3).

    The start token's row is zeroed: it is padding from now on. Rows for the separators, and for what closes other
    contexts,
    are drawn (Kaiming-normal). Returns [K, rows, D].
    """
    generator = torch.Generator().manual_seed(seed)
    new = torch.empty(embed.shape[0], config.rows - embed.shape[1], embed.shape[2])
    for table in new:
        nn.init.kaiming_normal_(table, generator=generator)
    grown = torch.cat([embed, new.to(embed.dtype)], dim=1)
    grown[:, config.pad] = 0
    return grown
