"""Adapters as files, on a whole Stage, and on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from helpers.fakes import drawn_stage, song
from stage.checkpoints import adapters, paths
from stage.cli import app as cli
from stage.errors import StageError
from stage.generation.decoding import Sampling
from stage.models.lora import new_adapter
from stage.models.precision import MATRICES
from stage.pipeline import Stage

GREEDY = Sampling(guidance=2.0, temperature=0)


def make(stage: Stage, stem: str, name: str = "", seed: int = 1, **values):
    """An adapter with random weights."""
    adapter = new_adapter(stage.decoder, stem, name, base=stage.config.name, rank=2, layers=MATRICES, **values)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return adapter


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder of installed adapters."""
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "adapters"


def audio(stage: Stage, stem: str):
    return stage.generate_audio({"mix": song(1.0, stage.codec.sample_rate)[0]}, stem, seconds=1.0, sampling=GREEDY)


def test_the_home_of_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("STAGE_HOME", str(tmp_path))
    assert paths.home() == tmp_path and paths.adapters() == tmp_path / "adapters" and adapters.installed() == []
    monkeypatch.delenv("STAGE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user" / "data"))
    assert paths.home().name == "stage" and paths.home().is_absolute()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 0.0), (torch.bfloat16, 0.004)])
def test_what_is_saved_is_loaded(place, dtype, tolerance):
    adapter = make(drawn_stage(), "guitar", "blues", alpha=3.0, licence="CC0-1.0")
    adapters.save(place / "blues", adapter, dtype)
    again = adapters.load("blues")
    assert again.config == adapter.config and adapters.describe(place / "blues") == adapter.config
    for (name, a), (_, b) in zip(adapter.state_dict().items(), again.state_dict().items(), strict=True):
        assert b.dtype == dtype and torch.allclose(a, b.float(), rtol=tolerance, atol=0), name
    size = sum(p.numel() for p in adapter.parameters()) * dtype.itemsize
    assert 0 <= (place / "blues" / "adapter.safetensors").stat().st_size - size < 8000  # names and nothing of the base
    assert oct((place / "blues" / "adapter.safetensors").stat().st_mode)[-3:] == "644"
    assert not any(p.requires_grad for p in again.parameters())


def test_nothing_is_overwritten_or_left_half_written(place, monkeypatch):
    stage = drawn_stage()
    adapters.save(place / "blues", make(stage, "guitar"))
    before = (place / "blues" / "adapter.safetensors").read_bytes()
    with pytest.raises(StageError, match="exists; choose another"):
        adapters.save(place / "blues", make(stage, "guitar", seed=2))
    assert (place / "blues" / "adapter.safetensors").read_bytes() == before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapters, "save_file", full)
    with pytest.raises(StageError, match="No space left"):
        adapters.save(place / "rock", make(stage, "guitar"))
    assert [path.name for path in place.iterdir()] == ["blues"]


def _weights(change):
    def spoil(path: Path) -> None:
        weights = load_file(path / adapters.WEIGHTS)
        change(weights)
        save_file(weights, path / adapters.WEIGHTS)

    return spoil


def _settings(change):
    def spoil(path: Path) -> None:
        settings = json.loads((path / adapters.SETTINGS).read_text())
        change(settings)
        (path / adapters.SETTINGS).write_text(json.dumps(settings))

    return spoil


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_weights(lambda w: w.pop("separator")), "separator is missing"),
        (_weights(lambda w: w.update(more=torch.zeros(2))), "more is unknown"),
        (_weights(lambda w: w.update(separator=torch.zeros(2, 31))), r"separator is \[2, 31\], not \[2, 32\]"),
        (_weights(lambda w: w.update(separator=torch.zeros(2, 32).long())), "numbers that are not finite"),
        (_weights(lambda w: w["separator"].fill_(float("nan"))), "numbers that are not finite"),
        (lambda p: (p / adapters.WEIGHTS).unlink(), "adapter.safetensors is missing"),
        (
            lambda p: (p / adapters.WEIGHTS).write_bytes((p / adapters.WEIGHTS).read_bytes()[:-9]),
            "not a whole safetensors",
        ),
        (lambda p: (p / adapters.WEIGHTS).write_bytes(b"\x80pickle"), "not a whole safetensors"),
        (lambda p: (p / adapters.SETTINGS).write_text("{"), "does not describe"),
        (lambda p: (p / adapters.SETTINGS).write_text("[]"), "does not describe"),
        (lambda p: (p / adapters.SETTINGS).write_bytes(b"\xff\xfe"), "does not describe"),
        (_settings(lambda s: s.update(format=9)), "format 9; this version reads format 1"),
        (_settings(lambda s: s.pop("stem")), "it lacks 'stem'"),
        (_settings(lambda s: s.update(rank=10**12)), "the rank is a number from 1 to 65536"),
        (_settings(lambda s: s.update(rank="2")), "rank"),
        (_settings(lambda s: s.update(layers=["ears"])), "ears"),
        (_settings(lambda s: s.update(layers=3)), "does not describe"),
        (_settings(lambda s: s["base"]["shape"].update(colour="red")), "colour"),
    ],
)
def test_a_spoilt_adapter_is_refused_in_one_line(place, spoil, message):
    adapters.save(place / "blues", make(drawn_stage(), "guitar"))
    spoil(place / "blues")
    with pytest.raises(StageError, match=message) as error:
        adapters.load("blues")
    assert "\n" not in str(error.value)


