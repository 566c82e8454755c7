"""The main job: a recording or a tempo in, a stem out that is in step with it to the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from stage.chords.chart import Chart
from stage.errors import StageError
from stage.generation.decoding import Sampling
from stage.generation.maker import PLAYED_RATE, Maker, Progress
from stage.generation.performance import Performance
from stage.generation.request import (
    Grid,
    Request,
    check_seconds,
    performance_of,
    seeds_of,
)
from stage.generation.result import Accompaniment
from stage.generation.streaming import CHUNK_SECONDS, Stream
from stage.instruments.stems import warm
from stage.models.processor import device_for

if TYPE_CHECKING:
    from stage.models.lora import Adapter

Precision = Literal["auto", "float32", "float16", "bf16", "int8", "int4"]
"""Of the decoder's weights (`stage.models.precision`)."""
EngineName = Literal["auto", "torch", "openvino"]
"""What computes the decoder (`stage.models.engine`)."""


@dataclass(eq=False, repr=False)
class Stage(Maker):
    """A model that is ready to play: `Stage.from_pretrained().accompany(audio, rate, "drums")`."""

    def __repr__(self) -> str:
        return f"Stage({self.config.name!r}, stems={self.stems}, device={str(self.decoder.device)!r})"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "player",
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        on_share: Callable[[float], None] | None = None,
        engine: EngineName = "auto",
    ) -> Stage:
        """Load a model of the package by name, or a checkpoint folder.

        device: the GPU if there is one, by default. precision: of the decoder's weights; "auto" is as exact as the
        file for small models, else int8 on CPUs and bf16 on GPUs.
        on_share: called with the share of the decoder's weights that is read, 0..1.
        engine: what computes the decoder; "auto" is what was measured to be faster (docs/checkpoints.md#engine).
        Raises StageError for what cannot be loaded, or needs more memory than there is.
        """
        from stage.checkpoints.format import load, load_events

        place = device_for(device)
        config, decoder, codec, text = load(name_or_path, place, precision, on_share, engine)
        events, chord_head = load_events(name_or_path, place)
        if events is not None:
            warm(PLAYED_RATE)
        return cls(decoder, codec, text, config, events=events, chord_head=chord_head)

    def save_pretrained(self, path: str | Path) -> None:
        """Write a checkpoint folder that `from_pretrained` reads."""
        from stage.checkpoints.format import save

        save(path, self.config, self.decoder, self.codec, self.text, events=self.events, chords=self.chord_head)

    # ------------------------------------------------------------ for musicians

    def accompany(
        self,
        audio: ArrayLike,
        rate: int,
        stem: str,
        prompt: str = "",
        start: float = 0.0,
        seconds: float | None = None,
        variations: int = 1,
        seed: int = 0,
        grid: Grid = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        level: bool = True,
        tuning: float | str | None = None,
        rest: bool = True,
        chords: str | Path | Chart | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
    ) -> Accompaniment:
        """Play a stem to a recording.

        audio: [C, N] or [N] at `rate` Hz; floats within -1..1, or integers, which are scaled.
        start, seconds: the stretch to accompany (1 s to 10 min).
        prompt: style in words. seed: variation i is made with seed + i.
        grid: "on" gives the model the clicks of the tracked beats besides the recording, "off" does not,
            a BeatGrid (times from the beginning of `audio`) is used as it is; None does what suits the model.
        level: match the stem's loudness to the song's and keep it below full scale; False leaves it at the model's.
        tuning: of the song: cents from A = 440 Hz (-100..100), or the frequency of A in Hz; None estimates it. The stem
            is made in that tuning.
        rest: let the stem rest where the song is silent for a bar or more (two seconds where no beats are known).
            Without, it plays through. A stem that ends within a bar ends in a fade of 60 ms.
        chords: what sounds, as text ("Am F C G"), a file, or a `stage.chords.chart.Chart`; None: what the model hears.
        performance: how the part is played (`stage.generation.performance.Performance`, or its values by name).
            Both are for models of events.

        Returns stems that are as long as the stretch, at its rate. Raises StageError for what cannot be done.
        """
        request = Request.recording(
            audio,
            rate,
            stem,
            prompt,
            start,
            seconds,
            variations,
            seed,
            grid,
            tuning,
            sampling=sampling,
            level=level,
            rest=rest,
            chords=chords,
            performance=performance_of(performance),
        )
        return self.make(request, on_progress)

    def stream(
        self,
        audio: ArrayLike,
        rate: int,
        stem: str,
        prompt: str = "",
        start: float = 0.0,
        seconds: float | None = None,
        variations: int = 1,
        seed: int = 0,
        grid: Grid = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        gain_db: float | None = 0.0,
        tuning: float | str | None = None,
        rest: bool = True,
        chords: str | Path | Chart | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
    ) -> Stream:
        """Play a stem to a recording and hand it out while it is made: an iterator of chunks float32 [V, n] at `rate`.

        The arguments are those of `accompany`, and so is the sound: the chunks together equal `accompany(...,
        level=False)` to 1e-4, for a level can be matched to the song only when the whole stem is there.
        chunk_seconds, gain_db: see `make_stream`.

        What cannot be done is raised here; no beats are tracked and nothing is made before the first chunk is asked
        for.
        """
        request = Request.recording(
            audio,
            rate,
            stem,
            prompt,
            start,
            seconds,
            variations,
            seed,
            grid,
            tuning,
            sampling=sampling,
            rest=rest,
            chords=chords,
            performance=performance_of(performance),
        )
        return self.make_stream(request, on_progress, chunk_seconds, gain_db)

    def click(
        self,
        bpm: float,
        stem: str,
        meter: str = "4/4",
        bars: int = 8,
        prompt: str = "",
        variations: int = 1,
        seed: int = 0,
        rate: int | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        level: bool = True,
        chords: str | Path | Chart | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
    ) -> Accompaniment:
        """Play a stem to a metronome; its clicks come back as the song.

        bpm: 20..400; in 6/8, 9/8 and 12/8 it counts dotted quarters (see `stage.beats.grid`).
        rate: of the result, the model's own if None. The length is that of the bars, to the sample.
        level, chords, performance: see `accompany`.
        """
        request = Request.metronome(
            bpm,
            stem,
            meter,
            bars,
            prompt,
            variations,
            seed,
            rate,
            sampling=sampling,
            level=level,
            chords=chords,
            performance=performance_of(performance),
        )
        return self.make(request, on_progress)

    def stream_click(
        self,
        bpm: float,
        stem: str,
        meter: str = "4/4",
        bars: int = 8,
        prompt: str = "",
        variations: int = 1,
        seed: int = 0,
        rate: int | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        gain_db: float | None = 0.0,
        chords: str | Path | Chart | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
    ) -> Stream:
        """`click` while it is made: see `stream`. The clicks are the stream's `song`."""
        request = Request.metronome(
            bpm,
            stem,
            meter,
            bars,
            prompt,
            variations,
            seed,
            rate,
            sampling=sampling,
            chords=chords,
            performance=performance_of(performance),
        )
        return self.make_stream(request, on_progress, chunk_seconds, gain_db)

    def compose(
        self,
        prompt: str = "",
        seconds: float = 10.0,
        variations: int = 1,
        seed: int = 0,
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
    ) -> np.ndarray:
        """Whole music from text, with MusicGen itself (a base that was converted without stems).

        Returns float32 [variations, round(seconds * codec.sample_rate)]. Raises StageError where the model plays stems.
        """
        if own := self.decoder.config.stems:
            raise StageError(f"this model plays {', '.join(own)} to a recording or a metronome: use accompany or click")
        check_seconds(seconds)
        return self.generate_audio({}, "", prompt, seconds, seeds_of(variations, seed), sampling, on_progress)

    # ------------------------------------------------------------ adapters: several stems on one set of weights

    def load_adapter(self, name_or_path: str | Path, replace: bool = False) -> str:
        """Let an installed adapter, or one from a folder, play a stem. Returns what it is called; see `add_adapter`.

        Raises StageError for an adapter that is missing, damaged or made for another base.
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
        if self.events is not None:
            raise StageError(f'adapters are for models of audio codes, and "{self.config.name}" plays events')
        check_base(config, self.decoder, f'"{self.config.name}"')
        name = config.stem if replace or config.stem not in self.decoder.config.stems else config.name
        if name in self.voices or (name in self.decoder.config.stems and not replace):
            way = "unload that adapter first" if name in self.voices else "load the adapter with replace=True"
            raise StageError(f'"{name}" is played already: {way}, or give it another name in its adapter.json')
        self.voices[name] = Voice(self.decoder, adapter.to(self.decoder.device))
        return name

    def unload_adapter(self, stem: str) -> None:
        """Remove the adapter of this name. What is being played with it goes on to its end."""
        del self.voices[self._adapted(stem)]

    def merge_adapter(self, stem: str) -> Stage:
        """A plain model that plays this adapter's stem alone, for `save_pretrained` or for speed; needs float weights.

        Codec, text encoder and the weights that the adapter does not change are shared with this one.
        """
        from stage.models.lora import merge

        adapter = self.voices[self._adapted(stem)].adapter
        licence = "; ".join(dict.fromkeys(filter(None, (self.config.licence, adapter.config.licence))))
        config = replace(self.config, name=f"{self.config.name}+{adapter.config.name}", licence=licence)
        return Stage(merge(self.decoder, adapter), self.codec, self.text, config)

    def _adapted(self, stem: str) -> str:
        if stem not in self.voices:
            raise StageError(f'no adapter plays "{stem}": those loaded play {", ".join(self.voices) or "nothing"}')
        return stem
