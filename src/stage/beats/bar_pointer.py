"""From beat probabilities to beats: the bar-pointer model, decoded exactly.

A hidden Markov model whose state is (beat of the bar, length of this beat, position in this beat), after
Krebs, Böck and Widmer, "An efficient state space model for joint tempo and meter tracking" (ISMIR 2015), and
Böck, Krebs and Widmer, "Joint beat and downbeat tracking with recurrent neural networks" (ISMIR 2016).
The pointer moves by one position a frame; only where a beat begins may its length (the tempo) change. So the
decoder remembers choices for beginnings only: an hour of music at 50 frames/s takes 30 MB, not gigabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BarPointer:
    """Parameters of the model; tempi in beats a minute."""

    frame_rate: float = 50.0
    min_bpm: float = 55.0
    max_bpm: float = 215.0
    meters: tuple[int, ...] = (3, 4)
    tempo_inertia: float = 100.0
    """How firmly the tempo is kept: the log probability of a change by a factor r is -inertia * |r - 1|."""
    beat_share: float = 1 / 16
    """Share of each beat in which the network is expected to show it."""
    centre_bpm: float = 120.0
    tempo_spread: float | None = None
    """Standard deviation, in octaves, of a preference for tempi around `centre_bpm`; None for none."""

    def decode(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The most probable beats.

        probabilities: float [T, 2], for each frame that of a beat that is not a downbeat and of a downbeat.
        Returns frames int64 [n] (the frame at which each beat begins) and numbers int64 [n] (1 = downbeat).
        """
        return self.best(probabilities)[1:]

    def best(self, probabilities: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """As `decode`; the log probability of the path comes first."""
        if len(probabilities) == 0:
            return 0.0, np.zeros(0, np.int64), np.zeros(0, np.int64)
        return max(self._paths(probabilities), key=lambda path: path[0])

    def log_probabilities(self, probabilities: np.ndarray) -> dict[int, float]:
        """For each number of beats a bar the log probability of its best path. probabilities: as `decode`; T > 0."""
        return {meter: path[0] for meter, path in zip(self.meters, self._paths(probabilities))}

    def _paths(self, probabilities: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """As `decode`, for each number of beats a bar; the log probability of the path comes first.

        The states of all metres stand in one row, block after block (a beat of a bar, one length of it), so that a
        frame is a few operations on arrays.
        """
        lengths, beats = self._lengths(), sum(self.meters)
        starts = np.concatenate([[0], np.cumsum(np.tile(lengths, beats))])
        first, last = starts[:-1].reshape(beats, -1), starts[1:].reshape(beats, -1) - 1
        bars = np.concatenate([[0], np.cumsum(self.meters)])  # where each metre's beats begin
        before = np.concatenate([bar + np.roll(np.arange(meter), 1) for bar, meter in zip(bars, self.meters)])
        position = np.arange(starts[-1]) - np.repeat(starts[:-1], np.tile(lengths, beats))
        in_beat = position < self.beat_share * np.repeat(np.tile(lengths, beats), np.tile(lengths, beats))
        is_down = np.repeat(np.isin(np.arange(beats), bars), lengths.sum())
        kind = np.where(in_beat, np.where(is_down, 2, 1), 0)

        observed = self.log_observations(probabilities)
        # [to, (beat, from)]: long rows, which numpy adds fast
        transition = np.tile(self._log_transition(lengths).T, beats)
        # score[state]: log probability of the best path that ends there; sources[t, beat, length]: the length
        # of the beat before, for paths on which this beat begins at frame t.
        states = np.array(self.meters) * lengths.sum()
        score = observed[0][kind] - np.repeat(np.log(states), states)
        moved = np.empty_like(score)
        sources = np.zeros((len(observed), beats, len(lengths)), np.uint8)
        arriving = np.empty_like(transition)
        rows, each = arriving.reshape(-1, len(lengths)), np.arange(len(lengths) * beats)
        ending, begun, sounding = last[before].ravel(), first.T.ravel(), np.flatnonzero(kind)
        begun_kind, sounding_kind = kind[begun], kind[sounding]
        for frame in range(1, len(observed)):
            seen = observed[frame]
            np.add(score[ending], transition, out=arriving)
            best = rows.argmax(axis=1)
            # the pointer moves on; in most states no beat is expected
            np.add(score[:-1], seen[0], out=moved[1:])
            moved[sounding] = score[sounding - 1] + seen[sounding_kind]
            moved[begun] = rows[each, best] + seen[begun_kind]
            score, moved = moved, score
            sources[frame] = best.reshape(-1, beats).T
        width = lengths.sum()
        paths = []
        for bar, meter in zip(bars, self.meters):
            own, blocks = slice(bar * width, (bar + meter) * width), starts[: meter * len(lengths) + 1]
            paths.append(self._trace_back(score[own], sources[:, bar : bar + meter], blocks, lengths))
        return paths

    def _trace_back(self, score, sources, starts, lengths) -> tuple[float, np.ndarray, np.ndarray]:
        state = int(score.argmax())
        block = int(np.searchsorted(starts, state, side="right")) - 1
        beat, length = divmod(block, len(lengths))
        frame = len(sources) - 1 - (state - starts[block])
        meter = sources.shape[1]
        frames, numbers = [], []
        while frame >= 0:
            frames.append(frame)
            numbers.append(beat + 1)
            # At frame 0 no choice was made: the path began there.
            if frame == 0:
                break
            length = int(sources[frame, beat, length])
            beat = (beat - 1) % meter
            frame -= lengths[length]
        return float(score.max()), np.array(frames[::-1], np.int64), np.array(numbers[::-1], np.int64)

    def _lengths(self) -> np.ndarray:
        """int64: the beat lengths, in frames, that are distinguished."""
        shortest, longest = (round(60 * self.frame_rate / bpm) for bpm in (self.max_bpm, self.min_bpm))
        return np.arange(shortest, longest + 1)

    def _log_transition(self, lengths: np.ndarray) -> np.ndarray:
        """float64 [from, to]: log probability that a beat of one length is followed by one of another."""
        change = np.abs(lengths[None, :] / lengths[:, None] - 1)
        logs = -self.tempo_inertia * change
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
        if self.tempo_spread is not None:
            octaves = np.log2(60 * self.frame_rate / lengths / self.centre_bpm)
            logs = logs - 0.5 * (octaves / self.tempo_spread) ** 2
        return logs

    def log_observations(self, probabilities: np.ndarray) -> np.ndarray:
        """float64 [T, 3]: log density of each frame in states without a beat, with one, with a downbeat."""
        tiny = 1e-10
        beat, downbeat = np.asarray(probabilities, np.float64).T
        none = np.maximum(1 - beat - downbeat, tiny) / (1 / self.beat_share - 1)
        return np.log(np.stack([none, np.maximum(beat, tiny), np.maximum(downbeat, tiny)], axis=1))
