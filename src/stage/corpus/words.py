"""Truthful descriptions in varied wording, of songs and of single stems."""

from __future__ import annotations

import numpy as np

from stage.corpus.harmony import pick

DENSITY = (
    (0.22, ("sparse", "minimal", "very simple", "bare", "spacious", "empty")),
    (0.42, ("simple", "gentle", "restrained", "laid-back", "light", "understated")),
    (0.62, ("steady", "moderate", "solid", "even")),
    (0.80, ("full", "active", "lively", "rich", "energetic")),
    (1.01, ("busy", "dense", "driving", "intense", "very busy", "packed")),
)
TEMPO = (
    (76, ("slow", "very slow", "unhurried")),
    (98, ("slow", "relaxed", "mid-slow", "walking pace")),
    (124, ("mid-tempo", "medium tempo", "moderate tempo")),
    (150, ("upbeat", "fast", "quick")),
    (999, ("fast", "very fast", "high-speed", "rapid")),
)
FEEL = {
    "straight": ("straight", "even", "straight feel"),
    "swing": ("swinging", "swung", "swing feel"),
    "shuffle": ("shuffling", "shuffle feel", "shuffled"),
}
PLAYS = {
    "drums": ("drums", "drum part", "beat", "drum groove", "drum track"),
    "bass": ("bass", "bass line", "bass part"),
    "guitar": ("guitar", "guitar part", "rhythm guitar"),
    "keys": ("keys", "keyboard part", "keyboards"),
    "pads": ("pads", "sustained chords", "background pads"),
    "lead": ("lead", "melody", "lead line"),
}
STYLE_WORDS = {
    "walk": "walking",
    "octave": "octave",
    "offbeat": "off-beat",
    "strum": "strummed",
    "arp": "arpeggiated",
    "pick": "fingerpicked",
    "chop": "off-beat skank",
    "funk16": "sixteenth-note",
    "power": "power-chord",
    "block": "block chord",
    "montuno": "montuno",
    "sustain": "long-note",
    "eighths": "eighth-note",
    "lock": "kick-locked",
    "bossa": "bossa",
    "twobeat": "root-fifth",
    "tumbao": "tumbao",
    "gallop": "galloping",
    "boogie": "boogie",
    "stabs": "stabbing",
    "waltz": "waltz",
    "charleston": "charleston",
    "synth": "sixteenth-note",
}


def _scale(table, value: float, rng: np.random.Generator) -> str:
    return pick(rng, next(words for limit, words in table if value < limit))


def pulse(tempo: float, meter: str) -> float:
    """The tempo as it is felt, for the words: a dotted quarter is a beat and a half."""
    return tempo * 1.4 if meter == "6/8" else tempo


def moods(
    rng: np.random.Generator, tempo: float, meter: str, mode: str, density: float, own: tuple[str, ...]
) -> list[str]:
    """Two or three mood words from mode, tempo and density, and from the genre."""
    bright = mode in ("major", "mixolydian")
    quick, full = pulse(tempo, meter) > 112, density > 0.5
    table = {
        (True, True, True): ("happy", "energetic", "joyful", "uplifting"),
        (True, True, False): ("cheerful", "light", "playful"),
        (True, False, True): ("warm", "confident", "soulful"),
        (True, False, False): ("calm", "peaceful", "tender", "gentle"),
        (False, True, True): ("intense", "dark", "urgent", "tense"),
        (False, True, False): ("restless", "mysterious", "nervous"),
        (False, False, True): ("brooding", "heavy", "dramatic"),
        (False, False, False): ("sad", "melancholic", "wistful", "lonely"),
    }
    chosen = [str(x) for x in rng.permutation(table[bright, quick, full])[:2]]
    if own and rng.random() < 0.7:
        chosen.append(pick(rng, own))
    return chosen


def stem_captions(
    rng: np.random.Generator,
    stem: str,
    *,
    density: float,
    tempo: float,
    meter: str,
    feel: str,
    genre: str,
    mood: list[str],
    instrument: str,
    style: str | None,
    count: int = 5,
) -> list[str]:
    """Varied descriptions of one stem: density, tempo, genre, mood, instrument."""
    captions = []
    speed = pulse(tempo, meter)
    for _ in range(count):
        d, t, part = _scale(DENSITY, density, rng), _scale(TEMPO, speed, rng), pick(rng, PLAYS[stem])
        m, s = pick(rng, mood), STYLE_WORDS.get(style or "", "")
        f = pick(rng, FEEL[feel]) if feel != "straight" and rng.random() < 0.6 else ""
        metre = f" in {meter}" if meter != "4/4" and rng.random() < 0.6 else ""
        templates = (
            f"{d}, {t} {genre} {part}{metre}",
            f"{d} {genre} {part}",
            f"{d} {m} {genre} {part}, {t}",
            f"{genre} {part}, {d}, {f or t}",
            f"{t} {genre} {part} on {instrument}, {d}",
            f"{d} {s} {part} with {instrument}, {m}",
            f"{d} {f} {part}, {int(round(tempo))} bpm{metre}",
            f"a {d}, {m} {part} for a {t} {genre} song",
            f"{instrument}, {d}, {t}, {genre}",
            f"{d} {part}",
            f"{t}, {d} {part}",
        )
        captions.append(" ".join(pick(rng, templates).split()).replace(" ,", ","))
    return captions


def song_captions(
    rng: np.random.Generator,
    *,
    density: float,
    tempo: float,
    meter: str,
    feel: str,
    genre: str,
    mood: list[str],
    key: str,
    instruments: list[str],
    count: int = 5,
) -> list[str]:
    """Varied descriptions of the whole song."""
    captions = []
    speed = pulse(tempo, meter)
    for _ in range(count):
        d, t, m = _scale(DENSITY, density, rng), _scale(TEMPO, speed, rng), pick(rng, mood)
        some = [str(x) for x in rng.permutation(instruments)[: int(rng.integers(2, 5))]]
        band = ", ".join(some[:-1]) + f" and {some[-1]}" if len(some) > 1 else some[0]
        f = pick(rng, FEEL[feel])
        templates = (
            f"a {m}, {t} {genre} song with {band}",
            f"{d} {genre} in {key}, {int(round(tempo))} bpm, {f}",
            f"{t} {m} {genre}, {d} arrangement with {band}",
            f"{genre} track, {m} and {d}, in {meter}",
            f"{m} {genre} played by {band}",
            f"{f} {genre} at {int(round(tempo))} bpm, {m}, {d}",
            f"{d} and {m} {t} {genre}",
            f"{t} {genre} in {key}",
        )
        captions.append(pick(rng, templates))
    return captions
