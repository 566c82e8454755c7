import numpy as np
import pytest

from stage.evaluation.figures.harmony import Chord, Note, chroma_agreement, notes, pitches, share_in_chord

RATE = 32000


def plucked(midi: list[int], seconds: float = 0.5) -> np.ndarray:
    """Notes one after the other, with harmonics louder than the fundamental, as small speakers and low strings have."""
    step = np.arange(round(seconds * RATE)) / RATE
    out = []
    for pitch in midi:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(level * np.sin(2 * np.pi * frequency * k * step) for k, level in ((1, 0.5), (2, 1.0), (3, 0.4)))
        out.append(tone * np.exp(-step * 3) * np.minimum(1, (seconds - step) / 0.02))
    return np.concatenate(out)


@pytest.mark.parametrize("midi", [28, 33, 40, 47, 55, 62])
def test_pitch_across_the_range_of_a_bass(midi):
    found = pitches(plucked([midi]), RATE)
    assert len(found) == 50
    assert np.nanmedian(found) == pytest.approx(midi, abs=0.2)


def test_notes_in_order():
    melody = [33, 40, 36, 31]
    found = notes(plucked(melody), RATE)
    long = [note for note in found if note.end - note.start > 0.2]
    assert [note.pitch for note in long] == melody
    assert [note.start for note in long] == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.06)


def test_no_notes_in_silence_or_noise():
    assert notes(np.zeros(RATE), RATE) == []
    noise = np.random.default_rng(0).standard_normal(4 * RATE)
    assert sum(note.end - note.start for note in notes(noise, RATE)) < 0.2
    assert notes(np.zeros(10), RATE) == []


def test_share_in_chord_weighs_by_time():
    chords = [Chord(0, 2, frozenset({9, 0, 4})), Chord(2, 4, frozenset({5, 9, 0}))]
    played = [Note(0, 1, 33), Note(1, 2, 34), Note(2, 4, 29)]
    assert share_in_chord(played, chords) == pytest.approx(0.75)
    assert np.isnan(share_in_chord([], chords))
    assert np.isnan(share_in_chord([Note(5, 6, 33)], chords))


def sines(*notes: int, seconds: float = 4.0, rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in notes).astype(np.float32)


def test_chroma_of_what_agrees_is_higher_than_of_what_does_not():
    bass, same, other = sines(36), sines(60, 64, 67), sines(61, 65, 68)
    assert chroma_agreement(bass, same, 16000) > chroma_agreement(bass, other, 16000) + 0.4
    assert chroma_agreement(same, same, 16000) == pytest.approx(1, abs=1e-5)
    assert np.isnan(chroma_agreement(bass, np.zeros_like(bass), 16000))
