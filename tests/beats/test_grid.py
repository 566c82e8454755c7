import numpy as np
import pytest

from stage.beats.grid import (
    SLOW_BPM,
    BeatGrid,
    beats_per_bar,
    click_track,
    division,
    seconds_to_frames,
)
from stage.errors import StageError


def test_regular_counts_bars_from_the_start():
    grid = BeatGrid.regular(120, 3, seconds=4.0, start=0.25)
    assert grid.times == pytest.approx(0.25 + 0.5 * np.arange(8))
    assert grid.numbers.tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert grid.downbeats == pytest.approx([0.25, 1.75, 3.25])
    assert grid.beats_per_bar == 3 and grid.bpm == pytest.approx(120)


def test_a_beat_on_the_very_end_is_outside():
    assert len(BeatGrid.regular(120, 4, seconds=2.0)) == 4
    assert len(BeatGrid.regular(90, 4, seconds=8 * 60 / 90)) == 8


def test_bpm_sees_through_grain_and_a_missing_beat():
    times = np.delete(np.round(np.arange(30) * 60 / 173 * 50) / 50, 11)
    assert BeatGrid(times, np.ones(29)).bpm == pytest.approx(173, rel=2e-3)
    assert np.isnan(BeatGrid.empty().bpm)


def test_crop_and_shift():
    grid = BeatGrid.regular(60, 4, seconds=10)
    part = grid.crop(3, 6)
    assert part.times.tolist() == [0, 1, 2] and part.numbers.tolist() == [4, 1, 2]
    assert grid.shift(-1.5).times[0] == -1.5


def test_scale_changes_the_tempo():
    grid = BeatGrid.regular(60, 3, 10, 0.5).scale(2)
    assert grid.bpm == pytest.approx(30) and grid.times[0] == 1.0 and grid.numbers[3] == 1


def test_save_and_load(tmp_path):
    grid = BeatGrid.regular(97, 3, seconds=20, start=0.1234)
    grid.save(tmp_path / "grid.txt")
    again = BeatGrid.load(tmp_path / "grid.txt")
    assert again.times == pytest.approx(grid.times, abs=1e-6)
    assert (again.numbers == grid.numbers).all()


@pytest.mark.parametrize("text", ["0.5\n", "one 1\n", "0.5 1\n0.4 2\n", "nan 1\n", "0.5 0\n"])
def test_load_names_the_file_of_a_bad_grid(tmp_path, text):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(StageError, match="bad.txt"):
        BeatGrid.load(path)


def test_load_of_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(StageError, match="cannot read"):
        BeatGrid.load(tmp_path / "none.txt")


@pytest.mark.parametrize("bpm, bar", [(0, 4), (float("nan"), 4), (-5, 4), (1000, 4), (120, 0), (120, 99)])
def test_impossible_tempi_and_bars(bpm, bar):
    with pytest.raises(StageError):
        BeatGrid.regular(bpm, bar, seconds=4)


