"""Prefill, steps, guidance, sampling: from contexts and text to the codes of a new stem.

The contexts are prefilled once for all variations. Classifier-free guidance runs as branches
that share the linear layers of each step but keep caches of their own length: the branch
without context does not carry the masked context along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stage.config import DecoderConfig
from stage.generation.event_rules import EventRules
from stage.generation.event_tables import EventTables
from stage.models.cache import Cache
from stage.models.decoder import Decoder
from stage.models.engine import Branch
from stage.models.fast_step import Step, start, threads
from stage.models.features import beat_alone
from stage.prefix import Contexts, deinterleave, row, trim

OnStep = Callable[[int, int], "bool | None"]
"""Called with (steps done, steps in all); returning False stops the generation."""


class Stopped(Exception):
    """The caller's ``on_step`` asked to stop."""


@dataclass(frozen=True)
class Sampling:
    """How the next codes are chosen.

    guidance: weight of the branch with conditions against the one without text and context:
        u + guidance * (c - u). 1 turns it off.
    text_guidance: where given, ``guidance`` weighs the context alone and this the text on top of it:
        u + guidance * (context - u) + text_guidance * (both - context).
    top_k: keep this many of the likeliest codes (0: all). top_p: keep the likeliest codes that
        together reach this probability (0: all). temperature: 0 takes the likeliest code.
    """

    guidance: float = 3.0
    text_guidance: float | None = None
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0


