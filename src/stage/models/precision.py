"""Low-precision weights: the decoder's matrices in 16, 8 or 4 bits, through torch's own CPU kernels.

A step of generation multiplies few rows by every weight, so it takes as long as the weights take to come from memory;
fewer bits
are read faster. Which kernel is the fastest for them depends on the processor (``models/processor.py``), what is stored
does not:

- float16: as it is, multiplied in float32. Exact for models whose files hold float16, as the sketch model's does.
- bf16: as it is; float16 on processors that multiply that faster.
- int8: one scale for each output (symmetric, LLM.int8's absmax, arXiv 2208.07339, section 2).
- int4: a scale and an offset for each group of inputs of an output (GPTQ's grouping, arXiv 2210.17323, section 4,
rounded to nearest).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.processor import detected, processor

PRECISIONS = ("auto", "float32", "float16", "bf16", "int8", "int4")
BYTES = {"float32": 4.0, "float16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / 32}
"""Bytes that a weight takes, scales included."""
SMALL = 100_000_000
"""Decoders with fewer parameters are not rounded by default: reading their weights is a small part of a step."""
GROUP = 32
"""Inputs that share an int4 scale."""
MANY = 16
"""Rows from which on weight-only kernels are slower than a product with the weights made whole again."""


def choose(precision: str, device: torch.device | str, parameters: int, halves: bool = False) -> str:
    """The precision that ``auto`` stands for on this device; StageError for one that cannot be had there.

    halves: whether the weights are stored in float16, so that nothing is lost by it.
    """
    if precision not in PRECISIONS:
        raise StageError(f'"{precision}" is not a precision: choose {", ".join(PRECISIONS)}')
    on_cpu = torch.device(device).type == "cpu"
    if precision == "auto":
        small = "float16" if halves and on_cpu and processor().fbgemm else "float32"
        return small if parameters < SMALL else "int8" if on_cpu else "bf16"
    if precision in ("float16", "int8", "int4") and not on_cpu:
        raise StageError(f"{precision} is for CPUs: use bf16 on {device}")
    if precision == "float16" and not processor().fbgemm:
        raise StageError("float16 is for x86 processors: use float32 or bf16 on this one")
    return precision


def compute_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """What activations and caches are kept in."""
    fast = torch.device(device).type != "cpu" or processor().bf16
    return torch.bfloat16 if precision not in ("float32", "float16") and fast else torch.float32


class LowLinear(nn.Module):
    """A linear layer without bias whose weights are packed: [..., in_features] -> [..., out_features], in the dtype of
    its input."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.out_features, self.in_features = weight.shape

    def _apply(self, fn, recurse: bool = True) -> LowLinear:
        """Stay as packed: these are for CPUs, and a module's ``to(dtype)`` would unpack them."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]."""
        return self.rows(x.reshape(-1, self.in_features)).to(x.dtype).view(*x.shape[:-1], self.out_features)

    def rows(self, x: Tensor) -> Tensor:
        """x [M, in_features] -> [M, out_features]."""
        raise NotImplementedError

    def like(self, weight: Tensor) -> LowLinear:
        """Another layer, with this weight [N, K] packed in the same way."""
        return type(self)(weight)


