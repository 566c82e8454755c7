"""The matrices of one step of a decoder of MusicGen-small's size, two rows, by engine: how fast they are read.

    python benchmarks/matrices.py --threads 2

Torch's kernels for few bits, OpenVINO's, and those of ONNX Runtime where it is there (pip install onnxruntime onnx)
take turns over drawn weights; prints a Markdown table of the fastest of some rounds. Other programs should rest.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator

import torch

from stage.config import DecoderConfig
from stage.machine import describe
from stage.models import engine
from stage.models.precision import BYTES, int8_kernels, pack

ROWS = 2
ROUNDS = 15
BLOCK = 64
"""Inputs that share a scale by ONNX Runtime."""

Run = Callable[[], object]


def shapes(config: DecoderConfig) -> list[tuple[int, int]]:
    """[outputs, inputs] of the matrices that one step reads."""
    d, f = config.dim, config.ffn_dim
    return [(3 * d, d), (d, d), (d, d), (d, d), (f, d), (d, f)] * config.layers


def by_torch(precision: str, kernel: str, config: DecoderConfig) -> tuple[Run, float]:
    draw = torch.Generator().manual_seed(0)
    layers = [
        pack(torch.randn(shape, generator=draw), precision, kernel=kernel) if precision != "float32" else _plain(shape)
        for shape in shapes(config)
    ]
    rows = {n: torch.randn(ROWS, n) for n in {inputs for _, inputs in shapes(config)}}
    size = sum(n * k for n, k in shapes(config)) * BYTES[precision]
    return lambda: [layer(rows[layer.in_features]) for layer in layers], size


def _plain(shape: tuple[int, int]) -> torch.nn.Linear:
    return torch.nn.Linear(shape[1], shape[0], bias=False)


def by_openvino(precision: str, config: DecoderConfig) -> tuple[Run, float]:
    import openvino as ov
    import openvino.opset13 as op

    from stage.models.engine_graph import linear
    from stage.models.engine_request import Matrices, Request, compile_graph
    from stage.models.engine_weights import pack as packed
    from stage.models.engine_weights import unpack

    draw = torch.Generator().manual_seed(0)
    data = [packed("", torch.randn(shape, generator=draw), precision).numpy() for shape in shapes(config)]
    inputs = {
        n: op.parameter(ov.PartialShape([-1, n]), ov.Type.f32, name=f"x{n}") for n in {k for _, k in shapes(config)}
    }
    for name, made in inputs.items():
        made.output(0).set_names({f"x{name}"})
    results = [
        op.result(linear(inputs[shape[1]], unpack("", part, shape, precision)))
        for part, shape in zip(data, shapes(config))
    ]
    held = Matrices(lambda name: data[int(name)])
    request = Request(compile_graph(ov.Model(results, [*inputs.values()], "matrices"), precision, held))
    request.run({f"x{n}": torch.randn(ROWS, n) for n in inputs})
    return lambda: request.run({}), float(sum(part.nbytes for part in data))


def by_onnxruntime(bits: int, config: DecoderConfig) -> tuple[Run, float]:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    draw, nodes, weights, size = np.random.default_rng(0), [], [], 0
    for i, (n, k) in enumerate(shapes(config)):
        numbers = draw.integers(0, 256, (n, k // BLOCK, BLOCK * bits // 8), np.uint8)
        scales = 0.01 * draw.random(n * k // BLOCK, np.float32)
        weights += [numpy_helper.from_array(numbers, f"w{i}"), numpy_helper.from_array(scales, f"s{i}")]
        size += numbers.nbytes + scales.nbytes
        settings = dict(
            domain="com.microsoft", K=k, N=n, bits=bits, block_size=BLOCK, accuracy_level=4
        )  # 4: int8 inside
        nodes.append(helper.make_node("MatMulNBits", [f"x{k}", f"w{i}", f"s{i}"], [f"y{i}"], **settings))
    inputs = sorted({k for _, k in shapes(config)})
    graph = helper.make_graph(
        nodes,
        "matrices",
        [helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, [ROWS, k]) for k in inputs],
        [
            helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [ROWS, n])
            for i, (n, _) in enumerate(shapes(config))
        ],
        weights,
    )
    operators = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    given = {f"x{k}": draw.random((ROWS, k), np.float32) for k in inputs}
    return lambda: session.run(None, given), float(size)


def ways(config: DecoderConfig) -> Iterator[tuple[str, Callable[[], tuple[Run, float]]]]:
    """Every way by its name; each holds the weights in its own form."""
    yield "torch float32", lambda: by_torch("float32", "", config)
    for kernel in int8_kernels():
        yield f'torch int8, "{kernel}"', lambda kernel=kernel: by_torch("int8", kernel, config)
    yield "torch int4", lambda: by_torch("int4", "", config)
    if engine.installed():
        for precision in engine.ROUNDED:
            yield f"OpenVINO {precision}", lambda precision=precision: by_openvino(precision, config)
    if all(map(importlib.util.find_spec, ("onnxruntime", "onnx"))):
        for bits in (8, 4):
            yield f"ONNX Runtime int{bits}, blocks of {BLOCK}", lambda bits=bits: by_onnxruntime(bits, config)


@torch.inference_mode()
def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(ask.parse_args().threads)
    made = {name: way() for name, way in ways(DecoderConfig())}
    best = dict.fromkeys(made, float("inf"))
    for _ in range(ROUNDS):
        for name, (run, _) in made.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    print("| | ms | GB | GB/s |\n| --- | --- | --- | --- |")
    for name, seconds in best.items():
        size = made[name][1]
        print(f"| {name} | {1e3 * seconds:.1f} | {size / 1e9:.2f} | {size / 1e9 / seconds:.1f} |")
    print(f"\n{ROWS} rows, {describe()}.")


if __name__ == "__main__":
    main()
