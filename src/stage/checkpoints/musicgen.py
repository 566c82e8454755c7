"""The names that ``transformers.MusicgenForConditionalGeneration`` gives to the decoder's weights."""

from __future__ import annotations

from ..config import DecoderConfig


def decoder_names(config: DecoderConfig, prefix: str = "decoder.") -> dict[str, list[str]]:
    """For each of our decoder's parameters, the names in ``transformers`` (see ``names.gather``)."""
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
