"""Weights from the hub of Hugging Face: only the files that are needed, whole or not at all, and one clear line when
a download fails.

`huggingface_hub` keeps its own cache (HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN mean what they always do), but
starts a file again when a download was stopped in it. Files of gigabytes are downloaded into the same cache here, so
that a later call continues where the last one stopped; with a version of `huggingface_hub` whose internals do not fit,
it downloads them itself.

What the hub answers is not trusted: digests and names become parts of paths.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage.checkpoints.header import is_plain, shards
from stage.errors import StageError

WANTED = ("*.json", "*.safetensors", "spiece.model", "*/spiece.model", "README.md", "LICENSE*")
"""What a model is made of, in any format. Not pickles: to open one is to run it."""
LARGE = 10_000_000
"""Bytes from which on an interrupted download is continued."""
FULL = {
    errno.ENOSPC: "there is no room left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "files may not be as large",
}


@dataclass(frozen=True)
class Offer:
    """What the hub has under a name: the commit, the licence of its card, and the needed files with (bytes, sha256 or
    "")."""

    name: str
    commit: str
    licence: str
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Fetched:
    """A snapshot in the cache, and the commit that it is of."""

    path: Path
    commit: str


def is_name(text: str) -> bool:
    """Whether this reads as OWNER/NAME, rather than as a path."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text) is not None


def look(name: str, revision: str | None = None) -> Offer:
    """What the hub has. Raises StageError if there is nothing, access is denied, or the hub cannot be reached."""
    from huggingface_hub import HfApi

    with _plainly(name, revision):
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
        wanted = [s for s in info.siblings or [] if any(fnmatch.fnmatch(s.rfilename, pattern) for pattern in WANTED)]
        files = {s.rfilename: (int(s.size or 0), (s.lfs.sha256 if s.lfs else "") or "") for s in wanted}
        offer = Offer(name, info.sha or "", _licence(info.card_data), files)
    _need_safetensors(name, list(files))
    _check_offer(offer)
    return offer


def _check_offer(offer: Offer) -> None:
    """Raise StageError for an answer with names that could lead out of the cache: an honest hub gives none."""
    wrong = [offer.commit] if not re.fullmatch(r"[0-9a-f]{40}", offer.commit) else []
    wrong += [digest for _, digest in offer.files.values() if digest and not re.fullmatch(r"[0-9a-f]{64}", digest)]
    wrong += [file for file in offer.files if not all(is_plain(part.lstrip(".")) for part in file.split("/"))]
    if wrong:
        raise StageError(
            f"the hub's answer for {offer.name} cannot be used: {wrong[0][:80]!r} is not a commit, digest or file name;"
            " check HF_ENDPOINT"
        )


def licence(fetched: Fetched) -> str:
    """Licence in the card of a snapshot, as the hub writes it; "" if it has none that can be read."""
    from huggingface_hub import ModelCard

    try:
        return _licence(ModelCard.load(fetched.path / "README.md").data)
    except Exception:  # whatever its YAML makes of a damaged card: without a licence the user is asked
        return ""


def fetch(name: str, revision: str | None = None, offer: Offer | None = None) -> Fetched:
    """Download a model into the hub's cache, or find it there; progress bars on stderr.

    name: OWNER/NAME. revision: branch, tag or commit; the newest of the main branch by default. offer: the result of
    `look`, if there is one. Without a network, a whole copy in the cache is taken. Raises StageError where there is
    none, or no room.
    """
    from huggingface_hub import snapshot_download

    try:
        offer = offer or look(name, revision)
    except Unreachable as error:
        return _cached(name, revision, error)
    with _plainly(name, revision):
        _check_room(offer)
        for file, (size, digest) in offer.files.items():
            if size >= LARGE and digest:
                with contextlib.suppress(ImportError, TypeError):  # internals that have changed: see below
                    _download(offer, file, size, digest)
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
    _check_whole(name, path)
    return Fetched(path, path.name)


class Unreachable(StageError):
    """The hub could not be reached; the cache may have a copy."""


# ---------------------------------------------------------------- the cache


def _repository(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _cached(name: str, revision: str | None, reason: StageError) -> Fetched:
    """The snapshot in the cache; StageError, with the reason why nothing was downloaded, where it is not whole."""
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED), local_files_only=True))
        _check_whole(name, path)
    except Exception:  # whatever is wrong with that copy
        raise StageError(f"{reason}. There is no whole copy of it in the cache, {_repository(name)}") from None
    return Fetched(path, path.name)


def _need_safetensors(name: str, files: Sequence[str]) -> None:
    if not any(file.endswith(".safetensors") for file in files):
        raise StageError(
            f"{name} has no safetensors files, and pickles of the hub are not opened: look for a revision or another"
            " repository that has them"
        )


def _check_whole(name: str, path: Path) -> None:
    """Raise StageError unless a snapshot has its configuration, and every shard that an index names."""
    files = [str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()]
    _need_safetensors(name, files)
    for index in path.rglob("*.safetensors.index.json"):
        missing = [shard for shard in shards(index) if not (index.parent / shard).is_file()]
        if missing:
            raise StageError(f"{name} is not whole: {', '.join(missing[:3])} are missing; try again")


def _is_there(offer: Offer, file: str) -> bool:
    return (_repository(offer.name) / "snapshots" / offer.commit / file).exists()


def _partial(offer: Offer, digest: str) -> Path:
    return _repository(offer.name) / "blobs" / f"{digest}.stage.incomplete"