def test_what_is_not_there_lists_what_is(place, tmp_path):
    adapters.save(place / "blues", make(drawn_stage(), "guitar"))
    with pytest.raises(StageError, match="no adapter 'rock'.*: blues"):
        adapters.load("rock")
    with pytest.raises(StageError, match="is not an adapter"):
        adapters.load(tmp_path)


# ---------------------------------------------------------------- on a Stage


def test_several_stems_on_one_base(place):
    stage = drawn_stage()
    drums = audio(stage, "drums")
    for name, stem, seed in (("blues", "guitar", 1), ("jazz", "drums", 2), ("metal", "drums", 3)):
        adapters.save(place / name, make(stage, stem, name, seed))
    assert [stage.load_adapter(name) for name in ("blues", "jazz", place / "metal")] == ["guitar", "jazz", "metal"]
    assert stage.stems == ("drums", "bass", "guitar", "jazz", "metal")
    made = {stem: audio(stage, stem) for stem in stage.stems}
    assert (made["drums"] == drums).all()
    names = list(made)
    assert not any((made[a] == made[b]).all() for i, a in enumerate(names) for b in names[:i])
    assert stage.accompany(song(1.5), 44100, "guitar", grid="off").stem == "guitar"
    with pytest.raises(StageError, match='"jazz" is played already: unload'):
        stage.load_adapter("jazz")
    stage.unload_adapter("guitar")
    assert stage.stems == ("drums", "bass", "jazz", "metal")
    with pytest.raises(StageError, match='plays no "guitar"'):
        stage.accompany(song(1.5), 44100, "guitar", grid="off")
    with pytest.raises(StageError, match="those loaded play jazz, metal"):
        stage.unload_adapter("guitar")


def test_streams_of_several_stems_take_turns_on_one_base(place):
    stage = drawn_stage()
    for name, stem, seed in (("blues", "guitar", 1), ("jazz", "drums", 2)):
        adapters.save(place / name, make(stage, stem, name, seed))
    names = ["drums", stage.load_adapter("blues"), stage.load_adapter("jazz")]
    asked = dict(audio=song(2.5), rate=44100, grid="off", seed=3)  # longer than a window
    whole = {name: stage.accompany(**asked, stem=name, level=False).stems for name in names}
    streams = {name: stage.stream(**asked, stem=name, chunk_seconds=0.2) for name in names}
    parts = {name: [next(streams[name])] for name in names}
    stage.unload_adapter("guitar")  # what is being played goes on to its end
    while streams:
        for name in list(streams):
            if (part := next(streams[name], None)) is None:
                del streams[name]
            else:
                parts[name].append(part)
    for name in names:
        assert len(parts[name]) > 3 and np.abs(np.concatenate(parts[name], 1) - whole[name]).max() < 1e-4
    assert not np.allclose(whole["guitar"], whole["jazz"], atol=1e-3) and not np.allclose(
        whole["drums"], whole["jazz"], atol=1e-3
    )


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_an_adapter_plays_over_a_packed_model(place, tmp_path, precision):
    stage = drawn_stage()
    stage.save_pretrained(tmp_path / "model")
    adapters.save(place / "blues", make(stage, "guitar", "blues"))
    packed = Stage.from_pretrained(tmp_path / "model", device="cpu", precision=precision)
    bare = audio(packed, "drums")
    stem = packed.load_adapter("blues")
    assert not np.allclose(audio(packed, stem), bare, atol=1e-3) and (audio(packed, "drums") == bare).all()


