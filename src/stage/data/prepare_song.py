"""One song as `stage prepare` keeps it: a tar with its description and a FLAC for each stem that sounds."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from stage.audio.chroma import key_of
from stage.audio.level import loudness
from stage.beats.choose import choose
from stage.data.song import MAP_SECONDS, Problem, Song
from stage.errors import StageError

SILENT_PEAK = 0.01
"""A stem with no louder sample is silent (the paper's silence rule)."""
TAGGERS = "stage.taggers"
"""Entry points of packages that name genres and moods: called with (float32 [N], rate), they return {"genres": [...],
"moods": [...]}."""


@dataclass(frozen=True)
class Settings:
    """What a prepared set depends on. rate: Hz. tracker: see `stage.beats.choose`. leave_out: roles that are not
    kept."""

    rate: int = 32000
    tracker: str = "auto"
    leave_out: tuple[str, ...] = ()


def song_tar(song: Song, split: str, settings: Settings, problems: list[Problem]) -> bytes | None:
    roles = [role for role in song.stems if role not in settings.leave_out]
    stems: dict[str, np.ndarray] = {}
    for role in roles:
        try:
            audio = song.read(role, 0, song.samples)[0]
        except StageError as error:
            problems.append(Problem(song.id, "file unreadable", str(error), role))
            continue
        peak = float(np.abs(audio).max(initial=0.0))
        if peak <= SILENT_PEAK:
            problems.append(Problem(song.id, "silent stem", f"its peak is {peak:.4f}", role))
            continue
        stems[role] = audio
    if not stems:
        silent = problems and all(problem.reason == "silent stem" for problem in problems)
        problems.append(Problem(song.id, "silent song" if silent else "no stems", "no stem sounds"))
        return None
    # several tracks may add up to more than full scale, which FLAC cannot hold
    highest = max(float(np.abs(audio).max()) for audio in stems.values())
    scale = 1.0 if highest < 1 else 0.999 / highest
    stems = {role: scale * audio for role, audio in stems.items()}
    mix = np.sum(list(stems.values()), axis=0)
    beats, tracker = song.beats, "data set"
    if beats is None:
        tracker, track = choose(settings.tracker)
        grid = track(mix, song.rate)
        beats = np.stack([grid.times, grid.numbers.astype(np.float64)], 1) if len(grid) > 1 else None
        if beats is None:
            problems.append(Problem(song.id, "no beats found", "it gives no click pairs"))
    tempo = song.tempo or (
        float(60 / np.median(np.diff(beats[:, 0]))) if beats is not None and len(beats) > 1 else None
    )
    tags = {"genres": list(song.genres), "moods": list(song.moods)}
    if not any(tags.values()):
        tags |= _tagged(mix, song.rate)
    about = {
        "id": song.id,
        "artist": song.artist,
        "title": song.title,
        "rate": song.rate,
        "samples": song.samples,
        "split": split,
        **tags,
        "captions": list(song.captions),
        "tempo": tempo,
        "key": song.key or key_of(mix, song.rate),
        "key_from": "data set" if song.key else "profiles",
        "tracker": tracker,
        "beats": None if beats is None else np.round(beats, 6).tolist(),
        "chords": None if song.chords is None else list(song.chords),
        "scale": scale,
        "kinds": {role: sorted({track.kind for track in song.stems[role]} - {""}) for role in stems},
        "bleed": [role for role in stems if any(track.bleed for track in song.stems[role])],
        "loudness": {role: round(max(-70.0, loudness(audio, song.rate)), 2) for role, audio in stems.items()},
        "sounding": {role: _map(audio, song.rate) for role, audio in stems.items()},
        "print": fingerprint(mix),
        "files": {_plain(role): role for role in stems},
    }
    return _members(song.id, about, stems, song.rate)


def _map(audio: np.ndarray, rate: int) -> list[float]:
    """The peak in each 0.1 s."""
    grain = round(MAP_SECONDS * rate)
    padded = np.pad(np.abs(audio), (0, -len(audio) % grain)).reshape(-1, grain)
    return np.round(padded.max(1), 4).tolist()


def fingerprint(mix: np.ndarray, parts: int = 256) -> str:
    """The same for the same recording at another level: the loudness of 256 equal parts against the loudest, in
    eighths. mix: float32 [N]."""
    loud = np.array([np.sqrt(np.mean(np.square(part), dtype=np.float64)) for part in np.array_split(mix, parts)])
    return hashlib.sha256(
        np.round(8 * loud / max(1e-9, float(loud.max()))).astype(np.int8).tobytes() + str(len(mix) // 8000).encode()
    ).hexdigest()


def _tagged(mix: np.ndarray, rate: int) -> dict[str, list[str]]:
    for tagger in entry_points(group=TAGGERS):
        named = tagger.load()(mix, rate)
        return {"genres": list(named.get("genres", ())), "moods": list(named.get("moods", ()))}
    return {}


def _members(song: str, about: dict[str, Any], stems: dict[str, np.ndarray], rate: int) -> bytes:
    """A tar of KEY.json and KEY.ROLE.flac; the key has no dots, as WebDataset requires."""
    import soundfile

    own, whole = key(song), io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

        add(f"{own}.json", json.dumps(about, allow_nan=False).encode())
        for role, audio in stems.items():
            coded = io.BytesIO()
            soundfile.write(coded, audio, rate, format="FLAC", subtype="PCM_16")
            add(f"{own}.{_plain(role)}.flac", coded.getvalue())
    return whole.getvalue()


def key(song: str) -> str:
    """A name for a song's files: letters of ASCII, no dots, and a part that no other song has."""
    return f"{_plain(song)[:60]}-{hashlib.sha256(song.encode()).hexdigest()[:8]}"


def _plain(name: str) -> str:
    """In letters, digits, - and _ of ASCII; a role that had others gets a part of its own."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)
    return plain if plain == name else f"{plain[:30]}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"
