"""What other programs are given is read back by readers of its own, and right to the sample."""

import dataclasses
import struct
import zipfile
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from helpers.projects import blocks, check_schema, read_dawproject, read_reaper
from helpers.sessions import RATE
from stage import BeatGrid, StageError, audio
from stage.audio import wave
from stage.chords.reading import read
from stage.cli.app import run
from stage.midi import Part
from stage.midi_writing import TempoMap, save
from stage.midi_writing import build as build_midi
from stage.notes import Note
from stage.session.handoff import files
from stage.session.handoff.arrangement import Arrangement, Clock, Strip, key_of
from stage.session.handoff.export import export

SAMPLES = 6 * 48000 + 11


def uneven() -> BeatGrid:
    """Beats that are not regular, from within a bar on, with a bar of three."""
    gaps = 0.5 + 0.03 * np.sin(np.arange(12))
    numbers = [3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3]
    return BeatGrid(0.317 + np.concatenate([[0], np.cumsum(gaps[:-1])]), np.array(numbers))


@pytest.fixture
def band() -> Arrangement:
    """A song and three tracks, the drums among them, with notes at odd moments."""
    draws = np.random.default_rng(0)

    def sound(channels: int = 2) -> np.ndarray:
        return (draws.integers(-(1 << 22), 1 << 22, (channels, SAMPLES)) / (1 << 23)).astype(np.float32)

    starts = np.sort(draws.uniform(0, 5.8, 30))
    hits = tuple(Note(float(t), float(t), int(k), int(v)) for t, k, v in zip(starts, [36, 38, 42] * 10, range(20, 50)))
    pitches = [33, 36, 40, 45, 43] * 6
    ends = starts + 0.7 * np.diff(starts, append=6.0)
    line = tuple(Note(float(a), float(b), p, 90) for a, b, p in zip(starts, ends, pitches))
    strips = (
        Strip("song", sound(1), song=True),
        Strip("drums", sound(), hits, "drums", 8),
        Strip("bass", sound(), line, "bass", 33, gain=-4.5, pan=0.25),
        Strip('lead "2"', sound(), line[:3], "keys", 4, mute=True),
    )
    markers = (0.0, "intro"), (float(uneven().times[6]), "verse")
    return Arrangement("my song", 48000, SAMPLES, strips, uneven(), markers=markers, start=96001)


@pytest.mark.parametrize("kind", ["dawproject", "rpp"])
def test_a_project_is_read_back_right_to_the_sample(band, kind, tmp_path):
    export(band, tmp_path / "out", ["stems", kind])
    path = tmp_path / "out" / f"my song.{kind}"
    if kind == "dawproject":
        check_schema(path)
    found = read_dawproject(path) if kind == "dawproject" else read_reaper(path)
    sample = 1 / band.rate
    assert set(found.tracks) == {"song", "drums", "drums notes", "bass", "bass notes", 'lead "2"', 'lead "2" notes'}
    for strip in band.strips:
        level, pan, mute, (clip,) = found.tracks[strip.name]
        assert level == pytest.approx(10 ** (strip.gain / 20)) and (pan, mute) == (pytest.approx(strip.pan), strip.mute)
        assert clip.start == 0 and clip.length * band.rate == pytest.approx(band.samples, abs=1e-6)
        if kind == "dawproject":
            with zipfile.ZipFile(path) as file, file.open(clip.file) as held:
                there, rate = soundfile.read(held, dtype="float32", always_2d=True)
        else:
            there, rate = soundfile.read(path.parent / clip.file, dtype="float32", always_2d=True)
        assert rate == band.rate and np.array_equal(there.T, strip.audio)
        if strip.notes is None:
            continue
        (notes,) = found.tracks[f"{strip.name} notes"][3]
        assert notes.start == 0 and len(notes.notes) == len(strip.notes)
        for (start, end, key, velocity), note in zip(sorted(notes.notes), strip.notes):
            assert abs(start - note.start) < sample and (key, velocity) == (note.pitch, note.velocity)
            assert strip.stem == "drums" or abs(end - note.end) < sample
    times = band.grid.times
    changes = np.array([second for second, _ in found.tempi])
    assert all(np.abs(changes - time).min() < sample / 100 for time in times[:-1])
    for (second, bpm), time, after in zip(found.tempi[1:], times[:-1], times[1:]):
        assert second == pytest.approx(time, abs=1e-9) and bpm == pytest.approx(60 / (after - time), rel=1e-9)
    first, second, third, *_ = found.metres  # the beats before the first downbeat, bars of four, a bar of three
    assert (first[0], third[0]) == (0, pytest.approx(times[6], abs=1e-9)) and second[1:] == (4, 4) and third[1] == 3
    assert second[0] == pytest.approx(times[2], abs=1e-9)
    assert [name for _, name in found.markers] == ["intro", "verse"]
    assert found.markers[1][0] == pytest.approx(times[6], abs=1e-9)


