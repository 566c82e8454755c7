"""What differs has another fingerprint; what does not matter does not change it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stage import fingerprint
from stage.errors import StageError
from stage.files import LOCK


def test_values_are_recognised_with_arrays_and_paths_among_them():
    first = fingerprint.of_values({"a": np.arange(3), "b": Path("x")})
    assert fingerprint.of_values({"b": Path("x"), "a": np.arange(3)}) == first  # the order of keys does not count
    assert fingerprint.of_values({"a": np.arange(4), "b": Path("x")}) != first
    assert fingerprint.of_values({"a": np.float32(1)}) != fingerprint.of_values({"a": np.float32(2)})
    # caches and results on disk hold these
    assert fingerprint.of_values(["x", 1]) == "38e37cb98808b9cc"
    assert fingerprint.of_bytes(b"a", b"b") == fingerprint.of_bytes(b"ab") == "fb8e20fc2e4c3f24"


def test_a_folder_is_its_files(tmp_path):
    (tmp_path / "text").mkdir()
    for name in ("config.json", "text/model.safetensors"):
        (tmp_path / name).write_text("1")
    first = fingerprint.of_files(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / LOCK).touch()
    assert fingerprint.of_files(tmp_path) == first
    (tmp_path / "text" / "model.safetensors").write_text("2")
    second = fingerprint.of_files(tmp_path)
    (tmp_path / "text" / "model.safetensors").rename(tmp_path / "text" / "other.safetensors")
    assert len({first, second, fingerprint.of_files(tmp_path)}) == 3
    with pytest.raises(StageError, match="is not there"):
        fingerprint.of_files(tmp_path / "config.json" / "nowhere")


def test_weights_of_all_kinds_count():
    class Held:
        model = torch.nn.BatchNorm1d(2)  # with a 0-d integer

    first = fingerprint.of_weights(Held())
    assert fingerprint.of_weights(Held.model) == first
    Held.model.num_batches_tracked += 1
    assert fingerprint.of_weights(Held()) != first
