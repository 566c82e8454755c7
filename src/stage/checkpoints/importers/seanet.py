"""EnCodec's weights (arXiv 2210.13438) under the names of audiocraft, which the authors' checkpoints keep, as
``transformers`` names them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stage.checkpoints.importers.names import load
from stage.checkpoints.pretrained import plainly
from stage.errors import StageError

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


def encodec(weights: Mapping[str, Tensor], where: str, codebooks: int = 0, **recipe: Any) -> EncodecModel:
    """A ``transformers.EncodecModel`` with these weights (audiocraft's names), in the shape that they have.

    codebooks: how many there have to be, at least. recipe: values of ``EncodecConfig`` that weights do not show,
    MusicGen's by default. Raises StageError with the names that are missing or do not fit.
    """
    from transformers import EncodecConfig, EncodecModel

    renamed = {name_in_transformers(name): weights[name] for name in weights}
    values = MUSICGEN | recipe
    with contextlib.suppress(ValueError, KeyError, IndexError, ZeroDivisionError):  # then what is missing is listed
        values |= shape_of({n: tuple(t.shape) for n, t in renamed.items()}, values["sampling_rate"], codebooks)
    if values["audio_channels"] != 1:
        raise StageError(f"{where} is a codec of {values['audio_channels']} channels: only mono ones are supported")
    with plainly(f"{where} is not an EnCodec of a known shape"):
        model = EncodecModel(EncodecConfig(**values))
    return load(model, renamed, where)


def shape_of(shapes: Mapping[str, tuple[int, ...]], rate: int, codebooks: int = 0) -> dict[str, Any]:
    """Values of ``EncodecConfig`` as the weights show them. shapes: by the names of ``transformers``; rate: in Hz.

    Raises ValueError, KeyError or IndexError where weights are missing.
    """
    weight = r"conv\.(?:parametrizations\.weight\.original1|weight)"
    convs = _numbered(shapes, rf"encoder\.layers\.(\d+)\.{weight}")
    blocks = _numbered(shapes, rf"encoder\.layers\.(\d+)\.block\.1\.{weight}")
    tables = _numbered(shapes, r"quantizer\.layers\.(\d+)\.codebook\.embed")
    order = sorted(convs)
    (filters, channels, kernel), (hidden, _, last) = convs[order[0]], convs[order[-1]]
    ratios = [convs[i][2] // 2 for i in reversed(order[1:-1])]
    first_block = blocks[min(blocks)]
    codes, width = tables[0]
    count = max(codebooks, len(tables))
    frames = math.ceil(rate / math.prod(ratios))
    return dict(
        audio_channels=channels,
        num_filters=filters,
        kernel_size=kernel,
        last_kernel_size=last,
        upsampling_ratios=ratios,
        num_residual_layers=sum(order[0] < i < order[1] for i in blocks),
        residual_kernel_size=first_block[2],
        compress=filters // first_block[0],
        num_lstm_layers=len(_numbered(shapes, r"encoder\.layers\.\d+\.lstm\.weight_ih_l(\d+)")),
        hidden_size=hidden,
        codebook_dim=width,
        codebook_size=codes,
        target_bandwidths=[count * math.ceil(math.log2(codes)) * frames / 1000],
        norm_type="weight_norm" if any(".parametrizations." in name for name in shapes) else "time_group_norm",
        use_conv_shortcut=any(".shortcut." in name for name in shapes),
    )


def _numbered(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> dict[int, tuple[int, ...]]:
    """Shapes of the names that match, by the number in them."""
    found = ((re.fullmatch(pattern, name), shape) for name, shape in shapes.items())
    return {int(match[1]): shape for match, shape in found if match}
