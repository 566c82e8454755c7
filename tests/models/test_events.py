import numpy as np
import pytest
import torch

from helpers.groove import performances
from stage.beats.grid import BeatGrid
from stage.corpus.compose import compose
from stage.models.events import (
    GROUPS,
    MANNERS,
    VELOCITIES,
    DrumEvents,
    TimeLine,
    VoiceEvents,
    codecs,
    manner,
    manner_of,
    step_velocity,
    velocity_step,
)
from stage.notes import Note


def line(bpm=120.0, seconds=4.0, division=12) -> TimeLine:
    return TimeLine.musical(BeatGrid.regular(bpm, 4, seconds + 60 / bpm), seconds, division)


def lost(before: list[Note], after: list[Note], seconds: float, steps: int = 1) -> int:
    """Notes that have no partner of their pitch within `seconds` and so many of 16 steps of velocity."""
    missing = 0
    for pitch in {note.pitch for note in before}:
        a = [note for note in sorted(before) if note.pitch == pitch]
        b = [note for note in sorted(after) if note.pitch == pitch]
        i = j = paired = 0
        while i < len(a) and j < len(b):
            if abs(a[i].start - b[j].start) <= seconds:
                paired += abs((a[i].velocity - 1) * 16 // 127 - (b[j].velocity - 1) * 16 // 127) <= steps
                i, j = i + 1, j + 1
            elif a[i].start < b[j].start:
                i += 1
            else:
                j += 1
        missing += len(a) - paired
    return missing


# ---------------------------------------------------------------- time


def test_musical_frames_divide_beats_wherever_they_lie():
    grid = BeatGrid(np.array([0.3, 0.8, 1.4, 1.9]), np.array([2, 3, 4, 1]))
    frames = TimeLine.musical(grid, 2.6, 12)
    np.testing.assert_allclose(frames.times[::12], [-0.2, 0.3, 0.8, 1.4, 1.9, 2.4, 2.9])
    assert frames.frames == 72
    np.testing.assert_allclose(frames.times[12:25], np.linspace(0.3, 0.8, 13))


@pytest.mark.parametrize("frames", [line(93.0), TimeLine.regular(4.0, 25.0)], ids=["musical", "regular"])
def test_places_and_seconds_are_inverse_also_outside(frames):
    seconds = np.linspace(-1, 6, 301)
    np.testing.assert_allclose(frames.seconds(frames.place(seconds)), seconds, atol=1e-9)
    assert frames.times[0] <= 0 and frames.times[-1] >= 4.0 - 1e-9


def test_a_single_beat_is_refused():
    with pytest.raises(ValueError, match="two beats"):
        TimeLine.musical(BeatGrid(np.array([0.0]), np.array([1])), 4.0)


# ---------------------------------------------------------------- codes


def test_manners_are_whole_numbers_without_gaps():
    codes = [manner(velocity, steps) for velocity in range(VELOCITIES) for steps in range(-12, 12)]
    assert sorted(codes) == list(range(1, MANNERS))
    assert [manner_of(code) for code in codes] == [(v, s) for v in range(VELOCITIES) for s in range(-12, 12)]


def test_velocities_stay_within_one_of_sixteen_steps():
    for velocity in range(1, 128):
        back = step_velocity(velocity_step(velocity))
        assert 1 <= back <= 127 and abs((back - 1) * 16 // 127 - (velocity - 1) * 16 // 127) <= 1


def test_every_piece_has_one_code():
    keys = [key for group in GROUPS.values() for _, key in group]
    assert len(keys) == len(set(keys)) and all(0 <= key < 128 for key in keys)
    codec = DrumEvents()
    for key in keys:
        assert [note.pitch for note in codec.decode(codec.encode([Note(1, 1, key, 90)], line()), line())] == [key]


def test_a_beat_with_a_flam_and_a_drag_comes_back():
    hits = [Note(0.0, 0.0, 36, 110), Note(0.5, 0.5, 38, 100), Note(0.478, 0.478, 38, 30), Note(0.51, 0.51, 42, 70)]
    hits += [Note(1.46, 1.46, 38, 25), Note(1.48, 1.48, 38, 28), Note(1.5, 1.5, 38, 105), Note(3.99, 3.99, 49, 127)]
    codec = DrumEvents(("rock", "jazz"))
    codes = codec.encode(hits, line(), "jazz")
    assert codes.shape == (17, 96) and codes.dtype == torch.int64 and codec.instrument(codes) == "jazz"
    back = codec.decode(codes, line())
    assert len(back) == len(hits) and lost(hits, back, 0.005) == 0


def test_where_frames_run_out_the_loud_hits_stay():
    roll = [Note(1 + i * 0.005, 0, 38, 20 + i) for i in range(12)]
    codec = DrumEvents()
    back = codec.decode(codec.encode(roll, line()), line())
    assert 3 <= len(back) < 12 and max(note.velocity for note in back) == step_velocity(velocity_step(31))


def test_chords_voices_and_lengths_come_back():
    codec = VoiceEvents(("piano", "organ"))
    notes = [Note(0.0, 0.95, 60, 80), Note(0.012, 0.95, 64, 70), Note(0.024, 1.2, 67, 75), Note(1.0, 2.0, 60, 90)]
    notes += [Note(2.0, 2.05, 41, 100), Note(2.05, 2.1, 41, 60), Note(2.5, 4.0, 72, 64)]
    codes = codec.encode(notes, line(), "organ")
    back = codec.decode(codes, line())
    assert codec.instrument(codes) == "organ" and lost(notes, back, 0.005) == 0 and len(back) == len(notes)
    for a, b in zip(sorted(notes), back):
        assert abs(a.end - b.end) < 0.005


def test_codes_that_mean_nothing_are_left_out():
    generator = torch.Generator().manual_seed(0)
    for codec in (DrumEvents(), VoiceEvents(("piano",))):
        codes = torch.randint(0, 400, (17, 96), generator=generator)
        for note in codec.decode(codes, line()):
            assert 0 <= note.pitch < 128 and 1 <= note.velocity <= 127 and note.end >= note.start
        assert codec.decode(torch.zeros(17, 96, dtype=torch.int64), line()) == []


def test_human_drumming_survives():
    """At most 0.5 % of its hits are lost, moved by more than 5 ms or by more than a step of velocity."""
    codec, hits, missing = DrumEvents(), 0, 0
    for bpm, played in performances(60):
        seconds = max(note.start for note in played) + 1
        frames = line(bpm, seconds)
        hits += len(played)
        missing += lost(played, codec.decode(codec.encode(played, frames), frames), 0.005)
    print(f"{missing} of {hits} hits lost or moved: {missing / hits:.3%}")
    assert hits > 5000 and missing / hits <= 0.005


def test_composed_stems_survive():
    """The corpus' notes with human timing: at most 0.5 % lost, moved by more than 5 ms or by more than a step."""
    count = missing = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        song = compose(rng, 30.0, seed % 2)
        times = np.array([song.seconds(beat) for beat in range(200)])
        times = times[(times >= 0) & (times < 31)]
        frames = TimeLine.musical(BeatGrid(times, np.arange(len(times)) % song.metre.beats + 1), 30.0)
        for stem in sorted(set(song.notes) & set(codecs())):
            played = []
            for note in song.notes[stem]:
                start = max(song.seconds(note.beat) + float(np.clip(rng.normal(0, 0.006), -0.02, 0.02)), 0.0)
                end = max(song.seconds(note.beat + note.length), start + 0.03)
                if note.beat >= song.first_beat and start < 30:
                    played.append(Note(start, end, note.pitch, note.velocity))
            codec = codecs()[stem]
            back = codec.decode(codec.encode(played, frames, codec.instruments[0]), frames)
            allowed = codec.allowed()
            assert allowed.gather(1, codec.encode(played, frames, codec.instruments[0])).all()
            count, missing = count + len(played), missing + lost(played, back, 0.005)
    print(f"{missing} of {count} notes lost or moved: {missing / count:.3%}")
    assert count > 2000 and missing / count <= 0.005
