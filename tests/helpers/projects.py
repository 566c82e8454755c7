"""Small readers of DAWproject and REAPER files, which share no line with what writes them: they give tracks, clips and
notes in seconds."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

SCHEMAS = Path(__file__).parent / "dawproject"


@dataclass
class Clip:
    """A stretch on a track, in seconds: a file of sound, or notes (start, end, key, velocity)."""

    start: float
    length: float
    file: str | None = None
    notes: list[tuple[float, float, int, int]] = field(default_factory=list)


@dataclass
class Read:
    """tracks: name -> (gain, pan -1..1, mute, clips). tempi: (second, quarters a minute). metres: (second, upper,
    lower). markers: (second, name)."""

    tracks: dict[str, tuple[float, float, bool, list[Clip]]]
    tempi: list[tuple[float, float]]
    metres: list[tuple[float, int, int]]
    markers: list[tuple[float, str]]


# ---------------------------------------------------------------- DAWproject


def check_schema(path: Path) -> None:
    """Raise an error where the XML of a DAWproject file is not valid by its published schema."""
    import xmlschema

    with zipfile.ZipFile(path) as file:
        for name, schema in (("project.xml", "Project.xsd"), ("metadata.xml", "MetaData.xsd")):
            xmlschema.XMLSchema(str(SCHEMAS / schema)).validate(file.read(name).decode())


def read_dawproject(path: Path) -> Read:
    with zipfile.ZipFile(path) as file:
        root, held = ElementTree.fromstring(file.read("project.xml")), set(file.namelist())
    whole = root.find("Arrangement")
    assert whole is not None and whole.find("Lanes").get("timeUnit") == "beats"
    points = [(float(p.get("time")), float(p.get("value"))) for p in whole.findall("TempoAutomation/RealPoint")]
    assert {p.get("interpolation") for p in whole.findall("TempoAutomation/RealPoint")} == {"hold"}
    assert whole.find("TempoAutomation/Target").get("parameter") == root.find("Transport/Tempo").get("id")

    def seconds(quarter: float) -> float:
        total = 0.0
        for (at, bpm), end in zip(points, [*(p[0] for p in points[1:]), float("inf")]):
            total += max(0.0, min(quarter, end) - at) * 60 / bpm
        return total

    tracks = {}
    for track in root.findall("Structure/Track"):
        channel = track.find("Channel")
        if channel.get("role") != "master":
            assert channel.get("destination") == root.find(".//Channel[@role='master']").get("id")
            level = float(channel.find("Volume").get("value"))
            pan = 2 * float(channel.find("Pan").get("value")) - 1
            mute = channel.find("Mute").get("value") == "true"
            tracks[track.get("id")] = (track.get("name"), level, pan, mute, [])
    for lane in whole.findall("Lanes/Lanes"):
        unit = lane.get("timeUnit")
        for clip in lane.findall("Clips/Clip"):
            assert float(clip.get("playStart")) == 0 and clip.get("contentTimeUnit") == unit
            start, length = float(clip.get("time")), float(clip.get("duration"))
            if unit == "beats":
                start, length = seconds(start), seconds(start + length) - seconds(start)
            made = Clip(start, length)
            if (audio := clip.find("Audio")) is not None:
                made.file = audio.find("File").get("path")
                assert made.file in held and float(audio.get("duration")) == length
            for note in clip.findall("Notes/Note"):
                begin = float(note.get("time"))
                span = seconds(begin), seconds(begin + float(note.get("duration")))
                made.notes.append((*span, int(note.get("key")), round(127 * float(note.get("vel")))))
            tracks[lane.get("track")][-1].append(made)
    metres = whole.findall("TimeSignatureAutomation/TimeSignaturePoint")
    return Read(
        {name: tuple(rest) for name, *rest in tracks.values()},
        [(seconds(at), bpm) for at, bpm in points],
        [(seconds(float(m.get("time"))), int(m.get("numerator")), int(m.get("denominator"))) for m in metres],
        [(seconds(float(m.get("time"))), m.get("name")) for m in whole.findall("Markers/Marker")],
    )


# ---------------------------------------------------------------- REAPER


@dataclass
class Block:
    """`<NAME words` with its lines of words, and the blocks within it."""

    name: str
    words: list[str]
    lines: list[list[str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def all(self, name: str) -> list[Block]:
        return [block for block in self.blocks if block.name == name]

    def one(self, key: str) -> list[str]:
        found = [line[1:] for line in self.lines if line[0] == key]
        assert len(found) == 1, (key, found)
        return found[0]


def _words(line: str) -> list[str]:
    """Words of a line; those in quotation marks, of three kinds, may hold blanks."""
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'|`([^`]*)`|(\S+)", line)
    return ["".join(groups) for groups in found]


def blocks(text: str) -> Block:
    """The outermost block of a project. Raises AssertionError where blocks are not closed as they were opened."""
    stack: list[Block] = []
    done = None
    for line in text.splitlines():
        line = line.strip()
        assert done is None, "text behind the project"
        if line.startswith("<"):
            name, *words = _words(line[1:])
            block = Block(name, words)
            if stack:
                stack[-1].blocks.append(block)
            stack.append(block)
        elif line == ">":
            block = stack.pop()
            done = block if not stack else None
        elif line:
            stack[-1].lines.append(_words(line))
    assert done is not None and not stack
    return done


def read_reaper(path: Path) -> Read:
    root = blocks(path.read_text(encoding="utf-8"))
    assert root.name == "REAPER_PROJECT"
    points = [line for line in root.all("TEMPOENVEX")[0].lines if line[0] == "PT"]
    assert {line[3] for line in points} == {"1"}  # the tempo stays until the next point
    tempi = [(float(line[1]), float(line[2])) for line in points]
    metres = [(float(line[1]), int(line[4]) & 0xFFFF, int(line[4]) >> 16) for line in points if len(line) > 4]

    def seconds(quarter: float) -> float:
        for (at, bpm), (after, _) in zip(tempi, [*tempi[1:], (float("inf"), 0)]):
            lasting = (after - at) * bpm / 60
            if quarter <= lasting:
                return at + quarter * 60 / bpm
            quarter -= lasting
        raise AssertionError

    tracks = {}
    for track in root.all("TRACK"):
        level, pan = (float(word) for word in track.one("VOLPAN")[:2])
        clips = []
        for item in track.all("ITEM"):
            clip = Clip(float(item.one("POSITION")[0]), float(item.one("LENGTH")[0]))
            source = item.all("SOURCE")[0]
            if source.words[0] == "MIDI":
                clip.notes = _notes(source, seconds)
            else:
                clip.file = source.one("FILE")[0]
                assert (path.parent / clip.file).is_file() and float(item.one("SOFFS")[0]) == 0
            clips.append(clip)
        tracks[track.one("NAME")[0]] = (level, pan, track.one("MUTESOLO")[0] == "1", clips)
    markers = [(float(line[2]), line[3]) for line in root.lines if line[0] == "MARKER"]
    return Read(tracks, tempi, metres, markers)


def _notes(source: Block, seconds) -> list[tuple[float, float, int, int]]:
    held, ticks = source.one("HASDATA"), 0
    assert held[0] == "1" and held[2] == "QN"
    open_keys: dict[int, tuple[int, int]] = {}
    made = []
    for line in source.lines:
        if line[0] != "E":
            continue
        ticks += int(line[1])
        status, key, velocity = (int(word, 16) for word in line[2:])
        if status >> 4 == 9:
            assert key not in open_keys and velocity
            open_keys[key] = ticks, velocity
        elif status >> 4 == 8:
            start, velocity = open_keys.pop(key)
            made.append((*(seconds(tick / int(held[1])) for tick in (start, ticks)), key, velocity))
    assert not open_keys
    return sorted(made)
