"""Slakh2100: `train|validation|test/TrackNNNNN/` with metadata.yaml, stems/SNN.flac and all_src.mid, whose tempo map gives the beats."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from stage.errors import MissingExtra, StageError

from .roles import SLAKH
from .song import Problem, Song, Track, common_length, probe

SPLITS = ("train", "validation", "test", "omitted")


def fits(path: Path) -> Path | None:
    """The folder itself, if it holds Slakh."""
    return path if next(path.glob("*/Track*/metadata.yaml"), None) else None


def songs(path: Path, problems: list[Problem]) -> list[Song]:
    """All songs; a song whose MIDI file was there before is left out (the "redux" edition of the data set does the same)."""
    found, seen = [], {}
    for file in sorted(path.glob("*/Track*/metadata.yaml"), key=lambda file: file.parent.name):
        folder = file.parent
        midi = folder / "all_src.mid"
        if midi.exists():
            key = hashlib.sha256(midi.read_bytes()).hexdigest()
            if key in seen:
                problems.append(Problem(folder.name, "duplicate song", f"the same music as {seen[key]}"))
                continue
            seen[key] = folder.name
        if song := _song(folder, problems):
            found.append(song)
    return found


def _song(folder: Path, problems: list[Problem]) -> Song | None:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("reading Slakh", "train") from None
    name = folder.name
    try:
        stems = yaml.safe_load((folder / "metadata.yaml").read_text())["stems"]
        stems = {key: (about["inst_class"], about.get("audio_rendered", True)) for key, about in stems.items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        problems.append(Problem(name, "another version of Slakh", f"metadata.yaml: {type(error).__name__} {error}"))
        return None
    tracks: dict[str, list[Track]] = defaultdict(list)
    for key, (kind, rendered) in sorted(stems.items()):
        if not rendered:
            continue
        role, file = SLAKH.get(kind.lower(), "other"), folder / "stems" / f"{key}.flac"
        if not file.exists():
            problems.append(Problem(name, "missing file", str(file), role))
            continue
        try:
            found = probe(str(file), kind=kind)
        except StageError as error:
            problems.append(Problem(name, "unreadable file", str(error), role))
        else:
            tracks[role].append(found)
    if not tracks:
        problems.append(Problem(name, "no stems", str(folder)))
        return None
    every = [track for parts in tracks.values() for track in parts]
    rate = max(track.rate for track in every)
    samples = common_length(every, rate)
    beats = midi_beats(folder / "all_src.mid", samples / rate, name, problems)
    split = folder.parent.name if folder.parent.name in SPLITS else None
    return Song(name, "", name, rate, samples, dict(tracks), beats=beats, split=split, tempo=tempo_of(beats))


def midi_beats(path: Path, seconds: float, song: str, problems: list[Problem]) -> np.ndarray | None:
    """Beats [n, 2] (seconds, place in the bar) of a MIDI file's tempo map and time signatures; None without a readable file."""
    try:
        import mido
    except ImportError:
        raise MissingExtra("reading the beats of MIDI files", "train") from None
    if not path.exists():
        return None
    try:
        file = mido.MidiFile(str(path), clip=True)
        changes = [(tick, message) for track in file.tracks for tick, message in _absolute(track) if message.type in ("set_tempo", "time_signature")]
    except (OSError, ValueError, EOFError, IndexError, KeyError) as error:
        problems.append(Problem(song, "unreadable MIDI file", f"{path}: {error}"))
        return None
    changes.sort(key=lambda change: change[0])
    beats: list[tuple[float, int]] = []
    tick, time, tempo, unit, meter, number = 0.0, 0.0, 500_000, file.ticks_per_beat, 4, 1
    for until, message in [*changes, (float("inf"), None)]:
        while tick < until and time < seconds:
            # a change in the middle of a beat moves the rest of it
            step = min(unit, until - tick) if until - tick < unit * 0.999 else unit
            if step == unit:
                beats.append((time, number))
                number = number % meter + 1
            tick, time = tick + step, time + step * tempo / 1e6 / file.ticks_per_beat
        if message is not None and message.type == "set_tempo":
            tempo = message.tempo
        elif message is not None:
            unit, meter, number = file.ticks_per_beat * 4 / message.denominator, message.numerator, 1
            if message.denominator == 8 and meter > 3 and meter % 3 == 0:  # 6/8 and its like are felt in dotted quarters
                unit, meter = 3 * unit, meter // 3
    return np.array(beats, np.float64).reshape(-1, 2) if beats else None


def tempo_of(beats: np.ndarray | None) -> float | None:
    """Median tempo in beats a minute; None where there are no two beats."""
    return None if beats is None or len(beats) < 2 else float(60 / np.median(np.diff(beats[:, 0])))


def _absolute(track) -> list[tuple[int, object]]:
    tick, events = 0, []
    for message in track:
        tick += message.time
        events.append((tick, message))
    return events