class Float16Linear(LowLinear):
    """Weights in float16, products and sums in float32. They can be had back, and gradients pass through (to no
    weights).

    By FBGEMM; by plain arithmetic where a test pretends that it is there.
    """

    def __init__(self, weight: Tensor):
        super().__init__(weight)
        if detected().fbgemm:
            with _fbgemm():
                self.packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)
        else:
            self.register_buffer("weight", weight.to(torch.float16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]."""
        if x.requires_grad or not hasattr(self, "packed"):
            return F.linear(x.float(), self.unpacked()).to(x.dtype)
        return torch.ops.quantized.linear_dynamic_fp16(x.float(), self.packed).to(x.dtype)

    def unpacked(self) -> Tensor:
        """The weights as they are, float32 [N, K]."""
        if not hasattr(self, "packed"):
            return self.weight.float()
        return torch.ops.quantized.linear_unpack_fp16(self.packed)[0]


class Bf16Linear(LowLinear):
    """Weights in bf16: for processors that multiply neither it by instructions of their own (these take ``nn.Linear``)
    nor float16."""

    def __init__(self, weight: Tensor):
        super().__init__(weight)
        self.register_buffer("weight", weight.to(torch.bfloat16), persistent=False)

    def rows(self, x: Tensor) -> Tensor:
        if len(x) > MANY:  # without bf16 instructions float32 products are quicker where rows are many
            return F.linear(x.float(), self.weight.float())
        return F.linear(x.to(torch.bfloat16), self.weight)


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [N, K] -> (int8 [N, K], scale [N] float32): weight is about int8 * scale."""
    weight = weight.float()
    scale = weight.abs().amax(1).clamp(min=1e-12) / 127
    return (weight / scale[:, None]).round_().to(torch.int8), scale


class Int8Linear(LowLinear):
    """Weights in int8, activations in bf16: for processors that multiply bf16."""

    def __init__(self, weight: Tensor):
        super().__init__(weight)
        packed, scale = quantize_int8(weight)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("scale", scale.to(torch.bfloat16), persistent=False)

    def rows(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        if len(x) > MANY:
            return F.linear(x, self.weight.to(x.dtype)) * self.scale
        if len(x) == 1:  # the kernel for one row is another, and slow
            return torch.ops.aten._weight_int8pack_mm(x.expand(2, -1).contiguous(), self.weight, self.scale)[:1]
        return torch.ops.aten._weight_int8pack_mm(x, self.weight, self.scale)


class Int8RowsLinear(LowLinear):
    """Weights in int8, and each row of activations in bytes with a scale of its own: for x86 processors that do not
    multiply bf16.

    Those without VNNI add two products in 16 bits, which hold them if the activations have 7. By FBGEMM; by plain
    arithmetic where a test pretends a processor that has more than this one.
    """

    def __init__(self, weight: Tensor):
        super().__init__(weight)
        here, real = processor(), detected()
        self.peak = 127 if here.vnni else 63
        self.tiny = torch.tensor(1e-12)  # a silent row is divided by it
        packed, scale = quantize_int8(weight)
        if not real.byte_rows or here.vnni > real.vnni:
            self.register_buffer("weight", packed, persistent=False)
            self.register_buffer("scale", scale, persistent=False)
            return
        with warnings.catch_warnings(), _fbgemm():
            warnings.simplefilter("ignore")  # torch is about to rename these
            whole = torch._make_per_channel_quantized_tensor(
                packed, scale.double(), torch.zeros(len(scale), dtype=torch.int64), 0
            )
            self.packed = torch.ops.quantized.linear_prepack(whole, None)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in_features] -> [..., out_features]; computed in float32."""
        if x.dtype != torch.float32:
            return self.forward(x.float()).to(x.dtype)
        scale = x.abs().amax(-1, True)  # a tenth of the time of vector_norm's maximum
        scale = torch.add(self.tiny, scale, alpha=1 / self.peak)
        if not hasattr(self, "packed"):
            return F.linear((x / scale).round(), self.weight.float()) * self.scale * scale
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / scale, 1.0, self.peak + 1, self.packed
        ).mul_(scale)


@contextmanager
def _fbgemm() -> Iterator[None]:
    """Pack for FBGEMM, whatever engine the program around us has chosen for its own quantised layers."""
    before = torch.backends.quantized.engine
    try:
        torch.backends.quantized.engine = "fbgemm"
        yield
    finally:
        torch.backends.quantized.engine = before


def quantize_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [N, K] -> (0..15 int32 [N, K], scale and offset [K / GROUP, N, 2] float32): weight is about (q - 8) *
    scale + offset."""
    groups = weight.float().unflatten(1, (-1, GROUP))
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp(min=1e-12).to(torch.bfloat16).float()
    offset = (low + 8 * scale).to(torch.bfloat16).float()
    packed = ((groups - offset[..., None]) / scale[..., None]).round_().add_(8).clamp_(0, 15)
    return packed.flatten(1).int(), torch.stack([scale, offset], -1).transpose(0, 1).contiguous()


class Int4Linear(LowLinear):
    """Weights in int4 by groups, activations in bf16."""

    def __init__(self, weight: Tensor):
        super().__init__(weight)
        packed, scales = quantize_int4(weight)
        self.register_buffer("weight", torch.ops.aten._convert_weight_to_int4pack_for_cpu(packed, 2), persistent=False)
        self.register_buffer("scales", scales.to(torch.bfloat16), persistent=False)

    def rows(self, x: Tensor) -> Tensor:
        return torch.ops.aten._weight_int4pack_mm_for_cpu(
            x.to(torch.bfloat16).contiguous(), self.weight, GROUP, self.scales
        )


def int8_kernels() -> dict[str, type[LowLinear]]:
    """The kernels for int8 that can be had here, by name; the first is taken where nothing has been measured."""
    found: dict[str, type[LowLinear]] = {"rows": Int8RowsLinear} if processor().byte_rows else {}
    return {"bf16": Int8Linear} | found if processor().bf16 else found | {"bf16": Int8Linear}


def pack(weight: Tensor, precision: str, device: torch.device | str = "cpu", kernel: str = "") -> nn.Module:
    """A linear layer with this weight [N, K], float32, in this precision. kernel: of ``int8_kernels``, for int8."""
    if precision == "int8":
        kernels = int8_kernels()
        return kernels.get(kernel, next(iter(kernels.values())))(weight)
    if precision == "int4":
        return Int4Linear(weight)
    if compute_dtype(precision, device) == torch.float32:
        return Float16Linear(weight) if processor().fbgemm else Bf16Linear(weight)
    plain = nn.Linear(*reversed(weight.shape), bias=False, device="meta")
    plain.weight = nn.Parameter(weight.to(device, torch.bfloat16), requires_grad=False)
    return plain


MATRICES = ("qkv", "self_out", "cross_q", "cross_kv", "cross_out", "up", "down")
"""The linear layers of a ``stage.models.decoder.Layer``."""


def matrices(decoder: Decoder) -> dict[str, str]:
    """The decoder's big matrices: name of the parameter -> path of the module that stands for it when it is packed."""
    names = {f"layers.{i}.{name}.weight": f"layers.{i}.{name}" for i in range(len(decoder.layers)) for name in MATRICES}
    return names | {"head": "predict"}


def replace(
    decoder: Decoder, path: str, weight: Tensor, precision: str, device: torch.device | str = "cpu", kernel: str = ""
) -> None:
    """Put a packed matrix in the place of a module of the decoder. The head's [K, V, D] becomes one of [K * V, D]."""
    if path == "predict":
        # the matrix whose rounding is the most audible, and a fiftieth of the weights
        weight, precision = weight.flatten(0, 1), "int8" if precision == "int4" else precision
        decoder.head = None
    parent, _, name = path.rpartition(".")
    setattr(decoder.get_submodule(parent), name, pack(weight, precision, device, kernel))


def plain_weights(decoder: Decoder) -> dict[str, Tensor]:
    """A decoder's weights under the names and in the shapes that they have when nothing is packed; float16 comes out as
    float32.

    Raises StageError where they are in fewer bits.
    """
    weights = dict(decoder.state_dict())
    for name, path in matrices(decoder).items():
        if name in weights:
            continue
        module = decoder.get_submodule(path)
        if not isinstance(module, (nn.Linear, Float16Linear)):
            raise StageError(
                "packed weights cannot be saved or merged: load the model with precision float32 and engine torch"
            )
        weight = weights.pop(f"{path}.weight") if isinstance(module, nn.Linear) else module.unpacked()
        weights[name] = weight.unflatten(0, (decoder.config.codebooks, -1)) if path == "predict" else weight
    return weights
