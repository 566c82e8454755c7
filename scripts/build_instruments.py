"""Builds the shipped instruments: SFZ files and OGG samples from a free General MIDI SoundFont (FluidR3, MIT licence).

    python scripts/build_instruments.py /usr/share/sounds/sf2/FluidR3_GM.sf2 src/stage/weights/instruments

Debian's package fluid-soundfont-gm has the file. Every zone of a preset becomes a region; samples that several
instruments of a kind share are written once; what lies behind a loop or below -70 dB is cut. All instruments
are brought to the same loudness at velocity 100.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import soundfile

from stage import files
from stage.audio.level import loudness
from stage.instruments import sfz, soundfont
from stage.instruments.sampler import Sampler
from stage.instruments.sfz import Region
from stage.notes import Note

KITS = {
    "studio": 0,
    "room": 8,
    "power": 16,
    "electronic": 24,
    "808": 25,
    "jazz": 32,
    "brushes": 40,
    "percussion": 48,
}
PITCHED = {
    "bass": {"upright": 32, "finger": 33, "pick": 34, "fretless": 35, "slap": 36, "synth": 38, "round-synth": 39},
    "keys": {"grand": 0, "bright": 1, "electric": 4, "fm-electric": 5, "organ": 16, "clav": 7},
    "guitar": {
        "nylon": 24,
        "steel": 25,
        "jazz": 26,
        "clean": 27,
        "muted": 28,
        "overdriven": 29,
        "distorted": 30,
    },
    "pads": {
        "strings": 48,
        "slow-strings": 49,
        "synth-strings": 50,
        "choir": 52,
        "warm-pad": 89,
        "bowed-glass": 92,
    },
}
REGISTER = {"bass": (21, 72), "keys": (21, 108), "guitar": (36, 96), "pads": (28, 103)}
DRUM_KEYS = (22, 26, 27, 28, 31, *range(33, 71), *range(73, 78), 80, 81, 82)
STAND_INS = {22: 42, 26: 46, 31: 38, 58: 43}
"""Keys of electronic drums -> the key whose sound is taken: edge and half-open hat, second snare, floor tom rim."""
HATS = (22, 26, 42, 44, 46)
LONGEST = {"kits": 6.0, "bass": 6.0, "keys": 8.0, "guitar": 8.0, "pads": 8.0}
"""Seconds of a sample without a loop."""
QUALITY = 0.8
"""Of the OGG files, 0..1."""
LARGE, LARGE_QUALITY = 60_000, 0.6
"""Bytes above which a file is encoded again, and how."""
TAIL = 10 ** (-70 / 20)
LUFS = -20.0
"""Loudness of a phrase (`phrase`) at velocity 100."""
RATE = 44100


class Folder:
    """The folder of a kind of instruments that is written, with the samples that are in it."""

    def __init__(self, font: soundfont.SoundFont, kind: str, out: Path):
        self.font, self.kind, self.out = font, kind, out
        self.names: dict[tuple, str] = {}
        (out / "samples").mkdir(parents=True)

    def write(self, name: str, regions: list[Region]) -> None:
        """Write an instrument and the samples that it needs, at the loudness of all."""
        regions = [replace(region, sample=self.sample(region)) for region in regions]
        (self.out / f"{name}.sfz").write_text(text(name, self.kind, regions, 0.0), encoding="utf-8")
        notes, seconds = phrase(self.kind)
        sounded = Sampler(sfz.read(self.out / f"{name}.sfz"), RATE, varied=0).render(notes, seconds)
        gain = round(LUFS - loudness(sounded, RATE), 1)
        (self.out / f"{name}.sfz").write_text(text(name, self.kind, regions, gain), encoding="utf-8")
        peak = abs(sounded).max() * 10 ** (gain / 20)
        print(f"{self.kind}/{name}: {len(regions)} regions, {gain:+.1f} dB, peak {peak:.2f}")

    def sample(self, region: Region) -> str:
        """Write the sample of a region, unless it is there. Returns its path in the folder."""
        looped = region.loop_mode.startswith("loop")
        key = (region.sample, region.loop_end if looped else None)
        if key in self.names:
            return self.names[key]
        found = soundfont.sample(self.font, region.sample)
        audio = found.audio(found.frames).T
        if looped:
            audio = audio[: region.loop_end + 9]
        else:
            audio = audio[: round(LONGEST[self.kind] * found.rate)]
            loud = np.flatnonzero(np.abs(audio).max(1) > TAIL * np.abs(audio).max())
            audio = audio[: int(loud[-1]) + 1 if len(loud) else 1].copy()
            fade = min(len(audio), round(0.02 * found.rate))
            audio[-fade:] *= np.linspace(1, 0, fade)[:, None] ** 2
        header = self.font.headers[int(region.sample.split("+")[0])]
        word = "".join(c if c.isalnum() else "-" for c in header.name.lower()).strip("-")
        place = f"samples/{word}-{region.sample.replace('+', '-')}{'-loop' if looped else ''}.ogg"
        encode(self.out / place, audio, found.rate, QUALITY)
        if (self.out / place).stat().st_size > LARGE:
            encode(self.out / place, audio, found.rate, LARGE_QUALITY)
        self.names[key] = place
        return place


def encode(path: Path, audio: np.ndarray, rate: int, quality: float) -> None:
    """Write audio [N, C] as Ogg Vorbis."""
    options = {"format": "OGG", "subtype": "VORBIS", "compression_level": 1 - quality}
    with soundfile.SoundFile(path, "w", rate, audio.shape[1], **options) as file:
        for first in range(0, len(audio), 4096):  # libsndfile's encoder overflows its stack on long blocks
            file.write(np.clip(audio[first : first + 4096], -1, 1))


def text(name: str, kind: str, regions: list[Region], gain: float) -> str:
    """An instrument as SFZ."""
    plain = {field.name: field.default for field in fields(Region)}
    lines = [f"// {name} ({kind}), of the SoundFont FluidR3 GM by Frank Wen, MIT licence"]
    lines.append(f"<global> global_volume={gain}")
    for region in regions:
        shown = [(f.name, getattr(region, f.name)) for f in fields(Region)]
        words = [f"{n}={v:g}" if isinstance(v, float) else f"{n}={v}" for n, v in shown if v != plain[n]]
        lines.append("<region> " + " ".join(words))
    return "\n".join(lines) + "\n"


def kit(font: soundfont.SoundFont, name: str) -> list[Region]:
    """Regions of a kit, a key each; keys that it lacks sound as in the first one."""
    own, first = (soundfont.regions(font, soundfont.DRUMS, KITS[kind]) for kind in (name, "studio"))
    made = []
    for key in DRUM_KEYS:
        wanted = STAND_INS.get(key, key) if name != "percussion" or key != 58 else key
        chosen = next((c for c in ([r for r in rs if r.lokey <= wanted <= r.hikey] for rs in (own, first)) if c), [])
        for region in chosen:
            group = 1 if key in HATS else region.group
            centre = region.pitch_keycenter + key - wanted
            made.append(replace(region, lokey=key, hikey=key, pitch_keycenter=centre, group=group, off_by=group))
    return made


def pitched(font: soundfont.SoundFont, kind: str, program: int) -> list[Region]:
    """Regions of a pitched preset within the kind's register."""
    low, high = REGISTER[kind]
    return [r for r in soundfont.regions(font, 0, program) if r.hikey >= low and r.lokey <= high]


