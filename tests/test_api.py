"""The package as a Python program meets it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stage
from helpers.fakes import drawn_stage, song
from stage import BeatGrid, MissingFile, StageError, audio

SET_BY_THE_COMMAND = ("MKL_CBWR", "OPENBLAS_THREAD_TIMEOUT", "GOMP_SPINCOUNT")


def test_public_names_are_there_and_typed():
    for name in stage.__all__:
        assert getattr(stage, name) is not None and name in dir(stage)
    assert (Path(stage.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stage.nothing  # noqa: B018


def test_importing_and_loading_change_nothing_in_the_host_process():
    """No environment variables, no settings of the C library's heap, no torch before it is asked for."""
    code = (
        "import ctypes, os, sys\n"
        "before = dict(os.environ)\n"
        "import stage\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "from stage.models import malloc\n"
        "malloc.keep = lambda: sys.exit('mallopt')\n"
        "stage.Stage.from_pretrained(device='cpu')\n"
        "changed = {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "assert not {name for name in changed if 'MKL' in name or 'BLAS' in name or 'OMP' in name}, changed\n"
        "stage.deterministic()\n"
        "assert os.environ['MKL_CBWR'] == 'AUTO,STRICT'\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in SET_BY_THE_COMMAND}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stage_is_short_to_print_and_compared_by_identity():
    one, other = drawn_stage(), drawn_stage()
    assert repr(one) == "Stage('drawn', stems=('drums', 'bass'), device='cpu')"
    assert one == one and one != other


def test_errors_are_those_that_python_programs_expect(tmp_path):
    assert issubclass(StageError, ValueError)
    for load in (audio.read, BeatGrid.load):
        with pytest.raises(FileNotFoundError) as caught:
            load(tmp_path / "nothing.wav")
        assert isinstance(caught.value, MissingFile) and "nothing.wav" in str(caught.value)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(StageError, match=r"empty\.wav is empty$"):
        audio.read(tmp_path / "empty.wav")


def test_integers_are_scaled_and_channels_come_first():
    model = drawn_stage()
    floats = song(1.5)
    integers = np.round(floats * 32767).astype(np.int16)
    made = model.accompany(integers, 44100, "drums", grid="off")
    assert np.abs(made.song - floats).max() < 1e-4
    with pytest.raises(ValueError, match=r"channels come first: audio\.T"):
        model.accompany(floats.T, 44100, "drums")
