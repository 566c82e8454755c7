"""The main job: a recording or a tempo in, a stem out that is in step with it to the sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace as changed
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from stage import audio as sound
from stage.arrange import play
from stage.config import StageConfig
from stage.decoding import Sampling
from stage.errors import StageError
from stage.level import SILENCE, limit, loudness, match_level, mix
from stage.models.codec import Codec, decode_long, frame_rate
from stage.models.text import TextEncoder
from stage.request import check_many, check_rate, check_sampling, click_seconds, stretch
from stage.rhythm import BeatGrid, beats_per_bar, click_track, seconds_to_frames

if TYPE_CHECKING:
    from stage.models.lora import Adapter, Voice

STEM_LEVEL = -4.0
"""Loudness of a stem against the song it joins, in LU."""
CLICK_STEM_LUFS = -18.0
"""Loudness of a stem that was made for a metronome."""
CLICK_GAIN = 0.25
"""Level of the clicks under such a stem."""

Progress = Callable[[float], "bool | None"]
"""Told the share that is done, 0..1; returning False stops the work (`stage.decoding.Stopped`)."""


@dataclass(frozen=True)
class Accompaniment:
    """Stems and what they were made for, all at the same rate and on the same time line.

    stem: name of the instrument.
    stems: float32 [V, N], one mono stem for each seed, level matched to the song, never above full scale.
    song: float32 [C, N], the chosen stretch of the recording (or the metronome).
    rate: Hz of both.
    seeds: V integers; each makes its stem again, alone or among others.
    grid: the beats that the model was given, None if none.
    notes: sentences about what was done otherwise than asked.
    """

    stem: str
    stems: np.ndarray
    song: np.ndarray
    rate: int
    seeds: tuple[int, ...]
    grid: BeatGrid | None = None
    notes: tuple[str, ...] = ()

    def mix(self, variation: int = 0) -> np.ndarray:
        """Song and stem together: float32 [C, N], limited where the sum would be above full scale."""
        return mix(self.song, self.stems[variation], self.rate)


@dataclass
class Stage:
    """A model that is ready to play: `Stage.from_pretrained().accompany(audio, rate, "drums")`."""

    decoder: torch.nn.Module
    codec: Codec
    text: TextEncoder
    config: StageConfig
    voices: dict[str, Voice] = field(default_factory=dict)
    """Stems that adapters play on the decoder, by name; see `load_adapter`."""

    @classmethod
    def from_pretrained(cls, name_or_path: str = "embedded", device: str | torch.device | None = None) -> Stage:
        """Load a model of the package by name, or a checkpoint folder. device: the GPU if there is one, by default."""
        from stage.checkpoints.native import load

        config, decoder, codec, text = load(name_or_path, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(decoder, codec, text, config)

    def save_pretrained(self, path: str) -> None:
        """Write a checkpoint folder that `from_pretrained` reads."""
        from stage.checkpoints.native import save

        save(path, self.config, self.decoder, self.codec, self.text)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the instruments that the model and its adapters play."""
        return tuple(dict.fromkeys((*self.decoder.config.stems, *self.voices)))

    # ------------------------------------------------------------ adapters

    def load_adapter(self, name_or_path: str | Path, replace: bool = False) -> str:
        """Let an installed adapter, or one from a folder, play a stem. Returns the name to call it by; see `add_adapter`.

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
        return Stage(merge(self.decoder, adapter), self.codec, self.text, config)

    def player(self, stem: str) -> tuple[torch.nn.Module, int]:
        """The decoder that plays a stem, and the stem's index in it."""
        if stem in self.voices:
            return self.voices[stem], 0
        return self.decoder, self.decoder.config.stems.index(stem)

    def _adapted(self, stem: str) -> str:
        if stem not in self.voices:
            raise StageError(f'no adapter plays "{stem}": those loaded play {", ".join(self.voices) or "nothing"}')
        return stem

    def sampling(self, **values: float | None) -> Sampling:
        """How the model is sampled: its own values, but for those given (None: its own)."""
        check_sampling(**values)
        names = ("guidance", "text_guidance", "top_k", "top_p", "temperature")
        given = {name: value for name, value in values.items() if value is not None}
        return Sampling(**{name: getattr(self.config, name) for name in names} | given)

    # ------------------------------------------------------------ for musicians

    def accompany(
        self,
        audio: np.ndarray,
        rate: int,
        stem: str,
        prompt: str = "",
        start: float = 0.0,
        seconds: float | None = None,
        variations: int = 1,
        seed: int = 0,
        grid: str | BeatGrid | None = None,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> Accompaniment:
        """Play a stem to a recording.

        audio: float32 [C, N] or [N] at `rate` Hz. start, seconds: the stretch to accompany (1 s to 10 min).
        prompt: style in words. seed: variation i is made with seed + i.
        grid: "on" gives the model the clicks of the tracked beats besides the recording, "off" does not,
            a BeatGrid (times from the beginning of `audio`) is used as it is; None does what suits the model.

        Returns stems that are as long as the stretch, at its rate. Raises StageError for what cannot be done.
        """
        self.check(stem, variations, seed)
        song = stretch(audio, rate, start, seconds)
        mono = sound.to_mono(song)
        if np.abs(mono).max() < SILENCE:
            raise StageError("the chosen stretch is silent: there is nothing to follow. Choose another with --start and --seconds")
        beats, notes = self._grid(grid, song, rate, start)
        contexts = {"mix": sound.resample(mono, rate, self.codec.sample_rate)}
        if beats is not None:
            contexts["grid"] = self._clicks(beats, song.shape[1] / rate)
        seeds = tuple(range(seed, seed + variations))
        stems = self._stems(contexts, stem, prompt, song.shape[1], rate, seeds, sampling, on_progress)
        target = loudness(song, rate) + STEM_LEVEL
        return Accompaniment(stem, _level(stems, rate, target), song, rate, seeds, beats, notes)

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
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> Accompaniment:
        """Play a stem to a metronome; its clicks come back as the song.

        bpm: 20..400; in 6/8, 9/8 and 12/8 it counts dotted quarters (see `stage.rhythm`).
        rate: of the result, the model's own if None. The length is that of the bars, to the sample.
        """
        self.check(stem, variations, seed)
        rate = self.codec.sample_rate if rate is None else rate
        check_rate(rate)
        seconds = click_seconds(bpm, meter, bars)
        samples = round(seconds * rate)
        beats = BeatGrid.regular(bpm, beats_per_bar(meter), seconds)
        kind = "grid" if "grid" in self.decoder.config.contexts else "mix"
        seeds = tuple(range(seed, seed + variations))
        stems = self._stems({kind: self._clicks(beats, seconds)}, stem, prompt, samples, rate, seeds, sampling, on_progress)
        song = CLICK_GAIN * sound.fit(click_track(beats, seconds, rate), samples)[None]
        return Accompaniment(stem, _level(stems, rate, CLICK_STEM_LUFS), song, rate, seeds, beats)

    def check(self, stem: str, variations: int = 1, seed: int = 0) -> None:
        """Raise StageError if the model has no such stem, or the numbers are impossible."""
        if stem not in self.stems:
            raise StageError(f'this model plays no "{stem}": it plays {", ".join(self.stems)}')
        check_many(variations, seed)

    # ------------------------------------------------------------ for evaluation

    def generate_audio(
        self,
        contexts: dict[str, np.ndarray],
        stem: str,
        prompt: str = "",
        seconds: float = 10.0,
        seeds: Sequence[int] = (0,),
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
        prompt_codes: torch.Tensor | None = None,
    ) -> np.ndarray:
        """The model's plain output: no beat tracking, no level matching.

        contexts: kind ("mix", "grid") -> mono float32 [N] at `codec.sample_rate`; may be empty.
        prompt_codes: int64 [K, P] codes that the stem begins with.
        Returns float32 [V, round(seconds * codec.sample_rate)], V = len(seeds).
        """
        kinds = self.decoder.config.contexts
        if unknown := set(contexts) - set(kinds):
            raise StageError(f"this model takes no {' or '.join(sorted(unknown))} as context: it takes {', '.join(kinds)}")
        decoder, index = self.player(stem)
        codes = play(
            decoder,
            self.codec,
            stem=index,
            contexts=[contexts.get(kind) for kind in kinds],
            text=self._words(prompt),
            frames=seconds_to_frames(seconds, frame_rate(self.codec)),
            size=round(self.config.window_seconds * frame_rate(self.codec)),
            seeds=list(seeds),
            sampling=sampling or self.sampling(),
            prompt=prompt_codes,
            on_progress=on_progress,
        )
        samples = round(seconds * self.codec.sample_rate)
        with torch.inference_mode():
            made = (decode_long(self.codec, one[None].to(self.decoder.device))[0] for one in codes)
            return np.stack([sound.fit(one.float().cpu().numpy(), samples) for one in made])

    # ------------------------------------------------------------ steps

    def _stems(
        self,
        contexts: dict[str, np.ndarray],
        stem: str,
        prompt: str,
        samples: int,
        rate: int,
        seeds: Sequence[int],
        sampling: Sampling | None,
        on_progress: Progress | None,
    ) -> np.ndarray:
        """Stems [V, samples] at `rate`, as the model made them."""
        made = self.generate_audio(contexts, stem, prompt, samples / rate, seeds, sampling, on_progress)
        return sound.fit(sound.resample(made, self.codec.sample_rate, rate), samples)

    def _clicks(self, beats: BeatGrid, seconds: float) -> np.ndarray:
        return click_track(beats, seconds, self.codec.sample_rate)

    def _words(self, prompt: str) -> torch.Tensor | None:
        """Projected text [L, D] of a prompt, None for one without words."""
        if not prompt.strip():
            return None
        with torch.inference_mode():
            embeddings, mask = self.text.encode([prompt])
            return self.decoder.text_projection(embeddings[0][mask[0]]) if mask.any() else None

    def _grid(self, grid: str | BeatGrid | None, song: np.ndarray, rate: int, start: float) -> tuple[BeatGrid | None, tuple[str, ...]]:
        """The beats to give to the model for a stretch that begins at `start`, and what there is to say about them."""
        if grid is None:
            grid = "on" if self.config.grid else "off"
        if isinstance(grid, str) and grid not in ("on", "off"):
            raise StageError(f'the grid is "on", "off" or a BeatGrid, not "{grid}"')
        if isinstance(grid, str) and grid == "off":
            return None, ()
        if "grid" not in self.decoder.config.contexts:
            raise StageError("this model takes no beat grid: use --grid off")
        if isinstance(grid, BeatGrid):
            beats = grid.crop(start, start + song.shape[1] / rate)
            if not len(beats):
                raise StageError("the beat grid has no beat within the chosen stretch: its times count from the beginning of the recording")
            return beats, ()
        from stage.beats import track

        beats = track(song, rate)
        if len(beats) < 2:
            return None, ("no beats were found in the recording: the model follows the sound alone",)
        return beats, ()


def _level(stems: np.ndarray, rate: int, target: float) -> np.ndarray:
    """Each stem [V, N] at a loudness of `target` LUFS and below full scale."""
    return np.stack([limit(match_level(stem, rate, target), rate) for stem in stems])
