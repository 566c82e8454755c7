import subprocess
import sys

import pytest
import torch

from stage.models.codec import decode_long, encode_long, frame_rate
from stage.models.encodec import EncodecCodec
from stage.models.spectral import SpectralCodec, SpectralConfig

SMALL = SpectralConfig(width=32, encoder_blocks=1, decoder_blocks=2, latent=16, codebooks=3, codebook_size=32)


@pytest.fixture(scope="module")
def codec() -> SpectralCodec:
    torch.manual_seed(0)
    codec = SpectralCodec(SMALL).eval()
    codec.quantizer.embed.normal_()
    return codec


def test_shapes_and_ranges(codec):
    audio = 0.1 * torch.randn(2, 10 * codec.hop + 1)
    codes = codec.encode(audio)
    assert codes.shape == (2, 3, 11) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < 32
    assert codec.decode(codes).shape == (2, 11 * codec.hop)
    assert frame_rate(codec) == 25.0


def test_chunks_agree_with_one_shot(codec):
    audio = 0.1 * torch.randn(1, 260 * codec.hop)
    whole = codec.encode(audio)
    assert torch.equal(encode_long(codec, audio, chunk_seconds=2.0), whole)
    assert torch.allclose(decode_long(codec, whole, chunk_seconds=2.0), codec.decode(whole), atol=1e-5)


@pytest.mark.parametrize("frames", [4, 9, 57, 101, 325, 331])
def test_sound_does_not_depend_on_the_number_of_threads(codec, frames):
    codes = torch.randint(0, 32, (1, 3, frames), generator=torch.Generator().manual_seed(frames))
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = codec.decode(codes)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[2]) and torch.equal(found[1], found[3])


def test_a_tone_has_the_pitch_of_its_key_and_no_seams(codec):
    """One oscillator, held: a sine of constant loudness at the key's frequency, wherever it is cut."""
    count = 200
    tones, noise = torch.zeros(1, count, SMALL.keys), torch.zeros(1, count, SMALL.output_hop + 1)
    tones[:, :, 57 - SMALL.lowest_key] = 0.5  # A3, 220 Hz
    audio = codec.waveform(tones, noise)[0]
    inner = audio[640:-640]
    peak = torch.fft.rfft(inner * torch.hann_window(len(inner))).abs().argmax() * codec.sample_rate / len(inner)
    assert abs(float(peak) - 220) < 0.5
    loudness = inner[: 12 * 3200].view(12, 3200).square().mean(1).sqrt()  # of 22 periods each
    assert torch.allclose(loudness, torch.tensor(0.5 / 2**0.5), atol=1e-3)
    later = codec.waveform(tones[:, 120:], noise[:, 120:], start=120)[0]
    assert (later - audio[120 * SMALL.output_hop :])[640:-640].abs().max() < 1e-4


def test_noise_is_equally_loud_everywhere(codec):
    count = 400
    tones, noise = torch.zeros(1, count, SMALL.keys), torch.ones(1, count, SMALL.output_hop + 1)
    audio = codec.waveform(tones, noise)[0, 640:-640]
    by_place = audio[: len(audio) // 320 * 320].view(-1, 320).square().mean(0)  # over the place in a hop
    assert by_place.view(8, 40).mean(1).std() < 0.1 * by_place.mean()


def test_encodec_behind_the_same_interface():
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(
        EncodecConfig(
            sampling_rate=32000,
            audio_channels=1,
            num_filters=4,
            hidden_size=16,
            codebook_dim=16,
            codebook_size=64,
            upsampling_ratios=[8, 5, 4, 4],
            target_bandwidths=[1.2],
            normalize=False,
            use_causal_conv=False,
            num_lstm_layers=1,
        )
    )
    codec = EncodecCodec(model)
    assert (codec.hop, codec.sample_rate, codec.codebooks) == (640, 32000, 4)
    codes = codec.encode(0.1 * torch.randn(2, 10 * 640 + 5))
    assert codes.shape == (2, 4, 11) and codec.decode(codes).shape == (2, 11 * 640)


def test_a_codec_is_described_after_transformers_has_loaded_a_model():
    """What `transformers` does to torch.linspace while it loads, in a process that did not use "meta" before."""
    code = (
        "import torch; from stage.models.described import described\n"
        "from stage.models.spectral import SpectralCodec, SpectralConfig\n"
        "linspace = torch.linspace\n"
        "torch.linspace = lambda *a, **k: linspace(*a, **{'device': 'cpu', **k})\n"
        "with torch.device('meta'): torch.zeros(2)\n"
        "torch.linspace = linspace\n"
        "with described(): made = SpectralCodec(SpectralConfig())\n"
        "assert {p.device.type for p in made.parameters()} == {'meta'}\n"
        "real = SpectralCodec(SpectralConfig())\n"
        "assert {b.device.type for b in real.buffers()} == {'cpu'} and float(real.bands.max()) > 0.9\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
