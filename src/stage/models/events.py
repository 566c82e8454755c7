"""Played events as codes: a codec between notes and codes [K, T] on a time line of frames.

Frames are subdivisions of the beats of a grid (musical time), or of equal length where there is no grid. The codebooks
stand in an order in which each, through the delay pattern, depends on those before it for the same frame:

    0        the instrument or kit, the same in every frame
    1, 2     first lane: what happens, and how (velocity and the place within the frame)
    3, 4     second lane, and so on

A lane of the drums is a group of pieces of which a drummer plays one at a time (`GROUPS`); a lane of a pitched stem is
a voice. What happens: nothing; a hit with its articulation; or, for voices, rest, hold, or an onset with its pitch.

A hit may stand in a frame beside its own, with its place counted from there, so that the two strokes of a flam do not
fall into one cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.beats.grid import BeatGrid
from stage.models.playable import AT_ONCE, GROUPS, INSTRUMENTS, REGISTERS
from stage.notes import Note

VELOCITIES = 8
"""Steps of velocity."""
STEPS = 12
"""Steps of a frame to which the place of an event is rounded."""
REACH = STEPS
"""An event lies at most so many steps before or after the frame in which it stands."""
LOWEST, PITCHES = 21, 88
"""MIDI pitches of voices: those of a piano."""
NOTHING = REST = 0
HOLD, ONSET = 1, 2


@dataclass(frozen=True)
class TimeLine:
    """Where frames lie in time, and in the music.

    times: [T + 1] float64 seconds, rising; frame t lasts from times[t] to times[t + 1]. numbers: [T] int64, the number
    in the bar of each frame's beat, 0 where it is not known. division: frames of a beat, 0 where there are no beats.
    """

    times: np.ndarray
    numbers: np.ndarray
    division: int = 0

    @classmethod
    def regular(cls, seconds: float, rate: float) -> TimeLine:
        """Frames of equal length, `rate` a second, that cover `seconds`."""
        times = np.arange(int(np.ceil(seconds * rate - 1e-9)) + 1) / rate
        return cls(times, np.zeros(len(times) - 1, np.int64))

    @classmethod
    def musical(cls, grid: BeatGrid, seconds: float, division: int = 12) -> TimeLine:
        """`division` frames a beat from the last beat at or before 0 to the first at or after `seconds`.

        Beyond the grid its first and last beats go on. Raises ValueError for a grid of fewer than two beats.
        """
        beats, numbers = np.asarray(grid.times, np.float64), np.asarray(grid.numbers, np.int64)
        if len(beats) < 2:
            raise ValueError("musical time needs at least two beats")
        first, last = beats[1] - beats[0], beats[-1] - beats[-2]
        before = max(0, int(np.ceil(beats[0] / first - 1e-9)))
        after = max(0, int(np.ceil((seconds - beats[-1]) / last - 1e-9)))
        bar = max(1, int(numbers.max()))
        numbers = np.concatenate(
            [
                (numbers[0] - 1 - np.arange(before, 0, -1)) % bar + 1,
                numbers,
                (numbers[-1] - 1 + np.arange(1, after + 1)) % bar + 1,
            ]
        )
        beats = np.concatenate(
            [beats[0] - first * np.arange(before, 0, -1), beats, beats[-1] + last * np.arange(1, after + 1)]
        )
        low = max(0, int(np.searchsorted(beats, 1e-9, side="right")) - 1)
        high = max(int(np.searchsorted(beats, seconds - 1e-9, side="left")), low + 1)
        beats, numbers = beats[low : high + 1], numbers[low:high]
        places = np.arange((len(beats) - 1) * division + 1) / division
        return cls(np.interp(places, np.arange(len(beats)), beats), np.repeat(numbers, division), division)

    def cut(self, start: int, stop: int) -> TimeLine:
        """Frames start..stop alone, their times as they were. In musical time `start` must be a beat's."""
        return TimeLine(self.times[start : stop + 1], self.numbers[start:stop], self.division)

    @property
    def frames(self) -> int:
        """T."""
        return len(self.times) - 1

    def place(self, seconds: np.ndarray) -> np.ndarray:
        """Seconds to frames, with fractions; outside, the first and last frame go on."""
        seconds = np.asarray(seconds, np.float64)
        inside = np.interp(seconds, self.times, np.arange(len(self.times)))
        first, last = self.times[1] - self.times[0], self.times[-1] - self.times[-2]
        early, late = seconds < self.times[0], seconds > self.times[-1]
        return np.where(
            early,
            (seconds - self.times[0]) / first,
            np.where(late, self.frames + (seconds - self.times[-1]) / last, inside),
        )

    def seconds(self, places: np.ndarray) -> np.ndarray:
        """Frames, with fractions, to seconds: the inverse of `place`."""
        places = np.asarray(places, np.float64)
        inside = np.interp(places, np.arange(len(self.times)), self.times)
        first, last = self.times[1] - self.times[0], self.times[-1] - self.times[-2]
        early, late = places < 0, places > self.frames
        return np.where(
            early,
            self.times[0] + places * first,
            np.where(late, self.times[-1] + (places - self.frames) * last, inside),
        )


