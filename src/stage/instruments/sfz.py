"""Reads SFZ instrument files (sfzformat.com): text that maps samples to keys and velocities.

Opcodes of <global> hold for the <master>s, <group>s and <region>s below it, and so on. The fields of `Region` are the
supported opcodes; the names of others are collected for a note to the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stage.errors import StageError

MOST_REGIONS = 20_000
MOST_BYTES = 8 << 20
"""Of the text of an instrument, with what it includes."""
DEPTH = 8
"""Files that may include one another."""


@dataclass(frozen=True)
class Region:
    """A sample and when and how it sounds. Names are SFZ's opcodes; levels in dB, times in seconds, pan -100..100.

    keys and velocities: 0..127, both ends included. tune: cents; transpose: semitones; pitch_keytrack: cents a key.
    loop_mode: "no_loop", "one_shot", "loop_continuous" or "loop_sustain"; "" as the sample's file has it. end and
    loop ends: samples, the last one included; -1: the sample's own. seq_length, seq_position: round robin.
    lorand, hirand: share of the draws 0..1. group, off_by: a note of group g silences regions with off_by g.
    cutoff: of a low pass of second order, Hz, 0 for none; resonance: dB; fileg_depth, fil_veltrack: cents;
    fil_keytrack: cents a key. global_volume, master_volume, group_volume add to volume.
    """

    sample: str = ""
    lokey: int = 0
    hikey: int = 127
    lovel: int = 0
    hivel: int = 127
    pitch_keycenter: int = 60
    pitch_keytrack: float = 100.0
    tune: float = 0.0
    transpose: int = 0
    volume: float = 0.0
    global_volume: float = 0.0
    master_volume: float = 0.0
    group_volume: float = 0.0
    amplitude: float = 100.0
    pan: float = 0.0
    amp_veltrack: float = 100.0
    offset: int = 0
    end: int = -1
    loop_mode: str = ""
    loop_start: int = -1
    loop_end: int = -1
    ampeg_delay: float = 0.0
    ampeg_attack: float = 0.0
    ampeg_hold: float = 0.0
    ampeg_decay: float = 0.0
    ampeg_sustain: float = 100.0
    ampeg_release: float = 0.001
    cutoff: float = 0.0
    resonance: float = 0.0
    fil_keytrack: float = 0.0
    fil_keycenter: int = 60
    fil_veltrack: float = 0.0
    fileg_depth: float = 0.0
    fileg_delay: float = 0.0
    fileg_attack: float = 0.0
    fileg_hold: float = 0.0
    fileg_decay: float = 0.0
    fileg_sustain: float = 100.0
    fileg_release: float = 0.0
    group: int = 0
    off_by: int = 0
    off_mode: str = "fast"
    seq_length: int = 1
    seq_position: int = 1
    lorand: float = 0.0
    hirand: float = 1.0
    trigger: str = "attack"
    xfin_lokey: int = 0
    xfin_hikey: int = 0
    xfout_lokey: int = 127
    xfout_hikey: int = 127
    xfin_lovel: int = 0
    xfin_hivel: int = 0
    xfout_lovel: int = 127
    xfout_hivel: int = 127


@dataclass(frozen=True)
class Instrument:
    """An instrument file that was read.

    regions: those with a sample, in the file's order. folder: the samples' paths count from here. unknown: opcodes and
    headers that are not supported, each once. samples: returns the `Sample` of a name, where samples are not files of
    their own (SoundFonts).
    """

    name: str
    folder: Path
    regions: tuple[Region, ...]
    unknown: tuple[str, ...] = ()
    samples: Callable[[str], Any] | None = None


ALIASES = {
    "loopmode": "loop_mode",
    "loopstart": "loop_start",
    "loopend": "loop_end",
    "pitch": "tune",
    "polyphony_group": "group",
    "offby": "off_by",
    "gain": "volume",
}
HEADERS = ("control", "global", "master", "group", "region")
IGNORED = re.compile(r"(sample_quality|region_label|group_label|master_label|global_label|label_\w+|sw_label)$")
"""Opcodes without an effect on the sound."""
CHOICES = {
    "loop_mode": ("", "no_loop", "one_shot", "loop_continuous", "loop_sustain"),
    "off_mode": ("fast", "normal"),
    "trigger": ("attack", "first"),
}
"""Opcodes whose value is one of several words. Regions with another trigger (release noises) are left out."""
BOUNDS = {"volume": 144.0, "tune": 9600.0, "transpose": 127.0, "ampeg": 1000.0, "fileg": 12000.0}
"""The largest size of a value, by the first part of its opcode's name."""
NOTE = re.compile(r"([a-gA-G])([#b]?)(-?\d+)$")
TOKEN = re.compile(r"<(\w+)>|([\w$]+)=")
_KINDS: dict[str, Callable[[str], Any]] = {
    f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(Region)
}
SWITCHES = ("sw_last", "sw_default")
"""Keyswitches: of several articulations the default one is played."""
_KEYS = (*SWITCHES, "key", "lokey", "hikey", "pitch_keycenter", "fil_keycenter") + (
    *("xfin_lokey", "xfin_hikey", "xfout_lokey", "xfout_hikey"),
)


