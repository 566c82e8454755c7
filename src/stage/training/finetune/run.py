"""Fine-tuning of a decoder on any stems, as the paper does it (arXiv 2504.05690, section 4): ``stage train finetune``.

Everything that a step depends on is its number, the recipe and the weights, so a run that was killed at any moment goes
on as if
nothing had happened. The loop is `Run.train`; beside it stand what learns (trainee), what is learnt from (batches),
where it runs
(engine), what is kept (checkpoints, cards) and how it is judged (judge).
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.data import open_songs
from stage.data.examples import Cutter
from stage.errors import StageError
from stage.models.codec import frame_rate
from stage.pipeline import Stage
from stage.training.finetune import checkpoints, engine, tokencache
from stage.training.finetune import export as cards
from stage.training.finetune import validation as judge
from stage.training.finetune.batches import Loaded, Order, Waiting, encode, lay, loader, read_text
from stage.training.finetune.metrics import Metrics
from stage.training.finetune.nan_report import not_a_number
from stage.training.finetune.recipe import Recipe, differences, plain
from stage.training.finetune.trainable import Average, Trainee, clip, local, prepare

OnStep = Callable[[int, int, dict[str, float]], None]
"""Told the steps done, all steps, and the newest figures, by the first process."""


@dataclass(frozen=True)
class Ended:
    """How a call ended: "finished", "stopped" by a signal, or "already" finished before.

    place: of the model, once there is one. first: whether this is the first of the processes, which speaks for all.
    """

    how: str
    step: int
    place: Path | None = None
    first: bool = True


def rate_factor(recipe: Recipe, step: int) -> float:
    """Factor on the learning rate at a step (from 0): warm-up, then constant or a cosine down to the floor."""
    plan = recipe.schedule
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    if plan.kind == "constant":
        return 1.0
    share = min(1.0, (step - plan.warmup) / max(1, plan.steps - plan.warmup))
    return plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * share))


class Signals:
    """While it lasts, SIGTERM and SIGINT ask the run to save and exit; a second one ends it at once."""

    def __enter__(self) -> Signals:
        self.asked = False
        self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def finetune(
    recipe: Recipe, base: str, data: Path, out: Path, on_step: OnStep | None = None, tell: Callable[[str], None] = print
) -> Ended:
    """Train by ``recipe`` on the songs at ``data``, from the model ``base``; goes on with what it finds in ``out``.

    tell: given sentences for the user, by the first process. Raises StageError for what cannot be done, and where the
    loss is no number.
    """
    if (ended := already(recipe, out)) is not None:
        return ended
    stage = Stage.from_pretrained(base, device="cpu", precision="float32")
    if recipe.learn.parameters != "lora":
        stage = prepare(stage, recipe.stems, recipe.seed)
    fabric = engine.start(recipe.engine)
    run = Run(recipe, base, stage, data, out, fabric, tell if fabric.is_global_zero else lambda _: None)
    with Signals() as signals:
        return run.train(signals, on_step if fabric.is_global_zero else None)


def already(recipe: Recipe, out: Path) -> Ended | None:
    """The end of a run that is finished, None where there are steps to do. Raises StageError where ``out`` holds
    another run."""
    found = checkpoints.folders(out)
    if not found:
        return None
    known = checkpoints.about(found[-1])
    if others := differences(known["recipe"], plain(recipe)):
        raise StageError(
            f"{out} holds a run of another recipe ({'; '.join(others[:3])}): choose another --out, or the recipe in"
            f" {out / 'recipe.yaml'}"
        )
    hours = recipe.schedule.hours
    if known["step"] < recipe.schedule.steps and not (hours and known["seconds"] >= 3600 * hours):
        return None
    place = next((place for place in (out / "model", out / "adapter") if place.exists()), None)
    return Ended("already", known["step"], place) if place and known["exported"] else None


class Run:
    """A run with all its parts; every process of it has one. See the module's docstring."""

    def __init__(
        self, recipe: Recipe, base: str, stage: Stage, data: Path, out: Path, fabric: Any, tell: Callable[[str], None]
    ):
        self.recipe, self.base, self.out, self.fabric, self.tell = recipe, base, out, fabric, tell
        rate = stage.codec.sample_rate
        songs = open_songs(data)
        if wrong := [song for song in songs if song.rate != rate]:
            raise StageError(
                f"{wrong[0].id} is at {wrong[0].rate} Hz, and {base} hears {rate} Hz: stage prepare {data} OUT --rate"
                f" {rate}"
            )
        self.songs, self.held = judge.split(songs, recipe.stems, recipe.validation.songs)
        if lost := [stem for stem in recipe.stems if not any(stem in song.stems for song in self.songs)]:
            raise StageError(
                f"no song to train on has {' or '.join(lost)}: take {'it' if len(lost) == 1 else 'them'} out of"
                " examples.stems"
            )
        if set(s.id for s in self.songs) & set(s.id for s in self.held):
            raise StageError(
                f"{data} has songs of one id both to train on and held out: give every song an id of its own"
            )
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")
        trainee = Trainee(stage, recipe, stage.config.name)
        self.sharded = recipe.engine.strategy == "fsdp"
        for part in (stage.codec, stage.text):
            (part if isinstance(part, torch.nn.Module) else part.model).to(fabric.device)
        self.model = fabric.setup_module(trainee)
        self.trainee = trainee
        self.stage = replace(stage, decoder=stage.decoder if trainee.adapter is not None else trainee.decoder)
        if trainee.adapter is not None:
            self.stage.voices[recipe.stems[0]] = trainee.decoder
        self.config = trainee.decoder.config
        self.moving = trainee.moving()
        options = recipe.optimizer
        self.optimizer = fabric.setup_optimizers(
            torch.optim.AdamW(
                list(self.moving.values()),
                lr=options.lr,
                betas=options.betas,
                eps=options.eps,
                weight_decay=options.weight_decay,
            )
        )
        self.average = Average(self.moving, recipe.ema) if recipe.ema else None
        self.judge = judge.Judge(self.held, recipe, stage.codec, stage.text, fabric, tell)
        self.cut = self._cutter()
        self.step, self.seconds, self.figures = 0, 0.0, {}
        self.clock = time.perf_counter()
        if found := checkpoints.folders(out):
            self.restore(found[-1])
        if fabric.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)
            self.known = cards.begin(
                out, recipe, base, ([s.id for s in self.songs], [s.id for s in self.held]), self.step, fabric
            )
            self.metrics = Metrics(out, recipe, self.step)
        fabric.barrier()

    def _cutter(self) -> Callable:
        """What cuts examples: from audio, or from tokens that are made first."""
        recipe, codec = self.recipe, self.stage.codec
        if recipe.loader.cache == "none":
            return Cutter(self.songs, recipe.examples, recipe.seed)
        place = Path(recipe.loader.cache_folder or self.out / "tokens") / tokencache.key(
            recipe.examples, recipe.seed, [s.id for s in self.songs], codec
        )
        count = recipe.loader.cached_examples
        self.tell(f"token cache of {count} examples: {place}")

        def on_shard(done: int, shards: int) -> None:
            if 10 * done // shards > 10 * (done - 1) // shards:
                self.tell(f"token cache: {100 * done // shards} %")

        tokencache.fill(
            place,
            count,
            Cutter(self.songs, tokencache.undropped(recipe.examples), recipe.seed),
            codec,
            self.fabric.device,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            on_shard=on_shard,
        )
        self.fabric.barrier()
        crop = tuple(round(seconds * frame_rate(codec)) for seconds in recipe.examples.crop)
        return tokencache.TokenCache(place, count, recipe.examples, recipe.seed, crop)

    # ------------------------------------------------------------ the loop

    def train(self, signals: Signals, on_step: OnStep | None) -> Ended:
        """Steps until the schedule ends or a signal comes; then the model, or the word how to go on."""
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
                self.metrics.close()
            return Ended("stopped", self.step, None, fabric.is_global_zero)
        return self.finish()

    @property
    def spent(self) -> float:
        """Seconds of training, over all starts."""
        return self.seconds + time.perf_counter() - self.clock

    def over(self) -> bool:
        """Whether the schedule has come to its end; all processes go by the first one's clock."""
        hours = self.recipe.schedule.hours
        return self.step >= self.recipe.schedule.steps or bool(
            hours and self.fabric.broadcast(self.spent) >= 3600 * hours
        )

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
        self.trainee.hold_padding(gradient=True)
        fabric.strategy.precision.unscale_gradients(self.optimizer)
        gradients = [local(p.grad).float() for p in self.moving.values() if p.grad is not None]
        square = torch.stack(torch._foreach_norm(gradients)).square().sum() * (
            1.0 if self.sharded else 1 / fabric.world_size
        )
        said = engine.agree(
            fabric,
            torch.cat([torch.stack([square, square.new_tensor(float(signals.asked))]), parts / fabric.world_size]),
        )
        square, asked, parts = float(said[0]), bool(said[1]), said[2:].cpu()
        # 16-bit gradients may overflow: their scale is then lowered and the step left out
        if not bool(parts.isfinite().all()) or not (math.isfinite(square) or recipe.engine.precision == "16"):
            raise not_a_number(self, seen, square)
        norm = math.sqrt(square) if math.isfinite(square) else math.inf
        if recipe.optimizer.clip_norm and math.isfinite(norm) and norm > recipe.optimizer.clip_norm:
            torch._foreach_mul_(
                [local(p.grad) for p in self.moving.values() if p.grad is not None], recipe.optimizer.clip_norm / norm
            )
        clip(self.moving.values(), recipe.optimizer.clip_value)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * rate_factor(recipe, self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.trainee.hold_padding(gradient=False)
        if self.average is not None:
            self.average.update()
        self.step += 1
        return parts, norm, notes, asked

    def inputs(self, loaded: Loaded) -> tuple:
        """What the model takes for encoded examples."""
        sequence = lay(self.config, loaded).to(self.fabric.device)
        return (*judge.flat(sequence), loaded.target.to(self.fabric.device), *read_text(self.stage.text, loaded.texts))

    # ------------------------------------------------------------ what it tells and keeps

    def report(self, parts: Tensor, norm: float, speed: float, waiting: float, skipped: list[str]) -> dict[str, float]:
        """A line of figures, written by the first process."""
        levels = self.trainee.levels.cpu()
        line = {
            "loss": float((parts * levels).sum()),
            "grad_norm": norm,
            "lr": self.recipe.optimizer.lr * rate_factor(self.recipe, self.step - 1),
            "samples_per_second": speed,
            "waiting_for_data": waiting,
        } | {f"loss/codebook{k}": float(v) for k, v in enumerate(parts)}
        if skipped:
            line |= {"skipped": len(skipped), "skipped_for": skipped[0]}
        if self.fabric.is_global_zero:
            self.metrics.write(self.step, line)
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
                self.trainee.reshard()
            self.average.swap()

    def validate(self) -> None:
        """Losses on held-out songs."""
        figures = self.averaged(lambda: self.judge.losses(self.model, self.config))
        self.figures = figures | ({"at": self.step} if figures else {})
        if figures and self.fabric.is_global_zero:
            self.metrics.write(self.step, figures)

    def listen(self) -> None:
        """Listening examples by the first process; shared-out weights (fsdp) cannot play."""
        if self.fabric.is_global_zero and not self.sharded and self.held:
            self.model.eval()
            made = self.averaged(
                lambda: judge.listen(self.stage, self.held, self.recipe, self.out / "listen" / f"step-{self.step:08d}")
            )
            self.model.train()
            for path in made:
                if path.suffix == ".wav" and path.name.count(".") == 1:
                    self.metrics.audio(self.step, path)
        self.fabric.barrier()

    def save(self) -> None:
        """A checkpoint, gathered from all processes and written by the first."""
        tensors = {
            "moving": {name: engine.whole(p) for name, p in self.moving.items()},
            "average": {n: engine.whole(v) for n, v in self.average.values.items()} if self.average else {},
            "optimizer": engine.optimizer_state(self.optimizer, list(self.moving)),
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
            "recipe": plain(self.recipe),
        }
        if self.fabric.is_global_zero:
            checkpoints.write(self.out, tensors, known, self.recipe.keep)
        self.fabric.barrier()

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises StageError where it is of another recipe, or another number of examples a
        step."""
        known, tensors = checkpoints.about(folder), checkpoints.read(folder)
        if others := differences(known["recipe"], plain(self.recipe)):
            raise StageError(
                f"{self.out} holds a run of another recipe ({'; '.join(others[:3])}): choose another --out"
            )
        if known["examples"] != self.examples:
            raise StageError(
                f"the run in {self.out} takes {known['examples']} examples a step, and this would be {self.examples}: "
                "choose devices and batch.accumulate so that they are as many"
            )
        self.load(tensors["moving"])
        engine.restore_optimizer(self.optimizer, list(self.moving), tensors["optimizer"])
        if self.average is not None:
            for name, value in tensors["average"].items():
                engine.fill(self.average.values[name], value)
        if tensors["scaler"]:
            self.fabric.strategy.precision.scaler.load_state_dict(tensors["scaler"])
        self.step, self.seconds, self.figures = known["step"], known["seconds"], known["figures"]
        self.tell(f"going on after step {self.step}")

    def load(self, moving: dict[str, Tensor]) -> None:
        """Put whole weights into the model."""
        for name, parameter in self.moving.items():
            engine.fill(parameter, moving[name])

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
        source = self.trainee.decoder if self.trainee.adapter is None else self.trainee.adapter
        weights = {name: engine.whole(tensor) for name, tensor in source.state_dict().items()}
        place = None
        if self.fabric.is_global_zero:
            about = figures | {
                "step": step,
                "seconds": self.spent,
                "examples": self.examples,
                "moving": sum(p.numel() for p in self.moving.values()),
            }
            place = cards.export(self.out, self.recipe, self.stage, weights, self.trainee.adapter, self.known, about)
            checkpoints.mark_exported(checkpoints.folders(self.out)[-1])
            self.metrics.close()
        self.fabric.barrier()
        return Ended("finished", self.step, place, self.fabric.is_global_zero)
