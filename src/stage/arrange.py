"""Music longer than the model's window: windows that overlap, each going on from the last one's codes.

Every window sees the contexts of its own stretch of time and starts with the codes that were already
made for the first half of it. The codes of the whole piece are decoded once, so there is no seam in
the sound, and only what the model decides changes at a window's edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.decoding import Sampling, generate
from stage.models.codec import Codec, encode_long


@dataclass(frozen=True)
class Window:
    """Frames `start` to before `end` of the piece, of which the first `known` were made by the window before."""

    start: int
    end: int
    known: int

    @property
    def new(self) -> int:
        """Frames that this window adds."""
        return self.end - self.start - self.known


def windows(frames: int, size: int) -> list[Window]:
    """Cover a piece of `frames` frames with windows of `size` that overlap by at least half.

    The last window reaches back from the end, so that it is as long as the others.
    """
    plan = [Window(0, min(frames, size), 0)]
    while (done := plan[-1].end) < frames:
        start = min(done - size // 2, frames - size)
        plan.append(Window(start, start + size, done - start))
    return plan


def window_seed(seed: int, index: int) -> int:
    """The seed of a variation's window: its own for the first, so that short pieces are the model's plain output."""
    return seed if index == 0 else int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def play(
    decoder: torch.nn.Module,
    codec: Codec,
    *,
    stem: int,
    contexts: Sequence[np.ndarray | None],
    text: Tensor | None,
    frames: int,
    size: int,
    seeds: Sequence[int],
    sampling: Sampling,
    prompt: Tensor | None = None,
    on_progress: Callable[[float], bool | None] | None = None,
) -> Tensor:
    """Codes of a stem for contexts of any length.

    contexts: one entry for each kind of context of the decoder, mono float32 [N_i] at the codec's rate,
        beginning where the stem begins, or None.
    text: [L, D] or None. frames: length to make. size: the model's window in frames.
    prompt: int64 [K, P], codes that the stem begins with (shorter than a window).
    on_progress: told the share that is done, 0..1; returning False stops (`stage.decoding.Stopped`).

    Returns int64 [V, K, frames], V = len(seeds). A variation does not depend on the others.
    """
    plan = windows(frames, size)
    rounds = [(index, None) for index in plan[:1]] + [(w, v) for w in plan[1:] for v in range(len(seeds))]
    work = [window.new for window, _ in rounds]
    codes = torch.zeros(len(seeds), codec.codebooks, frames, dtype=torch.int64)
    encoded: tuple[Window | None, list[Tensor | None]] = (None, [])
    for number, (window, variation) in enumerate(rounds):
        if encoded[0] is not window:
            encoded = (window, [_encode(codec, context, window, decoder.device) for context in contexts])
        chosen = slice(None) if variation is None else slice(variation, variation + 1)
        known = prompt if window.known == 0 else codes[variation, :, window.start : window.start + window.known]
        done = sum(work[:number])

        def on_step(step: int, steps: int) -> bool | None:
            return on_progress((done + work[number] * step / steps) / sum(work)) if on_progress else None

        codes[chosen, :, window.start : window.end] = generate(
            decoder,
            stem=stem,
            contexts=encoded[1],
            text=text,
            frames=window.end - window.start,
            seeds=[window_seed(seed, plan.index(window)) for seed in seeds[chosen]],
            prompt=known,
            sampling=sampling,
            on_step=on_step,
        ).cpu()
    return codes


@torch.inference_mode()
def _encode(codec: Codec, context: np.ndarray | None, window: Window, device: torch.device) -> Tensor | None:
    """Codes [K, T] of the stretch of a context that lies in a window; None where it has nothing there."""
    part = np.zeros(0) if context is None else context[window.start * codec.hop : window.end * codec.hop]
    if not len(part):
        return None
    return encode_long(codec, torch.from_numpy(np.ascontiguousarray(part))[None].to(device))[0].cpu()
