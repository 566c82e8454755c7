"""Whole jobs in every precision on every kind of processor, whichever this one is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_player, drawn_stage, song
from stage import Stage
from stage.beats.grid import BeatGrid
from stage.checkpoints.convert import convert
from stage.checkpoints.tensors import fill_decoder
from stage.errors import StageError
from stage.models import precision as precisions
from stage.models.lora import new_adapter
from stage.models.precision import choose
from stage.models.processor import Processor, detected, device_for, pretend, processor
from stage.testing.weights import save_musicgen

PROCESSORS = {
    "AMX": Processor(bf16=True, vnni=True, fbgemm=True, byte_rows=True),
    "VNNI": Processor(bf16=False, vnni=True, fbgemm=True, byte_rows=True),
    "AVX2": Processor(bf16=False, vnni=False, fbgemm=True, byte_rows=True),
    "AVX2, PyTorch without rows of bytes": Processor(bf16=False, vnni=False, fbgemm=True, byte_rows=False),
    "ARM": Processor(bf16=False, vnni=False, fbgemm=False, byte_rows=False),
    "ARM with bf16": Processor(bf16=True, vnni=False, fbgemm=False, byte_rows=False),
}
PRECISIONS = [name for name in precisions.PRECISIONS if name != "auto"]
WORDS = "busy funk drums"
KINDS = ("released", "sketch", "text alone", "player")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models in the shapes of the released ones, of MusicGen itself, of the sketch model and of the player, with drawn
    weights: (stage, folder) by name."""
    place = tmp_path_factory.mktemp("models")
    save_musicgen(place / "theirs")
    convert(place / "theirs", place / "released", stems=["drums"], dtype=torch.float32)
    convert(place / "theirs", place / "text alone", dtype=torch.float32)
    drawn_stage().save_pretrained(place / "sketch")
    drawn_player().save_pretrained(place / "player")
    return {name: (Stage.from_pretrained(place / name, "cpu", "float32"), place / name) for name in KINDS}


@pytest.fixture(params=PROCESSORS)
def pretended(request):
    with pretend(**vars(PROCESSORS[request.param])) as made:
        yield made


done = set()
"""Jobs whose kernels have run: many processors choose the same ones."""


def load(models, kind, precision):
    """A model as it is loaded in this precision; None where that is refused on this processor, or where a job with the
    same kernels has run."""
    if precision == "float16" and not processor().fbgemm:
        with pytest.raises(StageError, match="float16 is for x86"):
            choose(precision, "cpu", 1)
        return None
    whole, folder = models[kind]
    decoder = fill_decoder(whole.decoder.config, folder / "decoder.safetensors", precision, "cpu")
    kernels = tuple(
        (type(module), getattr(module, "peak", 0), hasattr(module, "packed")) for module in decoder.modules()
    )
    key = (kind, decoder.embed.dtype, precision == "float16", kernels)
    return None if key in done or done.add(key) else replace(whole, decoder=decoder, voices={})


