"""What a session for a recording begins with: the stretch that is read, and its time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from stage import audio as sound
from stage import fingerprint
from stage.chords.chart import Chart
from stage.errors import StageError
from stage.generation.request import Grid, stretch
from stage.session import time as timing
from stage.session.state import Song, Time


def begun(
    song: str | Path,
    folder: Path,
    start: float,
    seconds: float | None,
    stream: int,
    grid: Grid,
    chords: str | Path | Chart | None,
    tuning: float | str | None,
    extend: float,
) -> tuple[Song, Time, np.ndarray]:
    """The source and the time of a session in a folder for a recording, see `Session.new`, and its sound float32
    [C, N], without what lies beyond its end."""
    audio, rate = sound.read(song, start, seconds, stream)
    if seconds is not None and audio.shape[1] / rate < seconds - 0.001:
        raise StageError(
            f"the recording ends at {start + audio.shape[1] / rate:.2f} seconds, before {start + seconds:.2f}"
        )
    part = stretch(audio, rate, 0.0, None)
    channels, length = part.audio.shape
    beyond = timing.beyond(length / rate, extend, rate)
    path = Path(song).resolve()
    source = Song(
        str(path),
        os.path.relpath(path, folder.resolve()),
        fingerprint.of_files(song),
        start,
        rate,
        channels,
        length + beyond,
        stream,
        beyond,
    )
    time = timing.of_song(part, start, grid, chords, tuning)
    time = timing.extended(time, length / rate, beyond / rate) if beyond else time
    return source, time, part.audio
