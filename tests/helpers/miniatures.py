"""Songs of a few seconds that can be prepared, learnt from and judged."""

from __future__ import annotations

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


def band(root: Path, songs: int = 4, seconds: float = 12.0, rate: int = 32000) -> Path:
    """Songs that can be learnt from: clicks as drums on 100 .. 130 BPM, a bass and keys in one chord, each song by an
    artist of its own."""
    for number in range(songs):
        bpm, place = 100 + 10 * number, root / f"Artist {number}" / f"Song {number}"
        time = np.arange(round(seconds * rate)) / rate
        since = time % (60 / bpm)
        noise = np.random.default_rng(number).standard_normal(len(time))
        write(place / "drums.wav", (0.3 * noise * np.exp(-since / 0.03)).astype(np.float32), rate)
        for name, hz in (("bass", 55.0), ("keys", 220.0)):
            write(
                place / f"{name}.wav",
                (0.2 * np.sin(2 * np.pi * hz * 2 ** (number / 12) * time) * np.exp(-since / 0.2)).astype(np.float32),
                rate,
            )
        beats = np.arange(0, seconds, 60 / bpm)
        (place / "beats.txt").write_text("".join(f"{beat:.6f} {i % 4 + 1}\n" for i, beat in enumerate(beats)))
        (place / "song.yaml").write_text("genres: [rock]\nmoods: [calm]\n")
    return root
