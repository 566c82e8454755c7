"""Dataclasses from plain values (of JSON or YAML), strictly: every key and every type is checked, and the message names
the place."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import types
import typing
from typing import Any

from stage.errors import StageError


def build(cls: type, values: Any, where: str, path: str = "", root: type | None = None) -> Any:
    """A dataclass from plain values. where: the file, path: the section, for messages; root: the whole dataclass, whose
    other sections are searched for an unknown key (``cls`` by default).

    Raises StageError for a key that the section has not, a value of another type, or one that the class refuses.
    """
    if not isinstance(values, dict):
        raise StageError(f"{where}: {_place(path)} is a section with keys, not {_short(values)}")
    hints, made = typing.get_type_hints(cls), {}
    known = [one.name for one in dataclasses.fields(cls) if one.init]
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if key not in known:
            near = (
                _elsewhere(root or cls, str(key), 1.0)
                or difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                or _elsewhere(root or cls, str(key), 0.8)
            )
            raise StageError(
                f"{where} has an unknown key '{name[:80]}'; "
                + (f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}")
            )
        made[key] = convert(value, hints[key], where, name, root or cls)
    missing = [
        one.name
        for one in dataclasses.fields(cls)
        if one.init
        and one.name not in made
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise StageError(f"{where}: {_place(path)} lacks {', '.join(missing)}")
    try:
        return cls(**made)
    except (ValueError, TypeError) as error:
        raise StageError(f"{where}: {error}") from None


def convert(value: Any, kind: Any, where: str, name: str, root: type | None = None) -> Any:
    """A plain value as one of a field's type; StageError where it is of another type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [one for one in arguments if one is not type(None)]
        for one in rest[:-1]:
            try:
                return convert(value, one, where, name, root)
            except StageError:
                continue
        return convert(value, rest[-1], where, name, root)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return build(kind, value, where, name, root)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise StageError(f"{where}: '{name}' is a list, not {_short(value)}")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise StageError(f"{where}: '{name}' holds {len(kinds)} values, not {len(value)}")
        return tuple(convert(one, each, where, name, root) for one, each in zip(value, kinds))
    if origin is dict:
        if not isinstance(value, dict):
            raise StageError(f"{where}: '{name}' is a section with keys, not {_short(value)}")
        return {str(key): convert(one, arguments[1], where, f"{name}.{key}", root) for key, one in value.items()}
    if kind is float:
        value = _number(value)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):  # precision: 16
        return str(value)
    if kind in (bool, int, float, str) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise StageError(
            f"{where}: '{name}' is {'text' if kind is str else f'a value of kind {kind.__name__}'}, not {_short(value)}"
        )
    return value


def check_range(config: Any, **limits: tuple[float, float]) -> None:
    """Raise ValueError for the first of a dataclass's fields that is outside of its limits, or NaN. None always is
    inside."""
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} is {_short(value)}: choose a value from {low:g} to {high:g}")


def _number(value: Any) -> Any:
    """An integer, or a number that YAML reads as text (1e-5), as a float; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value


def _place(path: str) -> str:
    return f"'{path}'" if path else "the file"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a very large number"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _elsewhere(root: type, key: str, likeness: float) -> list[str]:
    """A key of a section of ``root`` that is called alike (likeness 1: the same), with its section."""
    hints = typing.get_type_hints(root)
    inner = {
        f"{name}.{one.name}": one.name
        for name, kind in hints.items()
        if dataclasses.is_dataclass(kind)
        for one in dataclasses.fields(kind)
    }
    found = difflib.get_close_matches(key, list(inner.values()), n=1, cutoff=likeness)
    return [whole for whole, name in inner.items() if found and name == found[0]][:1]


def read_json(path: str | os.PathLike, limit: int = 100_000_000) -> dict[str, Any]:
    """The keys and values of a JSON file in UTF-8. Raises StageError where it is missing, not JSON, or larger than
    ``limit`` bytes."""
    try:
        with open(path, "rb") as file:
            text = file.read(limit + 1)
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > limit:
        raise StageError(f"{path} has more than {limit / 1e6:.0f} MB: it is not a file of settings")
    return parse_json(text, path)


def parse_json(text: bytes, where: Any) -> dict[str, Any]:
    """The keys and values of JSON in UTF-8. Raises StageError where it is anything else."""
    try:
        values = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise StageError(f"{where} is not JSON ({_short(str(error))})") from None
    if not isinstance(values, dict):
        raise StageError(f"{where} is not a JSON object with keys")
    return values
