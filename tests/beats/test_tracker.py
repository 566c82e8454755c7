import time
from dataclasses import replace

import numpy as np
import pytest

from helpers.recordings import real_stems
from stage.audio.files import read
from stage.beats.bar_pointer import BarPointer
from stage.beats.grid import BeatGrid, click_track
from stage.beats.tracker import (
    DOUBTFUL,
    SONGS,
    at_half_tempo,
    at_one_tempo,
    confidence,
    decode,
    decoded,
    in_unusual_metre,
    jumps,
    smooth,
    to_peaks,
    track,
    track_with_confidence,
)

RATE = 32000


def drums(grid: BeatGrid, seconds: float, rate: int = RATE) -> np.ndarray:
    """A plain beat: kick on odd beats, snare on even ones, a hat on every eighth. float32 [seconds * rate]."""
    rng = np.random.default_rng(0)
    step = np.arange(round(0.2 * rate)) / rate
    kick = 0.8 * np.sin(2 * np.pi * 55 * step) * np.exp(-step / 0.06)
    snare = 0.5 * rng.standard_normal(len(step)) * np.exp(-step / 0.05)
    hat = 0.15 * np.diff(rng.standard_normal(len(step) + 1)) * np.exp(-step / 0.015)
    out = np.zeros(round((seconds + 1) * rate))
    half = 30 / grid.bpm
    for beat, number in zip(grid.times, grid.numbers):
        for at, sound in ((beat, kick if number % 2 else snare), (beat, hat), (beat + half, hat)):
            out[round(at * rate) :][: len(step)] += sound
    return out[: round(seconds * rate)].astype(np.float32)


def within(found: np.ndarray, truth: np.ndarray, seconds: float) -> float:
    """Share of the true times that have a found one nearby."""
    return float(np.mean(np.abs(found[None] - truth[:, None]).min(axis=1) < seconds))


@pytest.mark.parametrize("bpm, start", [(96, 0.1), (112, 0.25), (126, 0.0)])
def test_follows_drums(bpm, start):
    truth = BeatGrid.regular(bpm, 4, 10, start)
    found = track(drums(truth, 10), RATE)
    assert found.bpm == pytest.approx(bpm, rel=0.01)
    assert within(found.times, truth.times, 0.03) > 0.9
    assert len(found) <= len(truth) + 1


def test_follows_a_metronome():
    truth = BeatGrid.regular(128, 4, 10, 0.2)
    found = track(click_track(truth, 10, RATE), RATE)
    assert within(found.times, truth.times, 0.03) > 0.9


def test_a_recording_without_its_drums_has_the_beats_that_it_has_with_them():
    path = real_stems()
    whole, rate = read(path)
    bass, rest = (read(path, 0.0, whole.shape[1] / rate, stream)[0] for stream in (2, 3))
    truth, found = track(whole, rate), track(bass + rest, rate)
    assert truth.bpm == pytest.approx(117.5, rel=0.01)
    assert found.bpm == pytest.approx(117.5, rel=0.03)
    assert within(truth.times, found.times, 0.07) > 0.7


def test_channels_and_level_do_not_matter():
    truth = BeatGrid.regular(110, 4, 8, 0.2)
    mono = track(drums(truth, 8, 44100), 44100)
    stereo = track(0.01 * np.stack([drums(truth, 8, 44100)] * 2), 44100)
    assert len(mono) == len(stereo)
    assert stereo.times == pytest.approx(mono.times, abs=1e-3)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(10 * RATE),
        np.zeros((2, 0)),
        np.zeros(1),
        np.full(100, 0.5),
        np.full(5 * RATE, np.nan),
        np.full(5 * RATE, 1e-6),
    ],
    ids=["silent", "empty", "one sample", "short", "nan", "inaudible"],
)
def test_nothing_to_track_gives_an_empty_grid(audio):
    assert len(track(audio.astype(np.float32), RATE)) == 0


def test_noise_does_not_crash():
    noise = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    grid = track(noise, RATE)
    assert (grid.times < 3).all()


def test_ten_seconds_are_quick():
    clicks = click_track(BeatGrid.regular(120, 4, 10), 10, RATE)
    track(clicks, RATE)
    start = time.process_time()
    track(clicks, RATE)
    assert time.process_time() - start < 2.0


def test_to_peaks_finds_the_top_between_frames():
    at = np.arange(40)
    activation = np.exp(-0.5 * ((at - 11.3) / 1.2) ** 2) + np.exp(-0.5 * ((at - 30.0) / 1.2) ** 2)
    assert to_peaks(np.array([10, 29]), activation) == pytest.approx([11.3, 30.0], abs=0.1)


