"""The figures of benchmarks/styles.py, by hand."""

import importlib.util
from pathlib import Path

import pytest

from stage.notes import Note

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def styles(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("styles_benchmark", FOLDER / "styles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bass(*starts: float) -> list[Note]:
    return [Note(start, start + 0.2, 40, 90) for start in starts]


def test_the_take_between_two_others_agrees_best(styles):
    assert styles.agreeing([bass(0, 1), bass(0, 1, 2, 3), bass(2, 3)], drums=False) == 1
    assert styles.agreeing([bass(0, 1, 2), bass(0, 1), bass(5, 6)], drums=False) == 0


def test_differences_are_reckoned_clip_by_clip(styles):
    nan = float("nan")

    def row(plain: float, close: float) -> dict:
        def one(value: float) -> dict:
            return {"F": value, "kick, snare": nan, "repeats": 0.5, "fills": nan}

        made = {
            name: {"all": one(plain), "chosen": one(plain + 0.25), "milliseconds": 100.0} for name in styles.PROMPTS
        }
        return made | {"genre, close": {"all": one(close), "chosen": one(close), "milliseconds": 50.0}}

    lines = styles.table([row(0.25, 0.5), row(0.5, 0.75)], 4).splitlines()
    assert "| none | 0.375 (0.250..0.500) | - | 0.500 (0.500..0.500) | - | 100 |" in lines
    assert "| genre, close, against none | +0.250 (+0.250..+0.250) | - | +0.000 (+0.000..+0.000) | - | |" in lines
    assert "| none, chosen of 4, against all | +0.250 (+0.250..+0.250) | - | +0.000 (+0.000..+0.000) | - | |" in lines
    assert any(line.startswith("| genre, close | 0.625") and line.endswith("| 50 |") for line in lines)
