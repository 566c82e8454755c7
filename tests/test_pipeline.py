"""From a recording or a tempo to a stem that is in step to the sample."""

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_stage, echo_stage, song
from stage import BeatGrid, Stage, StageError
from stage import audio as sound
from stage.audio.level import CEILING, loudness
from stage.beats.find import NONE, Found, Tracking
from stage.beats.grid import SOFT, click_track
from stage.generation.decoding import Sampling, Stopped
from stage.generation.windows import window_seed, windows


def lag(one: np.ndarray, other: np.ndarray, most: int = 2000) -> int:
    """Samples by which `other` comes after `one`."""
    size = 2 ** int(np.ceil(np.log2(2 * len(one))))
    product = np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size)
    correlation = np.fft.irfft(product, size)
    correlation = np.concatenate([correlation[-most:], correlation[: most + 1]])
    return int(correlation.argmax()) - most


@pytest.fixture(scope="module")
def drawn():
    return drawn_stage()


# ---------------------------------------------------------------- the time line


@pytest.mark.parametrize(
    "rate, channels, seconds", [(44100, 2, 5.3), (48000, 1, 2.0), (192000, 6, 1.7), (32000, 2, 1.0), (22050, 1, 7.77)]
)
def test_the_stem_is_in_step_to_the_sample(monkeypatch, rate, channels, seconds):
    stage, _ = echo_stage(monkeypatch)
    recording = song(seconds, rate, channels)
    made = stage.accompany(recording, rate, "drums")
    assert made.rate == rate and made.stems.shape == (1, recording.shape[1]) and made.stems.dtype == np.float32
    assert made.mix().shape == recording.shape and made.song.shape == recording.shape
    assert lag(sound.to_mono(recording), made.stems[0]) == 0
    likeness = np.corrcoef(sound.to_mono(recording)[2000:-2000], made.stems[0, 2000:-2000])[0, 1]
    assert (
        likeness > 0.6 if rate > 64000 else likeness > 0.85
    )  # the model's 32 kHz leave out the highest part of the noise


def test_a_chosen_stretch(monkeypatch):
    stage, echo = echo_stage(monkeypatch)
    recording = song(8.0)
    made = stage.accompany(recording, 44100, "bass", start=2.5, seconds=3.25)
    chosen = recording[:, round(2.5 * 44100) : round(5.75 * 44100)]
    assert np.array_equal(made.song, chosen) and made.stems.shape == (1, chosen.shape[1])
    assert lag(sound.to_mono(chosen), made.stems[0]) == 0
    assert {call["stem"] for call in echo.calls} == {1}


def test_windows_cover_without_gaps_and_overlap_by_half():
    for frames in (1, 7, 100, 101, 150, 151, 333, 1000):
        plan = windows(frames, 100)
        assert plan[0].start == 0 and plan[0].known == 0 and plan[-1].end == frames
        for before, after in zip(plan, plan[1:]):
            assert after.start + after.known == before.end and after.new > 0
            assert after.known >= 50 and after.end - after.start == 100
    assert len(windows(100, 100)) == 1 and len(windows(101, 100)) == 2


def test_long_pieces_go_on_from_their_own_codes(monkeypatch):
    stage, echo = echo_stage(monkeypatch, window_seconds=2.0)
    made = stage.accompany(song(5.0, 32000), 32000, "drums", variations=2, seed=5)
    first, *later = echo.calls
    assert first["seeds"] == [5, 6] and first["prompt"] is None and first["frames"] == 1000
    assert len(later) == 2 * (len(windows(2500, 1000)) - 1)
    assert all(call["prompt"].shape == (64, 500) and len(call["seeds"]) == 1 for call in later)
    assert [call["seeds"][0] for call in later[:2]] == [window_seed(5, 1), window_seed(6, 1)]
    whole = stage.codec.encode(torch.from_numpy(sound.to_mono(song(5.0, 32000)))[None])[0]
    assert torch.equal(later[0]["prompt"], whole[:, 500:1000])
    assert torch.equal(later[0]["contexts"][0], whole[:, 500:1500])
    assert lag(sound.to_mono(song(5.0, 32000)), made.stems[1]) == 0


