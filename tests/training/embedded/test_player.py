"""The player's training: views of notes, examples, a small training that learns and goes on."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stage.config import EventsConfig
from stage.errors import StageError
from stage.generation.played import time_line
from stage.models.events import codecs
from stage.models.features import BEAT, HEARD
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.training.embedded import loop, player
from stage.training.embedded.event_examples import BARE, Examples, Given, batches
from stage.training.embedded.event_views import prepare
from stage.training.embedded.loop import Stopped
from stage.training.embedded.player_recipe import PlayerRecipe
from stage.training.embedded.token_views import load_views
from stage.training.recipe import read

pytest.importorskip("tensorboard")
RECIPES = Path(__file__).parents[3] / "recipes"
TINY = SpectralConfig(width=32, encoder_blocks=1, decoder_blocks=1, latent=16, codebooks=2, codebook_size=32)
RATE, SECONDS = 32000, 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Two songs a split in the corpus' layout: drums and a bass that plays the chords' roots, in tones."""
    root = tmp_path_factory.mktemp("corpus")
    for split, first in (("train", 0), ("heldout", 5)):
        for i in range(first, first + 2):
            folder = root / split / f"{split}-{i}"
            folder.mkdir(parents=True)
            beats = [round(0.2 + 0.5 * n, 3) for n in range(23)]
            roots = [36 + (i + 5 * (n // 4)) % 12 for n in range(23)]
            time = np.arange(SECONDS * RATE) / RATE
            audio = {"drums": np.zeros(len(time)), "bass": np.zeros(len(time))}
            for beat, pitch in zip(beats, roots):
                after = np.maximum(time - beat, 0)
                audio["drums"] += 0.2 * np.exp(-40 * after) * (time >= beat) * np.sin(2 * np.pi * 180 * after)
                inside = (time >= beat) & (time < beat + 0.4)
                audio["bass"] += 0.2 * inside * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * after)
            for name, sound in audio.items():
                soundfile.write(folder / f"{name}.flac", sound, RATE, subtype="PCM_16")
            spans = [(beats[n], beats[min(n + 4, 22)], roots[n] % 12) for n in range(0, 20, 4)]
            meta = {
                "id": folder.name,
                "rate": RATE,
                "samples": len(time),
                "stems": {"drums": {"kit": 32}, "bass": {"program": 33}},
                "beats": beats,
                "downbeat_numbers": [n % 4 + 1 for n in range(23)],
                "genre": "rock",
                "moods": ["calm"],
                "captions": ["a calm song"],
                "stem_captions": {"drums": ["plain drums"], "bass": ["low bass"]},
                "density": {"drums": 0.5, "bass": 0.25},
                "sections": [{"start": beats[0], "end": beats[8], "kind": "verse"}],
                "chords": [
                    {"start": a, "end": b, "name": "C", "root": r, "pitch_classes": [r, (r + 4) % 12]}
                    for a, b, r in spans
                ],
                "notes": {
                    "drums": [[b, b + 0.1, 36 if n % 2 else 38, 100] for n, b in enumerate(beats)],
                    "bass": [[b, b + 0.4, p, 80] for b, p in zip(beats, roots)],
                },
            }
            (folder / "song.json").write_text(json.dumps(meta), encoding="utf-8")
    return root


def tiny(*changes: str) -> PlayerRecipe:
    small = ["stems=[drums,bass]", "batch.stems={drums: 0.5, bass: 0.5}", "batch.columns=300", "batch.beats=[4,6]"]
    small += ["model.dim=32", "model.layers=1", "model.heads=2", "model.ffn_dim=64", "model.context_layers=2"]
    small += ["model.context_width=16", "views.versions=2", "schedule.steps=8", "schedule.warmup=2", "log_every=1"]
    small += ["validate_every=4", "precision=float32"]
    return read(PlayerRecipe, RECIPES / "player.yaml", [*small, *changes])


def codec() -> SpectralCodec:
    torch.manual_seed(0)
    made = SpectralCodec(TINY).eval().requires_grad_(False)
    made.quantizer.embed.normal_()
    return made


@pytest.fixture(scope="module")
def views(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    for split in ("train", "heldout"):
        prepare(tiny(), corpus, split, folder, codec())
    return folder


def examples(views: Path, recipe: PlayerRecipe | None = None, seed: int = 1) -> Examples:
    recipe = recipe or tiny()
    return Examples(load_views(views / "train", codec()), player.shape(recipe, codec()), recipe, 25.0, seed)


def same(a, b) -> bool:
    tensors = all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("target", "features", "chord"))
    return tensors and torch.equal(a.sequence.columns, b.sequence.columns) and a.prompts == b.prompts


# ---------------------------------------------------------------- views


def test_views_are_of_the_song_the_recipe_and_the_codec(corpus, tmp_path):
    out, songs = tmp_path / "views", tmp_path / "corpus"
    shutil.copytree(corpus / "train" / "train-0", songs / "train" / "train-0")

    def stamps(*changes: str, encoder: SpectralCodec | None = None) -> list[int]:
        prepare(tiny(*changes), songs, "train", out, encoder or codec())
        return [path.stat().st_mtime_ns for path in sorted((out / "train").glob("*"))]

    first = stamps()
    assert len(first) == 2 and stamps() == first
    assert stamps("views.versions=3")[:2] == first  # more versions leave those that are there
    changed = stamps("views.keep=0.5")
    assert not set(changed[:2]) & set(first)
    other = codec()
    other.quantizer.embed.add_(1)
    again = stamps("views.keep=0.5", encoder=other)
    assert not set(again[:2]) & set(changed[:2])
    (songs / "train" / "train-0" / "song.json").touch()
    assert not set(stamps("views.keep=0.5", encoder=other)[:2]) & set(again)


def test_a_view_follows_its_speed_and_pitch(corpus, tmp_path):
    prepare(tiny("views.speed=1", "views.pitch=1"), corpus, "train", tmp_path, codec())
    song = json.loads((corpus / "train" / "train-0" / "song.json").read_text(encoding="utf-8"))
    for view in load_views(tmp_path / "train")[:2]:
        speed = song["beats"][-1] / float(view["beats"][-1, 0])
        assert speed != 1 and abs(float(view["notes.drums"][-1, 0]) * speed - song["notes"]["drums"][-1][0]) < 1e-3
        assert view["notes.drums"][:, 2].tolist() == [n[2] for n in song["notes"]["drums"]]
        moved = {int(p) - n[2] for p, n in zip(view["notes.bass"][:, 2], song["notes"]["bass"])}
        assert len(moved) == 1 and -5 <= min(moved) <= 6
        assert (int(view["chords"][0, 2]) - song["chords"][0]["root"] - min(moved)) % 12 == 0
        assert abs(view["meta"]["seconds"] * speed - SECONDS) < 0.1
        assert view["mix.bass"].shape[0] == 2 and abs(view["mix.bass"].shape[1] / 25 - view["meta"]["seconds"]) < 0.1


def test_songs_without_notes_are_one_line(corpus, tmp_path):
    shutil.copytree(corpus / "train" / "train-0", tmp_path / "corpus" / "train" / "old")
    path = tmp_path / "corpus" / "train" / "old" / "song.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    del meta["notes"]
    path.write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(StageError, match="song.json is not as stage corpus writes it"):
        prepare(tiny(), tmp_path / "corpus", "train", tmp_path / "views", codec())
    path.write_text(json.dumps(meta | {"rate": 16000, "notes": {}}), encoding="utf-8")
    with pytest.raises(StageError, match="is at 16000 Hz, the codec at 32000 Hz"):
        prepare(tiny(), tmp_path / "corpus", "train", tmp_path / "views", codec())


# ---------------------------------------------------------------- examples


def test_what_a_batch_holds_depends_on_seed_and_number_alone(views):
    first, second, other = examples(views), examples(views), examples(views, seed=2)
    second.batch(0)
    assert same(first.batch(3), second.batch(3))
    assert not same(first.batch(3), first.batch(4)) and not same(first.batch(3), other.batch(3))


@pytest.mark.parametrize("division", [12, 24, 0])
def test_an_example_is_the_notes_of_its_crop(views, division):
    """Codes at the right frames: kick and snare on the beats, and the bass on the root of the labelled chord."""
    made = examples(views, tiny(f"division={division}"))
    for stem in ("drums", "bass"):
        batch = made.batch(0, BARE, rows=6, stem=stem, beats=4)
        frames = 4 * division or 48
        assert batch.target.shape == (6, 17, frames) and batch.features.shape[1] == frames
        assert not batch.features[..., BEAT:HEARD].any() and batch.prompts == [""] * 6
        events = batch.target[:, 1:3]
        begun = (events[:, 0] > (0 if stem == "drums" else 1)) & (events[:, 1] > 0)
        if stem == "drums":
            begun |= batch.target[:, 3] > 0
            assert (batch.target[:, 0] == codecs()["drums"].instruments.index("jazz")).all()
        if division:
            assert set(begun.nonzero()[:, 1].tolist()) <= set(range(0, frames, division))
            assert (begun.sum(1) >= 3).all() and (batch.features[:, ::division, 0] == 1).all()
        else:
            assert (batch.features[:, :, :12].sum(-1) == 1).all()  # the place in the beat is known at any rate
        if stem == "bass":
            rows, at = begun.nonzero(as_tuple=True)
            pitch = (batch.target[rows, 1, at] - 2 + 21) % 12
            roots = batch.chord[rows, at, 0]
            assert (pitch == roots)[roots >= 0].float().mean() > 0.9 and (roots >= 0).any()


def test_what_is_given_is_there_and_the_rest_is_not(views):
    always = [f"batch.{name}=1.0" for name in ("chords", "controls", "bars", "mix", "clean_grid")]
    made = examples(views, tiny(*always, "batch.alone=0.0", "batch.no_grid=0.0", "text.dropout=0.0"))
    batch = made.batch(0, stem="bass")
    assert (batch.features[..., BEAT] == 1).all()
    assert (batch.features[..., [HEARD - 6, HEARD - 4, HEARD - 2, HEARD]] == 1).all()
    assert all(batch.prompts) and (batch.sequence.segments == made.config.segment(0)).any()
    alone = examples(views, tiny(*always, "batch.alone=1.0", "batch.no_grid=0.0")).batch(0)
    assert not alone.features[..., BEAT:].any() and not any(alone.prompts)
    assert not (alone.sequence.segments == made.config.segment(0)).any()
    assert alone.features[..., :BEAT].any()
    bare = made.batch(1, replace(BARE, wrong=True), stem="bass", rows=3, beats=4)
    right = made.batch(1, BARE, stem="bass", rows=3, beats=4)
    assert torch.equal(bare.target, right.target)
    length = right.sequence.first - 2
    mixes = right.sequence.columns[:, :1, :length], bare.sequence.columns[:, :1, :length]
    assert torch.equal(mixes[0].roll(-1, 0), mixes[1]) and not torch.equal(*mixes)
    assert not (made.batch(1, Given(mix=False), stem="bass").sequence.segments == made.config.segment(0)).any()


def test_without_a_grid_frames_lie_as_in_generation(views):
    """Those of ``stage.generation.played.time_line``: 120 beats a minute that begin anywhere; none is known."""
    recipe = tiny()
    made = examples(views, recipe)
    batch = made.batch(0, replace(BARE, grid=False), rows=4, stem="drums", beats=4)
    assert not batch.features[..., :BEAT].any() and (batch.features[..., HEARD] == 1).all()
    stand_in = time_line(None, 2.0, EventsConfig(recipe.division, recipe.frame_rate))
    assert batch.seconds == pytest.approx(4 * (stand_in.times[48] - stand_in.times[0]))
    kicks = (batch.target[:, 1] > 0).nonzero()[:, 1] % recipe.division
    assert len(set(kicks.tolist())) > 1  # the song's own beats lie elsewhere in each crop
    always = examples(views, tiny("batch.no_grid=1.0", "batch.mix=1.0", "batch.alone=0.0"))
    assert not always.batch(0, stem="bass").features[..., :BEAT].any()


def test_prompts_of_the_genre_alone(views):
    made = examples(views, tiny("text={dropout: 0, word_dropout: 0, tags: 0, stem: 1, short: 1}", "batch.alone=0.0"))
    assert set(made.batch(0, stem="bass").prompts + made.batch(1, stem="bass").prompts) == {"rock bass", "rock"}


def test_workers_make_the_same_batches(views):
    made = examples(views)
    ahead = list(batches(made, range(3, 6), workers=2))
    assert all(same(batch, made.batch(number)) for batch, number in zip(ahead, range(3, 6), strict=True))
    assert same(next(iter(batches(made, range(3, 6)))), made.batch(3))


def test_dropout_is_for_training_alone(views):
    recipe = tiny("dropout=0.5")
    trainable, batch = player.Trainable(recipe, player.shape(recipe, codec())), examples(views).batch(0)
    hidden = [trainable.hidden(batch)[0] for _ in range(2)]
    assert not torch.equal(*hidden)
    trainable.eval()
    assert torch.equal(trainable.hidden(batch)[0], trainable.hidden(batch)[0])


def test_a_stem_that_no_view_has_is_one_line(views):
    recipe = tiny("stems=[drums,bass,keys]", "batch.stems={drums: 0.5, keys: 0.5}")
    with pytest.raises(StageError, match="none of the views has keys and another stem"):
        examples(views, recipe).check()


@pytest.mark.parametrize(
    "change, message",
    [
        ("stems=[drums,flute]", "a stem is one of"),
        ("batch.beats=[1]", "2 beats or more"),
        ("batch.mix=2", "share from 0 to 1"),
        ("model.contexts=[grid,mix]", "one context, the mix"),
        ("views.versions=0", "above 0"),
        ("batch.stems={keys: 1.0}", "batch.stems names keys"),
        ("sampling={drums: {top_k: 3}}", "sampling of drums has top_k"),
        ("reading=guess", "reading is 'sound', 'model' or 'none'"),
    ],
)
def test_recipes_that_make_no_sense_are_one_line(change, message):
    with pytest.raises(StageError, match=message):
        tiny(change)


# ---------------------------------------------------------------- training


def lines(run: Path) -> list[dict]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "music_per_second")} for line in found]


