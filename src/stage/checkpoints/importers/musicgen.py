"""MusicGen bases as ``transformers`` keeps them: a folder of ``MusicgenForConditionalGeneration``, decoder, T5 and
EnCodec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stage.checkpoints import header
from stage.checkpoints.importers import T5
from stage.checkpoints.importers.foreign import Foreign, base_config, t5_from
from stage.checkpoints.importers.names import check_shapes, load
from stage.checkpoints.importers.seanet import name_in_transformers
from stage.checkpoints.pretrained import check_sizes, has_tokenizer, plainly
from stage.checkpoints.tensors import Files
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.described import described
from stage.models.encodec import EncodecCodec
from stage.models.text import errors_only
from stage.typed import read_json


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


def recognises(source: Path) -> bool:
    """Whether a folder's ``config.json`` is that of a MusicGen in ``transformers``."""
    try:
        return source.is_dir() and read_json(source / "config.json").get("model_type") == "musicgen"
    except StageError:
        return False


def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
    """A STAGE base for these stems; without stems, MusicGen itself, which has no context (see `detect.Importer`)."""
    from transformers import EncodecModel, MusicgenConfig

    where = source / "config.json"
    values = read_json(where)
    check_sizes(values, where)
    with plainly(f"{where} is not that of a whole MusicGen"), errors_only():
        config = MusicgenConfig.from_dict(values)
        theirs, codec = config.decoder, config.audio_encoder
        if theirs.audio_channels != 1:
            raise StageError(
                f"{source} is a stereo MusicGen, whose codebooks alternate between left and right: give the mono one of"
                " its size"
            )
        with described():
            wanted = {name: tuple(t.shape) for name, t in EncodecModel(codec).state_dict().items()}
    weights = _weights(source)
    with plainly(f"{where} is not that of a MusicGen"):
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
    parts, title = weights.below("audio_encoder."), f"{source} (audio_encoder)"
    check_shapes(wanted, {name_in_transformers(name): parts.shape(name) for name in parts}, title)
    with plainly(f"{where} is not that of a MusicGen"), errors_only():
        sound = EncodecModel(codec)
    load(sound, {name_in_transformers(name): parts[name] for name in parts}, title)
    tokenizer = str(source) if has_tokenizer(source) else t5
    text = t5_from(weights.below("text_encoder."), tokenizer, f"{source} (text_encoder)")
    made = Foreign("MusicGen of transformers", shape, table, weights, EncodecCodec(sound), text, base=True)
    made.check(weights.title, weights.shape)
    return made


def _weights(folder: Path) -> Files:
    """The safetensors files of a folder. Raises StageError where there are only pickles."""
    files = header.files_of(folder)
    if not files[0].exists() and (pickled := next(folder.glob("pytorch_model*.bin"), None)):
        raise StageError(
            f"{folder} holds {pickled.name}, a pickle, and {files[0].name} is missing: load it with transformers and"
            " write it again with save_pretrained, which makes safetensors"
        )
    return Files(files)