# ---------------------------------------------------------------- beats


def test_the_grid_stands_before_the_mix(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=10)
    grid = BeatGrid.regular(100, 4, 60, start=0.25)
    made = stage.accompany(song(6.0, 32000), 32000, "drums", start=1.0, seconds=4.0, grid=grid)
    assert np.allclose(made.grid.times, np.arange(0.45, 4.0, 0.6)) and made.grid.numbers[0] == 3
    clicks = stage.codec.encode(torch.from_numpy(click_track(made.grid, 4.0))[None])[0]
    assert torch.equal(echo.calls[0]["contexts"][0], clicks)
    assert echo.calls[0]["contexts"][1].shape == clicks.shape


def test_beats_are_tracked_once_where_the_model_wants_them(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), grid=True)
    asked = []
    monkeypatch.setattr(
        "stage.generation.prepare.find",
        lambda audio, rate, _: asked.append(audio.shape) or Found(BeatGrid.regular(120, 4, audio.shape[1] / rate)),
    )
    made = stage.accompany(song(5.0), 44100, "drums")
    assert asked == [(2, 5 * 44100)] and made.grid.bpm == pytest.approx(120) and made.remarks == ()
    assert all(call["contexts"][0] is not None for call in echo.calls)
    assert stage.accompany(song(5.0), 44100, "drums", grid="off").grid is None and len(asked) == 1
    assert echo.calls[-1]["contexts"][0] is None


def test_how_the_beats_are_tracked_can_be_chosen(monkeypatch):
    stage, _ = echo_stage(monkeypatch, ("grid", "mix"), grid=True)
    asked = []
    found = Found(BeatGrid.regular(120, 4, 2), 0.2, ("doubtful",))
    monkeypatch.setattr("stage.generation.prepare.find", lambda audio, rate, how: asked.append(how) or found)
    chosen = Tracking("5/4", (60, 90))
    for grid in (None, "on", "half", "double", chosen):
        assert stage.accompany(song(2.0), 44100, "drums", grid=grid).remarks == ("doubtful",)
    assert asked == [Tracking(), Tracking(), Tracking(octave="half"), Tracking(octave="double"), chosen]
    with pytest.raises(StageError, match='"half"'):
        stage.accompany(song(2.0), 44100, "drums", grid="third")


def test_a_metronome_of_a_compound_metre_clicks_its_eighths(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=10)
    made = stage.click(60, "drums", meter="6/8", bars=2)
    clicks = click_track(BeatGrid.regular(60, 2, 4.0, division=3), 4.0)
    assert len(made.grid) == 4 and made.grid.division == 3
    fast = stage.click(130, "drums", meter="12/8", bars=2)
    assert [any("simple time" in note for note in one.remarks) for one in (made, fast)] == [False, True]
    assert torch.equal(echo.calls[0]["contexts"][0], stage.codec.encode(torch.from_numpy(clicks)[None])[0])


def test_a_slow_metronome_clicks_and_plays_its_eighths(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=10)
    made = stage.click(40, "drums", meter="2/4", bars=2)
    clicks = click_track(BeatGrid.regular(40, 2, 6.0, division=2), 6.0)
    assert len(made.grid) == 4 and made.grid.division == 2
    assert torch.equal(echo.calls[0]["contexts"][0], stage.codec.encode(torch.from_numpy(clicks)[None])[0])
    eighth = made.song[0, round(0.75 * made.rate) :][: round(0.1 * made.rate)]
    beat = made.song[0, round(1.5 * made.rate) :][: round(0.1 * made.rate)]
    assert abs(eighth).max() == pytest.approx(SOFT * abs(beat).max(), rel=0.1)
    assert stage.click(60, "drums", bars=1).grid.division == 1


