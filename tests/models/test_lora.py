"""Adapters: several stems on one frozen decoder, saved alone, merged on demand."""

import copy
import json

import pytest
import torch
from fakes import drawn_stage
from safetensors.torch import load_file, save_file

from stage import Stage
from stage.checkpoints import adapters
from stage.config import DecoderConfig
from stage.decoding import Sampling, advance, begin, generate
from stage.errors import StageError
from stage.models.lora import Lora, LoraConfig, LoraLinear, attach, detach, merge
from stage.models.precision import MATRICES, lower
from stage.prefix import loss, row, training_row

GREEDY = Sampling(guidance=2.0, temperature=0)


def trained(stem: str, shape: DecoderConfig, seed: int, **options) -> Lora:
    """An adapter that does something."""
    torch.manual_seed(seed)
    lora = Lora(LoraConfig(name=f"{stem}{seed}", stem=stem, rank=4, matrices=MATRICES, **options), shape)
    with torch.no_grad():
        for parameter in lora.up.values():
            parameter.normal_(std=0.5)
        lora.separator.normal_()
    return lora.eval().requires_grad_(False)


@pytest.fixture
def decoder():
    return drawn_stage().decoder


def contexts(frames: int = 12) -> list[torch.Tensor]:
    return [torch.randint(32, (2, frames), generator=torch.Generator().manual_seed(i)) for i in range(2)]


def play(decoder, stem: int) -> torch.Tensor:
    return generate(decoder, stem=stem, contexts=contexts(), text=torch.randn(3, 32, generator=torch.Generator().manual_seed(1)), frames=14, sampling=GREEDY)


def test_a_new_adapter_adds_a_stem_and_changes_nothing(decoder):
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    alone = [play(decoder, stem) for stem in (0, 1)]
    lora = Lora(LoraConfig("new", "guitar"), decoder.config)
    assert attach(decoder, lora) == "guitar" and decoder.config.stems == ("drums", "bass", "guitar")
    assert all(torch.equal(play(decoder, stem), alone[stem]) for stem in (0, 1))
    with torch.no_grad():  # with the separator and segment of the drums it plays as the drums
        lora.separator.copy_(decoder.embed[:, decoder.adapters.own.separator(0)])
        lora.segment.copy_(decoder.segment[0])
    assert torch.equal(play(decoder, 2), alone[0])
    detach(decoder, "guitar")
    assert decoder.config.stems == ("drums", "bass") and not any(isinstance(m, LoraLinear) for m in decoder.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())


@pytest.mark.parametrize("precision", ["float32", "int8", "bf16"])
def test_an_adapter_changes_its_own_stem_alone(decoder, precision):
    lower(decoder, precision)
    alone = [play(decoder, stem) for stem in (0, 1)]
    attach(decoder, trained("guitar", decoder.config, 1))
    assert attach(decoder, trained("drums", decoder.adapters.own, 2)) == "drums-drums2"  # the base's own drums stay
    made = [play(decoder, stem) for stem in range(4)]
    assert torch.equal(made[0], alone[0]) and torch.equal(made[1], alone[1])
    assert not torch.equal(made[2], made[3]) and not torch.equal(made[3], made[0])
    detach(decoder, "guitar")
    assert torch.equal(play(decoder, 2), made[3])  # the other one moved up


def test_stems_take_turns_on_one_base(decoder):
    for seed, stem in enumerate(("guitar", "piano")):
        attach(decoder, trained(stem, decoder.config if decoder.adapters is None else decoder.adapters.own, seed))
    alone = [play(decoder, stem) for stem in (2, 3, 0)]
    text = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    states = [begin(decoder, stem=stem, contexts=contexts(), text=text, frames=14, seeds=(0,), sampling=GREEDY) for stem in (2, 3, 0)]
    while states[0].done < states[0].steps:
        for state in states:
            advance(decoder, state, GREEDY)
    for state, want in zip(states, alone):
        assert torch.equal(state.columns[:, :, 1:15][:, 0], want[:, 0])


def test_cached_steps_agree_with_whole_rows(decoder):
    attach(decoder, trained("guitar", decoder.config, 1))
    codes = generate(decoder, stem=2, contexts=contexts(), frames=14, sampling=Sampling(guidance=1.0, temperature=0))[0]
    sequence = training_row(decoder.config, [row(decoder.config, contexts(), 2, codes)])
    decoder.select(2)
    with torch.inference_mode():
        logits, mask = decoder.target_logits(decoder(sequence), sequence)
    assert torch.equal(logits.argmax(-1)[0][mask], codes[mask])


def test_merged_it_plays_the_same_and_can_be_saved(tmp_path):
    stage = drawn_stage()
    adapters.save(tmp_path / "guitar", trained("guitar", stage.decoder.config, 1, base="drawn"), torch.float32)
    assert stage.load_adapter(str(tmp_path / "guitar")) == "guitar" and stage.stems == ("drums", "bass", "guitar")
    want = play(stage.decoder, 2)
    with pytest.raises(StageError, match="unload them"):
        stage.save_pretrained(tmp_path / "with")
    stage.merged("guitar").save_pretrained(tmp_path / "merged")
    alone = Stage.from_pretrained(tmp_path / "merged")
    assert alone.stems == ("guitar",) and torch.equal(play(alone.decoder, 0), want)
    assert torch.equal(play(stage.decoder, 2), want)  # the base and its adapter are as they were
    with pytest.raises(StageError, match="precision float32"):
        merge(lower_with(drawn_stage().decoder), "guitar")


