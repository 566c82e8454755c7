"""Fine-tuning of a decoder on any stems, as the paper does it (arXiv 2504.05690, section 4): ``stage train finetune``.

Everything that a step depends on is its number, the recipe and the weights, so a run that was killed at any moment goes
on as if nothing had happened. The loop is `Run.train`; beside it stand what is trained (trainable), on what (songs,
batches, tokencache), where it runs (engine), how it is measured (validation, listening) and what is kept (checkpoints,
export).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.audio.files import read as read_audio
from stage.checkpoints.installed import find
from stage.data.song import Song
from stage.errors import StageError
from stage.models.lora import fingerprint
from stage.pipeline import Stage
from stage.training.finetune import checkpoints, engine, export, listening, songs, tokencache
from stage.training.finetune.batches import Loaded, Order, Waiting, encode, flat, lay, loader, read_text
from stage.training.finetune.nan_report import not_a_number
from stage.training.finetune.recipe import Recipe, check_same
from stage.training.finetune.trainable import Average, Trainable, clip, local, prepare
from stage.training.finetune.validation import Validation
from stage.training.log import Log, wandb
from stage.training.recipe import plain
from stage.training.signals import Signals

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called by the first process with the steps done, all steps, and the newest figures."""
OnNote = Callable[[str], None]
"""Called by the first process with sentences for the user."""
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Ended:
    """How a call ended: "finished", "stopped" by a signal, or "already" finished before.

    place: of the model, once there is one. first: whether this is the first of the processes, which reports for all.
    """

    how: str
    step: int
    place: Path | None = None
    first: bool = True


def finetune(
    recipe: Recipe,
    base: str,
    data: str | Path,
    out: Path,
    on_step: OnStep | None = None,
    on_note: OnNote = print,
) -> Ended:
    """Train by ``recipe`` on the songs at ``data``, from the model ``base``; goes on with what it finds in ``out``.

    data: a folder, or the URL of a prepared set. Raises StageError for what cannot be done, and where the loss is not a
    number.
    """
    if (ended := already(recipe, out)) is not None:
        return ended
    find(base)
    train, held = songs.load(str(data), recipe)
    stage = Stage.from_pretrained(base, device="cpu", precision="float32")
    songs.check_rate([*train, *held], stage.codec.sample_rate, base, str(data))
    if recipe.learn.parameters != "lora":
        stage = prepare(stage, recipe.stems, recipe.seed)
    fabric = engine.start(recipe.engine)
    first = fabric.is_global_zero
    with engine.locked(out, fabric):
        run = Run(recipe, base, stage, (train, held), out, fabric, on_note if first else lambda _: None)
        with Signals() as signals:
            return run.train(signals, on_step if first else None)


def already(recipe: Recipe, out: Path) -> Ended | None:
    """The end of a run that is finished, None where there are steps to do. Raises StageError where ``out`` holds
    another run."""
    found = checkpoints.folders(out)
    if not found:
        return None
    known = checkpoints.whole(found[-1])
    check_same(known["recipe"], recipe, out)
    if recipe.schedule.progress(known["step"], known["seconds"]) < 1:
        return None
    place = next((place for place in (out / "model", out / "adapter") if place.exists()), None)
    return Ended("already", known["step"], place) if place and known["exported"] else None


