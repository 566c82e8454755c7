"""Fine-tuning: it learns, it changes what it may, it leaves what it should, and it stops with a reason."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.fake_songs import small_base, write_songs
from stage.cli import app as cli
from stage.errors import StageError
from stage.pipeline import Stage
from stage.training.finetune import checkpoints
from stage.training.finetune import run as loop
from stage.training.finetune.recipe import Keep, Recipe, read
from stage.training.finetune.trainable import prepare

pytest.importorskip("lightning_fabric")
RECIPE = """
name: small
examples: {stems: [drums], seconds: 1.0, crop: [0.5, 1.0]}
batch: {size: 2, accumulate: 1}
optimizer: {lr: 1e-3}
schedule: {steps: 3}
loader: {workers: 0}
validation: {examples: 2}
every: {log: 1, validate: 0, save: 2, listen: 0}
track: {tensorboard: false}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finetune")
    write_songs(root / "songs", train=2, held=1, seconds=3.0)
    small_base().save_pretrained(str(root / "base"))
    small_base(stems=()).save_pretrained(str(root / "musicgen"))
    (root / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return root


def recipe(place: Path, *changes: str) -> Recipe:
    return read(place / "recipe.yaml", changes)


def train(place: Path, out: Path, *changes: str, base: str = "base", **how) -> loop.Ended:
    return loop.finetune(
        recipe(place, *changes), str(place / base), place / "songs", out, on_note=lambda line: None, **how
    )


def losses(out: Path, name: str = "loss") -> list[float]:
    return [
        line[name]
        for line in map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        if name in line
    ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "decoder.safetensors")


# ---------------------------------------------------------------- learning


def test_one_example_is_memorised(place, tmp_path):
    train(
        place,
        tmp_path / "run",
        "loader.cache=tokens",
        "loader.cached_examples=1",
        "schedule.steps=60",
        "optimizer.lr=0.01",
        "batch.size=1",
        "examples.context_dropout=0",
        "examples.text_dropout=0",
        "optimizer.clip_norm=1",
        "schedule.kind=cosine",
    )
    found = losses(tmp_path / "run")
    assert len(found) == 60 and found[0] > 2.5 and np.mean(found[-3:]) < 0.5 * found[0]


def test_all_weights(place, tmp_path):
    ended = train(place, tmp_path / "run", "every.listen=3", "every.validate=2", "track.tensorboard=true")
    assert ended == loop.Ended("finished", 3, tmp_path / "run" / "model")
    old, new = weights(place / "base"), weights(ended.place)
    assert {n for n in old if torch.equal(old[n], new[n])} == set()  # everything has moved,
    pad = small_base().decoder.config.pad
    assert (new["embed"][:, pad] == 0).all()  # and the padding row has not
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert line["loss"] == pytest.approx((line["loss/codebook0"] + line["loss/codebook1"]) / 2, abs=1e-5)
    assert line["samples_per_second"] > 0 and 0 <= line["waiting_for_data"] <= 1
    assert len(losses(tmp_path / "run", "valid/mix")) == len(losses(tmp_path / "run", "valid/click")) == 2
    known = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert known["starts"][0]["versions"]["torch"] == torch.__version__ and known["songs"]["held out"] == ["heldout-50"]
    assert "CC-BY-NC-4.0" in (ended.place / "README.md").read_text(encoding="utf-8")
    assert read(tmp_path / "run" / "recipe.yaml") == recipe(
        place, "every.listen=3", "every.validate=2", "track.tensorboard=true"
    )
    made = sorted(path.name for path in (tmp_path / "run" / "listen" / "step-00000003").iterdir())
    assert [name for name in made if name.endswith("png")] == [
        "drums-click-heldout-50.png",
        "drums-mix-heldout-50.png",
    ] and len(made) == 8
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert Stage.from_pretrained(str(ended.place)).generate_audio({}, "drums", seconds=0.5).shape == (1, 16000)


def test_an_adapter_plays_on_its_base(place, tmp_path):
    ended = train(place, tmp_path / "run", "learn.parameters=lora", "examples.stems=[bass]", "learn.rank=2")
    assert ended.place == tmp_path / "run" / "adapter" and (ended.place / "adapter.safetensors").stat().st_size < 10_000
    stage = Stage.from_pretrained(str(place / "base"))
    assert stage.load_adapter(ended.place) == "bass"
    assert stage.generate_audio({}, "bass", seconds=0.5).shape == (1, 16000)
    assert any(delta.b.abs().sum() > 0 for layer in stage.voices["bass"].adapter.layers for delta in layer.values())


def test_embeddings_and_attention(place, tmp_path):
    ended = train(place, tmp_path / "run", "learn.parameters=embeddings+attention")
    old, new = weights(place / "base"), weights(ended.place)
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    parts = [
        f"layers.{i}.{part}"
        for i in range(2)
        for part in ("self_norm.weight", "self_norm.bias", "qkv.weight", "self_out.weight")
    ]
    assert moved == {"embed", *parts}


@pytest.mark.parametrize("base", ["base", "musicgen"])
def test_several_stems_from_a_base_of_one_or_none(place, tmp_path, base):
    ended = train(place, tmp_path / "run", "examples.stems=[bass, drums]", base=base)
    stage = Stage.from_pretrained(str(ended.place))
    assert stage.stems == ("bass", "drums") and stage.decoder.config.contexts == ("mix",)
    names = stage.decoder.embed[:, -2:]  # the rows that name the stems
    assert not torch.equal(names[:, 0], names[:, 1]) and (stage.decoder.embed[:, stage.decoder.config.pad] == 0).all()


def test_an_average_of_the_weights_is_what_comes_out(place, tmp_path):
    plain, averaged = (train(place, tmp_path / str(share), f"ema={share}") for share in (0.0, 0.999))
    old, new, near = weights(place / "base"), weights(plain.place), weights(averaged.place)
    assert losses(tmp_path / "0.0") == losses(tmp_path / "0.999")
    assert 0 < (near["head"] - old["head"]).abs().max() < 0.02 * (new["head"] - old["head"]).abs().max()


def test_activation_checkpoints_change_nothing(place, tmp_path):
    for name in ("false", "true"):
        train(place, tmp_path / name, f"engine.activation_checkpointing={name}")
    assert losses(tmp_path / "true") == losses(tmp_path / "false")


def test_the_rate_warms_up_and_falls(place):
    plan = recipe(place, "schedule.steps=100", "schedule.kind=cosine", "schedule.warmup=10", "schedule.floor=0.1")
    factors = [plan.schedule.factor(step) for step in (0, 9, 10, 55, 100)]
    assert factors == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])
    assert recipe(place).schedule.factor(12345) == 1.0


