"""Reading anything, writing whole files only, form."""

import os
import struct
import subprocess
import sys
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from stage import audio, files
from stage.audio import level
from stage.data.song import probe
from stage.errors import StageError


def tone(seconds=1.0, rate=44100, channels=2, hz=440.0, level=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([level * np.sin(2 * np.pi * hz * (c + 1) * time) for c in range(channels)]).astype(np.float32)


def encode(path: Path, streams: list[np.ndarray], rate: int, codec: str = "aac") -> Path:
    """A container with one lossy track for each [C, N] array."""
    with av.open(str(path), "w") as out:
        tracks = [out.add_stream(codec, rate=rate, layout="mono" if len(s) == 1 else "stereo") for s in streams]
        for track, samples in zip(tracks, streams):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples), "fltp", "mono" if len(samples) == 1 else "stereo"
            )
            frame.rate, frame.pts = rate, 0
            for packet in track.encode(frame):
                out.mux(packet)
            for packet in track.encode(None):
                out.mux(packet)
    return path


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_reads_any_rate_channels_and_depth(tmp_path, rate, channels, subtype):
    source = tone(0.5, rate, channels)
    soundfile.write(tmp_path / "a.wav", source.T, rate, subtype=subtype)
    read, got = audio.read(tmp_path / "a.wav")
    assert got == rate and read.shape == source.shape and read.dtype == np.float32
    assert np.abs(read - source).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


def test_reads_a_stretch_to_the_sample(tmp_path):
    source = tone(3.0, 44100, 2)
    soundfile.write(tmp_path / "a.flac", source.T, 44100)
    part, _ = audio.read(tmp_path / "a.flac", start=1.25, seconds=0.5)
    assert part.shape == (2, 22050)
    assert np.abs(part - source[:, 55125:77175]).max() < 1e-3
    tail, _ = audio.read(tmp_path / "a.flac", start=2.5, seconds=9)
    assert tail.shape == (2, 22050)


@pytest.mark.parametrize("suffix, codec", [("m4a", "aac"), ("mkv", "libopus")])
def test_reads_what_only_ffmpeg_decodes_and_seeks_in_it(tmp_path, suffix, codec):
    rate = 48000
    clicks = np.zeros((1, 6 * rate), np.float32)
    clicks[0, :: rate // 2] = 0.9
    source = clicks + tone(6.0, rate, 1, level=0.05)
    path = encode(tmp_path / f"a.{suffix}", [source], rate, codec)
    whole, got = audio.read(path)
    assert got == rate and whole.shape[1] == 6 * rate
    part, _ = audio.read(path, start=3.25, seconds=0.5)
    assert part.shape[1] == rate // 2
    assert abs(int(np.abs(part[0]).argmax()) - rate // 4) < 120  # the click at 3.5 s, within what the codec shifts
    if suffix == "m4a":  # Matroska's own clock is too coarse (1 ms) for more
        assert np.abs(part - whole[:, round(3.25 * rate) : round(3.75 * rate)]).max() < 1e-4


def test_chooses_among_several_streams(tmp_path):
    path = encode(tmp_path / "song.stem.mp4", [tone(1, hz=440), tone(1, hz=2000)], 44100)
    for stream, hz in ((0, 440), (1, 2000)):
        left = audio.read(path, stream=stream)[0][0]
        spectrum = np.abs(np.fft.rfft(left[4000:36000]))
        assert abs(spectrum.argmax() * 44100 / 32000 - hz) < 5
    with pytest.raises(StageError, match="no audio stream 2: it has 2"):
        audio.read(path, stream=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_to_its_end(tmp_path):
    source = tone(0.5)
    soundfile.write(tmp_path / "a.wav", source.T, 44100, "FLOAT")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "a.wav").read_bytes()))
    writer.start()
    read, rate = audio.read(tmp_path / "pipe", start=0.25)
    writer.join()
    assert rate == 44100 and np.array_equal(read, source[:, 11025:])


