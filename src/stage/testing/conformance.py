"""Holds the engine against conformance data: training sequence, logits, loss and greedy generation.

The data (``tests/data/*.safetensors``) were computed in float64 with the authors' implementation
for weights that anyone can draw again; ``drawn_decoder`` draws them.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from stage.checkpoints.importers.authors import decoder_names
from stage.checkpoints.importers.names import gather
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling, begin, generate, guide
from stage.models.decoder import Decoder, blank_text
from stage.prefix import loss, row, training_row

LOGITS, LOSS = 1e-3, 1e-4  # the agreement to expect in float32


def drawn_decoder(seed: int, dim: int, layers: int, heads: int) -> Decoder:
    """A decoder whose weights are drawn name by name, as the data's README describes."""
    config = DecoderConfig(dim=dim, layers=layers, heads=heads, ffn_dim=4 * dim, text_dim=dim)
    shapes = {name: tensor.shape for name, tensor in Decoder(config).state_dict().items()}
    weights = {}
    for ours, theirs in decoder_names(config).items():
        for name in theirs:
            shape = list(shapes[ours][1:] if ours in ("embed", "head") else shapes[ours])
            if ours not in ("embed", "head"):
                shape[0] //= len(theirs)
            weights[name] = _draw(name, shape, seed)
    for name in decoder_names(config)["embed"]:
        weights[name][config.pad] = 0
    decoder = Decoder(config)
    missing, unexpected = decoder.load_state_dict(gather(decoder_names(config), weights), strict=False)
    if unexpected or set(missing) - {"text_projection.weight", "text_projection.bias"}:
        raise StageError(f"the drawn weights do not fill the decoder: {missing} {unexpected}")
    return decoder.eval()


def _draw(name: str, shape: list[int], seed: int) -> Tensor:
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    array = generator.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return torch.from_numpy(0.05 * array)
    return torch.from_numpy(0.1 * array + (1.0 if name.endswith("weight") else 0.0)).float()


def check(path: Path) -> dict[str, tuple[float, float]]:
    """Largest difference and agreement for each entry of a conformance file, with its drawn weights."""
    meta, _ = _open(path)
    return compare(drawn_decoder(meta["seed"], meta["dim"], meta["n_layers"], meta["n_heads"]), path)


def compare(decoder: Decoder, path: Path) -> dict[str, tuple[float, float]]:
    """As ``check``, with a decoder that has those weights already."""
    _, data = _open(path)
    return _training(decoder, data) | _generation(decoder, data)


def _open(path: Path) -> tuple[dict[str, int], dict[str, Tensor]]:
    try:
        with safe_open(str(path), "pt") as file:
            meta = {key: json.loads(value) for key, value in file.metadata().items()}
            return meta, {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:
        raise StageError(f"{path} is not a conformance file: {error}") from None


@torch.inference_mode()
def _training(decoder: Decoder, data: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    target = data["target"].long()
    rows = [row(decoder.config, [data[f"context_{i}"].long()], 0, target[i]) for i in range(len(target))]
    sequence = training_row(decoder.config, rows)
    text, mask = blank_text(data["text"], data["text_mask"])
    logits, valid = decoder.target_logits(decoder(sequence, text, mask), sequence)
    each = loss(logits, target, valid)
    want = data["train_logits"]
    shown = valid[:, ::8].expand(len(target), -1, -1)
    return {
        "train_sequence": (_off(sequence.columns, data["train_sequence"]), 0),
        "train_attention_mask": (_off(sequence.attend, data["train_attention_mask"]), 0),
        "train_logits_mask": (_off(valid.expand(len(target), -1, -1), data["train_logits_mask"]), 0),
        "train_logits": (_off(logits[:, :, ::8][shown], want[shown]), LOGITS),
        "train_loss_per_codebook": (_off(each, data["train_loss_per_codebook"]), LOSS),
        "train_loss": (_off(each.mean()[None], data["train_loss"]), LOSS),
    }


def _generation(decoder: Decoder, data: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    greedy, result = Sampling(guidance=3.0, temperature=0), {}
    for case in ("with_context", "text_only", "continuation"):
        want = data[f"{case}_greedy_codes"].long()
        for i in range(len(want)):
            contexts = {
                "with_context": [data[f"context_{i}"]],
                "text_only": [None],
                "continuation": [data["continuation_context"][i]],
            }[case]
            arguments = dict(
                stem=0,
                contexts=[None if c is None else c.long() for c in contexts],
                text=data["text"][i][data["text_mask"][i]],
                frames=want.shape[-1],
                sampling=greedy,
                prompt=data["continuation_prompt"][i].long() if case == "continuation" else None,
            )
            state = begin(decoder, seeds=(0,), **arguments)
            first = guide(state.logits, state.weights)[0]
            codes = generate(decoder, **arguments)[0]
            for name, value, limit in (
                ("first_logits", _off(first, data[f"{case}_first_logits"][i]), LOGITS),
                ("greedy_codes", _off(codes, want[i]), 0),
            ):
                key = f"{case}_{name}"
                result[key] = (max(value, result.get(key, (0.0, 0))[0]), limit)
    return result


def _off(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference; infinite where shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours.double() - theirs.double()).abs().max())
