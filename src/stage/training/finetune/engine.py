"""The engine: Lightning Fabric for one to many devices and nodes, and what all processes exchange."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stage import files
from stage.errors import MissingExtra, StageError
from stage.training.finetune.recipe import Engine
from stage.training.finetune.trainable import Trainable

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}

PATIENCE = datetime.timedelta(hours=1)
"""How long processes wait for each other: the first one plays the listening examples while the others wait."""


def start(engine: Engine) -> Any:
    """A launched Fabric: from here on there is a process for each device.

    Started by torchrun or SLURM, their processes are used; else the same command is started again for each further
    device.
    Raises StageError for what this machine has not.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
    except ImportError:
        raise MissingExtra("fine-tuning (lightning-fabric)", "train") from None
    warnings.filterwarnings("ignore", module="lightning_fabric")
    for name in ("lightning_fabric", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    accelerator = engine.accelerator if engine.accelerator != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise StageError("there is no CUDA device here: take engine.accelerator=cpu, or a torch that finds the GPU")
    devices, nodes = engine.devices, engine.nodes
    if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:  # torchrun counts for us
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = max(1, int(os.environ["WORLD_SIZE"]) // devices)
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise StageError(f"--devices {devices}, but this node has {torch.cuda.device_count()} GPUs")
    many = devices * nodes > 1
    strategy: Any = "auto"
    if engine.strategy == "fsdp":
        if not many:
            raise StageError(
                "fsdp shares the weights out to several devices: give --devices 2 or more, or strategy auto"
            )
        strategy = ModelParallelStrategy(
            shard, data_parallel_size=devices * nodes, tensor_parallel_size=1, timeout=PATIENCE
        )
    elif many:
        strategy = DDPStrategy(timeout=PATIENCE)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision=PRECISIONS[precision(engine, accelerator)],
    )
    fabric.launch()
    return fabric


def precision(engine: Engine, accelerator: str) -> str:
    """The precision that ``auto`` stands for here; StageError for one that cannot be had."""
    if engine.precision == "16" and accelerator == "cpu":
        raise StageError("16-bit training is for GPUs: take engine.precision=float32 or bf16 on the CPU")
    if engine.precision == "16" and engine.strategy == "fsdp":
        raise StageError("fsdp runs in bf16 or float32: its loss is not scaled as 16 bits need it")
    if engine.precision != "auto":
        return engine.precision
    return "bf16" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def shard(trainable: Trainable, mesh: Any) -> nn.Module:
    """FSDP (torch's fully_shard): each layer's parameters are split over the devices, and the rest as one more group.

    With an adapter everything is one group: its matrices belong to the layers and to the adapter, and a parameter can
    be in one group alone.
    """
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:  # torch 2.4 and 2.5
        from torch.distributed._composable.fsdp import fully_shard
    for layer in trainable.decoder.layers if trainable.adapter is None else ():
        fully_shard(layer, mesh=mesh["data_parallel"])
    return fully_shard(trainable, mesh=mesh["data_parallel"])


def agree(fabric: Any, values: Tensor) -> Tensor:
    """The sum of a vector over all processes, the same in each of them."""
    return values if fabric.world_size == 1 else fabric.all_reduce(values, reduce_op="sum")


@contextlib.contextmanager
def locked(out: Path, fabric: Any) -> Iterator[None]:
    """Hold a run's folder, by the first process for all. Raises StageError in every process where it is in use."""
    with contextlib.ExitStack() as stack:
        problem = None
        if fabric.is_global_zero:
            try:
                stack.enter_context(files.lock(out, "another run"))
            except StageError as error:
                problem = str(error)
        problem = fabric.broadcast(problem)
        if problem:
            raise StageError(problem)
        yield


def whole(tensor: Tensor) -> Tensor:
    """A tensor whole, on the CPU, from the shards of all processes; to be called by every process."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu().clone()


def fill(tensor: Tensor, values: Tensor) -> None:
    """Put whole values into a tensor, or this process's shard of them into its shard."""
    with torch.no_grad():
        if hasattr(tensor, "device_mesh"):
            from torch.distributed.tensor import distribute_tensor

            values = distribute_tensor(values.to(tensor.device), tensor.device_mesh, tensor.placements)
        tensor.copy_(values)


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, dict[str, Tensor]]:
    """Moments and step counts of each parameter by name, whole, on the CPU; to be called by every process."""
    held = (optimizer.state.get(parameter, {}) for parameter in optimizer.param_groups[0]["params"])
    return {name: {key: whole(value) for key, value in state.items()} for name, state in zip(names, held)}


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], saved: dict[str, dict[str, Tensor]]) -> None:
    """Undo ``optimizer_state``. A parameter that had no gradient yet has no state."""
    for name, parameter in zip(names, optimizer.param_groups[0]["params"]):
        for key, value in saved[name].items():
            if key == "step":
                optimizer.state[parameter][key] = (
                    value.clone() if not optimizer.defaults.get("fused") else value.to(parameter.device)
                )
                continue
            held = torch.zeros_like(parameter)
            fill(held, value)
            optimizer.state[parameter][key] = held
