"""How the tests share a machine: one thread a worker, the longest test first, and an interrupt that interrupts."""

import os
import signal
from pathlib import Path

import pytest

import stage

os.environ.setdefault("STAGE_TUNE", "off")  # kernels by rule, so that tests do the same on every machine
stage.deterministic()  # as the command line does, before torch is imported

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read when PyTorch is first imported, here and in the commands that tests start
    )

# A shell's background job ignores Ctrl-C and its children inherit that; tests send it to the commands they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(
        key=lambda item: item.path.name != "test_reproduce.py"
    )  # two minutes; last, it would keep one core waiting


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A checkpoint folder of a small model with drawn weights."""
    from helpers.fakes import drawn_stage

    path = tmp_path_factory.mktemp("models") / "drawn"
    drawn_stage().save_pretrained(path)
    return path


@pytest.fixture
def tune(tmp_path, monkeypatch) -> Path:
    """A song of three seconds in an empty current folder."""
    import soundfile

    from helpers.fakes import song

    monkeypatch.chdir(tmp_path)
    soundfile.write("tune.wav", song(3.0).T, 44100)
    return Path("tune.wav")
