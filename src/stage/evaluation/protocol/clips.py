"""The clips of the paper's two protocols on any songs: mixes of held-out songs without one stem, and metronomes, with
the truth about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stage import fingerprint
from stage.audio.files import resample
from stage.beats.grid import BeatGrid, click_track
from stage.data.song import Song
from stage.errors import StageError
from stage.evaluation.truth import Truth, chords_within, tempo_distance

HELD = ("test", "heldout", "validation")
"""Splits to evaluate on, the first that there is; without splits the last songs by id."""
TEMPI = range(100, 180)
LATEST_FIRST_BEAT = 0.3
SILENCE = 0.01
TRIES = 50


@dataclass(frozen=True)
class Plan:
    """The paper's numbers.

    songs, passes: clips of mixes for each stem are their product. clicks: metronomes, 100 .. 179 BPM again and again.
    seconds: length of a clip. controls: clips of each protocol that are made without context and without text too.
    leave_out: roles that are not in a mix.
    """

    stems: tuple[str, ...] = ("drums",)
    songs: int = 24
    passes: int = 4
    clicks: int = 160
    seconds: float = 10.0
    seed: int = 42
    controls: int = 24
    leave_out: tuple[str, ...] = ("vocals", "other")


@dataclass(frozen=True)
class Clip:
    """One context with its truth.

    id: names its files. kind: "mix" or "click". number: chooses the seed. start: seconds into the song. bpm: of a
    metronome; first: seconds to its first beat. partner: id of the clip whose context is the wrong one, "" where there
    is none. fingerprint: digest of a mix's sound, truth and text.
    """

    id: str
    kind: str
    stem: str
    number: int
    seconds: float
    song: Song | None = None
    start: float = 0.0
    bpm: float = 0.0
    first: float = 0.0
    partner: str = ""
    leave_out: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def truth(self) -> Truth:
        """Beats, tempo and chords; times count from the clip's beginning."""
        if self.song is None:
            return Truth(BeatGrid.regular(self.bpm, 4, self.seconds, self.first), self.bpm)
        beats = np.zeros((0, 2)) if self.song.beats is None else self.song.beats
        grid = BeatGrid(beats[:, 0], np.maximum(1, beats[:, 1])).crop(self.start, self.start + self.seconds)
        chords = chords_within(self.song.chords or (), self.start, self.seconds)
        return Truth(grid, grid.bpm if len(grid) > 1 else self.song.tempo or 120.0, chords)

    @property
    def text(self) -> str:
        """The paper's prompt, of the song's genres and moods; "" where none are known."""
        if self.song is None:
            return ""
        parts = [
            f"{title}: {', '.join(names[:3])}."
            for title, names in (("Genres", self.song.genres), ("Moods", self.song.moods))
            if names
        ]
        return " ".join(parts)

    def context(self, rate: int) -> np.ndarray:
        """The other stems together, or the clicks: float32 [round(seconds * rate)]."""
        if self.song is None:
            return click_track(self.truth.grid, self.seconds, rate)
        others = [role for role in self.song.stems if role != self.stem and role not in self.leave_out]
        return self._read(others, rate)

    def target(self, rate: int) -> np.ndarray:
        """The song's own stem: float32 [round(seconds * rate)]. Mixes only."""
        return self._read([self.stem], rate)

    def _read(self, roles: Sequence[str], rate: int) -> np.ndarray:
        song = self.song
        audio = song.read(roles, round(self.start * song.rate), round(self.seconds * song.rate))[0]
        return resample(audio, song.rate, rate)[: round(self.seconds * rate)]


def held_out(songs: Sequence[Song], stem: str, count: int, leave_out: Sequence[str]) -> list[Song]:
    """At most `count` songs to evaluate a stem on, the last by id. Raises StageError where there are none."""
    usable = [
        song
        for song in songs
        if stem in song.stems and any(role != stem and role not in leave_out for role in song.stems)
    ]
    split = next((name for name in HELD if any(song.split == name for song in usable)), None)
    if split is not None:
        usable = [song for song in usable if song.split == split]
    if not usable:
        there = ", ".join(sorted({role for song in songs for role in song.stems})) or "none"
        raise StageError(f'no song has "{stem}" beside another stem; stems there are: {there}')
    return sorted(usable, key=lambda song: song.id)[-count:]


def clips(songs: Sequence[Song], plan: Plan) -> list[Clip]:
    """All clips of a plan; the same for the same songs and plan.

    Raises StageError where no place of the songs can be used.
    """
    made: list[Clip] = []
    for stem in plan.stems:
        chosen = held_out(songs, stem, plan.songs, plan.leave_out)
        for turn in range(plan.passes):
            for place, song in enumerate(chosen):
                rng = np.random.default_rng([plan.seed, turn, place])
                clip = Clip(f"mix-{stem}-{turn}-{place:03d}", "mix", stem, len(made), plan.seconds, song)
                if (placed := _placed(replace(clip, leave_out=plan.leave_out), rng)) is not None:
                    made.append(placed)
        if plan.passes and not any(clip.stem == stem for clip in made):
            raise StageError(
                f"in none of {len(chosen)} songs is there a place of {plan.seconds:g} seconds in which {stem} and"
                " another stem sound"
            )
        for place in range(plan.clicks):
            first = float(np.random.default_rng([plan.seed, 999, place]).uniform(0, LATEST_FIRST_BEAT))
            bpm = float(TEMPI[place % len(TEMPI)])
            made.append(Clip(f"click-{stem}-{place:03d}", "click", stem, len(made), plan.seconds, bpm=bpm, first=first))
    return _with_partners(made)


def _placed(clip: Clip, rng: np.random.Generator) -> Clip | None:
    """A clip of a song at a random place where its stem and another one sound; None where none was found."""
    song, size = clip.song, round(clip.seconds * clip.song.rate)
    others = [role for role in song.stems if role != clip.stem and role not in clip.leave_out]
    for _ in range(TRIES):
        start = int(rng.integers(max(1, song.samples - size)))
        parts = [song.read(roles, start, size) for roles in ([clip.stem], others)]
        if min(float(np.abs(part).max(initial=0)) for part in parts) > SILENCE:
            placed = replace(clip, start=start / song.rate)
            about = (*(part.tobytes() for part in parts), placed.truth.to_bytes(), placed.text.encode())
            return replace(placed, fingerprint=fingerprint.of_bytes(*about))
    return None


def _with_partners(made: list[Clip]) -> list[Clip]:
    """Each clip with a partner, whose context is wrong for it: of its stem and kind, of another song (of another
    metronome), and of the tempo furthest off among the next few. "" where there is none."""
    result = []
    for clip in made:
        group = [
            other
            for other in made
            if (other.stem, other.kind) == (clip.stem, clip.kind)
            and (other.id != clip.id if other.song is None else other.song.id != clip.song.id)
        ]
        at = next((i for i, other in enumerate(group) if other.number > clip.number), 0)
        near = (group[at:] + group[:at])[1:9] or group
        partner = max(near, key=lambda other: tempo_distance(other.truth.bpm, clip.truth.bpm), default=None)
        result.append(replace(clip, partner=partner.id if partner else ""))
    return result