def test_a_session_is_exported_as_it_stands(session, tmp_path):
    session.change("bass", gain=-3, pan=-0.5)
    session.add("keys")
    paths = session.export(tmp_path / "out", *("stems", "mix", "midi", "dawproject", "rpp", "pieces", "click"))
    names = {path.name for path in paths}
    assert {"drums.wav", "bass.wav", "keys.wav", "mix.wav", "click.wav", "arrangement.mid", "trio.rpp"} <= names
    check_schema(tmp_path / "out" / "trio.dawproject")
    for read_back in (
        read_dawproject(tmp_path / "out" / "trio.dawproject"),
        read_reaper(tmp_path / "out" / "trio.rpp"),
    ):
        assert [name for name in read_back.tracks if "notes" not in name] == ["drums", "bass", "keys"]
        for name in ("drums", "bass", "keys"):
            (clip,) = read_back.tracks[f"{name} notes"][3]
            starts = np.array(sorted(note[0] for note in clip.notes))
            true = np.array(sorted(note.start for note in session.notes(name)))
            assert np.abs(starts - true).max() < 1 / RATE
        assert read_back.markers == [(0.0, "intro"), (pytest.approx(2.0), "verse")]
    for name in ("drums", "bass"):
        there, _ = soundfile.read(tmp_path / "out" / f"{name}.wav", dtype="float32")
        assert np.array_equal(there.T, session.sound(name))
    mix, _ = soundfile.read(tmp_path / "out" / "mix.wav", dtype="float32")
    assert np.abs(mix.T - session.mix()).max() < 2**-22
    pieces = [
        soundfile.read(path, dtype="float32")[0].T
        for path in paths
        if path.name.startswith("drums.") and path.suffix == ".wav"
    ]
    alone = [piece for piece in pieces if not np.array_equal(piece, session.sound("drums"))]
    assert len(alone) == len(pieces) - 1 > 1
    assert np.abs(sum(alone) - session.sound("drums")).max() < 1e-5


def test_midi_has_tempi_bars_markers_and_channels(band, tmp_path):
    export(band, tmp_path / "out", ["midi"])
    whole = mido.MidiFile(tmp_path / "out" / "arrangement.mid")
    assert whole.type == 1 and [track.name for track in whole.tracks[1:]] == ["drums", "bass", 'lead "2"']
    assert {m.channel for m in whole.tracks[1] if not m.is_meta} == {9}
    assert {m.channel for track in whole.tracks[2:] for m in track if not m.is_meta} == {0, 1}
    assert [m.text for m in whole.tracks[0] if m.type == "marker"] == ["intro", "verse"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "arrangement.mid",
        "bass.mid",
        "drums.mid",
        "lead -2-.mid",
    ]


