"""Genres as data: ranges and weights from which a song is drawn. Nothing here is a fixed loop."""

from __future__ import annotations

from dataclasses import dataclass

BASS_ACOUSTIC, BASS_ELECTRIC, BASS_SYNTH = (32, 35), (33, 34, 35, 36, 37), (38, 39, 87)
NYLON, STEEL, JAZZ, CLEAN, MUTED, DRIVE = 24, 25, 26, 27, 28, (29, 30)
PIANOS, EPIANOS, ORGANS = (0, 1, 2, 3), (4, 5), (16, 17, 18)
STRINGS, VOICES, SYNTHPADS = (48, 49, 50, 51), (52, 53, 54), (88, 89, 90, 91, 92, 94, 95)
WINDS, BRASS, SYNTHLEADS = (64, 65, 66, 68, 71, 73), (56, 57, 59, 61), (80, 81, 82, 84, 87)


@dataclass(frozen=True)
class Genre:
    """One genre. Weights are relative; `grooves` holds pattern names (of any metre)."""

    name: str
    tempo: tuple[float, float]
    grooves: tuple[str, ...]
    bass: tuple[str, ...]
    guitar: tuple[str, ...]
    keys: tuple[str, ...]
    kits: tuple[int, ...] = (0, 8, 16, 32)
    metres: tuple[tuple[str, float], ...] = (("4/4", 1.0),)
    feels: tuple[tuple[str, float], ...] = (("straight", 1.0),)
    modes: tuple[tuple[str, float], ...] = (("major", 4), ("minor", 3), ("dorian", 1), ("mixolydian", 1))
    colour: float = 0.2
    power: float = 0.0
    blues: float = 0.0
    bass_programs: tuple[int, ...] = BASS_ELECTRIC
    guitar_programs: tuple[int, ...] = (STEEL, CLEAN, NYLON)
    key_programs: tuple[int, ...] = PIANOS + EPIANOS + ORGANS
    pad_programs: tuple[int, ...] = STRINGS + SYNTHPADS + VOICES
    lead_programs: tuple[int, ...] = WINDS + BRASS + SYNTHLEADS
    moods: tuple[str, ...] = ()
    weight: float = 1.0


FOUR_THREE_SIX = (("4/4", 0.5), ("3/4", 0.23), ("6/8", 0.27))
MINORISH = (("minor", 5), ("dorian", 2), ("major", 1.5), ("mixolydian", 0.5))
SWINGABLE = (("straight", 0.75), ("shuffle", 0.15), ("swing", 0.1))