def test_an_hour_is_not_loaded_for_ten_seconds(tmp_path):
    rate, seconds = 8000, 3600
    with wave.open(str(tmp_path / "hour.wav"), "wb") as file:
        file.setnchannels(2), file.setsampwidth(2), file.setframerate(rate)
        block = (np.arange(rate * 2) % 100).astype("<i2").tobytes()
        for _ in range(seconds):
            file.writeframes(block)
    code = (
        "import sys; from stage import audio; from stage.benchmark.peak import peak_bytes; before = peak_bytes();"
        "a, r = audio.read(sys.argv[1], start=3000, seconds=10); assert a.shape == (2, 80000);"
        "print(peak_bytes() - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "hour.wav"], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 60e6  # the whole would be 230 MB as float32


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """name -> (path, what the message must say), for each kind of file that cannot be read."""
    wav = folder / "good.wav"
    soundfile.write(wav, tone(2).T, 44100)
    flac = folder / "good.flac"
    soundfile.write(flac, np.random.default_rng(0).normal(0, 0.1, (88200, 2)), 44100)
    m4a = encode(folder / "good.m4a", [tone(4)], 44100)

    def cut(path: Path, share: float) -> Path:
        data = path.read_bytes()
        target = folder / f"cut-{path.name}"
        target.write_bytes(data[: int(len(data) * share)])
        return target

    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is a letter, not a song\n" * 50)
    (folder / "noise.mp3").write_bytes(np.random.default_rng(1).bytes(20000))
    soundfile.write(folder / "nothing.wav", np.zeros((0, 2)), 44100)
    bad = tone(1)
    bad[1, 22050] = np.nan
    soundfile.write(folder / "nan.wav", bad.T, 44100, subtype="FLOAT")
    slow = bytearray(wav.read_bytes())
    slow[24:28] = struct.pack("<I", 2)
    (folder / "slow.wav").write_bytes(slow)
    return {
        "missing": (folder / "missing.wav", "does not exist"),
        "a URL": (Path("https://host/song.mp3"), "is a URL, not a file: download it first"),
        "folder": (folder, "is a folder"),
        "empty": (folder / "empty.wav", "is empty"),
        "text": (folder / "text.wav", "not audio"),
        "noise": (folder / "noise.mp3", "not audio|no audio"),
        "header only": (folder / "nothing.wav", "holds no audio"),
        "nan": (folder / "nan.wav", "not numbers .* from 0.50 seconds"),
        "cut wav": (cut(wav, 0.5), "truncated"),
        "cut flac": (cut(flac, 0.5), "truncated"),
        "cut m4a": (cut(m4a, 0.5), "damaged|truncated|not audio"),
        "rate": (folder / "slow.wav", "sampling rate of 2 Hz"),
    }


KINDS = ["missing", "a URL", "folder", "empty", "text", "noise", "header only", "nan"]
KINDS += ["cut wav", "cut flac", "cut m4a", "rate"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_gets_one_clear_line(tmp_path, kind, capfd):
    path, message = broken_files(tmp_path)[kind]
    capfd.readouterr()
    with pytest.raises(StageError, match=message) as caught:
        audio.read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the libraries below print nothing


def test_a_missing_file_is_an_error_of_both_kinds(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.wav does not exist"):
        audio.read(tmp_path / "missing.wav")


def test_every_kind_of_broken_file_is_tested(tmp_path):
    assert sorted(broken_files(tmp_path)) == sorted(KINDS)


def test_a_range_outside_the_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(2).T, 44100)
    m4a = encode(tmp_path / "a.m4a", [tone(2)], 44100)
    for path in (tmp_path / "a.wav", m4a):
        with pytest.raises(StageError, match=r"cannot start at 5 seconds: .* ends at 2\.\d+ seconds"):
            audio.read(path, start=5)
    for start, seconds in ((-1, None), (float("nan"), None), (0, 0), (0, -3), (0, float("inf"))):
        with pytest.raises(StageError, match="cannot"):
            audio.read(tmp_path / "a.wav", start=start, seconds=seconds)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_writes_what_it_reads_again(tmp_path, suffix):
    source = tone(0.3, 48000, 2)
    audio.write(tmp_path / "new" / f"a.{suffix}", source, 48000)
    again, rate = audio.read(tmp_path / "new" / f"a.{suffix}")
    assert rate == 48000 and np.abs(again - source).max() < 1e-6
    assert os.listdir(tmp_path / "new") == [f"a.{suffix}"]


def test_never_replaces_without_force(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("mine")
    with pytest.raises(StageError, match="--force"):
        audio.write(path, tone(), 44100)
    assert path.read_text() == "mine"
    audio.write(path, tone(), 44100, force=True)
    assert audio.read(path)[1] == 44100


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_interrupted_write_leaves_nothing(tmp_path, stop):
    (tmp_path / "a.wav").write_text("old")
    with pytest.raises((stop, StageError)):
        with files.whole_file(tmp_path / "a.wav", force=True) as partial:
            partial.write_text("half")
            raise stop
    assert os.listdir(tmp_path) == ["a.wav"] and (tmp_path / "a.wav").read_text() == "old"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file" / "below", "/proc/stage"):
        with pytest.raises(StageError, match="cannot write into"):
            files.check_folder(folder)
        with pytest.raises(StageError, match="cannot write into"):
            audio.write(Path(folder) / "a.wav", tone(), 44100)
    files.check_folder(tmp_path / "new" / "deep")
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(StageError, match="is a folder"):
        files.check_free(tmp_path, force=True)
    with pytest.raises(StageError, match="must end in .wav or .flac"):
        audio.write(tmp_path / "a.mp3", tone(), 44100)


def test_an_unwritable_folder(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StageError, match="cannot write into"):
        files.check_folder(tmp_path)


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int16, np.int32])
def test_audio_of_any_type_is_scaled_to_floats(kind):
    source = tone(0.1)
    given = source.astype(kind)
    if np.dtype(kind).kind in "iu":
        bits, middle = 8 * np.dtype(kind).itemsize, 128 if kind is np.uint8 else 0
        given = np.rint(source.astype(np.float64) * 2 ** (bits - 1) + middle).astype(kind)
    got, rate = audio.check(given, np.float64(44100))
    assert got.dtype == np.float32 and got.shape == source.shape and rate == 44100 and type(rate) is int
    assert np.abs(got - source).max() < (0.01 if given.itemsize == 1 else 1e-3)
    assert audio.check(given[0], 44100)[0].shape == (1, source.shape[1])


@pytest.mark.parametrize(
    "given, rate, message",
    [
        (np.zeros((44100, 2), np.float32), 44100, "channels come first: audio.T"),
        (np.zeros((33, 44100), np.float32), 44100, "33 channels"),
        (np.zeros((0, 44100), np.float32), 44100, "0 channels"),
        (np.zeros((1, 2, 44100), np.float32), 44100, "the shape"),
        (np.float32(1), 44100, "the shape"),
        (np.zeros(100, np.int64), 44100, "int64"),
        (np.zeros(100, bool), 44100, "bool"),
        (np.zeros(100, complex), 44100, "complex"),
        (["a", "b"], 44100, "type <U1"),
        ([[0.0], [0.0, 1.0]], 44100, "numpy array"),
        (np.zeros(100), 100, "sampling rate of 100 Hz"),
        (np.zeros(100), 44100.5, "sampling rate of 44100.5"),
        (np.zeros(100), None, "sampling rate of None"),
        (np.zeros(100), float("nan"), "sampling rate of nan"),
        (np.zeros(100), 1e9, "sampling rate"),
    ],
)
def test_audio_that_cannot_be_used_is_refused_in_one_line(given, rate, message):
    with pytest.raises(StageError, match=message) as caught:
        audio.check(given, rate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000])
