"""`stage.generation.event_rules` for one generation, by tables: the same numbers, to the last bit, in a third of the
kernels.

What may stand in a codebook depends on little: on the instrument that was named, on whether the lane sounds, on what
happens in it. So the codes that are allowed are looked up; and whether something begins is asked only in the codebooks
in which both can be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stage.generation.event_rules import EventRules


class EventTables:
    """`EventRules.guide` for columns of these delays.

    rules: `laid` in the columns, on the device of the decoder. start: token of code 0.
    """

    def __init__(self, rules: EventRules, pattern: Sequence[int], start: int):
        self.rules, self.start = rules, start
        following, allowed, device = rules.following, rules.allowed, rules.allowed.device
        count, self.size = allowed.shape
        lanes = range(count // 2)
        back = [how - what for what, how in zip(pattern[1::2], pattern[2::2])]
        self.follows = following is not None and min(back) >= 1
        if following is not None and self.follows:
            # rows of the tables: the instrument's, without one and with each; each lane's two (silent, sounding); how's
            manners = len(following.hows)
            whats = [allowed[1 + 2 * lane] & (~following.holds | sounds) for lane in lanes for sounds in (False, True)]
            hows = [allowed[2 + 2 * lane] & how for lane in lanes for how in following.hows]
            named = torch.eye(self.size, dtype=torch.bool, device=device)
            mask = torch.cat([allowed[:1], named, torch.stack(whats + hows)])
            of = [0] * (1 + self.size) + [1 + 2 * i for i in lanes for _ in range(2)]
            of += [2 + 2 * i for i in lanes for _ in range(manners)]
            first = 1 + self.size
            self.what = first + 2 * torch.arange(len(lanes), device=device)
            self.how = first + 2 * len(lanes) + manners * torch.arange(len(lanes), device=device)
            # cells that are looked at: the instrument's, then each lane's: the last, and those of and before the frame
            # of which is now said how
            cells = [(0, pattern[0])] + [(1 + 2 * i, 0) for i in lanes] + [(1 + 2 * i, back[i] - 1) for i in lanes]
            cells += [(1 + 2 * i, back[i]) for i in lanes]
            self.cell, self.behind = torch.tensor(cells, device=device).T.contiguous()
            # by code + 1, 0 and size + 1 for what is none: nothing happens there
            self.sounds = F.pad(following.sounds.long(), (1, 1))
            self.sounds[[0, -1]] = self.sounds[1].clone()
            self.kinds = F.pad(following.kinds, (1, 1))
            self.kinds[:, [0, -1]] = self.kinds[:, 1:2].clone()
        else:
            mask, of = allowed, list(range(count))
            self.fixed = torch.arange(count, device=device)
        still = rules.still[of]
        begins = mask & ~still
        both = (still & mask).any(-1) & begins.any(-1)
        asked = {k for k, able in zip(of, both.tolist()) if able}
        self.split = slice(1, None, 2) if all(k % 2 for k in asked) else slice(None)
        self.barred, self.still = (torch.zeros_like(x, dtype=torch.float32) for x in (mask, mask))
        self.barred[~mask] = -torch.inf
        self.still[~begins] = -torch.inf
        self.both = both[:, None]

    def rows(self, columns: Tensor, at: int) -> Tensor:
        """Rows of the tables for each codebook of the column behind the last that is filled: [V, K] int64."""
        if not self.follows:
            return self.fixed.expand(len(columns), -1)
        codes = columns[:, self.cell, (at - self.behind).clamp_(min=0)].sub_(self.start - 1).clamp_(0, self.size + 1)
        lanes = len(self.what)
        last, now, before = codes[:, 1:].split(lanes, -1)
        what = self.sounds[last] + self.what
        how = self.kinds[self.sounds[before], now] + self.how
        named = codes[:, :1]
        return torch.cat([named.where(named <= self.size, 0), torch.stack([what, how], -1).flatten(1)], 1)

    def guide(self, logits: Tensor, guided: Tensor, columns: Tensor, at: int) -> Tensor:
        """See `EventRules.guide`. columns: [V, K, S] tokens, at: the last of them that is filled."""
        rules, split = self.rules, self.split
        rows = self.rows(columns, at)
        barred = F.embedding(rows, self.barred)
        chances = guided.float() + barred
        rows, barred = rows[:, split], barred[:, split]
        weighs = len(logits) > 1 and rules.presence != 1
        full = (logits[:: len(logits) - 1] if weighs else logits[:1])[:, :, split].float()
        full = (full + barred).log_softmax(-1)
        if weighs:
            weighted = (full[0] - full[1]).mul_(rules.presence - 1).add_(full[0])
            full = weighted.masked_fill_(barred < 0, -torch.inf).log_softmax(-1)
        else:
            full = full[0]
        still = F.embedding(rows, self.still)
        asked = chances[:, split]
        among = (asked + still).log_softmax(-1)
        mass = (full + still).logsumexp(-1, keepdim=True)
        among = torch.where(still < 0, full, among.add_(mass))
        chances[:, split] = torch.where(self.both[rows], among, asked)
        return rules.moved(chances, at)
