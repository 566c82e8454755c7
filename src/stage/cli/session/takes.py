"""Tracks and their takes: make them, list them, keep one, play bars again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stage.cli.groups import Model, Playing, Sampled
from stage.cli.options import (
    ComplexityOption,
    DynamicsOption,
    FillsOption,
    InstrumentOption,
    KitOption,
    PromptOption,
    SeedOption,
    TemperatureOption,
)
from stage.cli.session.shown import Name, Where, opened, play_band, playing_bar, progress, show_takes


def add(
    stem: Annotated[str, typer.Argument(help="What to play: drums, bass, keys, guitar or pads.")],
    playing: Playing,
    sampled: Sampled,
    model: Model,
    prompt: PromptOption = "",
    takes: Annotated[int, typer.Option(help="How many takes to make at once.", rich_help_panel="Music")] = 1,
    seed: SeedOption = 0,
    name: Annotated[
        str | None, typer.Option(help="The track's name; the stem's by default.", rich_help_panel="Session")
    ] = None,
    border_fills: Annotated[
        bool,
        typer.Option(
            "--border-fills/--no-border-fills",
            help="Drums with a fill before each new section, where a form is known.",
            rich_help_panel="Playing",
        ),
    ] = True,
    session: Where = None,
) -> None:
    """Add a track: it is played to the song and to the tracks that are there.

    \b
    stage session add drums --takes 3
    stage session add bass --prompt "laid back" --complexity 0.3
    """
    from stage.generation.request import check_many

    how = playing.of(stem)
    check_many(takes, seed)
    sampling = sampled.given
    arrangement = opened(session, model)
    with playing_bar() as shown:
        on_progress = progress(arrangement, shown)
        track = arrangement.add(stem, prompt, takes, seed, name, how, sampling, on_progress, border_fills)
    show_takes(arrangement, track.name)


def takes(
    track: Name,
    model: Model,
    more: Annotated[int, typer.Option(help="Make so many more first.", rich_help_panel="Music")] = 0,
    like: Annotated[
        int, typer.Option(help="Make so many like the kept one: its first bars stay.", rich_help_panel="Music")
    ] = 0,
    other: Annotated[int, typer.Option(help="Make so many unlike those that are there.", rich_help_panel="Music")] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first of them; the next one by default.", rich_help_panel="Music")
    ] = None,
    session: Where = None,
) -> None:
    """List the takes of a track, the best first; with --more, --like or --other make some first.

    \b
    stage session takes drums
    stage session takes drums --more 4
    stage session takes drums --like 2

    They are ranked by a quick check, which says what is likely to be wrong, not what is good. score: on grid x in
    chord, less for a take that is silent more than half of the time or clips. on grid: share of the onsets within 40 ms
    of a sixteenth or triplet. in chord: share of the notes' time in tones of the chord. silent: share of the time.
    """
    arrangement = opened(session, model)
    if more or like or other:
        with playing_bar() as shown:
            on_progress = progress(arrangement, shown)
            if more:
                arrangement.take(track, more, seed, on_progress)
            if like:
                arrangement.like(track, like, on_progress=on_progress)
            if other:
                arrangement.other(track, other, on_progress=on_progress)
    show_takes(arrangement, track)


def keep(
    track: Name, take: Annotated[str, typer.Argument(help="Its number, as `takes` lists it.")], session: Where = None
) -> None:
    """Keep another take of a track.

    \b
    stage session keep drums 2
    """
    arrangement = opened(session)
    arrangement.keep(track, take)
    show_takes(arrangement, track)


def redo(
    track: Name,
    model: Model,
    bars: Annotated[
        list[str] | None,
        typer.Option(help="Bars to play anew, like 5 or 5-6; may be given several times.", rich_help_panel="Region"),
    ] = None,
    between: Annotated[
        list[str] | None,
        typer.Option(help="The same in seconds, like 12.5-16.", rich_help_panel="Region"),
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(
            help="How many to make of each region; the one is taken that what follows fits best.",
            rich_help_panel="Music",
        ),
    ] = 2,
    seed: Annotated[int | None, typer.Option(help="Another seed, for another result.", rich_help_panel="Music")] = None,
    complexity: ComplexityOption = None,
    dynamics: DynamicsOption = None,
    fills: FillsOption = 0,
    temperature: TemperatureOption = None,
    session: Where = None,
) -> None:
    """Play some bars of a track anew, as a new take. (To do an undone step again: redo-step.)

    \b
    stage session redo drums --bars 5-6
    stage session redo bass --bars 3 --bars 7-8 --complexity 0.8

    What stands before and after is known to the model, and every note and sample outside stays as it is. A pitched note
    that rings on behind the region stays too.
    """
    arrangement = opened(session, model)
    found = arrangement.track(track)
    how = dict(complexity=complexity, dynamics=dynamics, fills=fills or None)
    given = {key: value for key, value in how.items() if value is not None}
    before = arrangement.book.takes[found.kept].recipe.performance
    regions = [_span(word, int) for word in bars or []], [_span(word, float) for word in between or []]
    with playing_bar() as shown:
        arrangement.redo(
            track,
            *regions,
            candidates=candidates,
            seed=seed,
            performance={**before, **given} if given else None,
            sampling={} if temperature is None else {"temperature": temperature},
            on_progress=progress(arrangement, shown),
        )
    show_takes(arrangement, track)


def _span(text: str, kind: type) -> tuple[Any, Any]:
    """ "5-6" or "5" as two numbers."""
    from stage.errors import StageError

    first, _, last = text.partition("-")
    try:
        return kind(first), kind(last or first)
    except ValueError:
        raise StageError(f'"{text}" is no region: write it like 5-6') from None


def sound(
    track: Name,
    kit: KitOption = None,
    instrument: InstrumentOption = None,
    session: Where = None,
) -> None:
    """Play the notes of a track on another kit or instrument, as a new take. The model has no part in it.

    \b
    stage session sound drums --kit jazz
    stage session sound bass --instrument upright
    """
    from stage.errors import StageError

    arrangement = opened(session)
    stem = arrangement.track(track).stem
    named, other = (kit, instrument) if stem == "drums" else (instrument, kit)
    if named is None or other is not None:
        raise StageError(f"name one {'--kit' if stem == 'drums' else '--instrument'}: `stage sound --list` has them")
    arrangement.resound(track, named)
    show_takes(arrangement, track)


def band(
    model: Model,
    stems: Annotated[str, typer.Option(help="In this order; each is played to those before it.")] = "drums,bass,keys",
    prompt: PromptOption = "",
    takes: Annotated[int, typer.Option(help="Of each; the best by the quick check is kept.")] = 1,
    seed: SeedOption = 0,
    session: Where = None,
) -> None:
    """Add a track of each stem: each is played to the song and to those before it.

    \b
    stage session band --stems drums,bass,keys
    """
    play_band(opened(session, model), stems, prompt, takes, seed)