def adapter(decoder):
    made = new_adapter(decoder, "guitar", rank=4, layers=precisions.MATRICES)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return made


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["released", "sketch"])
def test_a_whole_job(kind, precision, models, pretended):
    """A prompt, variations, an adapter, streaming; and every variation is what its seed alone makes."""
    if (stage := load(models, kind, precision)) is None:
        return
    low = precision not in ("float32", "float16") and pretended.bf16
    assert stage.decoder.embed.dtype == (torch.bfloat16 if low else torch.float32)
    given = dict(audio=song(1.0, 32000, 1), rate=32000, stem="drums", prompt=WORDS, grid="off")
    made = stage.accompany(**given, variations=2, seed=4, level=False).stems
    assert made.shape == (2, 32000) and np.isfinite(made).all() and made.std() > 0
    with stage.stream(**given, seed=5) as chunks:
        assert np.abs(np.concatenate(list(chunks), axis=1)[0] - made[1]).max() < 1e-4
    name = stage.add_adapter(adapter(stage.decoder).to(stage.decoder.norm.weight.dtype))
    played = stage.generate_audio({}, name, WORDS, 0.4, seeds=(4, 5))
    assert np.isfinite(played).all()
    assert not np.array_equal(played, stage.generate_audio({}, "drums", WORDS, 0.4, seeds=(4, 5)))
    assert np.array_equal(played[1:], stage.generate_audio({}, name, WORDS, 0.4, seeds=(5,)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_played_notes(precision, models, pretended):
    """Variations, streaming, and every variation is what its seed alone makes."""
    if (stage := load(models, "player", precision)) is None:
        return
    low = precision not in ("float32", "float16") and pretended.bf16
    assert stage.decoder.embed.dtype == (torch.bfloat16 if low else torch.float32)
    grid = BeatGrid(np.array([0.0, 0.5, 1.0]), np.array([1, 2, 3]))
    given = dict(audio=song(1.0, 32000, 1), rate=32000, stem="keys", prompt=WORDS, grid=grid, tuning="off")
    made = stage.accompany(**given, variations=2, seed=4, level=False)
    assert made.stems.shape == (2, 1, 32000) and np.isfinite(made.stems).all()
    assert all(made.notes) and made.notes[0] != made.notes[1]
    assert stage.accompany(**given, seed=5, level=False).notes == made.notes[1:]
    with stage.stream(**given, seed=5) as chunks:
        assert np.abs(np.concatenate(list(chunks), axis=2)[0] - made.stems[1]).max() < 1e-4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_text_alone(precision, models, pretended):
    """MusicGen itself."""
    if (stage := load(models, "text alone", precision)) is None:
        return
    made = stage.compose(WORDS, 1.0, variations=2, seed=1)
    assert made.shape == (2, 32000) and np.isfinite(made).all()
    assert np.array_equal(stage.compose(WORDS, 1.0, seed=2)[0], made[1])


def test_processors_choose_different_kernels():
    """So that jobs which are skipped because theirs have run are not all of them."""
    weight, found = torch.randn(64, 128), set()
    for made in PROCESSORS.values():
        with pretend(**vars(made)):
            for kind in {"bf16", "int8", "int4"} | ({"float16"} if made.fbgemm else set()):
                linear = precisions.pack(weight, kind)
                found.add((kind, type(linear), getattr(linear, "peak", 0), precisions.compute_dtype(kind, "cpu")))
    assert len(found) == 10


@pytest.mark.parametrize("kind", ["int8", "int4", "bf16", "float16"])
def test_every_kernel_multiplies(kind, pretended):
    """Those of this processor, and the plain arithmetic that stands for those of others."""
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(40, 128, generator=torch.Generator().manual_seed(1))
    if kind == "float16" and not pretended.fbgemm:
        return
    linear, want = precisions.pack(weight, kind), rows @ weight.T
    dtype = precisions.compute_dtype(kind, "cpu")
    for count in (1, 2, 40):
        found = linear(rows[:count].to(dtype))
        assert found.dtype == dtype
        assert (found - want[:count]).norm() < {"int4": 0.15, "int8": 0.025}.get(kind, 0.01) * want[:count].norm()


@pytest.mark.parametrize("missing", [True, False])
def test_plain_arithmetic_stands_for_a_kernel_that_is_missing(monkeypatch, missing):
    """As on ARM, where a test pretends to have FBGEMM."""
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(5, 128, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(precisions, "detected", lambda: PROCESSORS["ARM"] if missing else detected())
    with pretend(**vars(PROCESSORS["VNNI"])):
        halves, bytes_ = precisions.Float16Linear(weight), precisions.Int8RowsLinear(weight)
    assert missing <= (not hasattr(halves, "packed") and not hasattr(bytes_, "packed"))
    assert torch.equal(halves.unpacked(), weight.half().float())
    assert (halves(rows) - rows @ weight.half().float().T).abs().max() < 1e-4
    packed, scale = precisions.quantize_int8(weight)
    unit = rows.abs().amax(1, True) / 127
    assert (bytes_(rows) - (rows / unit).round() @ (packed * scale[:, None]).T * unit).abs().max() < 1e-3


def test_a_pretended_pretendedis_for_its_block_alone():
    assert processor() == detected()
    with pretend(fbgemm=False, bf16=True) as outer:
        assert processor() == outer and outer.bf16 and not outer.fbgemm and not outer.byte_rows
        with pretend(bf16=False):
            assert not processor().bf16 and not processor().fbgemm
        assert processor() == outer
    assert processor() == detected()
    with pytest.raises(TypeError):
        with pretend(luck=True):
            pass
    assert processor() == detected()


def test_packing_leaves_the_quantized_engine_of_the_program_as_it_was():
    engine = torch.backends.quantized.engine
    others = [name for name in torch.backends.quantized.supported_engines if name not in ("none", engine)]
    try:
        for other in others:
            torch.backends.quantized.engine = other
            for kind in ("float16", "int8"):
                if processor().fbgemm:
                    precisions.pack(torch.randn(64, 128), kind)(torch.randn(2, 128))
            assert torch.backends.quantized.engine == other
    finally:
        torch.backends.quantized.engine = engine


def test_a_device_that_is_not_there_is_named(monkeypatch):
    assert device_for("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_for() == torch.device("cpu")
    for name, why in (
        ("cuda", "PyTorch finds no GPU here"),
        ("mps", "no device mps"),
        ("gpu", '"gpu" is not a device'),
        ("cuda:x", "is not a device"),
        ("meta", "not supported"),
    ):
        with pytest.raises(StageError, match=why):
            Stage.from_pretrained(device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_for() == torch.device("cuda") and device_for("cuda:1").index == 1
    with pytest.raises(StageError, match="the GPUs here are cuda:0 to cuda:1"):
        device_for("cuda:2")