def test_quarters_of_seconds_and_back():
    grid = uneven()
    clock = Clock.of(grid, 6.0)
    assert clock.quarter(0.0) == 0 and clock.quarter(grid.times[2]) == pytest.approx(3)  # one beat fills the lead
    middle = (grid.times[4] + grid.times[5]) / 2
    assert clock.quarter(middle) == pytest.approx(5.5)
    assert clock.quarter(grid.times[-1] + 2 * (grid.times[-1] - grid.times[-2])) == pytest.approx(14)
    eighths = Clock.of(BeatGrid.regular(60, 2, 6.0, division=3), 6.0)
    assert eighths.metres == ((0.0, 6, 8),) and eighths.quarter(1.0) == 1.5 and eighths.tempi == [(0.0, 0.0, 90.0)]
    assert Clock.of(None, 3.0).tempi == [(0.0, 0.0, 120.0)]
    map = TempoMap(grid.times, grid.numbers)
    assert np.array_equal(map.seconds[1:], grid.times) and map.seconds[0] == 0


# ---------------------------------------------------------------- WAV files


def chunks(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE" and struct.unpack("<I", data[4:8])[0] == len(data) - 8
    found, at = {}, 12
    while at < len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        found[data[at : at + 4].decode().strip()] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("channels, samples", [(1, 1001), (2, 1000), (3, 7)])
def test_a_wave_file_holds_what_was_written(tmp_path, floats, channels, samples):
    draws = np.random.default_rng(1).uniform(-1, 1, (channels, samples))
    sound = (np.rint(draws * (1 << 23)) / (1 << 23)).astype(np.float32)
    sound[0, :2] = [-1.0, 0.9999]
    tempo = wave.Tempo(93.5, 8, (6, 8), 9)
    wave.write(tmp_path / "a.wav", sound, 44100, floats=floats, first=2**33 + 5, description="song: drums", tempo=tempo)
    there, rate = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    assert rate == 44100 and np.abs(there.T - sound).max() <= (0 if floats else 2**-23)
    assert floats or np.array_equal(there.T[1:], sound[1:])
    found = chunks(tmp_path / "a.wav")
    assert list(found)[-1] == "data" and len(found["bext"]) == 602
    assert found["bext"][:11] == b"song: drums" and struct.unpack("<Q", found["bext"][338:346])[0] == 2**33 + 5
    kind, root, _, _, quarters, lower, upper, bpm = struct.unpack("<IHHfIHHf", found["acid"])
    assert (kind, root, quarters, lower, upper, bpm) == (2, 69, 8, 8, 6, 93.5)


def test_stems_have_their_place_and_a_steady_tempo(band, tmp_path):
    steady = dataclasses.replace(band, grid=BeatGrid.regular(90, 4, 6.0), chart=None)
    for arrangement, name in ((band, "a"), (steady, "b")):
        export(arrangement, tmp_path / name, ["stems"])
    found, other = chunks(tmp_path / "a" / "bass.wav"), chunks(tmp_path / "b" / "bass.wav")
    assert struct.unpack("<Q", found["bext"][338:346])[0] == 96001 and "acid" not in found  # its tempo is not steady
    assert struct.unpack("<IHHfIHHf", other["acid"])[4:] == (9, 4, 4, 90.0)


@pytest.mark.parametrize(
    "text, key", [("Am F C G", 9), ("C G Am F", 9), ("C F G C", 0), ("Dm Gm A7 Dm", 2), ("N.C.", None), ("E A B E", 4)]
)
def test_the_key_by_its_chords(text, key):
    chart = read(text, BeatGrid.regular(120, 4, 8.0), 8.0)
    if text == "C G Am F":  # as long as Am: the major one
        key = 0
    if text == "Am F C G":
        key = 0
    assert key_of(chart) == key


# ---------------------------------------------------------------- what is chosen, and single results


def test_formats_and_kinds(band, tmp_path):
    export(band, tmp_path / "flac", ["stems", "rpp", "mix"], "flac")
    there, _ = soundfile.read(tmp_path / "flac" / "bass.flac", dtype="float32")
    assert np.array_equal(there.T, band.strips[2].audio)
    assert any(
        block.words == ["FLAC"]
        for track in blocks((tmp_path / "flac" / "my song.rpp").read_text()).all("TRACK")
        for item in track.all("ITEM")
        for block in item.all("SOURCE")
    )
    export(band, tmp_path / "one", ["dawproject"])
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["my song.dawproject"]
    for match, arguments in (
        ('"aiff" cannot be exported', (band, tmp_path / "x", ["aiff"])),
        ('not written as "mp3"', (band, tmp_path / "x", ["stems"], "mp3")),
        ("exists: add --force", (band, tmp_path / "one", ["stems"])),
        ("nothing to export", (dataclasses.replace(band, strips=()), tmp_path / "x")),
        ("no beats are known", (dataclasses.replace(band, grid=None), tmp_path / "x", ["click"])),
    ):
        with pytest.raises(StageError, match=match):
            export(*arguments)
    assert not (tmp_path / "x").exists() and not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    export(band, tmp_path / "one", ["stems"], force=True)
    assert not (tmp_path / "one" / "my song.dawproject").exists()


def test_results_in_files_are_an_arrangement(tmp_path):
    grid, rate = BeatGrid.regular(100, 3, 4.0), 22050
    notes = [Note(0.6, 0.6, 36, 90), Note(3.0, 3.0, 38, 80)]
    sound = np.full((2, 4 * rate), 0.25, np.float32)
    for name, channel in (("song.drums.0", 9), ("song.bass.3", 0)):
        audio.write(tmp_path / f"{name}.wav", sound, rate)
        part = Part("x", channel, 33 * (channel == 0), notes=notes)
        save(tmp_path / f"{name}.mid", build_midi([part], grid.times, grid.numbers))
    audio.write(tmp_path / "song.wav", np.full((1, 5 * rate), 0.5, np.float32), rate)
    stems = [tmp_path / "song.drums.0.wav", tmp_path / "song.bass.3.wav"]
    found = files.arrangement(stems, tmp_path / "song.wav", start=1.0)
    assert [strip.name for strip in found.strips] == ["song", "drums", "bass"] and found.start == rate
    assert found.strips[1].stem == "drums" and found.strips[2].program == 33
    assert found.grid.bpm == pytest.approx(100, abs=0.01) and found.grid.beats_per_bar == 3
    assert [note.start for note in found.strips[2].notes] == pytest.approx([0.6, 3.0], abs=1e-3)
    assert [strip.name for strip in files.arrangement([stems[0], stems[0]]).strips] == ["drums", "drums-2"]
    with pytest.raises(StageError, match="name the stretch that they were made for with --start"):
        files.arrangement(stems, tmp_path / "song.wav", start=2.0)
    audio.write(tmp_path / "short.wav", sound[:, :rate], rate)
    with pytest.raises(StageError, match="stems of one export are of one stretch"):
        files.arrangement([stems[0], tmp_path / "short.wav"])


def test_the_form_of_results_in_files_is_given_or_that_of_their_notes(tmp_path):
    grid, rate, sound = BeatGrid.regular(120, 4, 8.0), 8000, np.full((1, 8 * 8000), 0.25, np.float32)
    part = Part("x", 9, 0, notes=[Note(0.5, 0.6, 36, 90)])  # the last bars have no notes
    stem = tmp_path / "song.drums.0.wav"
    audio.write(stem, sound, rate)
    plain = build_midi([part], grid.times, grid.numbers)
    save(stem.with_suffix(".mid"), plain)
    assert files.arrangement([stem]).markers == ()
    assert files.arrangement([stem], form="intro 1, verse 3").markers == ((0.0, "intro"), (2.0, "verse"))
    with pytest.raises(StageError, match="the form has 5 bars, the music 4"):
        files.arrangement([stem], form="intro 4, verse 1")
    with pytest.raises(StageError, match="without a song no form"):
        files.arrangement([stem], form="song")
    save(stem.with_suffix(".mid"), build_midi([part], grid.times, grid.numbers, markers=[(4.0, "coda")]), force=True)
    assert files.arrangement([stem]).markers == ((pytest.approx(4.0, abs=1e-3), "coda"),)
    assert files.arrangement([stem], form="all 4").markers == ((0.0, "all"),)
    assert run(["export", str(stem), "--form", "a 2, b 2", "--as", "rpp", "-o", str(tmp_path / "out")]) == 0
    assert [name for _, name in read_reaper(tmp_path / "out" / "song.rpp").markers] == ["a", "b"]
    audio.write(tmp_path / "song.wav", sound, rate)
    found = files.arrangement([stem], tmp_path / "song.wav", form="song")
    assert found.markers == ((0.0, "A"),)


def test_a_count_in_is_whole_bars_before_everything(band):
    """The song begins 0.317 s before the third beat of a bar: two beats of that bar stand between."""
    made, gap = band.counted_in(2), np.median(np.diff(band.grid.times[:5]))
    more = made.samples - band.samples
    assert more == round((10 * gap - 0.317) * 48000) and made.start == max(0, 96001 - more)
    shift = more / 48000
    assert made.grid.numbers[:12].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]
    assert made.grid.times[10:] == pytest.approx(band.grid.times + shift) and abs(made.grid.times[0]) < 1e-4
    assert made.strips[0].name == "count-in"
    assert made.markers == ((0.0, "count-in"), (shift, "intro"), (pytest.approx(band.markers[1][0] + shift), "verse"))
    clicks = made.strips[0].audio[0]
    for beat in made.grid.times[:10]:
        assert np.abs(clicks[(at := round(beat * 48000)) : at + 200]).max() > 0.1
    assert not clicks[round(made.grid.times[10] * 48000) :].any()
    for old, new in zip(band.strips, made.strips[1:]):
        assert not new.audio[:, :more].any() and np.array_equal(new.audio[:, more:], old.audio)
        for a, b in zip(old.notes or (), new.notes or ()):
            assert (b.start - a.start, b.end - a.end) == pytest.approx((shift, shift))
    assert np.abs(made.mix()[:, :more]).max() > 0.1
    assert band.counted_in(0) is band
    for bars in (-1, 17):
        with pytest.raises(StageError, match="count-in"):
            band.counted_in(bars)
    with pytest.raises(StageError, match="no beats are known"):
        dataclasses.replace(band, grid=None).counted_in(1)


