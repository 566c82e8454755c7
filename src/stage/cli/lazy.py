"""Groups of commands whose files are imported only when a command is called, and help in sections.

So `stage --help` answers in a tenth of a second, though some commands need torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from stage.errors import MissingExtra

PLAIN: dict[str, Any] = dict(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
"""Settings of every `typer.Typer` here: help is plain text."""


@dataclass(frozen=True)
class Entry:
    """A command of a group, before its file is imported.

    where: "module:function" of a typed function, or "module:app" of a `typer.Typer`. summary: one line of help, 45
    characters at most. section: of the group's help. extra: the optional dependencies that it needs.
    """

    where: str
    summary: str
    section: str = "Commands"
    extra: str | None = None


def spelled(first: tuple[str, ...] = (), last: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """A decorator of commands: options that may be written in place of the first and the last argument.

    So `--data`, `--out` and `--model` are understood wherever there are songs, results and a model.
    """

    def mark(function: Callable) -> Callable:
        function.first, function.last = first, last  # type: ignore[attr-defined]
        return function

    return mark


class Sections(TyperCommand):
    """A command whose options stand in sections: those named by ``rich_help_panel``, then the rest."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args, before = _taken(args, self.first)
        args, after = _taken(args, self.last)
        return super().parse_args(ctx, before + args + after)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        arguments = [one.name for one in self.get_params(ctx) if one.param_type_name == "argument"]
        spellings = {
            name: names for name, names in zip((*arguments[-1:], *arguments[:1]), (self.last, self.first)) if names
        }
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                if names := spellings.get(parameter.name):
                    record = (record[0], f"{record[1]}  [or {', '.join(names)}]")
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        if len(sections.get("Options", ())) and len(sections) > 2:
            sections["More"] = sections.pop("Options")
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _taken(args: list[str], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Arguments without these options, and the options' values."""
    kept, values, left = [], [], list(args)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word in names and left:
            values.append(left.pop(0))
        elif equals and name in names:
            values.append(value)
        else:
            kept.append(word)
    return kept, values


def lazy_group(entries: Mapping[str, Entry]) -> type[TyperGroup]:
    """A class of groups with these commands, for ``typer.Typer(cls=...)``."""

    class Group(TyperGroup):
        def __init__(self, **settings: Any):
            super().__init__(**settings)
            for name, entry in entries.items():  # for the listing and for "did you mean"
                self.commands.setdefault(name, TyperCommand(name, help=entry.summary))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in entries:
                return super().get_command(ctx, cmd_name)
            return load(f"{ctx.command_path} {cmd_name}", cmd_name, entries[cmd_name])

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            sections: dict[str, list[tuple[str, str]]] = {}
            for name, entry in entries.items():
                sections.setdefault(entry.section, []).append((name, entry.summary))
            for title, rows in sections.items():
                with formatter.section(title):
                    formatter.write_dl(rows)

    return Group


def load(path: str, name: str, entry: Entry) -> Any:
    """The command of an entry. Raises MissingExtra where what it imports is not installed."""
    module, _, attribute = entry.where.partition(":")
    try:
        found: Callable | typer.Typer = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if entry.extra is None or (error.name or "").split(".")[0] == "stage":
            raise
        raise MissingExtra(f"{path} ({error.name})", entry.extra) from None
    if not isinstance(found, typer.Typer):
        app = typer.Typer(**PLAIN)
        places = {"first": getattr(found, "first", ()), "last": getattr(found, "last", ())}
        app.command(name, cls=type("Command", (Sections,), places))(flat(found))
        found = app
    command = typer.main.get_command(found)
    command.name = name
    return command


def flat(function: Callable) -> Callable:
    """A command whose parameters of dataclasses (`stage.cli.groups`) are taken apart: an option of each field, in its
    place. Called with them, it calls the function with the dataclasses."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    if not groups:
        return function
    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        inner = get_type_hints(groups[name], include_extras=True)
        for one in fields(groups[name]):
            default = inspect.Parameter.empty if one.default is MISSING else one.default
            parameters.append(
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=inner[one.name])
            )

    def command(**values: Any) -> Any:
        for name, kind in groups.items():
            values[name] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})
        return function(**values)

    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command
