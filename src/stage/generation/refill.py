"""A part with some stretches played anew, between what stays before and after.

The notes that stay are encoded; what stands before a stretch is the prompt of the codes, as in any window, and notes
that ring into the stretch stand fixed in their cells. Several candidates are made at once, and the one after which the
model finds the music that follows the likeliest is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.generation.decoding import Sampling, Stopped, finished, made, steps
from stage.generation.played import Plan
from stage.generation.request import CANDIDATES
from stage.generation.sounding import within
from stage.models.decoder import Decoder
from stage.models.events import STEPS
from stage.notes import Note

AFTER = 4
"""Beats behind a stretch by which its candidates are ranked."""
OVER = 0.06
"""Seconds beyond a stretch up to which a note that began in it has ended: what rings longer stays as it is."""
RELEASE = 0.03
"""Seconds before a stretch's end by which new notes of pitched stems have ended, and their sound fades."""
SAME = 0.03
"""Seconds within which a new hit would double one that stays."""

Region = tuple[float, float]
"""Start and end of a stretch, in seconds."""


@dataclass(frozen=True, eq=False)
class Filler:
    """How a stem is filled: the model, what it plays to, and how it is sampled.

    index: of the stem. text: [L, D] or None. size: of a window in frames.
    """

    decoder: Decoder
    index: int
    plan: Plan
    text: Tensor | None
    sampling: Sampling
    size: int

    def refill(
        self,
        notes: Sequence[Note],
        instrument: str,
        regions: Sequence[Region],
        seconds: float,
        seed: int = 0,
        candidates: int = CANDIDATES,
        pauses: tuple[tuple[float, float], ...] = (),
        on_progress: Callable[[float], bool | None] | None = None,
    ) -> list[Note]:
        """Notes of the part, those of the regions new; all others are the ones that were given.

        instrument: that plays them. regions: in order, apart. seconds: length of the piece. candidates: for each
        region. pauses: in which the part rests. Of the notes that begin in a region, those that ring on behind it stay.
        """
        now = sorted(notes)
        for number, region in enumerate(regions):

            def on_share(share: float, number: int = number) -> bool | None:
                return on_progress((number + share) / len(regions)) if on_progress else None

            stays = [note for note in now if self.stays(note, region)]
            codes, likely = self.candidates(stays, instrument, region, [seed, number], candidates, on_share)
            now = sorted(
                stays + self.new(codes[int(likely.argmax())], stays, instrument, region, seconds, seed, pauses)
            )
        return now

    def frames(self, region: Region) -> tuple[int, int]:
        """The frames that a region touches, as (first, end)."""
        first, end = self.plan.line.place(np.array(region))
        return max(0, int(np.floor(first + 1e-6))), min(self.plan.line.frames, int(np.ceil(end - 1e-6)))

    def stays(self, note: Note, region: Region) -> bool:
        """Whether a note is none of a region's: it begins before or after it, or anticipates what comes after it, or
        rings on behind it."""
        start, end = region
        if not start <= note.start < end:
            return True
        place = float(self.plan.line.place(np.array(note.start)))
        if (round(place * STEPS) + STEPS // 2) // STEPS >= self.frames(region)[1]:
            return True
        return self.plan.stem != "drums" and note.end > end + OVER

    def _encoded(self, notes: Sequence[Note], instrument: str) -> Tensor:
        """Codes [K, T]; an instrument that is a file is one that the model knows."""
        events = self.plan.events
        known = instrument if instrument in events.instruments else events.instruments[0]
        return events.encode(notes, self.plan.line, known)

    def candidates(
        self,
        stays: Sequence[Note],
        instrument: str,
        region: Region,
        seed: Sequence[int],
        count: int = CANDIDATES,
        on_share: Callable[[float], bool | None] = lambda share: None,
    ) -> tuple[Tensor, Tensor]:
        """Codes [V, K, T] of the part with a region that is made, half a window at a time, and how likely the music
        behind it is after each, [V] in nats. Where nothing stands behind the region there is one candidate."""
        codes = self._encoded(stays, instrument)
        first, end = self.frames(region)
        fixed = codes.clone()
        inside = fixed[1:, first:end]
        happens = (inside[0::2] != 0) | (inside[1::2] != 0)
        inside[0::2][~happens] = -1
        inside[1::2][~happens] = -1
        half = self.size // 2
        parts = [(at, min(at + half, end)) for at in range(first, end, half)]
        made, likely = codes[None], torch.zeros(1, dtype=torch.float64)
        for number, (at, stop) in enumerate(parts):
            last = stop == end
            after = min(AFTER * max(1, self.plan.line.division), self.size - half) if last else 0
            seeds = [_seed([*seed, number, i]) for i in range(count if last and stop < codes.shape[1] else 1)]

            def on_step(share: float, number: int = number) -> bool | None:
                return on_share((number + share) / len(parts))

            found, likely = self._candidates(made[0], fixed, at, stop, after, seeds, on_step)
            made = made[:1].repeat(len(seeds), 1, 1)
            made[:, :, at:stop] = found
        return made, likely

    @torch.inference_mode()
    def _candidates(
        self,
        codes: Tensor,
        fixed: Tensor,
        start: int,
        stop: int,
        after: int,
        seeds: Sequence[int],
        on_step: Callable[[float], bool | None],
    ) -> tuple[Tensor, Tensor]:
        """Codes [V, K, stop - start] of frames, and how likely those of the frames behind them are, [V] in nats.

        codes: [K, T], of which those before `start` and from `stop` on hold. fixed: [K, T], -1 for cells to make.
        """
        division = max(1, self.plan.line.division)
        last = min(codes.shape[1], stop + after)
        first = min(start, max(0, -(-(last - self.size) // division) * division))
        given = torch.cat([codes[:, first:start], fixed[:, start:stop], codes[:, stop:last]], dim=1)
        mix, config = self.plan.mix, self.decoder.config
        pattern = torch.tensor(config.pattern)
        total = torch.zeros(len(seeds), dtype=torch.float64)
        state = None
        for state in steps(
            self.decoder,
            stem=self.index,
            contexts=[None if mix is None else mix[:, first:last]],
            text=self.text,
            frames=last - first,
            seeds=list(seeds),
            prompt=codes[:, first:start] if start > first else None,
            sampling=self.sampling,
            features=self.plan.known[first:last],
            rules=self.plan.rules.cut(torch.arange(first, last)),
            given=given,
            hurry=False,
        ):
            if on_step(state.done / state.steps) is False:
                raise Stopped
            if len(seeds) == 1 and finished(state) >= stop - first:  # nothing is to be chosen
                break
            frame = state.at - 1 - pattern
            behind = (frame >= stop - first) & (frame < last - first)
            if behind.any():
                chances = state.logits[0].float().log_softmax(-1).cpu()
                there = (state.columns[:, :, state.at].cpu() - config.target_start).clamp(min=0)
                nats = chances.gather(-1, there[..., None])[..., 0]
                total += (nats * behind).sum(-1).double()
        assert state is not None
        return made(state, start - first, stop - first).cpu(), total

    def new(
        self,
        codes: Tensor,
        stays: Sequence[Note],
        instrument: str,
        region: Region,
        seconds: float,
        seed: int,
        pauses: tuple[tuple[float, float], ...],
    ) -> list[Note]:
        """The notes of codes that do not stand among those that stay, as they are to be played, within the region."""
        plan, (first, end) = self.plan, region
        there = {note[:1] + note[2:] for note in plan.events.decode(self._encoded(stays, instrument), plan.line)}
        notes = [note for note in plan.events.decode(codes, plan.line) if note[:1] + note[2:] not in there]
        beats = plan.line if plan.grid is None or len(plan.grid) < 2 else plan.grid
        notes = within(plan.performance.apply(notes, beats, plan.stem, seed, seconds), seconds, pauses)
        drums, found = plan.stem == "drums", []
        edge = end if end >= seconds - 1e-6 else end - RELEASE
        for note in notes:
            start = max(note.start, first)
            stop = start + note.end - note.start if drums else min(note.end, edge)
            if start >= edge or start > note.start + RELEASE or (not drums and stop < start + 0.01):
                continue
            alike = (other for other in stays if other.pitch == note.pitch)
            if drums:
                taken = any(abs(other.start - start) < SAME for other in alike)
            else:
                taken = any(other.start < stop and other.end > start for other in alike)
            if not taken:
                found.append(note._replace(start=start, end=stop))
        return found


def _seed(values: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(values)).generate_state(1, np.uint64)[0] >> 1)
