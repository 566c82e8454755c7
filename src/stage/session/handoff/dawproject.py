"""An arrangement as a DAWproject file (https://github.com/bitwig/dawproject, version 1.0): a zip with `project.xml`,
`metadata.xml` and the sound. Bitwig Studio, Studio One, Cubase and others open it.

Sound lies in seconds, notes in quarters, with a tempo for every beat: both are exact, as numbers are written in full.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from stage import __version__
from stage.files import whole_file
from stage.session.handoff.arrangement import Arrangement, Strip

COLOURS = ("#8a8f98", "#d1495b", "#3d7ea6", "#edae49", "#66a182", "#8d5a97")


def write(path: Path, arrangement: Arrangement, sound: Callable[[Strip], Path], force: bool = False) -> None:
    """Write the file. sound: the WAV or FLAC file of a track, which is copied into it."""
    names = {strip.name: f"audio/{sound(strip).name}" for strip in arrangement.strips}
    with whole_file(path, force) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("project.xml", text(project(arrangement, names)))
        file.writestr("metadata.xml", text(metadata(arrangement)))
        for strip in arrangement.strips:
            file.write(sound(strip), names[strip.name], zipfile.ZIP_STORED)


def text(root: ElementTree.Element) -> bytes:
    """An element as an XML document."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, "UTF-8", xml_declaration=True)


def metadata(arrangement: Arrangement) -> ElementTree.Element:
    """The element of `metadata.xml`."""
    root = ElementTree.Element("MetaData")
    ElementTree.SubElement(root, "Title").text = arrangement.name
    return root


def project(arrangement: Arrangement, names: dict[str, str]) -> ElementTree.Element:
    """The element of `project.xml`. names: paths within the file of the sound of each track, by name."""
    clock, root = arrangement.clock, ElementTree.Element("Project", version="1.0")
    _, upper, lower = clock.metres[0]
    _add(root, "Application", name="STAGE", version=__version__)
    transport = _add(root, "Transport")
    _add(
        transport, "Tempo", id="tempo", name="Tempo", unit="bpm", min="1", max="9999", value=_number(clock.tempi[0][2])
    )
    _add(transport, "TimeSignature", id="signature", numerator=str(upper), denominator=str(lower))
    structure = _add(root, "Structure")
    whole = _add(root, "Arrangement", id="arrangement")
    lanes = _add(whole, "Lanes", id="lanes", timeUnit="beats")
    for i, strip in enumerate(arrangement.strips):
        colour = COLOURS[i % len(COLOURS)]
        _track(structure, f"track-{i}", strip, strip.name, "audio", colour)
        _sound(lanes, f"track-{i}", strip, arrangement, names[strip.name])
        if strip.notes is not None:
            _track(structure, f"notes-{i}", strip, f"{strip.name} notes", "notes", colour, plain=True)
            _notes(lanes, f"notes-{i}", strip, arrangement)
    master = _add(structure, "Track", id="master", name="Master", contentType="audio notes", loaded="true")
    _channel(master, "master-channel", 2, role="master")
    if arrangement.markers:
        markers = _add(whole, "Markers", id="markers", timeUnit="beats")
        for second, name in arrangement.markers:
            _add(markers, "Marker", time=_number(clock.quarter(second)), name=name)
    tempi = _add(whole, "TempoAutomation", id="tempi", timeUnit="beats", unit="bpm")
    _add(tempi, "Target", parameter="tempo")
    for _, quarter, bpm in clock.tempi:
        _add(tempi, "RealPoint", time=_number(quarter), value=_number(bpm), interpolation="hold")
    metres = _add(whole, "TimeSignatureAutomation", id="signatures", timeUnit="beats")
    _add(metres, "Target", parameter="signature")
    for quarter, upper, lower in clock.metres:
        _add(metres, "TimeSignaturePoint", time=_number(quarter), numerator=str(upper), denominator=str(lower))
    return root


def _track(
    structure: ElementTree.Element, name: str, strip: Strip, title: str, kind: str, colour: str, plain: bool = False
) -> None:
    """A track and its channel; plain: without the strip's gain, pan and mute."""
    track = _add(structure, "Track", id=name, name=title, contentType=kind, loaded="true", color=colour)
    gain, pan, mute = (0.0, 0.0, False) if plain else (strip.gain, strip.pan, strip.mute)
    _channel(track, f"{name}-channel", len(strip.audio), gain, pan, mute)


def _channel(
    track: ElementTree.Element,
    name: str,
    channels: int,
    gain: float = 0.0,
    pan: float = 0.0,
    mute: bool = False,
    role: str = "regular",
) -> None:
    more = {"destination": "master-channel"} if role == "regular" else {}
    channel = _add(track, "Channel", id=name, role=role, audioChannels=str(channels), solo="false", **more)
    _add(channel, "Mute", id=f"{name}-mute", name="Mute", value="true" if mute else "false")
    place = _number((pan + 1) / 2)
    _add(channel, "Pan", id=f"{name}-pan", name="Pan", unit="normalized", min="0", max="1", value=place)
    linear = 10 ** (gain / 20)
    most = _number(max(2.0, linear))
    _add(channel, "Volume", id=f"{name}-volume", name="Volume", unit="linear", min="0", max=most, value=_number(linear))


def _sound(lanes: ElementTree.Element, track: str, strip: Strip, arrangement: Arrangement, path: str) -> None:
    length = _number(arrangement.seconds)
    lane = _add(lanes, "Lanes", id=f"{track}-lanes", track=track, timeUnit="seconds")
    clips = _add(lane, "Clips", id=f"{track}-clips")
    clip = _add(clips, "Clip", time="0", duration=length, playStart="0", contentTimeUnit="seconds", name=strip.name)
    shape = {"channels": str(len(strip.audio)), "sampleRate": str(arrangement.rate)}
    audio = _add(clip, "Audio", id=f"{track}-audio", timeUnit="seconds", duration=length, algorithm="raw", **shape)
    _add(audio, "File", path=path, external="false")


def _notes(lanes: ElementTree.Element, track: str, strip: Strip, arrangement: Arrangement) -> None:
    clock = arrangement.clock
    lane = _add(lanes, "Lanes", id=f"{track}-lanes", track=track, timeUnit="beats")
    clips = _add(lane, "Clips", id=f"{track}-clips")
    length = _number(clock.quarter(arrangement.seconds))
    clip = _add(clips, "Clip", time="0", duration=length, playStart="0", contentTimeUnit="beats", name=strip.name)
    notes = _add(clip, "Notes", id=f"{track}-notes")
    channel = "9" if strip.stem == "drums" else "0"
    for note in strip.notes or ():
        start = clock.quarter(note.start)
        lasting = max(clock.quarter(max(note.end, note.start)) - start, 1 / 32 if strip.stem == "drums" else 1e-4)
        where = {"time": _number(start), "duration": _number(lasting), "channel": channel}
        _add(notes, "Note", **where, key=str(note.pitch), vel=_number(note.velocity / 127), rel="0.5")


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _number(value: float) -> str:
    """In full: read back as the same float."""
    return repr(float(value)).removesuffix(".0")