def guide(logits: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the branches: logits [branches, ...], weights [branches] -> [...]."""
    return (logits.float() * weights.float().view(-1, *[1] * (logits.dim() - 1))).sum(0)


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Choose codes. logits [V, K, size] float32, draws [V, K] float64 or float32 in 0..1 -> [V, K] int64."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    size = logits.shape[-1]
    keep = min(sampling.top_k or size, size)
    values, codes = torch.topk(logits, keep, dim=-1)  # sorted, the likeliest first
    chance = torch.softmax(values.to(draws.dtype) / sampling.temperature, dim=-1)
    total = chance.cumsum(-1)
    if sampling.top_p:
        # keep a code as long as those before it have not reached top_p
        chance = chance * (total - chance < sampling.top_p)
        total = chance.cumsum(-1)
    place = torch.searchsorted(total, (draws * total[..., -1])[..., None], right=True)
    return codes.gather(-1, place.clamp(max=keep - 1))[..., 0]


@dataclass
class State:
    """A generation under way: explicit, so that it can be stepped, streamed or dropped.

    Columns are counted from the one that predicts the target's first frame of codebook 0.
    known: [branches, K, S] int64, the cells that stand fixed (they differ between branches where
    the context's last codebooks trail into the target). unknown: [K, S] bool, cells to generate.
    columns: [V, K, S] int64, what has been generated, as the first branch sees it.
    caches, offsets [branches] int64 (position of column 0), weights [branches]: of the branches.
    stem: 0-d int64. draws: [V, steps, K] float64 (float32 on Apple's GPUs).
    logits: [branches, V, K, size], the last prediction.
    column: [branches, V, K] int64, the last column. step: how the decoder goes on (`stage.models.fast_step`). All
    tensors are on the decoder's device. pattern: delays of the codebooks. target_start: token of code 0. rules: of a
    stem of events, as tables, or None.
    """

    known: Tensor
    unknown: Tensor
    columns: Tensor
    caches: Sequence[Cache]
    offsets: Tensor
    weights: Tensor
    stem: Tensor
    draws: Tensor
    logits: Tensor
    step: Step
    at: int
    steps: int
    pattern: tuple[int, ...]
    target_start: int = 0
    rules: EventTables | None = None
    done: int = 0
    column: Tensor | None = None


def branches(
    contexts: Contexts, text: Tensor | None, sampling: Sampling, conditions: bool = False
) -> list[tuple[float, bool, bool]]:
    """The branches of the guidance as (weight, with context, with text), the full one first.

    conditions: whether features hold conditions beside the beat; they go with the context.
    """
    has_context, has_text = conditions or any(c is not None for c in contexts), text is not None
    if sampling.text_guidance is not None and has_context and has_text:
        c, t = sampling.guidance, sampling.text_guidance
        return [
            b for b in ((t, True, True), (c - t, True, False), (1 - c, False, False)) if b[0] or b[1:] == (True, True)
        ]
    guidance = sampling.guidance
    if not has_context and has_text and sampling.text_guidance is not None:
        guidance = sampling.text_guidance
    if guidance == 1 or not (has_context or has_text):
        return [(1.0, has_context, has_text)]
    return [(guidance, has_context, has_text), (1 - guidance, False, False)]


def _tables(config: DecoderConfig, rules: EventRules, frames: int, device: torch.device) -> EventTables:
    return EventTables(rules.laid(config.pattern, frames).to(device), config.pattern, config.target_start)


@torch.inference_mode()
def begin(
    decoder: Decoder,
    *,
    stem: int,
    contexts: Contexts,
    text: Tensor | None,
    frames: int,
    seeds: Sequence[int],
    prompt: Tensor | None = None,
    sampling: Sampling = Sampling(),
    features: Tensor | None = None,
    rules: EventRules | None = None,
    hurry: bool = True,
    given: Tensor | None = None,
) -> State:
    """Prefill. See ``generate`` for the arguments, ``stage.models.fast_step`` for ``hurry``.

    given: [K, frames] int64, codes behind the prompt that stand fixed; -1 where one is to be made.
    """
    config, device = decoder.config, decoder.device
    known = 0 if prompt is None else prompt.shape[1]
    if known >= frames:
        raise ValueError(f"the prompt's {known} frames leave nothing of {frames} to generate")
    target = torch.full((config.codebooks, frames), config.unknown)
    if prompt is not None:
        target[:, :known] = prompt
    if given is not None:
        target[:, known:] = given[:, known:].where(given[:, known:] >= 0, target[:, known:])
    contexts = [None if c is None or c.shape[1] == 0 else c.cpu() for c in contexts]
    bare = None
    if features is not None:
        if features.shape != (frames, config.features):
            raise ValueError(f"features are [{frames}, {config.features}], not {list(features.shape)}")
        features = features.to(device, decoder.embed.dtype)[None]
        bare = beat_alone(features)
    plan = branches(contexts, text, sampling, bare is not None and not torch.equal(bare, features))
    projected = None if text is None else text.to(device)[None]
    known_cells, offsets, ready = [], [], []
    steps = frames - known + config.trail
    for _, with_context, with_text in plan:
        full = trim(row(config, contexts if with_context else [None] * len(contexts), stem, target))
        before = full.cut(0, full.first + known + 1)  # to the column that predicts the first unknown frame
        ready.append(Branch(before, projected if with_text else None, features if with_context else bare))
        known_cells.append(full.columns[0, :, full.first :])
        offsets.append(int(before.positions[0, -1]) - known)
    with threads(decoder):
        logits, caches, step = start(decoder, ready, len(seeds), steps, hurry)
    frame = torch.arange(frames + config.trail + 1) - 1 - torch.tensor(config.pattern)[:, None]
    unknown = (frame >= known) & (frame < frames)
    if given is not None:
        unknown &= given.gather(1, frame.clamp(0, frames - 1)) < 0
    draws = torch.stack(
        [
            torch.rand(steps, config.codebooks, generator=torch.Generator().manual_seed(int(seed)), dtype=torch.float64)
            for seed in seeds
        ]
    )
    if device.type == "mps":  # has no float64
        draws = draws.float()
    return State(
        known=torch.stack(known_cells).to(device),
        unknown=unknown.to(device),
        columns=known_cells[0].repeat(len(seeds), 1, 1).to(device),
        caches=caches,
        offsets=torch.tensor(offsets, device=device),
        weights=torch.tensor([b[0] for b in plan], device=device),
        stem=torch.tensor(stem, device=device),
        draws=draws.to(device),
        logits=logits.expand(-1, len(seeds), -1, -1),
        step=step,
        at=known,
        steps=steps,
        pattern=config.pattern,
        target_start=config.target_start,
        rules=None if rules is None else _tables(config, rules, frames, device),
    )


@torch.inference_mode()
def advance(decoder: Decoder, state: State, sampling: Sampling) -> None:
    """Run the last column through the decoder, unless its prediction is there already, and fill the next. Nothing waits
    for a GPU."""
    with threads(decoder, step=True):
        if state.done:
            state.logits = state.step(state.column, state.offsets + state.at, state.stem, state.caches)
        logits = guide(state.logits, state.weights)
        if state.rules is not None:
            logits = state.rules.guide(state.logits, logits, state.columns, state.at)
        chosen = choose(logits, state.draws[:, state.done], sampling) + state.target_start
    state.at += 1
    state.done += 1
    # [branches, V, K]
    state.column = torch.where(state.unknown[:, state.at], chosen, state.known[:, None, :, state.at])
    state.columns[:, :, state.at] = state.column[0]


def steps(
    decoder: Decoder,
    *,
    stem: int,
    contexts: Contexts,
    text: Tensor | None = None,
    frames: int,
    seeds: Sequence[int] = (0,),
    prompt: Tensor | None = None,
    sampling: Sampling = Sampling(),
    features: Tensor | None = None,
    rules: EventRules | None = None,
    hurry: bool = True,
    given: Tensor | None = None,
) -> Iterator[State]:
    """Generate column by column: yields the state after each. See ``begin`` for the arguments.

    Nothing runs before the first ``next``; dropping or closing the iterator frees the caches.
    """
    state = begin(
        decoder,
        stem=stem,
        contexts=contexts,
        text=text,
        frames=frames,
        seeds=seeds,
        prompt=prompt,
        sampling=sampling,
        features=features,
        rules=rules,
        hurry=hurry,
        given=given,
    )
    while state.done < state.steps:
        advance(decoder, state, sampling)
        yield state


def finished(state: State) -> int:
    """Frames of the target, those of the prompt included, of which all codebooks are there."""
    return max(0, state.at - max(state.pattern))


def made(state: State, first: int, last: int) -> Tensor:
    """Codes [V, K, last - first] int64 of the target's frames from `first` to before `last`, which are finished."""
    return deinterleave(state.columns, 1 + first, last - first, state.pattern) - state.target_start


def generate(
    decoder: Decoder,
    *,
    stem: int,
    contexts: Contexts,
    text: Tensor | None = None,
    frames: int,
    seeds: Sequence[int] = (0,),
    prompt: Tensor | None = None,
    sampling: Sampling = Sampling(),
    features: Tensor | None = None,
    rules: EventRules | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Generate one variation of a stem for each seed.

    stem: index into the model's stems. contexts: codes [K, T] int64 or None for each kind of
    context. text: projected text [L, D], or None. frames: length of the result, with the prompt.
    prompt: codes [K, P] with which the stem begins, or None. features: [frames, F] of ``stage.models.features`` for a
    decoder that takes them, or None; the branch without conditions has the beat's alone. rules: of a stem of events.
    Returns codes [len(seeds), K, frames] int64. On CPUs a variation depends on its own seed alone, to the bit; on GPUs
    last bits may depend on how many are made together.
    Raises Stopped when ``on_step`` returns False.
    """
    for state in steps(
        decoder,
        stem=stem,
        contexts=contexts,
        text=text,
        frames=frames,
        seeds=seeds,
        prompt=prompt,
        sampling=sampling,
        features=features,
        rules=rules,
        hurry=False,
    ):
        if on_step is not None and on_step(state.done, state.steps) is False:
            raise Stopped
    return made(state, 0, frames)
