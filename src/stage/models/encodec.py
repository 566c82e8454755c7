"""EnCodec (arXiv 2210.13438) through ``transformers``, behind the ``Codec`` interface."""

from __future__ import annotations

import torch
from torch import Tensor


class EncodecCodec:
    """Wraps a ``transformers.EncodecModel``; MusicGen's is 32 kHz mono, 50 frames/s, 4 x 2048 codes."""

    margin = 100  # the two-layer LSTM remembers longer; two seconds are inaudible

    def __init__(self, model):
        self.model = model.eval()
        config = model.config
        self.sample_rate = config.sampling_rate
        self.hop = 1
        for ratio in config.upsampling_ratios:
            self.hop *= ratio
        self.codebook_size = config.codebook_size
        self.bandwidth = config.target_bandwidths[-1]
        self.codebooks = model.quantizer.get_num_quantizers_for_bandwidth(self.bandwidth)

    @classmethod
    def from_pretrained(cls, path: str) -> EncodecCodec:
        """Load from a local folder or the hub."""
        from transformers import EncodecModel

        return cls(EncodecModel.from_pretrained(path, use_safetensors=True))

    def save_pretrained(self, path: str) -> None:
        """Write the model to a folder."""
        self.model.save_pretrained(path)

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        """audio [B, N] float32 -> codes [B, K, ceil(N / hop)] int64."""
        frames = -(-audio.shape[-1] // self.hop)
        audio = torch.nn.functional.pad(audio, (0, frames * self.hop - audio.shape[-1]))
        return self.model.encode(audio[:, None], bandwidth=self.bandwidth).audio_codes[0][..., :frames]

    @torch.inference_mode()
    def decode(self, codes: Tensor, start: int = 0) -> Tensor:
        """codes [B, K, T] int64 -> audio [B, T * hop] float32, wherever they start."""
        return self.model.decode(codes[None], [None]).audio_values[:, 0, : codes.shape[-1] * self.hop]
