"""COCOLA's network and features are those of its authors' libraries; its checkpoint is read safely and completely."""

import sys
from enum import Enum
from types import ModuleType

import numpy as np
import pytest
import torch

from stage.errors import StageError
from stage.evaluation.coherence import cocola, scorers
from stage.evaluation.coherence.efficientnet import EfficientNet


def drawn(shapes: dict[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights through which a picture is still seen at the end: small norms would shrink it to nothing beside the
    biases."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in shapes.items():
        random = torch.randn(value.shape, generator=generator)
        if not value.is_floating_point():
            state[name] = value
        elif value.ndim == 4:  # a convolution keeps the power
            state[name] = random * (2 / value[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 0.1 * random.abs() + 0.2
        elif value.ndim == 1 and name.endswith("weight"):
            state[name] = 0.1 * random + 1
        else:
            state[name] = 0.1 * random
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A Lightning file of the published layout with drawn weights."""
    ours = drawn(cocola.Cocola().state_dict())
    weights = {theirs: ours[name] for name, theirs in cocola.names().items()}
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
        pictures = torch.randn(2, 2, 64, 501, generator=torch.Generator().manual_seed(1))
        expected = theirs(pictures)
        assert expected.shape == (2, 1280, 1, 1)
        assert (expected[0] - expected[1]).abs().mean() > 0.1 * expected.std() > 0, (
            "drawn weights whose output does not depend on the input would prove nothing"
        )
        torch.testing.assert_close(ours(pictures), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


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
    stem, context = (0.1 * rng.standard_normal(cocola.RATE * 10).astype(np.float32) for _ in range(2))
    whole = found["cocola"](stem, context, cocola.RATE)
    halves = [found["cocola"](stem[part], context[part], cocola.RATE) for part in (slice(0, 80000), slice(80000, None))]
    assert whole == pytest.approx(np.mean(halves), rel=1e-3)
    assert len({found[name](stem, context, cocola.RATE) for name in found}) == 4
    with pytest.raises(StageError, match="5 seconds"):
        found["cocola"](stem[: cocola.RATE], context, cocola.RATE)


def test_settings_of_the_authors_own_types_do_not_hinder(checkpoint, tmp_path, monkeypatch):
    kinds = ModuleType("contrastive_model.constants")
    kinds.EmbeddingMode = Enum("EmbeddingMode", {"RANDOM": "random"}, module=kinds.__name__)
    package = ModuleType("contrastive_model")
    package.constants = kinds
    with monkeypatch.context() as here:  # the authors' code is at hand where the file is written, not where it is read
        here.setitem(sys.modules, "contrastive_model", package)
        here.setitem(sys.modules, kinds.__name__, kinds)
        weights = torch.load(checkpoint, weights_only=True)["state_dict"]
        torch.save(
            {"state_dict": weights, "hyper_parameters": {"embedding_mode": kinds.EmbeddingMode.RANDOM}},
            tmp_path / "typed.ckpt",
        )
    assert set(cocola.read(tmp_path / "typed.ckpt")) == set(weights)


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
    for name, message in (
        ("partial", "lacks similarity.w"),
        ("odd", "other shapes: similarity.w"),
        ("none", "no state dict"),
        ("text", "cannot be read"),
        ("danger", "cannot be read"),
        ("missing", "no COCOLA checkpoint at"),
    ):
        with pytest.raises(StageError, match=message):
            cocola.load(tmp_path / f"{name}.ckpt")
