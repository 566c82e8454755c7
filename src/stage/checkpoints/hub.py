"""Models of the Hugging Face hub, by ``huggingface_hub``: cached, resumed, pinned to a revision, offline where it is told so.

``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to every program that uses the hub.
"""

from __future__ import annotations

import errno
import fnmatch
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import StageError

NEEDED = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json", "spiece.model")
"""Files that a converter reads. Pickles are not among them."""


@dataclass(frozen=True)
class Fetched:
    """A repository on this disk. path: its folder. commit: which state of it. licence: what its card says, "" if nothing."""

    path: Path
    commit: str
    licence: str


def look(name: str, revision: str | None = None) -> tuple[str, int]:
    """Licence and bytes to download of a repository, asked of the hub; ("", 0) where it cannot be asked but may be cached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=20)
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _told(name, revision, error) from None
    except Exception:  # no network: what is in the cache may do
        return "", 0
    needed = [file for file in info.siblings or [] if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in NEEDED)]
    if not any(file.rfilename.endswith(".safetensors") for file in needed):
        raise StageError(f"{name} has no safetensors on the hub: pickled weights are not opened from there")
    card = info.card_data.to_dict() if info.card_data else {}
    return str(card.get("license") or ""), sum(file.size or 0 for file in needed)


def fetch(name: str, revision: str | None = None) -> Fetched:
    """Download what is needed of a repository, or find it in the cache; a broken download goes on where it stopped.

    Raises StageError in one line: no network, offline, gated, missing, no room on the disk.
    """
    from huggingface_hub import constants, snapshot_download

    licence, size = look(name, revision)
    cache = Path(constants.HF_HUB_CACHE)
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    kept = sum(file.stat().st_size for file in (cache / f"models--{name.replace('/', '--')}").glob("blobs/*"))
    if (free := shutil.disk_usage(place).free) < size - kept:
        raise StageError(f"{name} takes {(size - kept) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {place}: make room, or set HF_HOME")
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(NEEDED)))
    except KeyboardInterrupt:
        raise
    except Exception as error:
        raise _told(name, revision, error) from None
    if not (path / "config.json").is_file():
        raise StageError(f"{name} is not whole in {path}: it has no config.json. Run it again with a network")
    return Fetched(path, path.name, licence)


def _told(name: str, revision: str | None, error: Exception) -> StageError:
    """What went wrong, and what to do, in a line."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    causes = [error, error.__cause__, error.__context__]
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return StageError(f"the disk is full: {name} was not downloaded whole. Make room and run it again, it goes on where it stopped")
    if isinstance(error, GatedRepoError):
        return StageError(f"{name} is gated: accept its licence at https://huggingface.co/{name} and log in (hf auth login), then run it again")
    if isinstance(error, RevisionNotFoundError):
        return StageError(f"{name} has no revision {revision}: give a branch, a tag or a commit of it")
    if isinstance(error, RepositoryNotFoundError):
        return StageError(f"there is no {name} on the hub, or it is private: mind the spelling (owner/name), or log in (hf auth login)")
    if isinstance(error, LocalEntryNotFoundError) or constants.HF_HUB_OFFLINE:
        why = "offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        return StageError(f"{name} is not in the cache, and {why}: connect and run it again, or give a local folder")
    line = next((text for text in str(error).splitlines() if text.strip()), type(error).__name__)
    return StageError(f"{name} was not downloaded whole ({type(error).__name__}: {line.strip()}): run it again, it goes on where it stopped")
