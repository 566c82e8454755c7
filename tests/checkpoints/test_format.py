import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from stage.checkpoints.format import load, save
from stage.config import DecoderConfig, StageConfig
from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText, T5Text
from stage.testing.weights import TINY_T5, tokenizer


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    codec = SpectralCodec(
        SpectralConfig(width=16, encoder_blocks=1, decoder_blocks=1, latent=8, codebooks=2, codebook_size=16)
    )
    decoder = Decoder(DecoderConfig(dim=32, layers=1, heads=1, ffn_dim=32, codebooks=2, codebook_size=16, text_dim=8))
    parts = (StageConfig(name="small", guidance=4.0), decoder, codec, HashedText(HashedConfig(dim=8, buckets=16)))
    save(tmp_path / "model", *parts)
    return tmp_path / "model", parts


def test_what_is_saved_is_loaded(model):
    path, (config, decoder, codec, text) = model
    again = load(path)
    assert again[0] == config and again[1].config == decoder.config and again[2].config == codec.config
    for old, new in zip((decoder, codec, text), again[1:]):
        for (name, a), (_, b) in zip(old.state_dict().items(), new.state_dict().items()):
            assert torch.equal(a, b), name


def test_nothing_is_overwritten(model):
    path, parts = model
    before = (path / "decoder.safetensors").read_bytes()
    with pytest.raises(StageError, match="exists"):
        save(path, *parts)
    assert (path / "decoder.safetensors").read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model"]


def _without(path):
    weights = load_file(path / "decoder.safetensors")
    weights.pop("norm.weight")
    save_file(weights, path / "decoder.safetensors")


def _resized(path):
    weights = load_file(path / "decoder.safetensors")
    weights["embed"] = weights["embed"][:, :-1].contiguous()
    save_file(weights, path / "decoder.safetensors")


def _config(change):
    def spoil(path):
        config = json.loads((path / "config.json").read_text())
        change(config)
        (path / "config.json").write_text(json.dumps(config))

    return spoil


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_without, "norm.weight is missing"),
        (_resized, r"embed is \[2, 17, 32\], not \[2, 18, 32\]"),
        (lambda p: (p / "codec.safetensors").unlink(), "codec.safetensors is missing"),
        (lambda p: (p / "text.safetensors").write_bytes(b"\x80pickle"), "not a whole safetensors"),
        (
            lambda p: (p / "decoder.safetensors").write_bytes((p / "decoder.safetensors").read_bytes()[:-50]),
            "not a whole safetensors",
        ),
        (lambda p: (p / "config.json").write_text("[]"), "not a STAGE configuration"),
        (lambda p: (p / "config.json").write_text("{"), "not a STAGE configuration"),
        (_config(lambda c: c.update(format=99)), "format 99"),
        (_config(lambda c: c["decoder"].update(colour="red")), "colour"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_in_one_line(model, spoil, message):
    path, _ = model
    spoil(path)
    with pytest.raises(StageError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_shipped_models(tmp_path):
    with pytest.raises(StageError, match="no model 'nothing-like-it'"):
        load("nothing-like-it")
    with pytest.raises(StageError, match="not a STAGE model"):
        load(tmp_path)


def test_a_t5_takes_memory_only_while_it_encodes(tmp_path):
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(**TINY_T5)).save_pretrained(tmp_path / "t5")
    tokenizer().save_pretrained(tmp_path / "t5")
    text = T5Text.from_pretrained(str(tmp_path / "t5"))
    mapped = text.model.shared.weight
    first, _ = text.encode(["busy funk drums"])
    assert text.model.shared.weight is not mapped and text.model.encoder.embed_tokens.weight is text.model.shared.weight
    assert torch.equal(text.encode(["busy funk drums"])[0], first)
    text.save_pretrained(str(tmp_path / "again"))
    assert torch.equal(T5Text.from_pretrained(str(tmp_path / "again")).encode(["busy funk drums"])[0], first)

    (tmp_path / "t5" / "model.safetensors").unlink()  # the weights in memory stay
    assert torch.equal(text.encode(["busy funk drums"])[0], first)
    other = T5Text.from_pretrained(str(tmp_path / "again"))
    other.model.to(torch.bfloat16)  # no longer the file's
    other.encode(["busy"])
    assert other.model.shared.weight.dtype == torch.bfloat16
