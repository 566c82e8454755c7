"""Training of the spectral codec: reconstruction losses on spectra, no adversary.

Losses: log-mel at two resolutions, semitone bands of a long window (so that the pitch of low
notes survives), linear magnitude, and the quantiser's commitment.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.audio import filters
from stage.checkpoints.tensors import fill
from stage.models.spectral import SpectralCodec, SpectralConfig, mel_bands, nearest
from stage.training.embedded import loop
from stage.training.embedded.audio_pool import AudioPool
from stage.training.embedded.loop import Training, autocast, make_optimizers, started
from stage.training.embedded.recipe import CodecRecipe
from stage.training.state import save_weights


def load(config: SpectralConfig, path: Path) -> SpectralCodec:
    """A trained codec in the precision in which it is shipped (float16 weights, float32 arithmetic)."""
    return fill(SpectralCodec(config), path).half().float().eval()


class QuantizerTrainer:
    """Moves the codebooks of a ``Quantizer``: k-means start, moving averages, dead codes restarted."""

    def __init__(self, quantizer: nn.Module, decay: float = 0.97, restart_below: float = 0.2):
        self.quantizer, self.decay, self.restart_below = quantizer, decay, restart_below
        levels, size, width = quantizer.embed.shape
        self.count = torch.ones(levels, size, device=quantizer.embed.device)
        self.total = quantizer.embed.clone()
        self.started = bool(quantizer.embed.abs().sum() > 0)

    @torch.no_grad()
    def start(self, latent: Tensor, rounds: int = 8) -> None:
        """k-means on latent [M, D], level by level."""
        rest = latent.float()
        for level, table in enumerate(self.quantizer.embed):
            pick = torch.randperm(rest.shape[0])[torch.arange(table.shape[0]) % rest.shape[0]].to(rest.device)
            table.copy_(rest[pick] + 1e-4 * torch.randn_like(table))
            for _ in range(rounds):
                code = nearest(rest, table)
                count = torch.bincount(code, minlength=table.shape[0]).float()
                mean = torch.zeros_like(table).index_add_(0, code, rest) / count.clamp(min=1)[:, None]
                table.copy_(torch.where(count[:, None] > 0, mean, table))
            self.total[level] = table
            rest = rest - table[nearest(rest, table)]
        self.count.fill_(1.0)
        self.started = True

    @torch.no_grad()
    def update(self, latent: Tensor) -> Tensor:
        """Quantise latent [M, D], move the codebooks. Returns the quantised latent [M, D]."""
        rest, result = latent.float(), torch.zeros_like(latent, dtype=torch.float32)
        for level, table in enumerate(self.quantizer.embed):
            code = nearest(rest, table)
            found = table[code]
            count = torch.bincount(code, minlength=table.shape[0]).float()
            total = torch.zeros_like(table).index_add_(0, code, rest)
            self.count[level].lerp_(count, 1 - self.decay)
            self.total[level].lerp_(total, 1 - self.decay)
            dead = self.count[level] < self.restart_below * min(1.0, rest.shape[0] / table.shape[0])
            if dead.any():
                fresh = rest[torch.randint(rest.shape[0], (int(dead.sum()),))]
                self.total[level][dead], self.count[level][dead] = fresh, 1.0
            table.copy_(self.total[level] / self.count[level].clamp(min=1e-3)[:, None])
            result += found
            rest = rest - found
        return result


class SpectralLoss(nn.Module):
    """Distances between an output and what it should be; see the module's docstring."""

    def __init__(self, rate: int):
        super().__init__()
        for size, bands in ((512, 40), (2048, 80)):
            self.register_buffer(f"mel{size}", mel_bands(bands, size, rate))
        self.register_buffer("semitones", filters.semitone_triangles(32.7, 84, 8192, rate, torch))

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """output, target: [B, N] float32. Returns scalar terms.

        'mel': log bands at two resolutions; 'linear': magnitudes; 'notes' and 'tones': semitone bands of a
        long window, their logarithms and, for the strongest, themselves.
        """
        out, want = (magnitude(x, 512, 256) for x in (output, target))
        mel = log_distance(out, want, self.mel512)
        out, want = (magnitude(x, 2048, 512) for x in (output, target))
        mel = (mel + 2 * log_distance(out, want, self.mel2048)) / 3
        scale = want.square().mean((1, 2)).sqrt().clamp(min=1e-2)
        linear = ((out - want).abs().mean((1, 2)) / scale).mean()
        out, want = (magnitude(x, 8192, 2048).transpose(1, 2) @ self.semitones for x in (output, target))
        notes = F.l1_loss(torch.log10(out.clamp(min=0.1)), torch.log10(want.clamp(min=0.1)))
        loud = want.mean((1, 2)).clamp(min=0.1)
        tones = ((out - want).abs().mean((1, 2)) / loud).mean()
        return {"mel": mel, "linear": linear, "notes": notes, "tones": tones}


def log_distance(output: Tensor, target: Tensor, bands: Tensor, floor: float = 1e-4) -> Tensor:
    """L1 of log10 band magnitudes: output, target [B, bins, T], bands [bins, M]."""
    out, want = (torch.log10((x.transpose(1, 2) @ bands).clamp(min=floor)) for x in (output, target))
    return F.l1_loss(out, want)


