"""Training of the decoder from scratch: next-frame loss on the target, and further losses that make it follow.

Beside the paper's loss (arXiv 2504.05690; cross-entropy on the target's frames) the recipe can weigh a next-frame loss
on the mix, and labels that our corpus records exactly: from the hidden states of the mix and of the target, small heads
read the place in the beat and the bar and the sounding chord; from the state before the target, how densely the prompt
asks it to play. The heads are dropped after training.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.checkpoints.format import save
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling, generate
from stage.models.codec import Codec, decode_long, frame_rate
from stage.models.decoder import Decoder, blank_text
from stage.models.text import HashedText
from stage.prefix import loss
from stage.training import state
from stage.training.embedded import loop
from stage.training.embedded.loop import Training, autocast, make_optimizers, started
from stage.training.embedded.pretrain_context import Pretraining
from stage.training.embedded.recipe import DecoderRecipe
from stage.training.embedded.token_examples import Batch, Examples
from stage.training.embedded.token_views import load_views


def shape(recipe: DecoderRecipe, codec: Codec) -> DecoderConfig:
    """The decoder that a recipe describes, for the codes of this codec."""
    return DecoderConfig(
        codebooks=codec.codebooks,
        codebook_size=codec.codebook_size,
        stems=recipe.stems,
        text_dim=recipe.hashed_text.dim,
        **asdict(recipe.model),
    )


class Heads(nn.Module):
    """Reads beat phase (4) and chord (13 roots, 12 pitch classes) from hidden states [B, S, D]."""

    def __init__(self, dim: int):
        super().__init__()
        self.read = nn.Linear(dim, 4 + 13 + 12)

    def forward(self, hidden: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses 'phase' and 'chord'."""
        phase, root, classes = self.read(hidden).split([4, 13, 12], dim=-1)
        known = batch.chord[..., 0] >= 0
        terms = {"phase": F.mse_loss(phase, batch.phase), "chord": hidden.new_zeros(())}
        if known.any():
            terms["chord"] = F.cross_entropy(
                root[known], batch.chord[known][:, 0].long()
            ) + F.binary_cross_entropy_with_logits(classes[known], batch.chord[known][:, 1:])
        return terms


def start_embeddings(decoder: Decoder, codebooks: Tensor, scale: float, generator: torch.Generator) -> None:
    """Start token embeddings as the codec's own code vectors [K, V, d], so that alike sounds start alike.

    A random projection to the decoder's width; the first codebook gets an RMS of ``scale``, the
    others keep their ratio to it, but at least a quarter.
    """
    projection = torch.randn(codebooks.shape[-1], decoder.config.dim, generator=generator)
    rms = codebooks.square().mean((1, 2)).sqrt()
    with torch.no_grad():
        for k, table in enumerate(codebooks):
            vectors = (table - table.mean(0)) @ projection
            ratio = float((rms[k] / rms[0]).clamp(min=0.25))
            decoder.embed[k, : table.shape[0]] = vectors / vectors.square().mean().sqrt() * scale * ratio


OLD_NAMES = {"listener.": "heads.", "context_listener.": "context_heads."}
"""Parameters of the heads as earlier versions saved them."""


