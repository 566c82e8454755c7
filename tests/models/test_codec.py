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


def test_the_inverse_transform_gives_back_a_signal(codec):
    """A spectrum analysed at the codec's frames comes back as the signal it was taken from."""
    time = torch.arange(20 * codec.hop) / codec.sample_rate
    audio = torch.sin(2 * torch.pi * 440 * time)[None]
    size, hop = SMALL.output_window, SMALL.output_hop
    padded = torch.nn.functional.pad(audio, ((size - hop) // 2, size))
    window = torch.ones(size)  # the inverse windows once, so the analysis must not
    spectrum = torch.stft(padded, size, hop, size, window, center=False, return_complex=True)[..., : 20 * codec.per_frame].transpose(1, 2)
    back = codec.waveform(spectrum.abs(), spectrum.angle())
    assert (back - audio)[:, size:-size].abs().max() < 1e-3


def test_encodec_behind_the_same_interface():
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(
        sampling_rate=32000, audio_channels=1, num_filters=4, hidden_size=16, codebook_dim=16, codebook_size=64,
        upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[1.2], normalize=False, use_causal_conv=False, num_lstm_layers=1,
    ))
    codec = EncodecCodec(model)
    assert (codec.hop, codec.sample_rate, codec.codebooks) == (640, 32000, 4)
    codes = codec.encode(0.1 * torch.randn(2, 10 * 640 + 5))
    assert codes.shape == (2, 4, 11) and codec.decode(codes).shape == (2, 11 * 640)