def read(path: str | Path) -> Instrument:
    """Read an SFZ file. Raises StageError where it, a sample or a value is wrong: the line says which."""
    path = Path(path)
    text = "\n".join(_lines(path, path.parent.resolve(), {}, 0, [0]))
    if not text.strip():
        raise StageError(f"{path} holds no instrument")
    found: list[Region] = []
    unknown: dict[str, None] = {}
    levels: dict[str, dict[str, Any]] = {"global": {}, "master": {}, "group": {}}
    control: dict[str, str] = {}
    for header, opcodes in _blocks(text, path):
        if header == "control":
            control |= opcodes
            continue
        if header not in HEADERS:
            unknown[f"<{header}>"] = None
            continue
        values = _values(opcodes, control, path, unknown)
        if header != "region":
            levels[header] = values
            below = ("global", "master", "group")
            for name in below[below.index(header) + 1 :]:
                levels[name] = {}
            continue
        merged = levels["global"] | levels["master"] | levels["group"] | values
        if merged.get("sample", "").startswith("*"):  # a generator of the player's own
            unknown[f"sample={merged['sample']}"] = None
        elif _sounds(merged):
            found.append(Region(**{name: value for name, value in merged.items() if name not in SWITCHES}))
        if len(found) > MOST_REGIONS:
            raise StageError(f"{path} has more than {MOST_REGIONS} regions")
    if not found:
        raise StageError(f"{path} is not an SFZ instrument: it has no region with a sample")
    folder = path.parent.resolve()
    for name in {region.sample for region in found}:
        _check_sample(path, folder, name)
    return Instrument(path.stem, folder, tuple(found), tuple(unknown))


def _sounds(values: dict[str, Any]) -> bool:
    """Whether a region can be played: it has a sample and keys, and its keyswitch, if any, is the one that is on."""
    there = values.get("sample") and values.get("lokey", 0) >= 0 and values.get("hikey", 0) >= 0
    on = values.get("sw_last") in (None, values.get("sw_default"))
    return bool(there and on and values.get("trigger", "attack") in CHOICES["trigger"])


def _check_sample(path: Path, folder: Path, name: str) -> None:
    place = (folder / name).resolve()
    if not place.is_relative_to(folder):
        raise StageError(f"{path}: the sample {name} lies outside of the instrument's folder")
    if not place.is_file():
        raise StageError(f"{path}: the sample {name} does not exist")


