"""Files as people have them: MP3 with any tags, WAV from a pipe, tags in front, containers, videos, garbage."""

import io
import itertools
import os
import struct
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from stage import audio
from stage.audio import ffmpeg, headers, mp3
from stage.audio.files import _read_ffmpeg
from stage.data.song import probe
from stage.errors import StageError

RATE = 44100


def clicks(seconds=3.0, rate=RATE, channels=1):
    """Noise bursts every half second over a soft tone: float32 [C, N]."""
    random, n = np.random.default_rng(0), round(seconds * rate)
    out = 0.02 * np.sin(np.arange(n) * 0.05)
    for start in range(rate // 4, n - 600, rate // 2):
        out[start : start + 500] += 0.4 * random.standard_normal(500) * np.exp(-np.arange(500) / 120)
    return np.tile(np.clip(out, -1, 1).astype(np.float32), (channels, 1))


def encode(path: Path, sound: np.ndarray, rate=RATE, codec="libmp3lame", late=0.0, picture=0.0, **options) -> Path:
    """An encoded file; late: when its sound begins; picture: seconds of a picture that begins at 0."""
    bit_rate, kind = options.pop("bit_rate", 128000), options.pop("format", None)
    with av.open(str(path), "w", format=kind, options=options) as out:
        video = None
        if picture:
            video = out.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
        track = out.add_stream(codec, rate=rate, layout="mono" if len(sound) == 1 else "stereo")
        track.bit_rate = bit_rate
        if video:
            for number in range(round(picture * 10)):
                frame = av.VideoFrame(32, 32, "yuv420p")
                frame.pts = number
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "mono" if len(sound) == 1 else "stereo")
        frame.rate, frame.pts = rate, round(late * rate)
        frame.time_base = Fraction(1, rate)
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return path


