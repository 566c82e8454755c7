"""The loop of the trainings from scratch: steps, log, validation, and states that survive a kill.

A training is a subclass of `Training` that gives the loss of each step; `started` holds its folder.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stage import files
from stage.errors import Interrupted, MissingExtra, StageError
from stage.progress import bar
from stage.training import state
from stage.training.embedded.muon import Muon
from stage.training.embedded.recipe import CHANGEABLE, Optimizer
from stage.training.log import Log
from stage.training.recipe import differences, plain
from stage.training.schedule import Schedule
from stage.training.signals import Signals

RECIPE = "recipe.yaml"


class Stopped(Interrupted):
    """A signal stopped a training; its state was saved after ``step`` steps."""

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}, and saved")
        self.step = step


@contextlib.contextmanager
def started(out: Path, recipe: Any) -> Iterator[None]:
    """Hold a run's folder: no other process works in it, and the recipe is written there.

    Raises StageError where the folder is in use, or holds a run of another recipe.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtra("training", "train") from None
    path = out / RECIPE
    with files.lock(out, "another run"):
        if path.exists():
            try:
                old = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                old = None
            others = differences(old, plain(recipe), CHANGEABLE) if isinstance(old, dict) else []
            if others:
                raise StageError(
                    f"{out} holds a run of another recipe ({'; '.join(others[:3])}): choose another --out, or the"
                    f" recipe in {path}"
                )
        files.write_text(path, yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True))
        yield


def device(name: str) -> torch.device:
    """The device of a name, which can be used here. Raises StageError otherwise."""
    try:
        found = torch.device(name)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError):  # torch has all three
        raise StageError(f"there is no device '{name}' here: choose cpu, or a torch that finds the GPU") from None
    if found.type not in ("cpu", "cuda"):
        raise StageError(f"training runs on cpu or cuda, not on {name}")
    return found


