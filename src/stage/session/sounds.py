"""Sound and notes of takes on the disk, exact to the last bit, and how takes sound together."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stage import files, fingerprint
from stage.audio.level import spread
from stage.audio.wave import FULL, steps
from stage.errors import StageError
from stage.notes import Note

AGAIN = "make it again with stage session verify --mend"


def rounded(audio: np.ndarray) -> np.ndarray:
    """Audio as it is after it was written with 24 bits and read again: float32."""
    return (steps(audio) / FULL).astype(np.float32)


def flac(audio: np.ndarray, rate: int) -> bytes:
    """Audio [C, N] as a FLAC file with 24 bits, which is read back as `rounded`."""
    import soundfile

    made = io.BytesIO()
    # integers, for libsndfile scales floats by one step less than it divides by
    soundfile.write(made, (steps(np.atleast_2d(audio)) << 8).T, rate, format="FLAC", subtype="PCM_24")
    return made.getvalue()


def write(
    folder: Path, name: str, audio: np.ndarray, rate: int, notes: Iterable[Note] | None
) -> tuple[str, str | None]:
    """Write NAME.flac, and NAME.json where there are notes; returns the fingerprints of both."""
    sound = flac(audio, rate)
    files.write_bytes(folder / f"{name}.flac", sound)
    if notes is None:
        return fingerprint.of_bytes(sound), None
    text = json.dumps([list(note) for note in notes]).encode()
    files.write_bytes(folder / f"{name}.json", text)
    return fingerprint.of_bytes(sound), fingerprint.of_bytes(text)


def read(folder: Path, name: str) -> np.ndarray:
    """The sound of a take, float32 [C, N]. Raises StageError where it cannot be read."""
    import soundfile

    path = folder / f"{name}.flac"
    try:
        samples, _ = soundfile.read(path, dtype="int32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise StageError(
            f"take {name} cannot be read ({path}: {error}): make it again with stage session verify"
        ) from None
    return ((samples.T >> 8) / FULL).astype(np.float32)


def read_notes(folder: Path, name: str) -> tuple[Note, ...]:
    """The notes of a take. Raises StageError where they cannot be read."""
    path = folder / f"{name}.json"
    try:
        rows = json.loads(path.read_bytes())
        return tuple(Note(float(a), float(b), int(pitch), int(velocity)) for a, b, pitch, velocity in rows)
    except (OSError, ValueError, TypeError) as error:
        raise StageError(f"the notes of take {name} cannot be read ({path}: {error}): {AGAIN}") from None


def placed(stem: np.ndarray, channels: int, gain_db: float = 0.0, pan: float = 0.0) -> np.ndarray:
    """A stem [C, N] in so many channels, one or two, with its gain and its pan: float32 [channels, N].

    pan: -1 (left) to 1 (right); the other side is turned down, as a balance does.
    """
    made = spread(stem, channels) * np.float32(10 ** (gain_db / 20))
    if pan and len(made) == 2:
        made = made * np.array([[min(1.0, 1.0 - pan)], [min(1.0, 1.0 + pan)]], np.float32)
    return made


def together(song: np.ndarray | None, stems: Iterable[np.ndarray], channels: int, samples: int) -> np.ndarray:
    """Song [C, N] and placed stems, added: float32 [C, N]. Without a limit."""
    made = np.zeros((channels, samples), np.float32) if song is None else np.array(song, np.float32)
    for stem in stems:
        made[: len(stem)] += stem[:, :samples]
    return made
