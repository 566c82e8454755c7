"""Chord symbols of musicians and of .lab files."""

import itertools

import pytest

from stage.chords.symbols import NO_CHORD, QUALITIES, Chord, named, parse
from stage.corpus import harmony
from stage.errors import StageError

SYMBOLS = {
    "Am": ("Am", 9, (0, 3, 7), 0),
    "F#m7b5": ("F#m7b5", 6, (0, 3, 6, 10), 0),
    "Bbmaj7": ("Bbmaj7", 10, (0, 4, 7, 11), 0),
    "C/E": ("C/E", 0, (0, 4, 7), 4),
    "G7sus4": ("G7sus4", 7, (0, 5, 7, 10), 0),
    "Dm9": ("Dm9", 2, (0, 3, 7, 10, 2), 0),
    "C5": ("C5", 0, (0, 7), 0),
    "Caug": ("Caug", 0, (0, 4, 8), 0),
    "Co7": ("Cdim7", 0, (0, 3, 6, 9), 0),
    "C°7": ("Cdim7", 0, (0, 3, 6, 9), 0),
    "B♭7": ("Bb7", 10, (0, 4, 7, 10), 0),
    "C♯m": ("C#m", 1, (0, 3, 7), 0),
    "CM7": ("Cmaj7", 0, (0, 4, 7, 11), 0),
    "CΔ": ("Cmaj7", 0, (0, 4, 7, 11), 0),
    "Cma7": ("Cmaj7", 0, (0, 4, 7, 11), 0),
    "C^7": ("Cmaj7", 0, (0, 4, 7, 11), 0),
    "Cø": ("Cm7b5", 0, (0, 3, 6, 10), 0),
    "C-7": ("Cm7", 0, (0, 3, 7, 10), 0),
    "Cmin7": ("Cm7", 0, (0, 3, 7, 10), 0),
    "Cmadd9": ("Cm(add9)", 0, (0, 3, 7, 2), 0),
    "C(add9)": ("Cadd9", 0, (0, 4, 7, 2), 0),
    "C6/9": ("C69", 0, (0, 4, 7, 9, 2), 0),
    "C6/9/E": ("C69/E", 0, (0, 4, 7, 9, 2), 4),
    "Esus": ("Esus4", 4, (0, 5, 7), 0),
    "Fm(maj7)": ("Fm(maj7)", 5, (0, 3, 7, 11), 0),
    "FmM7": ("Fm(maj7)", 5, (0, 3, 7, 11), 0),
    "Am/G#": ("Am/G#", 9, (0, 3, 7, 11), 11),
    "C11": ("C9sus4", 0, (0, 5, 7, 10, 2), 0),
    "C13": ("C13", 0, (0, 4, 7, 10, 2, 9), 0),
    "C13b9": ("C7b9(add13)", 0, (0, 1, 4, 7, 9, 10), 0),
    "C+7": ("C7#5", 0, (0, 4, 8, 10), 0),
    "C7-9": ("C7b9", 0, (0, 4, 7, 10, 1), 0),
    "C-5": ("C(b5)", 0, (0, 4, 6), 0),
    "Cb5": ("Cb5", 11, (0, 7), 0),
    "Cm7 b5": ("Cm7b5", 0, (0, 3, 6, 10), 0),
    "C7(b9,#11)": ("C7b9(add#11)", 0, (0, 1, 4, 6, 7, 10), 0),
    "Cno3": ("C5", 0, (0, 7), 0),
    "F##": ("F##", 7, (0, 4, 7), 0),
    "A:min7": ("Am7", 9, (0, 3, 7, 10), 0),
    "C:maj/3": ("C/E", 0, (0, 4, 7), 4),
    "C/3": ("C/E", 0, (0, 4, 7), 4),
    "F#:hdim7/b7": ("F#m7b5/E", 6, (0, 3, 6, 10), 10),
    "C:(3,5,b7)": ("C7", 0, (0, 4, 7, 10), 0),
    "C:7(*5,b9)": ("C7b9(no5)", 0, (0, 1, 4, 10), 0),
    "D": ("D", 2, (0, 4, 7), 0),
}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_root_tones_and_bass(symbol):
    name, root, intervals, bass = SYMBOLS[symbol]
    found = parse(symbol)
    assert found == Chord(name, root, tuple((root + x) % 12 for x in intervals), (root + bass) % 12)


