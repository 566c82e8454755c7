"""Training examples from token views: which contexts, which crop, which prompt (method: STAGE, training protocol).

A batch has one layout (kinds of context and lengths), so that no column is padding. Part of some targets is hidden from
the decoder, though not from the loss: what it cannot copy from its own past it has to take from context and prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stage.config import DecoderConfig
from stage.errors import StageError
from stage.prefix import Row, row, trim
from stage.training.embedded.recipe import BatchOptions, TextOptions

LAYOUTS = {"click": (True, False), "mix": (False, True), "both": (True, True), "none": (False, False)}
"""Which of (grid, mix) a layout holds; "both" needs a decoder that takes two kinds of context."""


@dataclass(frozen=True)
class Batch:
    """A batch of examples.

    sequence: the rows, ready for the decoder, trimmed. target: [B, K, T] int64. prompts: B texts,
    "" where dropped. phase: [B, S, 4] cosine and sine of the place in the beat and in the bar of
    the frame that each column predicts. chord: [B, S, 13] root (index, 12 = none) and pitch
    classes, root -1 where the row has no mix. density: [B] 0..1 of the target's playing, -1 where there is no prompt.
    """

    sequence: Row
    target: Tensor
    prompts: list[str]
    phase: Tensor
    chord: Tensor
    density: Tensor

    def labels(self, columns: Tensor) -> Batch:
        """The same with the labels of these columns alone: columns [S] bool, or a slice."""
        return replace(self, phase=self.phase[:, columns], chord=self.chord[:, columns])

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.sequence.to(device),
            self.target.to(device),
            self.prompts,
            self.phase.to(device),
            self.chord.to(device),
            self.density.to(device),
        )


class Examples:
    """Draws batches from views; what batch n holds depends on the seed and n alone."""

    def __init__(
        self,
        views: list[dict],
        config: DecoderConfig,
        options: BatchOptions,
        text: TextOptions,
        frame_rate: float,
        seed: int,
    ):
        """Raises StageError for layouts that the model does not take, and for a stem that no view has."""
        self.views, self.config, self.options, self.text = views, config, options, text
        self.rate, self.seed = frame_rate, seed
        self.layouts = [name for name, kinds in LAYOUTS.items() if any(kinds) and sum(kinds) <= len(config.contexts)]
        if lost := [name for name, share in options.layouts.items() if share and name not in (*self.layouts, "none")]:
            raise StageError(
                f"the model takes {' and '.join(config.contexts)}, and batch.layouts {', '.join(lost)} do not fit it:"
                f" choose among {', '.join((*self.layouts, 'none'))}"
            )
        self.by_stem = {s: [v for v in views if f"stem.{s}" in v] for s in config.stems}
        if absent := [s for s, found in self.by_stem.items() if not found]:
            raise StageError(
                f"none of the {len(views)} views has {' or '.join(absent)} and another stem: stage train views encodes"
                " songs that have them"
            )
        self.sounding = {
            id(v): {s: self._sounding(v[f"stem.{s}"]) for s in config.stems if f"stem.{s}" in v} for v in views
        }

    @staticmethod
    def _sounding(codes: Tensor) -> Tensor:
        """Frames [T] bool in which something changes: long repeats of one code are silence."""
        return torch.cat([codes[0, 1:].int() != codes[0, :-1].int(), torch.ones(1, dtype=torch.bool)])

    def batch(
        self,
        number: int,
        layout: str | None = None,
        wrong: bool = False,
        rows: int | None = None,
        stem: str | None = None,
        frames: int | None = None,
        called: str | None = None,
        crop: int | None = None,
    ) -> Batch:
        """Batch ``number``.

        wrong: the contexts of the next example; called: name this stem instead of the target's own; crop: frames of the
        contexts.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)

        def draw() -> float:
            return float(torch.rand(1, generator=generator))

        options = self.options
        hide = options.hide if layout is None else 0.0
        if layout is None:
            layout = _pick(options.layouts, draw())
        frames = frames or int(self.rate * options.seconds[int(draw() * len(options.seconds))])
        drawn = frames if draw() < options.whole_context else int(frames * (0.5 + 0.5 * draw()))
        crop = crop or drawn
        contexts = LAYOUTS[layout]
        rows = rows or max(2, int(options.columns / (frames + crop * sum(contexts))))
        cut = [self._example(generator, frames, stem, layout) for _ in range(rows)]
        laid, phases, chords, prompts = [], [], [], []
        for i, example in enumerate(cut):
            source = cut[(i + 1) % rows] if wrong else example
            here = self._contexts(source, contexts, crop)
            index = example["index"] if called is None else self.config.stems.index(called)
            laid.append(row(self.config, here, index, example["target"]))
            phase, chord = self._labels(example, frames + 2, crop if contexts[1] else 0, any(contexts))
            place = laid[-1].positions[0].clamp(max=frames + 1)
            phases.append(phase[place])
            chords.append(chord[place])
            prompts.append(self._prompt(example, generator))
        sequence, kept = self._joined(laid)
        for columns in sequence.columns:
            if draw() < hide:
                share, place = 0.2 + 0.6 * draw(), draw()
                start = sequence.first + 1 + int((1 - share) * place * frames)
                columns[:, start : start + int(share * frames)] = self.config.pad
        density = [e["view"]["meta"]["density"][e["stem"]] if prompt else -1.0 for e, prompt in zip(cut, prompts)]
        return Batch(
            sequence,
            torch.stack([e["target"] for e in cut]),
            prompts,
            torch.stack(phases)[:, kept],
            torch.stack(chords)[:, kept],
            torch.tensor(density),
        )

    def _joined(self, laid: list[Row]) -> tuple[Row, slice]:
        """Rows of one layout as one, without the columns that count for nothing; and which columns were kept."""
        whole = laid[0]
        if len(laid) > 1:
            parts = (
                torch.cat([getattr(r, name) for r in laid]) for name in ("columns", "attend", "positions", "segments")
            )
            whole = Row(*parts, laid[0].first, laid[0].frames)
        sequence = trim(whole)
        sequence = sequence.cut(0, sequence.columns.shape[-1] - self.config.codebooks + 1)
        skipped = whole.first - sequence.first
        return sequence, slice(skipped, skipped + sequence.columns.shape[-1])

    def _contexts(self, example: dict, wanted: tuple[bool, bool], crop: int) -> list[Tensor | None]:
        """Codes [K, crop] of each kind of context that the decoder takes."""
        grid, mix = (example[kind][:, :crop] if want else None for kind, want in zip(("grid", "mix"), wanted))
        # with one kind of context clicks are a mix like any other (method: STAGE)
        return [grid, mix] if len(self.config.contexts) == 2 else [grid if mix is None else mix]

    def _example(self, generator: torch.Generator, frames: int, stem: str | None, layout: str) -> dict:
        stem = stem or _pick(self.options.stems, float(torch.rand(1, generator=generator)))
        views = self.by_stem[stem]
        for _ in range(8):  # a crop in which the target hardly plays teaches little
            found = views[int(torch.randint(len(views), (1,), generator=generator))]
            length = found[f"stem.{stem}"].shape[1]
            start = int(torch.randint(max(1, length - frames), (1,), generator=generator))
            if self.sounding[id(found)][stem][start : start + frames].float().mean() > 0.5:
                break
        drawn = float(torch.rand(1, generator=generator))  # in every layout, so that all of them cut the same examples
        clean = layout == "click" or drawn < self.options.clean_grid

        def cut(name: str) -> Tensor:
            piece = found[name][:, start : start + frames].long()
            return (
                torch.nn.functional.pad(piece, (0, frames - piece.shape[1]), mode="replicate")
                if piece.shape[1] < frames
                else piece
            )

        return {
            "target": cut(f"stem.{stem}"),
            "mix": cut(f"mix.{stem}"),
            "grid": cut("click" if clean else "grid"),
            "stem": stem,
            "index": self.config.stems.index(stem),
            "start": start / self.rate,
            "view": found,
        }

    def _labels(self, example: dict, count: int, mixed: int, beat: bool) -> tuple[Tensor, Tensor]:
        """Phases [count, 4] and chords [count, 13] of the frames from the crop's start on; chords for ``mixed``."""
        times = example["start"] + (torch.arange(count) + 0.5) / self.rate
        beats = example["view"]["beats"]
        phase = torch.zeros(count, 4)
        if beat and len(beats) > 2:
            when, number = beats[:, 0].contiguous(), beats[:, 1]
            index = torch.searchsorted(when, times).clamp(1, len(when) - 1) - 1
            part = (times - when[index]) / (when[index + 1] - when[index])
            bar = (number[index] - 1 + part) / number.max()
            angles = 2 * torch.pi * torch.stack([part, part, bar, bar], -1)
            phase = torch.stack([angles[:, 0].cos(), angles[:, 1].sin(), angles[:, 2].cos(), angles[:, 3].sin()], -1)
        chord = torch.zeros(count, 13)
        chord[:, 0] = -1
        for c in example["view"]["chords"]:
            inside = (times >= c[0]) & (times < c[1]) & (torch.arange(count) < mixed)
            chord[inside, 0] = c[2] if c[2] >= 0 else 12
            chord[inside, 1:] = c[3:]
        return phase, chord

    def _prompt(self, example: dict, generator: torch.Generator) -> str:
        options, meta = self.text, example["view"]["meta"]
        draws = torch.rand(3, generator=generator).tolist()
        if draws[0] < options.dropout:
            return ""
        if draws[1] < options.tags:  # the paper's form
            text = f"Genres: {meta['genre']}. Moods: {', '.join(meta['moods'][:3])}."
        else:
            own = meta["stem_captions"].get(example["stem"]) or meta["captions"]
            pool = own if draws[1] < options.stem else meta["captions"]
            text = pool[int(draws[2] * len(pool))]
        words = text.split()
        kept = torch.rand(len(words), generator=generator) >= options.word_dropout
        return " ".join(w for w, keep in zip(words, kept) if keep)


def _pick(shares: dict[str, float], draw: float) -> str:
    """One of the names, by its share."""
    draw *= sum(shares.values())
    for name, share in shares.items():
        draw -= share
        if draw < 0:
            return name
    return name
