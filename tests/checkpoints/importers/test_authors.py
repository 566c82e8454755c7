"""The authors' STAGE checkpoints: through the converter, against the conformance vectors, and refused where they are
not whole."""

import sys
from pathlib import Path

import pytest
import torch

from helpers.foreign_files import authors_state, codec_state, drawn, save_authors, t5_state, tiny_codec
from stage import Stage
from stage.checkpoints.convert import convert
from stage.checkpoints.importers import authors, seanet
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.testing.conformance import check, compare, drawn_decoder
from stage.testing.weights import tokenizer

REFERENCE = Path(__file__).parents[2] / "vectors/reference_a.safetensors"
TINY = DecoderConfig(dim=128, layers=2, heads=2, ffn_dim=256, text_dim=16, codebook_size=32)


@pytest.fixture(autouse=True)
def small_codec(request, monkeypatch):
    """The files do not say the codec's shape: it is MusicGen's. Tests bring a small one."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(seanet, "MUSICGEN", tiny_codec())


@pytest.fixture
def t5(tmp_path):
    tokenizer().save_pretrained(tmp_path / "t5")
    return str(tmp_path / "t5")


def test_everything_in_the_file_arrives(tmp_path, t5):
    decoder = drawn(TINY)
    file = save_authors(tmp_path / "stage-bass.safetensors", authors_state(TINY, decoder))
    convert(file, tmp_path / "out", t5=t5)
    stage = Stage.from_pretrained(tmp_path / "out")
    assert stage.stems == ("bass",) and stage.decoder.config == DecoderConfig(**{**vars(TINY), "stems": ("bass",)})
    for name, tensor in stage.decoder.state_dict().items():
        assert torch.equal(tensor, decoder[name]), name
    for name, tensor in codec_state().items():
        assert torch.equal(stage.codec.model.state_dict()[seanet.name_in_transformers(name)], tensor), name
    for name, tensor in t5_state().items():
        assert torch.equal(stage.text.model.state_dict()[name], tensor), name
    assert stage.text.encode(["busy funk"])[1].sum() == 3
    assert stage.click(120, "bass", bars=1).stems.shape == (1, 64000)
    assert "base" not in (tmp_path / "out/README.md").read_text().split("| licence")[1]  # it is trained, not a base


def test_the_conformance_vectors_hold_through_the_converter(tmp_path, t5, monkeypatch):
    """The weights of the vectors, written as such a file, converted and loaded again, give the vectors."""
    monkeypatch.setattr(seanet, "MUSICGEN", tiny_codec(2048))
    decoder = drawn_decoder(seed=7, dim=128, layers=3, heads=2)
    weights = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    state = authors_state(decoder.config, weights)
    file = save_authors(tmp_path / "stage-drums.safetensors", state)
    with pytest.raises(
        StageError, match="width|wide|text"
    ):  # T5 here is 16 wide, the vectors' text is projected already: 128
        convert(file, tmp_path / "refused", t5=t5)
    narrow = {**state, f"{authors.TEXT}output_proj.weight": torch.zeros(128, 16)}
    convert(save_authors(tmp_path / "stage-drums-16.safetensors", narrow), tmp_path / "out", t5=t5)
    found = compare(Stage.from_pretrained(tmp_path / "out", precision="float32").decoder, REFERENCE)
    assert found.keys() == check(REFERENCE).keys() and len(found) > 10
    for name, (difference, limit) in found.items():
        assert difference <= limit, name


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda w: w.pop("lm.decoder.attn_layers.layers.4.1.to_q.weight"),
            r"missing are lm.decoder.attn_layers.layers.4.1.to_q.weight",
        ),
        (
            lambda w: [w.pop(n) for n in list(w) if ".layers.5." in n and n.startswith("lm.")],
            r"layers.5.0.0.weight; .* ",
        ),
        (
            lambda w: [w.pop(n) for n in list(w) if n.startswith("encodec_model.")],
            "encodec_model.*missing are encoder.layers.0.conv.bias",
        ),
        (lambda w: w.pop("encodec_model.quantizer.vq.layers.3._codebook.embed"), "quantizer.layers.3.codebook.embed"),
        (lambda w: [w.pop(n) for n in list(w) if "t5." in n], "t5.*missing are"),
        (lambda w: w.pop(f"{authors.TEXT}output_proj.bias"), "output_proj.bias"),
        (
            lambda w: w.update({"lm.decoder.attn_layers.layers.0.1.to_q.weight": torch.zeros(64, 128)}),
            r"\[\[64, 128\], \[128, 128\], \[128, 128\]\]",
        ),
    ],
)
def test_a_partial_file_is_refused_with_the_names(tmp_path, t5, spoil, message):
    state = authors_state(TINY, drawn(TINY))
    spoil(state)
    file = save_authors(tmp_path / "stage-drums.safetensors", state)
    with pytest.raises(StageError, match=message) as error:
        convert(file, tmp_path / "out", t5=t5)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_parts_that_do_not_belong_together_are_refused(tmp_path, t5, monkeypatch):
    file = save_authors(tmp_path / "stage-drums.safetensors", authors_state(TINY, drawn(TINY)))
    monkeypatch.setattr(
        "stage.models.encodec.EncodecCodec.codebooks", property(lambda self: 2, lambda self, value: None), raising=False
    )
    with pytest.raises(StageError, match="4 codebooks of 32, and its codec has 2 of 32"):
        convert(file, tmp_path / "out", t5=t5)


def test_other_files_are_refused(tmp_path, t5):
    llama = save_authors(tmp_path / "llama.safetensors", {"model.layers.0.self_attn.q_proj.weight": torch.zeros(4, 4)})
    with pytest.raises(StageError, match="not a checkpoint of a known format"):
        convert(llama, tmp_path / "out", t5=t5)
    with pytest.raises(StageError, match="does not exist"):
        convert(tmp_path / "nothing.safetensors", tmp_path / "out")
    unnamed = save_authors(tmp_path / "mine.safetensors", authors_state(TINY, drawn(TINY)))
    with pytest.raises(StageError, match="add --stem"):
        convert(unnamed, tmp_path / "out", t5=t5)
    with pytest.raises(StageError, match="no tokenizer"):
        convert(unnamed, tmp_path / "out", stems=["drums"], t5=str(tmp_path))


@pytest.mark.slow
def test_a_file_of_full_size_is_converted_in_little_memory(tmp_path, t5):
    """2.4 GB of every name in the reference: made, converted in another process, and loaded in int8."""
    import json
    import subprocess

    config = DecoderConfig()
    save_authors(tmp_path / "stage-drums.safetensors", authors_state(config, drawn(config), tiny=False))
    source = (
        "import sys, json\nfrom pathlib import Path\nfrom stage.checkpoints.convert import convert\n"
        "import stage, torch, transformers\nfrom stage.benchmark.peak import peak_bytes\nbefore = peak_bytes()\n"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), t5=sys.argv[3])\n"
        "print(json.dumps([before, peak_bytes()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, tmp_path / "stage-drums.safetensors", tmp_path / "out", t5],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    before, peak = json.loads(done.stdout)
    assert (peak - before) / 1e9 < 1.6  # GB: codec and T5 (0.7), read twice; never the decoder's 1.7
    assert (tmp_path / "out/decoder.safetensors").stat().st_size > 1.6e9
    stage = Stage.from_pretrained(tmp_path / "out", precision="int8")
    assert stage.click(240, "drums", bars=1).stems.shape == (1, 32000)
