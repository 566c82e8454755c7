"""The command line as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from stage.cli.app import app


def tree() -> Iterator[tuple[str, Any, Any]]:
    """(path, command, context) of every command below `stage`, the groups among them; all are imported."""
    root = typer.main.get_command(app)
    waiting = [("", root, root.make_context("stage", [], resilient_parsing=True))]
    while waiting:
        path, command, context = waiting.pop()
        if path:
            yield path, command, context
        for name in getattr(command, "commands", {}):
            below = command.get_command(context, name)
            inner = below.make_context(name, [], parent=context, resilient_parsing=True)
            waiting.append((f"{path} {name}".strip(), below, inner))


def commands() -> list[str]:
    """Paths of all commands, like "train finetune"."""
    return [path for path, _, _ in tree()]
