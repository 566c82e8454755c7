"""Rules for the choice of events: what the stem can play, what fits what came before, how likely it is that something
begins; and a guidance that does not decide whether it plays.

Events are rare: a weighted difference of logits makes every one of them likely. So the chance that nothing begins is
that of the branch with all conditions (or guided weakly), and the guidance chooses among the events alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from stage.models.events import Events


@dataclass(frozen=True)
class Following:
    """`stage.models.events.Fit` as tensors: which codes can follow which."""

    sounds: Tensor
    holds: Tensor
    kinds: Tensor
    hows: Tensor
    loudness: Tensor

    def masks(self, what: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Codes that can follow: (what happens in the next frame, how it happens in this one), [V, lanes, size] bool
        each. what, before: [V, lanes] int64, codes of what happens in this frame and in the one before it."""
        sounded = self.sounds[before].long()
        return ~self.holds | self.sounds[what][..., None], self.hows[self.kinds[sounded, what]]


@dataclass(frozen=True)
class Past:
    """What has been chosen so far: the columns [V, K, S] of tokens, the last of them that is filled, the token of code
    0, and the delays of the codebooks."""

    columns: Tensor
    at: int
    start: int
    pattern: Sequence[int]

    def instrument(self, size: int) -> Tensor:
        """The code of the instrument in the last column [V] int64, -1 where there is none yet."""
        codes = self.columns[:, 0, max(0, self.at - self.pattern[0])] - self.start
        return codes.where((codes >= 0) & (codes < size), -1)

    def happened(self, back: Sequence[int], size: int) -> Tensor:
        """What happens in each lane so many columns back, [V, lanes] int64; nothing where there is no code."""
        if len(set(back)) == 1:
            cells = self.columns[:, 1::2, max(0, self.at - back[0])]
        else:
            cells = torch.stack(
                [self.columns[:, 1 + 2 * lane, max(0, self.at - b)] for lane, b in enumerate(back)], dim=-1
            )
        codes = cells - self.start
        return codes.where((codes >= 0) & (codes < size), 0)


