"""The file tree in CONTRIBUTING is the one that is there, and the weights in it are not too large."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_file_tree_is_whole():
    tree = re.search(r"```\nsrc/stage/\n(.*?)```", TEXT, re.S)[1]
    named = set()
    for line in tree.splitlines():
        left = re.split(r" {3,}", line.strip())[0]
        for name in re.findall(r"[\w.]+/?", left):
            named.add(f"src/stage/{name}" if line.startswith("  ") else name)
    there = {f"src/stage/{p.name}{'/' * p.is_dir()}" for p in (ROOT / "src/stage").iterdir() if p.name != "__pycache__"}
    there = {name for name in there if name.endswith((".py", "/"))}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert there - named == set()


def test_files_that_are_named_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`((?:src|docs|tests|recipes)/[\w./-]+)`", TEXT):
        assert (ROOT / target).exists(), target


def test_shipped_weights_stay_small():
    """90 MB in all, a file below 40 MB."""
    weights = ROOT / "src/stage/weights"
    sizes = {file.relative_to(weights): file.stat().st_size for file in weights.rglob("*") if file.is_file()}
    assert sum(sizes.values()) <= 90e6, sum(sizes.values())
    assert max(sizes.values()) < 40e6, max(sizes, key=sizes.__getitem__)
