"""Files and folders that appear whole or not at all, and a lock for a folder that one process works in.

What is being written has no name where the system can do that (Linux: ``O_TMPFILE``), so that even a killed process
leaves nothing. Elsewhere, and for folders, it has a hidden name that shows whose it is (``.stage-HOST-PID-...``), and
the next writer in that folder removes those of dead processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stage.errors import StageError

_HIDDEN = re.compile(r"\.stage-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}")
NAME_BYTES = 255
"""The longest name of a file or folder, on nearly every file system."""
LOCK = ".lock"
"""Name of the file that `lock` holds. It stays in the folder, empty."""


# ---------------------------------------------------------------- checks before work


def check_free(path: str | os.PathLike, force: bool = False, remedy: str = "choose another name") -> None:
    """Raise StageError if writing `path` would replace something without force, or cannot be done.

    remedy: what to do about a file that exists, for the message.
    """
    path = Path(path)
    _check_name(path)
    if path.is_dir():
        raise StageError(f"{path} is a folder: cannot write a file of that name")
    if os.path.lexists(path) and not force:  # a link to nothing is in the way too
        raise StageError(f"{path} exists: {remedy}")


def _check_name(path: Path) -> None:
    """Raise StageError for a path that no file can have here."""
    try:
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    except UnicodeEncodeError:
        raise StageError(
            f"{ascii(str(path))} cannot be a file's name in this locale ({sys.getfilesystemencoding()}): set"
            " PYTHONUTF8=1"
        ) from None
    if longest > NAME_BYTES:
        raise StageError(
            f"{path} cannot be written: a name of {longest} bytes is too long, {NAME_BYTES} are possible; rename the"
            " song, or choose another folder"
        )
    if "\0" in str(path):
        raise StageError(f"{ascii(str(path))} cannot be a file's name")


def check_folder(folder: str | os.PathLike) -> None:
    """Raise StageError if files cannot be written into `folder`, which need not exist yet. Leaves nothing behind."""
    place = Path(folder)
    _check_name(place)
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise StageError(f"cannot write into {folder}: {place} is not a folder")
        with tempfile.TemporaryFile(dir=place):
            pass
    except StageError:
        raise
    except (OSError, ValueError) as error:
        raise StageError(f"cannot write into {folder}: {getattr(error, 'strerror', None) or error}") from None


# ---------------------------------------------------------------- writing


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, force: bool = False) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block ends well, and vanishes when it does not.

    Parents are made. Without force an existing file is never replaced. What was written is on the disk before it gets
    its name. The path that is given has no suffix, and is to be opened, not replaced: safetensors' ``save_file`` does
    the latter, its ``save`` gives bytes to write.
    Raises StageError where it cannot be written.
    """
    path = Path(path)
    check_free(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        partial, handle = _temporary(path.parent)
    except OSError as error:
        raise StageError(f"cannot write into {path.parent}: {error.strerror or error}") from None
    try:
        yield partial
        os.fsync(handle)
        if not force:
            check_free(path)
        _name(handle, partial, path)
    except StageError:
        raise
    except OSError as error:
        raise StageError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        os.close(handle)
        if not _nameless(partial):
            partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str, force: bool = True) -> None:
    """Write a UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode(), force)


def write_json(path: str | os.PathLike, value: Any, force: bool = True, indent: int | None = 1) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n", force)


def write_bytes(path: str | os.PathLike, data: bytes, force: bool = True) -> None:
    """Write bytes, whole or not at all."""
    with whole_file(path, force) as partial, open(partial, "wb") as file:
        file.write(data)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike, force: bool = False) -> Iterator[Path]:
    """A new folder that becomes `path` when the block ends well, and vanishes when it does not.

    With force a folder that is there is replaced, by two renames. Raises StageError where it cannot be written.
    """
    path = Path(path)
    if os.path.lexists(path) and not force:
        raise StageError(f"{path} exists; choose another folder")
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        partial = path.parent / _hidden()
        partial.mkdir()
        yield partial
        allowed = partial.stat().st_mode & 0o666  # what the umask leaves; safetensors' files are their owner's alone
        for file in partial.rglob("*"):
            if file.is_file():
                _synchronise(file)
                file.chmod(allowed)
        if os.path.lexists(path):
            os.rename(path, old := path.parent / _hidden())
            os.rename(partial, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(partial, path)
    except Exception as error:
        # safetensors has an error of its own for a full disk
        if not isinstance(error, OSError) and "No space left" not in str(error):
            raise
        why = getattr(error, "strerror", None) or error
        raise StageError(f"{path} could not be written: {why}; nothing was kept") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def remove_folder(path: str | os.PathLike) -> None:
    """Take a folder away at once (by a rename), then delete it. What an interruption leaves is swept later."""
    path = Path(path)
    gone = path.rename(path.parent / _hidden())
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: str | os.PathLike) -> None:
    """Remove from `folder` what dead processes of this machine left half-written."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _HIDDEN.match(entry.name)
            if found and found[1] == _host() and not _alive(int(found[2]), entry):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _alive(pid: int, entry: os.DirEntry) -> bool:
    """Whether the process that made an entry runs. A process younger than the entry has only got its number."""
    import psutil

    try:
        return psutil.Process(pid).create_time() < entry.stat(follow_symlinks=False).st_mtime + 2
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _hidden() -> str:
    return f".stage-{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _temporary(folder: Path) -> tuple[Path, int]:
    """A new file in `folder`: a path that opens it, and a handle. Permissions are what the umask leaves."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not every file system can
            handle = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
            return Path(f"/proc/self/fd/{handle}"), handle
    path = folder / _hidden()
    return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)


def _nameless(partial: Path) -> bool:
    return str(partial).startswith("/proc/self/fd/")


def _name(handle: int, partial: Path, path: Path) -> None:
    """Give a temporary file its name, in place of a file that has it."""
    if not _nameless(partial):
        os.replace(partial, path)
        return
    with contextlib.suppress(FileExistsError):
        _link(partial, path)
        return
    linked = path.parent / _hidden()  # a link never replaces, a rename does
    try:
        _link(partial, linked)
        os.replace(linked, path)
    finally:
        linked.unlink(missing_ok=True)


def _link(partial: Path, path: Path) -> None:
    """A name for what /proc/self/fd/N stands for: with a folder's handle Python follows that link, else it does not."""
    os.link(partial, path, src_dir_fd=0, follow_symlinks=True)


def _synchronise(file: Path) -> None:
    handle = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- locks


@contextlib.contextmanager
def lock(folder: str | os.PathLike, what: str = "another run", wait: float = 0.0) -> Iterator[None]:
    """Hold `folder`, which is made, for this process. Raises StageError where another process holds it, and still does
    after `wait` seconds."""
    import filelock

    folder = Path(folder)
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / LOCK)
        held.acquire(timeout=wait)
    except filelock.Timeout:
        raise StageError(f"{folder} is in use by {what}: wait for it, or choose another folder") from None
    except OSError as error:
        raise StageError(f"cannot write into {folder}: {error.strerror or error}") from None
    try:
        sweep(folder)
        yield
    finally:
        held.release()
