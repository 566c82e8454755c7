"""Headers of safetensors files: read without torch, within bounds, and compared with the file."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from stage.checkpoints import header
from stage.errors import StageError


def write(path, described, data=b"", length=None):
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(**values):
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | values}


def test_what_safetensors_writes_is_read(tmp_path):
    made = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16), "empty": torch.zeros(0, 5)}
    save_file(made, tmp_path / "x.safetensors", {"format": "pt"})
    assert header.read(tmp_path / "x.safetensors") == {
        "a": header.Entry("F32", (2, 3)),
        "b": header.Entry("BF16", (4,)),
        "empty": header.Entry("F32", (0, 5)),
    }


@pytest.mark.parametrize("length", [2, 1 << 20, header.LIMIT + 1, 2**63, 2**64 - 1])
def test_the_length_of_a_header_is_not_trusted(tmp_path, length):
    path = write(tmp_path / "x", entry(), bytes(8), length)
    with pytest.raises(StageError, match="not a whole safetensors file"):
        header.read(path)


@pytest.mark.parametrize(
    "described, data",
    [
        (b"", b""),
        (b"[]", b""),
        (b"\xff\xfe{}", b""),
        (b"[" * 100_000, b""),
        (entry(), bytes(7)),
        (entry(), bytes(9)),
        (entry(shape=[3]), bytes(8)),
        (entry(shape=[-2]), bytes(8)),
        (entry(shape=[True, 2]), bytes(8)),
        (entry(shape=2), bytes(8)),
        (entry(dtype=[]), bytes(8)),
        (entry(data_offsets=[0]), bytes(8)),
        (entry(data_offsets=[8, 0]), bytes(8)),
        (entry(data_offsets=None), bytes(8)),
        ({"x": 1}, bytes(8)),
    ],
)
def test_a_damaged_header_is_one_line(tmp_path, described, data):
    with pytest.raises(StageError, match="not a whole safetensors file") as error:
        header.read(write(tmp_path / "x", described, data))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(StageError, match="is missing"):
        header.read(tmp_path / "nothing")
    with pytest.raises(StageError, match="cannot be read"):
        header.read(tmp_path)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b", "a\\b", "C:x", "..", "", "a\nb", 3, None])
def test_shards_lie_beside_their_index(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": name}}))
    with pytest.raises(StageError, match="not a file beside it|not an index of shards"):
        header.files_of(tmp_path)


def test_the_files_of_a_folder(tmp_path):
    assert header.files_of(tmp_path) == [tmp_path / "model.safetensors"]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}})
    )
    assert header.files_of(tmp_path) == [tmp_path / "m-1.safetensors", tmp_path / "m-2.safetensors"]
    for text in ("{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(StageError, match="index.json"):
            header.files_of(tmp_path)
