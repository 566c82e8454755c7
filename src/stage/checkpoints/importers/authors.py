"""The authors' released STAGE checkpoints: one safetensors file with decoder (``lm.``), T5, its projection, and
codec."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stage.checkpoints import header
from stage.checkpoints.importers import T5
from stage.checkpoints.importers.foreign import Foreign, t5_from
from stage.checkpoints.importers.names import require
from stage.checkpoints.importers.seanet import encodec
from stage.checkpoints.tensors import Files
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.encodec import EncodecCodec

PREFIX = "lm.decoder."
TEXT = "condition_provider.embedders.description."


def decoder_names(config: DecoderConfig) -> dict[str, list[str]]:
    """For each of our decoder's parameters, the authors' names of what it is made of, in order.

    Several names are stacked (embedding, head) or concatenated (qkv, cross_kv) along dimension 0.
    The text projection is not among them: it stands under ``condition_provider``.
    """
    names = {
        "embed": [f"token_emb.emb.{k}.weight" for k in range(config.codebooks)],
        "head": [f"to_logits.linears.{k}.weight" for k in range(config.codebooks)],
        "norm.weight": ["attn_layers.final_norm.weight"],
        "norm.bias": ["attn_layers.final_norm.bias"],
    }
    for i in range(config.layers):
        self_, cross, ffn = (f"attn_layers.layers.{3 * i + j}." for j in range(3))
        ours = f"layers.{i}."
        for ending in ("weight", "bias"):
            names[f"{ours}self_norm.{ending}"] = [f"{self_}0.0.{ending}"]
            names[f"{ours}cross_norm.{ending}"] = [f"{cross}0.0.{ending}"]
            names[f"{ours}ffn_norm.{ending}"] = [f"{ffn}0.0.{ending}"]
        names[f"{ours}qkv.weight"] = [f"{self_}1.to_{x}.weight" for x in "qkv"]
        names[f"{ours}self_out.weight"] = [f"{self_}1.to_out.weight"]
        names[f"{ours}cross_q.weight"] = [f"{cross}1.to_q.weight"]
        names[f"{ours}cross_kv.weight"] = [f"{cross}1.to_{x}.weight" for x in "kv"]
        names[f"{ours}cross_out.weight"] = [f"{cross}1.to_out.weight"]
        names[f"{ours}up.weight"] = [f"{ffn}1.ff.0.0.weight"]
        names[f"{ours}down.weight"] = [f"{ffn}1.ff.2.weight"]
    return {ours: [PREFIX + name for name in theirs] for ours, theirs in names.items()}


def recognises(source: Path) -> bool:
    """Whether a safetensors file is one of theirs, by its names."""
    try:
        return source.is_file() and any(name.startswith(PREFIX) for name in header.read(source))
    except StageError:
        return False


def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
    """The model in such a file (see `detect.Importer`). The stem that it plays is given, or read off the file's name;
    t5 is where T5's tokenizer is."""
    stem = _stem(source, stems)
    weights = Files([source])
    config = _shape(weights, stem)
    projection = {f"text_projection.{ending}": [f"{TEXT}output_proj.{ending}"] for ending in ("weight", "bias")}
    table = decoder_names(config) | projection
    require((name for theirs in table.values() for name in theirs), weights, weights.title)
    codec = encodec(weights.below("encodec_model."), f"{source} (encodec_model)", config.codebooks)
    text = t5_from(weights.below(f"{TEXT}t5."), t5, f"{source} ({TEXT}t5)")
    if text.dim != config.text_dim:
        raise StageError(
            f"{weights.title} does not fit together: its T5 is {text.dim} wide, and its projection takes"
            f" {config.text_dim}"
        )
    made = Foreign("STAGE of its authors", config, table, weights, EncodecCodec(codec), text, base=False)
    made.check(weights.title, weights.shape)
    return made


def _stem(file: Path, stems: Sequence[str]) -> str:
    """What an authors' checkpoint plays: as given, or by its file's name (stage-drums.safetensors)."""
    if len(stems) > 1:
        raise StageError(f"{file} plays one stem, not {len(stems)}: give --stem once")
    named = [stem for stem in ("drums", "bass") if stem in file.stem.lower()]
    if not stems and len(named) != 1:
        raise StageError(f"the name of {file} does not say which stem it plays: add --stem drums, or what it plays")
    return stems[0] if stems else named[0]


def _shape(weights: Files, stem: str) -> DecoderConfig:
    """The decoder's shape, read off its tensors; its heads are 64 wide."""
    first, up, text = (
        f"{PREFIX}token_emb.emb.0.weight",
        f"{PREFIX}attn_layers.layers.2.1.ff.0.0.weight",
        f"{TEXT}output_proj.weight",
    )
    require([first, up, text], weights, weights.title)
    tables = [name for name in weights if re.fullmatch(re.escape(PREFIX) + r"token_emb\.emb\.\d+\.weight", name)]
    parts = 1 + max(
        int(found[1])
        for name in weights
        if (found := re.match(re.escape(PREFIX) + r"attn_layers\.layers\.(\d+)\.", name))
    )
    rows, dim = weights.shape(first)
    if dim % 64:
        raise StageError(f"{weights.title} is not the authors' STAGE: its width {dim} is not a multiple of 64")
    return DecoderConfig(
        # a layer is three parts; of a cut one, the missing names are listed
        dim=dim,
        layers=-(-parts // 3),
        heads=dim // 64,
        ffn_dim=weights.shape(up)[0],
        codebooks=len(tables),
        codebook_size=rows - 2,
        stems=(stem,),
        text_dim=weights.shape(text)[1],
    )
