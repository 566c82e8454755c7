"""From the weights of others to ours, by a table of names: what each project's `decoder_names` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def require(names: Iterable[str], weights: Mapping[str, Tensor], where: str) -> None:
    """Raise StageError with the names that ``weights`` lacks, if it lacks any."""
    gone = [name for name in names if name not in weights]
    if gone:
        raise StageError(f"{where} is not whole: missing are {short(gone)}")


def load(module: nn.Module, weights: Mapping[str, Tensor], where: str, may_lack: Iterable[str] = ()) -> nn.Module:
    """Fill a module; what it does not know is left out. Raises StageError with what is missing or of another shape."""
    own = module.state_dict()
    require((name for name in own if name not in set(may_lack)), weights, where)
    found = {name: weights[name] for name in own if name in weights}
    wrong = [
        f"{n} is {list(found[n].shape)}, not {list(own[n].shape)}" for n in found if found[n].shape != own[n].shape
    ]
    if wrong:
        raise StageError(f"{where} does not fit: {short(wrong)}")
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
