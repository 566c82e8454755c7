"""Miniatures of the data sets, in their real layouts: stereo at 44.1 kHz, a second or two a song, drawn from a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
UUIDS = (
    "0a1b2c3d-0000-4000-8000-00000000000a",
    "1a1b2c3d-0000-4000-8000-00000000000b",
    "2a1b2c3d-0000-4000-8000-00000000000c",
)


def noise(seed: int, samples: int = RATE, channels: int = 2) -> np.ndarray:
    """Coloured noise, float32 [samples, channels], below 0.3."""
    white = np.random.default_rng(seed).normal(size=(samples + 64, channels))
    smooth = np.apply_along_axis(np.convolve, 0, white, np.hanning(32) / 16, "valid")[:samples]
    return (0.1 * smooth.clip(-3, 3)).astype(np.float32)


def write(path: Path, seed: int, samples: int = RATE, rate: int = RATE, channels: int = 2, level: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, level * noise(seed, samples, channels), rate, subtype=None if path.suffix == ".ogg" else "PCM_16"
    )
    return path


def save(path: Path, audio: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="PCM_16")


def write_as(path: Path, seed: int, samples: int) -> None:
    """In the format of the name's suffix, with that format's own coding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seed, samples), RATE)


def downmix(path: Path) -> np.ndarray:
    """A file as the readers should decode it: float32 [N], the mean of its channels."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1)


# ---------------------------------------------------------------- MoisesDB

MOISES_STEMS = (
    ("drums", [("snare drum", False), ("kick drum", False), ("overheads", True)]),
    ("percussion", [("a-tonal percussion (claps, shakers, congas, cowbell etc)", False)]),
    ("bass", [("bass guitar", False)]),
    ("piano", [("grand piano", False)]),
    ("other_keys", [("synth pad", False)]),
    ("piano", [("electric piano (rhodes, wurlitzer, piano sound alike)", False)]),
    ("other", [("click track", False)]),
    ("vocals", [("lead male singer", False), ("background vocals", True)]),
)


def moises(root: Path, uuid: str = UUIDS[0], stems=MOISES_STEMS, artist: str = "The Miniatures") -> Path:
    folder = root / "moisesdb" / "moisesdb_v0.1" / uuid
    rows, count = [], 0
    for name, tracks in stems:
        row = []
        for kind, bleed in tracks:
            count += 1
            identity = f"{count:08x}-0000-4000-8000-{uuid[-12:]}"
            # Tracks end a little apart, as in the real thing.
            write(folder / name / f"{identity}.wav", seed=count, samples=RATE + 441 * count)
            row.append({"id": identity, "trackType": kind, "extension": "wav", "has_bleed": bleed})
        rows.append({"id": f"stem-{len(rows)}", "stemName": name, "tracks": row})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.json").write_text(
        json.dumps({"song": "Small", "artist": artist, "genre": "singer_songwriter", "stems": rows})
    )
    return folder


# ---------------------------------------------------------------- MUSDB18

MUSDB = ("mixture", "drums", "bass", "other", "vocals")


def musdb_hq(root: Path, split: str, name: str, samples: int = RATE) -> Path:
    folder = root / split / name
    for seed, source in enumerate(MUSDB):
        write(folder / f"{source}.wav", seed, samples)
    return folder


def mp4(path: Path, streams: int = 5, seconds: float = 1.0) -> Path:
    """An MP4 with AAC streams as FFmpeg writes them: with an edit list that hides what the encoder puts in front.

    Without noise substitution (PNS), for which a decoder draws its noise anew wherever it begins.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        outs = [
            container.add_stream("aac", rate=RATE, layout="stereo", options={"aac_pns": "0", "aac_coder": "fast"})
            for _ in range(streams)
        ]
        sounds = [noise(seed, round(seconds * RATE)) for seed in range(streams)]
        for first in range(0, len(sounds[0]), 1024):
            for out, sound in zip(outs, sounds):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(sound[first : first + 1024].T), format="fltp", layout="stereo"
                )
                frame.sample_rate, frame.pts = RATE, first
                container.mux(out.encode(frame))
        for out in outs:
            container.mux(out.encode(None))
    return path


