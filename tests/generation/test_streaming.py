"""Sound while it is made: the same as all at once, wherever it is cut; and nothing is left behind when it is
stopped."""

import gc

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_stage, echo_stage, song
from stage import BeatGrid, Stage, StageError
from stage import audio as sound
from stage.generation import prepare
from stage.generation.decoding import State, Stopped
from stage.models.codec import decode_long
from stage.models.decoder import Cache
from stage.models.encodec import EncodecCodec
from stage.models.spectral import SpectralCodec, SpectralConfig


@pytest.fixture(scope="module")
def drawn():
    return drawn_stage()


def encodec(filters: int, hidden: int, **values) -> EncodecCodec:
    """A small or full-size EnCodec with drawn weights, loud enough that everything in it matters."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    shape = dict(
        sampling_rate=32000,
        audio_channels=1,
        num_filters=filters,
        hidden_size=hidden,
        codebook_dim=hidden,
        codebook_size=64,
        upsampling_ratios=[8, 5, 4, 4],
        target_bandwidths=[1.2],
        normalize=False,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    model = EncodecModel(EncodecConfig(**shape | values)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return EncodecCodec(model)


CODECS = {
    "spectral": lambda: drawn_stage().codec,
    "spectral, deep": lambda: spectral(decoder_blocks=3),
    "encodec": lambda: encodec(4, 16),
    "encodec, other ratios": lambda: encodec(
        3, 8, upsampling_ratios=[5, 3, 2], num_residual_layers=2, target_bandwidths=[24.0]
    ),
    "encodec, causal": lambda: encodec(4, 16, use_causal_conv=True, use_conv_shortcut=True),
}


def spectral(**values) -> SpectralCodec:
    torch.manual_seed(0)
    shape = SpectralConfig(width=16, encoder_blocks=1, latent=8, codebooks=2, codebook_size=32, **values)
    codec = SpectralCodec(shape).eval().requires_grad_(False)
    codec.quantizer.embed.normal_()
    for block in codec.decoder:
        block.scale.fill_(1.0)
    return codec


@pytest.fixture(scope="module", params=CODECS)
def codec(request):
    return CODECS[request.param]()


def drawn_codes(codec, frames: int, rows: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(min(32, codec.codebook_size), (rows, codec.codebooks, frames), generator=generator)


def cut(codes: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """The codes in parts of these sizes, and what remains."""
    parts = []
    for size in sizes:
        parts.append(codes[..., :size])
        codes = codes[..., size:]
    return [*parts, codes]


# ---------------------------------------------------------------- codecs


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7, 30, 131])
@pytest.mark.parametrize("sizes", [[], [1] * 130, [5, 0, 1, 17, 2], [40, 60]])
def test_codes_in_parts_sound_as_codes_at_once(codec, frames, sizes):
    codes = drawn_codes(codec, frames, rows=2)
    decoding = codec.stream()
    parts = [decoding.push(part) for part in cut(codes, sizes)] + [decoding.finish()]
    whole = codec.decode(codes)
    streamed = torch.cat(parts, dim=-1)
    assert streamed.shape == whole.shape == (2, frames * codec.hop) and whole.abs().max() > 1e-3
    assert (streamed - whole).abs().max() < 1e-5 * max(1, float(whole.abs().max()))


def test_the_look_ahead_is_just_enough(codec):
    """A frame comes out when its look-ahead is there, not before; and it does depend on the last frame of it."""
    codes = drawn_codes(codec, codec.look_ahead + 40)
    decoding = codec.stream()
    assert decoding.push(codes[..., : codec.look_ahead]).shape == (1, 0)
    later = decoding.push(codes[..., codec.look_ahead : codec.look_ahead + 1])
    assert later.shape == (1, codec.hop)
    assert torch.allclose(later, codec.decode(codes)[:, : codec.hop], atol=1e-5)

    def depends(distance: int, frame: int = 30) -> bool:
        changed = codes.clone()
        changed[..., frame + distance] = (changed[..., frame + distance] + 1) % 4
        area = slice(frame * codec.hop, (frame + 1) * codec.hop)
        return not torch.equal(codec.decode(codes)[:, area], codec.decode(changed)[:, area])

    assert not depends(codec.look_ahead + 1)
    # a causal codec looks ahead at the very beginning only, where its padding is a mirror
    causal = isinstance(codec, EncodecCodec) and codec.model.config.use_causal_conv
    assert not depends(1) if causal else depends(codec.look_ahead)


def test_encodec_in_chunks_is_exact():
    """The memory of the LSTM is carried on, so that no margin is needed."""
    codec = encodec(4, 16)
    codes = drawn_codes(codec, 700)
    assert (decode_long(codec, codes, chunk_seconds=1.0) - codec.decode(codes)).abs().max() < 1e-5


@pytest.mark.parametrize("name", [name for name in CODECS if name.startswith("encodec")])
@pytest.mark.parametrize("frames", [1, 16, 17, 100])
def test_encodec_encodes_in_parts_as_at_once(name, frames, monkeypatch):
    monkeypatch.setattr("stage.models.encodec.ENCODED", 16)
    codec = CODECS[name]()
    audio = 0.3 * torch.randn(2, frames * codec.hop, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        assert (codec._latent(audio) - codec.model.encoder(audio[:, None])).abs().max() < 1e-5
    whole = codec.model.encode(audio[:, None], bandwidth=codec.bandwidth).audio_codes[0]
    assert (codec.encode(audio) == whole).float().mean() > 0.99  # two nearest codes may be equally near


def test_musicgens_encodec_looks_80_ms_ahead():
    """At full size: 64 filters, 28 M parameters in the decoder."""
    codec = encodec(64, 128)
    assert codec.look_ahead == 4 and codec.sample_rate / codec.hop == 50
    codes = drawn_codes(codec, 40)
    decoding = codec.stream()
    parts = [decoding.push(part) for part in cut(codes, [5, 1, 20])] + [decoding.finish()]
    assert [part.shape[1] // codec.hop for part in parts] == [1, 1, 20, 14, 4]
    assert (torch.cat(parts, dim=-1) - codec.decode(codes)).abs().max() < 1e-5


def test_an_encodec_that_normalises_over_the_whole_cannot_be_streamed():
    with pytest.raises(StageError, match="normalises over the whole"):
        encodec(4, 16, norm_type="time_group_norm").stream()


# ---------------------------------------------------------------- Stage


@pytest.mark.parametrize(
    "seconds, rate, variations, chunk_seconds",
    [
        (1.0, 32000, 1, 0.5),
        (1.73, 44100, 2, 0.1),
        (2.0, 48000, 1, 0.04),
        (3.31, 22050, 3, 0.5),
        (5.02, 44100, 2, 0.7),
        (7.5, 192000, 1, 60),
    ],
)
def test_a_stream_is_the_plain_result(drawn, seconds, rate, variations, chunk_seconds):
    """Shorter than a window of 2 s, as long, and over several; for one variation and more."""
    arguments = dict(
        audio=song(seconds, rate), rate=rate, stem="bass", prompt="busy funk", variations=variations, seed=5
    )
    arguments["grid"] = BeatGrid.regular(120, 4, 8)
    whole = drawn.accompany(**arguments, level=False).stems
    stream = drawn.stream(**arguments, chunk_seconds=chunk_seconds)
    parts = list(stream)
    assert all(part.dtype == np.float32 and part.shape[0] == variations and part.shape[1] > 0 for part in parts)
    streamed = np.concatenate(parts, axis=1)
    assert streamed.shape == whole.shape == (variations, stream.samples) and np.abs(whole).max() > 1e-3
    assert np.abs(streamed - whole).max() < 1e-4
    assert next(stream, None) is None
    if chunk_seconds < 1:
        # a window's end may add a frame to a part; the last brings what was waited for
        assert max(part.shape[1] for part in parts[:-1]) <= (chunk_seconds + 0.08) * rate


def test_a_metronome_streams_too(drawn):
    whole = drawn.click(100, "drums", bars=2, rate=44100, seed=3, level=False)
    stream = drawn.stream_click(100, "drums", bars=2, rate=44100, seed=3, gain_db=-6)
    streamed = np.concatenate(list(stream), axis=1)
    assert np.abs(streamed - 10 ** (-6 / 20) * whole.stems).max() < 1e-4
    assert np.array_equal(stream.song, whole.song) and stream.prepared.grid.bpm == pytest.approx(100)


def test_the_first_chunk_comes_early_and_nothing_before_it_is_asked_for(monkeypatch, drawn):
    shares, asked = [], []
    find = prepare.find
    monkeypatch.setattr(
        "stage.generation.prepare.find", lambda audio, rate, *way: asked.append(rate) or find(audio, rate, *way)
    )
    stream = drawn.stream(song(2.0, 32000), 32000, "drums", on_progress=shares.append)
    assert asked == [] and shares == []
    first = next(stream)
    assert asked == [32000] and first.shape == (1, 2 * drawn.codec.hop)
    # two frames, the codec's look-ahead, the delay of the codebooks
    assert len(shares) == 2 + drawn.codec.look_ahead + drawn.codec.codebooks - 1
    assert (stream.prepared.grid is not None or stream.prepared.remarks) and asked == [32000]  # tracked once
    second = next(stream)
    assert second.shape == (1, 2 * drawn.codec.hop) and next(stream).shape == (1, 4 * drawn.codec.hop)


def test_long_streams_go_on_from_their_own_codes(monkeypatch):
    stage, echo = echo_stage(monkeypatch, window_seconds=2.0)
    recording = song(5.0, 32000)
    streamed = np.concatenate(list(stage.stream(recording, 32000, "drums", variations=2)), axis=1)
    assert np.abs(streamed - sound.to_mono(recording))[:, : -round(0.06 * 32000)].max() < 2e-3  # 10 bits; a fade
    assert len(echo.calls) == 1 + 2 * 3 and all(len(call["seeds"]) == 1 for call in echo.calls[1:])


def test_the_plain_result_is_the_matched_one_but_for_its_level(drawn):
    arguments = dict(audio=song(1.5), rate=44100, stem="drums", grid="off")
    plain, matched = (drawn.accompany(**arguments, level=level).stems[0] for level in (False, True))
    assert np.corrcoef(plain, matched)[0, 1] > 0.99 and not np.allclose(plain, matched, atol=1e-3)


def test_the_sketch_model_streams():
    """Over two windows of its 10 s, with tracked beats: the same as at once, and the first two frames come first."""
    sketch = Stage.from_pretrained("sketch", device="cpu")
    recording = song(10.7, 44100)
    assert sketch.codec.look_ahead == 20
    parts = list(sketch.stream(recording, 44100, "drums", prompt="busy funk", seed=1))
    streamed, whole = (
        np.concatenate(parts, axis=1),
        sketch.accompany(recording, 44100, "drums", prompt="busy funk", seed=1, level=False),
    )
    assert 0.03 * 44100 < parts[0].shape[1] <= 0.08 * 44100 and max(part.shape[1] for part in parts[:-1]) < 44100
    assert streamed.shape == whole.stems.shape and np.abs(streamed - whole.stems).max() < 1e-4


def test_a_usual_gain_is_a_playback_level(drawn):
    loud, soft = (
        drawn.stream(gain * song(1.5), 44100, "drums", grid="off", gain_db=None).gain_db for gain in (1.0, 0.1)
    )
    assert loud - soft == pytest.approx(20, abs=0.1) and -40 < loud < 20


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(stem="banjo"), "plays no"),
        (dict(start=9), "cannot start"),
        (dict(grid="maybe"), '"half", "double", a BeatGrid or a Tracking, not "maybe"'),
        (dict(chunk_seconds=0), "a chunk cannot hold 0 seconds"),
        (dict(chunk_seconds=float("nan")), "a chunk cannot hold nan"),
        (dict(gain_db=float("inf")), "a gain of inf dB is out of range"),
        (dict(audio=np.zeros(44100 * 2)), "silent"),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_it_begins(drawn, change, message):
    with pytest.raises(StageError, match=message):
        drawn.stream(**dict(audio=song(3.0), rate=44100, stem="drums", grid="off") | change)


# ---------------------------------------------------------------- stopping


def kept() -> int:
    """Caches and states of generations that are in memory."""
    return sum(type(one) in (Cache, State) for one in gc.get_objects())


@pytest.mark.parametrize("how", ["close", "with", "del", "stop", "end"])
def test_stopping_frees_the_model(drawn, how):
    gc.collect()
    gc.disable()  # reference counts alone must do it: a stopped player does not wait for the collector
    try:
        shares = []
        stream = drawn.stream(
            song(5.0),
            44100,
            "drums",
            grid="off",
            variations=2,
            on_progress=lambda share: shares.append(share) or (how != "stop" or share < 0.5),
        )
        next(stream)
        assert kept() >= 3  # a state and the caches of two branches
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                next(stream)
        elif how == "del":
            del stream
        elif how == "end":
            list(stream)
        else:
            with pytest.raises(Stopped):
                list(stream)
            gc.collect()  # the traceback that pytest holds
        assert kept() == 0
    finally:
        gc.enable()


def test_a_new_window_does_not_keep_the_caches_of_the_last(drawn):
    most = calls = 0

    def on_progress(share: float) -> None:
        nonlocal most, calls
        calls += 1
        if calls % 8 == 0:  # looking at every object of a large process takes long
            most = max(most, kept())

    list(drawn.stream(song(5.0), 44100, "drums", grid="off", on_progress=on_progress))
    assert most == 3  # one state, its two caches
