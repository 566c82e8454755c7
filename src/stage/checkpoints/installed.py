"""The models at hand, those of the package and those that the user installed: finding, listing, installing and removing
them."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage.checkpoints import header, hub, settings
from stage.checkpoints.importers import T5
from stage.checkpoints.licences import UNKNOWN, is_free, terms, written
from stage.checkpoints.paths import SHIPPED, engine_files, exists, home, is_file, models
from stage.errors import StageError
from stage.files import lock, remove_folder, sweep, whole_folder
from stage.typed import read_json

if TYPE_CHECKING:
    import torch

PRECISIONS = {"F32": "float32", "BF16": "bf16", "F16": "float16", "F64": "float64"}
DAMAGED = "damaged"
FORMER = {"embedded": "sketch"}
"""What shipped models were called before."""
_LEFT = re.compile(r"\..+-removed")
"""What earlier versions called a folder while they deleted it."""


@dataclass(frozen=True)
class Installed:
    """A model at hand. parameters: of its decoder. size: bytes of the whole folder. precision: what the decoder is
    stored in, or "damaged"; problem: what is wrong with a damaged one."""

    name: str
    path: Path
    stems: tuple[str, ...]
    parameters: int
    size: int
    precision: str
    licence: str
    origin: str
    shipped: bool
    problem: str = ""


# ---------------------------------------------------------------- finding and listing


def find(name_or_path: str | Path) -> Path:
    """Folder of a model: a path, the name of one that is shipped in the package or installed, or the name on the hub
    that an installed one was made of. Raises StageError with what to do."""
    name = str(name_or_path)
    name = FORMER.get(name, name) if not exists(Path(name)) else name
    for folder in (Path(name), SHIPPED / name, models() / name):
        if is_file(folder / settings.NAME):
            return folder
    if exists(Path(name)):
        raise StageError(
            f"{name} is not a STAGE model: a folder with config.json is expected (stage convert makes one)"
        )
    known = installed()
    same = [model for model in known if model.origin.split(" @ ")[0] == name]
    if len(same) == 1:
        return same[0].path
    if same:
        raise StageError(f"{name} is installed more than once: choose one of {', '.join(model.name for model in same)}")
    if hub.is_name(name):
        raise StageError(
            f"no folder '{name}', and no installed model of that name; if it is one of the hub, get it first:"
            f" stage models get {name}"
        )
    names = [model.name for model in known]
    near = [one for one in names if one.startswith(f"{name}-")] or difflib.get_close_matches(name, names, n=1)
    raise StageError(
        f"no model '{name[:200]}'"
        + (f": did you mean {' or '.join(near)}?" if near else ".")
        + f" Give a folder, or one of those at hand: {', '.join(names)} (stage models get installs more)"
    )


def installed() -> list[Installed]:
    """The models of the package, then those of the user, each by name. One that cannot be read has precision
    "damaged"."""
    shipped = [path.parent for path in SHIPPED.glob(f"*/{settings.NAME}")]
    return [
        describe(folder, mine is None)
        for mine, folders in ((None, shipped), (models(), _folders(models())))
        for folder in sorted(folders)
    ]


def _folders(place: Path) -> list[Path]:
    """The folders in a place that are not hidden."""
    try:
        return [path for path in place.iterdir() if not path.name.startswith(".") and path.is_dir()]
    except OSError:
        return []


def describe(folder: Path, shipped: bool = False) -> Installed:
    """What a model's folder holds, by its headers."""
    size = 0
    try:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        read = settings.read(folder)
        parameters, precision = _weights(folder / "decoder.safetensors")
    except (StageError, OSError) as error:
        return Installed(folder.name, folder, (), 0, size, DAMAGED, "", "", shipped, str(error))
    config = read.stage
    return Installed(
        folder.name, folder, read.decoder.stems, parameters, size, precision, config.licence, config.origin, shipped
    )


def _weights(path: Path) -> tuple[int, str]:
    """How many numbers a safetensors file holds, and what most of them are stored in; only its header is read."""
    counts: dict[str, int] = {}
    for entry in header.read(path).values():
        counts[entry.dtype] = counts.get(entry.dtype, 0) + prod(entry.shape)
    if not counts:
        raise StageError(f"{path} holds no weights")
    most = max(counts, key=lambda dtype: counts[dtype])
    return sum(counts.values()), PRECISIONS.get(most, most)


# ---------------------------------------------------------------- installing


