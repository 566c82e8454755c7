"""The one reader of recipes: YAML files with includes and changes, read strictly into frozen dataclasses.

A recipe may begin with ``include: other.yaml`` (or a list of files); its own keys go on top, section by section. An
unknown key is refused, and the nearest known one is suggested: a misspelt constant that is ignored costs days.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from stage.errors import MissingExtra, StageError
from stage.typed import build

Kind = TypeVar("Kind")


def read(kind: type[Kind], path: str | Path, changes: Sequence[str] | None = ()) -> Kind:
    """Read a recipe with its includes into the dataclass ``kind``; apply ``key.sub=value`` changes, check every key.

    Raises StageError with the file and the key that is wrong.
    """
    values = _load(Path(path), ())
    for change in changes or ():
        _change(values, change)
    return build(kind, values, str(path))


def _load(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("training", "train") from None
    if path.resolve() in seen:
        raise StageError(f"{path} includes itself")
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise StageError(f"no recipe at {path}; the shipped ones are in recipes/") from None
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise StageError(f"{path} is not a YAML recipe: {why}") from None
    if own is None:
        raise StageError(f"{path} is empty: keys with values are expected, as in recipes/")
    if not isinstance(own, dict):
        raise StageError(f"{path} is not a recipe: keys with values are expected")
    included = own.pop("include", [])
    names = [included] if isinstance(included, str) else included
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StageError(f"{path}: 'include' is the name of a recipe, or a list of names")
    values: dict[str, Any] = {}
    for name in names:
        values = merge(values, _load(path.parent / name, (*seen, path.resolve())))
    return merge(values, own)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``under``, section by section."""
    both = dict(under)
    for key, value in over.items():
        both[key] = merge(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


def _change(values: dict[str, Any], change: str) -> None:
    """Apply one ``key.sub=value`` to plain values, in place."""
    import yaml

    name, equals, value = change.partition("=")
    if not equals:
        raise StageError(f"--set takes key=value, not '{change}'")
    place = values
    *parents, last = name.split(".")
    for parent in parents:
        inner = place.get(parent)
        place[parent] = dict(inner) if isinstance(inner, dict) else {} if parent not in place else inner
        place = place[parent]
        if not isinstance(place, dict):
            raise StageError(f"--set {change}: '{parent}' has no keys of its own")
    try:
        place[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise StageError(f"--set {change}: the value is not YAML") from None


def plain(recipe: Any) -> dict[str, Any]:
    """A recipe as plain values, for YAML and JSON."""

    def simple(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: simple(one) for key, one in value.items()}
        return [simple(one) for one in value] if isinstance(value, (list, tuple)) else value

    return simple(dataclasses.asdict(recipe))


def differences(old: dict[str, Any], new: dict[str, Any], changeable: Sequence[str] = (), path: str = "") -> list[str]:
    """Keys in which two recipes (plain values) differ, as "optimizer.lr: 1e-05, now 2e-05". changeable: keys and
    sections that may differ."""
    found = []
    for key in sorted({*old, *new}):
        name = f"{path}.{key}" if path else key
        if name in changeable or old.get(key) == new.get(key):
            continue
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            found += differences(old[key], new[key], changeable, name)
        else:
            found.append(f"{name}: {old.get(key)}, now {new.get(key)}")
    return found


def among(what: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError for a value that is not one of some words."""
    if value not in known:
        raise ValueError(f"{what} is one of {', '.join(known)}, not {value!r}")


def positive(**values: float | None) -> None:
    """Raise ValueError for the first value that is not a finite number above 0; None is left out."""
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} is a number above 0, not {value!r}")


def not_negative(**values: float) -> None:
    """Raise ValueError for the first value that is not a finite number from 0 on."""
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} is a number from 0 on, not {value!r}")


def shares(**values: float) -> None:
    """Raise ValueError for the first value that is not from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a share from 0 to 1, not {value!r}")
