"""A loaded model, and how it makes what a `Request` asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from stage import audio as sound
from stage.beats.grid import seconds_to_frames
from stage.config import EventsConfig, StageConfig
from stage.errors import StageError
from stage.generation.decoding import Sampling
from stage.generation.played import Plan, chord_logits
from stage.generation.prepare import Prepared, prepare
from stage.generation.refill import Filler
from stage.generation.request import CANDIDATES, Metronome, Recording, Request, check_many, check_sampling
from stage.generation.result import Accompaniment, finish
from stage.generation.sounding import Sounding
from stage.generation.streaming import (
    CHUNK_SECONDS,
    PLAIN_LUFS,
    PLAYED_LUFS,
    Stream,
    chunks,
    gain,
    kept,
    sizes,
    usual_gain,
)
from stage.generation.windows import of_audio, play, stream
from stage.instruments.stems import sampler
from stage.models.chord_head import ChordHead
from stage.models.codec import Codec, decode_long, frame_rate
from stage.models.decoder import Decoder
from stage.models.text import TextEncoder

if TYPE_CHECKING:
    from stage.models.lora import Voice
    from stage.notes import Note

PLAYED_RATE = 44100
"""Hz of what sampled instruments play to a metronome: their own."""
Progress = Callable[[float], "bool | None"]
"""Called with the share that is done, 0..1; returning False stops the work (`stage.generation.decoding.Stopped`)."""


@dataclass(eq=False, repr=False)
class Maker:
    """A loaded model: what makes any request, at once or as a stream. `stage.pipeline.Stage` adds what is called."""

    decoder: Decoder
    codec: Codec
    text: TextEncoder
    config: StageConfig
    voices: dict[str, Voice] = field(default_factory=dict)
    """Stems that adapters play on the decoder, by name; see `load_adapter`."""
    events: EventsConfig | None = None
    """Of a model whose target is played events; its stems are sounded by sampled instruments."""
    chord_head: ChordHead | None = None
    """Reads the chords of a mix, in models of events that have it."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the instruments that the model and its adapters play."""
        return tuple(dict.fromkeys((*self.decoder.config.stems, *self.voices)))

    def sampling(
        self,
        guidance: float | None = None,
        text_guidance: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float | None = None,
        stem: str | None = None,
    ) -> Sampling:
        """How the model is sampled: as it would be for the stem, but for the values given. See `Sampling`."""
        check_sampling(guidance, text_guidance, top_k, top_p, temperature)
        own = self.config
        if self.events is not None and stem in self.events.sampling:
            own = replace(own, **cast(dict[str, Any], self.events.sampling[stem]))
        return Sampling(
            guidance=own.guidance if guidance is None else guidance,
            text_guidance=own.text_guidance if text_guidance is None else text_guidance,
            top_k=own.top_k if top_k is None else top_k,
            top_p=own.top_p if top_p is None else top_p,
            temperature=own.temperature if temperature is None else temperature,
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

    def player(self, stem: str) -> tuple[Decoder, int]:
        """The decoder that plays a stem, and the stem's index in it."""
        if stem in self.voices:
            return self.voices[stem], 0
        own = self.decoder.config.stems
        return self.decoder, own.index(stem) if own else 0

    # ------------------------------------------------------------ for evaluation

    def generate_audio(
        self,
        contexts: dict[str, np.ndarray],
        stem: str,
        prompt: str = "",
        seconds: float = 10.0,
        seeds: Sequence[int] = (0,),
        sampling: Sampling | Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        prompt_codes: torch.Tensor | None = None,
    ) -> np.ndarray:
        """The model's plain output: no beat tracking, no level matching.

        contexts: kind ("mix", "grid") -> mono float32 [N] at `codec.sample_rate`; may be empty.
        prompt_codes: int64 [K, P] codes that the stem begins with.
        Returns float32 [V, round(seconds * codec.sample_rate)], V = len(seeds).
        """
        if self.events is not None:  # without beats, on one channel
            self._check_kinds(contexts)
            rate = self.codec.sample_rate
            silence = Recording(np.zeros((1, round(seconds * rate)), np.float32), rate)
            request = Request(stem, silence, prompt, tuple(seeds), sampling=sampling)
            prepared = Prepared(contexts, seconds, rate)
            plan = self._plan(request, prepared)
            sounding = self._sounding(request, prepared, plan)
            return sounding.stems(sounding.takes(play(**self._played(plan, request, on_progress))))[:, 0]
        piece = self._piece(contexts, stem, prompt, seconds, seeds, sampling, on_progress)
        return self._decoded(play(**piece, prompt=prompt_codes), seconds)

    def _decoded(self, codes: torch.Tensor, seconds: float) -> np.ndarray:
        """Codes [V, K, T] as sound of so many seconds, float32 [V, n] at the codec's rate."""
        samples = round(seconds * self.codec.sample_rate)
        with torch.inference_mode():
            made = (decode_long(self.codec, one[None].to(self.decoder.device))[0] for one in codes)
            return np.stack([sound.fit(one.float().cpu().numpy(), samples) for one in made])

    # ------------------------------------------------------------ any request

    def make(self, request: Request, on_progress: Progress | None = None) -> Accompaniment:
        """What a request asks for, all at once. Raises StageError for what cannot be done."""
        request = self.complete(request)
        prepared = self.prepare(request)
        if self.events is not None:
            plan = self._plan(request, prepared)
            return self._played_result(request, prepared, plan, play(**self._played(plan, request, on_progress)))
        return self._result(request, prepared, play(**self._prepared_piece(request, prepared, on_progress)))

    def _result(self, request: Request, prepared: Prepared, codes: torch.Tensor) -> Accompaniment:
        """The result of a complete request whose codes of audio [V, K, T] are made."""
        made = self._decoded(codes, prepared.seconds)
        stems = sound.fit(sound.resample(made, prepared.rate, request.rate), request.source.audio.shape[1])
        return finish(request, prepared, prepared.envelope.apply(stems))

    def _prepared_piece(self, request: Request, prepared: Prepared, on_progress: Progress | None) -> dict:
        """`_piece` of a complete request."""
        words = request.stem, request.prompt, prepared.seconds, request.seeds, request.sampling
        return self._piece(prepared.contexts, *words, on_progress)

    def make_stream(
        self,
        request: Request,
        on_progress: Progress | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        gain_db: float | None = 0.0,
    ) -> Stream:
        """What a request asks for, chunk by chunk as it is made; its `level` is that of `Stream.finish`.

        chunk_seconds: the most that a chunk holds; the first are as short as can be. A chunk is certain when the
            codec's look-ahead is made too (`codec.look_ahead` frames: 0.8 s of music with the sketch model, 0.08 s
            with MusicGen's).
        gain_db: what all chunks are amplified by; None: what brings a usual stem to the song's level. Loud stems go
            beyond full scale.
        Raises StageError for what cannot be done; nothing else runs before the first chunk is asked for.
        """
        request = self.complete(request)
        if not 0 < chunk_seconds < np.inf:
            raise StageError(f"a chunk cannot hold {chunk_seconds:g} seconds: choose more than 0")
        if gain_db is None:
            gain_db = usual_gain(request, PLAIN_LUFS if self.events is None else PLAYED_LUFS)
        if not abs(gain_db) < 200:
            raise StageError(f"a gain of {gain_db:g} dB is out of range: choose about -40 to 40")
        once = cache(partial(self.prepare, request))
        codes: list[torch.Tensor] = []
        arguments = request, once, on_progress, chunk_seconds, gain_db, codes
        if self.events is None:
            whole = partial(self._whole, request, once, codes)
            return Stream(request, once, self._chunks(*arguments), gain_db, whole)
        plan = cache(lambda: self._plan(request, once()))
        whole = partial(self._whole, request, once, codes, plan)
        channels = min(2, len(request.source.audio))
        return Stream(request, once, self._chunks_played(*arguments, plan), gain_db, whole, channels)

    def _whole(
        self,
        request: Request,
        once: Callable[[], Prepared],
        codes: list[torch.Tensor],
        plan: Callable[[], Plan] | None = None,
    ) -> Accompaniment:
        """What `make` returns, from the codes of a stream that has come to its end."""
        made = torch.cat(codes, -1)
        if plan is None:
            return self._result(request, once(), made)
        return self._played_result(request, once(), plan(), made)

    def complete(self, request: Request) -> Request:
        """The request with everything that it leaves to the model. Raises StageError for what the model cannot do."""
        self.check(request.stem)
        changes: dict[str, Any] = {}
        if not isinstance(request.sampling, Sampling):
            changes["sampling"] = self.sampled(request.sampling, request.stem)
        source = request.source
        if isinstance(source, Metronome):
            rate, channels = (self.codec.sample_rate, 1) if self.events is None else (PLAYED_RATE, 2)
            changes["source"] = replace(source, rate=source.rate or rate, channels=channels)
        with_grid = self.config.grid or self.events is not None
        if self.events is None and not (request.chords is None and request.performance.neutral):
            raise StageError(
                f'"{self.config.name}" plays codes of audio: chords, controls and instruments are for models of events,'
                " such as player"
            )
        request.performance.check(request.stem)
        grid = ("on" if with_grid else "off") if request.grid is None else request.grid
        if grid != "off" and self.events is None and "grid" not in self.decoder.config.contexts:
            raise StageError("this model takes no beat grid: use --grid off")
        request = replace(request, grid=grid, **changes)
        if (file := request.performance.file(request.stem)) is not None:
            sampler(request.stem, file, request.rate)  # what is wrong with it is said before anything is made
        return request

    # ------------------------------------------------------------ models of events

    def replay(
        self,
        request: Request,
        notes: Sequence[Note],
        instrument: str,
        regions: Sequence[tuple[float, float]],
        candidates: int = CANDIDATES,
        on_progress: Progress | None = None,
    ) -> tuple[list[Note], Prepared]:
        """Notes of a part of which some regions, (start, end) in seconds, are played anew, between what stays before
        and after (`stage.generation.refill`); and what was prepared for it.

        request: for the part, with one seed. instrument: that plays it. candidates: for each region, of which the one
        is taken after which the model finds what follows the likeliest. Raises StageError for a model of audio codes.
        """
        request = self.complete(request)
        if self.events is None:
            raise StageError(f'"{self.config.name}" makes sound, not notes: it cannot play some of them anew')
        prepared = self.prepare(request)
        plan = self._plan(request, prepared)
        decoder, index = self.player(request.stem)
        size = self.events.window_beats * self.events.division
        words, sampling = self.words(request.prompt), self.sampled(request.sampling, request.stem)
        filler = Filler(decoder, index, plan, words, sampling, size)
        rate = request.rate
        pauses = tuple((first / rate, end / rate) for first, end in prepared.pauses)
        seconds, seed = request.source.audio.shape[1] / rate, request.seeds[0]
        return filler.refill(notes, instrument, regions, seconds, seed, candidates, pauses, on_progress), prepared

    def _played_result(self, request: Request, prepared: Prepared, plan: Plan, codes: torch.Tensor) -> Accompaniment:
        """The result of a complete request whose codes of events [V, K, T] are made."""
        sounding = self._sounding(request, prepared, plan)
        takes = sounding.takes(codes)
        return finish(request, prepared, prepared.envelope.apply(sounding.stems(takes)), takes, plan.chart)

    def _sounding(self, request: Request, prepared: Prepared, plan: Plan) -> Sounding:
        channels, samples = request.source.audio.shape
        return Sounding(plan, request.rate, samples, channels, request.seeds, prepared.tuning, prepared.pauses)

    def _chunks_played(
        self,
        request: Request,
        once: Callable[[], Prepared],
        on_progress: Progress | None,
        most: float,
        gain_db: float,
        whole: list[torch.Tensor],
        plan_once: Callable[[], Plan],
    ) -> Iterator[np.ndarray]:
        """A complete request chunk by chunk, [V, C, n]; `whole` gets its codes."""
        prepared, plan, done = once(), plan_once(), 0
        sounding = self._sounding(request, prepared, plan)
        parts = kept(stream(**self._played(plan, request, on_progress), pieces=sounding.sizes(most)), whole)
        for chunk in sounding.chunks(parts):
            yield gain(gain_db) * prepared.envelope.apply(chunk, done)
            done += chunk.shape[-1]

    def _plan(self, request: Request, prepared: Prepared) -> Plan:
        assert self.events is not None
        seconds = request.source.audio.shape[1] / request.rate
        device, hear = self.decoder.device, None
        if self.chord_head is not None:
            hear = partial(chord_logits, self.decoder, self.chord_head)
        performance = request.performance.worded(request.prompt, request.stem)
        return Plan.of(
            request.stem, seconds, prepared, self.events, self.codec, device, performance, hear, request.form
        )

    def _played(self, plan: Plan, request: Request, on_progress: Progress | None) -> dict:
        """What is played, as `stage.generation.windows` takes it."""
        assert self.events is not None
        size = self.events.window_beats * self.events.division
        steps = self._steps(request.stem, request.prompt, request.seeds, request.sampling, on_progress)
        return dict(**steps, size=size, **plan.piece())

    def _steps(
        self,
        stem: str,
        prompt: str,
        seeds: Sequence[int],
        sampling: Sampling | Mapping[str, Any] | None,
        on_progress: Progress | None,
    ) -> dict:
        """What pieces of audio codes and of events have in common."""
        decoder, index = self.player(stem)
        return dict(
            decoder=decoder,
            stem=index,
            text=self.words(prompt),
            seeds=list(seeds),
            sampling=self.sampled(sampling, stem),
            on_progress=on_progress,
        )

    def _check_kinds(self, contexts: Mapping[str, Any]) -> None:
        """Raise StageError for a kind of context that the model does not take."""
        kinds = self.decoder.config.contexts
        if unknown := set(contexts) - set(kinds):
            raise StageError(
                f"this model takes no {' or '.join(sorted(unknown))} as context: it takes {', '.join(kinds)}"
            )

    # ------------------------------------------------------------ steps

    def sampled(self, given: Sampling | Mapping[str, Any] | None, stem: str) -> Sampling:
        """How a stem is sampled: as given, or with these values in place of the model's own."""
        return given if isinstance(given, Sampling) else self.sampling(**given or {}, stem=stem)

    def prepare(self, request: Request) -> Prepared:
        """Contexts, beats and tuning of a complete request."""
        return prepare(request, self.decoder.config.contexts, self.codec.sample_rate, self.events is None)

    def _chunks(
        self,
        request: Request,
        once: Callable[[], Prepared],
        on_progress: Progress | None,
        most: float,
        gain_db: float,
        whole: list[torch.Tensor],
    ) -> Iterator[np.ndarray]:
        """A complete request chunk by chunk; `whole` gets its codes."""
        prepared, source = once(), request.source
        piece = self._prepared_piece(request, prepared, on_progress)
        parts, done, samples = stream(**piece, pieces=sizes(self.codec, most)), 0, source.audio.shape[1]
        for chunk in chunks(kept(parts, whole), self.codec, self.decoder.device, prepared.rate, request.rate, samples):
            yield gain(gain_db) * prepared.envelope.apply(chunk, done)
            done += chunk.shape[1]

    def _piece(
        self,
        contexts: dict[str, np.ndarray],
        stem: str,
        prompt: str,
        seconds: float,
        seeds: Sequence[int],
        sampling: Sampling | Mapping[str, Any] | None,
        on_progress: Progress | None,
    ) -> dict:
        """What is played, as `stage.generation.windows` takes it."""
        self._check_kinds(contexts)
        kinds, steps = self.decoder.config.contexts, self._steps(stem, prompt, seeds, sampling, on_progress)
        return dict(
            **steps,
            contexts=of_audio(self.codec, [contexts.get(kind) for kind in kinds], steps["decoder"].device),
            frames=seconds_to_frames(seconds, frame_rate(self.codec)),
            size=round(self.config.window_seconds * frame_rate(self.codec)),
        )

    def words(self, prompt: str) -> torch.Tensor | None:
        """Projected text [L, D] of a prompt, None for one without words."""
        if not prompt.strip():
            return None
        with torch.inference_mode():
            embeddings, mask = self.text.encode([prompt])
            return self.decoder.project(embeddings[0][mask[0]]) if mask.any() else None
