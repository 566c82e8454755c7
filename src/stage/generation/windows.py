"""Music longer than the model's window: windows that overlap, each going on from the last one's codes.

Every window sees the contexts of its own stretch of time and starts with the codes that were already
made for the first half of it. The codes of the whole piece are decoded as one sound, so there is no seam
in it, and only what the model decides changes at a window's edge.

A window ends long before the piece does, and what it does not hold is forgotten. So where a section comes again, frames
in which it was played before take the place of the first ones of that half (`recalling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.generation.decoding import OnStep, Sampling, Stopped, finished, made, steps
from stage.generation.event_rules import EventRules
from stage.generation.sections import Earlier
from stage.models.codec import Codec, encode_long
from stage.models.decoder import Decoder

NONE = torch.zeros(0, dtype=torch.int64)
RECALLED = 0.25
"""Share of a window that frames of an earlier place may take: half of what is known of a usual one."""


@dataclass(frozen=True, eq=False)
class Window:
    """Frames `start` to before `end` of the piece, of which the first `known` were made by the window before.

    recalled: int64 [M], frames of long before that stand in front of them.
    """

    start: int
    end: int
    known: int
    recalled: Tensor = NONE

    @property
    def new(self) -> int:
        """Frames that this window adds."""
        return self.end - self.start - self.known

    @property
    def frames(self) -> Tensor:
        """All frames that the model is given, in their order: int64 [T]."""
        return torch.cat([self.recalled, torch.arange(self.start, self.end)])

    @property
    def before(self) -> int:
        """What is taken from the number of a frame, `start` or later, for its place among `frames`."""
        return self.start - len(self.recalled)


def windows(frames: int, size: int) -> list[Window]:
    """Cover a piece of `frames` frames with windows of `size` that overlap by at least half.

    The last window reaches back from the end, so that it is as long as the others.
    """
    plan = [Window(0, min(frames, size), 0)]
    while (done := plan[-1].end) < frames:
        start = min(done - size // 2, frames - size)
        plan.append(Window(start, start + size, done - start))
    return plan


def recalling(window: Window, earlier: Earlier | None) -> Window:
    """The same with frames in which its new ones were played before in front, in place of as many of its first ones.
    What it holds anyway, and what is not made yet, is not among them."""
    if earlier is None or not window.known:
        return window
    most = int(RECALLED * (window.end - window.start))
    found = earlier.recalled(window.start + window.known, window.end, window.start, most)
    return Window(window.start + len(found), window.end, window.known - len(found), found)


def window_seed(seed: int, index: int) -> int:
    """The seed of a variation's window: its own for the first, so that short pieces are the model's plain output."""
    return seed if index == 0 else int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


ContextsOf = Callable[[Window], Sequence["Tensor | None"]]
"""Codes [K, T] of each kind of context in a window, None where there are none."""


def play(decoder: Decoder, **piece) -> Tensor:
    """Codes of a stem for contexts of any length, all at once: see `stream` for the arguments.

    Returns int64 [V, K, frames], V = len(seeds).
    """
    return torch.cat(list(stream(decoder, **piece)), dim=-1)


def stream(
    decoder: Decoder,
    *,
    stem: int,
    contexts: ContextsOf,
    text: Tensor | None,
    frames: int,
    size: int,
    seeds: Sequence[int],
    sampling: Sampling,
    prompt: Tensor | None = None,
    features: Tensor | None = None,
    rules: EventRules | None = None,
    earlier: Earlier | None = None,
    on_progress: Callable[[float], bool | None] | None = None,
    pieces: Iterable[int] = (),
) -> Iterator[Tensor]:
    """Codes of a stem for contexts of any length, as they are made: int64 [V, K, n], V = len(seeds).

    contexts: of audio (`of_audio`) or of codes (`of_codes`).
    text: [L, D] or None. frames: length to make. size: the model's window in frames.
    prompt: int64 [K, P], codes that the stem begins with (shorter than a window).
    features: [frames, F] of a decoder that takes them. rules: of a stem of events, for all of its frames. earlier: what
        of the piece was played before (`stage.generation.sections`), for contexts of codes.
    on_progress: called with the share that is done, 0..1; returning False stops (`stage.generation.decoding.Stopped`).
    pieces: at least how many frames to gather for each part, whole windows where it ends. A window's end ends a part.

    All parts together are `frames` long. A variation does not depend on the others. Nothing runs before the first
    `next`; closing or dropping the iterator frees what the model keeps.
    """
    plan = [recalling(window, earlier) for window in windows(frames, size)]
    many, hurry, wanted = len(seeds), pieces != (), iter(pieces)
    work = [window.new if index == 0 else window.new * many for index, window in enumerate(plan)]
    codes = torch.zeros(many, decoder.config.codebooks, frames, dtype=torch.int64)
    for index, window in enumerate(plan):
        encoded, there = contexts(window), window.frames
        around = None if features is None else features[there]
        own = [window_seed(seed, index) for seed in seeds]
        # what a variation goes on from is its own, so from the second window on each runs by itself, in step with the
        # others
        known, so_far = codes[:, :, there[: len(there) - window.new]], codes[:, :, : window.start + window.known]
        limits = [None if rules is None else rules.cut(there)] * many
        if rules is not None and earlier is not None and index:
            limits = [earlier.echo(rules.cut(there), there, one) for one in so_far]
        groups = [(own, prompt, limits[0])]
        if index:
            groups = [([seed], known[v], limits[v]) for v, seed in enumerate(own)]
        makers = [
            steps(
                decoder,
                stem=stem,
                contexts=encoded,
                text=text,
                frames=len(there),
                seeds=group,
                prompt=begun,
                sampling=sampling,
                features=around,
                rules=limit,
                hurry=hurry,
            )
            for group, begun, limit in groups
        ]

        def on_step(step: int, of: int) -> bool | None:
            return on_progress((sum(work[:index]) + work[index] * step / of) / sum(work)) if on_progress else None

        for first, part in _gather(makers, window, wanted, on_step):
            codes[:, :, first : first + part.shape[-1]] = part
            yield part


def _gather(
    makers: list[Iterator], window: Window, wanted: Iterator[int], on_step: OnStep
) -> Iterator[tuple[int, Tensor]]:
    """Let the variations of a window advance together: (first frame, its codes and the next ones' [V, K, n]) as they
    are done."""
    out = window.start + window.known
    need = next(wanted, window.end)
    if need >= window.end - out:  # no part is wanted before the end: one variation after the other saves memory
        parts, many = [], len(makers)
        while makers:
            for state in makers[0]:
                if on_step(len(parts) * state.steps + state.done, many * state.steps) is False:
                    raise Stopped
            parts.append(made(state, out - window.before, window.end - window.before).cpu())
            del state, makers[0]
        yield out, torch.cat(parts)
    while makers:
        states = [next(maker) for maker in makers]
        step, of = states[0].done, states[0].steps
        if on_step(step, of) is False:
            raise Stopped
        ready = window.before + finished(states[0])
        if step == of:
            makers.clear()  # and with them, before the next window, their caches
        if ready - out >= need or step == of:
            part = torch.cat([made(state, out - window.before, ready - window.before) for state in states]).cpu()
            del states
            yield out, part
            out, need = ready, next(wanted, window.end)


def of_codes(contexts: Sequence[Tensor | None]) -> ContextsOf:
    """Contexts that are codes [K, frames] of the whole piece already, at the target's frames."""
    return lambda window: [None if codes is None else codes[:, window.frames] for codes in contexts]


def of_audio(codec: Codec, contexts: Sequence[np.ndarray | None], device: torch.device) -> ContextsOf:
    """Contexts that are mono float32 [N_i] at the codec's rate, beginning where the stem begins, or None."""
    return lambda window: _encode(codec, contexts, window, device)


@torch.inference_mode()
def _encode(
    codec: Codec, contexts: Sequence[np.ndarray | None], window: Window, device: torch.device
) -> list[Tensor | None]:
    """Codes [K, T] of the stretch of each context that lies in a window; None where it has nothing there."""
    parts = [
        np.zeros(0) if context is None else context[window.start * codec.hop : window.end * codec.hop]
        for context in contexts
    ]
    made: list[Tensor | None] = [None] * len(parts)
    for length in {
        len(part) for part in parts if len(part)
    }:  # those of one length together: in a batch they take less time
        which = [i for i, part in enumerate(parts) if len(part) == length]
        together = np.stack([np.asarray(parts[i], np.float32) for i in which])
        for i, codes in zip(which, encode_long(codec, torch.from_numpy(together).to(device)).cpu()):
            made[i] = codes
    return made