def test_it_learns(views, tmp_path):
    recipe = tiny("schedule.steps=60", "validate_every=60", "optimizer.lr=0.004", "schedule.warmup=5")
    player.train(recipe, views, codec(), tmp_path)
    log = lines(tmp_path)
    nats = [line["nats"] for line in log if "nats" in line]
    assert len(nats) == 60 and np.mean(nats[-5:]) < 0.35 * np.mean(nats[:3])
    assert {"valid/drums", "gap/drums/wrong", "gap/bass/none"} <= set(log[-1])
    assert (tmp_path / "decoder.safetensors").exists() and (tmp_path / "text.safetensors").exists()


def test_a_stopped_training_goes_on_to_the_last_digit(views, tmp_path, monkeypatch):
    loss, asked = player.PlayerTraining.loss, SimpleNamespace(asked=False)

    def stopping(self):
        asked.asked |= self.step == 5  # as after a signal; signals themselves are tested in test_loop.py
        return loss(self)

    player.train(tiny(), views, codec(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(player.PlayerTraining, "loss", stopping)
        patch.setattr(loop, "Signals", lambda: nullcontext(asked))
        with pytest.raises(Stopped):
            player.train(tiny(), views, codec(), tmp_path / "stopped")
    player.train(tiny(), views, codec(), tmp_path / "stopped")
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    with pytest.raises(StageError, match="another recipe"):
        player.train(tiny("seed=2"), views, codec(), tmp_path / "whole")
    other = codec()
    other.quantizer.embed[0, 0, 0] += 1
    with pytest.raises(StageError, match="was encoded by another codec"):
        player.train(tiny(), views, other, tmp_path / "other")


def test_padding_adds_nothing_after_training(views, tmp_path):
    from safetensors.torch import load_file

    recipe = tiny("schedule.steps=2")
    weights = load_file(player.train(recipe, views, codec(), tmp_path) / "decoder.safetensors")
    assert not weights["target_embed"][:, -1].any() and not weights["embed"][:, 32].any()
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text(encoding="utf-8"))["division"] == 12
