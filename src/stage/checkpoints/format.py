"""Our own format: a folder with ``config.json`` and safetensors, loaded strictly.

config.json           "stage", "decoder", "codec", "text": what the parts are; "events" where the target is events
decoder.safetensors   codec.safetensors   text.safetensors   chords.safetensors (of models of events)
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

from stage.checkpoints import settings
from stage.checkpoints.engine_file import engine_of
from stage.checkpoints.installed import find
from stage.checkpoints.memory import check_memory, parameters
from stage.checkpoints.paths import home
from stage.checkpoints.pretrained import codec_of, text_of
from stage.checkpoints.tensors import check, fill, fill_decoder, is_half
from stage.config import DecoderConfig, EventsConfig, StageConfig
from stage.errors import StageError
from stage.files import whole_folder
from stage.models import features
from stage.models.chord_head import ChordHead
from stage.models.codec import Codec
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.engine import choose_engine
from stage.models.events import MANNERS, codecs
from stage.models.playable import INSTRUMENTS
from stage.models.precision import SMALL, choose, plain_weights
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText, TextEncoder
from stage.models.tune import fastest, is_engine_faster


def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    on_share: Callable[[float], None] | None = None,
    engine: str = "auto",
) -> tuple[StageConfig, Decoder, Codec, TextEncoder]:
    """Load a model. Raises StageError with what is missing or does not fit.

    name_or_path: see `stage.checkpoints.installed.find`. precision: of the decoder's weights, see
    `stage.models.precision`. on_share: gets the share of the decoder that is read, 0..1. engine: what computes the
    decoder, see `stage.models.engine`.
    """
    folder = find(name_or_path)
    read = settings.read(folder)
    shape, weights = read.decoder, folder / "decoder.safetensors"
    with described():
        check(Decoder(shape), weights)
    count = parameters(shape)
    precision = choose(precision, device, count, is_half(weights) and engine != "openvino")
    large = count >= SMALL and torch.device(device).type == "cpu" and engine in ("auto", "torch")
    kernel = fastest(precision, home()) if large else ""
    faster = large and engine == "auto" and is_engine_faster(shape, precision, kernel, home())
    engine = choose_engine(engine, precision, device, faster)
    check_memory(folder, shape, precision, device)
    _check_events(folder, read)
    held = engine_of(weights, shape, precision) if engine == "openvino" else None
    decoder = fill_decoder(shape, weights, precision, device, on_share, kernel, held)
    if held is not None and count >= SMALL:
        held.prepare(decoder)
    codec, text = _codec(read, folder), _text(read, folder)
    _check_parts(folder, shape, codec, text)
    for part in (codec, text):
        (part if isinstance(part, nn.Module) else part.model).to(device)
    return read.stage, decoder, codec, text


def load_events(
    name_or_path: str | Path, device: str | torch.device = "cpu"
) -> tuple[EventsConfig, ChordHead | None] | tuple[None, None]:
    """What a model of events has beside the parts of others: its configuration, and the head that reads chords where
    the folder has one. (None, None) for other models."""
    folder = find(name_or_path)
    read = settings.read(folder)
    if read.events is None:
        return None, None
    file = folder / "chords.safetensors"
    if not file.is_file():
        return read.events, None
    head = fill(ChordHead(read.decoder.dim), file)
    return read.events, head.to(device)


def _codec(read: settings.Settings, folder: Path) -> Codec:
    if read.codec["kind"] == "shared":
        other = find(str(read.codec.get("model")))
        read = settings.read(other)
        if read.codec["kind"] == "shared":
            raise StageError(f"{folder / settings.NAME} shares the codec of a model that has none of its own: {other}")
        return _codec(read, other)
    config = read.part("codec", "spectral", SpectralConfig, folder)
    if config is None:
        return codec_of(folder / "codec")
    file = folder / "codec.safetensors"
    with described():
        check(SpectralCodec(config), file)  # before anything is allocated
    return fill(SpectralCodec(config), file)


def _text(read: settings.Settings, folder: Path) -> TextEncoder:
    config = read.part("text", "hashed", HashedConfig, folder)
    if config is None:
        return text_of(folder / "text")
    file = folder / "text.safetensors"
    with described():
        check(HashedText(config), file)
    return fill(HashedText(config), file)


def _check_parts(folder: Path, shape: DecoderConfig, codec: Codec, text: TextEncoder) -> None:
    """Raise StageError unless decoder, codec and text encoder fit together."""
    codebooks = shape.context_codebooks or shape.codebooks
    if (codec.codebooks, codec.codebook_size) != (codebooks, shape.codebook_size):
        raise StageError(
            f"{folder} does not fit together: its decoder has {codebooks} codebooks of {shape.codebook_size}, and"
            f" its codec {codec.codebooks} of {codec.codebook_size}"
        )
    if text.dim != shape.text_dim:
        raise StageError(
            f"{folder} does not fit together: its text encoder is {text.dim} wide, and its decoder takes"
            f" {shape.text_dim}"
        )


def _check_events(folder: Path, read: settings.Settings) -> None:
    """Raise StageError where a model of events names stems or instruments that this version does not have."""
    shape, events = read.decoder, read.events
    if events is None:
        if shape.target_size:
            raise StageError(f"{folder / settings.NAME} lacks 'events', which its decoder's codes are")
        return
    lanes = max(codec.lanes for codec in codecs().values())
    if (shape.target_size, shape.codebooks, shape.features) != (MANNERS, 1 + 2 * lanes, features.SIZE):
        raise StageError(f"{folder} was made by another version: its codes of events are not those of this one")
    for stem in shape.stems:
        if tuple(events.instruments.get(stem, ())) != tuple(INSTRUMENTS.get(stem, ())):
            raise StageError(f"{folder} was made by another version: its instruments for {stem} are not this one's")


def save(
    path: str | Path,
    config: StageConfig,
    decoder: Decoder,
    codec: Codec,
    text: TextEncoder,
    dtype: torch.dtype = torch.float32,
    events: EventsConfig | None = None,
    chords: ChordHead | None = None,
    shared_codec: str = "",
) -> None:
    """Write a model to a new folder, whole or not at all.

    dtype: what the weights are stored in. events, chords: of a model of events. shared_codec: name of a model at hand
    whose codec this is; it is not written again.
    """
    if isinstance(decoder.predict, nn.Linear):  # bf16, which has fewer digits than the file may have had
        raise StageError("weights in bf16 cannot be saved: load the model with precision float32")
    weights = plain_weights(decoder)
    with whole_folder(Path(path)) as partial:
        described = {
            "format": settings.FORMAT,
            "stage": dataclasses.asdict(config),
            "decoder": dataclasses.asdict(decoder.config),
        }

        def write(name: str, tensors: dict[str, torch.Tensor]) -> None:
            save_file({n: t.to(dtype).contiguous() for n, t in tensors.items()}, partial / f"{name}.safetensors")

        write("decoder", weights)
        if events is not None:
            described["events"] = dataclasses.asdict(events)
        if chords is not None:
            write("chords", chords.state_dict())
        for name, part, kind in (("codec", codec, "spectral"), ("text", text, "hashed")):
            if name == "codec" and shared_codec:
                described[name] = {"kind": "shared", "model": shared_codec}
            elif isinstance(part, nn.Module):
                write(name, part.state_dict())
                described[name] = {"kind": kind, **dataclasses.asdict(part.config)}
            else:
                part.save_pretrained(str(partial / name))
                described[name] = {"kind": "transformers"}
        (partial / settings.NAME).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
