"""EnCodec's weights (arXiv 2210.13438) under the names of audiocraft, which the authors' checkpoints keep, as
``transformers`` names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stage.checkpoints.importers.names import load

if TYPE_CHECKING:
    from transformers import EncodecModel

MUSICGEN = dict(
    sampling_rate=32000,
    audio_channels=1,
    num_filters=64,
    upsampling_ratios=[8, 5, 4, 4],
    codebook_size=2048,
    codebook_dim=128,
    hidden_size=128,
    target_bandwidths=[2.2],
    norm_type="weight_norm",
    use_causal_conv=False,
    num_lstm_layers=2,
    normalize=False,
    chunk_length_s=None,
    use_conv_shortcut=False,
)
"""``transformers.EncodecConfig`` of MusicGen's codec: 32 kHz mono, 50 frames/s, 4 codebooks of 2048 (2.2 kbit/s)."""

_RULES = (
    (re.compile(r"^(encoder|decoder)\.model\."), r"\1.layers."),
    (re.compile(r"\.convtr\.convtr\."), ".conv."),
    (re.compile(r"\.conv\.conv\."), ".conv."),
    # the older spelling of weight normalisation
    (re.compile(r"\.weight_g$"), ".parametrizations.weight.original0"),
    (re.compile(r"\.weight_v$"), ".parametrizations.weight.original1"),
    (re.compile(r"^quantizer\.vq\.layers\.(\d+)\._codebook\."), r"quantizer.layers.\1.codebook."),
)


def name_in_transformers(name: str) -> str:
    """``decoder.model.3.convtr.convtr.bias`` -> ``decoder.layers.3.conv.bias``."""
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def encodec(weights: Mapping[str, Tensor], where: str, config: dict[str, Any] | None = None) -> EncodecModel:
    """A ``transformers.EncodecModel`` with these weights (audiocraft's names). config: None is MusicGen's.

    Raises StageError with the names that are missing or do not fit.
    """
    from transformers import EncodecConfig, EncodecModel

    renamed = {name_in_transformers(name): weights[name] for name in weights}
    return load(EncodecModel(EncodecConfig(**(config or MUSICGEN))), renamed, where)
