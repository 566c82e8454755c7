"""EnCodec and T5 in the layout of ``transformers``: from a folder, checked before anything is allocated, or by name.

What ``transformers`` raises (it may be anything) becomes a StageError of one line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stage.checkpoints import header
from stage.errors import StageError
from stage.models.described import described
from stage.models.encodec import EncodecCodec
from stage.models.text import T5Text, errors_only
from stage.typed import read_json

LAYERS = 512
"""The most layers that a configuration may ask for: each is built before its size can be compared with the file."""
LARGEST = 1 << 31
"""The largest number in a configuration."""
_OLDER = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
    "encoder.embed_tokens.weight": "shared.weight",  # one table, which is stored once
}


def codec_of(folder: Path) -> EncodecCodec:
    """EnCodec from a folder. Raises StageError where it is missing or not whole."""
    from transformers import EncodecConfig, EncodecModel

    _check(folder, "encodec", EncodecConfig, EncodecModel)
    with plainly(f"{folder} is not a codec that can be read"):
        return EncodecCodec.from_pretrained(str(folder))


def text_of(folder: Path) -> T5Text:
    """T5 and its tokenizer from a folder. Raises StageError where one is missing or not whole."""
    from transformers import T5Config, T5EncoderModel

    _check(folder, "t5", T5Config, T5EncoderModel)
    if not has_tokenizer(folder):
        raise StageError(f"{folder} holds no tokenizer: get or convert the model again")
    with plainly(f"{folder} is not a text encoder that can be read"):
        text = T5Text.from_pretrained(str(folder))
        text.tokenizer(["a"], return_tensors="pt")["attention_mask"]
        last = max(text.tokenizer.get_vocab().values())
        if last >= text.model.config.vocab_size:
            raise ValueError(f"its tokenizer has a token {last}, and its model {text.model.config.vocab_size} of them")
    return text


def t5_at(place: str) -> T5Text:
    """A whole T5, encoder and tokenizer, from a folder or the hub. Raises StageError where there is none."""
    with plainly(f"no T5 in {place}", ": give a folder that holds one with --t5"):
        return T5Text.from_pretrained(place)


def tokenizer_at(place: str) -> Any:
    """A tokenizer of ``transformers`` from a folder or the hub. Raises StageError where there is none."""
    from transformers import AutoTokenizer

    with plainly(f"no tokenizer in {place}", ": give a folder that holds T5's with --t5"), errors_only():
        return AutoTokenizer.from_pretrained(place)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model", "tokenizer_config.json"))


@contextlib.contextmanager
def plainly(what: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever ``transformers`` raises within into a StageError of one line: what, why and the remedy."""
    try:
        yield
    except StageError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StageError(f"{what} ({lines[0][:200]}){remedy}") from None


def check_sizes(values: Any, where: Path, name: str = "") -> None:
    """Raise StageError for a configuration of ``transformers`` with a number that no model has. values: of its JSON."""
    if isinstance(values, dict):
        for key, value in values.items():
            check_sizes(value, where, str(key))
    elif isinstance(values, list):
        for value in values:
            check_sizes(value, where, name)
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        most = LAYERS if "layers" in name else LARGEST
        if not abs(values) <= most:
            raise StageError(f"{where}: '{name[:80]}' is {str(values)[:40]}, which no model has")


def _check(folder: Path, kind: str, config: Any, model: Any) -> None:
    """Raise StageError unless a folder holds this kind of model, and weights of the names and shapes that its
    configuration asks for."""
    where = folder / "config.json"
    if not folder.is_dir():
        raise StageError(f"{folder} is missing: the model is not whole, get or convert it again")
    values = read_json(where)
    if values.get("model_type") != kind:
        raise StageError(f"{where} is not that of a model of the kind {kind}")
    check_sizes(values, where)
    with plainly(f"{where} does not describe a model"), errors_only(), described():
        own = _renamed({name: tuple(t.shape) for name, t in model(config.from_dict(values)).state_dict().items()})
    theirs = _renamed({n: entry.shape for file in header.files_of(folder) for n, entry in header.read(file).items()})
    wrong = [f"{name} is missing" for name in own if name not in theirs]
    wrong += [f"{n} is {list(theirs[n])}, not {list(own[n])}" for n in own if theirs.get(n, own[n]) != own[n]]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise StageError(f"the weights in {folder} do not fit its config.json: {'; '.join(wrong[:3])}{more}")


def _renamed(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """With one spelling for what versions of ``transformers`` call differently."""
    renamed = {}
    for name, shape in shapes.items():
        for old, new in _OLDER.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        renamed[name] = shape
    return renamed
