"""audiocraft's MusicGen: ``state_dict.bin`` (decoder) and ``compression_state_dict.bin`` (codec), read without
executing pickles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.checkpoints.importers import T5
from stage.checkpoints.importers.foreign import Foreign, base_config
from stage.checkpoints.importers.names import require
from stage.checkpoints.importers.seanet import encodec
from stage.checkpoints.pretrained import plainly, t5_at
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.encodec import EncodecCodec

DECODER, CODEC = "state_dict.bin", "compression_state_dict.bin"
PROJECTION = "condition_provider.conditioners.description.output_proj"


def decoder_names(config: DecoderConfig) -> dict[str, list[str]]:
    """For each of our decoder's parameters, the names in audiocraft; its ``in_proj_weight`` stacks q, k and v.

    Queries of the cross-attention are a matrix of their own with us: ``_split`` takes the stack apart.
    """
    names = {
        "embed": [f"emb.{k}.weight" for k in range(config.codebooks)],
        "head": [f"linears.{k}.weight" for k in range(config.codebooks)],
    }
    for ending in ("weight", "bias"):
        names[f"norm.{ending}"] = [f"out_norm.{ending}"]
        names[f"text_projection.{ending}"] = [f"{PROJECTION}.{ending}"]
    for i in range(config.layers):
        ours, theirs = f"layers.{i}.", f"transformer.layers.{i}."
        for ending in ("weight", "bias"):
            names[f"{ours}self_norm.{ending}"] = [f"{theirs}norm1.{ending}"]
            names[f"{ours}cross_norm.{ending}"] = [f"{theirs}norm_cross.{ending}"]
            names[f"{ours}ffn_norm.{ending}"] = [f"{theirs}norm2.{ending}"]
        names[f"{ours}qkv.weight"] = [f"{theirs}self_attn.in_proj_weight"]
        names[f"{ours}self_out.weight"] = [f"{theirs}self_attn.out_proj.weight"]
        names[f"{ours}cross_q.weight"] = [f"{theirs}cross_attention.q"]
        names[f"{ours}cross_kv.weight"] = [f"{theirs}cross_attention.kv"]
        names[f"{ours}cross_out.weight"] = [f"{theirs}cross_attention.out_proj.weight"]
        names[f"{ours}up.weight"] = [f"{theirs}linear1.weight"]
        names[f"{ours}down.weight"] = [f"{theirs}linear2.weight"]
    return names


def recognises(source: Path) -> bool:
    """Whether a folder holds both of audiocraft's files."""
    return (source / DECODER).is_file() and (source / CODEC).is_file()


def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
    """A STAGE base of such a folder, as ``musicgen.read`` (see `detect.Importer`). t5: where the T5 is that the files
    leave out."""
    title = str(source / DECODER)
    weights = _split(_state(source / DECODER))
    require(["emb.0.weight", "transformer.layers.0.linear1.weight", f"{PROJECTION}.weight"], weights, title)
    tables = [name for name in weights if re.fullmatch(r"emb\.\d+\.weight", name)]
    if len(tables) != 4:
        raise StageError(
            f"{source} has {len(tables)} codebooks: the mono MusicGen with 4 is supported, not the stereo one"
        )
    rows, dim = weights["emb.0.weight"].shape
    if dim % 64:
        raise StageError(f"{source} is not MusicGen: its width {dim} is not a multiple of 64")
    config = base_config(
        tuple(stems),
        dim=dim,
        layers=1 + max(int(found[1]) for n in weights if (found := re.match(r"transformer\.layers\.(\d+)\.", n))),
        heads=dim // 64,
        ffn_dim=weights["transformer.layers.0.linear1.weight"].shape[0],
        codebooks=len(tables),
        codebook_size=rows - 1,
        text_dim=weights[f"{PROJECTION}.weight"].shape[1],
    )
    codec, text = _codec(source / CODEC, config.codebooks), t5_at(t5)
    made = Foreign("MusicGen of audiocraft", config, decoder_names(config), weights, codec, text, base=True)
    made.check(title, lambda name: weights[name].shape)
    if text.dim != config.text_dim:
        raise StageError(
            f"{t5} is {text.dim} wide, and {title} was trained with a text encoder of {config.text_dim}: give that one"
            " with --t5"
        )
    return made


def _split(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the queries, and the keys and values, of each cross-attention as tensors of their own."""
    stacks = {
        name: name.removesuffix(".in_proj_weight")
        for name in weights
        if name.endswith(".cross_attention.in_proj_weight")
    }
    for name, stem in stacks.items():
        third = weights[name].shape[0] // 3
        weights[f"{stem}.q"], weights[f"{stem}.kv"] = weights[name][:third], weights[name][third:]
    return weights


def _codec(file: Path, codebooks: int) -> EncodecCodec:
    """The codec in a file, or the one that it names (the released files hold no weights but a name on the hub)."""
    opened = _open(file)
    if "best_state" in opened:
        state = {name.removeprefix("model."): tensor for name, tensor in _state(file).items()}
        return EncodecCodec(encodec(state, str(file), codebooks, **_recipe(opened.get("xp.cfg"))))
    name = opened.get("pretrained")
    if not isinstance(name, str):
        raise StageError(f"{file} is not a codec of audiocraft: it has neither 'best_state' nor 'pretrained'")
    with plainly(
        f"{file} names the codec {name[:200]}, which cannot be read",
        ": get it once from the hub with a network, or export the codec's weights with audiocraft.utils.export",
    ):
        return EncodecCodec.from_pretrained(name.removeprefix("//pretrained/"))


def _recipe(text: Any) -> dict[str, Any]:
    """What the recipe of a codec (YAML) records of its shape and its weights do not show; {} where it is not there."""
    import yaml

    try:
        values = yaml.safe_load(text) if isinstance(text, str) else None
    except (yaml.YAMLError, ValueError, RecursionError):
        values = None
    places = {
        "sampling_rate": ("sample_rate", int),
        "use_causal_conv": ("encodec.causal", bool),
        "normalize": ("encodec.renormalize", bool),
        "pad_mode": ("seanet.pad_mode", str),
    }
    found = {}
    for ours, (theirs, kind) in places.items():
        value: Any = values
        for key in theirs.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if type(value) is kind:
            found[ours] = value
    return found


def _open(file: Path) -> dict[str, Any]:
    """What a file holds: tensors and plain containers only; anything else in it is refused, not run."""
    with plainly(f"{file} holds more than plain tensors, or is not whole; it was not run"):
        opened = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(opened, dict):
        raise StageError(f"{file} is not a state of audiocraft")
    return opened


def _state(file: Path) -> dict[str, Tensor]:
    state = _open(file).get("best_state")
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for name, tensor in state.items()
    ):
        raise StageError(f"{file} is not a state of audiocraft: it has no 'best_state' of tensors")
    return dict(state)
