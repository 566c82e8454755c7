"""The engine against the reference data and against transformers' decoder."""

import subprocess
import sys
from pathlib import Path

import torch

from stage.checkpoints.importers import musicgen
from stage.checkpoints.importers.names import gather
from stage.config import DecoderConfig
from stage.models.decoder import Decoder
from stage.prefix import Row
from stage.testing.conformance import check

DATA = Path(__file__).parents[1] / "vectors" / "reference_a.safetensors"
SCRIPT = Path(__file__).parents[2] / "scripts" / "conformance.py"


def test_reference_data_are_reproduced():
    result = check(DATA)
    assert len(result) == 12
    for name, (difference, limit) in result.items():
        assert difference <= limit, name


def test_the_script_exits_by_the_agreement(tmp_path):
    from safetensors.torch import load_file, save_file

    good = subprocess.run([sys.executable, SCRIPT, DATA], capture_output=True, text=True)
    assert good.returncode == 0 and "train_loss" in good.stdout
    data = load_file(DATA)
    data["train_logits"] += 0.01
    meta = {"seed": "7", "dim": "128", "n_layers": "3", "n_heads": "2"}
    save_file(data, tmp_path / "off.safetensors", meta)
    bad = subprocess.run([sys.executable, SCRIPT, tmp_path / "off.safetensors"], capture_output=True, text=True)
    assert bad.returncode == 1 and "BEYOND" in bad.stdout
    broken = subprocess.run([sys.executable, SCRIPT, SCRIPT], capture_output=True, text=True)
    assert broken.returncode == 2 and "Traceback" not in broken.stderr


def test_transformers_decoder_gives_the_same_logits():
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    torch.manual_seed(0)
    theirs = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=2048,
            num_hidden_layers=3,
            hidden_size=128,
            num_attention_heads=2,
            ffn_dim=512,
            num_codebooks=4,
        )
    ).eval()
    config = DecoderConfig(dim=128, layers=3, heads=2, ffn_dim=512, text_dim=128, stems=(), contexts=())
    ours = Decoder(config)
    weights = gather(musicgen.decoder_names(config, prefix=""), theirs.state_dict())
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) == {"text_projection.weight", "text_projection.bias"}
    ours.eval()

    columns = torch.randint(2049, (1, 4, 30))
    text = torch.randn(1, 5, 128)
    row = Row(
        columns,
        torch.ones(1, 30, dtype=torch.bool),
        torch.arange(30)[None],
        torch.zeros(1, 30, dtype=torch.int64),
        0,
        30,
    )
    with torch.inference_mode():
        want = theirs(input_ids=columns[0], encoder_hidden_states=text).logits.view(4, 30, 2048)
        got = ours.logits(ours(row, text, torch.ones(1, 5, dtype=torch.bool)))[0]
        assert (got - want).abs().max() < 1e-4
        first, cache = ours.prefill(row.cut(0, 20), text)
        assert (first[0] - want[:, 19]).abs().max() < 1e-4
        cache = cache.expand(1, 10)
        for at in range(20, 30):
            step = ours.step(columns[None, :, :, at], torch.tensor([at]), torch.tensor(0), [cache])
            assert (step[0, 0] - want[:, at]).abs().max() < 1e-4
