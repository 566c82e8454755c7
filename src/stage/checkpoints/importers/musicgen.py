"""MusicGen bases as ``transformers`` keeps them: a folder of ``MusicgenForConditionalGeneration``, decoder, T5 and
EnCodec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stage.checkpoints.importers.detect import Foreign, base_config, t5_from
from stage.checkpoints.importers.names import load
from stage.checkpoints.importers.seanet import name_in_transformers
from stage.checkpoints.tensors import Files, safetensors_of
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.encodec import EncodecCodec
from stage.models.text import quiet


def decoder_names(config: DecoderConfig, prefix: str = "decoder.") -> dict[str, list[str]]:
    """For each of our decoder's parameters but the text projection, the names in ``transformers`` (see
    ``names.made_of``)."""
    body = f"{prefix}model.decoder."
    names = {
        "embed": [f"{body}embed_tokens.{k}.weight" for k in range(config.codebooks)],
        "head": [f"{prefix}lm_heads.{k}.weight" for k in range(config.codebooks)],
    }
    for ending in ("weight", "bias"):
        names[f"norm.{ending}"] = [f"{body}layer_norm.{ending}"]
    for i in range(config.layers):
        ours, theirs = f"layers.{i}.", f"{body}layers.{i}."
        for ending in ("weight", "bias"):
            names[f"{ours}self_norm.{ending}"] = [f"{theirs}self_attn_layer_norm.{ending}"]
            names[f"{ours}cross_norm.{ending}"] = [f"{theirs}encoder_attn_layer_norm.{ending}"]
            names[f"{ours}ffn_norm.{ending}"] = [f"{theirs}final_layer_norm.{ending}"]
        names[f"{ours}qkv.weight"] = [f"{theirs}self_attn.{x}_proj.weight" for x in "qkv"]
        names[f"{ours}self_out.weight"] = [f"{theirs}self_attn.out_proj.weight"]
        names[f"{ours}cross_q.weight"] = [f"{theirs}encoder_attn.q_proj.weight"]
        names[f"{ours}cross_kv.weight"] = [f"{theirs}encoder_attn.{x}_proj.weight" for x in "kv"]
        names[f"{ours}cross_out.weight"] = [f"{theirs}encoder_attn.out_proj.weight"]
        names[f"{ours}up.weight"] = [f"{theirs}fc1.weight"]
        names[f"{ours}down.weight"] = [f"{theirs}fc2.weight"]
    return names


def described(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder, {} where there is none."""
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_musicgen(folder: Path) -> bool:
    """Whether a folder's ``config.json`` is that of a MusicGen in ``transformers``."""
    return described(folder).get("model_type") == "musicgen"


def read(folder: Path, stems: Sequence[str]) -> Foreign:
    """A STAGE base for these stems; without stems, MusicGen itself, which hears no context.

    Raises StageError where the folder is not whole, or of a kind that we do not play.
    """
    from transformers import EncodecModel, MusicgenConfig

    try:
        with quiet():
            config = MusicgenConfig.from_pretrained(folder, local_files_only=True)
            theirs, codec = config.decoder, config.audio_encoder
            sound = EncodecModel(codec)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StageError(
            f"{folder / 'config.json'} is not that of a whole MusicGen: {str(error).splitlines()[0]}"
        ) from None
    if theirs.audio_channels != 1:
        raise StageError(
            f"{folder} is a stereo MusicGen, whose codebooks alternate between left and right: bring the mono one of"
            " its size"
        )
    weights = Files(safetensors_of(folder))
    shape = base_config(
        tuple(stems),
        dim=theirs.hidden_size,
        layers=theirs.num_hidden_layers,
        heads=theirs.num_attention_heads,
        ffn_dim=theirs.ffn_dim,
        codebooks=theirs.num_codebooks,
        codebook_size=theirs.vocab_size,
        text_dim=config.text_encoder.d_model,
    )
    table = decoder_names(shape) | {
        f"text_projection.{ending}": [f"enc_to_dec_proj.{ending}"] for ending in ("weight", "bias")
    }
    parts = weights.below("audio_encoder.")
    load(sound, {name_in_transformers(name): parts[name] for name in parts}, f"{folder} (audio_encoder)")
    text = t5_from(weights.below("text_encoder."), str(folder), f"{folder} (text_encoder)")
    made = Foreign("MusicGen of transformers", shape, table, weights, EncodecCodec(sound), text, base=True)
    made.check(weights.title, weights.shape)
    return made
