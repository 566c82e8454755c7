"""MUSDB18 (`train|test/Artist - Title.stem.mp4`, five stereo AAC streams) and MUSDB18-HQ (folders of WAV files)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage.errors import StageError

from .song import Problem, Song, Track, common_length, probe

STREAMS = ("mixture", "drums", "bass", "other", "vocals")
SPLITS = ("train", "test")
PRE_ROLL = 8192
"""Samples decoded before a crop: AAC frames overlap, so the first ones after a seek are not whole."""


@dataclass(frozen=True)
class StreamTrack(Track):
    """One audio stream of a container, as FFmpeg counts audio streams. Crops are exact to the sample."""

    stream: int = 0

    def _decode(self, start: int, samples: int) -> np.ndarray:
        import av

        parts: list[np.ndarray] = []
        try:
            with av.open(self.path) as container:
                source = container.streams.audio[self.stream]
                container.seek(int(max(0, start - PRE_ROLL) / self.rate / source.time_base), stream=source)
                at = None
                for frame in container.decode(source):
                    first = round(float(frame.pts * frame.time_base) * self.rate)
                    audio = frame.to_ndarray()
                    audio = audio if frame.format.is_planar else audio.reshape(-1, frame.layout.nb_channels).T
                    at = first if at is None else at
                    parts.append(audio.mean(0, dtype=np.float32))
                    if first + audio.shape[1] >= start + samples:
                        break
        except (av.FFmpegError, OSError, IndexError) as error:
            raise StageError(f"{self.path} cannot be read: {error}") from None
        if at is None or at > start:
            return np.zeros(0, np.float32)
        return np.concatenate(parts)[start - at :][:samples]


def fits(path: Path) -> Path | None:
    """The folder itself, if it holds MUSDB18 or MUSDB18-HQ."""
    for split in SPLITS:
        if next((path / split).glob("*.stem.mp4"), None) or next((path / split).glob("*/mixture.wav"), None):
            return path
    return None


def songs(path: Path, problems: list[Problem]) -> list[Song]:
    """All songs of both splits."""
    found = []
    for split in SPLITS:
        found += [_mp4(file, split, problems) for file in (path / split).glob("*.stem.mp4")]
        found += [_folder(file.parent, split, problems) for file in (path / split).glob("*/mixture.wav")]
    return [song for song in found if song]


def _song(name: str, split: str, tracks: dict[str, tuple[Track, ...]]) -> Song:
    artist, _, title = name.partition(" - ")
    every = [track for parts in tracks.values() for track in parts]
    rate = max(track.rate for track in every)
    return Song(name, artist, title or name, rate, common_length(every, rate), tracks, split=split)


def _mp4(file: Path, split: str, problems: list[Problem]) -> Song | None:
    import av

    name = file.name.removesuffix(".stem.mp4")
    try:
        with av.open(str(file)) as container:
            streams = [(s.rate, int(s.duration * s.time_base * s.rate)) for s in container.streams.audio]
    except (av.FFmpegError, OSError, TypeError) as error:
        problems.append(Problem(name, "unreadable file", f"{file}: {error}"))
        return None
    if len(streams) != len(STREAMS):
        problems.append(Problem(name, "another version of MUSDB18", f"{file} has {len(streams)} audio streams, not {len(STREAMS)} ({', '.join(STREAMS)})"))
        return None
    parts = zip(STREAMS, streams)
    return _song(name, split, {role: (StreamTrack(str(file), rate, length, stream=i),) for i, (role, (rate, length)) in enumerate(parts) if i})


def _folder(folder: Path, split: str, problems: list[Problem]) -> Song | None:
    tracks: dict[str, tuple[Track, ...]] = {}
    for role in STREAMS[1:]:
        try:
            if (file := folder / f"{role}.wav").exists():
                tracks[role] = (probe(str(file)),)
            else:
                problems.append(Problem(folder.name, "missing file", str(file), role))
        except StageError as error:
            problems.append(Problem(folder.name, "unreadable file", str(error), role))
    if not tracks:
        problems.append(Problem(folder.name, "no stems", str(folder)))
        return None
    return _song(folder.name, split, tracks)
