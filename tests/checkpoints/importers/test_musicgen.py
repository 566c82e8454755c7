"""MusicGen bases: from the folders of transformers, and the same music from the same weights."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from stage import Stage
from stage.checkpoints.convert import convert
from stage.checkpoints.importers import detect, musicgen
from stage.errors import StageError
from stage.generation.decoding import Sampling, generate
from stage.testing.weights import random_musicgen, save_musicgen, tokenizer

FRAMES = 20


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return save_musicgen(tmp_path_factory.mktemp("hub") / "musicgen-tiny")


@pytest.fixture(scope="module")
def plain(theirs, tmp_path_factory):
    """MusicGen itself, converted."""
    out = tmp_path_factory.mktemp("ours") / "plain"
    convert(theirs, out)
    return Stage.from_pretrained(out)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prompt", ["busy funk drums", "calm jazz with soft bass and a slow beat"])
def test_text_only_music_is_that_of_transformers(theirs, plain, prompt, guidance):
    from transformers import AutoTokenizer, MusicgenForConditionalGeneration

    model = MusicgenForConditionalGeneration.from_pretrained(theirs).eval()
    tokens = AutoTokenizer.from_pretrained(theirs)([prompt], return_tensors="pt")
    kept = {}
    decode = model.audio_encoder.decode
    model.audio_encoder.decode = lambda codes, **rest: kept.setdefault("codes", codes) is None or decode(codes, **rest)
    # one frame more than its own count: it takes the start column for a token
    audio = model.generate(**tokens, do_sample=False, guidance_scale=guidance, max_new_tokens=FRAMES + 3)
    want = kept["codes"][0, 0]
    with torch.inference_mode():
        embeddings, mask = plain.text.encode([prompt])
        text = plain.decoder.text_projection(embeddings[0][mask[0]])
    got = generate(
        plain.decoder,
        stem=0,
        contexts=[],
        text=text,
        frames=want.shape[1],
        sampling=Sampling(guidance=guidance, temperature=0),
    )[0]
    assert want.shape == got.shape == (4, want.shape[1]) and want.shape[1] >= FRAMES - 4
    assert torch.equal(got, want)
    assert len(want.unique()) > 5  # not one code over and over
    sound = plain.codec.decode(got[None])[0]
    assert (sound - audio[0, 0, : len(sound)]).abs().max() < 1e-4


def test_plain_musicgen_composes_and_does_not_accompany(plain):
    made = plain.compose("busy funk", seconds=1.0, variations=2, seed=3)
    assert made.shape == (2, 32000) and made.std() > 0
    assert (made[1] == plain.compose("busy funk", seconds=1.0, seed=4)[0]).all()
    assert plain.stems == ()
    with pytest.raises(StageError, match="whole music from text"):
        plain.click(120, "drums")


def test_a_base_has_room_for_its_stems(theirs, tmp_path):
    convert(theirs, tmp_path / "base", stems=["drums", "bass"], name="tiny", origin="facebook/musicgen-tiny")
    stage = Stage.from_pretrained(tmp_path / "base")
    old = load_file(theirs / "model.safetensors")
    for k, table in enumerate(stage.decoder.embed):
        assert table.shape == (32 + 3, 64)
        assert torch.equal(table[:32], old[f"decoder.model.decoder.embed_tokens.{k}.weight"][:32])
        assert (table[32] == 0).all() and table[33:].std() > 0.05 and not torch.equal(table[33], table[34])
    assert torch.equal(
        stage.decoder.layers[1].qkv.weight[64:128], old["decoder.model.decoder.layers.1.self_attn.k_proj.weight"]
    )
    assert torch.equal(stage.decoder.text_projection.weight, old["enc_to_dec_proj.weight"])
    assert stage.stems == ("drums", "bass") and stage.config.origin == "facebook/musicgen-tiny"
    card = (tmp_path / "base/README.md").read_text()
    assert (
        "license: CC-BY-NC-4.0" in card
        and "no commercial use" in card
        and "facebook/musicgen-tiny" in card
        and "Fine-tune" in card
    )
    made = stage.click(120, "bass", bars=1, seed=1)
    assert made.stems.shape == (1, 64000)


def test_codec_and_text_encoder_come_along(theirs, plain):
    model = random_musicgen()
    audio = torch.randn(1, 6400)
    assert torch.equal(plain.codec.encode(audio), model.audio_encoder.encode(audio[:, None]).audio_codes[0])
    tokens = tokenizer()(["slow jazz"], return_tensors="pt")
    want = model.text_encoder(**tokens).last_hidden_state
    assert (plain.text.encode(["slow jazz"])[0] - want).abs().max() < 1e-5


def test_shards_and_bf16(theirs, plain, tmp_path):
    random_musicgen().save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    tokenizer().save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    convert(tmp_path / "shards", tmp_path / "whole", dtype=torch.bfloat16)
    stored = load_file(tmp_path / "whole/decoder.safetensors")
    for name, tensor in plain.decoder.state_dict().items():
        assert torch.equal(stored[name], tensor.bfloat16())


def changed(theirs, tmp_path, change):
    folder = tmp_path / "changed"
    shutil.copytree(theirs, folder)
    change(folder)
    return folder


def weights(change):
    def spoil(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return spoil


def configured(change):
    def spoil(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


LAYER = "decoder.model.decoder.layers.1."


@pytest.mark.parametrize(
    "spoil, message",
    [
        (weights(lambda w: w.pop(LAYER + "fc1.weight")), r"missing are .*layers.1.fc1.weight"),
        (weights(lambda w: [w.pop(name) for name in list(w) if name.startswith(LAYER)]), r"and 11 more"),
        (
            weights(lambda w: w.update({LAYER + "fc2.weight": torch.zeros(64, 99)})),
            r"fc2.weight: \[\[64, 99\]\], not \[64, 128\]",
        ),
        (
            weights(lambda w: w.pop("audio_encoder.encoder.layers.0.conv.bias")),
            "audio_encoder.*encoder.layers.0.conv.bias",
        ),
        (
            weights(lambda w: w.pop("text_encoder.encoder.block.1.layer.0.SelfAttention.q.weight")),
            "text_encoder.*block.1",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1000]),
            "not a whole safetensors",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (configured(lambda c: c["decoder"].update(audio_channels=2)), "stereo"),
        (configured(lambda c: c["decoder"].update(num_hidden_layers=3)), "layers.2"),
        (configured(lambda c: c.update(model_type="bert")), "model of the kind bert"),
        (lambda f: (f / "config.json").write_text("{"), "not a checkpoint of a known format"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_left(theirs, tmp_path, spoil, message):
    folder = changed(theirs, tmp_path, spoil)
    with pytest.raises(StageError, match=message) as error:
        convert(folder, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


def test_nothing_is_overwritten(theirs, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(StageError, match="exists"):
        convert(theirs, tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_full_disk_leaves_nothing(theirs, tmp_path, monkeypatch):
    import errno

    from stage.checkpoints import convert as module

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write", full)
    with pytest.raises(StageError, match="No space left on device; nothing was kept"):
        convert(theirs, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1000})())
    with pytest.raises(StageError, match="make room"):
        convert(theirs, tmp_path / "out")


@pytest.mark.parametrize("size, parameters", [("medium", 1.8e9), ("large", 3.2e9)])
def test_the_larger_bases_fit_by_shape(size, parameters):
    """Names and shapes of transformers' own model at full size, none of its weights made."""
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    from stage.checkpoints.importers.foreign import Foreign, base_config
    from stage.testing.weights import DECODERS

    with torch.device("meta"):
        model = MusicgenForCausalLM(MusicgenDecoderConfig(**DECODERS[size]))
    tensors = dict(model.state_dict())
    dim = DECODERS[size]["hidden_size"]
    tensors |= {"proj.weight": torch.empty(dim, 768, device="meta"), "proj.bias": torch.empty(dim, device="meta")}
    config = base_config(("drums",), dim=dim, layers=48, heads=dim // 64, ffn_dim=4 * dim)
    table = musicgen.decoder_names(config, prefix="") | {
        f"text_projection.{end}": [f"proj.{end}"] for end in ("weight", "bias")
    }
    foreign = Foreign(size, config, table, tensors, None, None, base=True)
    foreign.check(size, lambda name: tensors[name].shape)
    assert sum(torch.Size(shape).numel() for shape in foreign.shapes().values()) > 0.95 * parameters


def test_reading_recognises_kind_and_stems(theirs):
    foreign = detect.read(theirs, ["drums"])
    assert foreign.kind == "MusicGen of transformers" and foreign.decoder.stems == ("drums",)


def test_a_japanese_name_in_another_locale(theirs, tmp_path):
    """The card is UTF-8 whatever the locale's encoding is."""
    code = "import sys; from pathlib import Path; from stage.checkpoints.convert import convert\n"
    code += "convert(Path(sys.argv[1]), Path(sys.argv[2]), name='\\u592a\\u9f13 \\udcff')"
    made = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, theirs, tmp_path / "out"],
        env=os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert "# \u592a\u9f13 ?" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
