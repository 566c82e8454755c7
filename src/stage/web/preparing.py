"""The first job of a session: its song's beats, chords and tuning are found, or those of a tempo are made."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stage import audio, files
from stage.audio.level import limit
from stage.beats.grid import BeatGrid
from stage.errors import MissingExtra

START, SECONDS = 0.1, 5.9
"""The stretch of the demo song without the clicks of its cut at both ends."""
STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}


@dataclass(frozen=True)
class DemoSong:
    """A song that anyone can begin with. without: the stem that is left out of it, for another to take its place."""

    title: str
    without: str
    licence: str = "CC BY-NC-SA 3.0"
    seconds: float = SECONDS


DEMOS = {
    "falcon-without-drums": DemoSong("The Easton Ellises - Falcon 69 (without drums)", "drums"),
    "falcon-without-bass": DemoSong("The Easton Ellises - Falcon 69 (without bass)", "bass"),
}


def recording() -> Path | None:
    """Path of stempeg's example, found without importing the package; None where it is not installed."""
    package = importlib.util.find_spec("stempeg")
    if package is None or not package.submodule_search_locations:
        return None
    return next(Path(package.submodule_search_locations[0]).glob("data/*.stem.mp4"), None)


def demo(id: str) -> tuple[np.ndarray, int]:
    """A demo song, float32 [C, N], and its rate. Raises StageError where its package is not installed."""
    path = recording()
    if path is None:
        raise MissingExtra("the demo song", "demo")
    made, rate = np.zeros((2, 1), np.float32), 0
    for stem, stream in STREAMS.items():
        if stem != DEMOS[id].without:
            sound, rate = audio.read(path, START, SECONDS, stream)
            made = made + sound
    return limit(made, rate), rate


def demo_beats() -> BeatGrid:
    """The beats of the demo songs, tracked in the whole recording, with its drums."""
    from stage.beats import tracker

    path = recording()
    if path is None:
        raise MissingExtra("the demo song", "demo")
    return tracker.track(*audio.read(path)).crop(START, START + SECONDS)


def prepare(data: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Begin the session of a task. Done again after an interruption it does what is left.

    Returns {"song": path of the song as it is played to, in the data folder; None where there is none}.
    """
    from stage.session import Session

    wish, folder = task["wish"], data / "sessions" / task["session"]
    song = None if task["song"] is None else data / task["song"]
    if song is not None and wish["demo"] and not song.exists():
        audio.write(song, *demo(wish["demo"]))
    if not (folder / "session.json").exists():
        common = {"chords": wish["chords"] or None, "form": wish["form"]}
        if song is None:
            Session.new(folder, bpm=wish["bpm"], meter=wish["meter"], bars=wish["bars"], **common)
        else:
            grid = demo_beats() if wish["demo"] else None
            Session.new(folder, song, grid=grid, start=wish["start"], seconds=wish["seconds"], **common)
    if song is None:
        return {"song": None}
    if not wish["start"] and wish["seconds"] is None:
        return {"song": task["song"]}
    session = Session.open(folder)
    place = folder / "web" / "song.flac"
    if not place.exists() and session.song is not None:
        write(place, session.song, session.rate)
    return {"song": str(place.relative_to(data))}


def write(path: Path, sound: np.ndarray, rate: int) -> None:
    """Write sound [C, N] as FLAC of 24 bits, or, where that cannot hold it, as WAV of floats (whatever the name is)."""
    import soundfile

    beyond = float(np.abs(sound).max(initial=0.0)) > 1 - 2**-23 or len(sound) > 8 or rate > 655350
    kind, subtype = ("WAV", "FLOAT") if beyond else ("FLAC", "PCM_24")
    with files.whole_file(path, force=True) as partial, open(partial, "r+b") as raw:
        soundfile.write(raw, sound.T, rate, format=kind, subtype=subtype)