def test_click_track_starts_each_click_on_its_sample():
    rate = 32000
    grid = BeatGrid.regular(150, 4, seconds=4, start=0.2)
    track = click_track(grid, 4.0, rate)
    assert track.shape == (4 * rate,) and track.dtype == np.float32
    assert np.abs(track).max() <= 1
    sounding = np.flatnonzero(np.abs(track) > 0.1)
    starts = sounding[np.concatenate([[True], np.diff(sounding) > rate // 10])]
    assert starts / rate == pytest.approx(grid.times, abs=1e-4)


def test_accents_are_louder_and_can_be_left_out():
    grid = BeatGrid.regular(120, 4, seconds=2)

    def energy(track):
        return [float(np.square(track[i * 16000 : i * 16000 + 3200]).sum()) for i in range(4)]

    accented, plain = energy(click_track(grid, 2)), energy(click_track(grid, 2, accents=False))
    assert accented[0] > 1.5 * accented[1] and accented[1] == pytest.approx(accented[3])
    assert plain == pytest.approx([accented[1]] * 4)


def test_clicks_outside_the_track_are_left_out_and_the_last_is_cut():
    track = click_track(BeatGrid([-0.5, 0.99, 1.5], [1, 2, 3]), 1.0)
    assert len(track) == 32000 and not track[:31000].any() and track[31700:].any()


@pytest.mark.parametrize("meter, beats", [("4/4", 4), ("3/4", 3), ("6/8", 2), ("12/8", 4), ("3/8", 3), ("7/8", 7)])
def test_metres(meter, beats):
    assert beats_per_bar(meter) == beats


@pytest.mark.parametrize("meter", ["", "4", "0/4", "4/5", "a/b", "4/4/4"])
def test_not_a_metre(meter):
    with pytest.raises(StageError, match="metre"):
        beats_per_bar(meter)


def test_frames_cover_a_length():
    assert seconds_to_frames(0.1 * 3, 50) == 15
    assert seconds_to_frames(0.301, 50) == 16


@pytest.mark.parametrize("meter, parts", [("4/4", 1), ("3/8", 1), ("7/8", 1), ("6/8", 3), ("9/8", 3), ("12/8", 3)])
def test_compound_metres_divide_the_beat_into_three(meter, parts):
    assert division(meter) == parts


@pytest.mark.parametrize("meter, parts", [("4/4", 2), ("2/4", 2), ("5/4", 2), ("7/8", 2), ("6/8", 3), ("12/8", 3)])
def test_a_slow_metronome_divides_the_beat_of_simple_metres_into_two(meter, parts):
    assert division(meter, 40) == division(meter, SLOW_BPM - 0.01) == parts
    assert division(meter, SLOW_BPM) == division(meter, 200) == division(meter)


def test_a_divided_beat_is_clicked_softly_between_the_beats():
    rate = 32000
    grid = BeatGrid.regular(60, 2, 4.0, division=3)
    starts = np.round(np.arange(12) / 3 * rate).astype(int)
    clicks = click_track(grid, 4.0, rate)
    energy = np.array([np.square(clicks[start : start + 3200]).sum() for start in starts])
    assert (energy > 0).all()
    assert energy.argsort()[-2:].tolist() in ([0, 6], [6, 0])
    assert energy[[1, 2, 4, 5]] == pytest.approx(energy[1], rel=0.02) and energy[1] < 0.5 * energy[3]
    plain = click_track(BeatGrid.regular(60, 2, 4.0), 4.0, rate)
    assert (click_track(grid, 4.0, rate)[:9600] == plain[:9600]).all()


def test_fast_beats_are_not_divided():
    slow, fast = (BeatGrid.regular(bpm, 2, 4.0, division=3) for bpm in (100, 102))
    assert not slow.too_fast_to_divide and fast.too_fast_to_divide
    assert (click_track(fast, 4.0) == click_track(BeatGrid.regular(102, 2, 4.0), 4.0)).all()
    assert not BeatGrid.regular(300, 4, 4.0).too_fast_to_divide and not BeatGrid.empty().too_fast_to_divide


def test_the_division_stays_with_the_grid(tmp_path):
    grid = BeatGrid.regular(60, 2, 10, division=3)
    grid.save(tmp_path / "beats.txt")
    read = BeatGrid.load(tmp_path / "beats.txt")
    assert (read.numbers == grid.numbers).all() and read.times == pytest.approx(grid.times)
    changed = (read, grid.scale(2), grid.crop(1, 5), grid.shift(1), grid.shift_beats(1), grid.half(), grid.double())
    assert {one.division for one in changed} == {3}


@pytest.mark.parametrize("bar", [2, 3, 4, 5])
def test_half_and_double_keep_the_metre(bar):
    grid = BeatGrid.regular(100, bar, 40)
    double = grid.double()
    assert double.bpm == pytest.approx(200) and double.beats_per_bar == bar and len(double) == 2 * len(grid)
    assert set(grid.downbeats.round(6)) < set(double.downbeats.round(6))
    again = double.half()
    assert again.times == pytest.approx(grid.times) and (again.numbers == grid.numbers).all()
    half = grid.half()
    assert half.bpm == pytest.approx(50) and half.beats_per_bar == bar
    assert half.downbeats == pytest.approx(grid.downbeats[::2])


def test_half_and_double_count_upbeats_back_from_the_first_bar():
    grid = BeatGrid(np.arange(12.0), [3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2])
    double = grid.double()
    assert double.numbers.tolist() == [1, 2, 3, 4] * 6 and double.times[-1] == 11.5
    half = grid.half()
    assert half.times.tolist() == [0, 2, 4, 6, 8, 10] and half.numbers.tolist() == [4, 1, 2, 3, 4, 1]
    later = BeatGrid(np.arange(8.0), [2, 3, 4, 1, 2, 3, 4, 1]).half()
    assert later.times.tolist() == [1, 3, 5, 7] and later.numbers.tolist() == [4, 1, 2, 3]


def test_half_and_double_of_little():
    for grid in (BeatGrid.empty(), BeatGrid([1.0], [1])):
        assert len(grid.half()) == len(grid.double()) == len(grid)
    assert BeatGrid([1.0, 2.0, 3.0], [2, 3, 4]).half().times.tolist() == [2.0]
    assert BeatGrid([1.0, 2.0], [2, 3]).double().numbers.tolist() == [3, 1, 2, 3]


def test_double_takes_bars_as_long_as_they_are():
    grid = BeatGrid(np.arange(9.0), [1, 2, 3, 4, 1, 2, 3, 1, 2])
    assert grid.double().numbers.tolist() == [*[1, 2, 3, 4] * 2, *[1, 2, 3] * 2, 1, 2, 3, 1]


@pytest.mark.parametrize("beats", [-5, -1, 0, 1, 3, 4])
def test_downbeats_can_be_moved_by_beats(beats):
    grid = BeatGrid.regular(100, 4, 10, 0.5)
    moved = grid.shift_beats(beats)
    assert (moved.times == grid.times).all()
    assert moved.numbers.tolist() == ((np.arange(len(grid)) - beats) % 4 + 1).tolist()