def test_no_beats_is_noted_and_not_fatal(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), grid=True)
    monkeypatch.setattr("stage.generation.prepare.find", lambda *_: Found(None, 0.0, (NONE,)))
    made = stage.accompany(song(1.5), 44100, "drums")
    assert made.grid is None and "no beats were found" in made.remarks[0]
    assert echo.calls[0]["contexts"][0] is None


def test_the_metronome(monkeypatch):
    stage, echo = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=30)
    made = stage.click(90, "drums", meter="3/4", bars=4, rate=48000)
    assert made.stems.shape == (1, 8 * 48000) and made.song.shape == (1, 8 * 48000)
    assert np.allclose(made.grid.times, np.arange(12) * 60 / 90) and list(made.grid.numbers[:4]) == [1, 2, 3, 1]
    assert echo.calls[0]["contexts"][1] is None  # the clicks are the grid, there is no mix
    assert lag(made.song[0], made.stems[0]) == 0
    alone, other = echo_stage(monkeypatch, ("mix",), window_seconds=30)
    assert alone.click(90, "drums", bars=2).rate == 32000 and other.calls[0]["contexts"][0] is not None


# ---------------------------------------------------------------- level


@pytest.mark.parametrize("gain", [0.02, 1.0, 4.0])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_stem_joins_at_the_songs_level_and_nothing_clips(monkeypatch, gain, channels):
    stage, _ = echo_stage(monkeypatch)
    recording = np.clip(gain * song(4.0, channels=channels), -1, 1)
    made = stage.accompany(recording, 44100, "drums")
    mixed = made.mix()
    assert np.abs(made.stems).max() <= CEILING and np.abs(mixed).max() <= CEILING
    in_song = np.zeros_like(recording)
    in_song[:2] = made.stems[0]
    assert np.allclose(mixed, 10 ** (made.mix_gain() / 20) * (recording + in_song), atol=1e-6)
    if gain <= 1:
        assert loudness(in_song, 44100) - loudness(recording, 44100) == pytest.approx(-4, abs=0.3)
    assert made.mix_gain() < -1 if gain == 4 else made.mix_gain() == 0
    assert any("turned down" in note and f"{-made.mix_gain():.1f} dB" in note for note in made.remarks) == (gain == 4)


def test_mono_and_dual_mono_give_the_same_stem(monkeypatch):
    stage, _ = echo_stage(monkeypatch)
    mono = 0.3 * song(3.0, channels=1)
    one, two = (stage.accompany(recording, 44100, "drums") for recording in (mono, np.repeat(mono, 2, axis=0)))
    assert np.allclose(one.stems, two.stems, atol=1e-6)
    gains = [stage.stream(recording, 44100, "drums", gain_db=None).gain_db for recording in (mono, two.song)]
    assert gains[0] == pytest.approx(gains[1], abs=1e-6)


def test_a_stem_that_misses_its_level_is_noted(monkeypatch):
    stage, _ = echo_stage(monkeypatch)
    time = np.arange(3 * 44100) / 44100
    wave = np.sign(np.sin(2 * np.pi * 200 * time)).astype(np.float32)  # at 0 LUFS and more
    monkeypatch.setattr(stage, "_decoded", lambda codes, seconds: spikes(round(seconds * 32000)))
    made = stage.accompany(wave, 44100, "drums", seed=5)
    assert any("seed 5: the drums stem stays" in note and "LU below its level" in note for note in made.remarks)
    assert np.abs(made.stems).max() <= CEILING
    monkeypatch.setattr(stage, "_decoded", lambda codes, seconds: 1e-3 * wave[None, : round(seconds * 32000)])
    faint = stage.accompany(wave, 44100, "drums", seed=5)
    assert any("seed 5: the drums stem stays" in note for note in faint.remarks)
    monkeypatch.setattr(stage, "_decoded", lambda codes, seconds: 0 * spikes(round(seconds * 32000)))
    silent = stage.accompany(wave, 44100, "drums", seed=5)
    assert any("seed 5: the drums stem is silent" in note for note in silent.remarks)


