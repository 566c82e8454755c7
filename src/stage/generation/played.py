"""Stems of a model that plays events: the time line of its frames, and what the model is given.

The frames are subdivisions of the tracked beats; where there are none, regular ones stand in. The mix is encoded once,
and its codes are taken at the middle of each frame (`docs/player.md`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.audio.files import resample
from stage.beats.grid import BeatGrid
from stage.chords.chart import Chart
from stage.chords.estimation import estimate, of_logits
from stage.config import EventsConfig
from stage.generation import steering
from stage.generation.event_rules import EventRules
from stage.generation.performance import NEUTRAL, Performance
from stage.generation.prepare import Prepared
from stage.generation.request import Form
from stage.generation.sections import earlier
from stage.generation.windows import of_codes, windows
from stage.models import heard
from stage.models.chord_head import CLASSES, ROOTS, ChordHead
from stage.models.codec import Codec, encode_long, frame_rate
from stage.models.decoder import Decoder
from stage.models.events import Events, TimeLine, codecs
from stage.models.features import BEAT, features
from stage.prefix import row, trim


@dataclass(frozen=True, eq=False)
class Plan:
    """What the model is given for a stem of events.

    stem: its name. line: frames of the target, in seconds of the song. known: [T, F] features. mix: codes [K, T] or
    None. events: the codec of the stem. rules: what it may play. performance: how. chart: the chords, given
    or read. grid: the beats. form: the sections.
    """

    stem: str
    line: TimeLine
    known: Tensor
    mix: Tensor | None
    events: Events
    rules: EventRules
    performance: Performance
    chart: Chart | None = None
    grid: BeatGrid | None = None
    form: Form = ()

    @classmethod
    def of(
        cls,
        stem: str,
        seconds: float,
        prepared: Prepared,
        config: EventsConfig,
        codec: Codec,
        device: torch.device,
        performance: Performance = NEUTRAL,
        hear: Hearing | None = None,
        form: Form = (),
    ) -> Plan:
        """The plan of a stem for a stretch of so many seconds, and for what was prepared for it.

        Where no chords are given, it is played to those of the mix: hear is the model's own reading of them.
        """
        line, chart = time_line(prepared.grid, seconds, config), prepared.chart
        mix, ratio = prepared.contexts.get("mix"), prepared.rate / codec.sample_rate
        steered, codes, measured = steering.controls(performance, line, stem, prepared.grid), None, None
        if mix is not None:
            codes = at_frames(codec, mix, line, ratio, device)
            measured = heard.measure(resample(mix, codec.sample_rate, heard.RATE)).at(line, ratio)
        nowhere = prepared.grid is None  # frames that stand in are at no place of a beat

        def know(chords: Chart | None) -> Tensor:
            known = features(line, None if chords is None else chords.features(), steered, mix=measured)
            known[:, :BEAT] *= not nowhere
            return known

        if chart is None and mix is not None and config.reading != "none":
            if config.reading == "model" and hear is not None and codes is not None:
                size = config.window_beats * config.division
                chart = of_logits(hear(codes, know(None), size).numpy(), line.times, prepared.grid, seconds)
            else:
                grid = None if prepared.grid is None else prepared.grid.scale(ratio)
                chart = estimate(mix, codec.sample_rate, grid, cents=0.0).scale(1 / ratio)
        known = know(None if stem == "drums" else chart)
        rules = steering.rules(performance, line, stem, config.presence, prepared.grid)
        if shift := config.lift.get(stem):
            rules = rules.lifted(shift, line.frames)
        if performance.from_bar is None:
            rules = entering(rules, line, stem)
        return cls(stem, line, known, codes, codecs()[stem], rules, performance, chart, prepared.grid, form)

    def piece(self) -> dict:
        """What `stage.generation.windows.stream` takes beside what any model gives.

        Where there is a mix and no form is known, the mix alone says what comes when.
        """
        again = self.form or self.mix is None
        return dict(
            contexts=of_codes([self.mix]),
            frames=self.line.frames,
            features=self.known,
            rules=self.rules,
            earlier=earlier(self.line, self.grid, self.form, self.stem) if again else None,
        )


ENTRY = 5.0
"""Nats by which it is likelier that a part begins on the first downbeat than the model has it."""
FIRST_VOICES = {"bass": 1, "drums": 1, "pads": 3, "keys": 3, "guitar": 3}
"""Lanes that begin there: the lowest voices, of the drums the kick."""


def entering(rules: EventRules, line: TimeLine, stem: str) -> EventRules:
    """The rules of a part that begins with the first downbeat: whoever asks for a part wants it from the beginning, and
    songs that the model learnt from let instruments enter one by one."""
    downbeats = np.flatnonzero((line.numbers == 1) & (line.times[:-1] > -0.05))
    first = int(downbeats[0]) if len(downbeats) else 0
    made = rules.lifted(0.0, line.frames)
    assert made.lift is not None
    made.lift[first, 1 : 1 + 2 * FIRST_VOICES[stem] : 2] += ENTRY
    return made


def time_line(grid: BeatGrid | None, seconds: float, config: EventsConfig) -> TimeLine:
    """The frames of a stretch of so many seconds; beats of two a second stand in where none are known."""
    if grid is None or len(grid.times) < 2:
        beats = np.arange(0.0, seconds + 1.0, config.division / config.frame_rate)
        stand_in = TimeLine.musical(BeatGrid(beats, np.ones(len(beats), np.int64)), seconds, config.division)
        return TimeLine(stand_in.times, np.zeros_like(stand_in.numbers), config.division)
    return TimeLine.musical(grid, seconds, config.division)


def at_frames(codec: Codec, mix: np.ndarray, line: TimeLine, ratio: float, device: torch.device) -> Tensor:
    """Codes [K, T] of a mix, mono float32 [N] at the codec's rate, at the middle of each frame of a time line.

    ratio: seconds of the mix for a second of the time line, other than 1 where the song is not at A = 440 Hz.
    """
    with torch.inference_mode():
        codes = encode_long(codec, torch.from_numpy(np.asarray(mix, np.float32))[None].to(device))[0].cpu()
    middle = (line.times[:-1] + line.times[1:]) / 2 * ratio
    return codes[:, np.clip((middle * frame_rate(codec)).astype(int), 0, codes.shape[1] - 1)]


Hearing = Callable[[Tensor, Tensor, int], Tensor]
"""`chord_logits` of a model, from the mix on."""


@torch.inference_mode()
def chord_logits(decoder: Decoder, head: ChordHead, mix: Tensor, known: Tensor, size: int) -> Tensor:
    """What the model reads of the chords of a mix: logits [T, 25] of 13 roots (12: no chord) and 12 pitch classes.

    mix: codes [K, T] at the frames of a time line whose features are known [T, F]. size: of a window, in frames.
    """
    config, read = decoder.config, torch.zeros(mix.shape[1], ROOTS + CLASSES)
    for window in windows(mix.shape[1], size):
        span = slice(window.start, window.end)
        target = torch.full((config.codebooks, window.end - window.start), config.unknown)
        sequence = trim(row(config, [mix[:, span]], 0, target)).to(decoder.device)
        features = known[None, span].to(decoder.device, decoder.embed.dtype)
        entered, _ = decoder.enter(sequence, features)
        own = (sequence.segments[0] == config.segment(0)) & (sequence.positions[0] > 0)
        fresh = window.known // 2  # in the middle of what two windows share the later one takes over
        read[span][fresh:] = head.logits(entered[0, own].float()).cpu()[fresh:]
    return read
