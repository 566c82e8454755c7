"""Which kernel is taken: by measurement, which is kept, or by rule."""

import json

import pytest

from stage.models import tune
from stage.models.precision import Int8Linear, Int8RowsLinear, int8_kernels, pack
from stage.models.processor import pretend, processor


@pytest.fixture
def measured(monkeypatch):
    """Calls of the measurement, whose figures are made up."""
    calls = []

    def measure(precision, names):
        calls.append((precision, tuple(names)))
        return {name: float(10 - number) for number, name in enumerate(names)}  # the last is the fastest

    monkeypatch.setattr(tune, "measure", measure)
    monkeypatch.setattr(tune, "int8_kernels", lambda: ("bf16", "rows"))
    monkeypatch.delenv("STAGE_TUNE", raising=False)
    return calls


def test_a_machine_is_measured_once(measured, tmp_path):
    assert [tune.fastest("int8", tmp_path) for _ in range(3)] == ["rows"] * 3
    assert measured == [("int8", ("bf16", "rows"))]
    assert len(json.loads((tmp_path / "tune.json").read_text())) == 1
    for damaged in ("{", "[]", '{"a": 1}', "null"):
        (tmp_path / "tune.json").write_text(damaged)
        assert tune.fastest("int8", tmp_path) == "rows"
    (tmp_path / "file").write_text("")
    assert tune.fastest("int8", tmp_path / "file") == "rows"  # nothing can be kept there


def test_nothing_is_measured_where_that_is_turned_off_or_there_is_no_choice(measured, tmp_path, monkeypatch):
    assert not any(tune.fastest(precision, tmp_path) for precision in ("float32", "bf16", "int4"))
    monkeypatch.setenv("STAGE_TUNE", "off")
    assert tune.fastest("int8", tmp_path) == "" and not measured and not list(tmp_path.iterdir())


def test_a_kernel_is_taken_by_its_name_or_else_by_rule():
    import torch

    weight = torch.randn(16, 32)
    assert type(pack(weight, "int8", kernel="bf16")) is Int8Linear
    with pretend(bf16=True):
        assert type(pack(weight, "int8")) is Int8Linear
        if processor().byte_rows:
            rows = pack(weight, "int8", kernel="rows")
            assert type(rows) is Int8RowsLinear and rows(torch.randn(2, 32).bfloat16()).dtype == torch.bfloat16
    with pretend(bf16=False, byte_rows=False):
        assert type(pack(weight, "int8", kernel="rows")) is Int8Linear  # not to be had


def test_the_measurement_itself(monkeypatch):
    monkeypatch.setattr(tune, "SHAPE", (64, 128))
    monkeypatch.setattr(tune, "MATRICES", 2)
    names = list(int8_kernels())
    figures = tune.measure("int8", names)
    assert list(figures) == names and all(0 < figures[name] < 1e4 for name in names)
