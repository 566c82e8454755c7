"""Help that can be read, and one word for one thing."""

import re

import pytest

from helpers.commands import tree
from stage.cli import app, models, train

TREE = list(tree())


def test_every_command_is_found():
    paths = {path for path, _, _ in TREE}
    assert {"accompany", "click", "models get", "adapters merge", "train finetune", "bench", "evaluate"} <= paths


@pytest.mark.parametrize("table", [app.COMMANDS, models.COMMANDS, train.COMMANDS], ids=["stage", "models", "train"])
def test_summaries_fit_a_line(table):
    assert all(len(entry.summary) <= 45 and entry.summary.endswith(".") for entry in table.values())


@pytest.mark.parametrize("path, command, context", TREE, ids=[path for path, _, _ in TREE])
def test_help_is_not_mangled(path, command, context):
    """Lines of 80 characters, no runs of blanks within a sentence, no mark of a paragraph left, examples whole."""
    text = command.get_help(context)
    body = re.split(r"(?m)^\w[\w ]*:$", text)[0]
    examples = [line.strip() for line in body.splitlines() if line.strip().startswith("stage ")]
    for line in body.splitlines():
        if line.strip() not in examples:
            assert len(line) <= 80 and not re.search(r"\S   +\S", line), line
    assert "\b" not in text and "\\b" not in text
    written = [line.strip() for line in (command.help or "").splitlines() if line.strip().startswith("stage ")]
    assert examples == written


def test_an_option_has_one_spelling():
    """The same long name has the same short one wherever it stands, and there is no second word for a thing."""
    known: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for path, command, _ in TREE:
        for parameter in (one for one in command.params if one.param_type_name == "option"):
            name = next(one for one in parameter.opts if one.startswith("--"))  # further ones are spellings of before
            short = tuple(one for one in parameter.opts if not one.startswith("--"))
            known.setdefault(name, {}).setdefault(short, []).append(path)
    assert {name: uses for name, uses in known.items() if len(uses) > 1} == {}
    assert not {"--accelerator", "--folder", "--output", "--checkpoint"} & set(known)