def test_an_adapter_may_replace_the_models_stem_for_a_while(place):
    stage = drawn_stage()
    drums = audio(stage, "drums")
    adapters.save(place / "drums", make(stage, "drums"))
    with pytest.raises(StageError, match="replace=True"):
        stage.load_adapter("drums")
    assert stage.load_adapter("drums", replace=True) == "drums" and stage.stems == ("drums", "bass")
    assert not (audio(stage, "drums") == drums).all()
    stage.unload_adapter("drums")
    assert (audio(stage, "drums") == drums).all()


def test_an_adapter_of_another_base_is_refused(place):
    stage = drawn_stage()
    adapters.save(place / "blues", make(stage, "guitar"))
    with torch.no_grad():
        stage.decoder.norm.weight.add_(0.1)
    with pytest.raises(StageError, match='base "drawn"; "drawn" has the same shape but other weights'):
        stage.load_adapter("blues")
    assert stage.voices == {}


def test_a_merged_model_is_saved_and_plays_the_same(place, tmp_path):
    stage = drawn_stage()
    adapters.save(place / "blues", make(stage, "guitar", "blues", licence="CC0-1.0"))
    merged = stage.merge_adapter(stage.load_adapter("blues"))
    assert merged.stems == ("guitar",) and merged.config.name == "drawn+blues" and merged.config.licence == "CC0-1.0"
    merged.save_pretrained(tmp_path / "merged")
    again = Stage.from_pretrained(tmp_path / "merged", device="cpu")
    assert (audio(again, "guitar") == audio(stage, "guitar")).all()
    with pytest.raises(StageError, match='no adapter plays "drums"'):
        stage.merge_adapter("drums")


# ---------------------------------------------------------------- on the command line


def run(*args) -> int:
    return cli.run([str(arg) for arg in args])


@pytest.fixture
def studio(place, tmp_path, monkeypatch):
    """A model, an adapter for a stem it lacks and one for a stem it has, in an empty current folder."""
    stage = drawn_stage()
    stage.save_pretrained(tmp_path / "model")
    adapters.save(place / "blues", make(stage, "guitar", "blues", licence="CC0-1.0"))
    adapters.save(place / "jazz", make(stage, "drums", "jazz", seed=2))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    soundfile.write("tune.wav", song(1.5).T, 44100)
    return tmp_path / "model"


def test_adapters_play_on_the_command_line(studio, place, capsys):
    both = ("--adapter", "blues", "--adapter", place / "jazz")
    for stem, adapter, out in (("guitar", both, "a"), ("drums", both, "b"), ("drums", (), "c")):
        assert (
            run("accompany", "tune.wav", "--stem", stem, "--grid", "off", "--model", studio, *adapter, "-o", out) == 0
        )
    assert Path("a/tune.guitar.0.wav").is_file()
    assert Path("b/tune.drums.0.wav").read_bytes() != Path("c/tune.drums.0.wav").read_bytes()
    assert run("click", "--bpm", 240, "--bars", 1, "--stem", "guitar", "--model", studio, "--adapter", "blues") == 0
    assert Path("click-240-4-4-stage/click-240-4-4.guitar.0.wav").is_file()
    capsys.readouterr()
    assert run("accompany", "tune.wav", "--stem", "guitar", "--model", studio, "--adapter", "rock", "-o", "d") == 2
    assert "no adapter 'rock'" in capsys.readouterr().err


def test_adapters_are_listed_and_described(studio, place, capsys):
    (place / "spoilt").mkdir()
    (place / "spoilt" / "adapter.json").write_text("{")
    for command in (("adapters",), ("adapters", "list")):
        assert run(*command) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert lines[0][:3] == ["3", "installed", "in"]
        assert ["blues", "guitar", "drawn", "2", "0.0", "CC0-1.0"] in lines and lines[-1][:2] == ["spoilt", "damaged:"]
    assert run("adapters", "info", "blues") == 0
    out = capsys.readouterr().out
    assert "guitar" in out and "rank 2, alpha 2" in out and "CC0-1.0" in out and str(place / "blues") in out
    assert run("adapters", "info", "spoilt") == 2
    assert "does not describe an adapter" in capsys.readouterr().err


def test_merging_on_the_command_line(studio, capsys):
    assert run("adapters", "merge", studio, "jazz", "jazzer") == 0
    assert capsys.readouterr().out.split() == ["jazzer"]
    again = Stage.from_pretrained("jazzer", device="cpu")
    base = Stage.from_pretrained(studio, device="cpu")
    assert (audio(again, "drums") == audio(base, base.load_adapter("jazz", replace=True))).all()
    assert run("adapters", "merge", studio, "jazz", "jazzer") == 2
    assert "exists; choose another folder" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["jazzer", "tune.wav"]
