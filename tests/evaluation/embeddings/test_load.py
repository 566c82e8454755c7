"""Embeddings: the package's own, those of a user's files, and small random models of the real architectures."""

import numpy as np
import pytest

from stage.errors import StageError
from stage.evaluation.embeddings import load as embeddings
from stage.evaluation.embeddings import musicnn


def chord(*notes: int, seconds: float = 4.0, rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in notes).astype(np.float32)


def test_musicnn_separates_sounds_offline():
    rng = np.random.default_rng(4)
    noise = 0.1 * rng.standard_normal(6 * 16000).astype(np.float32)
    tones = [chord(40 + 3 * i, 47 + 3 * i, seconds=6.0) for i in range(3)]
    made = [musicnn.embed(audio, 16000) for audio in (*tones, noise)]
    assert all(one.shape == (2, 200) and np.isfinite(one).all() for one in made)
    among = max(np.linalg.norm(made[0].mean(0) - one.mean(0)) for one in made[1:3])
    assert np.linalg.norm(made[0].mean(0) - made[3].mean(0)) > 1.3 * among


def test_embeddings_whose_weights_are_not_here_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("clap", "encodec", "vggish", "panns"):
        monkeypatch.setenv(f"STAGE_{name.upper()}", str(tmp_path / "nowhere"))
        embeddings.load.cache_clear()
        with pytest.raises(StageError, match=f"{name}|STAGE_{name.upper()}"):
            embeddings.load(name)
    with pytest.raises(StageError, match="choose musicnn"):
        embeddings.load("vgish")


def test_a_users_own_network_is_an_embedding(monkeypatch, tmp_path):
    import torch

    class Network(torch.nn.Module):
        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            windows = audio.shape[1] // 16000
            return audio[:, : windows * 16000].reshape(windows, 16000)[:, :128]

    torch.jit.script(Network()).save(str(tmp_path / "vggish.pt"))
    monkeypatch.setenv("STAGE_VGGISH", str(tmp_path / "vggish.pt"))
    embeddings.load.cache_clear()
    assert embeddings.load("vggish")(chord(60, seconds=4.0), 16000).shape == (4, 128)
    embeddings.load.cache_clear()


def test_encodec_from_a_folder(monkeypatch, tmp_path):
    """A small random model of the real architecture, saved as transformers saves it."""
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    EncodecModel(
        EncodecConfig(sampling_rate=16000, num_filters=4, hidden_size=16, codebook_dim=16, upsampling_ratios=[4, 4])
    ).save_pretrained(tmp_path / "encodec")
    monkeypatch.setenv("STAGE_ENCODEC", str(tmp_path / "encodec"))
    embeddings.load.cache_clear()
    made = embeddings.load("encodec")(chord(60, seconds=6.0), 16000)
    assert made.shape == (2, 32) and np.isfinite(made).all()
    embeddings.load.cache_clear()


def test_clap_from_a_folder_scores_sounds_and_words(monkeypatch, tmp_path):
    """A small random model of the real architecture with its processor."""
    import json

    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    from stage.evaluation.embeddings import clap

    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(chr(code) for code in range(33, 127)), "\u0120"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = RobertaTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    torch.manual_seed(0)
    text = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "projection_dim": 16,
    }
    audio = {
        "hidden_size": 16 * 8,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 1, 1],
        "projection_dim": 16,
    }
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).save_pretrained(tmp_path / "clap")
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(tmp_path / "clap")
    tokenizer.save_pretrained(tmp_path / "clap")
    monkeypatch.setenv(clap.VARIABLE, str(tmp_path / "clap"))
    clap.load.cache_clear()
    model = clap.here()
    one, other = (model.score(chord(60, seconds=10.0), 16000, words) for words in ("rock", "a calm piano"))
    assert -1 <= one <= 1 and one != other
    embeddings.load.cache_clear()
    assert embeddings.load("clap")(chord(60), 16000).shape == (1, 16)
    clap.load.cache_clear()
    embeddings.load.cache_clear()
