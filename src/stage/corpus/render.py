"""Events of stems to a song's audio: an instrument, its sound and its level for each stem, and the level of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.corpus import presets
from stage.corpus.effects import passage_rms, treat
from stage.corpus.score import STEMS
from stage.corpus.synth import Event, Renderer

PEAK = 0.88
# mixing levels before the random part, in dB
BASE_DB = {"drums": 0.0, "bass": -2.0, "guitar": -5.0, "keys": -5.0, "pads": -8.0, "lead": -4.0, "other": -6.0}


def draws(rng: np.random.Generator, stem: str) -> tuple[np.random.Generator, np.random.Generator]:
    """A stem's own generators, for playing and for its sound, so that one stem does not change another's draws."""
    number = STEMS.index(stem) if stem in STEMS else len(STEMS)
    own, colour = np.random.SeedSequence([int(rng.integers(2**31)), number]).spawn(2)
    return np.random.default_rng(own), np.random.default_rng(colour)


def sound(
    own: np.random.Generator,
    colour: np.random.Generator,
    stem: str,
    events: Sequence[Event],
    programs: Sequence[int],
    main: str,
    side: int,
    seconds: float,
    renderer: Renderer,
) -> tuple[np.ndarray, dict] | None:
    """(audio `[N]`, its description) of a stem's events, None where it cannot be heard.

    programs: those that suit (of drums: kits). main: the soundfont that most stems of the song take.
    """
    nearby = [main] if own.random() < 0.5 else sorted(renderer.fonts)
    font, bank, program = presets.choose(own, stem, programs, nearby, side, renderer.has)
    dry = renderer.render(events, seconds, font, bank, program)
    if np.max(np.abs(dry)) < 1e-4:
        return None
    name = presets.KIT_NAMES[program] if bank == 128 else presets.NAMES.get(program, stem)
    level = round(float(np.clip(own.normal(-1, 3), -8, 4)), 2)
    wet = treat(colour, dry, renderer.rate, stem)
    target = 10 ** ((BASE_DB[stem] + level) / 20)
    about = {
        "soundfont": font,
        "kit" if bank == 128 else "program": program,
        "words": [name],
        "level_db": level,
        "style": None,
        "onsets_per_second": round(len({round(e.start, 2) for e in events}) / seconds, 3),
    }
    return wet * (target / max(passage_rms(wet, renderer.rate), 1e-6)), about


def balanced(audio: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stems at one gain with which neither they nor their sum pass `PEAK`."""
    if not audio:
        return audio
    peak = max(np.max(np.abs(sum(audio.values()))), max(np.max(np.abs(a)) for a in audio.values()))
    return {stem: signal * (PEAK / peak) for stem, signal in audio.items()}


def rows(events: Sequence[Event]) -> list[list[float]]:
    """Notes for song.json: start, end, pitch, velocity."""
    return [
        [round(e.start, 4), round(e.end, 4), e.pitch, e.velocity]
        for e in sorted(events, key=lambda e: (e.start, e.pitch))
    ]
