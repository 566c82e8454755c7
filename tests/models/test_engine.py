"""The decoder by OpenVINO against the plain path: codes, distributions, whole jobs, and the file of its matrices."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_player, drawn_stage, song
from stage import Stage
from stage.checkpoints import format as checkpoints
from stage.checkpoints import paths
from stage.checkpoints.installed import remove
from stage.cli import app as cli
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling, advance, begin, generate
from stage.models import engine as engines
from stage.models import engine_request, tune
from stage.models.engine import Held, choose_engine
from stage.models.engine_pages import ALIGNED, Pages
from stage.models.fast_step import row_logits
from stage.models.lora import Voice, new_adapter
from stage.models.processor import pretend
from stage.prefix import row

needs_openvino = pytest.mark.skipif(
    not engines.installed(), reason='OpenVINO is not installed: pip install "stage-music[fast]"'
)
CODES = torch.randint(32, (2, 60), generator=torch.Generator().manual_seed(2))
TEXT = torch.randn(5, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of the user's that is empty."""
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "home"))
    return tmp_path


def both(stage: Stage, place: Path, precision: str = "float32") -> tuple[Stage, Stage]:
    """The same weights by torch in float32, and by OpenVINO in a precision."""
    if not (place / "model").exists():
        stage.save_pretrained(place / "model")
    return (
        Stage.from_pretrained(place / "model", "cpu", "float32", engine="torch"),
        Stage.from_pretrained(place / "model", "cpu", precision, engine="openvino"),
    )


@needs_openvino
@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
@pytest.mark.parametrize("text_guidance", [None, 2.0])
def test_float32_makes_the_codes_of_the_plain_path(place, positions, text_guidance):
    plain, fast = both(drawn_stage(positions=positions), place)
    sampling = Sampling(guidance=2.0, text_guidance=text_guidance, temperature=0)
    for text in (TEXT, None):
        arguments = dict(stem=1, contexts=[CODES, None], text=text, frames=80, sampling=sampling, prompt=CODES[:, :9])
        want, found = (generate(stage.decoder, seeds=(1,), **arguments) for stage in (plain, fast))
        assert torch.equal(found, want)


ENDS_A_CHILD = """
import gc, signal, subprocess, sys
from helpers.fakes import drawn_stage
from stage.models.engine_request import SignalStack

answered = []
signal.signal(signal.SIGCHLD, lambda *_: answered.append(True))
drawn_stage(positions="rotary").save_pretrained(sys.argv[1])
from stage import Stage

before = SignalStack.of_thread().address
stages = [Stage.from_pretrained(sys.argv[1], "cpu", "float32", engine="openvino") for _ in range(2)]
stages[1].decoder.engine.prepare(stages[1].decoder)  # as a large one is
for stage in stages:
    stage.click(120, "drums", bars=1)
    assert SignalStack.of_thread().address == before
del stage, stages[0]  # the first one goes first: what each had found would not be set again in order
gc.collect()
stages.clear()
gc.collect()
assert SignalStack.of_thread().address == before
subprocess.run(["true"])
print("answered", bool(answered))
"""


@needs_openvino
@pytest.mark.skipif(sys.platform != "linux", reason="only there OpenVINO was seen to take the signal stack")
def test_a_process_that_used_the_engine_can_answer_signals(place):
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", ENDS_A_CHILD, str(place / "model")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (ended.returncode, ended.stdout) == (0, "answered True\n"), ended.stderr


@needs_openvino
@pytest.mark.slow
def test_float32_makes_the_codes_of_the_plain_path_for_a_long_stem():
    stages = [Stage.from_pretrained("sketch", "cpu", "float32", engine=engine) for engine in ("torch", "openvino")]
    codes = torch.randint(1024, (8, 250), generator=torch.Generator().manual_seed(2))
    arguments = dict(stem=1, contexts=[codes, codes], frames=500, sampling=Sampling(temperature=0))
    assert torch.equal(*(generate(stage.decoder, **arguments) for stage in stages))


@needs_openvino
def test_variations_are_those_that_each_seed_makes_alone(place):
    plain, fast = both(drawn_stage(), place)
    arguments = dict(stem=0, contexts=[CODES, CODES], text=TEXT, frames=40, sampling=Sampling(guidance=2.0, top_k=20))
    together = generate(fast.decoder, seeds=(7, 8, 9), **arguments)
    assert torch.equal(together, generate(plain.decoder, seeds=(7, 8, 9), **arguments))
    assert torch.equal(together[1:2], generate(fast.decoder, seeds=(8,), **arguments))


@needs_openvino
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("precision, bound", [("bf16", 0.001), ("int8", 0.01), ("int4", 0.05)])
def test_the_sketch_model_hardly_changes(precision, bound, bf16):
    with pretend(bf16=bf16):
        hardly_changes(precision, bound)


