"""Checkpoints in the layouts of others, made of drawn weights."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stage.checkpoints.importers import audiocraft, authors
from stage.checkpoints.importers.foreign import base_config
from stage.config import DecoderConfig
from stage.models.decoder import Decoder
from stage.testing.weights import CODEC, T5_BASE, TINY_CODEC, TINY_T5, tokenizer


def tiny_codec(size: int = 32) -> dict:
    """Shape of a small EnCodec with codebooks of this size."""
    return TINY_CODEC | dict(codebook_size=size, target_bandwidths=[4 * 0.05 * math.log2(size)])


def codec_state(tiny: bool = True, older: bool = False, size: int = 32) -> dict[str, Tensor]:
    """EnCodec's weights under audiocraft's names; older: in the older spelling of weight normalisation."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(1)
    state = {}
    for name, tensor in EncodecModel(EncodecConfig(**(tiny_codec(size) if tiny else CODEC))).state_dict().items():
        if name.startswith("quantizer"):
            name = name.replace("quantizer.layers.", "quantizer.vq.layers.").replace("codebook.", "_codebook.")
            if name.endswith("embed"):
                tensor = torch.randn_like(tensor)
        else:
            part, _, rest = name.partition(".layers.")
            if ".lstm." not in rest and ".conv." in rest:
                # upsampling stands in the decoder before each residual block
                up = part == "decoder" and "block" not in rest and rest.split(".")[0] in ("3", "6", "9", "12")
                rest = rest.replace(".conv.", ".convtr.convtr." if up else ".conv.conv.")
            name = f"{part}.model.{rest}"
        if older:
            name = name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            )
        state[name] = tensor.clone()
    return state


def t5_state(tiny: bool = True) -> dict[str, Tensor]:
    """A T5 encoder's weights, its tied table stored once."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(2)
    state = T5EncoderModel(T5Config(**(TINY_T5 if tiny else T5_BASE))).state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if name != "encoder.embed_tokens.weight"}


def take_apart(names: dict[str, list[str]], decoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """A decoder's weights under the names of a table: what ``gather`` puts together."""
    theirs = {}
    for ours, parts in names.items():
        pieces = decoder[ours].unbind(0) if ours in ("embed", "head") else decoder[ours].chunk(len(parts))
        theirs |= {name: piece.clone() for name, piece in zip(parts, pieces)}
    return theirs


def drawn(config: DecoderConfig) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {name: tensor.clone() for name, tensor in Decoder(config).state_dict().items()}


def authors_state(config: DecoderConfig, decoder: dict[str, Tensor], tiny: bool = True) -> dict[str, Tensor]:
    """Everything that the authors' file holds, for the weights of one of our decoders."""
    state = take_apart(authors.decoder_names(config), decoder)
    state |= {f"{authors.TEXT}output_proj.{end}": decoder[f"text_projection.{end}"] for end in ("weight", "bias")}
    state |= {f"encodec_model.{name}": tensor for name, tensor in codec_state(tiny, size=config.codebook_size).items()}
    return state | {f"{authors.TEXT}t5.{name}": tensor for name, tensor in t5_state(tiny).items()}


def audiocraft_folder(
    folder: Path, dim: int = 64, layers: int = 2, codebooks: int = 4, pretrained: str | None = None, **extra
) -> dict[str, Tensor]:
    """Write audiocraft's two files; returns our decoder's weights that they hold (plain MusicGen)."""
    config = base_config(
        (), dim=dim, layers=layers, heads=dim // 64, ffn_dim=2 * dim, codebook_size=32, text_dim=16, codebooks=codebooks
    )
    decoder = drawn(config)
    state = take_apart(audiocraft.decoder_names(config), decoder)
    for i in range(layers):
        name = f"transformer.layers.{i}.cross_attention."
        state[f"{name}in_proj_weight"] = torch.cat([state.pop(f"{name}q"), state.pop(f"{name}kv")])
    folder.mkdir()
    torch.save(
        {"best_state": state, "xp.cfg": "solver: musicgen", "version": "1.3", **extra}, folder / audiocraft.DECODER
    )
    codec = (
        {"pretrained": pretrained}
        if pretrained
        else {"best_state": codec_state(older=True), "xp.cfg": "solver: compression"}
    )
    torch.save(codec, folder / audiocraft.CODEC)
    return decoder


def save_authors(path: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, path)
    return path


def put_stage_drums(path: Path, t5: Path) -> None:
    """Write a small checkpoint in the layout of STAGE's authors, and a folder with its tokenizer."""
    config = DecoderConfig(dim=128, layers=2, heads=2, ffn_dim=256, text_dim=16, codebook_size=32)
    save_authors(path, authors_state(config, drawn(config)))
    tokenizer().save_pretrained(t5)
