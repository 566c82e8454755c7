"""Sessions: tracks, takes, steps that are undone, files that are whole, and what is refused."""

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from helpers.fakes import song
from helpers.sessions import RATE
from stage import BeatGrid, StageError, audio, files, midi_writing
from stage.beats import reading
from stage.generation.performance import Performance
from stage.midi import Part
from stage.notes import Note
from stage.session import Session, check, sounds, state, verify
from stage.session import time as timing
from stage.session.handoff.arrangement import Arrangement, Strip
from stage.session.making import Made
from stage.session.state import Backing, Book, Section, Step, Track
from stage.session.time import bars, sections


def test_a_session_on_a_tempo(session):
    assert [track.name for track in session.tracks] == ["drums", "bass"]
    assert session.seconds == 6.0 and session.grid.bpm == pytest.approx(120)
    assert [span.chord.name for span in session.time.chart] == ["Am", "F", "Am"]
    assert session.time.sections == (Section("intro", 1), Section("verse", 2))
    first, second = session.takes("drums").values()
    assert (first.recipe.seed, second.recipe.seed) == (5, 6) and first.instrument
    assert session.notes("drums", 1) != session.notes("drums", 2) and session.notes("drums")
    bass = next(iter(session.takes("bass").values())).recipe
    assert [backing.take for backing in bass.backing] == [session.track("drums").kept]
    assert bass.performance == {"complexity": 0.7, "register": "low"} and bass.sampling == {"temperature": 0.9}
    assert session.sound("bass").shape == (2, 6 * RATE) and session.mix().shape == (2, 6 * RATE)
    assert np.abs(session.mix()).max() <= 1


def test_what_was_made_is_made_again_to_the_bit(session):
    assert session.verify() == []


def test_a_file_that_was_changed_is_found_and_made_again(session):
    take = session.track("bass").kept
    path = session.folder / "takes" / f"{take}.flac"
    good = path.read_bytes()
    sounds.write(path.parent, take, np.zeros((2, 6 * RATE), np.float32), RATE, None)
    (session.folder / "takes" / f"{session.track('drums').kept}.json").unlink()
    found = session.verify(again=False)
    assert len(found) == 2 and "was changed" in found[1].why and "is missing" in found[0].why
    assert session.verify(again=False, mend=True) == [] and path.read_bytes() == good


def test_takes_are_kept_and_more_are_made(session):
    one, two = session.track("drums").takes
    session.keep("drums", 2)
    assert session.track("drums").kept == two and np.array_equal(session.sound("drums"), session.sound("drums", two))
    more = session.take("drums")
    assert session.track("drums").takes == (one, two, *more) and session.track("drums").kept == two
    recipe = session.book.takes[more[0]].recipe
    assert recipe.seed == 7 and recipe.backing == ()  # the drums came first: they are not played to the bass
    assert set(session.ranked("drums")) == {one, two, *more}
    scores = [session.book.takes[name].check["score"] for name in session.ranked("drums")]
    assert scores == sorted(scores, reverse=True)


def test_every_step_is_undone_and_done_again(session):
    states = [session.tracks]
    session.keep("drums", 2)
    states.append(session.tracks)
    session.change("bass", gain=-3, pan=0.5)
    states.append(session.tracks)
    session.change("bass", lock=True)
    states.append(session.tracks)
    session.remove("drums")
    states.append(session.tracks)
    for before in reversed(states[:-1]):
        session.undo()
        assert session.tracks == before == Session.open(session.folder).tracks
    for after in states[1:]:
        session.redo_step()
        assert session.tracks == after
    with pytest.raises(StageError, match="nothing was undone"):
        session.redo_step()
    for _ in range(len(session.book.history) - 1):
        session.undo()
    assert session.tracks == ()
    with pytest.raises(StageError, match="nothing is left to undo"):
        session.undo()
    session.redo_step()
    assert session.verify(again=False) == []  # takes of steps that were undone are still there


def test_a_new_step_forgets_those_that_were_undone(session):
    gone = session.track("bass").kept
    session.undo()
    session.change("drums", mute=True)
    assert gone not in session.book.takes and not list((session.folder / "takes").glob(f"{gone}.*"))
    assert len(list((session.folder / "takes").iterdir())) == 4


def test_gain_pan_and_mute_are_in_the_mix(session):
    before = session.mix()
    session.change("bass", mute=True)
    alone = session.mix()
    assert not np.array_equal(before, alone)
    session.change("drums", gain=-6.0206, pan=1.0)
    panned = session.mix()
    assert np.abs(panned[0]).max() == 0 and np.allclose(panned[1], alone[1] / 2, atol=1e-6)