def hardly_changes(precision, bound):
    codes = torch.randint(1024, (8, 60), generator=torch.Generator().manual_seed(2))
    stages = (
        Stage.from_pretrained("sketch", "cpu", "float32", engine="torch"),
        Stage.from_pretrained("sketch", "cpu", precision, engine="openvino"),
    )
    states = [begin(s.decoder, stem=0, contexts=[codes, codes], text=None, frames=30, seeds=(1,)) for s in stages]
    total = 0.0
    for _ in range(20):
        p, q = (torch.log_softmax(state.logits[0, 0].float(), -1) for state in states)
        total += float((p.exp() * (p - q)).sum(-1).mean()) / 20
        for stage, state in zip(stages, states):
            advance(stage.decoder, state, Sampling())
        states[1].column = states[0].column
    assert 0 < total < bound


@needs_openvino
def test_generations_that_take_turns_keep_their_caches(place):
    """The second one compiles another graph, in place of the first one's."""
    plain, fast = both(drawn_stage(), place, "int8")
    sampling = Sampling(guidance=2.0, temperature=0)
    made = []
    for alternating in (False, True):
        arguments = dict(stem=0, contexts=[CODES, CODES], frames=30, sampling=sampling, seeds=(1, 2))
        states = [begin(fast.decoder, text=text, **arguments) for text in (TEXT, None)]
        for _ in range(20):
            for state in states:
                advance(fast.decoder, state, sampling)
            if not alternating:
                states.reverse()
        made.append([state.columns for state in sorted(states, key=lambda state: float(state.caches[0].bytes))])
    assert all(torch.equal(one, other) for one, other in zip(*made))
    bare = Stage.from_pretrained(place / "model", "cpu", "int8", engine="openvino")
    alone = generate(bare.decoder, text=None, **arguments)
    assert torch.equal(alone[:, :, :15], generate(fast.decoder, text=None, **arguments)[:, :, :15])


@needs_openvino
def test_an_adapter_is_played_as_by_the_plain_path(place):
    plain, fast = both(drawn_stage(), place)
    adapter = new_adapter(plain.decoder, "keys", rank=4, layers=("qkv", "self_out", "cross_kv", "up"))
    with torch.no_grad():
        for number, delta in enumerate(p for name, p in adapter.named_parameters() if name.endswith(".b")):
            delta.normal_(std=0.3, generator=torch.Generator().manual_seed(number))
    arguments = dict(stem=0, contexts=[CODES, CODES], text=TEXT, frames=40, seeds=(1, 2), sampling=Sampling(top_k=20))
    voices = [Voice(stage.decoder, adapter) for stage in (plain, fast)]
    want, found = (generate(voice, **arguments) for voice in voices)
    assert torch.equal(found, want)
    bare = generate(fast.decoder, **arguments)  # the base is as it was
    assert torch.equal(bare, generate(plain.decoder, **arguments)) and not torch.equal(bare, found)


@needs_openvino
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bf16", "int8", "int4"])
def test_a_whole_job_and_its_stream(place, precision, bf16):
    with pretend(bf16=bf16):
        job_and_stream(place, precision)


def job_and_stream(place, precision):
    plain, fast = both(drawn_stage(), place, precision)
    audio = song(3.0)
    request = dict(prompt="busy funk", variations=2, seed=3)
    made = fast.accompany(audio, 44100, "drums", level=False, **request)
    assert made.stems.shape == (2, audio.shape[1]) and np.isfinite(made.stems).all()
    with fast.stream(audio, 44100, "drums", **request) as stream:
        chunks = np.concatenate(list(stream), -1)
    assert np.abs(chunks - made.stems).max() < 1e-4
    if precision == "float32":
        want = plain.accompany(audio, 44100, "drums", level=False, **request)
        assert np.abs(made.stems - want.stems).max() < 1e-5


@needs_openvino
def test_played_events_come_out_as_by_the_plain_path(place):
    plain, fast = both(drawn_player(), place)
    audio = song(4.0)
    want, found = (stage.accompany(audio, 44100, "bass", "funk", chords="Am F").notes for stage in (plain, fast))
    assert found == want and found[0]