def test_resampling_keeps_time(rate):
    pulses = np.zeros(rate * 2, np.float32)
    pulses[[rate // 2, rate]] = 1.0
    there = audio.resample(pulses, rate, 32000)
    assert len(there) == 64000
    assert abs(int(there[:24000].argmax()) - 16000) <= 1 and abs(int(there[24000:].argmax()) + 24000 - 32000) <= 1
    assert audio.resample(np.stack([pulses, pulses]), rate, 32000).shape == (2, 64000)


def test_fit_cuts_and_pads():
    assert np.array_equal(audio.fit(np.arange(3.0), 5), [0, 1, 2, 0, 0])
    assert audio.fit(np.ones((2, 9)), 4).shape == (2, 4)


def test_mono_of_channels_that_cancel_is_not_silent():
    wave_ = tone(1, channels=1)
    assert level.rms(audio.to_mono(np.concatenate([wave_, -wave_]))) == pytest.approx(level.rms(wave_))
    assert audio.to_mono(np.ones((6, 10), np.float32)).shape == (10,)


def test_a_file_is_made_mono_as_a_whole(tmp_path):
    """Training reads crops, playing whole files: both take the same channel, and every crop of a file the same."""
    random, rate = np.random.default_rng(0), 8000
    loud, soft = 0.3 * random.standard_normal((2, 4 * rate)).astype(np.float32).clip(-3, 3)
    wide = np.stack([loud, soft])
    opposite = np.stack([loud, -0.9995 * loud])
    opposite[:, 3 * rate :] *= 0.001
    opposite[:, 3 * rate :] = np.abs(opposite[:, 3 * rate :])  # one soft part that does not cancel
    partly = np.concatenate([np.stack([loud, loud]), np.stack([loud, -loud])], axis=1)
    for name, sound in (("wide", wide), ("opposite", opposite), ("partly", partly), ("left", wide * [[1], [0]])):
        soundfile.write(tmp_path / f"{name}.wav", sound.T, rate, "FLOAT")
        whole = audio.to_mono(audio.read(tmp_path / f"{name}.wav")[0])
        track = probe(tmp_path / f"{name}.wav")
        assert np.array_equal(track.read(0, track.samples), whole), name
        for start in range(0, 3 * rate, rate // 2):
            assert np.array_equal(track.read(start, 3000), whole[start : start + 3000]), name
    assert np.abs(probe(tmp_path / "opposite.wav").read(0, rate)).max() > 0.2
    assert not probe(tmp_path / "partly.wav").read(5 * rate, rate).any()
