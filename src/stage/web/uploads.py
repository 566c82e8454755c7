"""Songs that come from outside: probed and decoded in a process of its own, which has limits and ends with its file.

Nothing else ever reads what was uploaded. What goes on is our own FLAC (or WAV) of what was decoded.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from stage import audio
from stage.audio.decoders import open_decoder
from stage.errors import StageError
from stage.parallel import Ended, Helper, Report
from stage.web.errors import Refused
from stage.web.settings import MB, Settings

AT_ONCE = 2
"""Songs that are decoded at the same time."""
LEAST = 1.0
"""Seconds that a song must have."""
NAME = "the song"
"""What messages call an upload: its path stays with the server."""


class Uploads:
    """Decodes songs; `AT_ONCE` at a time, the others wait."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._turns = threading.Semaphore(AT_ONCE)

    def decode(self, source: Path, target: Path) -> dict[str, Any]:
        """Decode a file into another, which is made: {"seconds", "rate", "channels"} of it.

        Raises Refused: 415 for what is not sound, 413 for too much of it, 422 for what is broken.
        """
        settings = self.settings
        build = partial(_build, settings.decode_bytes, settings.decode_seconds, settings.song_seconds)
        with self._turns:
            helper = Helper(build, 1)
            try:
                made = helper.do((str(source), str(target)), seconds=settings.decode_seconds)
            except Ended:
                raise Refused(
                    413, "too_large", "reading this file took too much time or memory: bring a shorter or simpler one"
                ) from None
            finally:
                with contextlib.suppress(OSError):
                    helper.close()
        if "refused" in made:
            raise Refused(*made["refused"])
        return made


def _build(most: int, cpu: float, seconds: float, threads: int) -> Callable[[tuple[str, str], Report], dict[str, Any]]:
    """What decodes, in a process that has limits from now on."""
    _limit(most, cpu, seconds)
    return partial(_decode, seconds)


def _limit(most: int, cpu: float, seconds: float) -> None:
    """Limit this process: memory beyond what it has, processor time, the size of a file; no memory is dumped."""
    try:
        import resource
    except ImportError:  # Windows has none: time is limited from outside
        return
    import psutil

    def lower(kind: int, value: int) -> None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_AS, psutil.Process().memory_info().vms + most)
    lower(resource.RLIMIT_CPU, round(cpu) + 1)
    lower(resource.RLIMIT_FSIZE, most)
    lower(resource.RLIMIT_CORE, 0)


def _decode(most: float, paths: tuple[str, str], report: Report) -> dict[str, Any]:
    source, target = map(Path, paths)
    try:
        with open(source, "rb") as file, open_decoder(file, NAME) as decoder:
            announced = decoder.length
    except StageError as error:
        return {"refused": _broken(error, source)}
    except MemoryError:
        return {"refused": (413, "too_large", "reading this file took too much memory")}
    if most + 1 < announced < float("inf"):
        return {"refused": _too_long(announced, most)}
    try:
        sound, rate = audio.read(source, 0.0, most + 1)
        if sound.shape[1] / rate < LEAST:
            return {"refused": (422, "too_short", f"the song is shorter than {LEAST:g} second: bring a longer one")}
        if sound.shape[1] / rate > most:
            return {"refused": _too_long(None, most)}
        from stage.web.preparing import write

        write(target, sound, rate)
    except StageError as error:
        return {"refused": _broken(error, source)}
    except MemoryError:
        return {"refused": (413, "too_large", "reading this file took too much memory")}
    return {"seconds": sound.shape[1] / rate, "rate": rate, "channels": len(sound)}


def _too_long(seconds: float | None, most: float) -> tuple[int, str, str]:
    long = "more" if seconds is None else f"{seconds:.0f} seconds"
    return 413, "too_long", f"the song is too long ({long}): bring {most:.0f} seconds or less"


def _broken(error: StageError, source: Path) -> tuple[int, str, str]:
    """What cannot be read: too much, no sound at all, or broken. The message is without the name of the file here."""
    line = str(error).replace(str(source), NAME).replace(source.name, NAME)
    if "memory" in line:
        return 413, "too_large", line
    return (415, "not_audio", line) if "is not audio" in line else (422, "broken", line)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total, waiting = 0, [folder]
    while waiting:
        try:
            for entry in os.scandir(waiting.pop()):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def megabytes(size: float) -> str:
    return f"{size / MB:.0f} MB"