class Trainable(nn.Module):
    """Everything that is trained: decoder, text encoder, and the heads that are dropped afterwards."""

    def __init__(self, recipe: DecoderRecipe, config: DecoderConfig):
        super().__init__()
        self.weights = recipe.losses
        self.register_buffer("levels", torch.tensor(recipe.codebook_weights), persistent=False)
        self.decoder = Decoder(config)
        self.text = HashedText(recipe.hashed_text)
        self.heads = Heads(config.dim)
        self.density = nn.Linear(config.dim, 1)
        if config.context_layers:
            self.context_heads = Heads(config.dim)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """As of any module; parameters may have their names of earlier versions."""
        renamed = {}
        for name, value in state_dict.items():
            old = next((old for old in OLD_NAMES if name.startswith(old)), "")
            renamed[OLD_NAMES.get(old, "") + name[len(old) :]] = value
        return super().load_state_dict(renamed, *args, **options)

    def hidden(self, batch: Batch, entered: Tensor | None = None) -> Tensor:
        """Hidden states of a batch's rows; entered: what ``Decoder.enter`` returned for them."""
        text = mask = None
        if any(batch.prompts):
            embedded, mask = self.text.encode(batch.prompts)
            text, mask = blank_text(self.decoder.text_projection(embedded), mask)
        entered = self.decoder.enter(batch.sequence)[0] if entered is None else entered
        return self.decoder.run(entered, batch.sequence, text, mask)

    def target_losses(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each codebook on the target: [K]."""
        logits, mask = self.decoder.target_logits(hidden, batch.sequence)
        return loss(logits, batch.target, mask)

    def context_loss(self, hidden: Tensor, batch: Batch, levels: int = 2) -> Tensor:
        """Next-frame loss on the mix, first codebooks only."""
        sequence, head = batch.sequence, self.decoder.head
        mix = sequence.segments[0, : sequence.first] == self.decoder.config.segment(
            len(self.decoder.config.contexts) - 1
        )
        inside = mix[:-1] & mix[1:]
        if not inside.any():
            return hidden.new_zeros(())
        rows = hidden[:, : sequence.first - 1][:, inside]
        total = hidden.new_zeros(())
        for k in range(levels):
            want = sequence.columns[:, k, 1 : sequence.first][:, inside]
            valid = want < self.decoder.config.codebook_size
            total = total + F.cross_entropy(F.linear(rows[valid], head[k]), want[valid]) / levels
        return total

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its parts."""
        config = self.decoder.config
        entered, _ = self.decoder.enter(batch.sequence)
        hidden = self.hidden(batch, entered)
        each = self.target_losses(hidden, batch)
        parts = {"target": each.mean(), "first": each[0], "context": self.context_loss(hidden, batch)}
        # the target and the context before it; a grid of its own shows its beats anyway
        columns = (batch.sequence.segments <= len(config.stems)).all(0)
        parts |= self.heads(hidden[:, columns], batch.labels(columns))
        mix = (batch.sequence.segments == config.segment(len(config.contexts) - 1)).all(0)
        if config.context_layers and mix.any():
            more = self.context_heads(entered[:, mix], batch.labels(mix))
            parts |= {name: parts[name] + value for name, value in more.items()}
        # before the target's first frame only the prompt gives its density
        given, before = batch.density >= 0, self.density(hidden[:, batch.sequence.first])[:, 0]
        parts["density"] = F.mse_loss(before[given], batch.density[given]) if given.any() else before.new_zeros(())
        weighted = (each * self.levels).sum() / self.levels.sum()
        further = ("context", "phase", "chord", "density")
        total = weighted + sum(getattr(self.weights, name) * parts[name] for name in further)
        return total, parts


NEWER = ("decoder.context.", "context_heads.", "density.")
"""Parts that the state of an older run may lack."""


def start_from(trainable: Trainable, base: Path, optional: tuple[str, ...] = NEWER) -> bool:
    """Load the weights of an earlier run's state; optional parts that are missing start afresh. Returns whether the
    context encoder is there. Raises StageError where the weights do not fit."""
    saved = state.load(base, "choose the state.pt of another run")
    if saved is None:
        raise StageError(f"no state at {base}: the state.pt of an earlier run is expected")
    try:
        missing, unknown = trainable.load_state_dict(saved["trainee"], strict=False)
    except (KeyError, RuntimeError, AttributeError) as error:
        raise StageError(f"{base} does not fit the recipe: {str(error).splitlines()[0]}") from None
    if wrong := [name for name in missing if not name.startswith(optional)] + unknown:
        raise StageError(f"{base} does not fit the recipe: {', '.join(wrong[:3])}")
    return "decoder.context.enter.weight" not in missing


@torch.inference_mode()
def validate(trainable: Trainable, held: Examples, rows: int = 12, seconds: float = 10.0) -> dict[str, float]:
    """Loss of the first codebook on held-out songs with the right, a wrong and no context, and under another stem's
    name.

    The gaps (wrong minus right) show whether the model follows its context, and distinguishes its stems.
    """
    frames, result = int(seconds * held.rate), {}

    def measure(layout: str, **changes) -> float:
        batch = held.batch(0, layout, rows=rows, frames=frames, **changes)
        batch = replace(batch, prompts=[""] * rows).to(trainable.decoder.device)
        return float(trainable.target_losses(trainable.hidden(batch), batch)[0])

    for stem in held.config.stems:
        nothing = measure("none", stem=stem)
        for layout in held.layouts:
            right = measure(layout, stem=stem)
            result[f"valid/{stem}/{layout}"] = right
            result[f"gap/{stem}/{layout}"] = measure(layout, stem=stem, wrong=True) - right
            result[f"gain/{stem}/{layout}"] = nothing - right
        for other in held.config.stems:
            if other != stem:
                result[f"gap/{stem}/called {other}"] = measure(held.layouts[-1], stem=stem, called=other) - right
    return result


def train(
    recipe: DecoderRecipe,
    views: Path,
    codec: Codec,
    out: Path,
    minutes: float | None = None,
    base: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train a decoder on token views; goes on with what it finds in ``out``.

    codec: the one that encoded the views. base: an earlier run's state to start from. Returns the folder of the
    finished parts. Raises StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        training = DecoderTraining(recipe, views, codec, out, minutes, base, place)
        training.pretrain()
        training.run()
    return out


class DecoderTraining(Training):
    """Steps of the decoder's training."""

    def __init__(
        self,
        recipe: DecoderRecipe,
        views: Path,
        codec: Codec,
        out: Path,
        minutes: float | None,
        base: Path | None,
        device: torch.device,
    ):
        torch.manual_seed(recipe.seed)
        self.recipe, self.codec, self.config = recipe, codec, shape(recipe, codec)
        self.trainable = trainable = Trainable(recipe, self.config)
        generator = torch.Generator().manual_seed(recipe.seed)
        start_embeddings(trainable.decoder, codec.quantizer.embed, recipe.embedding_scale, generator)
        self.has_context = base is not None and start_from(trainable, base)
        trainable.to(device)
        self.autocast = autocast(recipe.precision, device)
        matrices = [p for layer in trainable.decoder.layers for p in layer.parameters() if p.ndim == 2]
        rest = [p for p in trainable.parameters() if not any(p is m for m in matrices)]
        self.examples, self.held = (
            Examples(load_views(views / split, codec), self.config, recipe.batch, recipe.text, frame_rate(codec), seed)
            for split, seed in (("train", recipe.seed), ("heldout", 7))
        )
        self.columns, self.since = 0, time.time()
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"trainee": trainable},
            make_optimizers(matrices, rest, recipe.optimizer),
            recipe.optimizer.clip,
            recipe.log_every,
            recipe.validate_every,
            recipe.listen_every,
        )

    def pretrain(self) -> None:
        """The context encoder's own training, where the run has one and has not begun."""
        if self.config.context_layers and not self.has_context and not (self.out / self.state).exists():
            Pretraining(self.trainable, self.examples, self.held, self.recipe, self.out, self.autocast).run()

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Weighted loss of a batch, and its parts."""
        batch = self.examples.batch(self.step).to(self.trainable.decoder.device)
        self.columns += batch.sequence.attend.numel()
        with self.autocast:
            return self.trainable(batch)

    def speed(self) -> dict[str, float]:
        """Columns a second since the last line of the log."""
        columns, since = self.columns, self.since
        self.columns, self.since = 0, time.time()
        return {"columns_per_second": columns / (self.since - since)}

    def before_step(self) -> None:
        """No gradient for the padding token."""
        self.trainable.decoder.embed.grad[:, self.config.pad] = 0

    @torch.no_grad()
    def after_step(self) -> None:
        """The padding token's row stays zero."""
        self.trainable.decoder.embed[:, self.config.pad] = 0

    def validate(self) -> dict[str, float]:
        """Losses and gaps on held-out songs."""
        return validate(self.trainable, self.held)

    @torch.inference_mode()
    def listen(self) -> None:
        """A stem for the first ten seconds of the first held-out song that has it, to TensorBoard."""
        frames = int(10 * self.held.rate)
        for stem, name in enumerate(self.config.stems):
            view = self.held.by_stem[name][0]
            contexts = [view["click"][:, :frames].long(), view[f"mix.{name}"][:, :frames].long()]
            contexts = contexts[-len(self.config.contexts) :]
            sampling = Sampling(guidance=3.0, top_k=50)
            codes = generate(self.trainable.decoder, stem=stem, contexts=contexts, frames=frames, sampling=sampling)
            audio = decode_long(self.codec, codes)[0]
            self.log.audio(self.step, f"generated/{name}", audio.cpu().numpy(), self.codec.sample_rate)

    def write_weights(self) -> None:
        """decoder.safetensors and text.safetensors."""
        for name, part in (("decoder", self.trainable.decoder), ("text", self.trainable.text)):
            state.save_weights(self.out / f"{name}.safetensors", part.state_dict())


def finish(recipe: DecoderRecipe, run: Path, codec: Codec, out: Path, dtype: torch.dtype = torch.float16) -> None:
    """Make a model folder (our format) of a finished run. Raises StageError where the run has no state that fits."""
    trainable = Trainable(recipe, shape(recipe, codec))
    start_from(trainable, run / "state.pt", ())
    save(out, recipe.stage, trainable.decoder, codec, trainable.text, dtype)
