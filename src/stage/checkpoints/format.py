"""Our own format: a folder with ``config.json`` and safetensors, loaded strictly.

config.json           "stage", "decoder", "codec", "text": what the parts are
decoder.safetensors   codec.safetensors   text.safetensors
codec/  text/         instead, where a part comes from ``transformers`` (EnCodec, T5)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from stage.checkpoints.fill import fill, fill_decoder, halves
from stage.checkpoints.memory import check_memory, parameters
from stage.checkpoints.paths import models
from stage.config import DecoderConfig, StageConfig
from stage.errors import StageError
from stage.files import whole_folder
from stage.models.codec import Codec
from stage.models.decoder import Decoder
from stage.models.encodec import EncodecCodec
from stage.models.malloc import keep
from stage.models.precision import choose, plain_weights
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText, T5Text, TextEncoder

FORMAT = 1
SHIPPED = Path(__file__).parent.parent / "weights"


def find(name_or_path: str | Path) -> Path:
    """Folder of a model: a path, or the name of one that is shipped in the package or installed."""
    for folder in (Path(name_or_path), SHIPPED / str(name_or_path), models() / str(name_or_path)):
        if (folder / "config.json").is_file():
            return folder
    if Path(name_or_path).exists():
        raise StageError(
            f"{name_or_path} is not a STAGE model: a folder with config.json is expected (stage convert makes one)"
        )
    known = ", ".join(sorted(p.parent.name for place in (SHIPPED, models()) for p in place.glob("[!.]*/config.json")))
    raise StageError(
        f"no model '{name_or_path}'; give a folder, or one of those at hand: {known or 'none'} (stage models get brings"
        " more)"
    )


def load(
    name_or_path: str | Path,
    device: str = "cpu",
    precision: str = "auto",
    on_share: Callable[[float], None] | None = None,
) -> tuple[StageConfig, Decoder, Codec, TextEncoder]:
    """Load a model. Raises StageError with what is missing or does not fit.

    precision: of the decoder's weights, see `stage.models.precision`. on_share: told the share of the decoder that is
    read, 0..1.
    """
    folder = find(name_or_path)
    try:
        config = json.loads((folder / "config.json").read_text())
        if config["format"] != FORMAT:
            raise StageError(f"{folder} has format {config['format']}; this version reads format {FORMAT}")
        stage, shape = StageConfig(**config["stage"]), DecoderConfig(**config["decoder"])
        kinds = {part: config[part].pop("kind") for part in ("codec", "text")}
        codec = SpectralCodec(SpectralConfig(**config["codec"])) if kinds["codec"] == "spectral" else None
        text = HashedText(HashedConfig(**config["text"])) if kinds["text"] == "hashed" else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StageError(f"{folder / 'config.json'} is not a STAGE configuration: {error}") from None
    precision = choose(precision, device, parameters(shape), halves(folder / "decoder.safetensors"))
    check_memory(folder, shape, precision, device)
    text = T5Text.from_pretrained(str(folder / "text")) if text is None else fill(text, folder / "text.safetensors")
    codec = (
        EncodecCodec.from_pretrained(str(folder / "codec"))
        if codec is None
        else fill(codec, folder / "codec.safetensors")
    )
    for part in (codec, text):
        (part if isinstance(part, nn.Module) else part.model).to(device)
    decoder = fill_decoder(shape, folder / "decoder.safetensors", precision, device, on_share)
    if decoder.device.type == "cpu":
        keep()
    return stage, decoder, codec, text


def save(
    path: str | Path,
    config: StageConfig,
    decoder: Decoder,
    codec: Codec,
    text: TextEncoder,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model to a new folder, whole or not at all. ``dtype`` is what the weights are stored in."""
    if isinstance(decoder.predict, nn.Linear):  # bf16, which has fewer digits than the file may have had
        raise StageError("weights in bf16 cannot be saved: load the model with precision float32")
    weights = plain_weights(decoder)
    with whole_folder(Path(path)) as partial:
        described = {
            "format": FORMAT,
            "stage": dataclasses.asdict(config),
            "decoder": dataclasses.asdict(decoder.config),
        }

        def write(name: str, tensors: dict[str, torch.Tensor]) -> None:
            save_file({n: t.to(dtype).contiguous() for n, t in tensors.items()}, partial / f"{name}.safetensors")

        write("decoder", weights)
        for name, part, kind in (("codec", codec, "spectral"), ("text", text, "hashed")):
            if isinstance(part, nn.Module):
                write(name, part.state_dict())
                described[name] = {"kind": kind, **dataclasses.asdict(part.config)}
            else:
                part.save_pretrained(str(partial / name))
                described[name] = {"kind": "transformers"}
        (partial / "config.json").write_text(json.dumps(described, indent=2) + "\n")