def test_smooth_keeps_a_steady_tempo_and_lessens_jitter():
    steady = 0.3 + 0.5 * np.arange(20)
    assert smooth(steady) == pytest.approx(steady)
    jittered = steady + np.random.default_rng(0).uniform(-0.02, 0.02, 20)
    assert np.abs(smooth(jittered) - steady).mean() < 0.6 * np.abs(jittered - steady).mean()


@pytest.mark.parametrize("first, second", [(100, 140), (120, 90), (120, 132)])
def test_smooth_does_not_reach_across_a_change_of_tempo(first, second):
    gaps = np.repeat([60 / first, 60 / second], 12)
    steady = np.concatenate([[0.2], 0.2 + np.cumsum(gaps)])
    jittered = steady + np.random.default_rng(1).uniform(-0.008, 0.008, len(steady))
    assert jumps(steady) == jumps(jittered) == [12]
    assert smooth(steady) == pytest.approx(steady, abs=1e-9)
    assert np.abs(smooth(jittered) - steady).max() < 0.012


def test_neither_jitter_nor_a_slow_change_is_a_jump():
    draws = np.random.default_rng(2)
    for _ in range(50):
        assert jumps(0.5 * np.arange(40) + draws.uniform(-0.02, 0.02, 40)) == []
    assert jumps(np.cumsum(60 / np.linspace(90, 120, 40))) == []
    assert jumps(np.zeros(0)) == jumps(np.arange(3.0)) == []


def probabilities(grid: BeatGrid, seconds: float, clear: float = 0.8) -> np.ndarray:
    """What the networks would find of a grid: [T, 2] with peaks of height `clear` on a noisy floor."""
    found = np.random.default_rng(0).uniform(0, 0.06, (round(50 * seconds), 2))
    frames = np.round(grid.times * 50).astype(int)
    found[frames, np.where(grid.numbers == 1, 1, 0)] = clear
    return found


def test_beats_stay_in_place_where_the_tempo_changes_at_once():
    slow = BeatGrid.regular(90, 4, 32 / 3, 0.3)
    fast = BeatGrid.regular(135, 4, 22, slow.times[-1] + 60 / 90)
    times = np.concatenate([slow.times, fast.times])
    truth = BeatGrid(times, np.arange(len(times)) % 4 + 1)
    found = decode(probabilities(truth, 23))
    assert within(found.times, truth.times, 0.03) == 1


@pytest.mark.parametrize("bar, bpm", [(2, 120), (3, 100), (4, 120), (5, 130), (7, 150), (7, 200)])
def test_the_metre_that_fits_is_found(bar, bpm):
    truth = BeatGrid.regular(bpm, bar, 24, 0.3)
    found = probabilities(truth, 24.5)
    usual = decode(found)
    model = in_unusual_metre(found, usual)
    assert (model is None) == (bar in (3, 4))
    grid = decode(found, model or BarPointer())
    assert grid.beats_per_bar == bar and within(grid.downbeats, truth.downbeats, 0.05) > 0.95


@pytest.mark.parametrize("weaker, expected", [(0.9, 180), (0.4, 90)])
def test_what_is_faster_than_songs_is_taken_at_half_tempo_unless_that_is_clearly_less_likely(weaker, expected):
    """Beats at 180, of which every second is as probable as the others, or rather an eighth."""
    probabilities = np.full((500, 2), 0.01)
    for index, at in enumerate(np.arange(0.2, 10, 1 / 3)):
        probabilities[round(50 * at), int(index % 4 == 0)] = weaker if index % 2 else 0.9
    found = decoded(probabilities, SONGS)
    assert (at_half_tempo(probabilities, found) or found).grid.bpm == pytest.approx(expected, rel=0.02)
    assert decode(probabilities, SONGS).bpm == pytest.approx(180, rel=0.02)


@pytest.mark.parametrize("bpm, weaker, expected", [(140, 0.9, 140), (140, 0.7, 140), (140, 0.2, 70), (100, 0.2, 100)])
def test_beats_that_are_strong_and_weak_in_turn_are_half_of_them(bpm, weaker, expected):
    """Beats of which every second shows less; at a moderate tempo they stay."""
    given = np.full((600, 2), 0.01)
    for index, at in enumerate(np.arange(0.2, 11.8, 60 / bpm)):
        given[round(50 * at), int(index % 8 == 0)] = weaker if index % 2 else 0.9
    found = decoded(given, SONGS)
    assert found.grid.bpm == pytest.approx(bpm, rel=0.02)
    assert (at_half_tempo(given, found) or found).grid.bpm == pytest.approx(expected, rel=0.02)