# ---------------------------------------------------------------- tokens


def test_a_cache_of_tokens_is_made_once_and_drawn_from_anew(place, tmp_path):
    from stage.data import open_songs
    from stage.data.examples import Cutter
    from stage.training.finetune import tokencache

    options = recipe(place).examples
    songs = [song for song in open_songs(place / "songs") if song.split == "train"]
    codec = small_base().codec
    cut = Cutter(songs, tokencache.undropped(options), 1)
    tokencache.fill(tmp_path, 70, cut, codec, torch.device("cpu"))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(made) == 2
    tokencache.fill(tmp_path, 100, cut, codec, torch.device("cpu"))  # grows to what is there already
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    cache = tokencache.TokenCache(tmp_path, 70, options, 1, (13, 25))
    first, again = [cache(n) for n in range(70)], [cache(n) for n in range(70, 140)]
    assert sorted(e.target.tobytes() for e in first) == sorted(e.target.tobytes() for e in again)  # each once an epoch,
    assert [e.target.tobytes() for e in first] != [e.target.tobytes() for e in again]  # in another order
    crops = [e.context.shape[1] for e in first if e.context is not None]
    assert 13 <= min(crops) < max(crops) <= 25 and len(crops) < 70
    whole = codec.encode(torch.from_numpy(cut(int(cache.order(0)[5])).target))
    assert np.array_equal(cache(5).target, whole[0].numpy())  # what the codec makes of the same example
    assert 10 < sum(bool(e.text) for e in first) < 60


def test_what_cannot_be_cut_is_left_out_and_counted():
    from stage.training.finetune.batches import Cuts

    def cut(number: int) -> int:
        if number < 1 << 40:
            raise StageError("song 7 is broken")
        return number

    number, example, skipped = Cuts(cut)[3]
    assert number == 3 and example == 3 + (1 << 40) and skipped == ["example 3: song 7 is broken"]
    with pytest.raises(StageError, match="8 examples in a row.*broken"):
        Cuts(lambda number: cut(0))[0]