@needs_openvino
def test_rounded_matrices_are_kept_until_the_weights_change(place, monkeypatch):
    arguments = dict(stem=0, contexts=[CODES, CODES], frames=12, sampling=Sampling(guidance=2.0, temperature=0))
    decoder = both(drawn_stage(), place, "int4")[1].decoder
    assert not (place / "home").exists()  # nothing is done before it is needed
    want = generate(decoder, **arguments)
    (kept,) = (place / "home/engine").iterdir()
    first = kept.stat().st_mtime_ns
    assert torch.equal(generate(both(drawn_stage(), place, "int4")[1].decoder, **arguments), want)
    assert kept.stat().st_mtime_ns == first
    os.truncate(kept, 100)  # as an older version may have left it
    assert torch.equal(generate(both(drawn_stage(), place, "int4")[1].decoder, **arguments), want)
    weights = place / "model/decoder.safetensors"
    os.utime(weights, ns=(1, 1))
    assert torch.equal(generate(both(drawn_stage(), place, "int4")[1].decoder, **arguments), want)
    (other,) = (place / "home/engine").iterdir()
    assert other != kept
    (place / "file").write_text("no folder")
    monkeypatch.setenv("STAGE_HOME", str(place / "file"))
    assert torch.equal(generate(both(drawn_stage(), place, "int4")[1].decoder, **arguments), want)


@needs_openvino
def test_what_was_compiled_while_the_rest_was_loaded_is_played(place, monkeypatch):
    monkeypatch.setattr(checkpoints, "SMALL", 1)
    plain, fast = both(drawn_stage(positions="rotary"), place)
    engine = fast.decoder.engine
    engine.preparing.join()
    prepared = dict(engine.compiled)
    assert set(prepared) == {"text", "asking"} and not engine.played
    arguments = dict(stem=1, contexts=[CODES, None], text=TEXT, frames=40, sampling=Sampling(temperature=0))
    assert torch.equal(generate(fast.decoder, **arguments), generate(plain.decoder, **arguments))
    assert engine.compiled == prepared and engine.played  # nothing was compiled again

    plain, fast = both(drawn_stage(positions="rotary"), place)
    voice = Voice(fast.decoder, new_adapter(plain.decoder, "keys", rank=4, layers=("qkv",)))
    generate(voice, **arguments)
    assert not fast.decoder.engine.compiled  # the memory of what nobody played
    assert torch.equal(generate(fast.decoder, **arguments), generate(plain.decoder, **arguments))


@needs_openvino
@pytest.mark.parametrize("prepared", [True, False])  # what fails while the rest is loaded comes with the first piece
@pytest.mark.parametrize("name, value", [("layers.0.cross_kv", float("inf")), ("layers.1.up", float("nan"))])
def test_damaged_weights_are_an_error_when_they_are_read(place, monkeypatch, name, value, prepared):
    if prepared:
        monkeypatch.setattr(checkpoints, "SMALL", 1)
    stage = drawn_stage()
    with torch.no_grad():
        stage.decoder.get_submodule(name).weight[3, 4] = value
    stage.save_pretrained(place / "model")
    fast = Stage.from_pretrained(place / "model", "cpu", "int8", engine="openvino")
    with pytest.raises(StageError, match=f"{name}.weight holds numbers that are not finite"):
        fast.accompany(song(1.0), 44100, "drums")


@needs_openvino
def test_an_answer_of_nothing_is_one_line(place, monkeypatch):
    fast = both(drawn_stage(), place, "int8")[1]
    monkeypatch.setattr(engine_request.Request, "get", lambda *_: np.zeros((1, 0), np.float32))
    with pytest.raises(StageError, match=r"^OpenVINO [\d.]+ cannot .*invalid for input of size 0.*--engine torch$"):
        generate(fast.decoder, stem=0, contexts=[CODES, CODES], text=None, frames=12)


@needs_openvino
def test_what_the_engine_holds_cannot_be_saved(place):
    fast = both(drawn_stage(), place)[1]
    assert isinstance(fast.decoder.layers[0].up, Held) and fast.decoder.head is None
    with pytest.raises(StageError, match="float32 and engine torch"):
        fast.save_pretrained(place / "again")
    with pytest.raises(StageError, match="held by OpenVINO"):
        fast.decoder.layers[0].up(torch.zeros(1, 32))


class FakeRequest:
    """Takes inputs as a compiled decoder of blocks of four columns would."""

    def __init__(self):
        self.given = {}

    def shape(self, name):
        return -1, 1, 4, 8

    def dtype(self, name):
        return np.dtype(np.float16)

    def give(self, name, value):
        self.given[name] = value


