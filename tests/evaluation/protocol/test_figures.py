"""Figures with known answers: beats, harmony, distances between sets of sounds."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.evaluation.embeddings import load as embeddings
from stage.evaluation.embeddings import musicnn
from stage.evaluation.figures import distances
from stage.evaluation.protocol import figures


def test_beats_that_are_right_late_twice_as_fast_or_missing():
    truth = BeatGrid.regular(120, 4, 10.0)
    right = figures.beats(truth, truth, 10.0)
    assert right["f_measure"] == right["cmlt"] == right["amlt"] == 1 and right["emd"] == right["mean_error"] == 0
    late = figures.beats(truth, truth.shift(0.1), 10.0)
    assert late["f_measure"] == 0 and late["mean_error"] == pytest.approx(0.1) and late["emd"] == pytest.approx(0.1)
    fast = figures.beats(truth, BeatGrid.regular(240, 4, 10.0), 10.0)
    assert (
        fast["cmlt"] == 0
        and fast["amlt"] == pytest.approx(1, abs=0.05)
        and fast["tempo_difference"] == pytest.approx(0, abs=1e-6)
    )
    assert fast["f_measure"] == pytest.approx(2 / 3, abs=0.02)
    off = figures.beats(truth, BeatGrid.regular(130, 4, 10.0), 10.0)
    assert off["tempo_difference"] == pytest.approx(10) and off["f_measure"] < 0.5
    none = figures.beats(truth, BeatGrid.empty(), 10.0)
    assert none["f_measure"] == 0 and np.isnan(none["emd"])


def chord(*notes: int, seconds: float = 4.0, rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in notes).astype(np.float32)


def test_chroma_of_what_agrees_is_higher_than_of_what_does_not():
    bass, same, other = chord(36), chord(60, 64, 67), chord(61, 65, 68)
    assert figures.chroma_agreement(bass, same, 16000) > figures.chroma_agreement(bass, other, 16000) + 0.4
    assert figures.chroma_agreement(same, same, 16000) == pytest.approx(1, abs=1e-5)
    assert np.isnan(figures.chroma_agreement(bass, np.zeros_like(bass), 16000))


def test_intervals_hold_the_mean_and_shrink_with_the_clips():
    values = np.random.default_rng(0).normal(3, 1, 400)
    mean, low, high = figures.bootstrap(values)
    few = figures.bootstrap(values[:20])
    assert low < mean < high and mean == pytest.approx(3, abs=0.15) and high - low < 0.25 < few[2] - few[1]
    assert all(np.isnan(figures.bootstrap(np.array([np.nan]))))


def test_the_frechet_distance_of_gaussians_is_the_formula():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (20000, 3)), rng.normal([1, 0, 0], [1, 2, 1], (20000, 3))
    assert distances.frechet(a, b) == pytest.approx(1 + (2 - 1) ** 2, abs=0.15)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-6)
    small = rng.normal(0, 1, (10, 64))  # fewer embeddings than dimensions
    assert distances.frechet(small, small) == pytest.approx(0, abs=1e-6)


def test_the_limit_takes_the_bias_of_few_clips_away():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (3000, 16)), rng.normal(0, 1, (120, 16))
    biased, limit = distances.frechet(a, b), distances.limit(a, b)
    assert biased > 0.5 and abs(limit) < 0.6 * biased
    assert np.isnan(distances.limit(a, b[:8]))


def test_the_kernel_distance_is_zero_for_equals_and_grows():
    rng = np.random.default_rng(3)
    a, same, near, far = (rng.normal(shift, 1, (300, 8)) for shift in (0, 0, 0.5, 3))
    assert abs(distances.kernel(a, same)) < 0.5 < distances.kernel(a, near) < distances.kernel(a, far) < 200
    clips = [part.reshape(75, 4, 8) for part in (a, far)]
    found = distances.kad(list(clips[0]), list(clips[1]), draws=20)
    assert found.low < found.value < found.high


def test_musicnn_tells_sounds_apart_offline():
    rng = np.random.default_rng(4)
    noise = 0.1 * rng.standard_normal(6 * 16000).astype(np.float32)
    tones = [chord(40 + 3 * i, 47 + 3 * i, seconds=6.0) for i in range(3)]
    made = [musicnn.embed(audio, 16000) for audio in (*tones, noise)]
    assert all(one.shape == (2, 200) and np.isfinite(one).all() for one in made)
    among = max(np.linalg.norm(made[0].mean(0) - one.mean(0)) for one in made[1:3])
    assert np.linalg.norm(made[0].mean(0) - made[3].mean(0)) > 1.3 * among


def test_embeddings_whose_weights_are_not_here_are_told(monkeypatch, tmp_path):
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
    heard = {
        "hidden_size": 16 * 8,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 1, 1],
        "projection_dim": 16,
    }
    ClapModel(ClapConfig(text_config=text, audio_config=heard, projection_dim=16)).save_pretrained(tmp_path / "clap")
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
