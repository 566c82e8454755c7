"""`make demo`: drums, bass and keys for a real recording, and a trio for four chords.

The recording is the example that the package `stempeg` carries (The Easton Ellises, "Falcon 69",
CC BY-NC-SA 3.0): it is read from there and never copied into the repository. Everything that is
made lies in demo/, and each step is a command that you can type yourself.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
import time
from pathlib import Path

from stage import audio
from stage.audio.level import limit
from stage.beats import tracker as beats
from stage.beats.grid import BeatGrid
from stage.cli import app as cli
from stage.errors import MissingExtra
from stage.files import whole_file

FOLDER = Path("demo")
START, SECONDS = 0.1, 5.9
"""The excerpt without the clicks of its cut at both ends."""
BPM, BARS, CHORDS = 96, 8, "Am F C G"
"""Of the trio."""
STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}  # 0 is the mix


def recording() -> Path:
    """Path of stempeg's example; found without importing the package, which wants FFmpeg's programs."""
    package = importlib.util.find_spec("stempeg")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("the demo's recording", "demo")
    return next(Path(package.submodule_search_locations[0]).glob("data/*.stem.mp4"))


def prepare(folder: Path) -> None:
    """Write the recording without its drums, without its bass, and whole, its beats, and those of the trio."""
    path = recording()
    whole, rate = audio.read(path)
    stems = {name: audio.read(path, START, SECONDS, stream)[0] for name, stream in STREAMS.items()}
    for gone in ("drums", "bass"):
        rest = sum(stem for name, stem in stems.items() if name != gone)
        audio.write(folder / f"without-{gone}.wav", limit(rest, rate), rate, force=True)
    audio.write(folder / "whole.wav", limit(sum(stems.values()), rate), rate, force=True)
    grids = {
        "beats.txt": beats.track(whole, rate).crop(START, START + SECONDS),
        "trio-beats.txt": BeatGrid.regular(BPM, 4, 4 * BARS * 60 / BPM),
    }
    for name, grid in grids.items():
        with whole_file(folder / name, force=True) as partial:
            grid.save(partial)


def main() -> int:
    """Run the demo; returns the exit code."""
    prepare(FOLDER)
    print(f"{FOLDER}: Falcon 69 by The Easton Ellises (CC BY-NC-SA 3.0), without drums, without bass, whole; its beats")
    drums = f"{FOLDER}/click-{BPM}-4-4.drums.0"
    bass = f"{FOLDER}/click-{BPM}-4-4.drums.0.bass.0"
    trio = f'--chords "{CHORDS}" --grid {FOLDER}/trio-beats.txt -o {FOLDER}'
    commands = [
        # Six seconds without drums are little to find beats in: the new players get those of the whole recording.
        f"accompany {FOLDER}/without-drums.wav --stem drums --grid {FOLDER}/beats.txt --variations 2 -o {FOLDER}",
        f"accompany {FOLDER}/without-bass.wav --stem bass --grid {FOLDER}/beats.txt --variations 2 -o {FOLDER}",
        f"accompany {FOLDER}/whole.wav --stem keys --grid {FOLDER}/beats.txt -o {FOLDER}",
        # A trio: the bass hears the drums, the keys hear both.
        f"click --bpm {BPM} --bars {BARS} --stem drums -o {FOLDER}",
        f"accompany {drums}.wav --stem bass {trio}",
        f"accompany {bass}.mix.wav --stem keys {trio}",
    ]
    for command in commands:
        print(f"\n$ stage {command}", flush=True)
        started = time.perf_counter()
        if code := cli.run([*shlex.split(command), "--force"]):
            return code
        print(f"({time.perf_counter() - started:.1f} s)")
    print(f"\nListen to {FOLDER}/*.mix.wav, the trio is {bass}.mix.keys.0.mix.wav.")
    print("Beside each lie the stem alone (.wav), its notes (.mid) and a picture of them (.png).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