GENRES = (
    Genre("rock", (84, 176), ("rock", "half", "motown", "rock3", "rock68"), ("eighths", "lock", "riff"),
          ("strum", "power", "riff", "quarters"), ("block", "stabs", "quarters"), (0, 8, 16), FOUR_THREE_SIX,
          SWINGABLE, colour=0.08, power=0.4, guitar_programs=(CLEAN, *DRIVE, STEEL), moods=("driving", "raw"), weight=1.5),
    Genre("pop", (76, 144), ("pop", "four", "motown", "half", "rock68", "folk3"), ("lock", "eighths", "riff", "sustain"),
          ("strum", "arp", "pick", "stabs"), ("block", "arp", "quarters", "stabs"), (0, 8, 16, 24, 32), FOUR_THREE_SIX,
          SWINGABLE, moods=("catchy", "bright"), weight=1.5),
    Genre("funk", (86, 124), ("funk", "break"), ("riff", "lock", "octave"), ("funk16", "stabs"), ("stabs", "funk16", "block"),
          (0, 8, 16, 25), modes=(("dorian", 5), ("mixolydian", 4), ("minor", 2)), feels=(("straight", 0.8), ("swing", 0.2)),
          colour=0.7, bass_programs=(33, 36, 37, 34), guitar_programs=(CLEAN, MUTED), key_programs=(4, 7, 16, 5), moods=("groovy",)),
    Genre("soul", (64, 120), ("motown", "pop", "funk", "slow68"), ("lock", "riff", "walk"), ("strum", "stabs", "arp"),
          ("block", "stabs", "quarters"), (0, 8, 32), (("4/4", 0.75), ("6/8", 0.25)), SWINGABLE, colour=0.6,
          key_programs=(4, 5, 16, 0), moods=("warm", "groovy")),
    Genre("jazz swing", (92, 190), ("swing", "jazzwaltz"), ("walk", "walk", "twobeat"), ("quarters", "charleston"),
          ("charleston", "stabs", "block"), (32, 40, 0), (("4/4", 0.78), ("3/4", 0.22)), (("swing", 1.0),), colour=0.95,
          blues=0.25, bass_programs=BASS_ACOUSTIC, guitar_programs=(JAZZ, JAZZ, CLEAN), key_programs=(0, 1, 4, 11),
          lead_programs=(56, 59, 64, 65, 66, 71, 11), moods=("cool", "smoky")),
    Genre("bossa nova", (104, 168), ("bossa", "samba"), ("bossa",), ("bossacomp", "pick"), ("bossacomp", "block", "charleston"),
          (0, 32, 40, 8), colour=0.9, bass_programs=(32, 33, 35), guitar_programs=(NYLON, NYLON, JAZZ), key_programs=(0, 4, 11, 5),
          lead_programs=(73, 66, 65, 56), moods=("breezy", "relaxed")),
    Genre("reggae", (62, 96), ("onedrop", "steppers", "rockers"), ("riff", "reggae"), ("chop",), ("chop", "bubble"), (0, 8, 16),
          feels=(("straight", 0.5), ("shuffle", 0.3), ("swing", 0.2)), colour=0.25, guitar_programs=(CLEAN, MUTED, STEEL),
          key_programs=(16, 17, 0, 18), moods=("laid-back", "sunny")),
    Genre("country", (84, 180), ("train", "twobeat", "folk3", "waltz"), ("twobeat", "eighths"), ("strum", "pick", "boomchick"),
          ("block", "quarters"), (0, 8, 40), (("4/4", 0.8), ("3/4", 0.2)), SWINGABLE, colour=0.06,
          modes=(("major", 6), ("mixolydian", 2)), bass_programs=(32, 33, 34), guitar_programs=(STEEL, CLEAN), key_programs=(0, 3, 1),
          lead_programs=(22, 40, 110, 105, 27), moods=("easygoing", "rustic")),
    Genre("house", (114, 132), ("four",), ("offbeat", "synth", "octave", "riff"), ("stabs", "funk16"), ("stabs", "offbeats", "block"),
          (24, 25, 8), modes=MINORISH, colour=0.55, bass_programs=BASS_SYNTH + (33,), guitar_programs=(CLEAN, MUTED),
          key_programs=(1, 2, 4, 5, 16), pad_programs=SYNTHPADS + STRINGS, lead_programs=SYNTHLEADS, moods=("hypnotic", "uplifting")),
    Genre("techno", (122, 150), ("techno",), ("synth", "offbeat"), ("stabs", "riff"), ("stabs", "arp", "riff"), (24, 25),
          modes=MINORISH, colour=0.2, bass_programs=BASS_SYNTH, guitar_programs=(MUTED, CLEAN), key_programs=(5, 2, 16),
          pad_programs=SYNTHPADS, lead_programs=SYNTHLEADS, moods=("hypnotic", "relentless")),
    Genre("hip hop", (68, 104), ("hiphop", "trap", "break"), ("sustain", "riff", "lock"), ("arp", "stabs", "pick"),
          ("block", "stabs", "arp"), (24, 25, 8, 0), modes=MINORISH, feels=(("straight", 0.55), ("swing", 0.45)), colour=0.5,
          bass_programs=(33, 35, 38, 39), key_programs=(0, 4, 5, 11), moods=("gritty", "cool")),
    Genre("trap", (62, 84), ("trap",), ("sustain", "lock"), ("arp",), ("arp", "block"), (25, 24), modes=MINORISH,
          colour=0.2, bass_programs=(38, 39), key_programs=(0, 5, 11, 14), lead_programs=SYNTHLEADS + (73,), moods=("dark", "cool"), weight=0.7),
    Genre("ballad", (60, 92), ("ballad", "half", "slow68", "ballad68", "slow3"), ("sustain", "lock", "twobeat"), ("arp", "pick", "strum"),
          ("arp", "block", "quarters"), (0, 32, 40, 8), FOUR_THREE_SIX, colour=0.35, moods=("tender", "romantic"), weight=1.2),
    Genre("waltz", (84, 184), ("waltz", "slow3", "folk3"), ("waltz", "sustain"), ("waltz", "arp"), ("waltz", "arp"), (0, 32, 40, 48),
          (("3/4", 1.0),), colour=0.2, modes=(("major", 5), ("minor", 3)), bass_programs=(32, 33, 43), guitar_programs=(NYLON, STEEL),
          key_programs=(0, 1, 6, 21), lead_programs=(40, 71, 73, 68, 21), moods=("graceful",)),
    Genre("blues shuffle", (70, 138), ("shuffle", "slow68"), ("walk", "boogie"), ("boogie", "stabs", "quarters"), ("stabs", "quarters", "block"),
          (0, 8, 16, 32), (("4/4", 0.85), ("6/8", 0.25)), (("shuffle", 1.0),), (("major", 4), ("minor", 1)), colour=0.9, blues=0.85,
          guitar_programs=(CLEAN, JAZZ, 29), key_programs=(0, 3, 16, 18), lead_programs=(22, 27, 29, 66), moods=("gritty", "raw")),
    Genre("metal", (100, 190), ("metal", "thrash", "half", "rock68"), ("eighths", "lock", "gallop"), ("power", "gallop", "riff"),
          ("block", "quarters"), (16, 0, 8), (("4/4", 0.88), ("6/8", 0.12)), modes=MINORISH, colour=0.0, power=0.95,
          bass_programs=(34, 33), guitar_programs=DRIVE, key_programs=(18, 19, 0), pad_programs=STRINGS + VOICES,
          lead_programs=(29, 30, 81), moods=("aggressive", "dark")),
    Genre("disco", (104, 132), ("disco",), ("octave", "lock", "riff"), ("funk16", "strum"), ("stabs", "block", "offbeats"), (0, 8, 24, 16),
          colour=0.5, bass_programs=(33, 34, 38, 36), guitar_programs=(CLEAN, MUTED), moods=("uplifting", "groovy")),
    Genre("latin", (84, 190), ("latin", "songo", "samba", "afro68"), ("tumbao", "bossa"), ("montuno", "strum", "bossacomp"), ("montuno", "block"),
          (0, 8, 16), (("4/4", 0.85), ("6/8", 0.25)), modes=MINORISH, colour=0.45, bass_programs=(32, 33), guitar_programs=(NYLON, STEEL, CLEAN),
          key_programs=(0, 1, 3), lead_programs=(56, 57, 73, 61), moods=("fiery", "festive")),
    Genre("reggaeton", (84, 104), ("dembow",), ("sustain", "riff", "tumbao"), ("pick", "stabs"), ("stabs", "arp", "block"), (24, 25, 8),
          modes=MINORISH, bass_programs=BASS_SYNTH, guitar_programs=(NYLON, CLEAN), moods=("festive", "cool"), weight=0.7),
    Genre("drum and bass", (150, 180), ("dnb", "break"), ("sustain", "riff", "synth"), ("stabs", "arp"), ("stabs", "block", "arp"), (24, 16, 25),
          modes=MINORISH, colour=0.45, bass_programs=BASS_SYNTH + (33,), pad_programs=SYNTHPADS, moods=("relentless", "dark"), weight=0.8),
    Genre("folk", (76, 152), ("twobeat", "folk3", "jig", "pop"), ("twobeat", "sustain", "lock"), ("pick", "strum", "arp"), ("block", "arp"),
          (0, 32, 40), FOUR_THREE_SIX, colour=0.08, modes=(("major", 4), ("dorian", 2), ("mixolydian", 2), ("minor", 1)),
          bass_programs=(32, 33), guitar_programs=(STEEL, NYLON), key_programs=(0, 21, 1), lead_programs=(73, 40, 22, 110, 71, 105), moods=("rustic", "warm")),
    Genre("ambient", (60, 110), ("ambient", "slow3", "slow68"), ("sustain",), ("arp", "pick"), ("arp", "block"), (24, 25, 48, 40), FOUR_THREE_SIX,
          colour=0.6, bass_programs=(35, 38, 39, 33), key_programs=(4, 5, 11, 0, 14), pad_programs=SYNTHPADS + VOICES + STRINGS,
          lead_programs=(73, 80, 89, 79), moods=("floating", "dreamy"), weight=0.8),
    Genre("synth pop", (96, 150), ("pop", "disco", "rock"), ("synth", "octave", "eighths"), ("stabs", "arp"), ("arp", "stabs", "block"),
          (24, 25, 16), colour=0.15, bass_programs=BASS_SYNTH, guitar_programs=(CLEAN, MUTED), key_programs=(5, 2, 1),
          pad_programs=SYNTHPADS + (50, 51), lead_programs=SYNTHLEADS, moods=("nostalgic", "bright")),
)  # fmt: skip
