"""Commands that README, docs and help show, and a world in which they can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.commands import tree

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"\((?:needs (?:the hub|a GPU|a cluster|your data|published weights)|takes hours)\)")
"""Why a command is not run by the tests; docs/index.md explains the marks."""


NAMES = {path for path, _, _ in tree()}


@dataclass(frozen=True)
class Command:
    """A command line as a page shows it. where: the page. why: the mark in its comment, "" where it is to be run."""

    line: str
    where: str
    why: str = ""

    @property
    def args(self) -> list[str]:
        return shlex.split(self.line)

    @property
    def pattern(self) -> bool:
        """Whether it explains and is not to be typed: it has a placeholder (CAPITALS, ...) or is a bare name."""
        words = self.args[1:]
        placeholder = any(re.fullmatch(r"\.{3}|[A-Z]+(/[A-Z]+)?", word) for word in words)
        return placeholder or (" ".join(words) in NAMES and " ".join(words) not in ("models", "adapters"))


def shown(text: str, where: str) -> Iterator[Command]:
    """Commands of a Markdown text: lines of shell blocks, and `stage ...` within sentences."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command, _, comment = line.partition(" #")
            if command.strip() and not command.startswith("#"):
                mark = MARK.search(comment)
                yield Command(_tidy(command), where, mark[0] if mark else "")
    for line in re.findall(r"`(stage [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        yield Command(_tidy(line), where)


def _tidy(line: str) -> str:
    """Without what it is piped into or written to, and with single blanks."""
    return re.sub(r" +", " ", re.split(r" [|>] ", line)[0].strip())


def of_pages() -> list[Command]:
    """All commands of README and docs."""
    return [command for page in PAGES for command in shown(page.read_text(encoding="utf-8"), page.name)]


def of_help() -> list[Command]:
    """The examples in the commands' own help."""
    found = []
    for path, command, _ in tree():
        for line in (command.help or "").splitlines():
            if line.strip().startswith("stage "):
                text = re.split(r" {3,}| #", line.strip())[0]
                found.append(Command(_tidy(text), f"stage {path} --help"))
    return found
