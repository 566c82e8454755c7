"""The main job: a recording or a tempo in, a stem out that is in step with it to the sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from stage import audio as sound
from stage.audio.level import SILENCE, loudness
from stage.beats.grid import BeatGrid, beats_per_bar, click_track, seconds_to_frames
from stage.config import StageConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling
from stage.generation.request import check_many, check_rate, check_sampling, check_seconds, click_seconds, stretch
from stage.generation.result import Accompaniment, finish
from stage.generation.streaming import CHUNK_SECONDS, PLAIN_LUFS, Heard, Order, Stream, chunks, sizes
from stage.generation.windows import play, stream
from stage.models.codec import Codec, decode_long, frame_rate
from stage.models.text import TextEncoder
from stage.voices import Voices

if TYPE_CHECKING:
    from stage.models.lora import Voice

STEM_LEVEL = -4.0
"""Loudness of a stem against the song it joins, in LU."""
CLICK_STEM_LUFS = -18.0
"""Loudness of a stem that was made for a metronome."""
CLICK_GAIN = 0.25
"""Level of the clicks under such a stem."""

Progress = Callable[[float], "bool | None"]
"""Told the share that is done, 0..1; returning False stops the work (`stage.generation.decoding.Stopped`)."""


@dataclass
class Stage(Voices):
    """A model that is ready to play: `Stage.from_pretrained().accompany(audio, rate, "drums")`."""

    decoder: torch.nn.Module
    codec: Codec
    text: TextEncoder
    config: StageConfig
    voices: dict[str, Voice] = field(default_factory=dict)
    """Stems that adapters play on the decoder, by name; see `load_adapter`."""

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = "embedded",
        device: str | torch.device | None = None,
        precision: str = "auto",
        on_share: Callable[[float], None] | None = None,
    ) -> Stage:
        """Load a model of the package by name, or a checkpoint folder.

        device: the GPU if there is one, by default. precision: of the decoder's weights, "float32", "float16", "bf16",
        "int8",
        "int4" (`stage.models.precision`); "auto" is as exact as the file for small models, else int8 on CPUs and bf16
        on GPUs.
        on_share: told the share of the decoder's weights that is read, 0..1.
        Raises StageError for what cannot be loaded, or needs more memory than there is.
        """
        from stage.checkpoints.format import load

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        config, decoder, codec, text = load(name_or_path, device, precision, on_share)
        return cls(decoder, codec, text, config)

    def save_pretrained(self, path: str) -> None:
        """Write a checkpoint folder that `from_pretrained` reads."""
        from stage.checkpoints.format import save

        save(path, self.config, self.decoder, self.codec, self.text)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the instruments that the model and its adapters play."""
        return tuple(dict.fromkeys((*self.decoder.config.stems, *self.voices)))

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
        level: bool = True,
    ) -> Accompaniment:
        """Play a stem to a recording.

        audio: float32 [C, N] or [N] at `rate` Hz. start, seconds: the stretch to accompany (1 s to 10 min).
        prompt: style in words. seed: variation i is made with seed + i.
        grid: "on" gives the model the clicks of the tracked beats besides the recording, "off" does not,
            a BeatGrid (times from the beginning of `audio`) is used as it is; None does what suits the model.
        level: match the stem's loudness to the song's and keep it below full scale; False leaves it as the model made
        it.

        Returns stems that are as long as the stretch, at its rate. Raises StageError for what cannot be done.
        """
        return self._make(
            self._recording(audio, rate, stem, prompt, start, seconds, variations, seed, grid),
            sampling,
            on_progress,
            level,
        )

    def stream(
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
        chunk_seconds: float = CHUNK_SECONDS,
        gain_db: float | None = 0.0,
    ) -> Stream:
        """Play a stem to a recording and hear it while it is made: an iterator of chunks float32 [V, n] at `rate`.

        The arguments are those of `accompany`, and so is the sound: the chunks together equal `accompany(...,
        level=False)`
        to 1e-4, for a level can be matched to the song only when the whole stem is there. gain_db: what all chunks are
        amplified by; None: what brings a usual stem to the song's level. Loud stems go beyond full scale.
        chunk_seconds: the most that a chunk holds; the first are as short as can be. A chunk is certain when the
        codec's
        look-ahead is made too (`codec.look_ahead` frames: 0.8 s of music with the embedded model, 0.08 s with
        MusicGen's).

        What cannot be done is raised here; nothing is listened to or made before the first chunk is asked for.
        """
        order = self._recording(audio, rate, stem, prompt, start, seconds, variations, seed, grid)
        return self._stream(order, sampling, on_progress, chunk_seconds, gain_db)

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
        level: bool = True,
    ) -> Accompaniment:
        """Play a stem to a metronome; its clicks come back as the song.

        bpm: 20..400; in 6/8, 9/8 and 12/8 it counts dotted quarters (see `stage.beats.grid`).
        rate: of the result, the model's own if None. The length is that of the bars, to the sample.
        level: see `accompany`.
        """
        return self._make(
            self._metronome(bpm, stem, meter, bars, prompt, variations, seed, rate), sampling, on_progress, level
        )

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
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        gain_db: float | None = 0.0,
    ) -> Stream:
        """`click` while it is made: see `stream`. The clicks are `order.song`."""
        order = self._metronome(bpm, stem, meter, bars, prompt, variations, seed, rate)
        return self._stream(order, sampling, on_progress, chunk_seconds, gain_db)

    def compose(
        self,
        prompt: str = "",
        seconds: float = 10.0,
        variations: int = 1,
        seed: int = 0,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> np.ndarray:
        """Whole music from text, with MusicGen itself (a base that was converted without stems).

        Returns float32 [variations, round(seconds * codec.sample_rate)]. Raises StageError where the model plays stems.
        """
        if own := self.decoder.config.stems:
            raise StageError(f"this model plays {', '.join(own)} to a recording or a metronome: use accompany or click")
        check_many(variations, seed)
        check_seconds(seconds)
        return self.generate_audio(
            {}, "", prompt, seconds, tuple(range(seed, seed + variations)), sampling, on_progress
        )

    def check(self, stem: str, variations: int = 1, seed: int = 0) -> None:
        """Raise StageError if the model has no such stem, or the numbers are impossible."""
        if not self.stems:
            raise StageError(
                "this model is MusicGen itself: it makes whole music from text (Stage.compose). Convert it with --stem"
                " and fine-tune it"
            )
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
        piece = self._piece(contexts, stem, prompt, seconds, seeds, sampling, on_progress)
        codes = play(**piece, prompt=prompt_codes)
        samples = round(seconds * self.codec.sample_rate)
        with torch.inference_mode():
            made = (decode_long(self.codec, one[None].to(self.decoder.device))[0] for one in codes)
            return np.stack([sound.fit(one.float().cpu().numpy(), samples) for one in made])

    # ------------------------------------------------------------ steps

    def _recording(
        self,
        audio: np.ndarray,
        rate: int,
        stem: str,
        prompt: str,
        start: float,
        seconds: float | None,
        variations: int,
        seed: int,
        grid: str | BeatGrid | None,
    ) -> Order:
        """What `accompany` is asked for, checked; nothing is listened to yet."""
        self.check(stem, variations, seed)
        song = stretch(audio, rate, start, seconds)
        mono = sound.to_mono(song)
        if np.abs(mono).max() < SILENCE:
            raise StageError(
                "the chosen stretch is silent: there is nothing to follow. Choose another with --start and --seconds"
            )
        wanted = self._check_grid(grid, start, song.shape[1] / rate)

        def listen() -> Heard:
            beats, notes = _beats(wanted, song, rate)
            contexts = {"mix": sound.resample(mono, rate, self.codec.sample_rate)}
            if beats is not None:
                contexts["grid"] = self._clicks(beats, song.shape[1] / rate)
            return Heard(contexts, beats, notes)

        return Order(
            stem,
            prompt,
            song,
            rate,
            tuple(range(seed, seed + variations)),
            lambda: loudness(song, rate) + STEM_LEVEL,
            listen,
        )

    def _metronome(
        self, bpm: float, stem: str, meter: str, bars: int, prompt: str, variations: int, seed: int, rate: int | None
    ) -> Order:
        """What `click` is asked for, checked."""
        self.check(stem, variations, seed)
        rate = self.codec.sample_rate if rate is None else rate
        check_rate(rate)
        seconds = click_seconds(bpm, meter, bars)
        beats = BeatGrid.regular(bpm, beats_per_bar(meter), seconds)
        song = CLICK_GAIN * sound.fit(click_track(beats, seconds, rate), round(seconds * rate))[None]
        kind = "grid" if "grid" in self.decoder.config.contexts else "mix"
        seeds = tuple(range(seed, seed + variations))
        return Order(
            stem,
            prompt,
            song,
            rate,
            seeds,
            lambda: CLICK_STEM_LUFS,
            lambda: Heard({kind: self._clicks(beats, seconds)}, beats),
        )

    def _make(
        self, order: Order, sampling: Sampling | None, on_progress: Progress | None, level: bool
    ) -> Accompaniment:
        """The whole order at once."""
        heard, samples = order.listen(), order.song.shape[1]
        made = self.generate_audio(
            heard.contexts, order.stem, order.prompt, samples / order.rate, order.seeds, sampling, on_progress
        )
        stems = sound.fit(sound.resample(made, self.codec.sample_rate, order.rate), samples)
        return finish(order, heard, stems, level)

    def _stream(
        self,
        order: Order,
        sampling: Sampling | None,
        on_progress: Progress | None,
        chunk_seconds: float,
        gain_db: float | None,
    ) -> Stream:
        """The order chunk by chunk."""
        if not 0 < chunk_seconds < np.inf:
            raise StageError(f"a chunk cannot hold {chunk_seconds:g} seconds: choose more than 0")
        gain_db = order.target() - PLAIN_LUFS if gain_db is None else gain_db
        if not abs(gain_db) < 200:
            raise StageError(f"{gain_db:g} dB are no gain that can be heard: choose about -40 to 40")
        heard = Heard()
        return Stream(order, heard, self._chunks(order, heard, sampling, on_progress, chunk_seconds, gain_db), gain_db)

    def _chunks(
        self,
        order: Order,
        heard: Heard,
        sampling: Sampling | None,
        on_progress: Progress | None,
        most: float,
        gain_db: float,
    ) -> Iterator[np.ndarray]:
        found, gain = order.listen(), np.float32(10 ** (gain_db / 20))
        heard.grid, heard.notes = found.grid, found.notes
        seconds = order.song.shape[1] / order.rate
        piece = self._piece(found.contexts, order.stem, order.prompt, seconds, order.seeds, sampling, on_progress)
        parts = stream(**piece, pieces=sizes(self.codec, most))
        for chunk in chunks(parts, self.codec, self.decoder.device, order.rate, order.song.shape[1]):
            yield gain * chunk

    def _piece(
        self,
        contexts: dict[str, np.ndarray],
        stem: str,
        prompt: str,
        seconds: float,
        seeds: Sequence[int],
        sampling: Sampling | None,
        on_progress: Progress | None,
    ) -> dict:
        """What is played, as `stage.generation.windows` takes it."""
        kinds = self.decoder.config.contexts
        if unknown := set(contexts) - set(kinds):
            raise StageError(
                f"this model takes no {' or '.join(sorted(unknown))} as context: it takes {', '.join(kinds)}"
            )
        decoder, index = self.player(stem)
        return dict(
            decoder=decoder,
            codec=self.codec,
            stem=index,
            contexts=[contexts.get(kind) for kind in kinds],
            text=self._words(prompt),
            frames=seconds_to_frames(seconds, frame_rate(self.codec)),
            size=round(self.config.window_seconds * frame_rate(self.codec)),
            seeds=list(seeds),
            sampling=sampling or self.sampling(),
            on_progress=on_progress,
        )

    def _clicks(self, beats: BeatGrid, seconds: float) -> np.ndarray:
        return click_track(beats, seconds, self.codec.sample_rate)

    def _words(self, prompt: str) -> torch.Tensor | None:
        """Projected text [L, D] of a prompt, None for one without words."""
        if not prompt.strip():
            return None
        with torch.inference_mode():
            embeddings, mask = self.text.encode([prompt])
            return self.decoder.text_projection(embeddings[0][mask[0]]) if mask.any() else None

    def _check_grid(self, grid: str | BeatGrid | None, start: float, seconds: float) -> str | BeatGrid:
        """ "on", "off" or the beats of a stretch; StageError if the model or the stretch has no use for them."""
        if grid is None:
            grid = "on" if self.config.grid else "off"
        if isinstance(grid, str) and grid not in ("on", "off"):
            raise StageError(f'the grid is "on", "off" or a BeatGrid, not "{grid}"')
        if isinstance(grid, str) and grid == "off":
            return grid
        if "grid" not in self.decoder.config.contexts:
            raise StageError("this model takes no beat grid: use --grid off")
        if isinstance(grid, BeatGrid):
            grid = grid.crop(start, start + seconds)
            if not len(grid):
                raise StageError(
                    "the beat grid has no beat within the chosen stretch: its times count from the beginning of the"
                    " recording"
                )
        return grid


def _beats(grid: str | BeatGrid, song: np.ndarray, rate: int) -> tuple[BeatGrid | None, tuple[str, ...]]:
    """The beats to give to the model, tracked if they are "on", and what there is to say about them."""
    if isinstance(grid, BeatGrid):
        return grid, ()
    if grid == "off":
        return None, ()
    from stage.beats.tracker import track

    beats = track(song, rate)
    if len(beats) < 2:
        return None, ("no beats were found in the recording: the model follows the sound alone",)
    return beats, ()