def test_variations_share_the_full_blocks_of_their_prefix_alone():
    config, request = DecoderConfig(dim=16, heads=2, layers=3), FakeRequest()
    pages = Pages(request, config, lengths=[10, 1], rows=3, steps=5)
    long, bare = pages.blocks
    assert long.shape == (3, 2, 2 + 2) and bare.shape == (3, 2, 2)  # 10 + 5 and 1 + 5 columns, four to a block
    assert (long[:, :, :2] == long[:1, :, :2]).all() and (np.diff(long[:, :, 2:]) == 1).all()
    own = np.concatenate([long[0, :, :2].ravel(), long[:, :, 2:].ravel(), bare.ravel()])
    assert sorted(own) == list(range(len(own)))  # nothing twice, nothing left
    keys = request.given["key_cache.1"]
    assert keys.shape == (len(own), 1, 4, 8) and not keys.any() and keys.ctypes.data % ALIGNED == 0

    first = pages.prefill(0)
    assert first["subsequence_begins"].tolist() == [0, 10, 20] and first["past_lens"].tolist() == [0, 0]
    assert first["block_indices"].tolist() == long[0].ravel().tolist() and int(first["max_context_len"]) == 10
    keys[long[0, :, 2]] = np.array([3, 5], np.float16)[:, None, None, None]  # of each head the end of the prefix
    pages.part()
    assert (keys[long[:, 0, 2]] == 3).all() and (keys[long[:, 1, 2]] == 5).all()
    assert not keys[long[:, :, [0, 1, 3]]].any() and not request.given["value_cache.1"].any()

    places, lengths = pages.first_step(), pages.step(2)
    assert places["sequences"].tolist() == [6] and places["subsequence_begins"].tolist() == list(range(13))
    assert places["block_indices_begins"].tolist() == [0, 4, 8, 12, 16, 20, 24, 26, 28, 30, 32, 34, 36]
    assert lengths["past_lens"].tolist() == [12] * 6 + [3] * 6 and int(lengths["max_context_len"]) == 13
    assert {value.dtype.name for value in (places | lengths).values()} == {"int32", "int64"}


@needs_openvino
def test_masked_columns_change_no_others(place):
    plain, fast = both(drawn_stage(), place)
    whole = row(plain.decoder.config, [CODES, None], 1, CODES[:, :20])
    assert not whole.attend.all()
    want, found = (row_logits(stage.decoder, whole) for stage in (plain, fast))
    seen = whole.attend[0]
    assert (found - want)[:, :, seen].abs().max() < 1e-4 < want[:, :, seen].std()
    assert not found[:, :, ~seen].any()


@needs_openvino
def test_what_openvino_cannot_do_is_one_line(place, monkeypatch):
    fast = both(drawn_stage(), place, "int8")[1]

    def fails(*_):
        raise RuntimeError("Exception from src/core.cpp:117:\n[CPU] PagedAttention is not there\n\n")

    for module in (engines, engine_request):
        monkeypatch.setattr(module, "compile_graph", fails)
    with pytest.raises(StageError, match=r"^OpenVINO [\d.]+ cannot .*\[CPU\] PagedAttention.*--engine torch$"):
        fast.accompany(song(1.0), 44100, "drums")
    small = DecoderConfig(dim=64, heads=2, layers=1, ffn_dim=64, codebook_size=32)
    figures = tune.steps(small, "int8", "")
    assert np.isfinite(figures["torch"]) and figures["openvino"] == np.inf


def test_an_engine_that_cannot_be_had_is_refused(monkeypatch, tune, model, capsys):
    assert [choose_engine("auto", "int8", "cpu", faster) for faster in (True, False)] == ["openvino", "torch"]
    assert choose_engine("auto", "bf16", "cuda", True) == "torch" == choose_engine("torch", "int8", "cpu", True)
    monkeypatch.setattr(engines, "installed", lambda: True)
    for arguments, message in (
        (("luck", "int8", "cpu"), "choose auto, torch, openvino"),
        (("openvino", "float16", "cpu"), "choose --engine torch for float16"),
        (("openvino", "float32", "cuda"), "choose --device cpu, or --engine torch on cuda"),
    ):
        with pytest.raises(StageError, match=message):
            choose_engine(*arguments, False)
    monkeypatch.setattr(engines, "installed", lambda: False)
    assert cli.run(["accompany", str(tune), "--stem", "drums", "--model", str(model), "--engine", "openvino"]) == 2
    assert 'pip install "stage-music[fast]"' in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in Path(".").iterdir()] == ["tune.wav"]


@needs_openvino
def test_the_command_plays_with_it(tune, model):
    command = ["accompany", str(tune), "--stem", "drums", "--model", str(model), "-o", "made", "--precision", "int8"]
    assert cli.run([*command, "--engine", "openvino"]) == 0 and Path("made/tune.drums.0.wav").is_file()
    (kept,) = (paths.home() / "engine").iterdir()
    shutil.copytree(model, paths.models() / "mine")
    assert cli.run([*command[:-3], "again", *command[-2:], "--model", "mine", "--engine", "openvino"]) == 0
    assert len(list((paths.home() / "engine").iterdir())) == 2
    remove("mine")
    assert list((paths.home() / "engine").iterdir()) == [kept]