def magnitude(audio: Tensor, size: int, hop: int) -> Tensor:
    """Magnitudes [B, size/2 + 1, T] of audio [B, N], Hann window, centred."""
    window = torch.hann_window(size, device=audio.device)
    return torch.stft(audio, size, hop, size, window, return_complex=True).abs().clamp(min=1e-7)


def train(recipe: CodecRecipe, corpus: Path, out: Path, minutes: float | None = None, device: str = "cpu") -> Path:
    """Train a codec on the songs under ``corpus``; goes on with what it finds in ``out``.

    Returns the path of the weights (safetensors). Raises StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        CodecTraining(recipe, corpus, out, minutes, place).run()
    return out / "codec.safetensors"


class CodecTraining(Training):
    """Steps of the codec's training: reconstruction of random crops, first without and then with the quantiser."""

    def __init__(
        self,
        recipe: CodecRecipe,
        corpus: Path,
        out: Path,
        minutes: float | None,
        device: torch.device,
    ):
        torch.manual_seed(recipe.seed)
        rate = recipe.model.sample_rate
        self.recipe, self.device = recipe, device
        self.codec, self.terms = SpectralCodec(recipe.model).to(device), SpectralLoss(rate).to(device)
        self.autocast = autocast(recipe.precision, device)
        self.quantizer = QuantizerTrainer(self.codec.quantizer)
        matrices = [p for block in (self.codec.encoder, self.codec.decoder) for p in block.parameters() if p.ndim == 2]
        rest = [p for p in self.codec.parameters() if not any(p is m for m in matrices)]
        self.pool = AudioPool(corpus, "train", recipe.data, recipe.seed, rate)
        held = AudioPool(corpus, "heldout", recipe.data, 1, rate)
        self.held = held.batch(48, recipe.data.seconds).to(device)
        self.recent: deque[Tensor] = deque(maxlen=recipe.start_batches)  # of which the codebooks start
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"codec": self.codec},
            make_optimizers(matrices, rest, recipe.optimizer),
            recipe.optimizer.clip,
            recipe.log_every,
            recipe.save_every,
            recipe.save_every,
        )

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Weighted distances between crops and their reconstructions, and each of them."""
        audio = self.pool.batch(self.recipe.batch, self.recipe.data.seconds).to(self.device)
        with self.autocast:
            latent = self.codec.latent(audio).float()
        quantized, commitment = self._quantized(latent.reshape(-1, latent.shape[-1]))
        with self.autocast:
            loudness = self.codec.loudness(quantized.view_as(latent))
        # another place in the noise and the phases each time, so that none is memorised
        output = self.codec.waveform(*loudness, start=997 * self.step)[:, : audio.shape[1]]
        terms = self.terms(output, audio) | {"commitment": commitment}
        return sum(getattr(self.recipe.losses, name) * value for name, value in terms.items()), terms

    def _quantized(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [M, D] after the quantiser, with a straight-through gradient, and the commitment (0-d); as they are
        where it has not started."""
        if not self.quantizer.started:
            self.recent.append(flat.detach())
            if self.step >= self.recipe.quantize_after:
                self.quantizer.start(torch.cat(list(self.recent)))
        if not self.quantizer.started:
            return flat, flat.new_zeros(())
        found = self.quantizer.update(flat.detach())
        return flat + (found - flat).detach(), F.mse_loss(flat, found)

    def validate(self) -> dict[str, float]:
        """Losses on held-out crops."""
        return validate(self.codec, self.terms, self.held)

    @torch.inference_mode()
    def listen(self) -> None:
        """A reconstruction."""
        audio = self.codec.decode(self.codec.encode(self.held[:1]))[0]
        self.log.audio(self.step, "reconstruction", audio.cpu().numpy(), self.recipe.model.sample_rate)

    def extra(self) -> dict[str, Any]:
        """The quantiser's moving averages."""
        return {"count": self.quantizer.count, "total": self.quantizer.total}

    def restore_extra(self, saved: dict[str, Any]) -> None:
        """The quantiser's moving averages, and the place in the pool."""
        self.quantizer.count, self.quantizer.total = saved["count"].to(self.device), saved["total"].to(self.device)
        self.quantizer.started = bool(self.codec.quantizer.embed.abs().sum() > 0)
        self.pool.skip(saved["step"])

    def write_weights(self) -> None:
        """codec.safetensors."""
        save_weights(self.out / "codec.safetensors", self.codec.state_dict())


@torch.inference_mode()
def validate(codec: SpectralCodec, loss: SpectralLoss, held: Tensor) -> dict[str, float]:
    """Losses through the codes on held-out audio [B, N], and how many bits the codebooks carry."""
    codes = codec.encode(held)
    terms = loss(codec.decode(codes)[:, : held.shape[1]], held)
    share = torch.stack([torch.bincount(c.flatten(), minlength=codec.codebook_size) for c in codes.transpose(0, 1)])
    share = share / share.sum(-1, keepdim=True)
    bits = -(share * share.clamp(min=1e-9).log2()).sum(-1)
    return {f"valid/{k}": float(v) for k, v in terms.items()} | {f"valid/bits{k}": float(b) for k, b in enumerate(bits)}
