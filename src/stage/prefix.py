"""The heart of STAGE: a musical context as a prefix of the token sequence (arXiv 2504.05690, section 3).

Frames are laid out as ``context | separator | target``. The separator (one token in all
codebooks) closes the context and names the stem. The *whole* row is then delay-interleaved:
codebook k is shifted right by k steps behind one leading column of padding, so that

    frame f of codebook k stands in column f + 1 + k and is predicted from column f + k

(or by the delays of ``DecoderConfig.delays``, where a model has its own).

Contexts are a list, each of a kind (``DecoderConfig.contexts``), each closed by a token of its
own; the last is closed by the separator:  ``grid | end of grid | mix | separator | target``.

A column is attended to when at least one of its cells is valid. Padding, a dropped context and
the leading column hold the padding token only, so they are masked. Positions either go on
through the row from its first attended column (the released models), or restart with each
context and with the target, so that frames of the same moment share a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stage.config import DecoderConfig

Contexts = Sequence["Tensor | None"]
"""One entry for each kind of context: codes [K, T] int64, or None where there is none."""


def interleave(codes: Tensor, pad: int, delays: Sequence[int] = ()) -> Tensor:
    """Delay pattern: codes [..., K, T] -> columns [..., K, T + D + 1], cells outside the pattern are ``pad``.

    delays: of the codebooks, D the largest; 0, 1, ... K - 1 by default.
    """
    count, frames = codes.shape[-2:]
    delays = delays or range(count)
    columns = codes.new_full((*codes.shape[:-1], frames + max(delays) + 1), pad)
    for k, delay in enumerate(delays):
        columns[..., k, delay + 1 : delay + 1 + frames] = codes[..., k, :]
    return columns


def deinterleave(columns: Tensor, first: int, frames: int, delays: Sequence[int] = ()) -> Tensor:
    """Undo the delay: what stands in (or is predicted from) column ``first + t + delay``, for each codebook.

    columns [..., K, S] (any dtype; trailing dimensions go before K) -> [..., K, frames].
    """
    delays = delays or range(columns.shape[-2])
    return torch.stack([columns[..., k, first + d : first + d + frames] for k, d in enumerate(delays)], dim=-2)


@dataclass(frozen=True)
class Row:
    """A batch of token rows.

    columns: [B, K, S] int64, interleaved tokens.
    attend: [B, S] bool, columns that may be attended to.
    positions: [B, S] int64.
    segments: [B, S] int64: the stem in the target, ``DecoderConfig.segment`` in a context.
    first: frame t of the target's codebook k is predicted from column first + t + k.
    frames: frames of the target.
    """

    columns: Tensor
    attend: Tensor
    positions: Tensor
    segments: Tensor
    first: int
    frames: int

    def cut(self, start: int, stop: int) -> Row:
        """The columns start..stop only."""
        parts = (x[..., start:stop] for x in (self.columns, self.attend, self.positions, self.segments))
        return Row(*parts, self.first - start, self.frames)

    def to(self, device: torch.device | str) -> Row:
        """The same on another device."""
        parts = (x.to(device) for x in (self.columns, self.attend, self.positions, self.segments))
        return Row(*parts, self.first, self.frames)


def row(config: DecoderConfig, contexts: Contexts, stem: int, target: Tensor, drop_context: bool = False) -> Row:
    """Lay out one row (B = 1): ``contexts | separator | target``.

    target: [K, T] int64 codes; those that are not known yet are ``config.unknown``.
    drop_context: the cells of the contexts become padding, so that they are masked out.
    """
    if not config.stems:
        return _plain(config, target)
    parts, positions, segments = [], [], []
    count = target.shape[0]
    if config.target_size:
        target = torch.where(target == config.unknown, config.pad, target + config.target_start)
        contexts = [None if c is None else _widen(c, count, config.pad) for c in contexts]

    def lay(codes: Tensor, first_position: int, segment: int) -> None:
        parts.append(codes)
        positions.append(torch.arange(first_position, first_position + codes.shape[1]))
        segments.append(torch.full((codes.shape[1],), segment))

    last = len(config.contexts) - 1
    for kind, codes in enumerate(contexts):
        segment = config.segment(kind)
        if codes is not None:
            lay(torch.full_like(codes, config.pad) if drop_context else codes, 1, segment)
            if kind != last:
                token = config.pad if drop_context else config.closer(kind, stem)
                lay(target.new_full((count, 1), token), 0, segment)
    # the separator is there even where there is no context
    lay(target.new_full((count, 1), config.separator(stem)), 0, stem)
    before = sum(part.shape[1] for part in parts)
    lay(target, 1, stem)
    frames = torch.cat(parts, dim=1)
    columns = interleave(frames, config.pad, config.pattern)

    # a column belongs to the frame of its first codebook; what trails behind belongs to the target
    place = torch.cat(positions)
    position = torch.cat([place[:1], place, place[-1] + 1 + torch.arange(config.trail)])
    segment = torch.cat([torch.cat(segments)[:1], torch.cat(segments), torch.full((config.trail,), stem)])
    # unknown frames of the target count as attended, so that they can be filled in later
    attend = (columns != config.pad).any(0)
    attend[before:] = True
    if not config.restart:
        position = (torch.cumsum(attend, 0) - 1).clamp(min=0)
    return Row(columns[None], attend[None], position[None], segment[None], before, target.shape[1])


def _widen(codes: Tensor, count: int, pad: int) -> Tensor:
    """Codes [K, T] of a context with padding in the codebooks that only the target has: [count, T]."""
    return torch.nn.functional.pad(codes, (0, 0, 0, count - codes.shape[0]), value=pad)


def _plain(config: DecoderConfig, target: Tensor) -> Row:
    """A row of MusicGen itself: no context, no separator, and the leading column is its start token, so that it is
    attended to."""
    columns = interleave(target, config.pad, config.pattern)[None]
    place = torch.arange(columns.shape[-1])[None]
    return Row(columns, torch.ones_like(place, dtype=torch.bool), place, torch.zeros_like(place), 0, target.shape[1])


def batch(config: DecoderConfig, rows: Sequence[Row]) -> Row:
    """Left-pad rows with targets of equal length to one batch."""
    width = max(r.columns.shape[-1] for r in rows)

    def left_pad(x: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(x, (width - x.shape[-1], 0), value=value)

    columns = torch.cat([left_pad(r.columns, config.pad) for r in rows])
    attend = torch.cat([left_pad(r.attend, False) for r in rows])
    positions = torch.cat([left_pad(r.positions, 0) for r in rows])
    segments = torch.cat([left_pad(r.segments, 0) for r in rows])
    return Row(columns, attend, positions, segments, width - rows[0].columns.shape[-1] + rows[0].first, rows[0].frames)


def trim(whole: Row) -> Row:
    """Leave out the leading columns that no row of the batch attends to: they change nothing."""
    return whole.cut(int(whole.attend.any(0).float().argmax()), whole.columns.shape[-1])


def training_row(config: DecoderConfig, rows: Sequence[Row]) -> Row:
    """The batch of a training step: of each row's F + K columns only the first F + 1 are kept."""
    whole = batch(config, rows)
    return whole.cut(0, whole.columns.shape[-1] - config.trail)


