"""Packed weights, caches that variations share, steps over fixed memory, and memory that is checked before loading."""

import gc
import warnings
import weakref

import pytest
import torch

from helpers.fakes import drawn_stage, lower
from stage import Stage
from stage.checkpoints import memory
from stage.errors import StageError
from stage.generation.decoding import Sampling, advance, begin, generate
from stage.models import fast_step as graph
from stage.models import precision
from stage.models.lora import Voice, new_adapter
from stage.models.precision import Int4Linear, Int8Linear, Int8RowsLinear, choose, quantize_int4, quantize_int8
from stage.models.processor import pretend, processor

WEIGHT = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(40, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind, bound", [(Int8Linear, 0.02), (Int4Linear, 0.15), (precision.Bf16Linear, 0.01)])
def test_a_packed_layer_is_close_to_the_layer(kind, bound):
    packed, want = kind(WEIGHT), ROWS @ WEIGHT.T
    for count in (1, 2, 40):  # one row, a step's, a prefill's: different kernels
        got = packed(ROWS[None, :count])
        assert got.shape == (1, count, 64) and got.dtype == torch.float32
        assert (got[0] - want[:count]).norm() / want[:count].norm() < bound


@pytest.mark.skipif(not processor().fbgemm, reason="no float16 on this processor")
def test_float16_weights_are_multiplied_in_float32():
    packed = precision.Float16Linear(WEIGHT)
    whole = packed(ROWS)
    assert (whole - ROWS @ WEIGHT.half().float().T).abs().max() < 1e-4
    assert all(
        (packed(ROWS[i : i + count]) - whole[i : i + count]).abs().max() < 1e-4
        for i in range(32)
        for count in (1, 2, 8)
    )
    low, exact = (Stage.from_pretrained("sketch", device="cpu", precision=kind).decoder for kind in ("auto", "float32"))
    assert isinstance(low.layers[0].up, precision.Float16Linear) and low.embed.dtype == torch.float32
    assert abs(divergence(exact, low)) < 1e-6  # the file holds float16: nothing is rounded


@pytest.mark.skipif(not processor().fbgemm, reason="no float16 on this processor")
def test_float16_weights_come_back_and_let_gradients_through(tmp_path):
    packed, rows = precision.Float16Linear(WEIGHT), ROWS.clone().requires_grad_()
    assert torch.equal(packed.unpacked(), WEIGHT.half().float())
    with torch.no_grad():
        plain = packed(rows)
    found = packed(rows)
    found.sum().backward()
    assert (found - plain).abs().max() < 1e-4 and (rows.grad - WEIGHT.half().float().sum(0)).abs().max() < 1e-4
    exact = Stage.from_pretrained("sketch", device="cpu", precision="float32").decoder.state_dict()
    Stage.from_pretrained("sketch", device="cpu").save_pretrained(tmp_path / "saved")
    saved = Stage.from_pretrained(tmp_path / "saved", device="cpu").decoder.state_dict()
    assert saved.keys() == exact.keys() and all(torch.equal(saved[name], exact[name]) for name in exact)


@pytest.mark.skipif(not processor().byte_rows, reason="PyTorch multiplies no bytes on this processor")
def test_rows_in_int8_do_not_depend_on_each_other():
    packed = Int8RowsLinear(WEIGHT)
    whole = packed(ROWS)
    assert (whole - ROWS @ WEIGHT.T).norm() / whole.norm() < 0.02
    assert all(torch.equal(packed(ROWS[i : i + 1])[0], whole[i]) for i in range(len(ROWS)))
    assert torch.equal(packed(torch.zeros(2, 128)), torch.zeros(2, 64))
    loud = Int8RowsLinear(torch.ones(64, 128))(torch.ones(1, 128))  # the largest products, which 16 bits must hold
    assert (loud - 128).abs().max() < 1


def test_quantisation_rounds_to_nearest():
    packed, scale = quantize_int8(WEIGHT)
    assert (packed * scale[:, None] - WEIGHT).abs().max() <= scale.max() / 2 + 1e-6
    packed, scales = quantize_int4(WEIGHT)
    scale, offset = (part.T.repeat_interleave(precision.GROUP, 1) for part in scales.unbind(-1))
    assert packed.min() >= 0 and packed.max() <= 15
    assert ((packed - 8) * scale + offset - WEIGHT).abs().max() < 0.75 * scale.max()


def divergence(exact, low) -> float:
    codes = torch.randint(1024, (8, 60), generator=torch.Generator().manual_seed(2))
    states = [begin(d, stem=0, contexts=[codes, codes], text=None, frames=30, seeds=(1,)) for d in (exact, low)]
    total = 0.0
    for _ in range(20):
        p, q = (torch.log_softmax(state.logits[0, 0].float(), -1) for state in states)
        total += float((p.exp() * (p - q)).sum(-1).mean()) / 20
        for d, state in zip((exact, low), states):
            advance(d, state, Sampling())
        states[1].column = states[0].column
    return total


@pytest.mark.parametrize(
    "kind, native, bound", [("int8", False, 0.01), ("int8", True, 0.01), ("int4", False, 0.05), ("bf16", True, 0.01)]
)
def test_the_sketch_model_hardly_changes(kind, native, bound):
    """native: as on a processor with bf16 instructions, whose activations and caches are bf16 and whose int8 is
    weight-only."""
    with pretend(bf16=native):
        low = lower(Stage.from_pretrained("sketch", device="cpu", precision="float32").decoder, kind)
    assert low.embed.dtype == (torch.bfloat16 if native else torch.float32)
    found = divergence(Stage.from_pretrained("sketch", device="cpu", precision="float32").decoder, low)
    assert 0 < found < bound


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_a_shared_prefix_gives_each_variation_its_own(kind):
    decoder = lower(drawn_stage().decoder, kind)
    codes = torch.randint(32, (2, 60), generator=torch.Generator().manual_seed(2))  # long enough to be shared
    arguments = dict(stem=0, contexts=[codes, codes], frames=12, sampling=Sampling(guidance=2.0, top_k=20))
    together = generate(decoder, seeds=(7, 8, 9), **arguments)
    assert all(
        torch.equal(generate(decoder, seeds=(seed,), **arguments)[0], together[i]) for i, seed in enumerate((7, 8, 9))
    )
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("frames", [12, 60])
def test_steps_over_fixed_memory_are_the_same_and_can_be_traced(frames):
    """What a GPU records: lengths are tensors and every step reads all of the caches' room."""
    decoder = drawn_stage().decoder
    codes = torch.randint(32, (2, frames), generator=torch.Generator().manual_seed(2))
    text = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
    states = [begin(decoder, stem=0, contexts=[codes, codes], text=text, frames=12, seeds=(1, 2)) for _ in range(2)]
    for cache in states[1].caches:
        cache.fix()
    states[1].step = torch.compile(decoder.step, fullgraph=True, backend="eager")
    for _ in range(states[0].steps):
        for state in states:
            advance(decoder, state, Sampling())
        assert (states[0].logits - states[1].logits).abs().max() < 1e-5
        states[1].column = states[0].column


@pytest.fixture
def soon(monkeypatch):
    """Traces even short generations, from their second step on."""
    monkeypatch.setattr(graph, "LATER", 1)
    monkeypatch.setattr(graph, "PAYS", 0)
    return monkeypatch


def both_ways(decoder, soon, frames: int = 60, steps: int = 12, text=None, seeds=(1, 2)) -> tuple:
    """Codes of a generation that is traced, and of the same without."""
    codes = torch.randint(32, (2, frames), generator=torch.Generator().manual_seed(2))
    arguments = dict(
        stem=0, contexts=[codes, codes], text=text, frames=steps, seeds=seeds, sampling=Sampling(guidance=2.0, top_k=20)
    )
    made = []
    for switch in ("1", "0"):
        soon.setenv("STAGE_TRACE", switch)
        made.append(generate(decoder, **arguments))
    return made[0], made[1], graph._traces[decoder]


@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
@pytest.mark.parametrize("kind", ["float32", "float16", "bf16", "int8", "int4"])
def test_a_traced_step_computes_the_same(kind, positions, soon):
    decoder = lower(drawn_stage(positions=positions).decoder, kind)
    text = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="steps run untraced")
        fast, plain, traces = both_ways(decoder, soon, text=text)
    assert torch.equal(fast, plain) and len(traces) == 1 and None not in traces.values()


