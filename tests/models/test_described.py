"""Modules that are only described: the same names and shapes, and nothing heavy is loaded for them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import stage
from stage.config import DecoderConfig
from stage.models.decoder import Decoder
from stage.models.described import described, drawn
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText

MADE = {
    "decoder": lambda: Decoder(DecoderConfig(layers=1, dim=16, heads=2, codebooks=2, codebook_size=8, text_dim=4)),
    "codec": lambda: SpectralCodec(SpectralConfig()),
    "text": lambda: HashedText(HashedConfig()),
    "layers": lambda: nn.Sequential(nn.Linear(2, 3), nn.Embedding(3, 4), nn.LSTM(2, 2), nn.Conv1d(2, 3, 3)),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_described_module_has_the_names_shapes_and_dtypes_of_a_made_one(make):
    with described():
        short = make().state_dict()
    whole = make().state_dict()
    assert {name: (x.shape, x.dtype) for name, x in short.items()} == {n: (x.shape, x.dtype) for n, x in whole.items()}
    assert {x.device.type for x in short.values()} == {"meta"}


def test_values_are_drawn_where_a_module_is_made():
    torch.manual_seed(3)
    expected = 0.02 * torch.randn(40, 30)
    torch.manual_seed(3)
    assert torch.equal(drawn(0.02, 40, 30), expected)


def test_nothing_else_describes_modules():
    """Who writes torch.device("meta") draws there, which loads torch's compiler."""
    folder = Path(stage.__file__).parent
    used = {
        file.relative_to(folder).as_posix() for file in folder.rglob("*.py") if 'device("meta")' in file.read_text()
    }
    assert used == {"models/described.py"}


@pytest.mark.parametrize("model", ["player", "sketch"])
def test_a_shipped_model_plays_without_torchs_compiler(model, tmp_path):
    """It takes longer to load than ten seconds of drums to make."""
    song = tmp_path / "song.wav"
    soundfile.write(song, np.random.default_rng(0).normal(0, 0.1, 3 * 32000), 32000)
    code = f"""
import sys
from stage.cli import main
sys.argv = ["stage", "accompany", {str(song)!r}, "--model", {model!r}, "--stem", "drums", "--out", {str(tmp_path)!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in ("torch._dynamo", "sympy", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
    assert list(tmp_path.glob("*.drums*.wav"))
