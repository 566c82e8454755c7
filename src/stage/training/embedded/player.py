"""Training of the player: a decoder of played events, from nothing, on views of notes (`event_views`).

Beside the target's loss, a small head reads the sounding chord from the context encoder's output: the model's own
reading of the mix, which is saved beside the decoder. Another one reads it from the target's hidden states, so that
they learn early what the mix says of the harmony; it is dropped after training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.checkpoints.format import save
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models import features
from stage.models.chord_head import ChordHead
from stage.models.codec import frame_rate
from stage.models.decoder import Decoder, blank_text
from stage.models.events import MANNERS, codecs
from stage.models.spectral import SpectralCodec
from stage.models.text import HashedText
from stage.training import state
from stage.training.embedded import loop
from stage.training.embedded.decoder import start_embeddings
from stage.training.embedded.event_examples import BARE, Batch, Examples, Given, batches
from stage.training.embedded.loop import Training, autocast, make_optimizers, started
from stage.training.embedded.player_recipe import PlayerRecipe
from stage.training.embedded.token_views import load_views

COMMAND = "stage train player-views"


def shape(recipe: PlayerRecipe, codec: SpectralCodec) -> DecoderConfig:
    """The decoder that a recipe describes, for contexts of this codec."""
    lanes = max(codec.lanes for codec in codecs().values())
    return DecoderConfig(
        codebooks=1 + 2 * lanes,
        codebook_size=codec.codebook_size,
        context_codebooks=codec.codebooks,
        target_size=MANNERS,
        # what happens in a lane stands one column behind the lane before, how it happens one behind that
        delays=(0, *(lane + part for lane in range(lanes) for part in (0, 1))),
        features=features.SIZE,
        stems=recipe.stems,
        text_dim=recipe.hashed_text.dim,
        **asdict(recipe.model),
    )


class Trainable(nn.Module):
    """Everything that is trained: decoder, text encoder, and the heads that read chords."""

    def __init__(self, recipe: PlayerRecipe, config: DecoderConfig):
        super().__init__()
        self.weights = recipe.losses
        self.decoder = Decoder(config)
        self.text = HashedText(recipe.hashed_text)
        self.context_chord = ChordHead(config.dim)
        self.target_chord = ChordHead(config.dim)
        if recipe.dropout:
            for layer in self.decoder.layers:
                for part in (layer.self_out, layer.cross_out, layer.down):
                    part.register_forward_hook(lambda module, _, out: F.dropout(out, recipe.dropout, module.training))

    def hidden(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Hidden states of a batch's rows, and the columns that entered the first layer: [B, S, D] each."""
        text = mask = None
        if any(batch.prompts):
            embedded, mask = self.text.encode(batch.prompts)
            text, mask = blank_text(self.decoder.text_projection(embedded), mask)
        entered, _ = self.decoder.enter(batch.sequence, batch.features)
        return self.decoder.run(entered, batch.sequence, text, mask), entered

    def nats(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each codebook [K], summed over rows and frames. The last frames of later codebooks, which
        stand outside the kept columns, count as the mean of the others."""
        logits, mask = self.decoder.target_logits(hidden, batch.sequence)
        each = F.cross_entropy(
            logits.transpose(0, 1).float().flatten(0, 2), batch.target.transpose(0, 1).flatten(), reduction="none"
        ).view(logits.shape[1], logits.shape[0], logits.shape[2])
        return (each * mask[:, None]).sum((1, 2)) * (mask.shape[1] / mask.sum(1).clamp(min=1))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss: nats a frame and the weighted chord. Its parts: "nats" and "instrument" are nats a second of music."""
        hidden, entered = self.hidden(batch)
        nats = self.nats(hidden, batch)
        frames = batch.target.shape[0] * batch.target.shape[2]
        parts = {"nats": nats.sum() / batch.seconds, "instrument": nats[0] / batch.seconds}
        parts["chord"] = hidden.new_zeros(())
        mix = (batch.sequence.segments == self.decoder.config.segment(0)).all(0)
        if mix.any():
            place = (batch.sequence.positions[0, mix] - 1).clamp(0, batch.chord.shape[1] - 1)
            parts["chord"] = self.context_chord(entered[:, mix], batch.chord[:, place])
        first = batch.sequence.first
        parts["target_chord"] = self.target_chord(hidden[:, first : first + batch.chord.shape[1]], batch.chord)
        chords = parts["chord"] + parts["target_chord"]
        return nats.sum() / frames + self.weights.chord * chords, parts


@torch.inference_mode()
def validate(trainable: Trainable, held: Examples, rows: int = 24, beats: int = 16) -> dict[str, float]:
    """Nats a second of music on held-out songs: with the right mix, and how many more with a wrong one, with none, and
    with the mix but without its beats."""
    result = {}

    def measure(stem: str, given: Given) -> float:
        batch = held.batch(0, given, rows=rows, stem=stem, beats=beats).to(trainable.decoder.device)
        return float(trainable.nats(trainable.hidden(batch)[0], batch).sum() / batch.seconds)

    for stem in held.config.stems:
        if held.by_stem[stem]:
            right = measure(stem, BARE)
            result[f"valid/{stem}"] = right
            result[f"gap/{stem}/wrong"] = measure(stem, replace(BARE, wrong=True)) - right
            result[f"gap/{stem}/none"] = measure(stem, replace(BARE, mix=False)) - right
            result[f"gap/{stem}/no grid"] = measure(stem, replace(BARE, grid=False)) - right
    return result


def train(
    recipe: PlayerRecipe,
    views: Path,
    codec: SpectralCodec,
    out: Path,
    minutes: float | None = None,
    device: str = "cpu",
    base: Path | None = None,
    on_step: Callable[[int, dict], None] | None = None,
) -> Path:
    """Train the player on views; goes on with what it finds in ``out``. codec: the one that encoded their mixes. base:
    an earlier run's state to start from.

    Returns the folder, which then holds decoder.safetensors, text.safetensors and chords.safetensors. Raises
    StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        PlayerTraining(recipe, views, codec, out, minutes, place, base, on_step).run()
    return out


def start_from(trainable: Trainable, base: Path) -> None:
    """Load the weights of an earlier run's state. Raises StageError where there are none, or they do not fit."""
    saved = state.load(base, "choose the state.pt of another run")
    if saved is None:
        raise StageError(f"no state at {base}: the state.pt of an earlier run is expected")
    try:
        missing, unknown = trainable.load_state_dict(saved["trainable"], strict=False)
    except (KeyError, RuntimeError, AttributeError) as error:
        raise StageError(f"{base} does not fit the recipe: {str(error).splitlines()[0]}") from None
    if wrong := [name for name in missing if not name.startswith("target_chord.")] + unknown:
        raise StageError(f"{base} does not fit the recipe: {', '.join(wrong[:3])}")


def finish(
    recipe: PlayerRecipe, run: Path, codec: SpectralCodec, out: Path, shared_codec: str = "", dtype=torch.float16
) -> None:
    """Make a model folder (our format) of a run. shared_codec: see ``stage.checkpoints.format.save``. Raises StageError
    where the run has no state that fits."""
    trainable = Trainable(recipe, shape(recipe, codec))
    start_from(trainable, run / "state.pt")
    instruments = {stem: codecs()[stem].instruments for stem in recipe.stems}
    save(
        out,
        recipe.stage,
        trainable.decoder,
        codec,
        trainable.text,
        dtype,
        events=recipe.events(instruments),
        chords=trainable.context_chord,
        shared_codec=shared_codec,
    )


class PlayerTraining(Training):
    """Steps of the player's training."""

    def __init__(
        self,
        recipe: PlayerRecipe,
        views: Path,
        codec: SpectralCodec,
        out: Path,
        minutes: float | None,
        device: torch.device,
        base: Path | None = None,
        on_step: Callable[[int, dict], None] | None = None,
    ):
        torch.manual_seed(recipe.seed)
        self.config = shape(recipe, codec)
        self.trainable = trainable = Trainable(recipe, self.config)
        generator = torch.Generator().manual_seed(recipe.seed)
        start_embeddings(trainable.decoder, codec.quantizer.embed, recipe.embedding_scale, generator)
        if base is not None:
            start_from(trainable, base)
        trainable.to(device)
        self.autocast = autocast(recipe.precision, device)
        matrices = [p for layer in trainable.decoder.layers for p in layer.parameters() if p.ndim == 2]
        rest = [p for p in trainable.parameters() if not any(p is m for m in matrices)]
        self.examples, self.held = (
            Examples(load_views(views / split, codec, COMMAND), self.config, recipe, frame_rate(codec), seed)
            for split, seed in (("train", recipe.seed), ("heldout", 7))
        )
        self.examples.check()
        self.seconds, self.since = 0.0, time.time()
        self.batches: Iterator[Batch] | None = None
        self.workers = recipe.workers
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"trainable": trainable},
            make_optimizers(matrices, rest, recipe.optimizer),
            recipe.optimizer.clip,
            recipe.log_every,
            recipe.validate_every,
            on_step=on_step,
        )

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch, and its parts."""
        if self.batches is None:
            self.batches = iter(batches(self.examples, range(self.step, self.schedule.steps), self.workers))
        batch = next(self.batches).to(self.trainable.decoder.device)
        self.seconds += batch.seconds
        with self.autocast:
            return self.trainable(batch)

    def speed(self) -> dict[str, float]:
        """Seconds of music a second since the last line of the log."""
        seconds, since = self.seconds, self.since
        self.seconds, self.since = 0.0, time.time()
        return {"music_per_second": seconds / (self.since - since)}

    def after_step(self) -> None:
        """Padding adds nothing."""
        self.trainable.decoder.silence_padding()

    def validate(self) -> dict[str, float]:
        """Nats a second on held-out songs."""
        return validate(self.trainable, self.held)

    def write_weights(self) -> None:
        """decoder.safetensors, text.safetensors and chords.safetensors."""
        parts = self.trainable
        for name, part in (("decoder", parts.decoder), ("text", parts.text), ("chords", parts.context_chord)):
            state.save_weights(self.out / f"{name}.safetensors", part.state_dict())
