"""Miniatures of real data sets, written in their own layouts: a few seconds of tones whose pitch names the stem."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def tone(hz: float, seconds: float, rate: int = RATE, level: float = 0.2) -> np.ndarray:
    """float32 [N, 2], the right channel softer."""
    wave = level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, 0.5 * wave], 1).astype(np.float32)


def write(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="PCM_16" if path.suffix == ".flac" else "FLOAT")
    return path


def moises(root: Path, songs: int = 2, seconds: float = 3.0) -> Path:
    """`songs` songs of two artists; drums of two tracks of unequal length, the guitar's stem named twice, a click track in other."""
    for number in range(songs):
        folder = root / "moisesdb" / "moisesdb_v0.1" / f"{number:08d}-uuid"
        stems = [
            ("drums", [("d0", "kick drum", 55, seconds), ("d1", "snare drum", 200, seconds - 0.013)]),
            ("bass", [("b0", "bass guitar", 80, seconds)]),
            ("guitar", [("g0", "clean electric guitar", 400, seconds)]),
            ("guitar", [("g1", "acoustic guitar", 500, seconds)]),
            ("piano", [("p0", "grand piano", 600, seconds)]),
            ("other", [("o0", "click track", 1000, seconds), ("o1", "fx", 900, seconds)]),
            ("vocals", [("v0", "lead male singer", 300, seconds)]),
        ]
        data = {"artist": f"Artist {number % 2}", "song": f"Song {number}", "genre": "rock", "stems": []}
        for stem, tracks in stems:
            entry = {"stemName": stem, "tracks": []}
            for name, kind, hz, length in tracks:
                write(folder / stem / f"{name}.wav", tone(hz * (1 + number), length, level=0.1))
                entry["tracks"].append({"id": name, "trackType": kind, "extension": "wav", "has_bleed": name == "v0"})
            data["stems"].append(entry)
        (folder / "data.json").write_text(json.dumps(data))
    return root


def musdb_hq(root: Path, seconds: float = 2.0) -> Path:
    """One song in each split."""
    for split in ("train", "test"):
        for hz, name in ((100, "mixture"), (110, "drums"), (220, "bass"), (330, "other"), (440, "vocals")):
            write(root / split / f"Band {split} - A Title" / f"{name}.wav", tone(hz, seconds))
    return root


def slakh(root: Path, seconds: float = 4.0) -> Path:
    """Two songs and a duplicate; 120 BPM that turn to 60 after four beats, in 4/4 and then 3/4; one stem was not rendered."""
    import mido

    for number, split in ((1, "train"), (2, "train"), (3, "test")):
        folder = root / split / f"Track{number:05d}"
        stems = {
            "S00": {"inst_class": "Drums", "is_drum": True, "audio_rendered": True}, "S01": {"inst_class": "Bass", "audio_rendered": True},
            "S02": {"inst_class": "Organ", "audio_rendered": True}, "S03": {"inst_class": "Strings (continued)", "audio_rendered": False},
        }  # fmt: skip
        for place, name in enumerate(stems):
            if stems[name]["audio_rendered"]:
                write(folder / "stems" / f"{name}.flac", tone(100 * (place + 1), seconds)[:, :1])
        (folder / "metadata.yaml").write_text(json.dumps({"stems": stems}))  # JSON is YAML
        file = mido.MidiFile(ticks_per_beat=480)
        track = mido.MidiTrack()
        file.tracks.append(track)
        track.append(mido.MetaMessage("time_signature", numerator=4, denominator=4, time=0))
        track.append(mido.MetaMessage("set_tempo", tempo=500_000, time=0))
        track.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=4 * 480))
        track.append(mido.MetaMessage("time_signature", numerator=3, denominator=4, time=0))
        track.append(mido.Message("note_on", note=60 + (number == 3), time=480))
        file.save(folder / "all_src.mid")
    return root


def multitracks(root: Path, seconds: float = 2.0) -> Path:
    """A user's folder: `artist/song/file`, names of all kinds, beats and notes beside them."""
    song = root / "The Band" / "First Song"
    for hz, name in ((60, "01 Drum Kit.wav"), (90, "02_BassDI.flac"), (120, "Gtr L.wav"), (130, "Gtr R.wav"), (150, "Rhodes.wav"), (170, "theremin.wav"), (99, "Mixdown.wav")):
        write(song / name, tone(hz, seconds))
    (song / "beats.txt").write_text("0.1 1\n0.6 2\n1.1 1\n1.6 2\n")
    (song / "song.yaml").write_text("title: The First\ngenres: [jazz, funk]\nmoods: calm\nkey: D minor\n")
    write(root / "Other Band" / "Second" / "drums.wav", tone(60, seconds))
    write(root / "Other Band" / "Second" / "vox.wav", tone(60, seconds))
    (root / "stems.yaml").write_text("theremin: lead\n")
    return root


def band(root: Path, songs: int = 4, seconds: float = 12.0, rate: int = 32000) -> Path:
    """Songs that can be learnt from: clicks as drums on 100 .. 130 BPM, a bass and keys in one chord, each song by an artist of its own."""
    for number in range(songs):
        bpm, place = 100 + 10 * number, root / f"Artist {number}" / f"Song {number}"
        time = np.arange(round(seconds * rate)) / rate
        since = time % (60 / bpm)
        noise = np.random.default_rng(number).standard_normal(len(time))
        write(place / "drums.wav", (0.3 * noise * np.exp(-since / 0.03)).astype(np.float32), rate)
        for name, hz in (("bass", 55.0), ("keys", 220.0)):
            write(place / f"{name}.wav", (0.2 * np.sin(2 * np.pi * hz * 2 ** (number / 12) * time) * np.exp(-since / 0.2)).astype(np.float32), rate)
        beats = np.arange(0, seconds, 60 / bpm)
        (place / "beats.txt").write_text("".join(f"{beat:.6f} {i % 4 + 1}\n" for i, beat in enumerate(beats)))
        (place / "song.yaml").write_text("genres: [rock]\nmoods: [calm]\n")
    return root