@pytest.mark.parametrize("symbol", ["N.C.", "NC", "n.c.", "N"])
def test_no_chord(symbol):
    assert parse(symbol) == NO_CHORD
    assert NO_CHORD.root == NO_CHORD.bass == -1 and NO_CHORD.classes == () and NO_CHORD.lab == "N"


def test_a_chord_without_a_name():
    assert parse("X") == Chord("X") and parse("X").lab == "X"


def test_a_bass_that_is_no_tone_of_the_chord_sounds_too():
    assert parse("C/D").classes == (0, 4, 7, 2)
    assert parse("C/D").transpose(2) == parse("D/E")


UNREADABLE = {
    "H": "H is German for B",
    "Hm7": "H is German for B",
    "C/H": "H is German for B",
    "am": "roots are capital letters, like Am",
    "": "known are symbols like",
    "Cfoo": '"foo" is not understood',
    "C77": '"7" is not understood',
    "Csussus": '"sus" is not understood',
    "C5m": '"m" is not understood',
    "Cm5": '"5" does not fit',
    "C/E/G": "not understood",
    "C/": "known are symbols like",
    "C###": "known are symbols like",
    "Z": "known are symbols like",
    "C:foo": "syntax of .lab files",
    "C:maj/x": "syntax of .lab files",
    "C:maj(z)": "is not a degree",
    "A" * 90: "A{37}[.]{3}",
    "Am\x00": r"Am\?",
}


@pytest.mark.parametrize("symbol", UNREADABLE)
def test_what_cannot_be_read_says_why(symbol):
    with pytest.raises(StageError, match=UNREADABLE[symbol]) as caught:
        parse(symbol)
    assert "is not a chord" in str(caught.value) and str(caught.value).isprintable()
    assert len(str(caught.value)) < 260


def test_every_set_of_intervals_has_a_name_that_is_read_back():
    for size in range(12):
        for tones in itertools.combinations(range(1, 12), size):
            chord = named(6, (0, *tones), 5 if size % 2 else None)
            assert parse(chord.name) == chord
            assert parse(chord.lab) == chord


def test_the_corpus_has_the_same_chords():
    for quality, intervals in harmony.QUALITIES.items():
        assert parse(f"D{quality}").classes == tuple((2 + x) % 12 for x in intervals)


def test_names_of_lab_files_are_those_of_mir_eval():
    judge = pytest.importorskip("mir_eval.chord")
    for quality, (intervals, _) in QUALITIES.items():
        chord = named(2, intervals, 2 + intervals[-1])
        root, tones, bass = judge.encode(chord.lab)
        assert (root, (root + bass) % 12) == (chord.root, chord.bass), quality
        heard = {int(x) for x in tones.nonzero()[0]}  # without ninths and beyond
        assert set(intervals[:2]) <= heard <= set(intervals), quality
    for shorthand in ("maj", "min7", "hdim7", "minmaj7", "sus2", "dim7", "maj6"):
        root, tones, _ = judge.encode(f"F#:{shorthand}")
        assert {int(x + root) % 12 for x in tones.nonzero()[0]} == set(parse(f"F#:{shorthand}").classes)


def test_transposed():
    assert parse("F#m7b5/E").transpose(-1).name == "Fm7b5/Eb"
    assert parse("C").transpose(12) is not None and parse("C").transpose(12).name == "C"
    assert NO_CHORD.transpose(3) == NO_CHORD