def phrase(kind: str) -> tuple[list[Note], float]:
    """What an instrument is measured with: notes at velocity 100, and seconds."""
    if kind == "kits":
        keys = [(i / 4, key) for i in range(16) for key in ((36, 42), (42,), (38, 42), (42, 46))[i % 4]]
        return [Note(start, start, key, 100) for start, key in keys], 4.5
    if kind == "bass":
        return [Note(i / 4, i / 4 + 0.24, (28, 28, 40, 31, 33, 33, 45, 36)[i % 8], 100) for i in range(16)], 4.5
    chords = ((48, 60, 64, 67), (45, 60, 64, 69), (41, 60, 65, 69), (43, 59, 62, 67))
    return [Note(float(i), i + 0.95, key, 100) for i in range(4) for key in chords[i]], 4.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("soundfont", type=Path)
    parser.add_argument("out", type=Path, help="the folder that is made; its card (README.md) is kept")
    options = parser.parse_args()
    card = options.out / "README.md"
    words = card.read_text(encoding="utf-8") if card.exists() else ""
    font = soundfont.read(options.soundfont)
    with files.whole_folder(options.out, force=True) as out:
        folder = Folder(font, "kits", out / "kits")
        for name in KITS:
            folder.write(name, kit(font, name))
        for kind, presets in PITCHED.items():
            folder = Folder(font, kind, out / kind)
            for name, program in presets.items():
                folder.write(name, pitched(font, kind, program))
            if kind == "bass":
                damped = {"ampeg_decay": 0.6, "ampeg_sustain": 0.0, "ampeg_hold": 0.0, "cutoff": 900.0}
                folder.write("muted", [replace(r, **damped) for r in pitched(font, "bass", PITCHED["bass"]["pick"])])
        if words:
            (out / "README.md").write_text(words, encoding="utf-8")
        made = [file for file in out.rglob("*.*") if file.is_file()]
        size = sum(file.stat().st_size for file in made)
        print(f"{sum(f.suffix == '.sfz' for f in made)} instruments, {len(made)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