def test_tracks_in_mono_have_their_sides_in_the_mix():
    tone = np.full((1, 100), 0.25, np.float32)
    strips = Strip("left", tone, pan=-1.0), Strip("right", 2 * tone, pan=1.0)
    mix = Arrangement("both", RATE, 100, strips).mix()
    assert mix.shape == (2, 100) and np.allclose(mix[0], 0.25) and np.allclose(mix[1], 0.5)
    assert Arrangement("one", RATE, 100, (Strip("middle", tone),)).mix().shape == (1, 100)


def test_what_a_take_was_played_to_keeps_its_key_in_the_file(session):
    rows = json.loads((session.folder / state.FILE).read_text(encoding="utf-8"))["takes"]
    drums = session.track("drums").kept
    name = session.track("bass").kept
    assert rows[name]["recipe"]["heard"] == [{"take": drums, "gain": 0.0, "pan": 0.0}]
    assert not any("backing" in row["recipe"] for row in rows.values())
    assert session.book.takes[name].recipe.backing == (Backing(drums),)


def test_what_is_locked_stays(session):
    session.change("drums", lock=True)
    for change in (
        lambda: session.keep("drums", 2),
        lambda: session.take("drums"),
        lambda: session.change("drums", gain=1.0),
        lambda: session.remove("drums"),
    ):
        with pytest.raises(StageError, match="locked: unlock it first"):
            change()
    session.change("drums", lock=False)
    session.keep("drums", 2)


def test_what_cannot_be_is_one_line_and_changes_nothing(session, tmp_path):
    before = (session.folder / "session.json").read_bytes()
    for match, change in (
        ('no track "horns": there are drums, bass', lambda: session.keep("horns", 1)),
        ("drums has no take 9", lambda: session.keep("drums", 9)),
        ('plays no "horns"', lambda: session.add("horns", performance=Performance())),
        ("pan of 2", lambda: session.change("bass", pan=2)),
        ("gain of 99", lambda: session.change("bass", gain=99)),
        ("nothing is to be changed", lambda: session.change("bass")),
        ("there is a track drums already", lambda: session.change("bass", name="drums")),
        ("cannot be called", lambda: session.change("bass", name="../x")),
        ("temperature cannot be 99", lambda: session.add("keys", sampling={"temperature": 99})),
        ("has no song", lambda: session.relink(tmp_path / "song.wav")),
        ("exists", lambda: Session.new(session.folder, bpm=100)),
        ("not both", lambda: Session.new(tmp_path / "new", tmp_path / "song.wav", bpm=100)),
        ("name a song, or a tempo", lambda: Session.new(tmp_path / "new")),
        ("does not exist", lambda: Session.new(tmp_path / "new", tmp_path / "song.wav")),
        ("is not a session", lambda: Session.open(tmp_path)),
    ):
        with pytest.raises(StageError, match=match) as caught:
            change()
        assert "\n" not in str(caught.value)
    assert (session.folder / "session.json").read_bytes() == before and not (tmp_path / "new").exists()


# ---------------------------------------------------------------- songs


@pytest.fixture
def recording(tmp_path):
    audio.write(tmp_path / "song.wav", song(4.0, RATE, 1), RATE)
    return tmp_path / "song.wav"


def test_a_session_for_a_song_keeps_its_beats_and_chords(recording, player, tmp_path):
    session = Session.new(tmp_path / "s", recording, model=player, start=0.5, seconds=3.0)
    assert session.song.shape == (1, 3 * RATE) and session.grid.bpm == pytest.approx(120, abs=3)
    assert session.time.chart is not None
    session.add("bass")
    assert session.sound("bass").shape == (1, 3 * RATE) and session.verify() == []
    again = Session.open(tmp_path / "s")
    assert np.array_equal(again.grid.times, session.grid.times) and again.time == session.time


def test_a_stem_is_longer_than_the_recording(recording, player, tmp_path):
    grid, chords = BeatGrid.regular(120, 4, 4.0), "Am F"
    session = Session.new(tmp_path / "s", recording, grid=grid, chords=chords, tuning="off", extend=3.0, model=player)
    assert session.seconds == 7.0 and not session.song[:, 4 * RATE :].any() and session.song[:, : 4 * RATE].any()
    assert session.grid.times == pytest.approx(np.arange(14) / 2)
    assert (session.grid.numbers[8:] == [1, 2, 3, 4, 1, 2]).all()
    names = [(span.start, span.end, span.chord.name) for span in session.time.chart]
    assert names == [(0.0, 2.0, "Am"), (2.0, 4.0, "F"), (4.0, 6.0, "Am"), (6.0, 7.0, "F")]
    session.add("drums")
    assert any(note.start > 4.5 for note in session.notes("drums")) and session.verify() == []
    with pytest.raises(StageError, match="too long for one go"):
        Session.new(tmp_path / "t", recording, extend=900.0)


