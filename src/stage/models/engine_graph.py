"""The decoder as graphs of OpenVINO: its columns over caches that the engine keeps, and the text's keys and values.

Matrices stay in bytes or halves of bytes, in the form that the engine multiplies as it is: a constant, its conversion,
its offset and its scale. Caches are the engine's states, in the form that it fuses with the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
import openvino.opset13 as op

from stage.config import DecoderConfig

GROUP = 64
"""Inputs that share a scale and an offset in int4."""


class Matrix(NamedTuple):
    """Weights [N, K] as they are stored: float32, int8 with a scale for each output, or int4, two to a byte, the first
    in the lower half, with a scale and an offset for each ``GROUP`` inputs of an output.

    data: float32 or int8 [N, K], or uint8 [N * K / 2]. scale: float32 [N, 1] or float16 [N, K / GROUP, 1].
    offset: uint8 [N, K / GROUP, 1]. delta: an adapter's A [rank, K] and B [N, rank] with its weight, float32.
    """

    data: np.ndarray
    shape: tuple[int, int]
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    delta: tuple[np.ndarray, np.ndarray] | None = None


Weights = Callable[[str], Any]
"""The ``Matrix`` of a linear layer by its name in the decoder (``layers.0.qkv``, ``head``), and the weight and bias of
a norm, float32 [D] each."""


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def linear(x: Any, matrix: Matrix) -> Any:
    """x [..., K] -> [..., N]."""
    if matrix.offset is None:
        weight = op.constant(matrix.data, shared_memory=True)
        if matrix.scale is not None:
            weight = op.multiply(op.convert(weight, "f32"), op.constant(matrix.scale))
    else:
        groups = [matrix.shape[0], matrix.shape[1] // GROUP, GROUP]
        weight = op.constant(ov.Tensor(matrix.data, groups, ov.Type.u4), shared_memory=True)
        weight = op.subtract(op.convert(weight, "f16"), op.convert(op.constant(matrix.offset), "f16"))
        weight = op.multiply(weight, op.constant(matrix.scale))
        weight = op.convert(op.reshape(weight, _ints(*matrix.shape), False), "f32")
    y = op.matmul(x, weight, False, True)
    if matrix.delta is not None:
        a, b = (op.constant(part) for part in matrix.delta)
        y = op.add(y, op.matmul(op.matmul(x, a, False, True), b, False, True))
    return y


def _norm(x: Any, weights: tuple[np.ndarray, np.ndarray]) -> Any:
    weight, bias = (op.constant(part[None]) for part in weights)
    return op.add(op.multiply(op.mvn(x, _ints(-1), True, 1e-5, "inside_sqrt"), weight), bias)


def _swap(x: Any) -> Any:
    """[B, H, S, d] <-> [B, S, H, d]."""
    return op.transpose(x, _ints(0, 2, 1, 3))


def _input(name: str, shape: Sequence[int], kind: Any = ov.Type.f32) -> Any:
    made = op.parameter(ov.PartialShape(list(shape)), kind, name=name)
    made.output(0).set_names({name})
    return made


def _output(value: Any, name: str) -> Any:
    made = op.result(value)
    made.output(0).set_names({name})
    return made


def text_graph(config: DecoderConfig, weights: Weights) -> ov.Model:
    """Projected text [L, D] -> "text": keys, scaled, and values of each layer for it, [layers * 2, H, L, d]."""
    x = _input("x", (-1, config.dim))
    made, scales = [], np.array([(config.dim // config.heads) ** -0.5, 1], np.float32).reshape(2, 1, 1, 1)
    for i in range(config.layers):
        both = linear(x, weights(f"layers.{i}.cross_kv"))
        both = op.reshape(both, _ints(-1, 2, config.heads, config.dim // config.heads), False)
        made.append(op.multiply(op.transpose(both, _ints(1, 2, 0, 3)), op.constant(scales)))
    return ov.Model([_output(op.concat(made, 0), "text")], [x], "text")


def decoder_graph(config: DecoderConfig, weights: Weights, texts: Sequence[bool]) -> ov.Model:
    """More columns for every branch of the guidance; texts: which of them attend to the text.

    For each branch b: "x{b}" [V * L, D], columns after ``Decoder.enter``, each variation's one after the other;
    "mask{b}" [1, 1, L, P + L], zero where a column attends to one before it or to itself, else -inf; with rotary
    positions "cos{b}" and "sin{b}" [1, 1, L, d]. L may differ between branches. "beam" [V] int32: from which row of the
    caches each variation goes on. "text": of ``text_graph``. "wanted" [n] int64: rows of all branches' columns, one
    branch after the other, whose "logits" [n, K * size] are computed.
    """
    heads, d = config.heads, config.dim // config.heads
    count, rotary = len(texts), config.positions == "rotary"
    names = ("x", "mask", *(("cos", "sin") if rotary else ()))
    shapes = {"x": (-1, config.dim), "mask": (1, 1, -1, -1), "cos": (1, 1, -1, d), "sin": (1, 1, -1, d)}
    given = {f"{name}{b}": _input(f"{name}{b}", shapes[name]) for b in range(count) for name in names}
    beam, wanted = _input("beam", (-1,), ov.Type.i32), _input("wanted", (-1,), ov.Type.i64)
    rows = op.shape_of(beam)
    ends = [op.gather(op.shape_of(given[f"x{b}"]), _ints(0), np.int64(0)) for b in range(count)]
    for b in range(1, count):
        ends[b] = op.add(ends[b], ends[b - 1])
    shape, empty = (op.concat([rows, op.constant(_ints(*rest))], 0) for rest in ((-1, 3 * heads, d), (heads, 0, d)))
    sinks: list[Any] = []

    def cut(x: Any, b: int) -> Any:
        """The rows of a branch."""
        if count == 1:
            return x
        return op.slice(x, op.constant(_ints(0)) if b == 0 else ends[b - 1], ends[b], _ints(1), _ints(0))

    def cached(new: Any, name: str) -> Any:
        """Keys or values [V, H, L, d] behind those of the columns before, which they join."""
        start = op.broadcast(op.constant(np.float32(0)), empty)
        state = op.read_value(start, name, ov.Type.f32, ov.PartialShape([-1, heads, -1, d]))
        whole = op.concat([op.gather(state, beam, np.int64(0)), new], 2)
        sinks.append(op.assign(whole, name))
        return whole

    def turned(x: Any, b: int) -> Any:
        halves = op.split(x, np.int64(3), 2)
        other = op.concat([halves.output(1), halves.output(0)], 3)  # the sines carry the sign
        return op.add(op.multiply(x, given[f"cos{b}"]), op.multiply(other, given[f"sin{b}"]))

    def attended(qkv: Any, b: int, i: int) -> Any:
        parts = op.split(_swap(op.reshape(cut(qkv, b), shape, False)), np.int64(1), 3)
        q, k, v = (parts.output(n) for n in range(3))
        if rotary:
            q, k = turned(q, b), turned(k, b)
        k, v = cached(k, f"keys{i}.{b}"), cached(v, f"values{i}.{b}")
        y = op.scaled_dot_product_attention(q, k, v, given[f"mask{b}"])
        return op.reshape(_swap(y), _ints(-1, config.dim), False)

    def asked(x: Any, i: int) -> Any:
        q = linear(_norm(x, weights(f"layers.{i}.cross_norm")), weights(f"layers.{i}.cross_q"))
        q = _swap(op.reshape(q, _ints(1, -1, heads, d), False))
        k, v = (op.gather(text, _ints(2 * i + n), np.int64(0)) for n in range(2))
        y = op.matmul(op.softmax(op.matmul(q, k, False, True), 3), v, False, False)
        y = op.reshape(_swap(y), _ints(-1, config.dim), False)
        return op.add(x, linear(y, weights(f"layers.{i}.cross_out")))

    x = given["x0"] if count == 1 else op.concat([given[f"x{b}"] for b in range(count)], 0)
    if any(texts):
        text = given["text"] = _input("text", (-1, heads, -1, d))
    for i in range(config.layers):
        qkv = linear(_norm(x, weights(f"layers.{i}.self_norm")), weights(f"layers.{i}.qkv"))
        seen = [attended(qkv, b, i) for b in range(count)]
        x = op.add(x, linear(op.concat(seen, 0), weights(f"layers.{i}.self_out")))
        if any(texts):
            x = op.concat([asked(cut(x, b), i) if has else cut(x, b) for b, has in enumerate(texts)], 0)
        up = op.gelu(linear(_norm(x, weights(f"layers.{i}.ffn_norm")), weights(f"layers.{i}.up")), "erf")
        x = op.add(x, linear(up, weights(f"layers.{i}.down")))
    x = _norm(op.gather(x, wanted, np.int64(0)), weights("norm"))
    logits = _output(linear(x, weights("head")), "logits")
    return ov.Model([logits], sinks, [*given.values(), beam, wanted], "decoder")
