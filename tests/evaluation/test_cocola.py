"""COCOLA's network and features are those of its authors' libraries; its checkpoint is read safely and completely."""

import numpy as np
import pytest
import torch

from stage.errors import StageError
from stage.evaluation.coherence import cocola, scorers
from stage.evaluation.coherence.efficientnet import EfficientNet


def drawn(shapes: dict[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in shapes.items():
        random = 0.1 * torch.randn(value.shape, generator=generator)
        state[name] = value if not value.is_floating_point() else random.abs() + 0.5 if name.endswith("running_var") else random
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A Lightning file of the published layout with drawn weights."""
    ours = cocola.Cocola().state_dict()
    weights = {theirs: drawn(ours)[name] for name, theirs in cocola.names().items()}
    path = tmp_path_factory.mktemp("cocola") / "model.ckpt"
    torch.save({"state_dict": weights, "epoch": 3, "pytorch-lightning_version": "2.1.0"}, path)
    return path


def test_the_network_is_the_packages():
    package = pytest.importorskip("efficientnet_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-b0", in_channels=2, include_top=False).eval()
    ours = EfficientNet(2).eval()
    state = drawn(theirs.state_dict())
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    with torch.inference_mode():
        heard = torch.randn(2, 2, 64, 501, generator=torch.Generator().manual_seed(1))
        expected = theirs(heard)
        assert expected.shape == (2, 1280, 1, 1) and expected.std() > 1e-6
        torch.testing.assert_close(ours(heard), expected, rtol=1e-4, atol=1e-6)


def test_features_are_a_harmonic_and_a_percussive_picture():
    time = np.arange(5 * 16000) / 16000
    whistle = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    clicks = np.zeros_like(whistle)
    clicks[::8000] = 1.0
    steady, sudden = cocola.features(whistle), cocola.features(clicks)
    assert steady.shape == (2, 64, 501) and steady.dtype == np.float32
    assert steady.max() == 0 and steady.min() >= -80.001
    assert (steady[0] > -20).mean() < 0.1 and (steady[0] > -20).any(1).sum() < 8  # a line
    assert (sudden[1] > -20).any(0).mean() < 0.2 and (sudden[1] > -30).any(1).mean() > 0.9  # columns


def test_a_checkpoint_scores_in_three_ways(checkpoint, monkeypatch):
    monkeypatch.setenv(cocola.VARIABLE, str(checkpoint))
    found = scorers()
    assert list(found) == ["ours", "cocola", "cocola-harmonic", "cocola-percussive"]
    rng = np.random.default_rng(0)
    stem, context = (0.1 * rng.standard_normal(32000 * 10).astype(np.float32) for _ in range(2))
    whole = found["cocola"](stem, context, 32000)
    halves = [found["cocola"](stem[part], context[part], 32000) for part in (slice(0, 160000), slice(160000, None))]
    assert whole == pytest.approx(np.mean(halves), rel=0.05)
    assert len({found[name](stem, context, 32000) for name in found}) == 4
    with pytest.raises(StageError, match="5 seconds"):
        found["cocola"](stem[:32000], context, 32000)


def test_partial_wrong_and_dangerous_files_are_refused(checkpoint, tmp_path):
    whole = torch.load(checkpoint, weights_only=True)["state_dict"]
    partial = {name: value for name, value in whole.items() if "similarity" not in name}
    odd = whole | {"similarity.w": torch.zeros(3, 3)}
    torch.save({"state_dict": partial}, tmp_path / "partial.ckpt")
    torch.save({"state_dict": odd}, tmp_path / "odd.ckpt")
    torch.save({"state_dict": 5}, tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")

    class Danger:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save(Danger(), tmp_path / "danger.ckpt")
    for name, message in (("partial", "lacks similarity.w"), ("odd", "other shapes: similarity.w"), ("none", "no state dict"), ("text", "cannot be read"),
                          ("danger", "cannot be read"), ("missing", "no COCOLA checkpoint at")):  # fmt: skip
        with pytest.raises(StageError, match=message):
            cocola.load(tmp_path / f"{name}.ckpt")
