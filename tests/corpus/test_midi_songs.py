"""Songs from MIDI files: roles, beats, chords, pieces, and what is wrong with files. Freedoom where it is."""

import json

import numpy as np
import pytest

from helpers import wads
from helpers.midi_files import save, track
from stage.audio.chroma import PITCH_CLASSES
from stage.cli import app as cli
from stage.corpus import build_midi, midi_songs, read, synth
from stage.corpus.compose import compose
from stage.data.roles import general_midi
from stage.errors import StageError
from stage.midi import Part
from stage.midi_writing import write
from stage.notes import Note

PROGRAMS = {"drums": (9, 0), "bass": (0, 33), "guitar": (1, 25), "keys": (2, 0), "pads": (3, 89), "lead": (4, 73)}


def as_file(song, path, seconds=32.0):
    """Write a composed song as a MIDI file; returns the notes of its stems, and its beats."""
    notes = {
        stem: [
            Note(song.seconds(n.beat), song.seconds(n.beat + n.length), n.pitch, n.velocity)
            for n in sorted(some)
            if n.beat >= song.first_beat
        ]
        for stem, some in song.notes.items()
    }
    times = song.offset + np.arange(int((seconds + 8) * song.tempo / 60)) * 60 / song.tempo
    numbers = (song.first_beat + np.arange(len(times))) % song.metre.beats + 1
    write(path, [Part(stem, *PROGRAMS[stem], notes=some) for stem, some in notes.items() if some], times, numbers)
    return notes, times, numbers


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """(composed song, the song that is read from its file, its notes, beats and numbers)."""
    folder, made = tmp_path_factory.mktemp("composed"), []
    for i in range(12):
        song = compose(np.random.default_rng([3, i]), 32.0, 0)
        path = folder / f"{i}.mid"
        made.append((song, *as_file(song, path), midi_songs.read(path)))
    return made


def test_a_song_comes_back_from_its_file(composed):
    for _, notes, times, numbers, found in composed:
        assert set(found.parts) == {stem for stem, some in notes.items() if some}
        for stem in found.parts:
            back = found.notes(stem)
            assert len(back) > 0.97 * len(notes[stem])
            starts = np.array([n.start for n in notes[stem]])
            assert max(np.abs(starts - n.start).min() for n in back) < 2e-3
        at = np.flatnonzero((found.times[:-1] >= times[0] - 1e-3) & (found.times[:-1] <= times[-1]))
        place = np.searchsorted(times, found.times[at] - 1e-3)
        np.testing.assert_allclose(found.times[at], times[place], atol=2e-3)
        whole = int(np.flatnonzero(numbers[place] == 1)[0])  # files number the beats of a cut first bar from 1
        assert found.numbers[at][whole:].tolist() == numbers[place][whole:].tolist()


def test_chords_and_keys_are_estimated_from_the_notes(composed):
    right, all_beats, keys = 0, 0, 0
    for song, _, _, _, found in composed:
        keys += found.key.split()[0] == PITCH_CLASSES[song.key]
        for begin, end, chord in zip(found.times, found.times[1:], found.chords):
            beat = song.first_beat + ((begin + end) / 2 - song.offset) * song.tempo / 60
            true = [c for c in song.chords if c.start <= beat]
            if true and chord.root >= 0:
                right, all_beats = right + (chord.root == true[-1].root), all_beats + 1
    assert right / all_beats > 0.85 and keys > 0.5 * len(composed)


def test_roles_go_by_program_and_by_name():
    assert general_midi(0, True, "x") == "drums"
    for program, role in ((0, "keys"), (7, "keys"), (11, "percussion"), (19, "keys"), (30, "guitar"), (39, "bass")):
        assert general_midi(program, False, "track 3") == role
    for program, role in ((44, "strings"), (46, "plucked"), (49, "pads"), (61, "wind"), (81, "lead"), (95, "pads")):
        assert general_midi(program, False, "Melody") == role
    assert general_midi(126, False, "Scream") is None
    assert general_midi(0, False, "Slap Bass 2") == "bass" and general_midi(30, False, "Slap Bass 2") == "guitar"


def quarters(channel, program, pitch, bars=16, late=0.0, name=""):
    return track(channel, program, [(float(b) + late, 0.9, pitch, 90) for b in range(4 * bars)], name)