@dataclass(frozen=True)
class EventRules:
    """Rules of one stem.

    allowed: [K, size] bool, codes that the stem can play. still: [K, size] bool, codes at which nothing begins.
    presence: weight of the guidance for whether something begins; 1 is none.
    following: which codes can follow which, or None: any.
    lift: [T, K] float32, nats by which it is likelier in each frame that something begins in a codebook (-inf: nothing
    can). lean: [T] float32, nats by which each step of velocity is likelier than the one below. least: [T, K] float32,
    the chance that something begins where the model's is lower. echo: [T, K] int64, what happened when this was played
    before (-1: it was not), which is likelier by `pull` nats. None: as the model has it.
    """

    allowed: Tensor
    still: Tensor
    presence: float = 1.0
    following: Following | None = None
    lift: Tensor | None = None
    lean: Tensor | None = None
    least: Tensor | None = None
    echo: Tensor | None = None
    pull: float = 0.0

    @classmethod
    def of(cls, events: Events, instrument: str | None = None, presence: float = 1.0) -> EventRules:
        """The rules of a codec of events. instrument: the one that is to be played; None leaves it to the model."""
        fit = events.fit()
        following = Following(*(torch.from_numpy(getattr(fit, field.name)) for field in fields(Following)))
        return cls(events.allowed(instrument), events.nothing(), presence, following)

    def to(self, device: torch.device) -> EventRules:
        """The same on another device."""
        following = self.following
        if following is not None:
            following = Following(*(getattr(following, field.name).to(device) for field in fields(Following)))
        moves = {name: None if each is None else each.to(device) for name, each in self.moves.items()}
        both = dict(allowed=self.allowed.to(device), still=self.still.to(device))
        return replace(self, **both, following=following, **moves)

    @property
    def moves(self) -> dict[str, Tensor | None]:
        """What differs from frame to frame."""
        return {"lift": self.lift, "lean": self.lean, "least": self.least, "echo": self.echo}

    def lifted(self, nats: float, frames: int) -> EventRules:
        """The same, something begins likelier by so many nats in every one of the frames."""
        lift = torch.zeros(frames, len(self.allowed)) if self.lift is None else self.lift.clone()
        lift[:, 1::2] += nats
        return replace(self, lift=lift)

    def cut(self, frames: Tensor) -> EventRules:
        """Those of some frames [T] int64 alone, as a window of a longer piece has them."""
        return replace(self, **{n: None if each is None else each[frames] for n, each in self.moves.items()})

    def laid(self, pattern: Sequence[int], frames: int) -> EventRules:
        """`moves` in the columns in which the codebooks stand: [frames + D, K] each, D the longest delay.
        Raises ValueError where they are not of so many frames.
        """
        made = {}
        for name, each in self.moves.items():
            if each is None:
                continue
            if len(each) != frames:
                raise ValueError(f"the rules' {name} has {len(each)} frames, the target {frames}")
            each = each if each.dim() == 2 else each[:, None].expand(-1, len(pattern))
            column = torch.arange(frames + max(pattern), device=each.device)[:, None]
            frame = (column - torch.tensor(pattern, device=each.device)).clamp(0, frames - 1)
            made[name] = each.gather(0, frame)
        return replace(self, **made)

    def guide(self, logits: Tensor, guided: Tensor, past: Past | None = None) -> Tensor:
        """Log-probabilities [V, K, size] float32 of the codes, but for a sum that is the same for all of a codebook.

        logits: [branches, V, K, size], the branch with all conditions first and the one without any last. guided: their
        weighted sum [V, K, size]. In codebooks without a code at which nothing begins, or without another, ``guided``
        decides. past: what came before, with which `following` begins, and `moves`, which must be `laid`.
        """
        allowed = self.allowed if past is None else self._fitting(past)
        logits = logits.float().masked_fill(~allowed, -torch.inf)
        guided = guided.float().masked_fill(~allowed, -torch.inf)
        full = logits[0].log_softmax(-1)
        if len(logits) > 1 and self.presence != 1:
            other = logits[-1].log_softmax(-1)
            weighted = torch.where(allowed, full + (self.presence - 1) * (full - other), -torch.inf)
            full = weighted.log_softmax(-1)
        still, begins = self.still & allowed, ~self.still & allowed
        among = guided.masked_fill(~begins, -torch.inf).log_softmax(-1)
        mass = full.masked_fill(~begins, -torch.inf).logsumexp(-1, keepdim=True)
        both = (still.any(-1) & begins.any(-1))[..., None]
        chances = torch.where(both, torch.where(begins, among + mass, full), guided)
        return chances if past is None else self.moved(chances, past.at)

    def _fitting(self, past: Past) -> Tensor:
        """[V, K, size] bool, or [K, size]: the codes that can be played now."""
        pattern, size = past.pattern, self.allowed.shape[-1]
        back = [how - what for what, how in zip(pattern[1::2], pattern[2::2])]
        if self.following is None or min(back) < 1:
            return self.allowed
        allowed = self.allowed.repeat(len(past.columns), 1, 1)
        kept = past.instrument(size)  # is what it was in the first frame
        named = kept >= 0
        allowed[:, 0] = torch.where(
            named[:, None], torch.arange(size, device=kept.device) == kept[:, None], allowed[:, 0]
        )
        now = past.happened([b - 1 for b in back], size)
        nexts, hows = self.following.masks(now, past.happened(back, size))
        if max(back) > 1:  # the last of what happens stands behind that of which is now said how
            nexts, _ = self.following.masks(past.happened([0] * len(back), size), now)
        allowed[:, 1::2] &= nexts
        allowed[:, 2::2] &= hows
        return allowed

    def moved(self, chances: Tensor, at: int) -> Tensor:
        """Chances [V, K, size] with `moves`."""
        if self.echo is not None:
            before, whats = self.echo[at, 1::2], chances[:, 1::2]
            more = (self.pull * (before >= 0)).to(chances.dtype).expand(len(chances), -1)[..., None]
            chances[:, 1::2] = whats.scatter_add(-1, before.clamp(min=0).expand(len(chances), -1)[..., None], more)
        if self.lift is not None:
            # only what happens: how it does follows from it
            lifted = chances[:, 1::2] + self.lift[at, 1::2, None]
            chances[:, 1::2] = torch.where(self.still[1::2], chances[:, 1::2], lifted)
        if self.least is not None:
            asked, still, whats = self.least[at, 1::2], self.still[1::2], chances[:, 1::2]
            begins, nothing = (whats.masked_fill(mask, -torch.inf).logsumexp(-1) for mask in (still, ~still))
            lacks = (torch.logit(asked) - (begins - nothing)).clamp(min=0)
            lacks = torch.where((asked > 0) & begins.isfinite() & nothing.isfinite(), lacks, 0.0)[..., None]
            chances[:, 1::2] = torch.where(still, whats, whats + lacks)
        if self.lean is not None and self.following is not None:
            chances[:, 2::2] += self.lean[at, 2::2, None] * self.following.loudness
        return chances
