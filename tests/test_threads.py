"""How threads wait for each other, as the command line sets it."""

import os
import subprocess
import sys

import pytest

from stage import threads


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, str(threads.SPINS)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_sleep_soon_unless_the_user_has_settings_of_their_own(given, expected, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = os.environ.get("GOMP_SPINCOUNT")
    threads.wait_shortly()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.setenv("GOMP_SPINCOUNT", before or "")  # it is deleted again at the end


def test_the_command_sets_it_before_torch_is_there():
    code = (
        "import os, sys\n"
        "from stage.cli import app\n"
        "assert 'torch' not in sys.modules\n"
        "app._settle()\n"
        "assert 'torch' not in sys.modules and os.environ['GOMP_SPINCOUNT']\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