def test_held_out_songs_are_those_of_the_data_or_the_last_ones():
    from types import SimpleNamespace as Song

    from stage.training.finetune.songs import split

    def songs(*splits: str | None) -> list[Song]:
        return [
            Song(id=f"{9 - i}", stems={"drums": []} if i else {"bass": []}, split=name) for i, name in enumerate(splits)
        ]

    def ids(parts: tuple[list, list]) -> tuple[str, str]:
        return "".join(s.id for s in parts[0]), "".join(s.id for s in parts[1])

    assert ids(split(songs("train", "train", "test", "valid", "train", None), ["drums"], 2)) == (
        "58",
        "6",
    )  # never the test songs, if it can be helped
    assert ids(split(songs(None, None, None, None, None), ["drums"], 1)) == ("567", "8")
    assert ids(split(songs(None, None, None), ["drums"], 24)) == ("7", "8")  # half at the most


# ---------------------------------------------------------------- stopping


def test_a_loss_that_is_not_a_number_stops_with_a_report(place, tmp_path, monkeypatch):
    def poisoned(base: Stage, stems: tuple[str, ...], seed: int) -> Stage:
        made = prepare(base, stems, seed)
        with torch.no_grad():
            made.decoder.layers[1].up.weight[0, 0] = float("nan")
        return made

    monkeypatch.setattr(loop, "prepare", poisoned)
    with pytest.raises(StageError, match=r"not a number in step 1 \(songs: train-.*layers.1.up.weight") as error:
        train(place, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "nan-step-1-process-0.json").read_text(encoding="utf-8"))
    assert str(tmp_path / "run") in str(error.value) and report["weights that are not finite"] == ["layers.1.up.weight"]
    assert len(report["passes"][0]["songs"]) == 2 and report["passes"][0]["losses of the codebooks"] == ["nan", "nan"]
    assert not checkpoints.folders(tmp_path / "run")


def test_a_signal_saves_and_the_command_goes_on(place, tmp_path, capsys, monkeypatch):
    arguments = [
        "train",
        "finetune",
        str(place / "recipe.yaml"),
        "--base",
        str(place / "base"),
        "--data",
        str(place / "songs"),
        "--out",
        str(tmp_path / "run"),
    ]
    whole = train(place, tmp_path / "whole", "schedule.steps=5")
    advance = loop.Run.advance

    def disturbed(self, passes, signals):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, passes, signals)

    monkeypatch.setattr(loop.Run, "advance", disturbed)
    monkeypatch.setattr("sys.argv", ["stage", *arguments, "--set", "schedule.steps=5"])
    assert cli.run([*arguments, "--set", "schedule.steps=5"]) == 130
    printed = capsys.readouterr()
    assert "stopped after step 3, and saved; the same command goes on from there: stage train finetune" in printed.out
    assert printed.err == ""  # nothing to the contrary
    assert cli.run([*arguments, "--set", "schedule.steps=5"]) == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert (tmp_path / "run" / "model" / "decoder.safetensors").read_bytes() == (
        whole.place / "decoder.safetensors"
    ).read_bytes()
    capsys.readouterr()
    assert cli.run([*arguments, "--set", "schedule.steps=5"]) == 0
    assert "is finished: 5 steps" in capsys.readouterr().out
    assert cli.run([*arguments, "--set", "optimizer.lr=1"]) == 2
    assert "another recipe (optimizer.lr: 0.001, now 1.0" in capsys.readouterr().err
    assert cli.run([*arguments, "--set", "schedule.steps=6"]) == 0  # a longer way is the same run
    assert losses(tmp_path / "run")[:5] == losses(tmp_path / "whole") and len(losses(tmp_path / "run")) == 6


def test_the_last_and_the_best_checkpoints_stay(place, tmp_path):
    for step, valid in enumerate([3.0, 1.0, 2.0, None, 4.0], start=1):
        checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": step, "valid": valid}, Keep(last=2, best=1))
    assert [checkpoints.about(folder)["step"] for folder in checkpoints.folders(tmp_path)] == [2, 4, 5]
    (tmp_path / "checkpoints" / "step-00000005" / "state.pt").write_bytes(b"half")
    with pytest.raises(StageError, match="step-00000005 is damaged"):
        checkpoints.read(checkpoints.folders(tmp_path)[-1])