def test_a_count_in_of_an_export_is_in_every_file(session, tmp_path):
    paths = session.export(tmp_path / "out", "stems", "mix", "midi", "pieces", "click", "rpp", count_in=1)
    bar = 2 * RATE
    sounds = {
        path.name: soundfile.read(path, dtype="float32", always_2d=True)[0].T for path in paths if path.suffix == ".wav"
    }
    assert {sound.shape[1] for sound in sounds.values()} == {4 * bar} and "count-in.wav" in sounds
    assert np.array_equal(sounds["drums.wav"][:, bar:], session.sound("drums"))
    assert not sounds["bass.wav"][:, :bar].any() and not sounds["drums.snare.wav"][:, :bar].any()
    assert np.abs(sounds["mix.wav"][:, :bar]).max() > 0.05 and np.abs(sounds["click.wav"][:, :bar]).max() > 0.2
    starts = [note[0] for note in read_reaper(tmp_path / "out" / "trio.rpp").tracks["bass notes"][3][0].notes]
    assert min(starts) == pytest.approx(min(note.start for note in session.notes("bass")) + 2.0, abs=1 / RATE)
    with pytest.raises(StageError, match="there is a track count-in already"):
        session.change("bass", name="count-in")


@pytest.mark.parametrize(
    "first, number, count, shift", [(0.0, 1, 4, 2.0), (0.5, 2, 5, 2.0), (0.5, 1, 8, 3.5), (2.5, 1, 12, 3.5)]
)
def test_a_count_in_ends_where_the_beats_begin(first, number, count, shift):
    grid = BeatGrid(first + np.arange(8) / 2, (np.arange(8) + number - 1) % 4 + 1)
    whole, samples, counted = grid.counted_in(1, 1000)
    assert (len(counted), samples) == (count, round(1000 * shift)) and counted.numbers[0] == 1
    assert np.diff(whole.times) == pytest.approx(np.full(count + 7, 0.5)) and whole.times[0] == pytest.approx(0)
    assert (np.diff(whole.numbers) % 4 == 1).all()
