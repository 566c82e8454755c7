"""States are written whole or not at all, and a damaged one is named with its remedy."""

import pytest
import torch
from safetensors.torch import load_file

from stage.errors import StageError
from stage.training import state


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "run" / "state.pt"
    assert state.load(path) is None
    state.save(path, {"step": 3, "weights": torch.arange(3)})
    state.save(path, {"step": 4, "weights": torch.arange(4)})
    found = state.load(path)
    assert found["step"] == 4 and torch.equal(found["weights"], torch.arange(4))
    assert [entry.name for entry in path.parent.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("content", [b"", b"half", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_one_line(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(StageError, match="state.pt is damaged .*: delete it to begin anew") as error:
        state.load(tmp_path / "state.pt")
    assert "\n" not in str(error.value)


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    state.save(path, {"step": 1})
    for error in (OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed: No space left\nx")):

        def full(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", full)
            with pytest.raises(StageError, match="state.pt could not be written .*No space left.*: make room"):
                state.save(path, {"step": 2})
    assert state.load(path) == {"step": 1} and len(list(tmp_path.iterdir())) == 1


def test_weights_are_written_whole(tmp_path):
    state.save_weights(tmp_path / "a.safetensors", {"x": torch.ones(4, 2).T}, {"key": "1"})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], torch.ones(2, 4))
