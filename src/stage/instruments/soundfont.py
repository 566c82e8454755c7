"""Reads SoundFonts (SF2, specification 2.04): a preset becomes an instrument whose regions are SFZ's.

Levels, envelopes and filters follow what fluidsynth makes of the generators. Modulators, vibrato and tremolo are left
out, as are compressed samples (SF3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from stage.errors import StageError
from stage.instruments.samples import Sample
from stage.instruments.sfz import Instrument, Region

KEYS, VELOCITIES, INSTRUMENT, SAMPLE = 43, 44, 41, 53
RANGES = (KEYS, VELOCITIES)
NOT_ADDED = {KEYS, VELOCITIES, INSTRUMENT, SAMPLE, 0, 1, 2, 3, 4, 12, 45, 46, 47, 50, 54, 57, 58}
DEFAULTS = {8: 13500, 56: 100} | dict.fromkeys((21, 23, 25, 26, 27, 28, 30, 33, 34, 35, 36, 38), -12000)
DRUMS = 128
"""The bank of kits."""
FALL = 80 / 96
"""Fluidsynth's times are those of a fall by 96 dB, those of our envelopes of one by 80 dB."""


@dataclass(frozen=True)
class Zone:
    """Generators by number, of preset and instrument together; the sample's number; keys and velocities it is for."""

    generators: dict[int, int]
    sample: int
    keys: tuple[int, int]
    velocities: tuple[int, int]

    def get(self, number: int) -> int:
        return self.generators.get(number, DEFAULTS.get(number, 0))

    def seconds(self, number: int) -> float:
        """A time in timecents; nothing under two milliseconds counts."""
        time = 2 ** (max(-12000, min(8000, self.get(number))) / 1200)
        return round(time, 4) if time > 0.002 else 0.0


@dataclass(frozen=True)
class Header:
    """A sample: where it starts, ends and loops in the file's samples, Hz, key, cents, its other channel, its kind."""

    name: str
    start: int
    end: int
    loop: tuple[int, int]
    rate: int
    root: int
    correction: int
    link: int
    kind: int


@dataclass
class SoundFont:
    """Sample headers, the samples int16 [N], and zones by (bank, program)."""

    path: Path
    headers: list[Header]
    words: np.ndarray
    presets: dict[tuple[int, int], list[Zone]] = field(default_factory=dict)


def read(path: str | Path) -> SoundFont:
    """Read a SoundFont. Raises StageError where it is none."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StageError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return _parse(path, data)
    except (struct.error, IndexError, KeyError, ValueError, OverflowError):
        raise StageError(f"{path} is not a SoundFont (SF2), or it is damaged; SF3 has to be converted first") from None


def _parse(path: Path, data: bytes) -> SoundFont:
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError
    chunks: dict[bytes, bytes | memoryview] = {}
    _walk(memoryview(data), 12, len(data), chunks)
    records = {name: list(struct.iter_unpack(form, chunks[name])) for name, form in FORMS.items()}
    words = np.frombuffer(chunks[b"smpl"], "<i2")
    headers = [
        Header(name.split(b"\0")[0].decode("latin-1"), a, b, (c, d), rate, root, correction, link, kind)
        for name, a, b, c, d, rate, root, correction, link, kind in records[b"shdr"]
    ]
    font = SoundFont(path, headers, words)
    instruments = _groups(records[b"inst"], 1, records[b"ibag"], records[b"igen"], SAMPLE)
    presets = _groups(records[b"phdr"], 3, records[b"pbag"], records[b"pgen"], INSTRUMENT)
    for (_, program, bank, *_), zones in zip(records[b"phdr"], presets):
        made = font.presets.setdefault((bank, program), [])
        for above in zones:
            for own in instruments[above[INSTRUMENT]]:
                keys, velocities = (_meet(own.get(r, 0x7F00), above.get(r, 0x7F00)) for r in RANGES)
                if keys[0] <= keys[1] and velocities[0] <= velocities[1]:
                    header = headers[own[SAMPLE]]
                    if header.kind & 0x10:
                        raise ValueError  # compressed
                    if 0 <= header.start < header.end <= len(words) and header.rate > 0:
                        made.append(Zone(_added(own, above), own[SAMPLE], keys, velocities))
    return font


FORMS = {
    b"phdr": "<20sHHHIII",
    b"pbag": "<HH",
    b"pgen": "<HH",
    b"inst": "<20sH",
    b"ibag": "<HH",
    b"igen": "<HH",
    b"shdr": "<20sIIIIIBbHH",
}


def _walk(data: memoryview, start: int, end: int, chunks: dict[bytes, bytes | memoryview]) -> None:
    """Find the chunks of a RIFF file."""
    at = start
    while at + 8 <= end:
        name, size = bytes(data[at : at + 4]), struct.unpack_from("<I", data, at + 4)[0]
        if name == b"LIST":
            _walk(data, at + 12, min(at + 8 + size, end), chunks)
        else:
            chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _groups(records: list[tuple], column: int, bags: list[tuple], generators: list[tuple], last: int) -> list:
    """Of each preset or instrument the zones, as generators by number, with those of its global zone."""
    made = []
    for here, following in zip(records, records[1:]):
        zones = [dict(generators[bags[i][0] : bags[i + 1][0]]) for i in range(here[column], following[column])]
        shared = zones[0] if zones and last not in zones[0] else {}
        made.append([shared | zone for zone in zones if last in zone])
    return made


def _added(own: dict[int, int], above: dict[int, int]) -> dict[int, int]:
    """Generators of an instrument's zone, with those of the preset's zone added where that is allowed."""
    total = {n: v if n in RANGES else _signed(v) for n, v in own.items()}
    for number, amount in above.items():
        if number not in NOT_ADDED:
            total[number] = total.get(number, DEFAULTS.get(number, 0)) + _signed(amount)
    return total


def _signed(value: int) -> int:
    return value - 65536 if value >= 32768 else value


def _meet(a: int, b: int) -> tuple[int, int]:
    return max(a & 255, b & 255), min(a >> 8, b >> 8)


# ---------------------------------------------------------------- regions


def regions(font: SoundFont, bank: int, program: int) -> list[Region]:
    """Regions of a preset. A sample's name is its number, or those of the left and the right one: "12+13"."""
    return [_region(font, zones, bank == DRUMS) for zones in pairs(font, font.presets[(bank, program)])]


