"""The files of a part of played notes: stem, notes, pieces, mix and picture."""

from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest

from helpers.fakes import drawn_player, echo_stage, song
from stage import BeatGrid, StageError, audio, instruments, midi
from stage.chords.chart import Chart
from stage.chords.reading import read
from stage.cli import results
from stage.cli.groups import Output, Player
from stage.generation import picture, roll
from stage.generation.outputs import Outputs
from stage.generation.request import Request
from stage.generation.result import Accompaniment
from stage.instruments import stems
from stage.instruments.scores import STEMS
from stage.notes import Note

RATE = 22050


@pytest.fixture(scope="module")
def player():
    return drawn_player()


def part(stem: str, seconds: float, draws: np.random.Generator) -> tuple[Note, ...]:
    keys = (36, 38, 42, 46, 49, 41, 54) if stem == "drums" else range(40, 60)
    starts = np.sort(draws.uniform(0, seconds, round(8 * seconds)))
    return tuple(
        Note(float(t), float(t) if stem == "drums" else float(t) + 0.2, int(draws.choice(keys)), int(v))
        for t, v in zip(starts, draws.integers(1, 128, len(starts)))
    )


def result(stem: str, instrument: str, seconds: float = 4.0, **values) -> Accompaniment:
    """Played by hand, on its instrument."""
    notes = part(stem, seconds, np.random.default_rng(1))
    sound = stems.sound(notes, stem, instrument, RATE, seconds, seed=3)
    made = Accompaniment(
        stem,
        np.float32(10 ** (-12 / 20)) * sound[None],
        song(seconds, RATE),
        RATE,
        (3,),
        BeatGrid.regular(120, 4, seconds, 0.25),
        notes=(notes,),
        instruments=(instrument,),
        gains=(-12.0,),
    )
    return replace(made, **values)


def test_a_part_is_saved_with_its_notes_and_pieces(tmp_path):
    made = result("drums", "jazz")
    paths = made.save(tmp_path, "tune", pieces=True)
    pieces = [f"tune.drums.3.{piece}.wav" for piece in ("kick", "snare", "hats", "toms", "crash", "percussion")]
    stem = ["tune.drums.3.wav", "tune.drums.3.mid"]
    assert [p.name for p in paths] == [
        *stem,
        *pieces,
        "tune.drums.3.mix.wav",
        "tune.drums.3.png",
        "tune.drums.beats.txt",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)  # no ride is played
    whole, rate = audio.read(paths[0])
    assert whole.shape == (2, 4 * RATE) and rate == RATE
    together = sum(audio.read(tmp_path / piece)[0] for piece in pieces)
    assert np.abs(whole).max() > 0.05 and np.abs(together - whole).max() < 1e-5


def test_pieces_are_at_the_level_of_the_stem(player):
    """Loud, so that the limiter works; the pieces together are the stem all the same, the end's fade too."""
    recording = song(3.1, 44100) * np.float32(4)
    made = player.accompany(recording, 44100, "drums", seed=2, grid=BeatGrid.regular(120, 4, 3.1))
    pieces = dict(made.pieces())
    assert len(pieces) > 1 and all(p.shape == made.stems[0].shape for p in pieces.values())
    assert np.abs(sum(pieces.values()) - made.stems[0]).max() < 1e-4
    plain = player.accompany(recording, 44100, "drums", seed=2, grid=BeatGrid.regular(120, 4, 3.1), level=False)
    assert np.abs(sum(p for _, p in plain.pieces()) - plain.stems[0]).max() < 1e-4
    assert np.abs(made.stems[0]).max() > 0.5 and len(made.gains) == 1 and plain.gains == ()


@pytest.mark.parametrize(
    "stem, instrument, channel, program",
    [
        ("drums", "jazz", 9, 32),
        ("drums", "my kit.sfz", 9, 0),
        ("bass", "muted", 0, 33),
        ("bass", "synth", 0, 38),
        ("keys", "fm electric", 0, 5),
    ],
)
def test_notes_are_a_midi_file_that_begins_with_the_song(stem, instrument, channel, program, tmp_path):
    made = replace(result(stem, instruments.DEFAULTS[STEMS[stem]]), instruments=(instrument,))
    file = made.midi()
    assert isinstance(file, mido.MidiFile) and file.type == 1
    file.save(tmp_path / "a.mid")
    (back,) = midi.read(tmp_path / "a.mid").parts
    assert (back.name, back.channel, back.program) == (stem, channel, program)
    assert len(back.notes) == len(made.notes[0])
    apart = np.array([n.start for n in back.notes]) - sorted(n.start for n in made.notes[0])
    assert np.abs(apart).max() < 0.0006


def test_the_metre_is_the_grids(tmp_path):
    made = replace(result("drums", "studio"), grid=BeatGrid.regular(80, 2, 4.0, division=3))
    file = made.midi()
    assert [(m.numerator, m.denominator) for m in file.tracks[0] if m.type == "time_signature"] == [(6, 8)]
    assert {m.tempo for m in file.tracks[0] if m.type == "set_tempo"} == {500_000}  # 120 quarters, 80 dotted ones
    for grid in (None, BeatGrid.empty()):
        file = replace(made, grid=grid).midi()
        assert {m.tempo for m in file.tracks[0] if m.type == "set_tempo"} == {500_000}


def test_what_was_made_as_sound_has_no_notes(monkeypatch, tmp_path):
    stage, _ = echo_stage(monkeypatch)
    made = stage.accompany(song(2.0, 32000), 32000, "drums")
    with pytest.raises(StageError, match="it has no notes"):
        made.midi()
    with pytest.raises(StageError, match="it has no notes"):
        list(made.pieces())
    with pytest.raises(StageError, match="makes sound, not notes"):
        made.save(tmp_path / "out", pieces=True)
    assert not list(tmp_path.rglob("*.wav"))
    with pytest.raises(StageError, match="bass has no pieces: only drums"):
        Outputs.of(tmp_path, "tune", "bass", (3,), pieces=True)
    with pytest.raises(StageError, match="bass has no pieces"):
        list(result("bass", "finger").pieces())


