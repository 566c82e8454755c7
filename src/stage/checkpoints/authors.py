"""The authors' names of the decoder's weights (released STAGE checkpoints, prefix ``lm.``)."""

from __future__ import annotations

from ..config import DecoderConfig

PREFIX = "lm.decoder."


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
