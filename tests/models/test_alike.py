"""A seed is its own music, to the bit, whatever it is made together with."""

import pytest
import torch
from torch import nn

from helpers.fakes import drawn_stage, lower
from stage.generation.decoding import Sampling, advance, begin, generate
from stage.models import alike
from stage.models.lora import Voice, new_adapter
from stage.models.precision import MATRICES
from stage.models.processor import pretend

TEXT = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
SAMPLING = Sampling(guidance=2.0, text_guidance=1.5, top_k=20)


@pytest.fixture
def verdicts(monkeypatch):
    """No trials have been made."""
    monkeypatch.setattr(alike, "_verdicts", {})
    return alike._verdicts


def decoder(precision: str, bf16: bool, adapter: bool = False):
    with pretend(bf16=bf16):
        made = lower(drawn_stage().decoder, precision)
    if not adapter:
        return made
    torch.manual_seed(0)
    weights = new_adapter(made, "guitar", rank=4, layers=MATRICES)
    for weight in weights.parameters():
        nn.init.normal_(weight, std=0.2)
    return Voice(made, weights.to(made.embed.dtype))


@pytest.mark.parametrize("precision", ["float32", "float16", "bf16", "int8", "int4"])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("frames, count, adapter", [(40, 9, False), (12, 3, True)])  # a prefix is shared from 32 on
def test_every_logit_is_the_one_of_the_seed_alone(precision, bf16, frames, count, adapter, verdicts):
    model = decoder(precision, bf16, adapter)
    codes = torch.randint(32, (2, frames), generator=torch.Generator().manual_seed(2))
    given = dict(stem=0, contexts=[codes, codes], text=TEXT.to(model.embed.dtype), frames=12, sampling=SAMPLING)
    together = begin(model, seeds=range(count), **given)
    alone = [begin(model, seeds=(seed,), **given) for seed in range(count)]
    while together.done < together.steps:
        for state in (together, *alone):
            advance(model, state, SAMPLING)
        assert torch.equal(together.logits, torch.cat([state.logits for state in alone], 1))
        assert torch.equal(together.column, torch.cat([state.column for state in alone], 1))


def test_hundreds_of_seeds(verdicts):
    """int8 makes the most of a last bit: it rounds the activations."""
    model = decoder("int8", False)
    codes = torch.randint(32, (2, 40), generator=torch.Generator().manual_seed(2))
    given = dict(stem=0, contexts=[codes, codes], frames=6, sampling=SAMPLING)
    alone = torch.cat([generate(model, seeds=(seed,), **given) for seed in range(256)])
    together = torch.cat([generate(model, seeds=range(first, first + 64), **given) for first in range(0, 256, 64)])
    assert torch.equal(alone, together) and len({tuple(one.flatten().tolist()) for one in alone}) > 250


WEIGHT = torch.randn(48, 64, generator=torch.Generator().manual_seed(0))


class Uneven(nn.Module):
    """Adds up in another order where it is given more than so many rows."""

    def __init__(self, most: int, weight: torch.Tensor = WEIGHT):
        super().__init__()
        self.most, self.calls, self.weight = most, [], weight
        self.out_features, self.in_features = weight.shape

    def like(self, weight):
        made = Uneven(self.most, weight)
        made.calls = self.calls
        return made

    def forward(self, x):
        self.calls.append(len(x))
        columns = slice(None, None, 1 if len(x) <= self.most else -1)
        total = torch.zeros(len(x), 48)
        for value, weight in list(zip(x.T, self.weight.T))[columns]:
            total = total + value[:, None].float() * weight
        return total.to(x.dtype)


@pytest.mark.parametrize(
    "most, variations, sizes", [(100, 7, [7]), (8, 7, [4, 3]), (4, 7, [2, 2, 2, 1]), (2, 3, [1, 1, 1])]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])  # where rounding hides the last bits
def test_as_many_rows_go_through_a_layer_as_are_computed_alike(most, variations, sizes, dtype, verdicts):
    linear = Uneven(most)
    x = torch.randn(2 * variations, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    kind = alike.kind_of(linear)
    found = alike.together(linear, x, variations, kind)
    rows = [linear(x.view(2, variations, 64)[:, i]) for i in range(variations)]
    assert torch.equal(found, torch.stack(rows, 1).flatten(0, 1))
    linear.calls.clear()
    alike.together(linear, x, variations, kind)
    assert linear.calls == [2 * size for size in sizes]  # the trials are made once


def test_one_variation_takes_no_trial_and_no_copy(verdicts):
    linear, x = Uneven(2), torch.randn(2, 64)
    alike.together(linear, x, 1, alike.kind_of(linear))
    assert linear.calls == [2] and not verdicts
    assert alike.apart(lambda rows: rows, x, 1) is x


def test_what_is_computed_apart_is_given_each_variation_as_if_it_were_alone():
    x, seen = torch.randn(6, 5), []
    found = alike.apart(lambda rows: seen.append(rows) or 2 * rows, x, 3)
    assert torch.equal(found, 2 * x)
    assert [rows.is_contiguous() for rows in seen] == [True] * 3
    assert all(torch.equal(rows, x.view(2, 3, 5)[:, i]) for i, rows in enumerate(seen))
