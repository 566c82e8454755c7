"""What the API takes and gives, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field

from stage.generation.request import CANDIDATES

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=2000)]
Seed = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=1, le=16)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Bars = Annotated[list[int], Field(min_length=2, max_length=2)]
Span = Annotated[list[Union[float, str]], Field(min_length=3, max_length=3, examples=[[0.0, 2.0, "Am"]])]
"""Start, end and name of a chord. A list, since many clients have no tuples."""
Seconds = Annotated[float, Field(ge=0, le=36000)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Error(Model):
    """What was wrong and what to do, in one line, and a word for programs."""

    error: str
    code: str


# ---------------------------------------------------------------- about


class Health(Model):
    status: Literal["ok"]
    version: str
    queue: int = Field(description="Jobs that wait or run.")
    token: bool = Field(description="Whether requests need a token.")


class ModelInfo(Model):
    name: str
    title: str
    default: bool
    stems: list[str]
    instruments: dict[str, list[str]] = Field(description="By stem; of the drums: kits.")
    kind: Literal["events", "codes"]
    precisions: list[str]
    precision: str
    licence: str
    size: int = Field(description="Bytes on disk.")


class Demo(Model):
    id: str
    title: str
    licence: str
    seconds: float


class Song(Model):
    id: str
    name: str
    seconds: float
    rate: int
    channels: int


# ---------------------------------------------------------------- jobs


class JobResult(Model):
    track: str | None = None
    takes: list[str] = []
    file: str | None = Field(None, description="Id of a file to fetch.")


class Job(Model):
    id: str
    session: str
    do: str
    title: str
    track: str | None = Field(description="That it works on.")
    stem: str | None = Field(description="Of a new track.")
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int | None = Field(description="Jobs before it, of those that wait.")
    share: float = Field(description="Share that is done, 0..1.")
    left: float | None = Field(description="Seconds that it may still take.")
    live: int | None = Field(description="Which of its takes can be fetched as sound while it is made.")
    error: str | None
    result: JobResult | None
    made: str


class Add(Model):
    """A new track, of one or more takes."""

    do: Literal["add"]
    stem: Name
    prompt: Text = ""
    takes: Count = 1
    seed: Seed | None = None
    name: Name | None = None
    performance: dict[str, Any] = Field({}, max_length=30)
    sampling: dict[str, float] = Field({}, max_length=10)


class Take(Model):
    """More takes of a track, with other seeds."""

    do: Literal["take"]
    track: Name
    n: Count = 1
    seed: Seed | None = None


class Like(Model):
    """Takes that begin as the kept one does."""

    do: Literal["like"]
    track: Name
    n: Count = 1


class Other(Model):
    """Takes unlike those that are there."""

    do: Literal["other"]
    track: Name
    n: Count = 1


class Redo(Model):
    """Some bars of the kept take anew."""

    do: Literal["redo"]
    track: Name
    bars: list[Bars] | None = Field(None, max_length=50)
    seconds: list[Pair] | None = Field(None, max_length=50)
    candidates: Annotated[int, Field(ge=1, le=16)] = CANDIDATES
    seed: Seed | None = None
    performance: dict[str, Any] | None = Field(None, max_length=30)
    sampling: dict[str, float] = Field({}, max_length=10)


class Sound(Model):
    """The notes of the kept take on another instrument, or, of drums, on another kit, as a new take."""

    do: Literal["sound"]
    track: Name
    instrument: Name


class Band(Model):
    """A track of each stem, one after the other."""

    do: Literal["band"]
    stems: list[Name] = Field(["drums", "bass", "keys"], min_length=1, max_length=8)
    prompt: Text = ""
    takes: Count = 1
    seed: Seed | None = None


class Export(Model):
    """A ZIP of stems, mix, MIDI and projects."""

    do: Literal["export"]
    formats: list[Literal["wav", "stems", "mix", "midi", "dawproject", "reaper", "pieces", "click"]] = Field(
        ["wav", "midi", "dawproject", "reaper"], min_length=1, max_length=8
    )
    sound: Literal["wav", "float", "flac"] = "wav"


NewJob = Annotated[Union[Add, Take, Like, Other, Redo, Sound, Band, Export], Field(discriminator="do")]


# ---------------------------------------------------------------- steps


class Step(Model):
    revision: int | None = Field(None, description="Of the session as it was seen; refused with 409 if it changed.")


class Keep(Step):
    do: Literal["keep"]
    track: Name
    take: Name | int


class Mix(Step):
    do: Literal["mix"]
    track: Name
    gain: float | None = None
    pan: float | None = None
    mute: bool | None = None
    lock: bool | None = None


class Rename(Step):
    do: Literal["rename"]
    track: Name
    name: Name


class Move(Step):
    """Another place in the list, from 1 on."""

    do: Literal["move"]
    track: Name
    to: int = Field(ge=1, le=1000)


class Remove(Step):
    do: Literal["remove"]
    track: Name


class Undo(Step):
    do: Literal["undo"]


class Again(Step):
    do: Literal["again"]


class Beats(Step):
    """Half or double the beats, downbeats `by` beats later, or other beats."""

    do: Literal["beats"]
    change: Literal["half", "double", "shift"] | None = None
    by: int = Field(1, ge=-64, le=64)
    times: list[Seconds] | None = Field(None, min_length=2, max_length=20000)
    numbers: list[Annotated[int, Field(ge=1, le=64)]] | None = Field(None, min_length=2, max_length=20000)


class Chords(Step):
    do: Literal["chords"]
    chords: list[Span] | None = Field(None, max_length=5000)
    text: Text | None = Field(None, description='Like "Am F C G"; see docs/chords.md.')


class Sections(Step):
    do: Literal["sections"]
    form: Text


NewStep = Annotated[
    Union[Keep, Mix, Rename, Move, Remove, Undo, Again, Beats, Chords, Sections], Field(discriminator="do")
]


# ---------------------------------------------------------------- sessions


class NewSession(Model):
    """For a song, a demo song, or a tempo."""

    song: Name | None = None
    demo: Name | None = None
    bpm: float | None = Field(None, ge=20, le=400)
    meter: Name = "4/4"
    bars: int = Field(8, ge=1, le=1000)
    chords: Text | None = None
    start: Seconds = 0.0
    seconds: float | None = Field(None, gt=0, le=36000)
    form: Text | None = None
    name: Name | None = None
    model: Name | None = None


class SessionChange(Model):
    name: Name | None = None
    model: Name | None = None


class SessionLine(Model):
    id: str
    name: str
    kind: Literal["song", "click"]
    state: Literal["preparing", "ready", "failed"]
    seconds: float | None
    tracks: int
    changed: str


class Source(Model):
    kind: Literal["song", "click"]
    name: str
    file: str | None


class SectionInfo(Model):
    name: str
    bar: int
    energy: float | None


class TimeInfo(Model):
    bpm: float | None
    times: list[float]
    numbers: list[int]
    division: int
    chords: list[Span] | None
    tuning: float
    sections: list[SectionInfo]


class TakeInfo(Model):
    name: str
    number: int
    seed: int
    prompt: str
    performance: dict[str, Any]
    instrument: str
    check: dict[str, float]
    rank: int
    remarks: list[str]
    regions: list[Pair]
    model: str
    file: str
    notes: str | None


class TrackInfo(Model):
    name: str
    stem: str
    gain: float
    pan: float
    mute: bool
    lock: bool
    kept: str
    takes: list[TakeInfo]


class Session(Model):
    id: str
    name: str
    state: Literal["preparing", "ready", "failed"]
    error: str | None
    revision: int
    seconds: float | None
    rate: int | None
    channels: int | None
    model: str
    source: Source
    click: str | None
    time: TimeInfo | None
    tracks: list[TrackInfo]
    undo: str | None
    again: str | None
    jobs: list[Job]


class Peaks(Model):
    seconds: float
    rate: int
    peaks: list[Pair]


class Note(Model):
    start: float
    length: float
    pitch: int
    velocity: int
    piece: str | None
