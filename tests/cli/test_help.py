"""Help that can be read, and one word for one thing."""

import re

import pytest
import typer

from helpers.commands import tree
from stage.cli import app, models, train
from stage.cli.session import app as session

TREE = list(tree())


def test_every_command_is_found():
    paths = {path for path, _, _ in TREE}
    assert {"accompany", "click", "models get", "adapters merge", "train finetune", "bench", "evaluate"} <= paths


@pytest.mark.parametrize(
    "table",
    [app.COMMANDS, models.COMMANDS, train.COMMANDS, session.COMMANDS],
    ids=["stage", "models", "train", "session"],
)
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


@pytest.mark.parametrize(
    "command",
    [
        ["data", "--data", "SONGS"],
        ["prepare", "--out=OUT", "--data", "SONGS"],
        ["prepare", "SONGS", "-o", "OUT", "--rate", "16000"],
        ["acceptance", "--data", "SONGS", "--out", "OUT"],
        ["corpus", "--out", "OUT", "--songs", "3"],
        ["convert", "WEIGHTS", "--out", "OUT"],
        ["evaluate", "--model", "MODEL", "--data", "SONGS", "--out", "OUT"],
        ["adapters", "merge", "--model", "MODEL", "ADAPTER", "--out", "OUT"],
        ["train", "codec", "RECIPE", "--data", "SONGS", "--out", "OUT"],
        ["train", "finetune", "RECIPE", "--base", "MODEL", "--data", "SONGS", "--out", "OUT"],
        ["coherence", "--data", "SONGS"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_songs_results_and_models_have_one_option_everywhere(command):
    """--data, --out and --model are understood, whatever stands as an argument too."""
    inner = typer.main.get_command(app.app)
    context = inner.make_context("stage", list(command))
    while hasattr(inner, "commands"):
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        name, inner, rest = inner.resolve_command(context, rest)
        context = inner.make_context(name, rest, parent=context)
    values = [str(value) for value in context.params.values()] + [str(context.params.get("data"))]
    for word in ("SONGS", "OUT", "MODEL", "WEIGHTS", "ADAPTER"):
        assert (word in command or f"--out={word}" in command) == any(word in value for value in values), word