def _check_room(offer: Offer) -> None:
    """Raise StageError if the disk has no room for what is yet to be downloaded."""
    place = _repository(offer.name)
    have = sum(
        p.stat().st_size for _, digest in offer.files.values() if digest and (p := _partial(offer, digest)).exists()
    )
    need = sum(size for file, (size, _) in offer.files.items() if not _is_there(offer, file)) - have
    free = shutil.disk_usage(next(folder for folder in (place, *place.parents) if folder.exists())).free
    if free < need:
        raise StageError(
            f"{offer.name} takes {need / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free in {place.parent}: make"
            " room, or set HF_HOME to another disk"
        )


# ---------------------------------------------------------------- one large file


def _download(offer: Offer, file: str, size: int, digest: str) -> None:
    """Download a file into the cache's blobs under its sha256, from where an earlier call stopped. Raises OSError for
    a full disk, ImportError or TypeError where `huggingface_hub` is not as expected."""
    import filelock

    partial = _partial(offer, digest)
    blob = partial.with_name(digest)
    if blob.exists() or _is_there(offer, file):
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(partial.with_suffix(".lock")):
        try:
            _continue(offer, file, size, partial)
        except OSError as error:
            if error.errno in FULL:  # others need the room now
                partial.unlink(missing_ok=True)
            raise
        with open(partial, "rb") as written:
            found = hashlib.sha256()
            while block := written.read(1 << 24):
                found.update(block)
        if found.hexdigest() != digest:
            partial.unlink()
            raise StageError(f"{file} of {offer.name} came with errors and was deleted: try again")
        partial.rename(blob)
    partial.with_suffix(".lock").unlink(missing_ok=True)


def _continue(offer: Offer, file: str, size: int, partial: Path) -> None:
    """Append to a partial file until it is whole, through breaks of the connection."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    def have() -> int:
        return partial.stat().st_size if partial.exists() else 0

    broken = 0
    if have() > size:
        partial.unlink()
    while (before := have()) < size:
        try:
            with open(partial, "ab") as out:
                url = hf_hub_url(offer.name, file, revision=offer.commit)
                http_get(
                    url,
                    out,
                    resume_size=before,
                    headers=build_hf_headers(),
                    expected_size=size,
                    displayed_filename=file,
                )
        except Exception as error:
            broken = broken + 1 if have() == before else 0
            if not _is_network(error) or broken >= 2:
                raise


# ---------------------------------------------------------------- errors


def _licence(card: Any) -> str:
    """`license` of a card's metadata; its own name where that is only "other"."""
    value = getattr(card, "license", None) or ""
    if value == "other":
        value = getattr(card, "license_name", None) or value
    return ", ".join(value) if isinstance(value, list) else str(value)


def _is_network(error: BaseException) -> bool:
    """Whether an error is of the connection. `huggingface_hub` has used several libraries for it."""
    from huggingface_hub.utils import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return False
    return type(error).__module__.split(".")[0] in (
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "requests",
        "urllib3",
    ) or isinstance(error, (ConnectionError, TimeoutError))


@contextlib.contextmanager
def _plainly(name: str, revision: str | None) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into a StageError of one line."""
    from huggingface_hub.utils import LocalEntryNotFoundError

    try:
        yield
    except StageError:
        raise
    except Exception as error:
        while (
            isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None
        ):  # it only wraps what went wrong
            error = error.__cause__
        raise _explain(error, name, revision) from None


def _explain(error: BaseException, name: str, revision: str | None) -> StageError:
    from huggingface_hub import constants, utils

    hub, login = constants.ENDPOINT, "log in with `hf auth login` or set HF_TOKEN"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, utils.HFValidationError):
        return StageError(f"'{name}' is not a name on the hub: give OWNER/NAME, like facebook/musicgen-small")
    if isinstance(error, utils.OfflineModeIsEnabled):
        return Unreachable(f"{name} is not requested from the hub, since HF_HUB_OFFLINE is set")
    if isinstance(error, utils.GatedRepoError):
        return StageError(f"{name} is gated: accept its terms at {hub}/{name} with an account of the hub, then {login}")
    if isinstance(error, utils.RevisionNotFoundError):
        return StageError(f"{name} has no revision '{revision}': see {hub}/{name}/commits/main")
    if isinstance(error, utils.RepositoryNotFoundError):
        return StageError(
            f"there is no model {name} on {hub}, or it is private: check the name; if it is private, {login}"
        )
    if status in (401, 403):
        return StageError(
            f"{hub} does not give {name} to you ({status}): accept its terms at {hub}/{name}, then {login}"
        )
    if status == 404:
        return StageError(f"{hub} has no file that {name} needs: it may have changed in the meantime; try again")
    if status is not None:
        return Unreachable(f"{hub} answers with error {status} for {name}: try again later")
    if isinstance(error, OSError) and error.errno in FULL:
        return StageError(
            f"{name} could not be kept in {_repository(name).parent}, {FULL[error.errno]}: make room, or set HF_HOME to"
            " another disk"
        )
    if isinstance(error, PermissionError):
        return StageError(f"{_repository(name).parent} cannot be written into: set HF_HOME to a folder of yours")
    if _is_network(error):
        return Unreachable(
            f"{name} cannot be downloaded from {hub}, there is no connection: try again, what was downloaded is kept"
        )
    if isinstance(error, OSError):
        return StageError(f"{name} was not downloaded whole ({error}): try again")
    return StageError(
        f"the answer of {hub} for {name} cannot be used ({type(error).__name__}: {error}): try again later"
    )