def test_a_trace_serves_other_lengths_and_no_other_shape(soon):
    decoder = drawn_stage().decoder
    for frames, steps in ((60, 12), (45, 20), (100, 7)):
        fast, plain, traces = both_ways(decoder, soon, frames, steps)
        assert torch.equal(fast, plain) and len(traces) == 1
    for count, change in enumerate(
        ({"frames": 8}, {"seeds": (4,)}, {"text": torch.randn(3, 32)}), 2
    ):  # own columns alone; one row; text
        fast, plain, traces = both_ways(decoder, soon, **change)
        assert torch.equal(fast, plain) and len(traces) == count


def test_a_trace_takes_weights_that_change_in_place(soon):
    """As between two listening examples of a training."""
    decoder = drawn_stage().decoder
    before, *_ = both_ways(decoder, soon)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(1.5)
    fast, plain, traces = both_ways(decoder, soon)
    assert torch.equal(fast, plain) and not torch.equal(fast, before) and len(traces) == 1


def test_an_adapter_on_a_traced_decoder_has_a_trace_of_its_own(soon):
    base = drawn_stage().decoder
    adapter = new_adapter(base, "guitar", rank=4)
    for weight in adapter.parameters():
        torch.nn.init.normal_(weight)
    voice = Voice(base, adapter)
    plays = [both_ways(decoder, soon) for decoder in (base, voice)]
    assert all(torch.equal(fast, plain) and len(traces) == 1 for fast, plain, traces in plays)
    assert not torch.equal(plays[0][0], plays[1][0])


