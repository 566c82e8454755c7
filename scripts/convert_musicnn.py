"""Make src/stage/weights/musicnn.safetensors from the wheel of musicnn.

    pip download musicnn==0.1.0 --no-deps -d /tmp/musicnn
    python scripts/convert_musicnn.py /tmp/musicnn/musicnn-0.1.0-py3-none-any.whl

Takes the model that learnt the Million Song Dataset's tags from its TensorFlow checkpoint (read as what it is, a sorted
table of names
and a file of numbers; TensorFlow is not needed), renames the tensors to those of `stage.evaluation.embeddings.musicnn`,
leaves the optimiser's out,
checks every shape and writes float16 safetensors.
"""

import argparse
import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from stage.evaluation.embeddings.musicnn import WEIGHTS, Musicnn

FOLDER = "musicnn/MSD_musicnn"
SHA256 = "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6"
MAGIC = 0xDB4775248B80FB57
BLOCKS = [
    "enter",
    "timbre.0",
    "timbre.1",
    "tempo.0",
    "tempo.1",
    "tempo.2",
    "middle.0",
    "middle.1",
    "middle.2",
    "pooled",
    "norm",
]
"""Our names of the batch normalisations, in the order in which TensorFlow numbers them."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def block(data: bytes, offset: int, size: int) -> dict[bytes, bytes]:
    """Keys and values of a block of a sorted table: keys share the beginnings of their predecessors."""
    if data[offset + size] != 0:
        raise SystemExit("the table is compressed, which this script does not read")
    body = data[offset : offset + size]
    end = len(body) - 4 - 4 * struct.unpack("<I", body[-4:])[0]
    at, key, found = 0, b"", {}
    while at < end:
        shared, at = varint(body, at)
        fresh, at = varint(body, at)
        length, at = varint(body, at)
        key = key[:shared] + body[at : at + fresh]
        found[key] = body[at + fresh : at + fresh + length]
        at += fresh + length
    return found


def handle(data: bytes, at: int) -> tuple[int, int, int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def entry(data: bytes) -> dict[int, object]:
    """Fields of a protocol buffer; the shape (field 2) as a list of lengths."""
    at, fields = 0, {}
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            fields[tag >> 3], at = varint(data, at)
        elif tag & 7 == 5:
            at += 4
        else:
            length, at = varint(data, at)
            fields[tag >> 3] = data[at : at + length]
            at += length
    return fields


def tensors(index: bytes, numbers: bytes) -> dict[str, np.ndarray]:
    """All float32 tensors of a checkpoint."""
    footer = index[-48:]
    if struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise SystemExit("this is not a TensorFlow checkpoint")
    _, _, at = handle(footer, 0)
    offset, size, _ = handle(footer, at)
    found = {}
    for where in block(index, offset, size).values():
        first, length, _ = handle(where, 0)
        for key, value in block(index, first, length).items():
            fields = entry(value)
            if key and fields.get(1) == 1:
                sizes = [entry(part).get(1, 1) for part in dimensions(fields.get(2, b""))]
                start = fields.get(4, 0)
                found[key.decode()] = np.frombuffer(numbers[start : start + fields[5]], "<f4").reshape(sizes)
    return found


def dimensions(shape: bytes) -> list[bytes]:
    at, parts = 0, []
    while at < len(shape):
        _, at = varint(shape, at)
        length, at = varint(shape, at)
        parts.append(shape[at : at + length])
        at += length
    return parts


def numbered(name: str, count: int) -> str:
    return name if count == 0 else f"{name}_{count}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    with zipfile.ZipFile(parser.parse_args().wheel) as wheel:
        index, numbers = wheel.read(f"{FOLDER}/.index"), wheel.read(f"{FOLDER}/.data-00000-of-00001")
    if hashlib.sha256(numbers).hexdigest() != SHA256:
        raise SystemExit("these are not the weights of musicnn 0.1.0")
    theirs, ours = tensors(index, numbers), {}
    for place, name in enumerate(BLOCKS):
        norm, prefix = (
            numbered("batch_normalization", place),
            name + ("" if name in ("enter", "pooled", "norm") else ".norm"),
        )
        for to, of in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            ours[f"{prefix}.{to}"] = theirs[f"{norm}/{of}"]
    for place, name in enumerate(BLOCKS[1:9]):
        conv = numbered("conv2d", place)
        ours[f"{name}.conv.weight"] = theirs[f"{conv}/kernel"].transpose(3, 2, 0, 1)
        ours[f"{name}.conv.bias"] = theirs[f"{conv}/bias"]
    for place, name in enumerate(("dense", "tags")):
        dense = numbered("dense", place)
        ours[f"{name}.weight"], ours[f"{name}.bias"] = theirs[f"{dense}/kernel"].T, theirs[f"{dense}/bias"]
    state = {name: torch.from_numpy(np.ascontiguousarray(value)).half() for name, value in ours.items()}
    model = Musicnn()
    state |= {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(state)
    save_file(state, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
