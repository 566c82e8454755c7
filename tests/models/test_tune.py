"""Which kernel and which engine is taken: by measurement, which is kept, or by rule."""

import sys
from dataclasses import asdict, replace

import pytest
import torch

from stage.config import DecoderConfig
from stage.models import engine, tune
from stage.models.precision import Int8Linear, Int8RowsLinear, int8_kernels, pack
from stage.models.processor import pretend, processor

LARGE = DecoderConfig()


@pytest.fixture
def measured(monkeypatch):
    """Calls of the measurements, whose figures are made up."""
    calls = []

    def apart(what, names, *arguments):
        calls.append((what, *arguments))
        if what == "products":
            return {name: float(10 - number) for number, name in enumerate(names)}  # the last is the fastest
        return {"torch": 10.0, "openvino": 9.8 if arguments[1] == "int8" else 9.6}

    monkeypatch.setattr(tune, "apart", apart)
    monkeypatch.setattr(engine, "installed", lambda: True)
    monkeypatch.delenv("STAGE_TUNE", raising=False)
    return calls


def test_a_machine_is_measured_once(measured, tmp_path):
    names = list(int8_kernels())
    found = [tune.fastest("int8", tmp_path) for _ in range(3)]
    assert found == names[-1:] * 3 and len(measured) == (len(names) > 1)
    measured.clear()
    for _ in range(2):
        assert tune.is_engine_faster(LARGE, "int4", "", tmp_path)
        assert not tune.is_engine_faster(LARGE, "int8", "rows", tmp_path)  # by two of a hundred: not worth a change
    few = asdict(replace(LARGE, layers=6))
    assert measured == [("steps", few, "int4", ""), ("steps", few, "int8", "rows")]
    for damaged in ("{", "[]", '{"a": 1}', "null"):
        (tmp_path / "tune.json").write_text(damaged)
        assert tune.is_engine_faster(LARGE, "int4", "", tmp_path)
    (tmp_path / "file").write_text("")
    assert tune.is_engine_faster(LARGE, "int4", "", tmp_path / "file")  # nothing can be kept there


def test_nothing_is_measured_where_that_is_turned_off_or_there_is_no_choice(measured, tmp_path, monkeypatch):
    assert tune.fastest("float32", tmp_path) == "" == tune.fastest("int4", tmp_path)
    assert not any(tune.is_engine_faster(LARGE, kind, "", tmp_path) for kind in ("float32", "float16"))
    monkeypatch.setenv("STAGE_TUNE", "off")
    assert tune.fastest("int8", tmp_path) == "" and not tune.is_engine_faster(LARGE, "int4", "", tmp_path)
    monkeypatch.delenv("STAGE_TUNE")
    monkeypatch.setattr(engine, "installed", lambda: False)
    assert not tune.is_engine_faster(LARGE, "int4", "", tmp_path)
    assert not measured and not list(tmp_path.iterdir())


def test_a_kernel_is_taken_by_its_name_or_else_by_rule():
    weight = torch.randn(16, 32)
    assert type(pack(weight, "int8", kernel="bf16")) is Int8Linear
    with pretend(bf16=True):
        assert type(pack(weight, "int8")) is Int8Linear
        if processor().byte_rows:
            rows = pack(weight, "int8", kernel="rows")
            assert type(rows) is Int8RowsLinear and rows(torch.randn(2, 32).bfloat16()).dtype == torch.bfloat16
    with pretend(bf16=False, byte_rows=False):
        assert type(pack(weight, "int8", kernel="rows")) is Int8Linear  # not to be had


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
def test_the_measurements_themselves(monkeypatch, kind, bf16, positions):
    monkeypatch.setattr(tune, "SHAPE", (64, 128))
    monkeypatch.setattr(tune, "MATRICES", 2)
    monkeypatch.setattr(tune, "COLUMNS", 80)
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    with pretend(bf16=bf16):
        names = list(int8_kernels())
        if kind == "int8":
            figures = tune.products(kind, names)
            assert list(figures) == names and all(0 < value < 1e4 for value in figures.values())
        small = replace(
            LARGE, dim=64, ffn_dim=128, heads=2, layers=2, codebook_size=32, text_dim=16, positions=positions
        )
        figures = tune.steps(small, kind, "")
    assert 0 < figures["torch"] < 1e4
    assert 0 < figures["openvino"] < 1e4 if engine.installed() else figures["openvino"] == float("inf")
    assert torch.equal(torch.get_rng_state(), drawn)  # the caller's randomness is not touched


def test_a_kernel_that_fails_is_the_slowest(monkeypatch):
    monkeypatch.setattr(tune, "SHAPE", (64, 128))
    monkeypatch.setattr(tune, "MATRICES", 2)
    packed = tune.precision.pack

    def pack_one(weight, kind, kernel):
        if kernel == "rows":
            raise RuntimeError("no such instruction")
        return packed(weight, kind, kernel="bf16")

    monkeypatch.setattr(tune.precision, "pack", pack_one)
    figures = tune.products("int8", ["rows", "bf16"])
    assert figures["rows"] == float("inf") > figures["bf16"] > 0


def test_it_is_measured_in_a_process_of_its_own(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('a module of the user')")
    monkeypatch.chdir(tmp_path)
    few = asdict(replace(LARGE, dim=64, ffn_dim=128, heads=2, layers=1))
    figures = tune.apart("steps", tune.ENGINES, few, "int8", "")
    assert list(figures) == ["torch", "openvino"] and 0 < figures["torch"] < 1e4
    assert (figures["openvino"] < 1e4) == engine.installed()


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for Python")
@pytest.mark.parametrize(
    "does, taken",
    [
        ("kill -SEGV $$", [0.0, float("inf")]),  # as by an instruction that the processor does not have
        ("echo '{\"one\": 1}'", [0.0, float("inf")]),  # of another version
        ("kill -KILL $$", None),
        ("echo no figures", None),
    ],
)
def test_where_it_crashes_the_first_is_taken(monkeypatch, tmp_path, does, taken):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = tune.apart("products", ["bf16", "rows"], "int8", ["bf16", "rows"])
    assert found == (dict(zip(("bf16", "rows"), taken)) if taken else {})
    monkeypatch.delenv("STAGE_TUNE", raising=False)
    monkeypatch.setattr(engine, "installed", lambda: True)
    assert tune.fastest("int8", tmp_path / "home") == next(iter(int8_kernels()))
    assert not tune.is_engine_faster(LARGE, "int8", "", tmp_path / "home")
    assert (tmp_path / "home/tune.json").exists() == bool(taken)


def test_where_it_cannot_be_measured_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("STAGE_TUNE", raising=False)
    monkeypatch.setattr(engine, "installed", lambda: True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    assert tune.fastest("int8", tmp_path) == next(iter(int8_kernels()))
    assert not tune.is_engine_faster(LARGE, "int8", "", tmp_path) and not list(tmp_path.iterdir())


def test_an_engine_that_fails_is_the_slowest(monkeypatch):
    def fail(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(tune, "_by_engine", fail)
    monkeypatch.setattr(tune, "COLUMNS", 80)
    figures = tune.steps(replace(LARGE, dim=64, ffn_dim=128, heads=2, layers=2), "int8", "")
    assert figures["openvino"] == float("inf") > figures["torch"] > 0