def lag(want, got, most=3000):
    """Samples by which `got` is later."""
    size = 1 << (len(want) + len(got)).bit_length()
    both = np.fft.irfft(np.conj(np.fft.rfft(want, size)) * np.fft.rfft(got, size), size)
    return int(np.argmax(np.concatenate([both[-most:], both[: most + 1]]))) - most


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An MP3 with a tag and one without."""
    folder = tmp_path_factory.mktemp("mp3")
    encode(folder / "tag.mp3", clicks())
    encode(folder / "bare.mp3", clicks(), write_xing="0", id3v2_version="0")
    return folder


def tag_at(data: bytes) -> int:
    return max(data.find(b"Info"), data.find(b"Xing"))


def with_counts(data: bytes, frames: int = 0, size: int = 0) -> bytes:
    """The file with other numbers of frames and bytes in its tag."""
    at = tag_at(data)
    old = struct.unpack(">II", data[at + 8 : at + 16])
    return data[: at + 8] + struct.pack(">II", max(0, old[0] + frames), max(0, old[1] + size)) + data[at + 16 :]


# ---------------------------------------------------------------- MP3


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000])
def test_the_delay_that_the_tag_states_is_left_out(tmp_path, rate):
    source = clicks(2.0, rate)
    path = encode(tmp_path / "a.mp3", source, rate)
    got, found = audio.read(path)
    other, _ = _read_ffmpeg(path, 0.0, None, 0)
    assert found == rate and got.shape == other.shape == source.shape
    assert lag(source[0], got[0]) == 0 and np.abs(got - other).max() < 1e-5


def test_without_a_tag_all_is_read_and_the_decoders_agree(files):
    got, _ = audio.read(files / "bare.mp3")
    other, _ = _read_ffmpeg(files / "bare.mp3", 0.0, None, 0)
    assert got.shape == other.shape and np.abs(got - other).max() < 1e-5
    assert lag(clicks()[0], got[0]) == 1105 and got.shape[1] > 3 * RATE


def test_a_variable_rate_without_a_tag_is_read_to_the_end(tmp_path):
    sound = np.concatenate([np.zeros((1, 3 * RATE), np.float32), clicks(3.0)], axis=1)
    frames = b""
    for kbits, part in ((32000, sound[:, : 3 * RATE]), (320000, sound[:, 3 * RATE :])):
        path = encode(tmp_path / f"{kbits}.mp3", part, write_xing="0", id3v2_version="0", bit_rate=kbits)
        frames += path.read_bytes()
    (tmp_path / "vbr.mp3").write_bytes(frames)
    assert audio.read(tmp_path / "vbr.mp3")[0].shape[1] > 6 * RATE


@pytest.mark.parametrize("frames, size", [(1, 0), (20, 0), (-20, 0), (-(10**6), 0), (0, 10**6), (-(10**6), -(10**9))])
def test_wrong_counts_in_a_tag_change_nothing(files, tmp_path, frames, size):
    path = tmp_path / "a.mp3"
    path.write_bytes(with_counts((files / "tag.mp3").read_bytes(), frames, size))
    want = audio.read(files / "tag.mp3")[0]
    assert np.array_equal(audio.read(path)[0], want)
    track = probe(path)
    assert track.samples == want.shape[1]
    assert np.array_equal(track.read(RATE, RATE), want[0, RATE : 2 * RATE])


def test_two_files_in_a_row_are_both_read(files, tmp_path):
    data = (files / "tag.mp3").read_bytes()
    one = audio.read(files / "tag.mp3")[0]
    for between in (b"", b"TAG" + bytes(125), b"ID3\3\0\0\0\0\1\0" + bytes(128)):
        (tmp_path / "two.mp3").write_bytes(data + between + data)
        assert np.array_equal(audio.read(tmp_path / "two.mp3")[0], np.tile(one, 2))
    part, _ = audio.read(tmp_path / "two.mp3", start=2.5, seconds=1.0)
    assert np.array_equal(part, np.tile(one, 2)[:, round(2.5 * RATE) : round(3.5 * RATE)])


def test_files_of_two_rates_in_a_row_are_refused(files, tmp_path):
    other = encode(tmp_path / "b.mp3", clicks(1.0, 48000), 48000, id3v2_version="0").read_bytes()
    (tmp_path / "two.mp3").write_bytes((files / "tag.mp3").read_bytes() + other)
    with pytest.raises(StageError, match="changes its sampling rate"):
        audio.read(tmp_path / "two.mp3")


@pytest.mark.parametrize("name", ["tag.mp3", "bare.mp3"])
def test_a_crop_of_an_mp3_is_a_cut_of_the_whole(files, name):
    whole, _ = audio.read(files / name)
    for start, seconds in ((0.0, 0.5), (1.3, 0.7), (2.9, 5.0)):
        part, _ = audio.read(files / name, start=start, seconds=seconds)
        want = whole[:, round(start * RATE) : round(start * RATE) + round(seconds * RATE)]
        assert part.shape == want.shape and np.abs(part - want).max() < 1e-6


@pytest.mark.parametrize("name", ["tag.mp3", "bare.mp3"])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)])
def test_an_mp3_that_is_cut_off_is_refused(files, tmp_path, name, behind):
    data = (files / name).read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2 + 7] + behind)
    with pytest.raises(StageError, match=r"truncated: only the first 1\.\d\d seconds"):
        audio.read(tmp_path / "cut.mp3")
    with pytest.raises(StageError, match="truncated"):
        probe(tmp_path / "cut.mp3")
    assert audio.read(tmp_path / "cut.mp3", seconds=1.0)[0].shape == (1, RATE)


def test_an_mp3_that_is_cut_off_between_two_frames_is_refused_by_its_tag(files, tmp_path):
    with open(files / "tag.mp3", "rb") as file:
        offset = headers.skip_id3(file)
        layout = mp3.scan(file, "a", offset, os.path.getsize(files / "tag.mp3") - offset)
    data = (files / "tag.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: layout.offsets[40]])
    with pytest.raises(StageError, match="truncated"):
        audio.read(tmp_path / "cut.mp3")


@pytest.mark.parametrize(
    "front, behind",
    [
        (b"", b"TAG" + bytes(125)),
        (b"", b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 100, 1, 0) + bytes(8 + 100 - 8)),
        (b"ID3\3\0\0\0\0\7\x68" + bytes(1000), b""),
        (b"ID3\3\0\0\0\0\7\x68" + bytes(1000) + b"ID3\4\0\0\0\0\0\5" + bytes(5), b""),
        (bytes(3000), bytes(5000)),
        (b"", np.random.default_rng(3).bytes(3000)),
    ],
)
def test_what_stands_around_the_frames_is_not_audio(files, tmp_path, front, behind):
    data = (files / "bare.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(front + data + behind)
    assert np.array_equal(audio.read(tmp_path / "a.mp3")[0], audio.read(files / "bare.mp3")[0])


def test_a_cover_of_random_bytes_is_no_audio(files, tmp_path):
    picture = np.random.default_rng(0).bytes(500_000)
    size = bytes([len(picture) >> 21 & 127, len(picture) >> 14 & 127, len(picture) >> 7 & 127, len(picture) & 127])
    (tmp_path / "a.mp3").write_bytes(b"ID3\3\0\0" + size + picture + (files / "bare.mp3").read_bytes())
    assert np.array_equal(audio.read(tmp_path / "a.mp3")[0], audio.read(files / "bare.mp3")[0])


def test_a_damaged_frame_does_not_move_what_follows(files, tmp_path):
    data = bytearray((files / "bare.mp3").read_bytes())
    data[20000:20200] = bytes(200)
    (tmp_path / "a.mp3").write_bytes(data)
    got, want = audio.read(tmp_path / "a.mp3")[0], audio.read(files / "bare.mp3")[0]
    assert abs(got.shape[1] - want.shape[1]) <= 2 * 1152
    assert np.abs(got[:, :RATE] - want[:, :RATE]).max() < 1e-6


@pytest.mark.parametrize("layer, codec", [(2, "mp2")])
def test_layer_two(tmp_path, layer, codec):
    path = encode(tmp_path / "a.mp2", clicks(channels=2), codec=codec, format="mp2")
    got, rate = audio.read(path)
    assert rate == RATE and len(got) == 2 and abs(lag(clicks()[0], got[0])) < 1200
    with open(path, "rb") as file:
        assert mp3.scan(file, "a", 0, os.path.getsize(path)).layer == layer


def test_mp3_in_a_wav(tmp_path):
    path = encode(tmp_path / "a.wav", clicks(), format="wav")
    got, _ = audio.read(path)
    assert 3 * RATE <= got.shape[1] < 3.1 * RATE and lag(clicks()[0], got[0]) == 1105
    assert probe(path).samples == got.shape[1]


def test_mono_and_stereo_in_a_row(tmp_path):
    for channels in (1, 2):
        encode(tmp_path / f"{channels}.mp3", clicks(1.0, channels=channels), id3v2_version="0")
    (tmp_path / "a.mp3").write_bytes((tmp_path / "1.mp3").read_bytes() + (tmp_path / "2.mp3").read_bytes())
    got, _ = audio.read(tmp_path / "a.mp3")
    assert got.shape == (2, 2 * RATE) and np.abs(got[0] - got[1]).max() < 0.1


# ---------------------------------------------------------------- WAV and others from a pipe


def wav(subtype="PCM_16", kind="WAV", channels=2):
    file = io.BytesIO()
    soundfile.write(file, clicks(1.0, channels=channels).T, RATE, subtype, format=kind)
    return bytearray(file.getvalue())


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(
    "riff, data",
    [
        (0, 0),
        (None, 0),
        (0x7FFFF024, 0x7FFFF000),
        (0x7FFFEFFC + 36, 0x7FFFEFFC),
        (0x7FFFFFFF, 0x7FFFFFFF - 36),
        (0x7FFFFFFF, 0x7FFFFFFF),
        (0x80000024, 0x80000000),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF - 36),
        (0, 0xFFFFFFFF),
    ],
)
def test_sizes_that_were_never_filled_in(tmp_path, subtype, riff, data):
    whole = wav(subtype)
    (tmp_path / "clean.wav").write_bytes(whole)
    piped, at = bytearray(whole), whole.find(b"data")
    piped[at + 4 : at + 8] = struct.pack("<I", data)
    if riff is not None:
        piped[4:8] = struct.pack("<I", riff)
    (tmp_path / "piped.wav").write_bytes(piped)
    want = audio.read(tmp_path / "clean.wav")[0]
    assert np.array_equal(audio.read(tmp_path / "piped.wav")[0], want)
    assert np.array_equal(audio.read(tmp_path / "piped.wav", 0.5, 0.25)[0], want[:, RATE // 2 : RATE // 2 + RATE // 4])
    track = probe(tmp_path / "piped.wav")
    assert track.samples == RATE and np.allclose(track.read(0, RATE), want.mean(0))


@pytest.mark.parametrize(
    "format, options",
    [("wav", {}), ("wav", {"rf64": "always"}), ("flac", {}), ("aiff", {}), ("au", {}), ("caf", {}), ("w64", {})],
)
def test_what_ffmpeg_writes_into_a_pipe(tmp_path, format, options):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        seek = tell = None

    pipe, codec = Pipe(), {"flac": "flac", "aiff": "pcm_s16be", "au": "pcm_s16be"}.get(format)
    with av.open(pipe, "w", format=format, options=options) as out:
        track = out.add_stream(codec or "pcm_s16le", rate=RATE, layout="stereo")
        for block in np.split(clicks(1.0, channels=2)[:, :44000], 10, axis=1):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", "stereo")
            frame.rate = RATE
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    (tmp_path / "a").write_bytes(pipe.getvalue())
    got, rate = audio.read(tmp_path / "a")
    assert rate == RATE and got.shape == (2, 44000)
    assert np.abs(got - clicks(1.0, channels=2)[:, :44000]).max() < 1e-4
    assert probe(tmp_path / "a").samples == 44000


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "CAF", "FLAC"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_files_that_are_cut_off_are_refused(tmp_path, kind, subtype):
    whole = wav(subtype, kind)
    (tmp_path / "whole").write_bytes(whole)
    assert audio.read(tmp_path / "whole")[0].shape == (2, RATE)
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StageError, match="truncated|damaged"):
        audio.read(tmp_path / "cut")
    with pytest.raises(StageError, match="truncated|damaged"):
        track = probe(tmp_path / "cut")
        track.read(0, track.samples)  # FLAC shows it only there


def test_an_ogg_that_is_cut_off_is_refused(tmp_path):
    data = wav("VORBIS", "OGG")
    (tmp_path / "cut.ogg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(StageError, match="truncated"):
        audio.read(tmp_path / "cut.ogg")


def test_ogg_files_in_a_row_are_all_read(tmp_path):
    data = wav("VORBIS", "OGG")
    (tmp_path / "two.ogg").write_bytes(data + data)
    (tmp_path / "one.ogg").write_bytes(data)
    one, two = (audio.read(tmp_path / f"{name}.ogg")[0] for name in ("one", "two"))
    assert np.array_equal(two, np.tile(one, 2)) and probe(tmp_path / "two.ogg").samples == 2 * RATE
    assert np.array_equal(audio.read(tmp_path / "two.ogg", 0.9, 0.2)[0], np.tile(one, 2)[:, 39690:48510])
    soundfile.write(tmp_path / "other.ogg", clicks(1.0, 48000).T, 48000, "VORBIS", format="OGG")
    (tmp_path / "two.ogg").write_bytes(data + (tmp_path / "other.ogg").read_bytes())
    with pytest.raises(StageError, match="changes its sampling rate"):
        audio.read(tmp_path / "two.ogg")


def test_an_aiff_that_sox_wrote_into_a_pipe(tmp_path):
    data = wav("PCM_16", "AIFF")
    data[4:8], at = bytes.fromhex("7f000050"), data.find(b"SSND")
    data[at + 4 : at + 8] = bytes.fromhex("7f000008")
    at = data.find(b"COMM")
    data[at + 10 : at + 14] = bytes.fromhex("1fc00000")
    (tmp_path / "a.aiff").write_bytes(data)
    assert np.abs(audio.read(tmp_path / "a.aiff")[0] - clicks(1.0)).max() < 1e-4


def test_a_large_size_that_is_cut_off_is_no_placeholder(tmp_path):
    data = wav()
    at = data.find(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 3_000_000_000)
    (tmp_path / "cut.wav").write_bytes(data)
    with pytest.raises(StageError, match="truncated"):
        audio.read(tmp_path / "cut.wav")


def test_a_data_chunk_that_is_really_empty(tmp_path):
    empty = bytearray(wav())[:44]
    empty[40:44] = bytes(4)
    (tmp_path / "a.wav").write_bytes(empty + b"LIST" + struct.pack("<I", 10) + bytes(10))
    with pytest.raises(StageError, match="holds no audio"):
        audio.read(tmp_path / "a.wav")


def test_flac_behind_tags(tmp_path):
    data = wav("PCM_16", "FLAC")
    for size in (100, 200_000):
        tag = b"ID3\3\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size)
        (tmp_path / "a.flac").write_bytes(tag + data)
        assert np.abs(audio.read(tmp_path / "a.flac")[0] - clicks(1.0)).max() < 1e-4
        assert np.abs(audio.read(tmp_path / "a.flac", 0.5, 0.2)[0] - clicks(1.0)[:, 22050:30870]).max() < 1e-4


# ---------------------------------------------------------------- containers and videos


@pytest.mark.parametrize("suffix, codec", [("mp4", "aac"), ("mkv", "aac"), ("mov", "aac"), ("mkv", "libopus")])
def test_sound_that_begins_later_than_the_picture_has_silence_in_front(tmp_path, suffix, codec):
    rate = 48000
    source = clicks(2.0, rate)
    path = encode(tmp_path / f"a.{suffix}", source, rate, codec, late=1.5, picture=4.0)
    got, _ = audio.read(path)
    want = np.concatenate([np.zeros((1, 72000), np.float32), source], axis=1)
    assert abs(lag(want[0], got[0])) <= 48  # Matroska's clock counts milliseconds
    assert np.abs(got[:, :71000]).max() < 1e-3 and abs(got.shape[1] - want.shape[1]) < 2048
    for start in (0.5, 1.4, 2.5):
        part, _ = audio.read(path, start=start, seconds=0.5)
        at = round(start * rate)
        assert part.shape[1] == rate // 2 and np.abs(part - got[:, at : at + rate // 2]).max() < 2e-2


def test_a_gap_in_the_sound_of_a_video_is_silence(tmp_path):
    rate = 48000
    source = np.concatenate([clicks(1.0, rate), np.zeros((1, rate), np.float32), clicks(1.0, rate)], axis=1)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video, track = out.add_stream("mpeg4", rate=10), out.add_stream("pcm_s16le", rate=rate, layout="mono")
        video.width = video.height = 32
        for number in range(30):
            picture = av.VideoFrame(32, 32, "yuv420p")
            picture.pts = number
            out.mux(video.encode(picture))
            if number < 10 or number >= 20:
                block = source[:, number * 4800 : (number + 1) * 4800]
                frame = av.AudioFrame.from_ndarray(np.rint(block * 32767).astype(np.int16), "s16", "mono")
                frame.rate, frame.pts, frame.time_base = rate, number * 4800, Fraction(1, rate)
                out.mux(track.encode(frame))
        out.mux(video.encode(None))
        out.mux(track.encode(None))
    got, _ = audio.read(tmp_path / "a.mkv")
    assert got.shape == source.shape and np.abs(got - source).max() < 1e-3


def test_without_a_picture_the_first_sound_is_the_beginning(tmp_path):
    path = encode(tmp_path / "a.mkv", clicks(2.0, 48000), 48000, "libopus", late=1.5)
    assert abs(audio.read(path)[0].shape[1] - 96000) < 1000


def test_a_bare_stream_of_aac_is_read_to_its_end(tmp_path):
    sound = np.concatenate([np.zeros((1, 4 * RATE), np.float32), clicks(4.0)], axis=1)  # uneven bitrate
    path = encode(tmp_path / "a.aac", sound, codec="aac", format="adts")
    whole, _ = audio.read(path)
    assert whole.shape[1] >= 8 * RATE and probe(path).samples == whole.shape[1]
    part, _ = audio.read(path, start=6.0, seconds=1.0)
    assert np.abs(part - whole[:, 6 * RATE : 7 * RATE]).max() < 1e-5
    np.testing.assert_array_equal(audio.read(path, seconds=600.0)[0], whole)


def test_a_recording_of_a_browser_has_no_length_and_is_read_to_its_end(tmp_path):
    path = encode(tmp_path / "a.webm", clicks(4.0, 48000), 48000, "libopus", format="webm", live="1")
    with av.open(str(path)) as held:
        assert held.duration is None and held.streams.audio[0].duration is None
    whole, _ = audio.read(path)
    assert abs(whole.shape[1] - 4 * 48000) < 1000
    np.testing.assert_array_equal(audio.read(path, seconds=601.0)[0], whole)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.mp3", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n"),
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n"),
        ("a.wav", "ffconcat version 1.0\nfile {other}\n"),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
        ("a.mpd", "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>"),
    ],
)
def test_playlists_open_no_other_file(tmp_path, name, text):
    soundfile.write(tmp_path / "other.wav", clicks(1.0).T, RATE)
    (tmp_path / name).write_text(text.replace("{other}", "other.wav"))
    with pytest.raises(StageError, match="not audio"):
        audio.read(tmp_path / name)


@pytest.mark.parametrize("channels, fine", [(32, True), (33, False), (200, False)])
def test_more_than_32_channels_are_refused(tmp_path, channels, fine):
    soundfile.write(tmp_path / "a.wav", np.zeros((100, channels)), RATE)
    if fine:
        assert audio.read(tmp_path / "a.wav")[0].shape == (32, 100)
    else:
        for reader in (audio.read, probe):
            with pytest.raises(StageError, match=f"{channels} channels"):
                reader(tmp_path / "a.wav")


def test_the_same_file_by_any_name(tmp_path):
    data = wav()
    for name in ("04 絆.wav", "emoji 🥁.mp3", "a:b.flac", "http:x.wav", "-", "%d.wav", os.fsdecode(b"caf\xe9.wav")):
        (tmp_path / name).write_bytes(data)
        assert audio.read(tmp_path / name)[0].shape == (2, RATE)


@pytest.mark.skipif(sys.platform == "win32", reason="names are not bytes there")
def test_names_and_streams_do_not_need_a_locale_or_stderr(tmp_path):
    """Read and write Japanese and Latin-1 names under an ASCII locale, with stderr closed."""
    (tmp_path / "絆.wav").write_bytes(wav())
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(wav())
    encode(tmp_path / "鼓.m4a", clicks(1.0), codec="aac")
    code = (
        "import os, sys; from stage import audio\n"
        "for n in sorted(os.listdir('.')):\n"
        "    a, r = audio.read(n); audio.write('out-' + n + '.flac', a, r)\n"
        "print(len(os.listdir('.')))"
    )
    plain = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0"}
    script = f'"{sys.executable}" -c "$0" 2>&-'
    done = subprocess.run(["bash", "-c", script, code], cwd=tmp_path, env=plain, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "6"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_reading_in_threads_leaves_stderr_alone(files, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    before = os.readlink("/proc/self/fd/2")

    def work():
        for _ in range(10):
            audio.read(tmp_path / "a.wav")
            audio.read(files / "bare.mp3", seconds=0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.readlink("/proc/self/fd/2") == before


# ---------------------------------------------------------------- garbage


def mutations(data: bytes, random: np.random.Generator, count: int):
    """Random damage of all kinds to a file."""
    kinds = itertools.cycle(["flip", "cut", "number", "insert", "zero", "extend"])
    for kind in itertools.islice(kinds, count):
        out, at = bytearray(data), int(random.integers(0, min(len(data), 300) - 4))
        if kind == "flip":
            for place in random.integers(0, len(out), random.integers(1, 40)):
                out[place] ^= 1 << random.integers(0, 8)
        elif kind == "cut":
            del out[random.integers(1, len(out)) :]
        elif kind == "number":
            out[at : at + 4] = [random.bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4)][random.integers(0, 4)]
        elif kind == "insert":
            out[at:at] = random.bytes(int(random.integers(1, 2000)))
        elif kind == "zero":
            out[at : at + 200] = bytes(len(out[at : at + 200]))
        else:
            out += random.bytes(int(random.integers(1, 3000)))
        yield bytes(out)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder, sound = tmp_path_factory.mktemp("healthy"), clicks(0.6, 48000, 2)
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("OGG", "VORBIS"),
    ):
        soundfile.write(folder / f"{subtype}.{kind.lower()}", sound.T, 48000, subtype, format=kind)
    encode(folder / "a.mp3", sound, 48000)
    encode(folder / "a.m4a", sound, 48000, "aac")
    encode(folder / "a.webm", sound, 48000, "libopus")
    encode(folder / "video.mp4", sound, 48000, "aac", late=0.2, picture=0.5)
    return folder


@pytest.mark.parametrize(
    "name",
    ["PCM_16.wav", "FLOAT.wav", "PCM_16.flac", "PCM_16.aiff", "VORBIS.ogg", "a.mp3", "a.m4a", "a.webm", "video.mp4"],
)
def test_of_damaged_files_only_stage_errors_escape(healthy, tmp_path, name):
    data, read = (healthy / name).read_bytes(), 0
    path = tmp_path / name
    for number, damaged in enumerate(mutations(data, np.random.default_rng(7), 36)):
        path.write_bytes(damaged)
        try:
            if number % 3:
                got, rate = audio.read(path, *((0.0, None), (0.2, 0.2))[number % 2])
                assert got.dtype == np.float32 and np.isfinite(got).all()
            else:
                track = probe(path)
                got = track.read(0, min(track.samples, 10**6))[None]
            read += 1
        except StageError as error:
            assert "\n" not in str(error)
    assert read > 3  # some damage does no harm


def test_demuxers_that_are_allowed_open_no_other_files():
    names = set(ffmpeg.DEMUXERS.split(","))
    assert not names & {"hls", "concat", "dash", "image2", "lavfi", "sdp", "rtsp", "imf", "webm_dash_manifest"}
