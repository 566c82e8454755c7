"""``config.json`` of a model in our own format: read strictly, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage.config import DecoderConfig, EventsConfig, StageConfig
from stage.errors import StageError
from stage.typed import build, read_json

FORMAT = 1
NAME = "config.json"


@dataclass(frozen=True)
class Settings:
    """What a model's folder holds. codec, text: "kind", and the values of that kind's configuration; a codec of kind
    "shared" is that of another model at hand ("model"). events: of a model that plays events, else None."""

    stage: StageConfig
    decoder: DecoderConfig
    codec: dict[str, Any]
    text: dict[str, Any]
    events: EventsConfig | None = None

    def part(self, name: str, kind: str, cls: type, where: Path) -> Any:
        """Configuration of codec or text encoder if it is of this kind, else None. where: the model's folder.

        Raises StageError for values that the class refuses.
        """
        values = dict(getattr(self, name))
        return build(cls, values, str(where / NAME), name) if values.pop("kind") == kind else None


def read(folder: Path) -> Settings:
    """Settings of a model's folder. Raises StageError with the key that is missing or wrong."""
    where = folder / NAME
    try:
        values = read_json(where)
    except StageError as error:
        raise StageError(f"{where} is not a STAGE configuration: {error}") from None
    if "model_type" in values and "stage" not in values:
        raise StageError(
            f"{folder} is a model of transformers, not of STAGE: convert it with stage convert, and use the result"
        )
    missing = [key for key in ("format", "stage", "decoder", "codec", "text") if key not in values]
    if missing:
        raise StageError(f"{where} is not a STAGE configuration: it lacks {', '.join(missing)}")
    if values["format"] != FORMAT or isinstance(values["format"], bool):
        raise StageError(f"{folder} has format {str(values['format'])[:40]}; this version reads format {FORMAT}")
    for part, kinds in (("codec", ("spectral", "transformers", "shared")), ("text", ("hashed", "transformers"))):
        if not isinstance(values[part], dict) or values[part].get("kind") not in kinds:
            wanted = " or ".join(f"'{kind}'" for kind in kinds)
            raise StageError(f"{where} is not a STAGE configuration: '{part}.kind' is {wanted}")
    events = values.get("events")
    return Settings(
        build(StageConfig, values["stage"], str(where), "stage"),
        build(DecoderConfig, values["decoder"], str(where), "decoder"),
        values["codec"],
        values["text"],
        None if events is None else build(EventsConfig, events, str(where), "events"),
    )