def autocast(name: str, device: torch.device) -> torch.autocast:
    """Autocast for the precision 'float32', 'bf16', or 'auto': bf16 where it multiplies faster on this machine.

    Many CPUs have no bf16 instructions and are slower in it, so both are timed.
    """
    wanted = name == "bf16"
    if name == "auto":
        spent = {}
        for dtype in (torch.float32, torch.bfloat16):
            matrix = torch.ones(512, 512, dtype=dtype, device=device)
            matrix @ matrix
            clock = time.perf_counter()
            for _ in range(5):
                (matrix @ matrix).sum().item()
            spent[dtype] = time.perf_counter() - clock
        wanted = spent[torch.bfloat16] < 0.9 * spent[torch.float32]
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def make_optimizers(
    matrices: list[nn.Parameter], rest: list[nn.Parameter], options: Optimizer
) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, where the recipe has a rate for it, and AdamW for everything else."""
    if not options.muon_lr:
        matrices, rest = [], rest + matrices
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True)
    ]
    if matrices:
        made.append(Muon(matrices, lr=options.muon_lr, weight_decay=options.weight_decay))
    return made


class Training:
    """A training from scratch. Subclasses give `loss`, and what of the other methods they need.

    out: folder of the run. modules: what is saved, by its name in the state's file. clip: largest norm of the gradient.
    log_every, save_every, listen_every: in steps; 0: never. on_step: called with the steps done and the figures of each
    line of the log.
    """

    state, log_folder = "state.pt", ""

    def __init__(
        self,
        out: Path,
        schedule: Schedule,
        modules: dict[str, nn.Module],
        optimizers: list[torch.optim.Optimizer],
        clip: float,
        log_every: int,
        save_every: int,
        listen_every: int = 0,
        on_step: Callable[[int, dict], None] | None = None,
    ):
        self.out, self.schedule, self.modules, self.optimizers = out, schedule, modules, optimizers
        self.clip, self.on_step = clip, on_step
        self.log_every, self.save_every, self.listen_every = log_every, save_every, listen_every
        self.rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        self.parameters = [p for module in modules.values() for p in module.parameters()]
        self.step, self.before, self.saved = 0, 0.0, -1
        self.clock = time.time()

    # ------------------------------------------------------------ what differs between trainings

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """The loss of step ``self.step`` (0-d), and figures for the log."""
        raise NotImplementedError

    def before_step(self) -> None:
        """Changes of the gradients before a step."""

    def after_step(self) -> None:
        """Changes of the weights after a step."""

    def speed(self) -> dict[str, float]:
        """Figures of speed for the log."""
        return {}

    def validate(self) -> dict[str, float]:
        """Figures on held-out songs."""
        return {}

    def listen(self) -> None:
        """Listening examples, to the log."""

    def extra(self) -> dict[str, Any]:
        """More tensors for the state."""
        return {}

    def restore_extra(self, saved: dict[str, Any]) -> None:
        """Undo `extra`."""

    def write_weights(self) -> None:
        """The weights as they are to be used afterwards."""

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Go on from the state in the folder to the schedule's end. Raises Stopped after a signal."""
        self.restore()
        self.log = Log(self.out / self.log_folder / "log.jsonl", self.step)
        try:
            with Signals() as signals, bar(f"step {self.step}", 1, count=False) as self.bar:
                while (share := self.schedule.progress(self.step, self.spent)) < 1:
                    self.bar.update(share)
                    if signals.asked:
                        self.save()
                        raise Stopped(self.step)
                    self._advance()
            if self.saved != self.step:
                self._validate()
                self.save()
            self.write_weights()
        finally:
            self.log.close()

    @property
    def spent(self) -> float:
        """Seconds of training, over all starts."""
        return self.before + time.time() - self.clock

    def _advance(self) -> None:
        total, figures = self.loss()
        factor = self.schedule.factor(self.step, self.spent)
        for group, rate in zip((g for o in self.optimizers for g in o.param_groups), self.rates):
            group["lr"] = rate * factor
        total.backward()
        self.before_step()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.after_step()
        self.step += 1
        if self.step % self.log_every == 0:
            self._report({**figures, "total": total, "grad": norm, "lr": factor, **self.speed()})
        if self.step % self.save_every == 0:
            self._validate()
            self.save()
        if self.listen_every and self.step % self.listen_every == 0:
            self.listen()

    def _report(self, figures: dict[str, Any]) -> None:
        self.log.write(self.step, figures)
        self.bar.update(what=f"step {self.step}, loss {float(torch.as_tensor(figures['total']).detach()):.3f}")
        if self.on_step is not None:
            self.on_step(self.step, {name: float(torch.as_tensor(value).detach()) for name, value in figures.items()})

    def _validate(self) -> None:
        for module in self.modules.values():
            module.eval()
        if figures := self.validate():
            self.log.write(self.step, figures)
        for module in self.modules.values():
            module.train()

    def save(self) -> None:
        """State and weights, each whole or not at all."""
        found = {name: module.state_dict() for name, module in self.modules.items()} | self.extra()
        found |= {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "spent": self.spent,
            "random": torch.get_rng_state(),
        }
        state.save(self.out / self.state, found)
        self.write_weights()
        self.saved = self.step

    def restore(self) -> None:
        """Take up the state in the folder, if there is one. Raises StageError where it does not fit."""
        path = self.out / self.state
        if (saved := state.load(path)) is None:
            return
        try:
            for name, module in self.modules.items():
                module.load_state_dict(saved[name])
            for optimizer, one in zip(self.optimizers, saved.get("optimizers") or [saved["optimizer"]]):
                optimizer.load_state_dict(one)
            self.restore_extra(saved)
            self.step, self.before = saved["step"], saved.get("spent", 0.0)
        except StageError:
            raise
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            why = str(error).splitlines()[0]
            raise StageError(f"{path} does not fit the recipe ({why}): choose another --out") from None
        if "random" in saved:
            torch.set_rng_state(saved["random"])
        self.clock, self.saved = time.time(), self.step
