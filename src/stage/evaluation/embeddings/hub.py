"""Models of transformers from a folder that an environment variable names, else from the hub's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage import fingerprint
from stage.errors import StageError


@dataclass(frozen=True)
class Place:
    """Where weights are. variable: of the environment, with a folder. name: in the hub's cache."""

    variable: str
    name: str

    def load(self, kind: Any, **options: Any) -> Any:
        """`kind.from_pretrained` of the weights. Nothing is downloaded and no code of theirs runs.

        Raises StageError where they are not here or cannot be read.
        """
        place = str(named(self.variable)) if os.environ.get(self.variable) else self.name
        try:
            return kind.from_pretrained(place, local_files_only=True, **options)
        except Exception as error:  # transformers raises many kinds for files that it cannot use
            raise StageError(f"{place}: {first_line(error)}") from None

    def identity(self) -> str:
        """Fingerprint of the folder, or name and commit in the hub's cache."""
        if os.environ.get(self.variable):
            return fingerprint.of_files(named(self.variable))
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, "config.json")
        return f"{self.name}@{Path(found).parent.name if isinstance(found, str) else ''}"


def named(variable: str) -> Path:
    """The file or folder that an environment variable names. Raises StageError where there is none."""
    path = os.environ.get(variable)
    if not path or not Path(path).expanduser().exists():
        raise StageError(f"set {variable} to the file or folder with the weights")
    return Path(path).expanduser()


def first_line(error: Exception) -> str:
    """The beginning of what is wrong."""
    return (str(error) or type(error).__name__).splitlines()[0][:120]
