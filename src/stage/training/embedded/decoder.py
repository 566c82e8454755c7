"""Training of the decoder from scratch: next-frame loss on the target, and help that teaches it to listen.

Beside the paper's loss (arXiv 2504.05690; cross-entropy on the target's frames) the recipe can weigh
a next-frame loss on the mix, and labels that our corpus knows exactly: from the hidden states of the
mix and of the target, small heads read the place in the beat and the bar and the sounding chord; from
the state before the target, how densely the prompt asks it to play. The heads are dropped after training.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from stage.config import DecoderConfig, StageConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling, generate
from stage.models.codec import Codec, decode_long, frame_rate
from stage.models.decoder import Decoder, blank_text
from stage.models.text import HashedConfig, HashedText
from stage.prefix import loss
from stage.training.embedded import pretrain_context as context
from stage.training.embedded.loop import Log, Schedule, load_state, precision, save_state
from stage.training.embedded.loop import optimizers as make_optimizers
from stage.training.embedded.token_examples import Batch, Examples
from stage.training.embedded.token_views import load_views


def shape(recipe: dict, codec: Codec) -> DecoderConfig:
    """The decoder that a recipe describes, for the codes of this codec."""
    return DecoderConfig(
        codebooks=codec.codebooks,
        codebook_size=codec.codebook_size,
        stems=tuple(recipe["stems"]),
        text_dim=recipe["hashed_text"]["dim"],
        **recipe["model"],
    )


class Listener(nn.Module):
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


class Trainee(nn.Module):
    """Everything that learns: decoder, text encoder, and the listeners that are dropped afterwards."""

    def __init__(self, recipe: dict, config: DecoderConfig):
        super().__init__()
        self.weights = recipe["losses"]
        self.register_buffer("levels", torch.tensor(recipe["codebook_weights"]), persistent=False)
        self.decoder = Decoder(config)
        self.text = HashedText(HashedConfig(**recipe["hashed_text"]))
        self.listener = Listener(config.dim)
        self.density = nn.Linear(config.dim, 1)
        if config.context_layers:
            self.context_listener = Listener(config.dim)

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
        listened = (batch.sequence.segments <= len(config.stems)).all(0)
        parts |= self.listener(hidden[:, listened], batch.labels(listened))
        mix = (batch.sequence.segments == config.segment(len(config.contexts) - 1)).all(0)
        if config.context_layers and mix.any():
            heard = self.context_listener(entered[:, mix], batch.labels(mix))
            parts |= {name: parts[name] + value for name, value in heard.items()}
        # before the target's first frame only the prompt can tell how densely it will play
        told, before = batch.density >= 0, self.density(hidden[:, batch.sequence.first])[:, 0]
        parts["density"] = F.mse_loss(before[told], batch.density[told]) if told.any() else before.new_zeros(())
        weighted = (each * self.levels).sum() / self.levels.sum()
        total = weighted + sum(self.weights[name] * parts[name] for name in ("context", "phase", "chord", "density"))
        return total, parts


def start_from(trainee: Trainee, base: Path) -> bool:
    """Weights of an earlier run; it may lack (parts of) a context encoder, which then start afresh. Returns whether it
    has one."""
    missing, unknown = trainee.load_state_dict(load_state(base)["trainee"], strict=False)
    wrong = [
        name for name in missing if not name.startswith(("decoder.context.", "context_listener.", "density."))
    ] + unknown
    if wrong:
        raise StageError(f"{base} does not fit the recipe: {', '.join(wrong[:3])}")
    return "decoder.context.enter.weight" not in missing


@torch.inference_mode()
def validate(trainee: Trainee, held: Examples, rows: int = 12, seconds: float = 10.0) -> dict[str, float]:
    """Loss of the first codebook on held-out songs with the right, a wrong and no context, and called by another stem's
    name.

    The gaps (wrong minus right) show whether the model listens, and whether it knows its stems apart.
    """
    frames, result = int(seconds * held.rate), {}

    def measure(layout: str, **changes) -> float:
        batch = held.batch(0, layout, rows=rows, frames=frames, **changes)
        batch = replace(batch, prompts=[""] * rows).to(trainee.decoder.device)
        return float(trainee.target_losses(trainee.hidden(batch), batch)[0])

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
    recipe: dict,
    views: Path,
    codec: Codec,
    out: Path,
    minutes: float | None = None,
    base: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train a decoder by ``recipe`` on token views; resumes what it finds in ``out``.

    base: weights (an earlier run's state) to start from. Returns the folder of the finished parts.
    """
    place = torch.device(device)
    torch.manual_seed(recipe["seed"])
    config = shape(recipe, codec)
    trainee = Trainee(recipe, config)
    start_embeddings(
        trainee.decoder, codec.quantizer.embed, recipe["embedding_scale"], torch.Generator().manual_seed(recipe["seed"])
    )
    listens = base is not None and start_from(trainee, base)
    trainee.to(place)
    autocast = precision(recipe["precision"], place)
    matrices = [p for layer in trainee.decoder.layers for p in layer.parameters() if p.ndim == 2]
    rest = [p for p in trainee.parameters() if not any(p is m for m in matrices)]
    optimizers = make_optimizers(matrices, rest, recipe["optimizer"])
    examples = Examples(load_views(views / "train"), config, recipe, frame_rate(codec), recipe["seed"])
    held = Examples(load_views(views / "heldout"), config, recipe, frame_rate(codec), 7)
    schedule = Schedule(minutes=minutes, **recipe["schedule"])
    log, step, spent = Log(out), 0, 0.0
    if state := load_state(out / "state.pt"):
        trainee.load_state_dict(state["trainee"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        step, spent = state["step"], state["spent"]
    if config.context_layers and step == 0 and not listens:
        context.pretrain(trainee, examples, held, recipe, out, log, autocast)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    clock, seen, since = time.time() - spent, 0, time.time()

    def checkpoint() -> None:
        save_state(
            out / "state.pt",
            {
                "trainee": trainee.state_dict(),
                "optimizers": [o.state_dict() for o in optimizers],
                "step": step,
                "spent": time.time() - clock,
            },
        )
        for name, part in (("decoder", trainee.decoder), ("text", trainee.text)):
            save_file({k: v.contiguous() for k, v in part.state_dict().items()}, out / f"{name}.safetensors")

    while schedule.progress(step, time.time() - clock) < 1:
        batch = examples.batch(step).to(place)
        with autocast:
            total, parts = trainee(batch)
        factor = schedule.factor(step, time.time() - clock)
        for group, rate in zip((g for o in optimizers for g in o.param_groups), rates):
            group["lr"] = rate * factor
        total.backward()
        trainee.decoder.embed.grad[:, config.pad] = 0
        norm = nn.utils.clip_grad_norm_(trainee.parameters(), recipe["optimizer"]["clip"])
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            trainee.decoder.embed[:, config.pad] = 0
        step += 1
        seen += batch.sequence.attend.numel()
        if step % recipe["log_every"] == 0:
            log.scalars(
                step,
                {
                    **parts,
                    "total": total,
                    "grad": norm,
                    "lr": factor,
                    "columns_per_second": seen / (time.time() - since),
                },
            )
            seen, since = 0, time.time()
        if step % recipe["validate_every"] == 0:
            trainee.eval()
            log.scalars(step, validate(trainee, held))
            trainee.train()
            checkpoint()
            since = time.time()
        if step % recipe["listen_every"] == 0:
            _listen(trainee, held, codec, log, step)
            since = time.time()
    trainee.eval()
    log.scalars(step, validate(trainee, held))
    checkpoint()
    return out


@torch.inference_mode()
def _listen(trainee: Trainee, held: Examples, codec: Codec, log: Log, step: int) -> None:
    """A stem for the first ten seconds of the first held-out song that has it, to TensorBoard."""
    frames = int(10 * held.rate)
    for stem, name in enumerate(held.config.stems):
        view = held.by_stem[name][0]
        contexts = [view["click"][:, :frames].long(), view[f"mix.{name}"][:, :frames].long()][
            -len(held.config.contexts) :
        ]
        codes = generate(
            trainee.decoder, stem=stem, contexts=contexts, frames=frames, sampling=Sampling(guidance=3.0, top_k=50)
        )
        log.audio(step, f"generated/{name}", decode_long(codec, codes)[0], codec.sample_rate)


def finish(recipe: dict, run: Path, codec: Codec, out: Path, dtype: torch.dtype = torch.float16) -> None:
    """Make a model folder (our format) of a finished run."""
    from stage.checkpoints.format import save

    config = shape(recipe, codec)
    trainee = Trainee(recipe, config)
    trainee.load_state_dict(load_state(run / "state.pt")["trainee"])
    save(out, StageConfig(**recipe["stage"]), trainee.decoder, codec, trainee.text, dtype)