def lower_with(decoder):
    lower(decoder, "int8")
    attach(decoder, trained("guitar", decoder.config, 1))
    return decoder


def test_only_the_adapter_learns(decoder):
    lora = Lora(LoraConfig("new", "guitar"), decoder.config)
    before = copy.deepcopy(decoder.state_dict())
    attach(decoder, lora)
    decoder.select(2)
    target = torch.randint(32, (2, 12), generator=torch.Generator().manual_seed(9))
    sequence = training_row(decoder.config, [row(decoder.config, contexts(), 2, target)])
    optimiser, losses = torch.optim.Adam(lora.parameters(), 0.02), []
    for _ in range(20):
        logits, mask = decoder.target_logits(decoder(sequence), sequence)
        each = loss(logits, target[None], mask).mean()
        optimiser.zero_grad()
        each.backward()
        optimiser.step()
        losses.append(each.item())
    assert losses[-1] < losses[0] - 0.15  # the frozen head of drawn weights leaves no more
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in lora.parameters())
    detach(decoder, "guitar")
    assert all(torch.equal(tensor, before[name]) and not tensor.requires_grad for name, tensor in decoder.state_dict().items())


def test_an_adapter_is_a_few_megabytes():
    with torch.device("meta"):
        lora = Lora(LoraConfig("drums", "drums"), DecoderConfig())
    megabytes = 2 * sum(parameter.numel() for parameter in lora.parameters()) / 1e6
    assert 5 < megabytes < 7  # in bf16, on MusicGen-small; docs/adapters.md says 6.3


def test_it_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("STAGE_HOME", str(tmp_path))
    stage = drawn_stage()
    adapters.save(tmp_path / "adapters/funky", trained("guitar", stage.decoder.config, 1))
    assert stage.load_adapter("funky") == "guitar"
    with pytest.raises(StageError, match="loaded already"):
        stage.load_adapter("funky"), stage.load_adapter("funky")
    stage.unload_adapter("guitar")
    assert stage.stems[:2] == ("drums", "bass")
    with pytest.raises(StageError, match="one of those in .*funky"):
        stage.load_adapter("nothing")
    with pytest.raises(StageError, match="exists"):
        adapters.save(tmp_path / "adapters/funky", trained("guitar", stage.decoder.config, 1))


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    from stage import cli

    monkeypatch.setenv("STAGE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    stage = drawn_stage()
    stage.save_pretrained("models/small")
    adapters.save("adapters/funky", trained("guitar", stage.decoder.config, 1, base="drawn"))
    assert cli.run(["adapters"]) == 0 and "funky" in capsys.readouterr().out
    play = ["click", "--bpm", "240", "--bars", "1", "--stem", "guitar", "--seed", "3"]
    assert cli.run([*play, "--model", "small", "-o", "no"]) == 2 and "plays no" in capsys.readouterr().err
    assert cli.run([*play, "--model", "small", "--adapter", "funky", "-o", "one"]) == 0
    assert cli.run(["merge", "small", "funky", "models/merged"]) == 0
    assert cli.run([*play, "--model", "merged", "-o", "two"]) == 0
    assert (tmp_path / "one/click-240-4-4.guitar.3.wav").exists() and (tmp_path / "two/click-240-4-4.guitar.3.wav").exists()


def _edit(change):
    def spoil(folder):
        described = json.loads((folder / "adapter.json").read_text())
        change(described)
        (folder / "adapter.json").write_text(json.dumps(described))
    return spoil


def _lacking(folder):
    tensors = load_file(folder / "adapter.safetensors")
    tensors.pop("separator")
    save_file(tensors, folder / "adapter.safetensors")


@pytest.mark.parametrize("spoil, message", [
    (_lacking, "separator is missing"),
    (_edit(lambda d: d["adapter"].update(rank=3)), r"is \[4, 32\], not \[3, 32\]"),
    (_edit(lambda d: d["adapter"].update(matrices=["nose"])), "no nose"),
    (_edit(lambda d: d.update(format=9)), "format 9"),
    (_edit(lambda d: d["adapter"].update(base="other")), "made for other, not for drawn"),
    (lambda f: (f / "adapter.json").write_text("{"), "not an adapter's configuration"),
    (lambda f: (f / "adapter.safetensors").write_bytes((f / "adapter.safetensors").read_bytes()[:-9]), "not a whole safetensors"),
    (lambda f: (f / "adapter.safetensors").unlink(), "is missing"),
])  # fmt: skip
def test_what_does_not_fit_is_told_in_a_line(tmp_path, spoil, message):
    stage = drawn_stage()
    adapters.save(tmp_path / "one", trained("guitar", stage.decoder.config, 1, base="drawn"))
    spoil(tmp_path / "one")
    with pytest.raises(StageError, match=message) as error:
        stage.load_adapter(str(tmp_path / "one"))
    assert "\n" not in str(error.value) and stage.stems == ("drums", "bass")


def test_another_base_is_refused(decoder):
    other = DecoderConfig(dim=64, layers=2, heads=2, ffn_dim=64, codebooks=2, codebook_size=32, text_dim=8)
    with pytest.raises(StageError, match="dim 32, not 64"):
        attach(decoder, trained("guitar", other, 1, base="other"))
    assert decoder.adapters is None
