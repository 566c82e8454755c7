"""Rules for codes that are events: what a stem can play, and guidance that does not decide whether it plays.

Events are rare: a weighted difference of logits makes every one of them likely. So the chance that nothing begins is
that of the branch with all conditions (or guided weakly), and the guidance chooses among the events alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stage.models.events import Events


@dataclass(frozen=True)
class EventRules:
    """Rules of one stem.

    allowed: [K, size] bool, codes that the stem can play. still: [K, size] bool, codes at which nothing begins.
    presence: weight of the guidance for whether something begins; 1 is none.
    """

    allowed: Tensor
    still: Tensor
    presence: float = 1.0

    @classmethod
    def of(cls, events: Events, instrument: str | None = None, presence: float = 1.0) -> EventRules:
        """The rules of a codec of events. instrument: the one that is to be played; None leaves it to the model."""
        return cls(events.allowed(instrument), events.nothing(), presence)

    def to(self, device: torch.device) -> EventRules:
        """The same on another device."""
        return EventRules(self.allowed.to(device), self.still.to(device), self.presence)

    def guide(self, logits: Tensor, guided: Tensor) -> Tensor:
        """Log-probabilities [V, K, size] float32 of the codes.

        logits: [branches, V, K, size], the branch with all conditions first and the one without any last. guided: their
        weighted sum [V, K, size]. In codebooks without a code at which nothing begins, or without another, ``guided``
        decides.
        """
        logits = logits.float().masked_fill(~self.allowed, -torch.inf)
        guided = guided.float().masked_fill(~self.allowed, -torch.inf)
        full = logits[0].log_softmax(-1)
        if len(logits) > 1 and self.presence != 1:
            other = logits[-1].log_softmax(-1)
            weighted = torch.where(self.allowed, full + (self.presence - 1) * (full - other), -torch.inf)
            full = weighted.log_softmax(-1)
        still, begins = self.still & self.allowed, ~self.still & self.allowed
        among = guided.masked_fill(~begins, -torch.inf).log_softmax(-1)
        mass = full.masked_fill(~begins, -torch.inf).logsumexp(-1, keepdim=True)
        both = (still.any(-1) & begins.any(-1))[:, None]
        return torch.where(both, torch.where(begins, among + mass, full), guided)