def test_a_song_is_found_where_it_was_moved_to(recording, player, tmp_path):
    (tmp_path / "work").mkdir()
    shutil.move(recording, tmp_path / "work" / "song.wav")
    folder = tmp_path / "work" / "s"
    Session.new(folder, tmp_path / "work" / "song.wav", grid=BeatGrid.regular(120, 4, 4), chords="A", tuning="off")
    shutil.move(tmp_path / "work", tmp_path / "moved")  # both together
    session = Session.open(tmp_path / "moved" / "s")
    assert session.song.shape == (1, 4 * RATE)
    shutil.move(tmp_path / "moved" / "song.wav", tmp_path / "elsewhere.wav")
    session = Session.open(tmp_path / "moved" / "s", player)
    with pytest.raises(StageError, match="song is missing.*stage session song"):
        session.add("drums")
    assert "song is missing" in session.verify()[0].why and session.tracks == ()
    audio.write(tmp_path / "other.wav", song(4.0, RATE, 1, seed=9), RATE)
    with pytest.raises(StageError, match="another file"):
        session.relink(tmp_path / "other.wav")
    session.relink(tmp_path / "elsewhere.wav")
    assert Session.open(session.folder).song.shape == (1, 4 * RATE)
    shutil.copy(tmp_path / "other.wav", tmp_path / "elsewhere.wav")
    with pytest.raises(StageError, match="another file than when"):
        _ = Session.open(session.folder).song


# ---------------------------------------------------------------- the file