def test_a_validation_after_the_save_of_a_step_reaches_its_checkpoint(tmp_path):
    checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": 2, "valid": 1.0}, Keep(last=1, best=1))
    for valid in (None, 0.5):
        checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": 4, "valid": valid, "run": 1}, Keep(last=1, best=1))
    checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": 4, "valid": None}, Keep(last=1, best=1))
    assert [checkpoints.about(folder) for folder in checkpoints.folders(tmp_path)] == [
        {"step": 4, "valid": 0.5, "run": 1}
    ]
    assert [path.parent.name for path in tmp_path.rglob("state.pt")] == ["step-00000004"]


def test_the_last_step_can_be_the_best_one(place, tmp_path):
    ended = train(
        place, tmp_path / "run", "schedule.steps=4", "every.save=2", "every.validate=3", "export=best", "keep.last=4"
    )
    assert ended.how == "finished"
    assert checkpoints.about(checkpoints.folders(tmp_path / "run")[-1])["valid"] is not None


def test_a_run_is_alone_in_its_folder(place, tmp_path):
    from stage.files import lock

    left = tmp_path / "run" / "checkpoints" / ".partial-abc"  # as earlier versions left them
    left.mkdir(parents=True)
    with lock(tmp_path / "run"), pytest.raises(StageError, match="run is in use by another run"):
        train(place, tmp_path / "run")
    assert train(place, tmp_path / "run").how == "finished" and not left.exists()


def test_a_run_of_an_older_recipe_and_a_broken_log_go_on(place, tmp_path):
    train(place, tmp_path / "run", "schedule.steps=2")
    folder = checkpoints.folders(tmp_path / "run")[-1]
    known = checkpoints.about(folder)
    del known["recipe"]["schedule"]["decay"], known["recipe"]["track"]  # keys that came later
    (folder / "state.json").write_text(json.dumps(known), encoding="utf-8")
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_text('{"step"\n' + log.read_text(encoding="utf-8") + '{"step": 3, "lo', encoding="utf-8")
    train(place, tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 3


def test_another_base_and_a_damaged_checkpoint_are_refused(place, tmp_path):
    train(place, tmp_path / "run", "schedule.steps=2")
    folder = checkpoints.folders(tmp_path / "run")[-1]
    known = checkpoints.about(folder)
    for change, message in (
        ({"base": "another"}, "began with another base than"),
        ({"examples": 9}, "takes 9 examples a step, and this would be 2"),
        ({"seconds": None}, "step-00000002 is damaged: delete it"),
        ({"recipe": []}, "step-00000002 is damaged: delete it"),
    ):
        (folder / "state.json").write_text(json.dumps(known | change), encoding="utf-8")
        with pytest.raises(StageError, match=message):
            train(place, tmp_path / "run")
    (folder / "state.json").write_text(json.dumps(known), encoding="utf-8")
    torch.save({"moving": {}}, folder / "state.pt")
    with pytest.raises(StageError, match="step-00000002 does not fit the base"):
        train(place, tmp_path / "run")


def test_data_and_base_are_looked_at_before_anything_is_loaded(place, tmp_path, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(loop.Stage, "from_pretrained", loaded)
    for base, data, message in (
        ("base", "s3://bucket/songs", r"s3://bucket/songs"),
        ("base", str(tmp_path / "nowhere"), "nowhere is not there"),
        ("nothing", str(place / "songs"), "no model '.*nothing'"),
    ):
        with pytest.raises(StageError, match=message):
            loop.finetune(recipe(place), str(place / base), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, monkeypatch):
    checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": 1, "valid": None}, Keep())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StageError, match="step 2 could not be written .No space left"):
        checkpoints.write(tmp_path, {"x": torch.ones(1)}, {"step": 2, "valid": None}, Keep())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_what_cannot_be_trained_is_refused(place, tmp_path):
    for changes, message in (
        (["examples.stems=[oboe]"], "no song has oboe among its stems; those there are: bass, drums, keys"),
        (["engine.accelerator=cuda"] if not torch.cuda.is_available() else ["engine.devices=99"], "CUDA|GPUs"),
        (["engine.strategy=fsdp", "engine.accelerator=cpu"], "give --devices 2"),
        (["engine.precision=16", "engine.accelerator=cpu"], "16-bit training is for GPUs"),
        (["codebook_weights=[1.0]"], "2 numbers above 0"),
    ):
        with pytest.raises(StageError, match=message):
            train(place, tmp_path / "run", *changes)
    with pytest.raises(StageError, match="takes no context"):
        train(place, tmp_path / "run", "learn.parameters=lora", base="musicgen")