def test_a_trace_keeps_neither_decoder_nor_caches(soon):
    decoder = drawn_stage().decoder
    state = begin(
        decoder, stem=0, contexts=[torch.zeros(2, 60, dtype=torch.long)] * 2, text=None, frames=12, seeds=(0,)
    )
    while state.done < state.steps:
        advance(decoder, state, Sampling())
    assert graph._traces[decoder]
    kept = [weakref.ref(thing) for thing in (state.caches[0].own, decoder, decoder.embed)]
    del state
    gc.collect()
    assert kept[0]() is None
    del decoder
    gc.collect()
    assert all(ref() is None for ref in kept)


def test_what_cannot_be_traced_warns_once_and_plays(soon):
    def broken(*arguments, **options):
        raise RuntimeError("gone\nfor good")

    soon.setattr(torch.jit, "trace", broken)
    decoder = drawn_stage().decoder
    with pytest.warns(UserWarning, match=r"somewhat slower \(gone for good\)") as seen:
        fast, plain, _ = both_ways(decoder, soon)
        both_ways(decoder, soon)
    assert torch.equal(fast, plain) and len(seen) == 1


def test_short_generations_are_not_traced(monkeypatch):
    decoder = drawn_stage().decoder
    both_ways(decoder, monkeypatch, steps=graph.PAYS - 10)  # codebooks' delays are steps too
    assert not graph._traces[decoder]


def test_the_choice_of_precision():
    assert choose("auto", "cpu", 400_000_000) == "int8"
    assert choose("auto", "cuda", 400_000_000) == "bf16" and choose("int4", "cpu", 10) == "int4"
    with pytest.raises(StageError, match="choose auto, float32"):
        choose("int2", "cpu", 10)
    assert choose("auto", "cuda", 10_000_000) == "float32"
    for kind in ("int8", "float16"):
        with pytest.raises(StageError, match="use bf16 on cuda"):
            choose(kind, "cuda", 10)


def test_small_models_take_float16_where_nothing_is_lost_by_it():
    for there, halves, want in ((True, True, "float16"), (True, False, "float32"), (False, True, "float32")):
        with pretend(fbgemm=there):
            assert choose("auto", "cpu", 10_000_000, halves) == want
    assert choose("auto", "cpu", 400_000_000, halves=True) == "int8"
    with pretend(fbgemm=False), pytest.raises(StageError, match="use float32 or bf16"):
        choose("float16", "cpu", 10)
    for bf16, fbgemm, want in (
        (True, True, torch.nn.Linear),
        (False, True, precision.Float16Linear),
        (False, False, precision.Bf16Linear),
    ):
        with pretend(bf16=bf16, fbgemm=fbgemm):
            assert type(precision.pack(WEIGHT, "bf16")) is want


def test_too_little_memory_is_refused_with_what_would_fit(tmp_path, monkeypatch):
    drawn_stage().save_pretrained(tmp_path / "small")
    shape = drawn_stage().decoder.config
    need = {p: memory.needed(tmp_path / "small", shape, p) for p in ("float32", "int8")}
    assert need["float32"] > need["int8"] > memory.WORK
    monkeypatch.setattr(memory, "available", lambda device: need["int8"] + 1)
    with pytest.raises(
        StageError, match=r"small needs about .* GiB in float32, and .* are free: choose --precision int8"
    ):
        Stage.from_pretrained(tmp_path / "small", device="cpu", precision="float32")
    Stage.from_pretrained(tmp_path / "small", device="cpu", precision="int8")
    monkeypatch.setattr(memory, "available", lambda device: 1e6)
    with pytest.raises(StageError, match="choose a smaller model"):
        Stage.from_pretrained(tmp_path / "small", device="cpu", precision="float32")
    with pytest.raises(StageError, match="packed weights cannot be saved"):
        monkeypatch.undo()
        Stage.from_pretrained(tmp_path / "small", device="cpu", precision="int8").save_pretrained(tmp_path / "again")
