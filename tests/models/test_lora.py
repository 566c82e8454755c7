"""Adapters on a frozen decoder: each changes its own stem and nothing else."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.fakes import lower
from stage.checkpoints.paths import SHIPPED
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling, advance, begin, generate, guide
from stage.models.decoder import Decoder
from stage.models.lora import (
    ATTENTION,
    Adapter,
    AdapterConfig,
    LoraLinear,
    Voice,
    check_base,
    fingerprint,
    merge,
    new_adapter,
)
from stage.models.precision import MATRICES, Float16Linear
from stage.models.processor import pretend
from stage.prefix import deinterleave, loss, row, training_row

SHAPES = {
    "stage": dict(contexts=("mix",), positions="sinusoidal", restart=False, stems=("drums",)),
    "sketch": dict(
        contexts=("grid", "mix"),
        positions="rotary",
        restart=True,
        stems=("drums", "bass", "keys"),
        context_layers=2,
        context_width=16,
    ),
}
GREEDY = Sampling(guidance=2.5, temperature=0)
TEXT = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))


def make(kind: str) -> Decoder:
    torch.manual_seed(3)
    config = DecoderConfig(
        dim=64, layers=2, heads=2, ffn_dim=128, codebooks=4, codebook_size=32, text_dim=16, **SHAPES[kind]
    )
    decoder = Decoder(config).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)
        if config.context_layers:
            decoder.context.leave.weight.normal_(0, 0.3)
            decoder.context.beside.weight.normal_(0, 0.3)
    return decoder


def trained(decoder: Decoder, stem: str = "guitar", seed: int = 0, layers=MATRICES, **values) -> Adapter:
    """An adapter with random weights: as if it had learnt something."""
    adapter = new_adapter(decoder, stem, layers=layers, rank=4, **values)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapter


def contexts(decoder: Decoder, frames: int = 11) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(32, (4, frames), generator=generator) for _ in decoder.config.contexts]


def play(decoder: Decoder, stem: int = 0, sampling: Sampling = GREEDY, seeds=(0,), **values) -> torch.Tensor:
    given = dict(contexts=contexts(decoder), text=TEXT, frames=14) | values
    return generate(decoder, stem=stem, seeds=seeds, sampling=sampling, **given)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("context", ["all", "first", "none"])
def test_a_new_adapter_changes_nothing(kind, context):
    base = make(kind)
    last = len(base.config.stems) - 1
    given = {
        "all": contexts(base),
        "first": [contexts(base)[0], *[None] * (len(base.config.contexts) - 1)],
        "none": [None] * len(base.config.contexts),
    }
    for stem, like in ((base.config.stems[last], None), ("guitar", base.config.stems[last])):
        voice = Voice(base, new_adapter(base, stem, like=like, layers=MATRICES))
        assert voice.config.stems == (stem,)
        ours, theirs = (
            begin(d, stem=s, contexts=given[context], text=TEXT, frames=9, seeds=(0,)).logits
            for d, s in ((voice, 0), (base, last))
        )
        assert torch.equal(ours, theirs)
        assert torch.equal(play(voice, contexts=given[context]), play(base, last, contexts=given[context]))


@pytest.mark.parametrize("kind", SHAPES)
def test_what_an_adapter_learnt_changes_its_own_stem_only(kind):
    base = make(kind)
    before, weights = play(base), copy.deepcopy(base.state_dict())
    voice = Voice(base, trained(base))
    assert not torch.equal(play(voice), before)
    assert torch.equal(play(base), before)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert all(type(getattr(layer, name)) is nn.Linear for layer in base.layers for name in MATRICES)


@pytest.mark.parametrize("part", ["separator", "segment", *MATRICES])
def test_every_part_of_an_adapter_changes_the_logits(part):
    base = make("sketch")
    adapter = new_adapter(base, "guitar", layers=MATRICES, rank=4)
    first = begin(Voice(base, adapter), stem=0, contexts=contexts(base), text=TEXT, frames=9, seeds=(0,)).logits
    with torch.no_grad():
        for parameter in (
            [getattr(adapter, part)] if part in ("separator", "segment") else [one[part].b for one in adapter.layers]
        ):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    second = begin(Voice(base, adapter), stem=0, contexts=contexts(base), text=TEXT, frames=9, seeds=(0,)).logits
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("kind", SHAPES)
def test_stems_that_take_turns_equal_each_alone(kind):
    base = make(kind)
    players = [Voice(base, trained(base, "guitar", 1)), base, Voice(base, trained(base, "drums", 2))]
    alone = [play(player) for player in players]
    assert not torch.equal(alone[0], alone[2])
    given = dict(stem=0, contexts=contexts(base), text=TEXT, frames=14, seeds=(0,), sampling=GREEDY)
    states = [begin(player, **given) for player in players]
    for _ in range(states[0].steps):
        for player, state in zip(players, states):
            advance(player, state, GREEDY)
    for state, codes in zip(states, alone):
        assert torch.equal(deinterleave(state.columns, 1, 14), codes)


@pytest.mark.parametrize("kind", SHAPES)
def test_cached_steps_agree_with_whole_rows(kind):
    voice = Voice(make(kind), trained(make(kind)))
    given = dict(stem=0, contexts=contexts(voice), text=TEXT, frames=14, seeds=(0,), sampling=GREEDY)
    state, stepped = begin(voice, **given), []
    while state.done < state.steps:
        advance(voice, state, GREEDY)
        stepped.append(guide(state.logits, state.weights)[0])
    codes = deinterleave(state.columns, 1, 14)[0]
    full = training_row(voice.config, [row(voice.config, contexts(voice), 0, codes)])
    bare = training_row(voice.config, [row(voice.config, [None] * len(voice.config.contexts), 0, codes)])
    with torch.inference_mode():
        with_ = voice.logits(voice(full, TEXT[None], torch.ones(1, 3, dtype=torch.bool)))[0, :, full.first :]
        without = voice.logits(voice(bare))[0, :, bare.first :]
    guided = without + 2.5 * (with_ - without)
    assert (guided - torch.stack(stepped, dim=1)[:, : guided.shape[1]]).abs().max() < 1e-3


def test_a_variation_depends_on_its_own_seed_alone():
    voice = Voice(make("sketch"), trained(make("sketch")))
    sampling = Sampling(guidance=2.0, top_k=20)
    together = play(voice, sampling=sampling, seeds=(7, 8, 9))
    for i, seed in enumerate((7, 8, 9)):
        assert torch.equal(play(voice, sampling=sampling, seeds=(seed,))[0], together[i])


@pytest.mark.parametrize("kind", SHAPES)
def test_a_merged_model_plays_the_same(kind):
    base = make(kind)
    weights, adapter = copy.deepcopy(base.state_dict()), trained(base)
    voice, merged = Voice(base, adapter), merge(base, adapter)
    assert type(merged) is Decoder and merged.config.stems == ("guitar",)
    assert merged.state_dict().keys() == weights.keys() and not any(type(m) is LoraLinear for m in merged.modules())
    given = dict(stem=0, contexts=contexts(base), text=TEXT, frames=9, seeds=(0,))
    assert (begin(merged, **given).logits - begin(voice, **given).logits).abs().max() < 1e-3
    assert torch.equal(play(merged), play(voice))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in base.state_dict().items())


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("precision", ["float16", "bf16", "int8", "int4"])
def test_an_adapter_works_over_packed_weights(kind, precision):
    adapter, whole = trained(make(kind)), make(kind)
    base = lower(make(kind), precision)
    dtype = base.norm.weight.dtype
    text = TEXT.to(dtype)
    before = play(base, text=text)
    check_base(adapter.config, base)
    voice = Voice(base, adapter)
    assert voice.head is None and voice.predict is base.predict
    x = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(4)).to(dtype)
    linear, delta = base.layers[1].up, adapter.layers[1]["up"]
    got, want = voice.layers[1].up(x), linear(x).double() + x.double() @ delta.a.double().T @ delta.b.double().T
    assert got.dtype == dtype and (got - want).abs().max() < (
        1e-4 if dtype == torch.float32 else 0.02 * want.abs().max()
    )
    given = dict(stem=0, contexts=contexts(base), frames=9, seeds=(0,))
    low, bare = (begin(d, text=text, **given).logits.float() for d in (voice, base))
    exact, exact_bare = (begin(d, text=TEXT, **given).logits for d in (Voice(whole, adapter), whole))
    assert not torch.equal(low, bare)
    assert (low - exact).abs().mean() < 0.5 * (
        exact - exact_bare
    ).abs().mean()  # the adapter's change is larger than the rounding's
    assert torch.equal(play(base, text=text), before)
    if isinstance(linear, Float16Linear):  # nothing is lost by unpacking it
        assert (begin(merge(base, adapter), text=text, **given).logits - low).abs().max() < 1e-3
    elif not isinstance(linear, nn.Linear):
        with pytest.raises(StageError, match="precision float32"):
            merge(base, adapter)


def test_an_adapter_merges_into_bf16_weights_that_are_not_packed():
    """As they are on processors with bf16 of their own, where the head alone stands elsewhere."""
    with pretend(bf16=True):
        base, adapter = lower(make("stage"), "bf16"), trained(make("stage")).bfloat16()
    given = dict(stem=0, contexts=contexts(base), text=TEXT.bfloat16(), frames=9, seeds=(0,))
    merged = merge(base, adapter)
    ours, theirs = (begin(d, **given).logits.float() for d in (merged, Voice(base, adapter)))
    assert merged.predict is None and merged.head.shape == (4, 32, 64)
    assert (ours - theirs).abs().mean() < 0.06 * theirs.abs().mean()


def test_musicgen_itself_has_no_place_for_an_adapter():
    bare = Decoder(
        DecoderConfig(
            dim=64, layers=2, heads=2, ffn_dim=128, codebooks=4, codebook_size=32, text_dim=16, stems=(), contexts=()
        )
    )
    with pytest.raises(StageError, match="MusicGen itself"):
        new_adapter(bare, "guitar")
    with pytest.raises(StageError, match="another shape"):
        check_base(new_adapter(make("stage"), "guitar").config, bare)


@pytest.mark.parametrize("kind", SHAPES)
def test_training_moves_the_adapter_alone_and_lowers_the_loss(kind):
    base = make(kind)
    before, weights = play(base), copy.deepcopy(base.state_dict())
    adapter = new_adapter(base, "guitar", layers=MATRICES)
    voice = Voice(base, adapter)
    target = torch.randint(32, (2, 4, 12), generator=torch.Generator().manual_seed(8))
    sequence = training_row(voice.config, [row(voice.config, contexts(base), 0, one) for one in target])
    text, mask = TEXT.expand(2, -1, -1), torch.ones(2, 3, dtype=torch.bool)
    optimizer = torch.optim.AdamW([p for p in voice.parameters() if p.requires_grad], lr=3e-3)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in adapter.parameters()}
    seen = []
    for _ in range(4):
        logits, valid = voice.target_logits(voice(sequence, text, mask), sequence)
        seen.append(loss(logits, target, valid).mean())
        optimizer.zero_grad()
        seen[-1].backward()
        moved = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        assert all(p.grad is None for p in base.parameters())
        if len(seen) > 1:  # at first B is zero, so that A has no gradient
            assert moved == {name for name, _ in adapter.named_parameters()}
        optimizer.step()
    assert seen[1] < seen[0] and seen[-1] < seen[1]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in base.state_dict().items())
    assert torch.equal(play(base), before)


def test_another_base_is_refused():
    base = make("stage")
    adapter = new_adapter(base, "guitar", base="the-base")
    wide = Decoder(DecoderConfig(**{**vars(base.config), "ffn_dim": 256}))
    with pytest.raises(StageError, match='base "the-base".*another shape than "other" .ffn_dim 128 and not 256'):
        check_base(adapter.config, wide, '"other"')
    other = make("stage")
    check_base(adapter.config, other)
    with torch.no_grad():
        other.layers[1].ffn_norm.weight.add_(0.1)
    with pytest.raises(StageError, match="other weights"):
        check_base(adapter.config, other)
    more = Decoder(DecoderConfig(**{**vars(base.config), "stems": ("drums", "flute")}))
    more.load_state_dict({**base.state_dict(), "embed": more.embed})
    check_base(adapter.config, more)  # which stems the base plays is nothing to an adapter
    assert fingerprint(base.to(torch.bfloat16)) == adapter.config.fingerprint


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(rank=0), "rank"),
        (dict(rank=True), "rank"),
        (dict(alpha=float("nan")), "alpha"),
        (dict(layers=("qkv", "ears")), "ears"),
        (dict(layers=()), "none"),
        (dict(stem=""), "a name and a stem"),
        (dict(like="flute"), 'not as "flute"'),
    ],
)
def test_impossible_adapters_are_refused(values, message):
    with pytest.raises(StageError, match=message):
        new_adapter(make("stage"), **{"stem": "guitar", **values})


def test_making_an_adapter_draws_from_its_own_seed():
    base = make("stage")
    before = torch.get_rng_state()
    a, b, c = (new_adapter(base, "guitar", seed=seed) for seed in (1, 1, 2))
    Voice(base, a)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.layers[0]["qkv"].a, b.layers[0]["qkv"].a) and not torch.equal(
        a.layers[0]["qkv"].a, c.layers[0]["qkv"].a
    )


SIZES = {  # of the bases in the table of docs/adapters.md
    "MusicGen small": DecoderConfig(),
    "medium": DecoderConfig(dim=1536, layers=48, heads=24, ffn_dim=6144),
    "large": DecoderConfig(dim=2048, layers=48, heads=32, ffn_dim=8192),
    "sketch": DecoderConfig(**json.loads((SHIPPED / "sketch/config.json").read_text())["decoder"]),
}


@pytest.mark.parametrize(
    "changed, layers", [("`qkv`", ATTENTION), ("and", (*ATTENTION, "up", "down")), ("all", MATRICES)]
)
def test_the_docs_tell_the_size(changed, layers):
    """In float32, rank 16."""
    lines = (Path(__file__).parents[2] / "docs/adapters.md").read_text(encoding="utf-8").splitlines()
    header, row = (next(line for line in lines if line.startswith(f"| {word}")) for word in ("changed", changed))
    for base, stated in zip(header.split("|")[2:-1], row.split("|")[2:-1], strict=True):
        with torch.device("meta"):
            adapter = Adapter(AdapterConfig("a", "drums", shape=SIZES[base.strip()], layers=layers))
        megabytes = 4 * sum(p.numel() for p in adapter.parameters()) / 1e6
        assert stated.strip().split()[0] == (f"{megabytes:.1f}" if megabytes < 10 else f"{megabytes:.0f}"), base