def _change(folder: Path, **values) -> None:
    path = folder / "session.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_file_that_is_broken_or_newer_is_refused(session):
    good = (session.folder / "session.json").read_text()
    values = json.loads(good)
    wrong = json.loads(good)
    wrong["history"][-1]["tracks"][0]["kept"] = "nobody-001"
    lost, loud, named = ({**json.loads(good)} for _ in range(3))
    lost["takes"] = {}
    loud["history"][-1]["tracks"][0]["gain"] = float("nan")
    named["takes"]["../../x-001"] = next(iter(named["takes"].values()))
    for text, match in (
        (good[: len(good) // 2], "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "not the file of a session"),
        (json.dumps({**values, "version": 2}), "newer version of STAGE"),
        (json.dumps({**values, "version": "a"}), "no version"),
        (json.dumps({**values, "at": 99}), "step that it is at"),
        (json.dumps({**values, "times": {}}), "time of take"),
        (json.dumps(lost), "is not there"),
        (json.dumps(loud), "gain is nan"),
        (json.dumps(named), "cannot be called"),
        (json.dumps(wrong), "not among its takes"),
        (json.dumps({**values, "tempo": 3}), "unknown key"),
    ):
        (session.folder / "session.json").write_text(text)
        with pytest.raises(StageError, match=match) as caught:
            Session.open(session.folder)
        assert "\n" not in str(caught.value)
    (session.folder / "session.json").write_text(good)
    assert Session.open(session.folder).verify(again=False) == []


def test_two_writers_are_refused(session, player):
    other = Session.open(session.folder, player)
    with files.lock(session.folder), pytest.raises(StageError, match="in use by another program"):
        session.keep("drums", 2)
    session.keep("drums", 2)
    with pytest.raises(StageError, match="changed by another program since it was opened"):
        other.keep("drums", 1)
    assert Session.open(session.folder).track("drums").kept == session.track("drums").takes[1]


def test_a_full_disk_loses_nothing(session, monkeypatch):
    take = Made(session.sound("bass"), session.notes("bass"), "finger", 0.0)
    monkeypatch.setattr("stage.session.session.make", lambda *_: [take])
    before, there = state.read(session.folder), sorted(p.name for p in (session.folder / "takes").iterdir())
    for after in (1, 2, 3):  # while a take's sound, its notes, and the session are written
        left = [after]

        def sync(handle, real=os.fsync, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        with monkeypatch.context() as full, pytest.raises(StageError, match="No space left"):
            full.setattr(os, "fsync", sync)
            session.take("bass")
        assert state.read(session.folder) == before
    fresh = Session.open(session.folder)
    fresh.keep("drums", 2)  # what was half-made is swept
    assert sorted(p.name for p in (session.folder / "takes").iterdir()) == there


def _die(folder: Path, at: int) -> None:
    """Change a session, and be killed when the file of number `at` is being written."""
    session, left, real = Session.open(folder), [at], os.fsync

    def sync(handle):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync
    for take in (2, 1, 2, 1):
        session.keep("drums", take)


def test_a_session_that_was_killed_opens_in_its_last_state(session):
    context = multiprocessing.get_context("fork")
    for at in (1, 2, 4):
        changes = session.book.changes
        process = context.Process(target=_die, args=(session.folder, at))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        session = Session.open(session.folder)
        assert session.book.changes == changes + at - 1 and session.verify(again=False) == []
        assert not [p for p in session.folder.iterdir() if p.name.startswith(".stage")]
        session.change("bass", gain=float(at))  # it can be written


def test_only_the_last_steps_are_kept():
    book = Book(state.FORMAT, state.VERSION, state.Click(RATE, RATE), {"time-1": state.Time()}, {}, (), 0)
    book = dataclasses.replace(book, history=(Step("new", "time-1"),))
    for i in range(state.STEPS_MOST + 10):
        book = book.stepped(Step(str(i), "time-1", ()), {}, {}, 0)
    assert len(book.history) == state.STEPS_MOST and book.step.what == str(state.STEPS_MOST + 9)
    assert Track("a", "drums", ("x",), "x").gain == 0


# ---------------------------------------------------------------- small parts


def test_sound_is_written_to_the_bit(tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)
    wave[:, :3] = [[1.0, -1.0, 0.0]] * 2
    sounds.write(tmp_path, "a-001", sounds.rounded(wave), 44100, None)
    once = sounds.read(tmp_path, "a-001")
    assert np.array_equal(once, sounds.rounded(wave)) and np.abs(once - wave).max() <= 2**-23
    sounds.write(tmp_path, "a-002", once, 44100, [Note(0.1, 1 / 3, 36, 90)])
    assert np.array_equal(sounds.read(tmp_path, "a-002"), once)
    assert sounds.read_notes(tmp_path, "a-002") == (Note(0.1, 1 / 3, 36, 90),)


def test_the_quick_check_has_the_right_figures(session):
    grid, chart = session.time.grid, session.time.chart
    notes = (Note(0.0, 0.5, 45, 90), Note(0.75, 1.0, 46, 90), Note(2.06, 2.56, 53, 90))
    assert check.on_grid(notes, grid, 4.0) == pytest.approx(2 / 3)  # 60 ms late
    assert check.in_chord(notes, chart) == pytest.approx((0.5 + 0.5) / 1.25)  # Bb is not in Am
    tone = np.zeros((1, 4 * RATE), np.float32)
    tone[0, :RATE] = 0.5 * np.sin(np.arange(RATE) / 10)
    figures = check.figures(tone, RATE, notes, "bass", grid, chart)
    assert figures["silent"] == pytest.approx(0.75, abs=0.03) and figures["onsets"] == 0.75
    assert figures["score"] == pytest.approx(2 / 3 * 0.8 * 2 * 0.25, abs=0.03)
    assert figures["peak"] == pytest.approx(0.5, abs=1e-3)
    assert check.distance(notes, notes, grid, 4.0) == 0
    assert check.distance(notes, notes[:1], grid, 4.0) == pytest.approx(2 / 3)


def test_bars_and_forms_are_places_in_the_song(session):
    time = session.time
    assert bars(time, 1, 1, 6.0) == (0.0, 2.0) and bars(time, 2, 9, 6.0) == (2.0, 6.0)
    for first, last, match in ((4, 5, "bar 4 is not there"), (2, 1, "first bar comes first"), (0, 0, "nothing before")):
        with pytest.raises(StageError, match=match):
            bars(time, first, last, 6.0)
    for form, match in (("verse", "name and bars"), ("", "empty"), ("a 1, b 2, c 1", "4 bars, the music 3")):
        with pytest.raises(StageError, match=match):
            sections(form, time)


# ---------------------------------------------------------------- beats, chords and form that are mended


def test_beats_are_mended_for_what_is_made_from_now_on(session):
    first = session.time
    assert session.mend(grid="half").grid.bpm == pytest.approx(60) and session.mend(grid="double").grid == session.grid
    session.undo(), session.undo()
    assert session.time == first
    shifted = session.mend(shift=1).grid
    assert shifted.numbers[:5].tolist() == [4, 1, 2, 3, 4] and np.array_equal(shifted.times, first.times)
    session.mend(grid=BeatGrid.regular(100, 3, 60.0), chords="C G", form="a 1, b 1")
    assert session.grid.beats_per_bar == 3 and session.grid.times[-1] < 6 and session.time.chart.at(0.1).name == "C"
    assert [section.bar for section in session.time.sections] == [1, 2]
    assert session.book.takes[session.track("bass").kept].recipe.time == "time-1"
    for arguments, match in (
        ({}, "nothing is to be mended"),
        ({"grid": "off"}, 'mended by "half"'),
        ({"grid": BeatGrid.regular(60, 4, 90.0, start=50.0)}, "fewer than two beats"),
        ({"chords": "H7#9x"}, "H7"),
    ):
        with pytest.raises(StageError, match=match):
            session.mend(**arguments)


def test_taps_become_even_beats(tmp_path):
    draws = np.random.default_rng(3)
    true = 0.4 + 0.5 * np.arange(40)
    tapped = true + draws.normal(0, 0.02, 40)
    found = timing.taps(tapped.tolist(), 3)
    assert np.sqrt(np.mean((found.times - true) ** 2)) < 0.5 * np.sqrt(np.mean((tapped - true) ** 2))
    assert found.numbers[:4].tolist() == [1, 2, 3, 1]
    (tmp_path / "taps.txt").write_text("# tapped\n0.5\n1.0\n\n1.5\n2.0\n")
    assert timing.read_taps(tmp_path / "taps.txt").times == pytest.approx([0.5, 1.0, 1.5, 2.0])
    for text, match in (
        ("0.5\n1.0\n", "4 times or more"),
        ("a\nb\n", "not a file of taps"),
        ("0\n1\n2\n4\n5\n", "tap every"),
    ):
        (tmp_path / "taps.txt").write_text(text)
        with pytest.raises(StageError, match=match):
            timing.read_taps(tmp_path / "taps.txt")


def test_a_tempo_map_of_a_midi_file(tmp_path):
    times = np.cumsum([0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.7]) - 0.5
    numbers = np.arange(8) % 4 + 1
    part = Part("x", 0, 0, notes=[Note(0.0, float(times[-1]) + 0.2, 60, 90)])
    midi_writing.save(tmp_path / "song.mid", midi_writing.build([part], times, numbers))
    found = reading.of_midi(tmp_path / "song.mid")
    assert found.times == pytest.approx(times, abs=1e-5) and found.numbers.tolist() == numbers.tolist()
    session = Session.new(tmp_path / "s", grid=found)
    assert session.grid.times == pytest.approx(times, abs=1e-5) and session.seconds == pytest.approx(
        times[-1] + 0.7, abs=1e-3
    )


def test_energies_of_the_form_are_complexity_and_dynamics(session, monkeypatch):
    session.mend(form="intro 1 0.2, verse 2 0.9")
    line = "0.2@1 0.2@2 0.9@2 0.9@4"
    assert timing.energy(session.time) == line
    take = Made(session.sound("bass"), session.notes("bass"), "finger", 0.0)
    monkeypatch.setattr("stage.session.session.make", lambda *_: [take])
    session.add("keys", performance={"dynamics": 0.4})
    recipe = session.book.takes[session.track("keys").kept].recipe
    assert recipe.performance == {"complexity": line, "dynamics": 0.4} and Performance(**recipe.performance)
    with pytest.raises(StageError, match="energy from 0.0 to 1.0"):
        session.mend(form="intro 1 1.5")
    assert timing.energy(session.mend(form="intro 1, verse 2")) is None


def test_the_engine_is_chosen_and_a_take_is_made_again_by_its_own(session, player, monkeypatch):
    asked = []

    def load(name, **how):
        asked.append((name, how["engine"]))
        return player

    monkeypatch.setattr("stage.pipeline.Stage.from_pretrained", load)
    bass = session.book.takes[session.track("bass").kept]
    model = bass.recipe.model
    assert Session.open(session.folder, model, engine="openvino").stage is player and asked == [(model, "openvino")]
    take = dataclasses.replace(bass, versions=bass.versions | {"engine": "openvino"})
    assert verify._player(session, {}, bass) is session and bass.versions.get("engine") is None
    again = verify._player(session, {}, take)
    assert again is not session and again.stage is player and asked[1:] == [(model, "openvino")]
    monkeypatch.setattr(player.decoder, "engine", object())
    assert verify.versions(player)["engine"] == "openvino" and "engine" not in verify.versions()