def spikes(samples: int) -> np.ndarray:
    """A stem [1, N] of clicks: high peaks, little loudness."""
    made = np.zeros((1, samples), np.float32)
    made[:, ::8000] = 0.9
    return made


# ---------------------------------------------------------------- tuning


def chord(cents: float, seconds: float = 4.0, rate: int = 44100) -> np.ndarray:
    """Notes with partials, so many cents from A = 440 Hz. float32 [1, N]."""
    time = np.arange(round(seconds * rate)) / rate
    notes = [440 * 2 ** ((key + cents / 100) / 12) for key in (-12, -8, -5, 0, 2, 7)]
    wave = sum(np.sin(2 * np.pi * hz * part * time) / part for hz in notes for part in (1, 2, 3))
    return (0.05 * wave[None] * (1 - 0.8 * (2 * time % 1))).astype(np.float32)


def loudest_hz(audio: np.ndarray, rate: int) -> float:
    """Frequency of the highest peak of a spectrum."""
    return float(np.abs(np.fft.rfft(audio * np.hanning(len(audio)))).argmax() * rate / len(audio))


@pytest.mark.parametrize("tuning, cents", [(452.0, 46.58), (-30.0, -30), ("442", 7.85), ("off", 0), (415.3, 0)])
def test_the_model_gets_the_song_at_440_and_the_stem_is_in_the_songs_time_and_tuning(monkeypatch, tuning, cents):
    stage, _ = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=30)
    given = {}
    piece = stage._piece
    monkeypatch.setattr(stage, "_piece", lambda contexts, *rest: given.update(contexts) or piece(contexts, *rest))
    ratio = 2 ** (cents / 1200)
    time = np.arange(4 * 44100) / 44100
    recording = song(4.0, channels=1) + (0.4 * np.sin(2 * np.pi * 440 * ratio * time)).astype(np.float32)
    grid = BeatGrid.regular(120, 4, 4)
    made = stage.accompany(recording, 44100, "drums", grid=grid, tuning=tuning)
    assert made.tuning == pytest.approx(cents, abs=0.02) and np.array_equal(made.grid.times, grid.times)
    assert loudest_hz(given["mix"], 32000) == pytest.approx(440, abs=0.3)
    beat = np.flatnonzero(np.abs(given["grid"]) > 0.05)
    assert beat[beat > 0.4 * 32000][0] == pytest.approx(0.5 * ratio * 32000, abs=40)
    assert made.stems.shape == (1, len(time)) and lag(recording[0], made.stems[0]) == 0
    assert np.corrcoef(recording[0, 2000:-4000], made.stems[0, 2000:-4000])[0, 1] > 0.95
    streamed = np.concatenate(list(stage.stream(recording, 44100, "drums", grid=grid, tuning=tuning)), axis=1)
    plain = stage.accompany(recording, 44100, "drums", grid=grid, tuning=tuning, level=False).stems
    assert np.abs(streamed - plain).max() < 1e-4


def test_the_tuning_is_estimated_and_a_song_at_440_stays_as_it_is(monkeypatch):
    stage, echo = echo_stage(monkeypatch)
    sharp = stage.accompany(chord(30), 44100, "bass")
    assert sharp.tuning == pytest.approx(30, abs=5) and "A = 447." in sharp.remarks[0]
    plain, forced = (stage.accompany(chord(0), 44100, "bass", tuning=tuning) for tuning in (None, "off"))
    assert plain.tuning == 0 and plain.remarks == () and np.array_equal(plain.stems, forced.stems)
    assert stage.accompany(chord(30), 44100, "bass", tuning=440).tuning == 0


@pytest.mark.parametrize("tuning", ["sharp", 200, float("nan"), "4400"])
def test_impossible_tunings(drawn, tuning):
    with pytest.raises(StageError, match=f"tuning cannot be {tuning}: choose auto"):
        drawn.accompany(song(), 44100, "drums", tuning=tuning)


