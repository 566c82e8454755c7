import numpy as np
import pytest

from helpers.clips import RATE, write_corpus
from stage.beats.grid import BeatGrid
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation.acceptance.clips import (
    click_clips,
    harmonic_overlap,
    mix_clips,
    wrong_partners,
)
from stage.evaluation.figures.harmony import Chord
from stage.evaluation.truth import Truth, tempo_distance


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return songs(write_corpus(tmp_path_factory.mktemp("corpus")), "heldout")


def test_context_and_stem_add_up_to_the_song(held_out):
    clips = mix_clips(held_out, "drums", 6, 8.0, seed=1)
    assert len(clips) == 6 and len({clip.song.id for clip in clips}) == 4
    for clip in clips:
        whole = clip.song.mix(None, clip.start, clip.seconds)
        assert len(clip.context(RATE)) == 8 * RATE
        assert np.allclose(clip.context(RATE) + clip.target(RATE), whole, atol=1e-6)


def test_the_truth_counts_from_the_clip_on(held_out):
    clip = mix_clips(held_out, "bass", 1, 8.0, seed=5)[0]
    beats = clip.song.beats
    assert clip.truth.grid.times + clip.start == pytest.approx(beats[(beats >= clip.start) & (beats < clip.start + 8)])
    assert all(chord.end > 0 and chord.start < 8 for chord in clip.truth.chords)


def test_the_same_seed_cuts_the_same_clips(held_out):
    first, second, other = (mix_clips(held_out, "drums", 4, 8.0, seed) for seed in (1, 1, 2))
    assert [clip.name for clip in first] == [clip.name for clip in second] != [clip.name for clip in other]


def test_songs_without_the_stem(held_out):
    with pytest.raises(StageError, match="flute"):
        mix_clips(held_out, "flute", 2, 8.0, seed=1)
    with pytest.raises(StageError, match="60 seconds"):
        mix_clips(held_out, "drums", 2, 60.0, seed=1)


def test_clicks_cover_the_tempi_twice():
    clips = click_clips(160, 10.0, seed=42)
    assert [clip.truth.bpm for clip in clips] == [100.0 + i % 80 for i in range(160)]
    starts = np.array([clip.truth.grid.times[0] for clip in clips])
    assert 0 <= starts.min() and starts.max() < 0.3 and starts.std() > 0.05
    few = [clip.truth.bpm for clip in click_clips(3, 10.0, seed=42)]
    assert few[0] == 100 and few[-1] == 179


def test_tempo_distance_folds_octaves():
    assert tempo_distance(60, 120) == 0
    assert tempo_distance(100, 100 * 2**0.5) == pytest.approx(0.5)
    assert tempo_distance(100, 110) == pytest.approx(np.log2(1.1))


def truth(bpm: float, *classes: int) -> Truth:
    return Truth(BeatGrid.regular(bpm, 4, 4), bpm, (Chord(0, 4, frozenset(classes)),))


def test_wrong_partners_differ_in_tempo_and_harmony():
    truths = [truth(100, 0, 4, 7), truth(101, 1, 5, 8), truth(120, 0, 4, 7), truth(125, 1, 5, 8), truth(200, 2, 6, 9)]
    for seed in range(20):
        partners = wrong_partners(truths, seed)
        assert all(tempo_distance(truths[i].bpm, truths[other].bpm) >= 0.1 for i, other in enumerate(partners))
        assert wrong_partners(truths, seed, harmony=True)[0] == 3
    assert harmonic_overlap(truths[0], truths[2]) == pytest.approx(1)
    assert harmonic_overlap(truths[0], truths[1]) == 0
    assert wrong_partners(truths[:2], 0) == [None, None]
