"""The analysis of a stem, kept as numbers, and its scores against a truth.

The two are apart because one generated stem is scored against several truths: its own context's, and, as the control
of a wrong context, that of another clip.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np

from stage.beats.bar_pointer import BarPointer
from stage.beats.grid import BeatGrid
from stage.beats.tracker import MODEL, decode, listen
from stage.evaluation.figures import beats, harmony
from stage.evaluation.truth import Truth


@dataclass(frozen=True)
class Analysis:
    """What was found in a stem of `seconds`. Plain lists, so that it can be kept as JSON.

    activation: what `stage.beats.tracker.listen` returned, packed; onsets: seconds;
    notes: (start, end, MIDI pitch), only for pitched stems.
    """

    seconds: float
    activation: str
    onsets: list[float]
    notes: list[tuple[float, float, int]] | None = None

    @classmethod
    def of(cls, audio: np.ndarray, rate: int, pitched: bool) -> Analysis:
        """audio: float32 [N]."""
        found = [(note.start, note.end, note.pitch) for note in harmony.notes(audio, rate)] if pitched else None
        return cls(
            len(audio) / rate,
            pack(listen(audio, rate, published_only=True)),
            [round(float(t), 3) for t in beats.onsets(audio, rate)],
            found and [(round(float(start), 3), round(float(end), 3), int(pitch)) for start, end, pitch in found],
        )

    def grid(self, model: BarPointer = MODEL) -> BeatGrid:
        """The beats that a tracker with this model finds."""
        return _decoded(self.activation, model)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Analysis:
        """Raises TypeError or ValueError for what `to_json` cannot have written."""
        made = cls(**data)
        if not made.seconds > 0 or not np.isfinite(unpack(made.activation)).all():
            raise ValueError("an analysis has a length, and probabilities of beats")
        if np.asarray(made.onsets, np.float64).ndim != 1:
            raise ValueError("onsets are a list of seconds")
        if made.notes and np.asarray(made.notes, np.float64).shape != (len(made.notes), 3):
            raise ValueError("a note has a start, an end and a pitch")
        return made


METRICS = (
    "beat_f",
    "beat_f_free",
    "downbeat_f",
    "mean_error",
    "tempo_difference",
    "onset_on",
    "onset_off",
    "onset_agreement",
    "density",
    "in_chord",
)


def score(found: Analysis, truth: Truth) -> dict[str, float]:
    """All figures of a stem against a truth, by the names in `METRICS`; nan where one does not apply.

    `beat_f`, `downbeat_f` and `mean_error` are those of a tracker that looks within half an octave around the true
    tempo, so that half and double time do not count as faults; the controls are tracked likewise. `beat_f_free` and
    `tempo_difference` are those of the tracker as it is. Times in seconds, tempo in BPM, density in onsets a second,
    the rest shares from 0 to 1.
    """
    near, free = found.grid(around(truth.bpm)), found.grid()
    agreement = beats.onset_agreement(truth.grid.times, np.array(found.onsets))
    played = [harmony.Note(*note) for note in found.notes or ()]
    return {
        "beat_f": beats.f_measure(truth.grid.times, near.times),
        "beat_f_free": beats.f_measure(truth.grid.times, free.times),
        "downbeat_f": beats.f_measure(truth.grid.downbeats, near.downbeats),
        "mean_error": beats.mean_error(truth.grid.times, near.times),
        "tempo_difference": beats.tempo_difference(truth.bpm, free.bpm),
        "onset_on": agreement.on,
        "onset_off": agreement.off,
        "onset_agreement": agreement.agreement,
        "density": len(found.onsets) / found.seconds,
        "in_chord": harmony.share_in_chord(played, truth.chords),
    }


def around(bpm: float) -> BarPointer:
    """A tracker that looks for tempi less than half an octave away."""
    return replace(MODEL, min_bpm=bpm / 2**0.5, max_bpm=bpm * 2**0.5, tempo_spread=None)


@lru_cache(maxsize=4096)
def _decoded(activation: str, model: BarPointer) -> BeatGrid:
    # Kept, because a stem is scored against several truths.
    return decode(unpack(activation), model)


def pack(probabilities: np.ndarray) -> str:
    """float [T, 2] as text, in half precision: 3 KB for 10 s."""
    return base64.b64encode(probabilities.astype("<f2").tobytes()).decode("ascii")


def unpack(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").reshape(-1, 2).astype(np.float64)


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over the clips where it applies; nan where it never does. `clips` is their number."""
    means: dict[str, float] = {"clips": len(scores)}
    for metric in METRICS:
        values = np.array([one[metric] for one in scores], np.float64)
        values = values[np.isfinite(values)]
        means[metric] = float(values.mean()) if len(values) else float("nan")
    return means