def decoded(path: Path, stream: int) -> np.ndarray:
    """All of one stream, decoded from the beginning without any code of ours: float32 [N], the mean of its channels."""
    import av

    with av.open(str(path)) as container:
        return np.concatenate(
            [frame.to_ndarray() for frame in container.decode(container.streams.audio[stream])], 1
        ).mean(0)


# ---------------------------------------------------------------- Slakh2100

SLAKH_STEMS = {
    "S00": ("Piano", False, True),
    "S01": ("Drums", True, True),
    "S02": ("Bass", False, True),
    "S03": ("Strings (continued)", False, True),
    "S04": ("Guitar", False, False),
    "S05": ("Guitar", False, True),
    "S06": ("Organ", False, True),
}


def slakh(root: Path, split: str, name: str, uuid: str = "", extension: str = "flac", samples: int = 4 * RATE) -> Path:
    import yaml

    folder = root / split / name
    meta = {
        "UUID": uuid or f"uuid-of-{name}",
        "audio_dir": "stems",
        "midi_dir": "MIDI",
        "normalized": True,
        "overall_gain": 0.2,
        "stems": {},
    }
    for seed, (key, (kind, drum, rendered)) in enumerate(SLAKH_STEMS.items()):
        meta["stems"][key] = {
            "audio_rendered": rendered,
            "inst_class": kind,
            "is_drum": drum,
            "midi_program_name": f"{kind} 1",
            "program_num": seed,
        }
        if rendered:
            write(folder / "stems" / f"{key}.{extension}", seed, samples, channels=1)
    (folder / "metadata.yaml").write_text(yaml.safe_dump(meta))
    midi(folder / "all_src.mid", [(0, 120.0)], [(0, 4, 4)])
    return folder


def midi(path: Path, tempi, metres, ticks: int = 220) -> Path:
    """A MIDI file: tempi as (quarters from the start, BPM of quarters), metres as (quarters, above, below), and a few
    notes beside them."""
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=ticks)
    rows = [(quarter, mido.MetaMessage("set_tempo", tempo=round(60e6 / bpm))) for quarter, bpm in tempi]
    rows += [
        (quarter, mido.MetaMessage("time_signature", numerator=above, denominator=below))
        for quarter, above, below in metres
    ]
    notes = [
        (half / 2, mido.Message("note_off" if half % 2 else "note_on", note=60, velocity=80)) for half in range(16)
    ]
    for events in (rows, notes):
        track, now = mido.MidiTrack(), 0
        for quarter, message in sorted(events, key=lambda row: row[0]):
            track.append(message.copy(time=round(quarter * ticks) - now))
            now = round(quarter * ticks)
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


# ---------------------------------------------------------------- our corpus


def corpus(root: Path, split: str, name: str, stems=("drums", "bass", "keys"), seconds: int = 2) -> Path:
    """A song in the form of `stage corpus`, without its synthesiser."""
    folder = root / split / name
    for seed, stem in enumerate(stems):
        write(folder / f"{stem}.flac", seed, seconds * 32000, 32000, channels=1)
    meta = {
        "id": name,
        "rate": 32000,
        "samples": seconds * 32000,
        "tempo": 120.0,
        "meter": "4/4",
        "genre": "funk",
        "moods": ["warm", "busy"],
        "key": "C# minor",
        "beats": [0.25 + 0.5 * beat for beat in range(2 * seconds)],
        "downbeat_numbers": [(beat + 2) % 4 + 1 for beat in range(2 * seconds)],
        "chords": [{"start": 0.0, "end": float(seconds), "name": "C#m", "root": 1, "pitch_classes": [1, 4, 8]}],
        "stems": {stem: {"words": [stem, "part"]} for stem in stems},
        "captions": ["a warm funk song", "busy"],
    }
    (folder / "song.json").write_text(json.dumps(meta))
    return folder
