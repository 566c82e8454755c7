"""Whatever is wrong with the files of a model, an adapter or a foreign checkpoint is reported in one line."""

import random
import shutil

import pytest

from helpers.fakes import drawn_stage
from helpers.mutations import damage
from stage import Stage
from stage.checkpoints import adapters, installed
from stage.checkpoints.convert import convert
from stage.checkpoints.format import load
from stage.errors import StageError
from stage.models.lora import new_adapter
from stage.testing.weights import save_musicgen


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of ours, an adapter for it, a MusicGen, and what is made of that."""
    folder, stage = tmp_path_factory.mktemp("models"), drawn_stage()
    stage.save_pretrained(folder / "ours")
    adapters.save(folder / "adapter", new_adapter(stage.decoder, "guitar", "blues", base="drawn", rank=2))
    save_musicgen(folder / "musicgen")
    convert(folder / "musicgen", folder / "converted")
    return folder


def use(kind, folder):
    if kind == "adapter":
        adapters.load(folder)
    elif kind == "musicgen":
        convert(folder, folder.parent / "out")
    elif kind == "converted":
        load(folder)
    else:
        Stage.from_pretrained(folder, device="cpu").click(240, "drums", bars=1)


FILES = {
    "ours": ["config.json", "decoder.safetensors", "codec.safetensors", "text.safetensors"],
    "adapter": ["adapter.json", "adapter.safetensors"],
    "musicgen": ["config.json", "model.safetensors", "tokenizer.json"],
    "converted": [
        *("config.json", "codec/config.json", "codec/model.safetensors"),
        *("text/config.json", "text/model.safetensors", "text/tokenizer.json"),
    ],
}


@pytest.mark.parametrize("kind, count", [("ours", 20), ("adapter", 20), ("musicgen", 9), ("converted", 12)])
def test_only_one_line_comes_of_damage(models, tmp_path, monkeypatch, kind, count):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = 0
    for seed in range(count):
        draw = random.Random(seed)
        shutil.rmtree(tmp_path, ignore_errors=True)
        shutil.copytree(models / kind, tmp_path / "model")
        damage(tmp_path / "model" / FILES[kind][seed % len(FILES[kind])], draw)
        try:
            use(kind, tmp_path / "model")
        except StageError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000, seed
        if kind == "ours":
            installed.describe(tmp_path / "model")
    assert refused >= count / 3  # else nothing was damaged


@pytest.mark.parametrize(
    "kind, gone",
    [(kind, file) for kind, files in FILES.items() for file in files if (kind, file) != ("musicgen", "tokenizer.json")]
    + [("converted", "codec"), ("converted", "text"), ("converted", "text/tokenizer_config.json")],
)
def test_a_missing_file_or_folder_is_one_line(models, tmp_path, monkeypatch, kind, gone):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(models / kind, tmp_path / "model")
    path = tmp_path / "model" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if gone == "text/tokenizer_config.json":  # without it alone the model still loads
        (tmp_path / "model/text/tokenizer.json").unlink()
    with pytest.raises(StageError) as error:
        use(kind, tmp_path / "model")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_parts_of_different_models_are_refused(models, tmp_path):
    shutil.copytree(models / "ours", tmp_path / "model")
    drawn = drawn_stage()
    from stage.models.text import HashedConfig, HashedText

    drawn.text = HashedText(HashedConfig(dim=12, buckets=64))
    drawn.save_pretrained(tmp_path / "other")
    with pytest.raises(StageError, match="text encoder is 12 wide, and its decoder takes 8"):
        load(tmp_path / "other")


def test_weights_that_are_not_numbers_are_refused(models, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(models / "ours", tmp_path / "model")
    weights = load_file(tmp_path / "model/decoder.safetensors")
    weights["norm.weight"][3] = torch.nan
    save_file(weights, tmp_path / "model/decoder.safetensors")
    # an error of ours is a ValueError too, and is not reported as a file that cannot be read
    with pytest.raises(StageError, match="^[^:]* is damaged: norm.weight holds numbers that are not finite"):
        load(tmp_path / "model")
