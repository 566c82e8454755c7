"""Adapters on a model that is loaded: several stems on one set of weights."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stage.errors import StageError

if TYPE_CHECKING:
    from stage.config import StageConfig
    from stage.models.codec import Codec
    from stage.models.lora import Adapter, Voice
    from stage.models.text import TextEncoder
    from stage.pipeline import Stage


class Voices:
    """What `stage.pipeline.Stage` does with adapters (`stage.models.lora`)."""

    decoder: torch.nn.Module
    codec: Codec
    text: TextEncoder
    config: StageConfig
    voices: dict[str, Voice]

    def load_adapter(self, name_or_path: str | Path, replace: bool = False) -> str:
        """Let an installed adapter, or one from a folder, play a stem. Returns the name to call it by; see
        `add_adapter`.

        Raises StageError for an adapter that is missing, spoilt or made for another base.
        """
        from stage.checkpoints.adapters import load

        adapter = load(name_or_path)
        return self.add_adapter(adapter.to(self.decoder.norm.weight.dtype), replace)

    def add_adapter(self, adapter: Adapter, replace: bool = False) -> str:
        """Let an adapter play a stem beside those of the model and of other adapters, all on the same weights.

        It is called by its stem; where the model plays that stem itself, by its own name, so that both can be had, or
        by the stem all the same if it is to replace the model's until `unload_adapter`. Returns what it is called.
        """
        from stage.models.lora import Voice, check_base

        config = adapter.config
        check_base(config, self.decoder, f'"{self.config.name}"')
        name = config.stem if replace or config.stem not in self.decoder.config.stems else config.name
        if name in self.voices or (name in self.decoder.config.stems and not replace):
            way = "unload that adapter first" if name in self.voices else "load the adapter with replace=True"
            raise StageError(f'"{name}" is played already: {way}, or give it another name in its adapter.json')
        self.voices[name] = Voice(self.decoder, adapter.to(self.decoder.device))
        return name

    def unload_adapter(self, stem: str) -> None:
        """Forget the adapter that is called so. What is being played with it goes on to its end."""
        del self.voices[self._adapted(stem)]

    def merge_adapter(self, stem: str) -> Stage:
        """A plain model that plays this adapter's stem alone, for `save_pretrained` or for speed; needs float weights.

        Codec, text encoder and the weights that the adapter does not change are shared with this one.
        """
        from stage.models.lora import merge

        adapter = self.voices[self._adapted(stem)].adapter
        licence = "; ".join(dict.fromkeys(filter(None, (self.config.licence, adapter.config.licence))))
        config = changed(self.config, name=f"{self.config.name}+{adapter.config.name}", licence=licence)
        return type(self)(merge(self.decoder, adapter), self.codec, self.text, config)

    def player(self, stem: str) -> tuple[torch.nn.Module, int]:
        """The decoder that plays a stem, and the stem's index in it."""
        if stem in self.voices:
            return self.voices[stem], 0
        own = self.decoder.config.stems
        return self.decoder, own.index(stem) if own else 0

    def _adapted(self, stem: str) -> str:
        if stem not in self.voices:
            raise StageError(f'no adapter plays "{stem}": those loaded play {", ".join(self.voices) or "nothing"}')
        return stem
