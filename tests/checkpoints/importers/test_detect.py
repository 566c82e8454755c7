"""Checkpoints that are not read get the line that names the remedy."""

import json

import pytest

from stage.checkpoints.importers import detect
from stage.errors import StageError


def folder(**files):
    def make(path):
        path.mkdir()
        for name, text in files.items():
            (path / name.replace("__", ".")).write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return make


def inside(make, name):
    return lambda path: make(path) / name


PEFT = folder(adapter_config__json={"peft_type": "LORA", "base_model_name_or_path": "facebook/musicgen-small"})
MUSICGEN = folder(config__json={"model_type": "musicgen"}, model__safetensors="", last__ckpt="")


@pytest.mark.parametrize(
    "make, message",
    [
        (PEFT, r"adapter of PEFT.*its base \(facebook/musicgen-small\).*merge_and_unload"),
        (folder(adapter_config__json="{"), "adapter of PEFT.*merge_and_unload"),
        (inside(PEFT, "adapter_config.json"), "adapter of PEFT"),
        (folder(adapter__json="{}"), "use it with --adapter"),
        (folder(checkpoint__th="x"), "dora.*export_lm and export_encodec"),
        (inside(folder(checkpoint__th="x"), "checkpoint.th"), "dora.*export_lm and export_encodec"),
        (folder(state_dict__bin="x"), "exports compression_state_dict.bin too"),
        (folder(compression_state_dict__bin="x"), "exports state_dict.bin too"),
        (inside(MUSICGEN, "model.safetensors"), "is a part of a model: give its folder"),
        (inside(MUSICGEN, "last.ckpt"), "is a pickle.*save_pretrained"),
        (inside(folder(pytorch_model__bin="x"), "pytorch_model.bin"), "is a pickle.*save_pretrained"),
        (folder(config__json={"model_type": "musicgen_melody"}), "musicgen_melody, which follows a melody"),
        (folder(config__json={"model_type": "llama"}), "of the kind llama: give a folder of a MusicGen"),
        (folder(config__json={"model_type": [1]}), "not a checkpoint of a known format"),
        (folder(config__json={"format": 1, "stage": {}}), "model of STAGE already.*--model"),
        (folder(config__json={"model_type": "musicgen"}, pytorch_model__bin="x"), "pytorch_model.bin, a pickle"),
        (folder(), "not a checkpoint of a known format"),
        (lambda path: path, "does not exist"),
        (lambda path: path / ("x" * 5000), "does not exist"),
    ],
)
def test_the_remedy(tmp_path, make, message):
    source = make(tmp_path / "brought")
    with pytest.raises(StageError, match=message) as error:
        detect.read(source)
    assert "\n" not in str(error.value)