# ---------------------------------------------------------------- rests and ends


def test_the_stem_rests_where_the_song_is_silent_for_a_bar(drawn):
    recording, rate = song(10.0, 32000), 32000
    recording[:, : round(2.3 * rate)] = 0  # silence in front, more than a bar of 2 s
    recording[:, 4 * rate : round(5.5 * rate)] = 0  # less than a bar
    recording[:, round(7.5 * rate) :] = 0  # to the end
    arguments = dict(audio=recording, rate=rate, stem="drums", grid=BeatGrid.regular(120, 4, 10))
    made = drawn.accompany(**arguments)
    stem = made.stems[0]
    assert not stem[: round(2.26 * rate)].any() and not stem[round(7.57 * rate) :].any()
    assert np.abs(stem[4 * rate : round(5.5 * rate)]).max() > 0.01
    assert "rests where the song is silent (0.0 to 2.3 s, 7.5 to 10.0 s)" in made.remarks[0]
    through = drawn.accompany(**arguments, rest=False, level=False)
    plain = drawn.accompany(**arguments, level=False)
    assert not any("rests" in note for note in through.remarks) and np.abs(through.stems[0, :rate]).max() > 0.01
    inside = slice(round(2.3 * rate), round(7.5 * rate))
    assert np.array_equal(through.stems[0, inside], plain.stems[0, inside])
    streamed = np.concatenate(list(drawn.stream(**arguments)), axis=1)
    assert np.abs(streamed - plain.stems).max() < 1e-4


def test_a_stem_that_ends_within_a_bar_fades(monkeypatch):
    stage, _ = echo_stage(monkeypatch, ("grid", "mix"), window_seconds=30)
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * 32000) / 32000)).astype(np.float32)

    def ends(seconds: float, grid: BeatGrid | str) -> tuple[float, float]:
        """Peaks of the last 10 ms and of the 10 ms before the last 60 ms, against that of the whole."""
        stem = stage.accompany(tone, 32000, "drums", seconds=seconds, grid=grid, level=False).stems[0]
        return tuple(np.abs(stem[part]).max() / np.abs(stem).max() for part in (slice(-320, None), slice(-2240, -1920)))

    grid = BeatGrid.regular(120, 4, 10)
    for seconds, beats in ((3.2, grid), (4.0, "off")):
        last, before = ends(seconds, beats)
        assert last < 10 ** (-30 / 20) and before > 0.99
    assert ends(4.0, grid)[0] > 0.9  # at a bar line only the click of a cut is taken away


# ---------------------------------------------------------------- seeds, progress, the real engine


def test_a_variation_is_made_again_alone(drawn):
    recording = song(3.5)
    many = drawn.accompany(
        recording, 44100, "drums", prompt="busy funk", variations=3, seed=7, grid=BeatGrid.regular(120, 4, 4)
    )
    alone = drawn.accompany(recording, 44100, "drums", prompt="busy funk", seed=8, grid=BeatGrid.regular(120, 4, 4))
    assert many.seeds == (7, 8, 9) and many.stems.shape == (3, recording.shape[1])
    assert np.allclose(many.stems[1], alone.stems[0], atol=1e-5)
    assert not np.allclose(many.stems[0], many.stems[1], atol=1e-3)


def test_stem_and_prompt_reach_the_model(drawn):
    def play(**values):
        arguments = dict(contexts={}, stem="drums", seconds=1.0, seeds=[1], sampling=Sampling(temperature=0)) | values
        return drawn.generate_audio(**arguments)

    assert np.array_equal(play(), play()) and play().shape == (1, 32000)
    assert not np.array_equal(play(), play(stem="bass"))
    assert not np.array_equal(play(), play(prompt="slow ballad"))
    assert np.array_equal(play(), play(prompt="  ?! "))  # no word in it
    codes = torch.ones(2, 5, dtype=torch.int64)
    assert not np.array_equal(play()[:, :6400], play(prompt_codes=codes)[:, :6400])
    with pytest.raises(StageError, match="takes no sketch as context"):
        play(contexts={"sketch": np.zeros(32000, np.float32)})


