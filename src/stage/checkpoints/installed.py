"""The shelf of models: which are at hand, those of the package and those that the user installed; getting more, and
removing them."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage.checkpoints import hub
from stage.checkpoints.paths import home, models
from stage.config import StageConfig
from stage.errors import StageError
from stage.files import remove_folder, whole_folder

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).parent.parent / "weights"
PRECISIONS = {"F32": "float32", "BF16": "bf16", "F16": "float16", "F64": "float64"}
FREE = ("apache", "mit", "bsd", "isc", "cc0", "cc-by-4.0", "unlicense")
WRITTEN = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
"""Licences as they are usually written; the hub has them in small letters."""
NON_COMMERCIAL = "attribution, and no commercial use"


@dataclass(frozen=True)
class Installed:
    """A model at hand. parameters: of its decoder. size: bytes of the whole folder. precision: what the decoder is
    stored in."""

    name: str
    path: Path
    stems: tuple[str, ...]
    parameters: int
    size: int
    precision: str
    licence: str
    origin: str
    shipped: bool


def installed() -> list[Installed]:
    """The models of the package, then those of the user, each by name. One that cannot be read says so in
    `precision`."""
    return [
        describe(config.parent, shipped)
        for place, shipped in ((PACKAGE, True), (models(), False))
        for config in sorted(place.glob("*/config.json"))
        if not config.parent.name.startswith(".")
    ]


def describe(folder: Path, shipped: bool = False) -> Installed:
    """What a model's folder says about itself."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    try:
        config = json.loads((folder / "config.json").read_text())
        stage, stems = config["stage"], tuple(config["decoder"]["stems"])
        parameters, precision = _weights(folder / "decoder.safetensors")
        return Installed(
            folder.name,
            folder,
            stems,
            parameters,
            size,
            precision,
            stage.get("licence", ""),
            stage.get("origin", ""),
            shipped,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return Installed(folder.name, folder, (), 0, size, "damaged", "", "", shipped)


def _weights(path: Path) -> tuple[int, str]:
    """How many numbers a safetensors file holds, and what most of them are stored in; only its header is read."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    counts: dict[str, int] = {}
    for tensor in header.values():
        counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    if path.stat().st_size < 8 + length + max(tensor["data_offsets"][1] for tensor in header.values()):
        raise ValueError(f"{path} is cut off")
    most = max(counts, key=lambda dtype: counts[dtype])
    return sum(counts.values()), PRECISIONS.get(most, most)


# ---------------------------------------------------------------- licences


def is_free(licence: str) -> bool:
    """Whether a licence lets everybody use the weights for everything, as Apache's does. What is not known is not
    free."""
    return bool(licence) and all(part.strip().lower().startswith(FREE) for part in licence.split(","))


def written(licence: str) -> str:
    """A licence of the hub as it is usually written: apache-2.0 is Apache-2.0, cc-by-nc-4.0 is CC-BY-NC-4.0."""
    return WRITTEN.get(licence, licence.upper() if licence.startswith("cc") else licence)


def terms(licence: str) -> str:
    """A licence and, for those that forbid selling, what they ask."""
    return f"{licence or 'no licence that is told'}{f' ({NON_COMMERCIAL})' if '-nc' in licence.lower() else ''}"


def notice(model: str | Path, config: StageConfig) -> str | None:
    """A line on the licence of a model, the first time that it is used on this machine; None later, or if it is
    free."""
    if not config.licence or is_free(config.licence):
        return None
    told, line = home() / "licences-told", f"{config.name}: {config.licence}"
    with contextlib.suppress(OSError, ValueError):
        if line in told.read_text(encoding="utf-8").splitlines():
            return None
    with contextlib.suppress(OSError):  # a home that cannot be written into is told again
        told.parent.mkdir(parents=True, exist_ok=True)
        with open(told, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    return (
        f"the weights of {Path(model).name} are under {terms(config.licence)}; what you may do with the music is for"
        " that licence to say"
    )


# ---------------------------------------------------------------- more and fewer


def get(
    name: str,
    stems: Sequence[str] = (),
    revision: str | None = None,
    own: str = "",
    dtype: torch.dtype | None = None,
    t5: str = "",
    agree: Callable[[str], bool] = lambda licence: False,
    on_share: Callable[[float], None] | None = None,
) -> Installed:
    """Download a model from the hub, convert it if it is not a STAGE model already, and install it.

    name: OWNER/NAME. stems: what it is to learn, or plays. own: name to install it under, by default the last part of
    `name` and the
    stems: musicgen-small-drums. agree: asked with the licence, before anything is downloaded, if the licence is not a
    free one.
    dtype, t5, on_share: as in `stage.checkpoints.convert.convert`. Raises StageError; nothing half-installed is left.
    """
    if not hub.is_name(name):
        raise StageError(
            f"'{name}' is no name on the hub: give OWNER/NAME, like facebook/musicgen-small (stage convert takes files"
            " and folders)"
        )
    target = _target(own or "-".join([name.split("/")[1], *(stem.replace("/", "-") for stem in stems)]))
    try:
        offer = hub.look(name, revision)
        fetched, licence = None, written(offer.licence)
    except hub.Unreachable:
        fetched = hub.fetch(name, revision)  # whole in the cache, or nowhere
        offer, licence = None, written(hub.licence(fetched))
    if not is_free(licence) and not agree(licence or "no licence that is told"):
        raise StageError(
            f"{name} was not installed: it is under {terms(licence)}. If you accept that, add --accept-licence"
        )
    fetched = fetched or hub.fetch(name, revision, offer)
    if _is_ours(fetched.path):
        if stems or dtype:
            raise StageError(f"{name} is a STAGE model as it is: leave --stem and --dtype out")
        _copy(fetched, target, f"{name} @ {fetched.commit}", licence)
    else:
        from stage.checkpoints.convert import convert

        options: dict[str, Any] = {"t5": t5} if t5 else {}
        if licence:
            options["licence"] = licence
        convert(
            fetched.path,
            target,
            stems=stems,
            name=target.name,
            origin=f"{name} @ {fetched.commit}",
            dtype=dtype,
            on_share=on_share,
            **options,
        )
    return describe(target)


def _target(name: str) -> Path:
    """Where a model of this name is to be installed. Raises StageError if the name is no name, or taken."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise StageError(f"'{name}' cannot be a model's name: letters, digits, dots and dashes are taken")
    if (PACKAGE / name / "config.json").is_file():
        raise StageError(f"'{name}' is a model of the package: choose another --name")
    if (models() / name).exists():
        raise StageError(
            f"{name} is installed already: choose another --name, or remove it first (stage models remove {name})"
        )
    return models() / name


def _is_ours(folder: Path) -> bool:
    """Whether a folder is in our own format."""
    try:
        return {"format", "stage", "decoder"} <= set(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError):
        return False


def _copy(fetched: hub.Fetched, target: Path, origin: str, licence: str) -> None:
    """Install a snapshot that is a STAGE model, with its origin, and with the hub's licence where it has none of its
    own."""

    size = sum(file.stat().st_size for file in fetched.path.rglob("*") if file.is_file())
    free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
    if free < size:
        raise StageError(
            f"{target} needs {size / 1e9:.1f} GB on disk, and {free / 1e9:.1f} GB are free: make room, or set"
            " STAGE_HOME to another disk"
        )
    with whole_folder(target) as partial:
        shutil.copytree(fetched.path, partial, dirs_exist_ok=True)
        config = json.loads((partial / "config.json").read_text())
        config["stage"]["origin"] = config["stage"].get("origin") or origin
        config["stage"]["licence"] = config["stage"].get("licence") or licence
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        made = describe(partial)
        if made.precision == "damaged":
            raise StageError(f"{origin} is not a whole STAGE model: it was not installed")


def remove(name: str) -> Path:
    """Delete an installed model; returns where it was. The hub's cache keeps what it was made of. StageError if there
    is none."""
    found = {model.name: model for model in installed()}
    if name not in found or found[name].shipped and not (models() / name / "config.json").is_file():
        own = ", ".join(model.name for model in found.values() if not model.shipped)
        why = "belongs to the package and stays" if name in found else "is not installed"
        raise StageError(f"{name} {why}; installed are: {own or 'none'}")
    path = models() / name
    try:
        if path.is_symlink():
            path.unlink()
        else:
            remove_folder(path)
    except OSError as error:
        raise StageError(f"{path} could not be deleted whole: {error.strerror or error}") from None
    return path
