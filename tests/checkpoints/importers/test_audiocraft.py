"""audiocraft's files: every weight arrives, and nothing in a pickle is executed."""

import os
import pickle

import pytest
import torch

from helpers.foreign_files import audiocraft_folder, codec_state
from stage import Stage
from stage.checkpoints.convert import convert
from stage.checkpoints.importers import audiocraft, seanet
from stage.errors import StageError
from stage.testing.weights import TINY_CODEC, TINY_T5, tokenizer


@pytest.fixture
def t5(tmp_path):
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(**TINY_T5)).save_pretrained(tmp_path / "t5")
    tokenizer().save_pretrained(tmp_path / "t5")
    return str(tmp_path / "t5")


def test_every_weight_arrives(tmp_path, t5):
    decoder = audiocraft_folder(tmp_path / "craft")
    convert(tmp_path / "craft", tmp_path / "plain", t5=t5)
    stage = Stage.from_pretrained(tmp_path / "plain")
    for name, tensor in stage.decoder.state_dict().items():
        assert torch.equal(tensor, decoder[name]), name
    for name, tensor in codec_state(older=True).items():
        assert torch.equal(stage.codec.model.state_dict()[seanet.name_in_transformers(name)], tensor), name
    assert stage.compose("funk", 1.0).shape == (1, 32000)
    convert(tmp_path / "craft", tmp_path / "base", stems=["drums"], t5=t5)
    assert Stage.from_pretrained(tmp_path / "base").decoder.embed.shape == (4, 34, 64)


def test_a_codec_of_another_shape_is_read_off_its_weights(tmp_path, t5):
    from transformers import EncodecConfig, EncodecModel

    shape = TINY_CODEC | dict(
        num_filters=8, upsampling_ratios=[5, 4, 2], num_lstm_layers=1, codebook_dim=12, hidden_size=12
    )
    shape |= dict(sampling_rate=16000, target_bandwidths=[4 * 5 * 400 / 1000], use_causal_conv=True)
    model = EncodecModel(EncodecConfig(**shape))
    audiocraft_folder(tmp_path / "craft")
    state = {
        name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook."): tensor
        for name, tensor in model.state_dict().items()
    }
    recipe = "sample_rate: 16000\nencodec: {causal: true}\n"
    torch.save({"best_state": state, "xp.cfg": recipe}, tmp_path / "craft" / audiocraft.CODEC)
    convert(tmp_path / "craft", tmp_path / "out", t5=t5)
    codec = Stage.from_pretrained(tmp_path / "out").codec
    assert (codec.sample_rate, codec.hop, codec.codebooks, codec.codebook_size) == (16000, 40, 4, 32)
    assert codec.model.config.use_causal_conv and codec.model.config.num_lstm_layers == 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(codec.model.state_dict()[name], tensor), name


def test_a_codec_that_is_only_named(tmp_path, t5):
    from transformers import EncodecConfig, EncodecModel

    EncodecModel(EncodecConfig(**TINY_CODEC)).save_pretrained(tmp_path / "codec")
    audiocraft_folder(tmp_path / "craft", pretrained=str(tmp_path / "codec"))
    convert(tmp_path / "craft", tmp_path / "out", t5=t5)
    assert Stage.from_pretrained(tmp_path / "out").codec.codebook_size == 32


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_code_in_a_pickle_is_not_run(tmp_path, t5, monkeypatch):
    monkeypatch.chdir(tmp_path)
    audiocraft_folder(tmp_path / "craft", bomb=Bomb())
    with pytest.raises(StageError, match="not run") as error:
        convert(tmp_path / "craft", tmp_path / "out", t5=t5)
    assert "\n" not in str(error.value) and not (tmp_path / "exploded").exists()
    (tmp_path / "craft" / audiocraft.DECODER).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(StageError, match="not run"):
        convert(tmp_path / "craft", tmp_path / "out", t5=t5)
    assert not (tmp_path / "exploded").exists()


def cut(folder):
    data = (folder / audiocraft.DECODER).read_bytes()
    (folder / audiocraft.DECODER).write_bytes(data[: len(data) // 2])


def lacking(folder):
    opened = torch.load(folder / audiocraft.DECODER)
    opened["best_state"].pop("transformer.layers.1.cross_attention.in_proj_weight")
    torch.save(opened, folder / audiocraft.DECODER)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (cut, "not whole"),
        (lacking, r"missing are transformer.layers.1.cross_attention"),
        (lambda f: torch.save({"weights": {}}, f / audiocraft.DECODER), "best_state"),
        (lambda f: torch.save([1], f / audiocraft.DECODER), "not a state"),
        (lambda f: torch.save({}, f / audiocraft.CODEC), "neither"),
        (lambda f: torch.save({"pretrained": "/nowhere/at/all"}, f / audiocraft.CODEC), "names the codec"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_line(tmp_path, t5, spoil, message):
    audiocraft_folder(tmp_path / "craft")
    spoil(tmp_path / "craft")
    with pytest.raises(StageError, match=message) as error:
        convert(tmp_path / "craft", tmp_path / "out", t5=t5)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_stereo_and_another_t5_are_refused(tmp_path, t5):
    audiocraft_folder(tmp_path / "stereo", codebooks=8)
    with pytest.raises(StageError, match="stereo"):
        convert(tmp_path / "stereo", tmp_path / "out", t5=t5)
    audiocraft_folder(tmp_path / "craft")
    with pytest.raises(StageError, match="no T5 in"):
        convert(tmp_path / "craft", tmp_path / "out", t5=str(tmp_path / "nothing"))