def test_progress_rises_to_one_and_can_stop(drawn):
    shares = []
    drawn.accompany(song(5.0), 44100, "drums", grid="off", variations=2, on_progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1) and 0 < shares[0] < 0.1
    with pytest.raises(Stopped):
        drawn.accompany(song(3.0), 44100, "drums", grid="off", on_progress=lambda share: share < 0.5)


def test_sampling_is_the_models_but_for_what_is_given(drawn):
    assert drawn.sampling(top_k=None).top_k == 20 and drawn.sampling(top_k=5, guidance=1.5) == Sampling(
        guidance=1.5, top_k=5
    )
    with pytest.raises(StageError, match="temperature cannot be -1"):
        drawn.sampling(temperature=-1)


def test_saved_and_loaded_it_plays_the_same(drawn, tmp_path):
    drawn.save_pretrained(tmp_path / "model")
    again = Stage.from_pretrained(tmp_path / "model", device="cpu")
    assert again.stems == ("drums", "bass") and again.config == drawn.config
    one, other = (s.accompany(song(1.5), 44100, "bass", grid="off", seed=3).stems for s in (drawn, again))
    assert np.array_equal(one, other)


# ---------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(stem="banjo"), 'plays no "banjo": it plays drums, bass'),
        (dict(start=-1), "cannot start at -1"),
        (dict(start=float("nan")), "cannot start at nan"),
        (dict(start=9), r"cannot start at 9 seconds: the recording ends at 3\.00"),
        (dict(seconds=0), "too short"),
        (dict(seconds=0.5), "too short"),
        (dict(seconds=float("nan")), "too short"),
        (dict(start=2.5), "too short"),
        (dict(seconds=5), r"ends at 3\.00 seconds, before 5\.00"),
        (dict(seconds=1e6), "too long"),
        (dict(variations=0), "0 variations"),
        (dict(variations=65), "65 variations"),
        (dict(seed=-1), "-1 is not a seed"),
        (dict(grid="maybe"), '"on", "off", "half", "double", a BeatGrid'),
        (dict(grid=BeatGrid.regular(120, 4, 9, start=5)), "no beat within the chosen stretch"),
        (dict(rate=0), "a sampling rate of 0 Hz"),
        (dict(audio=np.zeros((2, 44100 * 2))), "silent"),
        (dict(audio=song(3.0).T), "channels come first: audio.T"),
        (dict(audio=np.full((2, 44100 * 2), np.nan)), "not numbers"),
        (dict(audio=np.ones((2, 1))), "too short"),
        (dict(audio=np.ones((2, 3, 4))), "shape"),
    ],
)
def test_impossible_requests_get_one_clear_line(drawn, change, message):
    arguments = dict(audio=song(3.0), rate=44100, stem="drums", grid="off") | change
    with pytest.raises(StageError, match=message) as caught:
        drawn.accompany(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(bpm=5), "20 to 400"),
        (dict(bpm=1e9), "20 to 400"),
        (dict(bpm=float("nan")), "20 to 400"),
        (dict(bars=0), "0 bars"),
        (dict(bars=-4), "-4 bars"),
        (dict(bars=10**6), "choose fewer"),
        (dict(meter="4"), "metre"),
        (dict(meter="0/4"), "metre"),
        (dict(meter="4/5"), "metre"),
        (dict(rate=12), "sampling rate"),
        (dict(stem="banjo"), "drums, bass"),
    ],
)
def test_impossible_metronomes(drawn, change, message):
    with pytest.raises(StageError, match=message):
        drawn.click(**(dict(bpm=120, stem="drums", bars=1) | change))


def test_a_model_without_grid_refuses_one(monkeypatch):
    stage, _ = echo_stage(monkeypatch)
    with pytest.raises(StageError, match="takes no beat grid"):
        stage.accompany(song(), 44100, "drums", grid="on")