def test_of_two_parts_one_is_the_stem_and_the_other_is_heard(tmp_path):
    guitars = [quarters(1, 27, 60, 16, name="rhythm"), quarters(2, 30, 64, 4, name="solo")]
    odd = [quarters(3, 4, 20, 16, name="too low"), quarters(4, 125, 60, name="wind machine")]
    drums = track(9, 0, [(float(b), 0.1, key, 90) for b in range(64) for key in (36, 58)])
    synth_bass = quarters(5, 81, 36, name="Bass (saw)")
    found = midi_songs.read(save(tmp_path / "a.mid", drums, *guitars, *odd, synth_bass))
    assert {stem: {p.name for p in some} for stem, some in found.parts.items()} == {
        "drums": {"track 2"},
        "guitar": {"rhythm"},
        "bass": {"Bass (saw)"},
        "other": {"too low", "solo"},
    }
    assert found.left_out == ["track 2: 64 notes that the drums cannot play", "wind machine: program 125 is a noise"]
    assert {n.pitch for n in found.notes("drums")} == {36}


def test_pieces_begin_at_bars_and_keep_what_sounds_on(tmp_path):
    long = track(0, 48, [(8.0 * i, 7.9, p, 80) for i in range(10) for p in (60, 64, 67)])
    path = save(tmp_path / "a.mid", long, quarters(1, 33, 36, 20), quarters(9, 0, 38, 20))
    found = midi_songs.pieces(midi_songs.read(path), 12.0)
    assert [round(p.start, 2) for p in found] == [0.0, 11.9, 21.9, 31.9]
    second = found[1]
    facts = midi_songs.describe(second)
    assert facts["beats"][0] == pytest.approx(0.1) and facts["downbeat_numbers"][:5] == [1, 2, 3, 4, 1]
    assert facts["tempo"] == pytest.approx(120) and facts["meter"] == "4/4" and facts["feel"] == "straight"
    assert facts["chords"][0]["root"] == 0 and set(facts["chords"][0]["pitch_classes"]) == {0, 4, 7}
    pads = second.notes["pads"][0]
    assert min(n.start for n in pads) == pytest.approx(0.1, abs=0.02) or pads[0].start == 0.0
    assert all(0 <= n.start < n.end <= second.seconds + 1e-6 for some in second.notes.values() for p in some for n in p)
    assert second.notes["bass"][0][0].start == pytest.approx(0.1)


def bad_files(folder):
    """Name -> (file, what is said about it)."""
    good = save(folder / "good.mid", quarters(9, 0, 38), quarters(1, 33, 36), quarters(2, 27, 60)).read_bytes()
    two = save(folder / "two.mid", quarters(1, 33, 36), kind=2)
    smpte, text, cut = bytearray(good), b"This is no MIDI file, whatever its name says.", good[: len(good) // 2]
    smpte[12:14] = (0xE7, 0x28)
    for name, data in (("smpte", bytes(smpte)), ("text", text), ("cut", cut), ("empty", b"")):
        (folder / f"{name}.mid").write_bytes(data)
    zero = save(folder / "zero.mid", quarters(9, 0, 38), quarters(1, 33, 36), tempi=((0, 0),))
    free = [quarters(9, 0, 38), *(quarters(c, 33, 36, late=0.0) for c in (1,))]
    rng = np.random.default_rng(0)
    notes = [(float(t), 0.1, 38, 90) for t in np.sort(rng.uniform(0, 60, 300))]
    save(folder / "free.mid", track(9, 0, notes), track(1, 33, [(b, 0.3, 40, 80) for b, *_ in notes]))
    save(folder / "alone.mid", quarters(1, 33, 36))
    save(folder / "short.mid", *free[:1], quarters(1, 33, 36, 1))
    save(folder / "short.mid", quarters(9, 0, 38, 1), quarters(1, 33, 36, 1))
    (folder / "good.mid").unlink()
    return {
        two.name: "type 2",
        "smpte.mid": "SMPTE",
        "text.mid": "not a MIDI file",
        "cut.mid": "cut|damaged",
        "empty.mid": "not a MIDI file",
        zero.name: "tempo of zero",
        "free.mid": "do not lie on its beats",
        "alone.mid": "a song needs two stems",
        "short.mid": "too few",
    }


def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, monkeypatch):
    expected = bad_files(tmp_path)
    for name, why in expected.items():
        with pytest.raises(StageError, match=why) as error:
            midi_songs.read(tmp_path / name)
        assert "\n" not in str(error.value) and name in str(error.value)
    good = save(tmp_path / "many.mid", quarters(9, 0, 38), quarters(1, 33, 36))
    monkeypatch.setattr(midi_songs, "MOST_NOTES", 100)
    with pytest.raises(StageError, match="has 128 notes"):
        midi_songs.read(good)
    monkeypatch.setattr(midi_songs, "MOST_BYTES", 100)
    with pytest.raises(StageError, match="MB: it is no song"):
        midi_songs.read(good)