def velocity_step(velocity: int) -> int:
    """MIDI velocity 1..127 -> 0..VELOCITIES - 1."""
    return min(VELOCITIES - 1, max(0, (int(velocity) - 1) * VELOCITIES // 127))


def step_velocity(step: int) -> int:
    """The middle of a step of velocity."""
    return round((step + 0.5) * 127 / VELOCITIES + 0.5)


def manner(velocity: int, steps: int) -> int:
    """Code of a velocity step and of the place, -REACH..REACH - 1 steps from the frame's start: 1 and above."""
    return 1 + velocity * 2 * REACH + steps + REACH


def manner_of(code: int) -> tuple[int, int]:
    """The inverse of `manner`."""
    return (code - 1) // (2 * REACH), (code - 1) % (2 * REACH) - REACH


MANNERS = 1 + VELOCITIES * 2 * REACH
"""Codes that say how: 0 where nothing begins or ends."""
_LOUDNESS = np.append(0, np.repeat(np.arange(VELOCITIES), 2 * REACH))


@dataclass(frozen=True)
class Fit:
    """Which codes can follow which in a lane of what a codec writes.

    sounds: [MANNERS] bool, codes of what happens with which the lane sounds. holds: [MANNERS] bool, those that need it
    to have sounded in the frame before. kinds: [2, MANNERS] int64, for each code of what happens a row of `hows`: where
    the lane did not sound in the frame before, and where it did. hows: [n, MANNERS] bool, codes of how it happens.
    loudness: [MANNERS] int64, the step of velocity of each code of how.
    """

    sounds: np.ndarray
    holds: np.ndarray
    kinds: np.ndarray
    hows: np.ndarray
    loudness: np.ndarray


class Events:
    """The codec of one kind of stem.

    lanes: how many things can begin in one frame. instruments: names of the instruments or kits, codebook 0's codes.
    """

    def __init__(self, lanes: int, instruments: Sequence[str]):
        self.lanes, self.instruments = lanes, tuple(instruments)
        self.codebooks = 1 + 2 * lanes

    def encode(self, notes: Iterable[Note], line: TimeLine, instrument: str) -> Tensor:
        """Notes on a time line -> codes [K, T] int64. What lies outside the time line is left out."""
        raise NotImplementedError

    def decode(self, codes: Tensor, line: TimeLine) -> list[Note]:
        """Codes [K, T] -> notes, sorted. Codes that mean nothing for the stem are left out."""
        raise NotImplementedError

    def begins(self) -> np.ndarray:
        """[lanes, MANNERS] bool: the codes of what happens with which something that the stem can play begins."""
        raise NotImplementedError

    def still(self) -> np.ndarray:
        """[MANNERS] bool: the codes of what happens at which nothing begins."""
        return np.arange(MANNERS) == NOTHING

    def fit(self) -> Fit:
        """Which codes can follow which: here, how a hit is made is said where there is one."""
        codes = np.arange(MANNERS)
        begins = (codes != NOTHING).astype(np.int64)
        return Fit(codes < 0, codes < 0, np.stack([begins, begins]), np.stack([codes == 0, codes > 0]), _LOUDNESS)

    def allowed(self, instrument: str | None = None) -> Tensor:
        """[K, MANNERS] bool: codes that the stem can play, with this instrument or with any."""
        made = np.zeros((self.codebooks, MANNERS), bool)
        named = self.instruments if instrument is None else (instrument,)
        made[0, [self.instruments.index(name) for name in named]] = True
        made[1::2] = self.begins() | self.still()
        made[2::2] = True
        return torch.from_numpy(made)

    def nothing(self) -> Tensor:
        """[K, MANNERS] bool: codes at which nothing begins. None of the instrument's."""
        made = np.zeros((self.codebooks, MANNERS), bool)
        made[1::2] = self.still()
        made[2::2, 0] = True
        return torch.from_numpy(made)

    def _empty(self, line: TimeLine, instrument: str) -> np.ndarray:
        codes = np.zeros((self.codebooks, line.frames), np.int64)
        codes[0] = self.instruments.index(instrument)
        return codes

    def instrument(self, codes: Tensor) -> str:
        """The instrument that the first frame names."""
        code = int(codes[0, 0])
        return self.instruments[code if 0 <= code < len(self.instruments) else 0]


def _rounded(place: float) -> tuple[int, int]:
    """The nearest frame, and the steps from it, of a place in frames."""
    whole = round(place * STEPS)
    frame = (whole + STEPS // 2) // STEPS
    return frame, whole - frame * STEPS


def _cells(places: Sequence[float], weights: Sequence[int], frames: int) -> dict[int, int]:
    """A frame of its own for each event of a lane: its nearest, or one beside it. Index of the event -> frame.

    places: in frames. weights: where there are too few frames, the lightest events are left out.
    """
    own = [_rounded(place)[0] for place in places]
    cells: dict[int, int] = {}
    taken: dict[int, int] = {}

    def reaches(i: int, cell: int) -> bool:
        return 0 <= cell < frames and -REACH <= round(places[i] * STEPS) - cell * STEPS < REACH

    def settle(i: int, tried: set[int]) -> bool:
        """A frame for event i, for which others may step aside (augmenting paths of a matching)."""
        for cell in sorted((own[i] - 1, own[i], own[i] + 1), key=lambda cell: abs(places[i] - cell)):
            if cell in tried or not reaches(i, cell):
                continue
            tried.add(cell)
            if cell not in taken or settle(taken[cell], tried):
                taken[cell], cells[i] = i, cell
                return True
        return False

    for i in sorted(range(len(places)), key=lambda i: (-weights[i], places[i])):
        settle(i, set())
    return cells


class DrumEvents(Events):
    """Drums: a lane for each of `GROUPS`."""

    def __init__(self, instruments: Sequence[str] = ("kit",)):
        super().__init__(len(GROUPS), instruments)
        self._lane = {
            key: (lane, code) for lane, group in enumerate(GROUPS.values()) for code, (_, key) in enumerate(group, 1)
        }
        self._key = {place: key for key, place in self._lane.items()}

    def begins(self) -> np.ndarray:
        codes = np.arange(MANNERS)
        return np.stack([(codes > NOTHING) & (codes <= len(group)) for group in GROUPS.values()])

    def encode(self, notes: Iterable[Note], line: TimeLine, instrument: str = "kit") -> Tensor:
        codes = self._empty(line, instrument)
        played = [note for note in notes if note.pitch in self._lane]
        lanes: list[list[tuple[float, Note]]] = [[] for _ in range(self.lanes)]
        for note, place in zip(played, line.place(np.array([note.start for note in played]))):
            lanes[self._lane[note.pitch][0]].append((float(place), note))
        for lane, hits in enumerate(lanes):
            cells = _cells([place for place, _ in hits], [note.velocity for _, note in hits], line.frames)
            for i, cell in cells.items():
                place, note = hits[i]
                codes[1 + 2 * lane, cell] = self._lane[note.pitch][1]
                codes[2 + 2 * lane, cell] = manner(velocity_step(note.velocity), round(place * STEPS) - cell * STEPS)
        return torch.from_numpy(codes)

    def decode(self, codes: Tensor, line: TimeLine) -> list[Note]:
        table = codes.cpu().numpy()
        notes = []
        for lane in range(self.lanes):
            for frame in np.flatnonzero(table[1 + 2 * lane]):
                key, how = self._key.get((lane, int(table[1 + 2 * lane, frame]))), int(table[2 + 2 * lane, frame])
                if key is None or not 1 <= how < MANNERS:
                    continue
                velocity, steps = manner_of(how)
                start = float(line.seconds(np.array(frame + steps / STEPS)))
                notes.append(Note(start, start, key, step_velocity(velocity)))
        return sorted(notes)


class VoiceEvents(Events):
    """Pitched stems: a lane for each voice. A voice rests, holds, or begins a note; the lowest note takes the first.

    register: lowest and highest MIDI pitch that the stem can play. most: notes that it can begin at once. Both bound
    `allowed` alone: what is encoded is kept.
    """

    def __init__(
        self,
        instruments: Sequence[str],
        voices: int = 8,
        register: tuple[int, int] = (21, 108),
        most: int | None = None,
    ):
        super().__init__(voices, instruments)
        self.register, self.most = register, most or voices

    def begins(self) -> np.ndarray:
        pitches = np.arange(MANNERS) - ONSET + LOWEST
        low, high = max(self.register[0], LOWEST), min(self.register[1], LOWEST + PITCHES - 1)
        made = np.repeat(((pitches >= low) & (pitches <= high))[None], self.lanes, 0)
        made[self.most :] = False
        return made

    def still(self) -> np.ndarray:
        codes = np.arange(MANNERS)
        return (codes == REST) | (codes == HOLD)

    def fit(self) -> Fit:
        """As that of drums; in the first frame of rest after a note its end has a place, and none but a voice that
        sounds can hold."""
        codes = np.arange(MANNERS)
        kinds = np.repeat((codes >= ONSET).astype(np.int64)[None], 2, 0)
        kinds[1, REST] = 2
        ends = (codes >= manner(0, -REACH)) & (codes <= manner(0, REACH - 1))
        hows = np.stack([codes == 0, codes > 0, ends])
        return Fit((codes == HOLD) | (codes >= ONSET), codes == HOLD, kinds, hows, _LOUDNESS)

    def encode(self, notes: Iterable[Note], line: TimeLine, instrument: str | None = None) -> Tensor:
        codes = self._empty(line, instrument or self.instruments[0])
        free = np.zeros(self.lanes, np.int64)  # first frame in which a voice may begin anew
        found = sorted(note for note in notes if LOWEST <= note.pitch < LOWEST + PITCHES)
        starts = line.place(np.array([note.start for note in found]))
        ends = line.place(np.array([note.end for note in found]))
        cells = [(_rounded(float(place)), note.pitch, i) for i, (place, note) in enumerate(zip(starts, found))]
        for (frame, steps), pitch, i in sorted(cells, key=lambda cell: (cell[0][0], cell[1])):
            if not 0 <= frame < line.frames:
                continue
            voices = [v for v in range(self.lanes) if codes[1 + 2 * v, frame] in (REST, HOLD) and free[v] <= frame]
            if not voices:  # all sound: the one that ends first is cut
                voices = [v for v in range(self.lanes) if codes[1 + 2 * v, frame] < ONSET]
                if not voices:
                    continue
                voices.sort(key=lambda v: free[v])
            voice = voices[0]
            end, ended = _rounded(max(float(ends[i]), float(starts[i]) + 1 / STEPS))
            end, ended = (frame + 1, -REACH + 1) if end <= frame else (end, ended)
            what, how = codes[1 + 2 * voice], codes[2 + 2 * voice]
            what[frame:], how[frame:] = REST, 0
            what[frame] = ONSET + pitch - LOWEST
            how[frame] = manner(velocity_step(found[i].velocity), steps)
            last = min(end, line.frames)
            what[frame + 1 : last] = HOLD
            if end < line.frames:
                how[end] = manner(0, ended)
            free[voice] = end
        return torch.from_numpy(codes)

    def decode(self, codes: Tensor, line: TimeLine) -> list[Note]:
        table = codes.cpu().numpy()
        notes = []
        for voice in range(self.lanes):
            what, how = table[1 + 2 * voice], table[2 + 2 * voice]
            for frame in np.flatnonzero((what >= ONSET) & (what < ONSET + PITCHES)):
                velocity, steps = manner_of(int(how[frame])) if 1 <= how[frame] < MANNERS else (VELOCITIES // 2, 0)
                end = frame + 1
                while end < len(what) and what[end] == HOLD:
                    end += 1
                later = 0
                if end < len(what) and 1 <= how[end] < MANNERS:
                    later = manner_of(int(how[end]))[1]
                start, stop = line.seconds(np.array([frame + steps / STEPS, end + later / STEPS]))
                stop = max(float(stop), float(start) + 0.01)
                pitch = LOWEST + int(what[frame]) - ONSET
                notes.append(Note(float(start), stop, pitch, step_velocity(velocity)))
        return sorted(notes)


def codecs() -> dict[str, Events]:
    """The codec of each stem."""
    made: dict[str, Events] = {"drums": DrumEvents(list(INSTRUMENTS["drums"]))}
    for stem, register in REGISTERS.items():
        made[stem] = VoiceEvents(list(INSTRUMENTS[stem]), register=register, most=AT_ONCE.get(stem))
    return made
