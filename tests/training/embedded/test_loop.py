"""Small real trainings: they learn, they go on after a kill, they export a model that plays."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stage.errors import StageError
from stage.training.embedded import loop, token_views
from stage.training.embedded.muon import orthogonal
from stage.training.embedded.recipe import DecoderRecipe, TrackerRecipe
from stage.training.recipe import read

pytest.importorskip("tensorboard")
RECIPES = Path(__file__).parents[3] / "recipes"
TINY = {"width": 32, "encoder_blocks": 1, "decoder_blocks": 1, "latent": 16, "codebooks": 2, "codebook_size": 32}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Two songs a split, of tones and noise bursts on the beat, in the corpus' layout."""
    root = tmp_path_factory.mktemp("corpus")
    for split, first in (("train", 0), ("heldout", 5)):
        for i in range(first, first + 2):
            folder = root / split / f"{split}-{i}"
            folder.mkdir(parents=True)
            rng, time = np.random.default_rng(i), np.arange(12 * 32000) / 32000
            beats = [round(0.2 + 0.5 * n, 3) for n in range(23)]
            hits = sum(np.exp(-30 * np.maximum(time - b, 0)) * (time >= b) for b in beats)
            stems = {
                "drums": 0.2 * hits * rng.standard_normal(len(time)),
                "bass": 0.2 * np.sin(2 * np.pi * (60 + 10 * i) * time),
                "keys": 0.1 * np.sin(2 * np.pi * (300 + 50 * i) * time),
            }
            for name, audio in stems.items():
                soundfile.write(folder / f"{name}.flac", audio, 32000, subtype="PCM_16")
            (folder / "song.json").write_text(
                json.dumps(
                    {
                        "id": folder.name,
                        "rate": 32000,
                        "samples": len(time),
                        "stems": {n: {} for n in stems},
                        "beats": beats,
                        "downbeat_numbers": [n % 4 + 1 for n in range(23)],
                        "genre": "rock",
                        "moods": ["calm"],
                        "captions": ["a calm song"],
                        "chords": [{"start": 0.0, "end": 12.0, "name": "C", "root": 0, "pitch_classes": [0, 4, 7]}],
                        "stem_captions": {"drums": ["plain drums"], "bass": ["low bass"]},
                        "density": {n: 0.5 for n in stems},
                    }
                ),
                encoding="utf-8",
            )
    return root


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> tuple[Path, Path]:
    """The shipped recipes, made small."""
    folder = tmp_path_factory.mktemp("recipes")
    codec = yaml.safe_load((RECIPES / "embedded-codec.yaml").read_text(encoding="utf-8"))
    codec.update(model=TINY, batch=4, quantize_after=2, log_every=2, save_every=5)
    codec["data"]["seconds"] = 0.64
    codec["schedule"].update(steps=10, warmup=2)
    decoder = yaml.safe_load((RECIPES / "embedded-decoder.yaml").read_text(encoding="utf-8"))
    decoder.update(codec=TINY, codebook_weights=[1.0, 0.5], log_every=2, validate_every=5, listen_every=5)
    decoder["model"].update(dim=32, layers=1, heads=1, ffn_dim=64, context_layers=4, context_width=16)
    decoder["context_first"].update(steps=5, rows=2, seconds=2)
    decoder["batch"].update(columns=300, seconds=[2])
    decoder["schedule"].update(steps=10, warmup=2)
    decoder["views"].update(speed=0.5, pitch=0.5)
    for name, recipe in (("codec", codec), ("decoder", decoder)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder / "codec.yaml", folder / "decoder.yaml"


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_whole_way_from_songs_to_a_model(corpus, recipes, tmp_path):
    from stage import Stage
    from stage.cli import train as command

    torch.manual_seed(0)
    command.codec(recipes[0], corpus, tmp_path / "codec", changes=["schedule.steps=5"])
    assert lines(tmp_path / "codec")[-1]["step"] == 5
    command.codec(recipes[0], corpus, tmp_path / "codec")  # goes on where it stopped
    log = lines(tmp_path / "codec")
    assert log[-1]["step"] == 10 and [l["step"] for l in log if "total" in l] == [2, 4, 6, 8, 10]
    weights = tmp_path / "codec" / "codec.safetensors"

    command.views(recipes[1], corpus, weights, tmp_path / "views")
    made = sorted((tmp_path / "views" / "train").glob("*"))
    assert [p.suffix for p in made] == [".safetensors"] * 2
    stamps = [p.stat().st_mtime_ns for p in made]
    command.views(recipes[1], corpus, weights, tmp_path / "views")
    assert [p.stat().st_mtime_ns for p in made] == stamps  # finished views are kept

    command.decoder(recipes[1], tmp_path / "views", weights, tmp_path / "run", changes=["schedule.steps=5"])
    command.decoder(recipes[1], tmp_path / "views", weights, tmp_path / "run", export=tmp_path / "model")
    log = lines(tmp_path / "run")
    assert log[-1]["step"] == 10 and "gap/drums/both" in log[-1]
    model = Stage.from_pretrained(str(tmp_path / "model"))
    stem = model.generate_audio({}, "bass", seconds=1.0, seeds=(1, 2))
    assert stem.shape == (2, 32000) and np.isfinite(stem).all()


def test_the_beat_network_learns_and_goes_on(corpus, tmp_path):
    from safetensors.torch import load_file

    from stage.training.embedded.tracker import train

    changes = [
        "model.width=16",
        "model.layers=4",
        "frames=200",
        "batch=4",
        "log_every=1",
        "save_every=10",
        "dropout=0.0",
        "data={clicks: 0.5, drums: 1, keep: 1, gain_db: 0, eq_db: 0, room: 0, noise: 0}",
        "schedule.warmup=2",
        "optimizer.lr=0.005",
    ]
    recipe = read(TrackerRecipe, RECIPES / "tracker.yaml", [*changes, "schedule.steps=40"])
    train(recipe, corpus, tmp_path)
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert len(losses) == 40 and np.mean(losses[-5:]) < 0.5 * losses[0]
    made = sorted((tmp_path / "spectra").rglob("*.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in made]
    recipe = read(TrackerRecipe, RECIPES / "tracker.yaml", [*changes, "schedule.steps=45"])
    weights = load_file(train(recipe, corpus, tmp_path))
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == list(range(1, 46))
    assert [path.stat().st_mtime_ns for path in made] == stamps  # what was computed is kept
    assert all(tensor.isfinite().all() for tensor in weights.values())
    recipe = read(TrackerRecipe, RECIPES / "tracker.yaml", [*changes, "schedule.steps=1", "optimizer.lr=1e-9"])
    again = load_file(train(recipe, corpus, tmp_path / "next", base=tmp_path / "beattcn.safetensors"))
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
    with pytest.raises(StageError, match="no weights at"):
        train(recipe, corpus, tmp_path / "none", base=tmp_path / "absent")
    other = read(TrackerRecipe, RECIPES / "tracker.yaml", [*changes, "model.width=8"])
    with pytest.raises(StageError, match="another shape"):
        train(other, corpus, tmp_path / "other", base=tmp_path / "beattcn.safetensors")


def test_a_training_shows_how_far_it_is(corpus, tmp_path, monkeypatch):
    from stage.training.embedded.tracker import train

    seen = []

    @contextlib.contextmanager
    def bar(what, total, count):
        seen.append((0.0, what))
        yield SimpleNamespace(update=lambda done=None, what=None: seen.append((done, what)))

    monkeypatch.setattr(loop, "bar", bar)
    changes = ["model.width=8", "model.layers=2", "frames=50", "batch=1", "log_every=2", "schedule.steps=4"]
    train(read(TrackerRecipe, RECIPES / "tracker.yaml", changes), corpus, tmp_path)
    assert [done for done, _ in seen if done is not None] == [0.0, 0.0, 0.25, 0.5, 0.75]
    assert [what.partition(",")[0] for _, what in seen if what is not None] == ["step 0", "step 2", "step 4"]


def test_the_decoder_learns(corpus, recipes, tmp_path):
    """Some steps on two songs bring the loss well down."""
    from stage.models.spectral import SpectralCodec, SpectralConfig
    from stage.training.embedded.decoder import train
    from stage.training.embedded.token_views import prepare

    torch.manual_seed(0)
    codec = SpectralCodec(SpectralConfig(**TINY)).eval()
    codec.quantizer.embed.normal_()
    recipe = read(DecoderRecipe, recipes[1], ["schedule.steps=40", "validate_every=1000", "listen_every=1000"])
    for split in ("train", "heldout"):
        prepare(recipe, corpus, split, tmp_path / "views", codec)
    train(recipe, tmp_path / "views", codec, tmp_path / "run")
    first = [l["first"] for l in lines(tmp_path / "run") if "first" in l]
    assert np.mean(first[-3:]) < 0.75 * first[0]


@pytest.mark.parametrize("name", ["banana", "meta", "cuda:99", ""])
def test_a_device_that_is_not_there_is_one_line(name):
    with pytest.raises(StageError, match="no device|training runs on cpu or cuda"):
        loop.device(name)


def test_songs_that_are_not_ours_are_one_line(corpus, recipes, tmp_path):
    import shutil

    shutil.copytree(next((corpus / "train").iterdir()), tmp_path / "corpus" / "train" / "odd")
    path = tmp_path / "corpus" / "train" / "odd" / "song.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    recipe = read(DecoderRecipe, recipes[1])
    for broken in ({"captions": ["a"]}, meta | {"beats": "none"}, meta | {"chords": [{}]}):
        path.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(StageError, match="song.json"):
            views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views", ("train",))
    path.write_text(json.dumps(meta), encoding="utf-8")
    (path.parent / "drums.flac").write_bytes(b"fLaC")
    with pytest.raises(StageError, match="drums.flac") as error:  # its own error, not one of the metadata
        views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views", ("train",))
    assert "song.json" not in str(error.value)
    with pytest.raises(StageError, match="--worker is a number from 0 to 1"):
        token_views.prepare(recipe, tmp_path / "corpus", "train", tmp_path / "views", None, 2, 2)


def test_muon_makes_orthogonal_updates():
    matrices = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.6 and values.max() < 1.3


def views_and_codec(corpus: Path, recipe: DecoderRecipe, folder: Path, splits: tuple = ("train", "heldout")):
    from stage.models.spectral import SpectralCodec, SpectralConfig

    torch.manual_seed(0)
    codec = SpectralCodec(SpectralConfig(**TINY)).eval()
    codec.quantizer.embed.normal_()
    for split in splits:
        token_views.prepare(recipe, corpus, split, folder, codec)
    return codec


def test_a_stopped_decoder_goes_on_to_the_last_digit(corpus, recipes, tmp_path, monkeypatch):
    """Rates, dropout and weights are those of a run that was not stopped; an old state loads by its old names."""
    import os
    import signal

    from stage.files import lock
    from stage.training.embedded import decoder
    from stage.training.embedded.loop import Stopped

    recipe = read(
        DecoderRecipe, recipes[1], ["schedule.steps=8", "validate_every=4", "log_every=1", "precision=float32"]
    )
    codec = views_and_codec(corpus, recipe, tmp_path / "views")

    def train(name: str) -> list[dict]:
        decoder.train(recipe, tmp_path / "views", codec, tmp_path / name)
        return [
            {k: v for k, v in line.items() if k not in ("time", "columns_per_second")}
            for line in lines(tmp_path / name)
        ]

    whole = train("whole")
    assert len(lines(tmp_path / "whole" / "pretrain")) >= 1
    loss = decoder.DecoderTraining.loss

    def stopping(self):
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self)

    with monkeypatch.context() as patch:
        patch.setattr(decoder.DecoderTraining, "loss", stopping)
        with pytest.raises(Stopped) as stopped:
            train("stopped")
    assert stopped.value.step == 6
    state = torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)
    old = {"heads.": "listener.", "context_heads.": "context_listener."}
    state["trainee"] = {
        next((old[new] + name[len(new) :] for new in old if name.startswith(new)), name): value
        for name, value in state["trainee"].items()
    }
    torch.save(state, tmp_path / "stopped" / "state.pt")
    with lock(tmp_path / "stopped"), pytest.raises(StageError, match="in use by another run"):
        train("stopped")
    assert train("stopped") == whole
    first, second = (torch.load(tmp_path / n / "state.pt", weights_only=True)["trainee"] for n in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)

    with pytest.raises(StageError, match="another recipe .seed: 1, now 2"):
        decoder.train(read(DecoderRecipe, recipes[1], ["seed=2"]), tmp_path / "views", codec, tmp_path / "whole")
    with torch.no_grad():
        codec.quantizer.embed[0, 0, 0] += 1
    with pytest.raises(StageError, match="was encoded by another codec"):
        decoder.train(recipe, tmp_path / "views", codec, tmp_path / "other")


def test_a_song_with_one_stem_gives_a_view_without_a_target(corpus, recipes, tmp_path):
    import shutil

    from stage.training.embedded.token_examples import Examples
    from stage.training.embedded.token_views import load_views

    for split in ("train", "heldout"):
        folder = tmp_path / "corpus" / split / "alone"
        shutil.copytree(next((corpus / "train").iterdir()), folder)
        meta = json.loads((folder / "song.json").read_text(encoding="utf-8"))
        (folder / "song.json").write_text(json.dumps(meta | {"stems": {"drums": {}}}), encoding="utf-8")
    recipe = read(DecoderRecipe, recipes[1])
    codec = views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views")
    found = load_views(tmp_path / "views" / "train", codec)
    assert sorted(found[0]) == ["beats", "chords", "click", "grid", "meta"]
    from stage.training.embedded.decoder import shape

    with pytest.raises(StageError, match="none of the 1 views has drums or bass"):
        Examples(found, shape(recipe, codec), recipe.batch, recipe.text, 25.0, 1)
    with pytest.raises(StageError, match="no views in"):
        load_views(tmp_path / "nothing")


def test_views_of_a_song_that_changed_are_made_again(corpus, recipes, tmp_path):
    import shutil

    for split in ("train", "heldout"):
        shutil.copytree(next((corpus / split).iterdir()), tmp_path / "corpus" / split / "one")
    recipe = read(DecoderRecipe, recipes[1])
    views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views")
    made = tmp_path / "views" / "train" / "one.safetensors"
    first = made.stat().st_mtime_ns
    views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views")
    assert made.stat().st_mtime_ns == first
    (tmp_path / "corpus" / "train" / "one" / "song.json").touch()
    views_and_codec(tmp_path / "corpus", recipe, tmp_path / "views")
    assert made.stat().st_mtime_ns != first