class Run:
    """A run with all its parts; every process of it has one. See the module's docstring.

    songs: (to train on, held out).
    """

    def __init__(
        self,
        recipe: Recipe,
        base: str,
        stage: Stage,
        songs: tuple[list[Song], list[Song]],
        out: Path,
        fabric: Any,
        on_note: OnNote,
    ):
        self.recipe, self.base, self.out, self.fabric, self.on_note = recipe, base, out, fabric, on_note
        self.songs, self.held = songs
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")
        self._set_up(stage)
        self.average = Average(self.trained, recipe.ema) if recipe.ema else None
        self.validation = Validation(self.held, recipe, stage.codec, stage.text, fabric, on_note)
        self.cut = tokencache.cutter(self.songs, recipe, stage.codec, out, fabric, on_note)
        self.step, self.seconds, self.figures = 0, 0.0, {}
        self.clock = time.perf_counter()
        if found := checkpoints.folders(out):
            self.restore(found[-1])
        if fabric.is_global_zero:
            self._begin()
        fabric.barrier()

    def _set_up(self, stage: Stage) -> None:
        """Model and optimizer on their devices."""
        recipe, fabric = self.recipe, self.fabric
        self.base_weights = fingerprint(stage.decoder)
        trainable = Trainable(stage, recipe, stage.config.name)
        self.sharded = recipe.engine.strategy == "fsdp"
        for part in (stage.codec, stage.text):
            (part if isinstance(part, torch.nn.Module) else part.model).to(fabric.device)
        self.model = fabric.setup_module(trainable)
        self.trainable = trainable
        self.stage = replace(stage, decoder=stage.decoder if trainable.adapter is not None else trainable.decoder)
        if trainable.adapter is not None:
            self.stage.voices[recipe.stems[0]] = trainable.decoder
        self.config = trainable.decoder.config
        self.trained = trainable.trained()
        options = recipe.optimizer
        self.optimizer = fabric.setup_optimizers(
            torch.optim.AdamW(
                list(self.trained.values()),
                lr=options.lr,
                betas=options.betas,
                eps=options.eps,
                weight_decay=options.weight_decay,
            )
        )

    def _begin(self) -> None:
        """Recipe, run.json and the logs, by the first process."""
        recipe, ids = self.recipe, ([s.id for s in self.songs], [s.id for s in self.held])
        self.known = export.begin(self.out, recipe, self.base, ids, self.step, self.fabric)
        board = None
        if project := recipe.track.wandb:
            board = wandb(self.out, project, recipe.name or self.out.name, plain(recipe), self.known["id"])
        self.log = Log(self.out / METRICS, self.step, recipe.track.tensorboard, board)

    # ------------------------------------------------------------ the loop

    def train(self, signals: Signals, on_step: OnStep | None) -> Ended:
        """Steps until the schedule ends or a signal comes; then the model is written."""
        recipe, fabric, every = self.recipe, self.fabric, self.recipe.every
        order = Order(
            recipe.batch.size,
            recipe.batch.accumulate,
            fabric.world_size,
            fabric.global_rank,
            self.step,
            recipe.schedule.steps,
        )
        self.model.train()
        passes = Waiting(loader(self.cut, order, recipe.loader))
        since, waited, losses, skipped, asked = (self.step, time.perf_counter()), 0.0, [], [], False
        while not asked and not self.over():
            parts, norm, notes, asked = self.advance(passes, signals)
            losses.append(parts)
            skipped += notes
            if self.step % every.log == 0:
                now = time.perf_counter()
                speed = (self.step - since[0]) * self.examples / (now - since[1])
                line = self.report(
                    torch.stack(losses).mean(0), norm, speed, (passes.seconds - waited) / (now - since[1]), skipped
                )
                losses, skipped = [], []
                if on_step is not None:
                    on_step(self.step, recipe.schedule.steps, line)
            if every.validate and self.step % every.validate == 0:
                self.validate()
            if asked or (every.save and self.step % every.save == 0):
                self.save()
            if every.listen and self.step % every.listen == 0:
                self.listen()
            if not losses:  # the speed is that of training, without what was done between two lines
                since, waited = (self.step, time.perf_counter()), passes.seconds
        if not self.over():
            if fabric.is_global_zero:
                self.log.close()
            return Ended("stopped", self.step, None, fabric.is_global_zero)
        return self.finish()

    @property
    def spent(self) -> float:
        """Seconds of training, over all starts."""
        return self.seconds + time.perf_counter() - self.clock

    def over(self) -> bool:
        """Whether the schedule has come to its end; the first process's clock counts for all."""
        schedule = self.recipe.schedule
        seconds = self.fabric.broadcast(self.spent) if schedule.hours else 0.0
        return schedule.progress(self.step, seconds) >= 1

    @property
    def examples(self) -> int:
        """Examples of a step, over all processes and passes."""
        return self.recipe.batch.size * self.recipe.batch.accumulate * self.fabric.world_size

    def advance(self, passes: Waiting, signals: Signals) -> tuple[Tensor, float, list[str], bool]:
        """One step: (losses of the codebooks [K], norm of the gradient, what could not be cut, whether to stop)."""
        recipe, fabric, many = self.recipe, self.fabric, self.recipe.batch.accumulate
        parts, notes, seen = 0.0, [], []
        for part in range(many):
            loaded = encode(next(passes), self.stage.codec, fabric.device)
            notes += loaded.skipped
            # what this pass draws depends on its number alone, so that nothing has to be remembered
            torch.manual_seed((recipe.seed * 1_000_003 + self.step * many + part) * 1009 + fabric.global_rank)
            with fabric.no_backward_sync(self.model, enabled=part < many - 1):
                total, each = self.model(*self.inputs(loaded))
                fabric.backward(total / many)
            parts = parts + each.float() / many
            seen.append((loaded, each))
        self.trainable.hold_padding(gradient=True)
        fabric.strategy.precision.unscale_gradients(self.optimizer)
        gradients = [local(p.grad).float() for p in self.trained.values() if p.grad is not None]
        square = torch.stack(torch._foreach_norm(gradients)).square().sum() * (
            1.0 if self.sharded else 1 / fabric.world_size
        )
        agreed = engine.agree(
            fabric,
            torch.cat([torch.stack([square, square.new_tensor(float(signals.asked))]), parts / fabric.world_size]),
        )
        square, asked, parts = float(agreed[0]), bool(agreed[1]), agreed[2:].cpu()
        # 16-bit gradients may overflow: their scale is then lowered and the step left out
        if not bool(parts.isfinite().all()) or not (math.isfinite(square) or recipe.engine.precision == "16"):
            lr = self.optimizer.param_groups[0]["lr"]
            raise not_a_number(self.out, self.step + 1, fabric.global_rank, lr, self.trained, seen, square)
        norm = math.sqrt(square) if math.isfinite(square) else math.inf
        if recipe.optimizer.clip_norm and math.isfinite(norm) and norm > recipe.optimizer.clip_norm:
            torch._foreach_mul_(
                [local(p.grad) for p in self.trained.values() if p.grad is not None], recipe.optimizer.clip_norm / norm
            )
        clip(self.trained.values(), recipe.optimizer.clip_value)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * recipe.schedule.factor(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.trainable.hold_padding(gradient=False)
        if self.average is not None:
            self.average.update()
        self.step += 1
        return parts, norm, notes, asked

    def inputs(self, loaded: Loaded) -> tuple:
        """What the model takes for encoded examples."""
        sequence = lay(self.config, loaded).to(self.fabric.device)
        return (*flat(sequence), loaded.target.to(self.fabric.device), *read_text(self.stage.text, loaded.texts))

    # ------------------------------------------------------------ figures and checkpoints

    def report(self, parts: Tensor, norm: float, speed: float, waiting: float, skipped: list[str]) -> dict[str, float]:
        """A line of figures, written by the first process."""
        levels = self.trainable.levels.cpu()
        line = {
            "loss": float((parts * levels).sum()),
            "grad_norm": norm,
            "lr": self.recipe.optimizer.lr * self.recipe.schedule.factor(self.step - 1),
            "samples_per_second": speed,
            "waiting_for_data": waiting,
        } | {f"loss/codebook{k}": float(v) for k, v in enumerate(parts)}
        if skipped:
            line |= {"skipped": len(skipped), "skipped_for": skipped[0]}
        if self.fabric.is_global_zero:
            self.log.write(self.step, line)
        return line

    def averaged(self, work: Callable[[], Any]) -> Any:
        """Do something with the averaged weights in the model, where there is an average."""
        if self.average is None:
            return work()
        self.average.swap()
        try:
            return work()
        finally:
            if self.sharded:  # weights that were gathered for a pass without gradients would stay, and be the average's
                self.trainable.reshard()
            self.average.swap()

    def validate(self) -> None:
        """Losses on held-out songs."""
        figures = self.averaged(lambda: self.validation.losses(self.model, self.config))
        self.figures = figures | ({"at": self.step} if figures else {})
        if figures and self.fabric.is_global_zero:
            self.log.write(self.step, figures)

    def listen(self) -> None:
        """Listening examples by the first process; shared-out weights (fsdp) cannot play."""
        if self.fabric.is_global_zero and not self.sharded and self.held:
            self.model.eval()
            made = self.averaged(
                lambda: listening.listen(
                    self.stage, self.held, self.recipe, self.out / "listen" / f"step-{self.step:08d}"
                )
            )
            self.model.train()
            for path in made:
                if path.suffix == ".wav" and not path.stem.endswith((".context", ".true")):
                    audio, rate = read_audio(path)
                    self.log.audio(self.step, path.stem, audio[0], rate)
        self.fabric.barrier()

    def save(self) -> None:
        """A checkpoint, gathered from all processes and written by the first."""
        tensors = {
            "moving": {name: engine.whole(p) for name, p in self.trained.items()},
            "average": {n: engine.whole(v) for n, v in self.average.values.items()} if self.average else {},
            "optimizer": engine.optimizer_state(self.optimizer, list(self.trained)),
            "scaler": (
                scaler.state_dict() if (scaler := getattr(self.fabric.strategy.precision, "scaler", None)) else {}
            ),
        }
        valid = self.figures.get("valid") if self.figures.get("at") == self.step else None
        known = {
            "step": self.step,
            "seconds": self.spent,
            "valid": valid,
            "figures": self.figures,
            "examples": self.examples,
            "exported": False,
            "base": self.base_weights,
            "recipe": plain(self.recipe),
        }
        if self.fabric.is_global_zero:
            checkpoints.write(self.out, tensors, known, self.recipe.keep)
        self.fabric.barrier()

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises StageError where it is of another recipe, or another number of examples a
        step."""
        known, tensors = checkpoints.whole(folder), checkpoints.read(folder)
        check_same(known["recipe"], self.recipe, self.out)
        if known.get("base", self.base_weights) != self.base_weights:
            raise StageError(f"the run in {self.out} began with another base than {self.base}: choose another --out")
        if known["examples"] != self.examples:
            raise StageError(
                f"the run in {self.out} takes {known['examples']} examples a step, and this would be {self.examples}: "
                "choose devices and batch.accumulate so that they are as many"
            )
        try:
            self.load(tensors["moving"])
            engine.restore_optimizer(self.optimizer, list(self.trained), tensors["optimizer"])
            if self.average is not None:
                for name, value in tensors["average"].items():
                    engine.fill(self.average.values[name], value)
            if tensors["scaler"]:
                self.fabric.strategy.precision.scaler.load_state_dict(tensors["scaler"])
        except (KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
            why = str(error).splitlines()[0]
            raise StageError(
                f"{folder} does not fit the base ({why}): choose another --out, or the base of its run"
            ) from None
        self.step, self.seconds, self.figures = known["step"], known["seconds"], known["figures"]
        self.on_note(f"going on after step {self.step}")

    def load(self, weights: dict[str, Tensor]) -> None:
        """Put whole weights into the model."""
        for name, parameter in self.trained.items():
            engine.fill(parameter, weights[name])

    def finish(self) -> Ended:
        """Last validation and listening, and the model with its card."""
        if self.figures.get("at") != self.step:
            self.validate()
        self.save()
        if self.recipe.every.listen:
            self.listen()
        best = checkpoints.ranked(self.out)
        figures, step = self.figures, self.step
        if self.recipe.export == "best" and best:
            tensors, known = checkpoints.read(best[0]), checkpoints.about(best[0])
            self.load(tensors["average"] or tensors["moving"])
            figures, step = known["figures"], known["step"]
        elif self.average is not None:
            self.average.swap()
        source = self.trainable.decoder if self.trainable.adapter is None else self.trainable.adapter
        weights = {name: engine.whole(tensor) for name, tensor in source.state_dict().items()}
        place = None
        if self.fabric.is_global_zero:
            about = figures | {
                "step": step,
                "seconds": self.spent,
                "examples": self.examples,
                "trained": sum(p.numel() for p in self.trained.values()),
            }
            place = export.export(self.out, self.recipe, self.stage, weights, self.trainable.adapter, self.known, about)
            checkpoints.mark_exported(checkpoints.folders(self.out)[-1])
            self.log.close()
        self.fabric.barrier()
        return Ended("finished", self.step, place, self.fabric.is_global_zero)
