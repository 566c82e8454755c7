"""MIDI files on instruments: the choice of instruments, and what cannot be played."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import midi_files, soundfonts
from stage.cli import app as cli
from stage.errors import StageError
from stage.instruments import scores, stems

RATE = 16000


@pytest.fixture
def song(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return midi_files.band(tmp_path / "song.mid")


@pytest.fixture
def kit(tmp_path):
    """An SFZ whose every key is a high tone."""
    (tmp_path / "kit").mkdir()
    tone = 0.5 * np.sin(2 * np.pi * 6000 * np.arange(800) / RATE)
    soundfile.write(tmp_path / "kit/a.wav", tone, RATE)
    (tmp_path / "kit/kit.sfz").write_text("<region> sample=a.wav pitch_keytrack=0 lokey=36 cutoff2=9", encoding="utf-8")
    return str(tmp_path / "kit/kit.sfz")


def render(song, *args, **options) -> np.ndarray:
    return scores.render(song, *args, rate=RATE, **options).audio


def test_parts_of_a_stem_and_all_of_them(song):
    stems = {stem: render(song, stem=stem, room=0) for stem in ("drums", "bass", "keys")}
    length = max(stem.shape[1] for stem in stems.values())
    alone = sum(np.pad(stem, ((0, 0), (0, length - stem.shape[1]))) for stem in stems.values())
    whole = render(song, room=0)
    assert whole.shape[1] == length >= round(3.95 * RATE)
    # the same parts, with other seeds
    assert np.corrcoef(whole.ravel(), alone.ravel())[0, 1] > 0.98
    np.testing.assert_array_equal(whole, render(song, room=0))
    other, least = render(song, room=0, seed=1), round(3.95 * RATE)
    assert np.abs(whole[:, :least] - other[:, :least]).max() > 1e-3


def test_users_kits_and_what_they_lack(song, kit):
    made = scores.render(song, kit=kit, stem="drums", rate=RATE, room=0)
    power = np.abs(np.fft.rfft(made.audio[0]))
    assert np.argmax(power) * RATE / made.audio.shape[1] == pytest.approx(6000, abs=30)
    assert [note.split(": ")[1] for note in made.notes] == ["cutoff2"]
    low = midi_files.save(
        song.parent / "low.mid", midi_files.track(9, 0, [(0.0, 0.1, 20, 90), (1.0, 0.1, 40, 90)], "x")
    )
    assert "has no sound for the keys 20 of x" in scores.render(low, kit=kit, rate=RATE).notes[1]


def test_a_single_part_is_taken_for_the_stem(tmp_path):
    path = midi_files.save(tmp_path / "a.mid", midi_files.track(0, None, [(0.0, 2.0, 33, 100)]))
    piano, bass = (render(path, stem=stem, room=0) for stem in (None, "bass"))
    np.testing.assert_array_equal(bass, render(path, "bass/finger", room=0))
    assert piano.shape != bass.shape or np.abs(piano - bass).max() > 0.01
    np.testing.assert_array_equal(render(path, kit="jazz", room=0), render(path, kit="kits/jazz", stem="drums", room=0))


def test_a_soundfont_is_played_by_the_files_program(tmp_path, song):
    path = str(soundfonts.write(tmp_path / "a.sf2", {54: 1}))
    assert np.abs(render(song, path, stem="keys")).max() > 0.1
    with pytest.raises(StageError, match="no preset 0:33"):
        render(song, path, stem="bass")


def test_tuning(tmp_path):
    path = midi_files.save(tmp_path / "a.mid", midi_files.track(0, 16, [(0.0, 4.0, 69, 100)]))
    peaks = []
    for tuning in (440, 452):
        audio = render(path, room=0, tuning=tuning)[0, : 2 * RATE]
        power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 18))
        band = slice(round(400 / RATE * (1 << 18)), round(480 / RATE * (1 << 18)))
        peaks.append((np.argmax(power[band]) + band.start) * RATE / (1 << 18))
    assert peaks[1] / peaks[0] == pytest.approx(452 / 440, rel=1e-3)


def test_the_room_is_subtle_and_can_be_off(song):
    dry, wet = (render(song, stem="drums", room=room) for room in (0, 0.15))
    length = min(dry.shape[1], wet.shape[1])
    added = (wet - np.pad(dry, ((0, 0), (0, max(0, wet.shape[1] - dry.shape[1]))))[:, : wet.shape[1]])[:, :length]
    assert -22 < 20 * np.log10(added.std() / dry.std()) < -10
    assert np.corrcoef(added)[0, 1] < 0.6  # left and right differ


@pytest.mark.parametrize(
    "options, message",
    [
        (["--stem", "guitar"], "has no part for guitar: by its programs it has bass, drums, keys"),
        (["--stem", "flute"], 'no stem "flute"'),
        (["--stem", "drums", "--instrument", "finger"], "choose their sound by --kit"),
        (["--stem", "bass", "--kit", "jazz"], "choose a sound by --instrument"),
        (["--instrument", "theremin"], 'no instrument "theremin"'),
        (["--kit", "none.sfz"], "cannot read none.sfz"),
        (["--room", "2"], "the room is 2"),
        (["--room", "nan"], "the room is nan"),
        (["--tuning", "4"], "the tuning is 4 Hz"),
        (["--rate", "7"], "sampling rate of 7 Hz"),
        (["--seed", "-1"], "the seed is -1"),
        (["-o", "a.mp3"], "must end in"),
    ],
)
def test_what_cannot_be_played_is_one_line_and_nothing_is_written(song, options, message, capfd):
    assert cli.run(["sound", "song.mid", *options]) == 2
    printed = capfd.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert [path.name for path in song.parent.iterdir()] == ["song.mid"]


def broken(folder: Path) -> dict[str, Path]:
    """Files of users that cannot be played, by what is wrong."""
    tone = 0.5 * np.sin(np.arange(8000) / 5)
    for name in ("a", "quad", "../outside"):
        soundfile.write(folder / f"{name}.wav", np.tile(tone, (4, 1)).T if name == "quad" else tone, RATE)
    (folder / "text.wav").write_text("no sound at all", encoding="utf-8")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "folder.wav").mkdir()
    (folder / "link.wav").symlink_to(folder / "../outside.wav")
    texts = {
        "unknown": "This is a letter to a friend.",
        "nothing": "",
        "value": "<region> sample=a.wav volume=loud",
        "key": "<region> sample=a.wav key=h9",
        "missing": "<region> sample=none.wav",
        "no region": "<group> volume=-3",
        "above": "<region> sample=../outside.wav",
        "absolute": "<region> sample=/etc/hostname",
        "link": "<region> sample=link.wav",
        "include": '#include "../other.sfz"',
        **{n: f"<region> sample=a.wav key=36\n<region> sample={n}.wav key=99" for n in ("text", "empty", "quad")},
        "folder": "<region> sample=folder.wav",
    }
    for name, text in texts.items():
        (folder / f"{name}.sfz").write_text(text, encoding="utf-8")
    (folder / "binary.sfz").write_bytes(bytes(range(256)))
    whole = soundfonts.write(folder / "whole.sf2", {54: 1}, bank=128).read_bytes()
    for name, data in (("cut", whole[: len(whole) // 2]), ("end", whole[:-30]), ("junk", b"\0" * 99)):
        (folder / f"{name}.sf2").write_bytes(data)
    (folder / "packed.sf3").write_bytes(whole)
    return {path.stem: path for path in folder.iterdir() if path.suffix in (".sfz", ".sf2", ".sf3")}


@pytest.mark.parametrize(
    "name, message",
    [
        ("unknown", "unknown.sfz is not an SFZ instrument"),
        ("nothing", "nothing.sfz holds no instrument"),
        ("binary", "binary.sfz is not an SFZ instrument: it is no text"),
        ("value", "volume=loud: a number is needed"),
        ("key", "key=h9 names no key"),
        ("missing", "the sample none.wav does not exist"),
        ("no region", "no region with a sample"),
        ("above", "../outside.wav lies outside of the instrument's folder"),
        ("absolute", "/etc/hostname lies outside of the instrument's folder"),
        ("link", "link.wav lies outside of the instrument's folder"),
        ("include", "is not in the instrument's folder"),
        ("text", "text.wav cannot be read: "),  # though no note plays it
        ("empty", "empty.wav cannot be read: "),
        ("quad", "quad.wav has 4 channels"),
        ("folder", "the sample folder.wav does not exist"),
        ("cut", "cut.sf2 is not a SoundFont (SF2), or it is damaged"),
        ("end", "end.sf2 is not a SoundFont (SF2), or it is damaged"),
        ("junk", "junk.sf2 is not a SoundFont (SF2), or it is damaged"),
        ("packed", "packed.sf3 is a compressed SoundFont"),
    ],
)
def test_a_users_file_that_is_wrong_is_one_line_and_nothing_is_written(song, tmp_path, name, message, capfd):
    (tmp_path / "kits").mkdir()
    path = broken(tmp_path / "kits")[name]
    assert cli.run(["sound", "song.mid", "--stem", "drums", "--kit", str(path)]) == 2
    printed = capfd.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kits", "outside.wav", "song.mid"]
    with pytest.raises(StageError) as caught:
        stems.sampler("drums", path, RATE)
    assert message in str(caught.value)


def test_the_command_writes_24_bits_and_never_over_a_file(song, kit, capfd):
    assert cli.run(["sound", "song.mid", "--kit", kit, "--rate", "22050"]) == 0
    printed = capfd.readouterr()
    assert printed.out == "song.wav\n" and "is played without it: cutoff2" in printed.err
    info = soundfile.info("song.wav")
    assert (info.subtype, info.samplerate, info.channels) == ("PCM_24", 22050, 2)
    assert cli.run(["sound", "song.mid"]) == 2 and "song.wav exists" in capfd.readouterr().err
    assert cli.run(["sound"]) == 2 and "name a MIDI file" in capfd.readouterr().err
    assert cli.run(["sound", "--list"]) == 0 and capfd.readouterr().out.splitlines()[0] == "kits/studio"
