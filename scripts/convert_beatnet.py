"""Make src/stage/weights/beatnet.safetensors from the wheel of BeatNet.

    pip download BeatNet==1.1.3 --no-deps -d /tmp/beatnet
    python scripts/convert_beatnet.py /tmp/beatnet/BeatNet-1.1.3-py3-none-any.whl

Takes the three models (each trained without one of GTZAN, Ballroom and Rock Corpus), renames their tensors to those
of `stage.beats.beatnet.BeatNetwork` behind the number of the model, checks every shape and writes float16 safetensors.
The pickles inside the wheel are read with `weights_only=True`, so nothing in them is run.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from stage.beats.beatnet import WEIGHTS, BeatNetwork

SHA256 = {
    "BeatNet/models/model_1_weights.pt": "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
    "BeatNet/models/model_2_weights.pt": "5878a18c079fa0b0139879b14ed2b5b7595faef8c3d16210aed141fd00fa2d58",
    "BeatNet/models/model_3_weights.pt": "0c52a074ea38e8cb4a760ecfa3747c9cf91a1e3cd19f238eed80b0de763989ca",
}
NAMES = {"conv1": "bands", "linear0": "project", "lstm": "memory", "linear": "classify"}


def read(wheel: zipfile.ZipFile, member: str) -> dict[str, torch.Tensor]:
    """One model's tensors under our names; exits if it is not the expected file."""
    data = wheel.read(member)
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[member]:
        raise SystemExit(f"{member} has SHA-256 {digest}, expected {SHA256[member]}: not the wheel of BeatNet 1.1.3")
    tensors = {}
    for name, tensor in torch.load(io.BytesIO(data), map_location="cpu", weights_only=True).items():
        module, parameter = name.split(".")
        tensors[f"{NAMES[module]}.{parameter}"] = tensor.float()
    BeatNetwork().load_state_dict(tensors, strict=True)
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()

    with zipfile.ZipFile(arguments.wheel) as wheel:
        models = [read(wheel, member) for member in SHA256]
    ours = {
        f"{index}.{name}": tensor.half().contiguous()
        for index, model in enumerate(models)
        for name, tensor in model.items()
    }
    source = "BeatNet 1.1.3: " + ", ".join(f"{member} (SHA-256 {digest})" for member, digest in SHA256.items())
    save_file(ours, arguments.output, metadata={"source": source, "license": "CC-BY-4.0"})
    print(f"{arguments.output}: {len(ours)} tensors, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