def _lines(path: Path, root: Path, names: dict[str, str], depth: int, size: list[int]) -> Iterator[str]:
    """Lines of a file and of what it includes, without comments, with its defined words replaced."""
    if depth > DEPTH:
        raise StageError(f"{path}: files include one another without end")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StageError(f"cannot read {path}: {error.strerror or error}") from None
    size[0] += len(raw)
    if size[0] > MOST_BYTES or b"\0" in raw:
        raise StageError(f"{path} is not an SFZ instrument: it is no text, or too long")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    for line in text.splitlines():
        line = re.sub(r"(^|\s)//.*", "", line).strip()
        if line.startswith("#define"):
            parts = line.split(None, 2)
            if len(parts) == 3 and parts[1].startswith("$"):
                names[parts[1]] = parts[2]
            continue
        for name in sorted(names, key=len, reverse=True):
            line = line.replace(name, names[name])
        if line.startswith("#include"):
            named = re.search(r'"([^"]+)"', line)
            other = (root / named[1].replace("\\", "/")).resolve() if named else root
            if not other.is_relative_to(root) or not other.is_file():
                raise StageError(f"{path}: {line} is not in the instrument's folder")
            yield from _lines(other, root, names, depth + 1, size)
            continue
        yield line


def _blocks(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(header, opcodes as written) in the file's order."""
    header, opcodes = None, {}
    for line in text.splitlines():
        tokens = list(TOKEN.finditer(line))
        for token, following in zip(tokens, [*tokens[1:], None]):
            if token[1]:
                if header is not None:
                    yield header, opcodes
                header, opcodes = token[1].lower(), {}
            elif header is not None:
                opcodes[token[2].lower()] = line[token.end() : following.start() if following else None].strip()
            else:
                raise StageError(f"{path} is not an SFZ instrument: {token[2]} stands before the first header")
    if header is not None:
        yield header, opcodes


def _values(opcodes: dict[str, str], control: dict[str, str], path: Path, unknown: dict[str, None]) -> dict[str, Any]:
    """Opcodes as values of `Region`."""
    values: dict[str, Any] = {}
    for written, text in opcodes.items():
        name = ALIASES.get(written, written)
        if name == "key":
            values["lokey"] = values["hikey"] = values["pitch_keycenter"] = _key(text, path, name)
        elif name in _KEYS:
            values[name] = _key(text, path, name)
        elif name == "sample":
            values[name] = _path(control.get("default_path", "") + text)
        elif name in _KINDS:
            values[name] = _number(text, path, name)
            if name in CHOICES and values[name] not in CHOICES[name]:
                unknown[f"{name}={text}"] = None
                if name != "trigger":
                    del values[name]
        elif name == "fil_type" and text == "lpf_2p":
            pass
        elif name == "fil_type":
            unknown[f"fil_type={text}"] = None
        elif not IGNORED.match(name):
            unknown[written] = None
    shift = _number(control.get("note_offset", "0"), path, "transpose")
    if shift:
        values |= {name: values[name] + shift for name in ("lokey", "hikey", "pitch_keycenter") if name in values}
    return values


def _path(text: str) -> str:
    return text.replace("\\", "/")


def _key(text: str, path: Path, name: str) -> int:
    """A key by number or by name: c4 is 60. -1 where the region answers to none."""
    if found := NOTE.match(text):
        pitch = "c d ef g a b".index(found[1].lower())
        return 12 * (int(found[3]) + 1) + pitch + {"#": 1, "b": -1, "": 0}[found[2]]
    try:
        return max(-1, min(127, int(text)))
    except ValueError:
        raise StageError(f"{path}: {name}={text} names no key; write 60 or c4") from None


def _number(text: str, path: Path, name: str) -> Any:
    kind = _KINDS[name]
    if kind is str:
        return text
    try:
        value = float(text)
    except ValueError:
        raise StageError(f"{path}: {name}={text}: a number is needed") from None
    most = BOUNDS.get(name.split("_")[0], 2**40)
    if not abs(value) <= most:  # also not a number
        raise StageError(f"{path}: {name}={text} is out of range: {-most:g} to {most:g}")
    return int(value) if kind is int else value
