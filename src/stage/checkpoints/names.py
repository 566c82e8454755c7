"""From the weights of others to ours, by a table of names: what each project's `decoder_names` returns."""

from __future__ import annotations

import torch
from torch import Tensor


def gather(names: dict[str, list[str]], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters made of theirs. Raises KeyError with the first name that is missing."""
    result = {}
    for ours, theirs in names.items():
        parts = [weights[name] for name in theirs]
        if ours in ("embed", "head"):
            result[ours] = torch.stack(parts)
        else:
            result[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return result