def pairs(font: SoundFont, zones: list[Zone]) -> list[tuple[Zone, ...]]:
    """Zones alone, or two together that differ only in their samples' sides: (left, right)."""
    made: list[tuple[Zone, ...]] = []
    waiting: dict[tuple, list[int]] = {}  # what the other one must be like -> places in `made`
    for zone in zones:
        header, side = font.headers[zone.sample], zone.get(17)
        others = waiting.get(_likeness(header, zone, -side), []) if abs(side) == 500 else []
        if others:
            place = others.pop(0)
            made[place] = tuple(sorted((*made[place], zone), key=lambda z: z.get(17)))
            continue
        if abs(side) == 500:
            waiting.setdefault(_likeness(header, zone, side), []).append(len(made))
        made.append((zone,))
    return made


def _likeness(header: Header, zone: Zone, side: int) -> tuple:
    """What two zones of a stereo sample have in common, and the side."""
    same = tuple(sorted((n, v) for n, v in zone.generators.items() if n not in (17, 45, 50, SAMPLE, *range(5))))
    loop = (header.loop[0] - header.start, header.loop[1] - header.start)
    return side, zone.keys, zone.velocities, same, loop, header.rate, header.root, header.correction


def _region(font: SoundFont, zones: tuple[Zone, ...], drums: bool) -> Region:
    zone = zones[0]
    header = font.headers[zone.sample]
    root = zone.generators.get(58, -1)
    looped = zone.get(54) & 1 and header.loop[1] - header.loop[0] > 8 and not drums
    volume = -0.04 * zone.get(48) - 0.05 * max(0, zone.get(9))
    if len(zones) == 1:  # fluidsynth's pan has 3 dB less in the middle, ours 3 dB more at the sides
        volume -= 3.01
    values: dict[str, object] = {
        "sample": "+".join(str(z.sample) for z in zones),
        "lokey": zone.keys[0],
        "hikey": zone.keys[1],
        "lovel": zone.velocities[0],
        "hivel": zone.velocities[1],
        "pitch_keycenter": header.root if root < 0 else root,
        "pitch_keytrack": float(zone.get(56)),
        "tune": float(100 * zone.get(51) + zone.get(52) + header.correction),
        "volume": round(volume, 2),
        "pan": float(round(zone.get(17) / 5)) if len(zones) == 1 else 0.0,
        "ampeg_delay": zone.seconds(33),
        "ampeg_attack": zone.seconds(34),
    }
    release = round(max(zone.seconds(38) * FALL, 0.02), 4)
    if drums:  # released at once, as short notes do
        group = zone.get(57)
        values |= {"loop_mode": "one_shot", "ampeg_decay": release, "ampeg_sustain": 0.0}
        values |= {"group": group, "off_by": group}
    else:
        values |= {
            "ampeg_hold": zone.seconds(35),
            "ampeg_decay": round(zone.seconds(36) * FALL, 4),
            "ampeg_sustain": round(100 * 10 ** (-0.096 * max(0, zone.get(37)) / 20), 3) if zone.get(37) < 1000 else 0.0,
            "ampeg_release": release,
            "loop_mode": "no_loop",
        }
    if looped:
        values["loop_mode"] = "loop_sustain" if zone.get(54) == 3 else "loop_continuous"
        values |= {"loop_start": header.loop[0] - header.start, "loop_end": header.loop[1] - header.start - 1}
    return Region(**values, **_filter(zone, drums))  # type: ignore[arg-type]


