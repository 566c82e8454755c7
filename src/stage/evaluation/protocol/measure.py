"""The figures of one stem, against its own context and truth and against wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stage import fingerprint
from stage.beats.grid import BeatGrid
from stage.evaluation.coherence import identities, scorers
from stage.evaluation.embeddings import clap
from stage.evaluation.figures import harmony
from stage.evaluation.figures.beats import beat_figures, onset_agreement, onset_density, onsets
from stage.evaluation.protocol.clips import Clip
from stage.evaluation.protocol.task import Task
from stage.evaluation.truth import Truth

ONE_VOICE = ("bass",)
"""Stems of which one note sounds at a time, so that their notes can be found."""
SHORTEST_COHERENCE = 5.0
"""Seconds that the coherence scorers need."""


@dataclass(frozen=True)
class Found:
    """What was found in a stem on its own: beats, onsets in seconds and onsets a second, notes of a stem of one
    voice."""

    grid: BeatGrid
    onsets: np.ndarray
    density: float
    notes: list[harmony.Note] | None


class Measures:
    """The instruments of a task: a tracker, coherence scorers, and CLAP where it is here.

    tracker: its name, for the table. fingerprint: of all instruments; figures of others are not comparable.
    """

    def __init__(self, task: Task):
        from stage.beats.choose import choose

        self.tracker, self._track = choose(task.tracker)
        if self.tracker == "stage":
            # our own network was trained on our corpus, as our models were, and is not used to measure them
            from stage.beats.tracker import decode, listen

            self.tracker, self._track = "BeatNet", lambda audio, rate: decode(listen(audio, rate, published_only=True))
        self.scorers, self.clap = scorers(task.device or "cpu"), clap.here()
        parts = (self.tracker, *identities().items(), clap.identity() if self.clap else None)
        self.fingerprint = fingerprint.of_bytes(repr(parts).encode())

    def beats(self, audio: np.ndarray, rate: int) -> BeatGrid:
        """The tracked beats of a stem."""
        return self._track(audio, rate)

    def of(self, audio: np.ndarray, rate: int, clip: Clip, partner: Clip | None) -> dict[str, Any]:
        """Figures of a stem float32 [N] against its clip, and against the partner's under "wrong"."""
        found = Found(
            self.beats(audio, rate),
            onsets(audio, rate),
            onset_density(audio, rate),
            harmony.notes(audio, rate) if clip.stem in ONE_VOICE else None,
        )
        row = self._against(audio, rate, found, clip, clip.truth, clip.context(rate))
        if self.clap is not None and clip.text:
            row["clap"] = self.clap.score(audio, rate, clip.text)
        if partner is not None:
            row["wrong"] = self._against(audio, rate, found, clip, partner.truth, partner.context(rate))
        return row

    def _against(
        self, audio: np.ndarray, rate: int, found: Found, clip: Clip, truth: Truth, context: np.ndarray
    ) -> dict[str, float]:
        row = beat_figures(truth.grid, found.grid, clip.seconds) if len(truth.grid) else {}
        row["onset_agreement"] = onset_agreement(truth.grid.times, found.onsets).agreement
        row["density"] = found.density
        if clip.kind == "mix" and clip.stem not in harmony.UNPITCHED:
            row["chroma"] = harmony.chroma_agreement(audio, context, rate)
            if found.notes is not None and truth.chords:
                row["in_chord"] = harmony.share_in_chord(found.notes, truth.chords)
        if clip.kind == "mix" and clip.seconds >= SHORTEST_COHERENCE:
            row |= {f"coherence {name}": score(audio, context, rate) for name, score in self.scorers.items()}
        return {name: round(float(value), 5) for name, value in row.items() if np.isfinite(value)}
