"""What a checkpoint of another project is read into, before it is written in our format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stage.checkpoints.importers.names import load, made_of, make_base, require, short
from stage.checkpoints.pretrained import tokenizer_at
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.encodec import EncodecCodec
from stage.models.text import T5Text


@dataclass(frozen=True)
class Foreign:
    """A model under the names of another project.

    kind: what it is, in words. decoder: shape. table: for each of our parameters, the names in ``weights`` that it is
    made of.
    base: whether its embedding tables are those of MusicGen, to which the rows of STAGE are yet to be added.
    """

    kind: str
    decoder: DecoderConfig
    table: dict[str, list[str]]
    weights: Mapping[str, Tensor]
    codec: EncodecCodec
    text: T5Text
    base: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Our parameters and their shapes."""
        with described():
            return {name: tuple(t.shape) for name, t in Decoder(self.decoder).state_dict().items()}

    def parameter(self, name: str) -> Tensor:
        """One of our parameters."""
        tensor = made_of(name, self.table[name], self.weights)
        return make_base(tensor, self.decoder) if name == "embed" and self.base and self.decoder.stems else tensor

    def check(self, title: str, shape_of: Any) -> None:
        """Raise StageError with the names that are missing or of another shape. shape_of: name -> shape in
        ``weights``."""
        require((name for theirs in self.table.values() for name in theirs), self.weights, title)
        wrong, shape = [], self.decoder
        if self.codec is not None and (self.codec.codebooks, self.codec.codebook_size) != (
            shape.codebooks,
            shape.codebook_size,
        ):
            wrong.append(
                f"it has {shape.codebooks} codebooks of {shape.codebook_size}, and its codec has {self.codec.codebooks}"
                f" of {self.codec.codebook_size}"
            )
        for ours, shape in self.shapes().items():
            want = list(shape[1:] if ours in ("embed", "head") else shape)
            if ours == "embed" and self.base:
                want[0] = self.decoder.codebook_size + 1
            parts = [list(shape_of(name)) for name in self.table[ours]]
            if ours in ("embed", "head"):
                wrong += [f"{n} is {p}, not {want}" for n, p in zip(self.table[ours], parts) if p != want]
            elif sum(p[0] for p in parts) != want[0] or any(p[1:] != want[1:] for p in parts):
                wrong.append(f"{', '.join(self.table[ours])}: {parts}, not {want} together")
        if wrong:
            raise StageError(f"{title} does not fit: {short(wrong)}")


def base_config(stems: tuple[str, ...], **shape: int) -> DecoderConfig:
    """A STAGE base for these stems; without stems, MusicGen itself, which has no context."""
    return DecoderConfig(stems=stems, contexts=("mix",) if stems else (), **shape)


def t5_from(weights: Mapping[str, Tensor], tokenizer: str, title: str) -> T5Text:
    """A T5 encoder of weights under the names of ``transformers``; its shape is read off them."""
    from transformers import T5Config, T5EncoderModel

    first = "encoder.block.0.layer."
    shared = "shared.weight" if "shared.weight" in weights else "encoder.embed_tokens.weight"
    gated = f"{first}1.DenseReluDense.wi_0.weight" in weights
    wide = f"{first}1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight"
    near = f"{first}0.SelfAttention.relative_attention_bias.weight"
    require([shared, wide, near, f"{first}0.SelfAttention.q.weight"], weights, title)
    (vocabulary, width), (buckets, heads) = weights[shared].shape, weights[near].shape
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_ff=weights[wide].shape[0],
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        d_kv=weights[f"{first}0.SelfAttention.q.weight"].shape[0] // heads,
        feed_forward_proj="gated-gelu" if gated else "relu",
        num_layers=len({name.split(".")[2] for name in weights if name.startswith("encoder.block.")}),
    )
    whole = {name: weights[name] for name in weights} | {
        "shared.weight": weights[shared],
        "encoder.embed_tokens.weight": weights[shared],
    }
    return T5Text(load(T5EncoderModel(config), whole, title), tokenizer_at(tokenizer))