def _filter(zone: Zone, drums: bool) -> dict[str, float]:
    """The low pass of a zone. An envelope that stands at its top from the beginning to the end moves the cutoff."""
    cents, depth = zone.get(8), zone.get(11)
    still = zone.seconds(25) + zone.seconds(26) < 0.01 and (zone.get(29) <= 0 or zone.seconds(28) > 50)
    still = still and (drums or zone.seconds(30) > 5)
    if still:
        cents, depth = cents + depth, 0
    hertz = 8.176 * 2 ** (max(1500, min(cents, 13500)) / 1200)
    if hertz > 18000 and depth >= 0:
        return {}
    values = {"cutoff": round(hertz, 1), "resonance": max(0, zone.get(9)) / 10}
    if abs(depth) >= 50:
        values |= {"fileg_depth": float(depth), "fileg_delay": zone.seconds(25), "fileg_attack": zone.seconds(26)}
        values |= {"fileg_hold": zone.seconds(27), "fileg_decay": zone.seconds(28)}
        values |= {"fileg_sustain": 100.0 - min(1000, max(0, zone.get(29))) / 10, "fileg_release": zone.seconds(30)}
    return values


# ---------------------------------------------------------------- playing


def nearest(path: str | Path, program: int = 0, drums: bool = False) -> Instrument:
    """A preset of a SoundFont as an instrument: that of this number, or the first of its bank, or the first there
    is. Raises StageError where there is none."""
    there = sorted(place for place, zones in _opened(Path(path)).presets.items() if zones)
    bank = DRUMS if drums else 0
    order = [place for place in there if place == (bank, program)] or [p for p in there if p[0] == bank] or there
    bank, program = order[0] if order else (bank, program)
    return instrument(path, program, bank)


def _opened(path: Path) -> SoundFont:
    try:
        now = path.stat()
    except OSError as error:
        raise StageError(f"cannot read {path}: {error.strerror or error}") from None
    return _read_once(path, now.st_mtime_ns, now.st_size)


def instrument(path: str | Path, program: int = 0, bank: int = 0) -> Instrument:
    """A preset of a SoundFont as an instrument. Raises StageError where it has none of that number."""
    path = Path(path)
    font = _opened(path)
    if not font.presets.get((bank, program)):
        there = ", ".join(f"{b}:{p}" for b, p in sorted(font.presets)[:12])
        raise StageError(f"{path} has no preset {bank}:{program} (bank:program); it has {there} ...")
    found = tuple(regions(font, bank, program))
    return Instrument(font.path.stem, font.path.parent, found, samples=_reader(font))


@lru_cache(2)
def _read_once(path: Path, changed: int, size: int) -> SoundFont:
    """The file as it is now: several parts of a song read it once."""
    return read(path)


def _reader(font: SoundFont) -> Callable[[str], Sample]:
    return lambda name: sample(font, name)


def sample(font: SoundFont, name: str) -> Sample:
    """The sample of a region."""
    headers = [font.headers[int(number)] for number in name.split("+")]
    length = min(header.end - header.start for header in headers)

    def read(frames: int) -> np.ndarray:
        parts = [font.words[header.start : header.start + frames] for header in headers]
        return np.stack(parts).astype(np.float32) / 32768

    return Sample(length, headers[0].rate, None, read)