def test_one_file_in_ten_is_held_out():
    songs = [midi_songs.MidiSong(None, digest, {}, None, None, [], "", 0.0) for digest in range(100)]
    assert sum(song.held_out for song in songs) == 10


def test_folders_without_midi_files(tmp_path):
    for folder, why in ((tmp_path / "gone", "not a folder"), (tmp_path, "no MIDI files")):
        with pytest.raises(StageError, match=why):
            midi_songs.find(folder)


@pytest.fixture(scope="module")
def installed():
    try:
        synth.check()
    except StageError as error:
        pytest.skip(f"fluidsynth: {error}")


def test_the_command_names_what_it_cannot_use_and_makes_the_rest(installed, tmp_path, capsys):
    folder = tmp_path / "files"
    (folder / "House").mkdir(parents=True)
    expected = bad_files(folder)
    kept = []
    for pitch in (60, 63):  # one in ten files is held out, by its content
        path = save(folder / "House" / f"{pitch}.MID", quarters(9, 0, 38), quarters(1, 33, 36), quarters(2, 27, pitch))
        kept.append(midi_songs.read(path))
    (folder / "House" / "twin.mid").write_bytes((folder / "House" / "60.MID").read_bytes())
    assert cli.run(["corpus", str(tmp_path / "out"), "--midi", str(folder), "--seconds", "16", "--workers", "1"]) == 0
    said = capsys.readouterr()
    for name in expected:
        assert sum(name in line for line in said.err.splitlines()) == 1
    train = [song for song in kept if not song.held_out]
    found = read.songs(tmp_path / "out", "train")
    assert {song.id.split("-")[1] for song in found} == {f"{song.digest:08x}" for song in train}
    for song in found:
        assert set(song.stems) == {"drums", "bass", "guitar"} and song.meta["genre"] == "house"
        assert len(song.beats) == len(song.numbers) and song.meta["notes"]["bass"][0][2] == 36
        assert np.abs(song.mix()).max() > 0.1 and set(song.meta["stem_captions"]) == set(song.stems)
        bass = song.stem("bass")
        assert np.abs(bass[: max(int(song.meta["notes"]["bass"][0][0] * song.rate) - 200, 0)]).max(initial=0) < 1e-3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    assert cli.run(["corpus", str(tmp_path / "out"), "--midi", str(folder), "--seconds", "16", "--workers", "1"]) == 0
    assert "0 new songs" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}


def test_where_no_file_can_be_used_the_command_fails(installed, tmp_path, capsys):
    bad_files(tmp_path)
    assert cli.run(["corpus", str(tmp_path / "out"), "--midi", str(tmp_path), "--workers", "1"]) == 2
    assert "none of the 9 MIDI files" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("song.json"))
    assert cli.run(["corpus", "out", "--midi", str(tmp_path), "--grooves", "x.zip"]) == 2


def test_songs_from_files_are_songs_of_the_corpus(installed, tmp_path, monkeypatch):
    from stage.data import open_songs

    save(tmp_path / "a.mid", quarters(9, 0, 38), quarters(1, 33, 36), quarters(2, 27, 60), quarters(3, 73, 72))
    monkeypatch.setattr(midi_songs.MidiSong, "held_out", False)
    made = build_midi.build_midi(tmp_path / "out", [tmp_path / "a.mid"], "train", seconds=16.0)
    assert made[0] == 2 and not made[2]
    song = read.CorpusSong(next((tmp_path / "out").rglob("song.json")).parent)
    needed = {"captions", "stem_captions", "density", "genre", "moods", "chords", "sections", "notes", "credits"}
    assert needed <= set(json.loads((song.folder / "song.json").read_text()))
    assert open_songs(tmp_path / "out")


def test_freedoom(tmp_path):
    assert wads.music(tmp_path) == 66
    songs, wrong = [], []
    for path in midi_songs.find(tmp_path):
        try:
            songs.append(midi_songs.read(path))
        except StageError as error:
            wrong.append(str(error))
    # twelve were converted from another format with a made-up tempo, or change metre within a bar
    assert len(songs) >= 52 and all("do not lie on its beats" in why for why in wrong)
    cut = [piece for song in songs for piece in midi_songs.pieces(song, 32.0)]
    assert len(cut) > 250
    for stem, least in (("drums", 250), ("bass", 140), ("guitar", 170), ("pads", 60), ("keys", 50)):
        assert sum(stem in piece.notes for piece in cut) > least, stem
