"""Form, bass and voicings of composed songs, in numbers."""

import numpy as np
import pytest

from stage.corpus import form, parts
from stage.corpus.comping import Voicer
from stage.corpus.compose import compose
from stage.corpus.drums import KICK
from stage.corpus.score import Chord

OTHERWISE = ("arp", "pick", "power", "gallop", "boogie", "montuno")
"""Styles that do not strike whole voicings."""
PITCHED = ("bass", "guitar", "keys", "pads")


@pytest.fixture(scope="module")
def many():
    return [compose(np.random.default_rng([6, 0, i]), 32.0, 0) for i in range(150)]


def by_kind(song, stem, kind):
    """(notes a bar, mean velocity) of a stem in the sections of a kind in which it plays throughout, or None."""
    beats, notes, bars = song.metre.beats, [], 0
    for section in song.sections:
        if section.kind == kind and section.plays(stem, section.start):
            low, high = section.start * beats, (section.start + section.bars) * beats
            notes += [n for n in song.notes[stem] if low <= n.beat < high]
            bars += section.bars
    loud = [n.velocity for n in notes if stem != "drums" or n.pitch == KICK]  # more ghost notes are no softer playing
    return (len(notes) / bars, np.mean(loud)) if loud else None


@pytest.mark.parametrize("stem", ("drums", *PITCHED, "lead"))
def test_choruses_are_fuller_and_louder_than_verses(many, stem):
    pairs = [(by_kind(s, stem, "verse"), by_kind(s, stem, "chorus")) for s in many if stem in s.notes]
    pairs = [p for p in pairs if all(p)]
    assert len(pairs) > 15
    verse, chorus = np.array(pairs).mean(0)
    assert chorus[0] > 1.1 * verse[0] and chorus[1] > verse[1] + 4


def test_fills_stand_before_borders(many):
    before, other = [], []
    for song in many:
        borders = {s.start - 1 for s in song.sections[1:]}
        toms = np.array([n.beat for n in song.notes.get("drums", []) if n.pitch in (41, 43, 45, 47, 48, 50)])
        for bar in range(song.sections[-1].start):
            if form.at(song.sections, bar).plays("drums", bar):
                inside = (toms // song.metre.beats == bar).sum() if len(toms) else 0
                (before if bar in borders else other).append(inside > 0)
    assert np.mean(before) > 3 * np.mean(other) > 0


def test_a_song_that_ends_is_silent_afterwards(many):
    ended = [s for s in many if s.closing is not None]
    assert 0.1 < len(ended) / len(many) < 0.35
    for song in ended:
        beat = song.closing * song.metre.beats
        assert song.sections[-1].kind == "ending" and song.sections[-1].start == song.closing
        assert song.seconds(beat) < 31.0
        last = [n for notes in song.notes.values() for n in notes if n.beat >= beat - 1e-6]
        assert last and all(abs(n.beat - beat) < 1e-6 and n.length <= song.metre.beats for n in last)
        final = parts.chord_at(song.chords, beat)
        assert final.root == song.key
        assert all(
            n.pitch % 12 in final.pitch_classes for s in PITCHED for n in song.notes.get(s, []) if n.beat >= beat
        )


def test_notes_are_in_the_chord(many):
    for stem, least in (("bass", 0.97), ("guitar", 0.97), ("keys", 0.97), ("pads", 0.99)):
        inside = total = 0.0
        for song in many:
            for note in song.notes.get(stem, []):
                for chord in song.chords:
                    shared = min(note.beat + note.length, chord.end) - max(note.beat, chord.start)
                    if shared > 0:
                        total += shared
                        inside += shared * (note.pitch % 12 in chord.pitch_classes)
        assert inside / total >= least - 0.005, stem


def test_voices_move_little_and_leave_room(many):
    moved, stay = [], []
    for song in many:
        chords = song.chords[:-1]
        for stem in ("guitar", "keys", "pads"):
            if stem not in song.notes or song.styles.get(stem) in OTHERWISE:
                continue
            low, high = song.rooms[stem]
            pitches = [n.pitch for n in song.notes[stem]]
            stay.append(np.mean([(low - 12 <= p <= high + 12) for p in pitches]))
            struck = [sorted({n.pitch for n in song.notes[stem] if c.start <= n.beat < c.start + 0.3}) for c in chords]
            for before, after, a, b in zip(struck, struck[1:], chords, chords[1:]):
                if len(before) == len(after) > 2 and a.pitch_classes != b.pitch_classes:
                    moved.append(np.mean(np.abs(np.array(before) - np.array(after))))
        low_chords = [n.pitch for s in ("guitar", "keys", "pads") for n in song.notes.get(s, [])]
        if "bass" in song.notes and low_chords and song.styles["guitar"] not in ("power", "gallop", "boogie"):
            assert np.median(low_chords) > np.median([n.pitch for n in song.notes["bass"]]) + 8
    assert len(moved) > 500 and np.mean(moved) < 1.7  # the first composer's: 3.2 semitones a voice
    assert np.mean(stay) > 0.99


def test_the_least_movement_is_chosen():
    c, f, g = (Chord(0, 1, r, r, tuple((r + i) % 12 for i in (0, 4, 7)), "") for r in (0, 5, 7))
    voicer = Voicer(3, 52, 72)
    voicer.last = [60, 64, 67]
    assert voicer(f) == [60, 65, 69]
    assert voicer(c) == [60, 64, 67] and voicer(g) == [59, 62, 67]


def test_the_bass_ghosts_slides_and_rests(many):
    ghosts, slides, bars, empty = 0, 0, 0, 0
    for song in many:
        notes = sorted(song.notes.get("bass", []))
        ghosts += sum(n.velocity < 48 and n.length < 0.2 for n in notes)
        for a, b in zip(notes, notes[1:]):
            new = any(abs(b.beat - c.start) < 1e-6 for c in song.chords)
            slides += new and abs(a.pitch - b.pitch) in (1, 2) and b.beat - a.beat <= 0.25 + 1e-6
        bars += song.bars
        empty += sum(b.beat - (a.beat + a.length) > 0.2 for a, b in zip(notes, notes[1:]))
    assert 0.05 * bars < ghosts < bars and 0.02 * bars < slides < 0.5 * bars and empty > 0.1 * bars
