"""Models of drawn weights in the layout of MusicGen, at any size: what speed is measured on, and what converters are
tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stage.checkpoints.importers.seanet import MUSICGEN as CODEC

WORDS = "a and bass beat busy calm drums fast funk jazz rock slow soft sparse the with".split()
DECODERS = {
    "small": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, ffn_dim=4096),
    "medium": dict(hidden_size=1536, num_hidden_layers=48, num_attention_heads=24, ffn_dim=6144),
    "large": dict(hidden_size=2048, num_hidden_layers=48, num_attention_heads=32, ffn_dim=8192),
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, ffn_dim=128, vocab_size=32),
}
"""Decoders by the names of MusicGen's bases; tiny ones are for tests."""
T5_BASE = dict(vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
TINY_T5 = dict(vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
TINY_CODEC = CODEC | dict(num_filters=4, codebook_size=32, codebook_dim=16, hidden_size=16, target_bandwidths=[1.0])


def tokenizer() -> Any:
    """A tokenizer of a few words that closes a prompt as T5's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def random_musicgen(size: str = "tiny", seed: int = 0, audio_channels: int = 1) -> Any:
    """A ``transformers.MusicgenForConditionalGeneration`` with drawn weights, codec and text encoder included,
    float32."""
    from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, T5Config
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    tiny = size == "tiny"
    decoder = MusicgenDecoderConfig(**DECODERS[size], audio_channels=audio_channels, num_codebooks=4 * audio_channels)
    config = MusicgenConfig(
        text_encoder=T5Config(**(TINY_T5 if tiny else T5_BASE)).to_dict(),
        audio_encoder=EncodecConfig(**(TINY_CODEC if tiny else CODEC)).to_dict(),
        decoder=decoder.to_dict(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MusicgenForConditionalGeneration(config).eval()
        with torch.no_grad():
            for name, buffer in model.audio_encoder.quantizer.named_buffers():
                if name.endswith("codebook.embed"):  # zeros otherwise, and every sound one code
                    buffer.normal_()
            if tiny:  # so that drawn weights prefer some codes
                for parameter in model.decoder.parameters():
                    parameter.mul_(3.0)
    model.generation_config.decoder_start_token_id = model.generation_config.pad_token_id = decoder.vocab_size
    return model


def save_musicgen(folder: Path, size: str = "tiny", seed: int = 0, **options: Any) -> Path:
    """Write such a model as ``transformers`` does, with its tokenizer; returns the folder."""
    random_musicgen(size, seed, **options).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
