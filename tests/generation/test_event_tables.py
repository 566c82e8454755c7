"""Tables of rules against the rules themselves, to the last bit."""

from dataclasses import replace

import pytest
import torch

from stage.generation.decoding import guide
from stage.generation.event_rules import EventRules, Past
from stage.generation.event_tables import EventTables
from stage.models.events import MANNERS, codecs

START, COLUMNS = 23, 26
DELAYS = {
    "player": (0, *(lane + part for lane in range(8) for part in (0, 1))),
    "one by one": tuple(range(17)),
    "how far behind": (0, *range(0, 16, 2), *range(4, 19, 2)),
    "all at once": (0,) * 17,
}


def drawn(stem: str, delays: tuple[int, ...], branches: int, seed: int = 0):
    """Logits [branches, 3, K, MANNERS], and columns in which, as while one generates, the first ones are none of the
    target's."""
    draws = torch.Generator().manual_seed(seed)
    columns = torch.randint(START, START + MANNERS, (3, 17, COLUMNS), generator=draws)
    # of what happens mostly what a stem knows: nothing, holds, a few onsets
    columns[:, 1::2] = START + torch.randint(0, 6, (3, 8, COLUMNS), generator=draws)
    columns[:, 0] = START + torch.tensor([[0], [3], [MANNERS - 1]])
    for k, delay in enumerate(delays):
        columns[:, k, : delay + 1] = torch.randint(0, START, (3, delay + 1), generator=draws)
    return 4 * torch.randn(branches, 3, 17, MANNERS, generator=draws), columns


@pytest.mark.parametrize("delays", DELAYS)
@pytest.mark.parametrize("stem", codecs())
@pytest.mark.parametrize("branches, presence", [(1, 1.5), (2, 1.5), (2, 1.0), (3, 2.0)])
def test_tables_are_the_rules(stem, delays, branches, presence):
    pattern, frames = DELAYS[delays], COLUMNS - max(DELAYS[delays])
    shifts = dict(lift=torch.randn(frames, 17), lean=torch.randn(frames))
    shifts["lift"][3, 1::4] = -torch.inf
    shifts |= dict(echo=torch.randint(-1, 60, (frames, 17)), pull=1.5)
    weights = torch.tensor([3.0, -2.0, 0.5])[:branches]
    plain = EventRules.of(codecs()[stem], presence=presence)
    for rules in (plain, replace(plain, following=None), replace(plain, **shifts).laid(pattern, frames)):
        tables = EventTables(rules, pattern, START)
        for at in (*range(10), 19, COLUMNS - 2):
            logits, columns = drawn(stem, pattern, branches, at)
            guided, before = guide(logits, weights), columns.clone()
            want = rules.guide(logits, guided, Past(columns, at, START, pattern))
            found = tables.guide(logits, guided, columns, at)
            assert torch.equal(found, want) and torch.equal(columns, before)
            assert (want == -torch.inf).any() and want.isfinite().any(-1).all()


def test_an_instrument_that_is_asked_for():
    codec, pattern = codecs()["keys"], DELAYS["player"]
    rules = EventRules.of(codec, codec.instruments[2])
    logits, columns = drawn("keys", pattern, 2)
    guided = guide(logits, torch.tensor([3.0, -2.0]))
    for at in (0, 1, 9):  # in column 0 none is named yet
        found = EventTables(rules, pattern, START).guide(logits, guided, columns, at)
        assert torch.equal(found, rules.guide(logits, guided, Past(columns, at, START, pattern)))
    assert found[:, 0].isfinite().sum(-1).tolist() == [1, 1, 1]