def target_states(hidden: Tensor, sequence: Row, delays: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """The columns' states from which each codebook of the target's frames is predicted.

    hidden: [B, S, D], a state for each column. Returns ([K, B, T, D], mask [K, T] bool): the last
    k frames of codebook k stand outside the kept columns and do not count. delays: as in `interleave`.
    """
    delays = delays or range(sequence.columns.shape[1])
    padded = torch.nn.functional.pad(hidden, (0, 0, 0, max(delays) + 1))
    frames = torch.arange(sequence.frames, device=hidden.device)
    states = torch.stack([padded[:, sequence.first + d : sequence.first + d + sequence.frames] for d in delays])
    return states, torch.stack([frames < sequence.frames - d for d in delays])


def loss(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of each codebook, mean over its valid frames: [K].

    logits: [B, K, T, V]; target: [B, K, T] int64; mask: [K, T] bool. The loss is their mean.
    """
    # codebooks first: the layout in which the decoder makes the logits
    logits, wanted = logits.transpose(0, 1).float().flatten(0, 2), target.transpose(0, 1)
    each = torch.nn.functional.cross_entropy(logits, wanted.flatten(), reduction="none")
    each = each.view(wanted.shape).transpose(0, 1) * mask
    return each.sum((0, 2)) / (mask.sum(1) * target.shape[0])
