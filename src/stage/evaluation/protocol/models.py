"""The models of an evaluation, and what each is asked to play."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stage.errors import StageError
from stage.evaluation.protocol.clips import Clip
from stage.evaluation.protocol.task import MODEL, Task

if TYPE_CHECKING:
    from stage.pipeline import Stage


class Models:
    """The models of a task, each loaded when it first plays; one at a time is in memory."""

    def __init__(self, task: Task):
        self.task = task
        self.loaded: dict[str, Stage] = {}

    def stage(self, condition: str) -> Stage:
        """The model of a condition."""
        from stage.pipeline import Stage

        name = condition if condition in self.task.models else MODEL
        if name not in self.loaded:
            self.loaded.clear()
            made = Stage.from_pretrained(self.task.models[name], device=self.task.device, precision=self.task.precision)
            for adapter in self.task.adapters if name == MODEL else ():
                made.load_adapter(adapter)
            self.loaded[name] = made
        return self.loaded[name]

    def play(self, condition: str, clip: Clip) -> tuple[np.ndarray, int]:
        """The stem of a condition for a clip: float32 [N], and its rate in Hz.

        A model without stems (MusicGen itself) gets the text alone. Raises StageError for a stem that it does not have.
        """
        stage = self.stage(condition)
        rate = stage.codec.sample_rate
        text, seed = "" if condition == "no text" else clip.text, self.task.plan.seed * 100_003 + clip.number
        if not stage.stems:
            return stage.compose(text or clip.stem, clip.seconds, seed=seed)[0], rate
        if clip.stem not in stage.stems:
            raise StageError(
                f'{self.task.models.get(condition, condition)} plays no "{clip.stem}": it plays'
                f" {', '.join(stage.stems)}"
            )
        if condition == "no context":
            made = stage.generate_audio({}, clip.stem, text, clip.seconds, (seed,))[0]
        elif clip.kind == "click":
            kind = "grid" if "grid" in stage.decoder.config.contexts else stage.decoder.config.contexts[-1]
            made = stage.generate_audio({kind: clip.context(rate)}, clip.stem, text, clip.seconds, (seed,))[0]
        else:
            made = stage.accompany(clip.context(rate), rate, clip.stem, text, seed=seed, level=False).stems[0]
        return made, rate