def unsteady(bpm: float, wander: float) -> tuple[np.ndarray, BeatGrid]:
    """Probabilities of two minutes whose tempo goes up and down by a share `wander` each 16 s, and their beats."""
    at = np.arange(0, 120, 0.001)
    beats = np.cumsum(bpm / 60 * (1 + wander * np.sin(2 * np.pi * at / 16)) * 0.001)
    times = np.interp(np.arange(1, int(beats[-1])), beats, at)
    grid = BeatGrid(times, np.arange(len(times)) % 4 + 1)
    return probabilities(grid, 120.5), grid


@pytest.mark.parametrize("bpm", [61.3, 97.7, 135.37, 168.9])
def test_music_that_keeps_one_tempo_has_one_also_where_its_accents_lie_between_the_beats(bpm):
    """Three minutes; from the second on the networks hear forty seconds off the beat, and then nothing for twenty."""
    truth = BeatGrid.regular(bpm, 4, 180, 0.4)
    heard = truth.times + np.where((truth.times > 60) & (truth.times < 100), 30 / bpm, 0)
    silent = (heard > 100) & (heard < 120)
    given = probabilities(BeatGrid(heard[~silent], truth.numbers[~silent]), 180.5)
    path = decoded(given, SONGS)
    found = at_one_tempo(given, path)
    assert within(truth.times, path.grid.times, 0.05) < 0.9, "too easy"
    first = int(np.searchsorted(found.grid.times, truth.times[0] - 0.1))  # others may lie before, and after
    same = slice(first, first + len(truth))
    assert np.abs(found.grid.times[same] - truth.times).max() < 0.01
    assert (found.grid.numbers[same] == truth.numbers).all()
    assert found.grid.bpm == pytest.approx(bpm, abs=0.01)


def test_a_tempo_that_moves_is_followed():
    for wander in (0.0, 0.01, 0.03, 0.05):  # beats are up to 25, 75 and 125 ms from where one tempo has them
        given, truth = unsteady(110, wander)
        path = decoded(given, SONGS)
        steady = at_one_tempo(given, path)
        assert (steady is None) == (wander > 0.01)
        assert within(truth.times, (steady or path).grid.times, 0.05) > 0.97


def test_a_path_that_is_wrong_does_not_keep_the_tempo():
    """Where all beats of two minutes agree on another tempo."""
    truth = BeatGrid.regular(124, 4, 120, 0.2)
    given = probabilities(truth, 120.5)
    wrong = decoded(given, replace(SONGS, min_bpm=78, max_bpm=86))
    assert wrong.grid.bpm < 90
    found = at_one_tempo(given, replace(wrong, model=SONGS))
    assert found.grid.bpm == pytest.approx(124, abs=0.01)


def test_six_is_counted_in_three():
    truth = BeatGrid.regular(120, 6, 24, 0.3)
    marked = BeatGrid(truth.times, (truth.numbers - 1) % 3 + 1)
    found = probabilities(marked, 24.5)
    assert in_unusual_metre(found, decode(found)) is None


def test_metre_and_tempi_can_be_chosen():
    audio = drums(BeatGrid.regular(100, 4, 7, 0.1), 7)
    assert track(audio, RATE, tempi=(40, 70)).bpm == pytest.approx(50, rel=0.02)
    assert track(audio, RATE, tempi=(160, 260)).bpm == pytest.approx(200, rel=0.02)
    assert track(audio, RATE, beats_per_bar=5).beats_per_bar == 5
    assert track(audio, RATE, beats_per_bar=1).beats_per_bar == 1


def test_confidence_tells_music_with_a_beat_from_sound_without():
    assert track_with_confidence(drums(BeatGrid.regular(110, 4, 6, 0.2), 6), RATE).confidence > DOUBTFUL + 0.1
    draws = np.random.default_rng(0)
    step = np.arange(6 * RATE) / RATE
    drone = sum(np.sin(2 * np.pi * hz * step) * (1 + 0.2 * np.sin(0.7 * step)) for hz in (110, 165, 220, 277))
    hits = np.zeros(10 * RATE)
    for at in np.cumsum(draws.exponential(0.5, 15)):
        start = round(at * RATE)
        hits[start : start + 3200] += draws.standard_normal(len(hits[start : start + 3200]))
    for sound in (drone, draws.standard_normal(6 * RATE), hits):
        assert track_with_confidence(sound.astype(np.float32), RATE).confidence < DOUBTFUL
    assert confidence(np.zeros((0, 2)), BeatGrid.empty()) == 0