def get(
    name: str,
    stems: Sequence[str] = (),
    revision: str | None = None,
    own: str = "",
    dtype: torch.dtype | None = None,
    t5: str = T5,
    agree: Callable[[str], bool] = lambda licence: False,
    on_share: Callable[[float], None] | None = None,
) -> Installed:
    """Download a model from the hub, convert it if it is not a STAGE model already, and install it.

    name: OWNER/NAME. stems: what it is to learn, or plays. own: name to install it under, by default the last part of
    `name` and the stems: musicgen-small-drums. agree: called with the licence, before anything is downloaded, if it is
    not a free one. dtype, t5, on_share: as in `stage.checkpoints.convert.convert`. Raises StageError; nothing
    half-installed is left.
    """
    if not hub.is_name(name):
        raise StageError(
            f"'{name}' is not a name on the hub: give OWNER/NAME, like facebook/musicgen-small (stage convert takes"
            " files and folders)"
        )
    target = _target(own or "-".join([name.split("/")[1], *(stem.replace("/", "-") for stem in stems)]))
    with lock(home() / "locks" / target.name, "another installation of that model"):
        _free(target)
        return _install(name, target, stems, revision, dtype, t5, agree, on_share)


def _install(
    name: str,
    target: Path,
    stems: Sequence[str],
    revision: str | None,
    dtype: torch.dtype | None,
    t5: str,
    agree: Callable[[str], bool],
    on_share: Callable[[float], None] | None,
) -> Installed:
    offer = fetched = None
    try:
        offer = hub.look(name, revision)
        licence = written(offer.licence)
    except hub.Unreachable:
        fetched = hub.fetch(name, revision)  # whole in the cache, or nowhere
        licence = written(hub.licence(fetched))
    if not is_free(licence) and not agree(licence or UNKNOWN):
        raise StageError(
            f"{name} was not installed: it is under {terms(licence)}. If you accept that, add --accept-licence"
        )
    fetched = fetched or hub.fetch(name, revision, offer)
    origin = f"{name} @ {fetched.commit}"
    if _is_ours(fetched.path):
        if stems or dtype:
            raise StageError(f"{name} is a STAGE model as it is: leave --stem and --dtype out")
        _copy(fetched, target, origin, licence)
    else:
        from stage.checkpoints.convert import convert

        options: dict[str, Any] = {"licence": licence} if licence else {}
        options |= dict(stems=stems, name=target.name, origin=origin, dtype=dtype, t5=t5 or T5, on_share=on_share)
        convert(fetched.path, target, **options)
    return describe(target)


def _target(name: str) -> Path:
    """Where a model is to be installed. Raises StageError if the name cannot be used, or is in use."""
    if not re.fullmatch(r"\w[\w.+-]*", name) or len(name.encode()) > 200:
        raise StageError(f"'{name}' cannot be a model's name: letters, digits, dots and dashes are taken")
    if (SHIPPED / name / settings.NAME).is_file():
        raise StageError(f"'{name}' is a model of the package: choose another --name")
    _free(models() / name)
    return models() / name


def _free(target: Path) -> None:
    name = target.name
    if target.exists():
        raise StageError(
            f"{name} is installed already: choose another --name, or remove it first (stage models remove {name})"
        )


def _is_ours(folder: Path) -> bool:
    """Whether a folder is in our own format."""
    try:
        return {"format", "stage", "decoder"} <= set(read_json(folder / settings.NAME))
    except StageError:
        return False


def _copy(fetched: hub.Fetched, target: Path, origin: str, licence: str) -> None:
    """Install a snapshot that is a STAGE model, with its origin, and with the hub's licence where it has none of its
    own."""
    read = describe(fetched.path)
    if read.precision == DAMAGED:
        raise StageError(f"{origin} is not a whole STAGE model: {read.problem}; it was not installed")
    files = [file for file in fetched.path.rglob("*") if file.is_file()]
    free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
    if free < read.size:
        raise StageError(
            f"{target} needs {read.size / 1e9:.1f} GB on disk, and {free / 1e9:.1f} GB are free: make room, or set"
            " STAGE_HOME to another disk"
        )
    with whole_folder(target) as partial:
        for file in files:  # without the permissions that the cache gave them
            copy = partial / file.relative_to(fetched.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        config = read_json(partial / settings.NAME)
        config["stage"]["origin"] = config["stage"].get("origin") or origin
        config["stage"]["licence"] = config["stage"].get("licence") or licence
        (partial / settings.NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- removing


def remove(name: str) -> Path:
    """Delete an installed model; returns where it was. The hub's cache keeps what it was made of. Raises StageError
    where there is none."""
    _sweep()
    mine = {folder.name: folder for folder in _folders(models())}
    if name not in mine:
        shipped = name and (SHIPPED / name / settings.NAME).is_file()
        why = "belongs to the package and stays" if shipped else "is not installed"
        raise StageError(f"{name} {why}; installed are: {', '.join(sorted(mine)) or 'none'}")
    path = mine[name]
    place, begun = engine_files(path / "decoder.safetensors")
    try:
        if path.is_symlink():
            path.unlink()
        else:
            remove_folder(path)
            for file in place.glob(f"{begun}*.bin"):
                file.unlink(missing_ok=True)
    except OSError as error:
        raise StageError(f"{path} could not be deleted: {error.strerror or error}") from None
    return path


def _sweep() -> None:
    """Delete what an interrupted removal or installation has left, also of earlier versions."""
    sweep(models())
    with contextlib.suppress(OSError):
        for path in models().iterdir():
            if _LEFT.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