def test_a_file_that_is_there_is_kept_whatever_it_is(tmp_path):
    for name in ("drums.3.mid", "drums.3.ride.wav"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
        with pytest.raises(StageError, match=f"{name} exists"):
            result("drums", "studio").save(tmp_path, pieces=True)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_pieces_that_cannot_be_are_refused_before_anything_is_made(monkeypatch, tmp_path):
    with pytest.raises(StageError, match="pieces are files"):
        results.plan(Output(Path("-"), pieces=True), "tune", "drums", 0, 1)
    with pytest.raises(StageError, match="keys has no pieces"):
        results.plan(Output(tmp_path, pieces=True), "tune", "keys", 0, 1)
    output = Output(tmp_path / "out", pieces=True)
    files = results.plan(output, "tune", "drums", 0, 1)
    stage, echo = echo_stage(monkeypatch)
    monkeypatch.setattr(results, "load", lambda player, on_share: stage)
    with pytest.raises(StageError, match="makes sound, not notes"):
        results.make(Player("sketch"), Request.recording(song(2.0), 44100, "drums"), files, output)
    assert echo.calls == [] and not (tmp_path / "out").exists()


def test_a_count_in_is_before_stem_notes_and_clicks():
    made = result("drums", "studio")
    rate, later = made.rate, made.counted_in(1)
    more = later.stems.shape[-1] - made.stems.shape[-1]
    bar = made.grid.beats_per_bar * float(np.median(np.diff(made.grid.times[:5])))
    assert more >= round(bar * rate) - 1 and later.song.shape[1] == made.song.shape[1] + more
    assert not later.stems[..., :more].any() and np.array_equal(later.stems[..., more:], made.stems)
    assert np.array_equal(later.song[:, more:], made.song) and np.abs(later.song[:, :more]).max() > 0.2
    for old, new in zip(made.notes[0], later.notes[0]):
        assert new.start - old.start == pytest.approx(more / rate)
    pieces = sum(piece for _, piece in later.pieces(0))
    assert np.abs(pieces - later.stems[0]).max() < 1e-5


# ---------------------------------------------------------------- the picture


def boxes(axes) -> list[tuple[float, float, float, float]]:
    """(left, bottom, right, top) of what is drawn as notes."""
    from matplotlib.collections import PolyCollection

    drawn = next(c for c in axes.collections if type(c) is PolyCollection)
    return [(*p.vertices.min(0), *p.vertices.max(0)) for p in drawn.get_paths()]


def test_the_drum_grid_has_a_row_for_each_piece():
    notes = [Note(0.5, 0.5, 36, 127), Note(1.0, 1.0, 49, 10), Note(1.5, 1.5, 99, 64)]
    axes = picture._figure(result("drums", "studio", notes=(tuple(notes),)), 0, "a song").axes[-1]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["kick", "snare", "closed hat", "crash", "key 99"]
    (kick, crash, other) = boxes(axes)
    assert [box[0] for box in (kick, crash, other)] == [0.5, 1.0, 1.5]
    assert [int(box[1]) for box in (kick, crash, other)] == [0, 3, 4] and kick[3] - kick[1] > 2 * (crash[3] - crash[1])


def test_the_piano_roll_has_notes_at_their_pitches_and_the_chords_on_top():
    notes = (Note(0.5, 1.25, 45, 127), Note(1.0, 1.5, 52, 10))
    grid = BeatGrid.regular(120, 4, 4.0)
    made = result("bass", "finger", notes=(notes,), grid=grid, chords=read("Am F#m7b5", grid, 4.0))
    figure = picture._figure(made, 0, "a song")
    axes = figure.axes[-1]
    low, high = boxes(axes)
    names = {label.get_text(): place for label, place in zip(axes.get_yticklabels(), axes.get_yticks())}
    assert (low[0], low[2]) == (0.5, 1.25) and low[1] < names["A2"] < low[3] and high[1] < names["E3"] < high[3]
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["Am", "F#m7b5"]
    assert "2 notes" in figure._suptitle.get_text() and "finger" in figure._suptitle.get_text()
    bars = [text.get_text() for text in figure.axes[0].texts][2:]
    assert bars == ["1", "2"]


@pytest.mark.parametrize("stem, seconds", [("drums", 1.0), ("keys", 120.0), ("drums", 600.0)])
def test_pictures_of_any_length(stem, seconds, tmp_path):
    grid = BeatGrid.regular(120, 4, seconds)
    notes = part(stem, seconds, np.random.default_rng(0))
    made = Accompaniment(
        stem,
        np.zeros((1, 2, round(8000 * seconds)), np.float32),
        np.full((2, round(8000 * seconds)), 0.1, np.float32),
        8000,
        (0,),
        grid,
        notes=(notes,),
        instruments=("studio",),
        chords=read("Am F", grid, seconds) if stem == "keys" else None,
    )
    for name, changed in (("all", {}), ("none", {"notes": ((),), "grid": None, "chords": Chart(())})):
        picture.draw(tmp_path / f"{name}.png", replace(made, **changed))
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_names_of_chords_that_have_no_room_are_left_out():
    from matplotlib.figure import Figure

    for seconds, shown in ((8.0, 4), (2000.0, 0)):
        axes = Figure().subplots()
        chart = read("Am F G Cmaj7", BeatGrid.regular(120, 4, 8.0), 8.0)
        roll.chords(axes, chart, seconds)
        assert len(axes.texts) == shown
