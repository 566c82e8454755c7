"""EnCodec (arXiv 2210.13438) through ``transformers``, behind the ``Codec`` interface."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stage.audio.streams import Sliding
from stage.errors import StageError
from stage.models.text import errors_only

ENCODED = 100
"""Frames whose samples are encoded at a time."""


class EncodecCodec:
    """Wraps a ``transformers.EncodecModel``; MusicGen's is 32 kHz mono, 50 frames/s, 4 x 2048 codes."""

    margin = 100  # for encoding: the LSTM's memory is longer, but after two seconds what it adds is inaudible
    recurrent = True

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
        before, _, after = _parts(model.decoder.layers)
        self.look_ahead = _reach(before)[1] + _reach(after)[1]  # 4 frames, 80 ms, for MusicGen's

    @classmethod
    def from_pretrained(cls, path: str) -> EncodecCodec:
        """Load from a local folder or the hub."""
        from transformers import EncodecModel

        with errors_only():
            return cls(EncodecModel.from_pretrained(path, use_safetensors=True))

    def save_pretrained(self, path: str) -> None:
        """Write the model to a folder."""
        with errors_only():
            self.model.save_pretrained(path)

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        """audio [B, N] float32 -> codes [B, K, ceil(N / hop)] int64."""
        frames = -(-audio.shape[-1] // self.hop)
        audio = torch.nn.functional.pad(audio, (0, frames * self.hop - audio.shape[-1]))
        config = self.model.config
        if not frames or config.normalize or config.chunk_length_s is not None or config.norm_type != "weight_norm":
            return self.model.encode(audio[:, None], bandwidth=self.bandwidth).audio_codes[0][..., :frames]
        with parametrize.cached():  # the norms of the weights are taken once, and not for every part
            latent = self._latent(audio)
        return self.model.quantizer.encode(latent, self.bandwidth).transpose(0, 1)

    def _latent(self, audio: Tensor) -> Tensor:
        """What the encoder makes of audio [B, T * hop]: [B, D, T]. Its convolutions go over ``ENCODED`` frames at a
        time, which is
        the same, in a tenth of the memory, and quicker, since what they hand on fits the processor's caches."""
        before, lstm, after = _parts(self.model.encoder.layers)
        sliding = Sliding(lambda x, start: before(x.transpose(1, 2).flatten(1)[:, None]), *_reach(before))
        blocks = audio.unflatten(-1, (-1, self.hop)).transpose(1, 2).split(ENCODED, -1)
        hidden = [sliding.push(block, last=i == len(blocks) - 1) for i, block in enumerate(blocks)]
        frames = torch.cat([part for part in hidden if part is not None], -1).permute(2, 0, 1)
        return after((lstm(frames)[0] + frames).permute(1, 2, 0))

    @torch.inference_mode()
    def decode(self, codes: Tensor, start: int = 0) -> Tensor:
        """codes [B, K, T] int64 -> audio [B, T * hop] float32, wherever they start."""
        return self.model.decode(codes[None], [None]).audio_values[:, 0, : codes.shape[-1] * self.hop]

    def stream(self) -> EncodecStream:
        """See ``stage.models.codec.Codec``."""
        return EncodecStream(self)


class EncodecStream:
    """``DecodeStream`` of an EnCodec: convolutions slide over their neighbours, the LSTM between them carries its
    state."""

    def __init__(self, codec: EncodecCodec):
        if codec.model.config.norm_type != "weight_norm":
            raise StageError("this EnCodec normalises over the whole sound, so it cannot be decoded while it is made")
        self.quantizer = codec.model.quantizer
        before, self.lstm, after = _parts(codec.model.decoder.layers)
        self.before = Sliding(lambda x, start: before(x), *_reach(before))
        self.after = Sliding(lambda x, start: after(x), *_reach(after), scale=codec.hop)
        self.state: tuple[Tensor, Tensor] | None = None

    def push(self, codes: Tensor) -> Tensor:
        """See ``stage.models.codec.DecodeStream``."""
        return self._push(codes, last=False)

    def finish(self) -> Tensor:
        """See ``stage.models.codec.DecodeStream``."""
        return self._push(None, last=True)

    @torch.inference_mode()
    def _push(self, codes: Tensor | None, last: bool) -> Tensor:
        latent = None if codes is None or not codes.shape[-1] else self.quantizer.decode(codes.transpose(0, 1))
        hidden = self.before.push(latent, last)
        if hidden is not None:
            # the LSTM runs over [T, B, C]; its output is added to its input
            frames = hidden.permute(2, 0, 1)
            output, self.state = self.lstm(frames, self.state)
            hidden = (output + frames).permute(1, 2, 0)
        audio = self.after.push(hidden, last)
        if audio is not None:
            return audio[:, 0]
        like = self.before.window if codes is None else codes
        return torch.zeros(0 if like is None else len(like), 0, device=None if like is None else like.device)


def _parts(layers: nn.ModuleList) -> tuple[nn.Sequential, nn.LSTM, nn.Sequential]:
    """An encoder's or a decoder's layers before its LSTM, the LSTM, and those after it."""
    from transformers.models.encodec.modeling_encodec import EncodecLSTM

    at = next(i for i, layer in enumerate(layers) if isinstance(layer, EncodecLSTM))
    return nn.Sequential(*layers[:at]), layers[at].lstm, nn.Sequential(*layers[at + 1 :])


def _reach(layers: nn.Sequential) -> tuple[int, int]:
    """Frames before and after a frame on which these layers' output for it depends: of a decoder `scale` samples, of an
    encoder one column."""
    from transformers.models.encodec.modeling_encodec import EncodecConv1d, EncodecConvTranspose1d

    parts = [part for part in layers.modules() if isinstance(part, (EncodecConv1d, EncodecConvTranspose1d))]
    scale = math.prod(part.conv.stride[0] for part in parts if isinstance(part, EncodecConvTranspose1d))
    hop = math.prod(part.conv.stride[0] for part in parts if isinstance(part, EncodecConv1d))
    # from what comes out for frame 0 back through the layers to what it is made of
    first, last = 0, scale - 1
    for part in reversed(parts):
        size, stride = part.conv.kernel_size[0], part.conv.stride[0]
        if isinstance(part, EncodecConvTranspose1d):
            spare = size - stride
            left = spare - (math.ceil(spare * part.trim_right_ratio) if part.causal else spare // 2)
            first, last = -((size - 1 - left - first) // stride), (last + left) // stride
        else:
            reach = (size - 1) * part.conv.dilation[0]
            spare = reach + 1 - stride
            left = spare if part.causal else spare - spare // 2
            # not less to the right: the beginning is padded with its own mirror image
            first, last = first * stride - left, last * stride + max(reach - left, left)
    return -(first // hop), last // hop
