"""Make src/stage/weights/beatnet.safetensors from the wheel of BeatNet.

    pip download BeatNet==1.1.3 --no-deps -d /tmp/beatnet
    python scripts/convert_beatnet.py /tmp/beatnet/BeatNet-1.1.3-py3-none-any.whl

Takes model 1 (trained without GTZAN), renames its tensors to those of `stage.models.beatnet.BeatNetwork`,
checks every shape and writes float32 safetensors. Values are not changed. The pickle inside the wheel
is read with `weights_only=True`, so nothing in it is run.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from stage.models.beatnet import WEIGHTS, BeatNetwork

MEMBER = "BeatNet/models/model_1_weights.pt"
SHA256 = "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84"
NAMES = {"conv1": "bands", "linear0": "project", "lstm": "memory", "linear": "classify"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()

    with zipfile.ZipFile(arguments.wheel) as wheel:
        data = wheel.read(MEMBER)
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{MEMBER} has SHA-256 {digest}, expected {SHA256}: not the wheel of BeatNet 1.1.3")
    theirs = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    ours = {}
    for name, tensor in theirs.items():
        module, parameter = name.split(".")
        ours[f"{NAMES[module]}.{parameter}"] = tensor.float().contiguous()
    BeatNetwork().load_state_dict(ours, strict=True)
    save_file(ours, arguments.output, metadata={"source": f"BeatNet 1.1.3, {MEMBER}, SHA-256 {SHA256}", "license": "CC-BY-4.0"})
    print(f"{arguments.output}: {len(ours)} tensors, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
