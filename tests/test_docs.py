"""Pages that a command writes are what it would write now."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_from_paper_to_code_points_to_the_lines():
    pages = script("paper_to_code")
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(), "run: python scripts/paper_to_code.py --write"


def test_reproducing_the_paper_is_commands_that_exist(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "scripts" / "reproduce_paper.py"),
        "--data",
        "moisesdb",
        "--also",
        "MUSDB18=musdb18hq",
        "--out",
        str(tmp_path),
        "--dry-run",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    from test_documents import understand

    lines = [line.removeprefix("$ stage ").split() for line in printed.splitlines() if line.startswith("$")]
    assert len(lines) == 9
    for line in lines:
        understand(line)
