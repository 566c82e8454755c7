"""The decoder as graphs of OpenVINO: its columns over caches that the engine keeps, and the text's keys and values.

Matrices stay in bytes or halves of bytes, in the form that the engine multiplies as it is: a constant, its conversion,
its offset and its scale. Caches are in blocks, over which the engine's attention reads about as fast as they allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
import openvino.opset13 as op
from openvino._offline_transformations import paged_attention_transformation

from stage.config import DecoderConfig
from stage.models.engine_request import BITS

GROUP = 64
"""Inputs that share a scale and an offset in int4."""


class Matrix(NamedTuple):
    """Weights [N, K] as they are stored: float32, bf16, int8 with a scale for each output, or int4, two to a byte, the
    first in the lower half, with a scale and an offset for each ``GROUP`` inputs of an output.

    data: float32, uint16 (the bits of bf16) or int8 [N, K], or uint8 [N * K / 2]. scale: float32 [N, 1] or float16 [N,
    K / GROUP, 1]. offset: uint8 [N, K / GROUP, 1]. delta: an adapter's A [rank, K] and B [N, rank] with its weight,
    float32.
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
    if matrix.data.dtype == BITS:
        weight = op.convert(op.constant(ov.Tensor(matrix.data, matrix.shape, ov.Type.bf16), shared_memory=True), "f32")
    elif matrix.offset is None:
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
    made.set_friendly_name(name)
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


def decoder_graph(config: DecoderConfig, weights: Weights, asks: bool) -> ov.Model:
    """L more columns for S sequences; asks: whether some of them attend to a text.

    It is laid out as the engine knows language models, so that its own pass makes the caches paged: blocks of columns,
    of which a sequence has any, and several may have the same. Each head of a sequence is one of its sequences, so that
    its blocks lie one behind the other in memory: they are read in half the time.

    "inputs_embeds" [S * L, D]: columns after ``Decoder.enter``, one sequence after the other; each attends to itself
    and to those before it in its sequence. "sequences" [1] int64: S. With rotary positions "cos" and "sin" [S, 1, L,
    d]. Where it asks, "text", of ``text_graph``, and "told" [S * L, 1]: one for a column that attends to it, else zero.
    "wanted" [n] int64: the columns of which "logits" [n, K * size] are computed.
    By the pass, int32: "past_lens" [S * H], columns that the caches hold; "subsequence_begins" [S * H + 1], where the
    new ones begin; "block_indices" [B] and "block_indices_begins" [S * H + 1], the blocks of each in order;
    "max_context_len" [], the columns of the longest. "key_cache.i" and "value_cache.i" [blocks, 1, size of one, d].
    """
    heads, d = config.heads, config.dim // config.heads
    columns = _input("inputs_embeds", (-1, -1, config.dim))
    beam, mask = _input("beam_idx", (-1,), ov.Type.i32), _input("attention_mask", (-1, -1))  # the pass takes them away
    sequences, wanted = _input("sequences", (1,), ov.Type.i64), _input("wanted", (-1,), ov.Type.i64)
    given, sinks = [columns, beam, mask, sequences, wanted], []
    if config.positions == "rotary":
        cos, sin = (_input(name, (-1, 1, -1, d)) for name in ("cos", "sin"))
        given += cos, sin
    if asks:
        text, told = _input("text", (2 * config.layers, heads, -1, d)), _input("told", (-1, 1))
        of_text = op.split(text, np.int64(0), 2 * config.layers).outputs()
        given += text, told

    def shape(*rest: int) -> Any:
        return op.concat([sequences, op.constant(_ints(*rest))], 0)

    def cached(new: Any, name: str) -> Any:
        """Keys or values [S * H * L, 1, 1, d] behind those of the columns before, which they join."""
        empty = op.constant(np.zeros((1, 1, 0, d), np.float32))
        state = op.read_value(empty, name, ov.Type.f32, ov.PartialShape([-1, 1, -1, d]))
        whole = op.concat([op.gather(state, beam, np.int64(0)), new], 2)
        sinks.append(op.assign(whole, name))
        return whole

    def turned(x: Any) -> Any:
        halves = op.split(x, np.int64(3), 2)
        other = op.concat([halves.output(1), halves.output(0)], 3)  # the sines carry the sign
        return op.add(op.multiply(x, cos), op.multiply(other, sin))

    def attended(qkv: Any, i: int) -> Any:
        parts = op.transpose(op.reshape(qkv, shape(-1, 3, heads, d), False), _ints(2, 0, 3, 1, 4))
        q, k, v = op.split(parts, np.int64(0), 3).outputs()
        if config.positions == "rotary":
            q, k = (turned(op.reshape(x, shape(heads, -1, d), False)) for x in (q, k))
        q, k, v = (op.reshape(x, _ints(-1, 1, 1, d), False) for x in (q, k, v))
        y = op.scaled_dot_product_attention(q, cached(k, f"keys{i}"), cached(v, f"values{i}"), mask)
        return op.reshape(_swap(op.reshape(y, shape(heads, -1, d), False)), _ints(-1, config.dim), False)

    def asked(x: Any, i: int) -> Any:
        q = linear(_norm(x, weights(f"layers.{i}.cross_norm")), weights(f"layers.{i}.cross_q"))
        q = _swap(op.reshape(q, _ints(1, -1, heads, d), False))
        k, v = of_text[2 * i : 2 * i + 2]
        y = op.matmul(op.softmax(op.matmul(q, k, False, True), 3), v, False, False)
        y = op.multiply(op.reshape(_swap(y), _ints(-1, config.dim), False), told)
        return linear(y, weights(f"layers.{i}.cross_out"))

    x = op.reshape(columns, _ints(-1, config.dim), False)
    for i in range(config.layers):
        qkv = linear(_norm(x, weights(f"layers.{i}.self_norm")), weights(f"layers.{i}.qkv"))
        x = op.add(x, linear(attended(qkv, i), weights(f"layers.{i}.self_out")))
        if asks:
            x = op.add(x, asked(x, i))
        up = op.gelu(linear(_norm(x, weights(f"layers.{i}.ffn_norm")), weights(f"layers.{i}.up")), "erf")
        x = op.add(x, linear(up, weights(f"layers.{i}.down")))
    x = _norm(op.gather(x, wanted, np.int64(0)), weights("norm"))
    graph = ov.Model([_output(linear(x, weights("head")), "logits")], sinks, given, "decoder")
    paged_attention_transformation(graph)
    return graph
