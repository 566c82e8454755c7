"""Songs from outside: sound is taken, all else is refused with a line, and nothing is left of it."""

import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import psutil
import pytest
import soundfile

from helpers.fakes import song
from stage.errors import StageError
from stage.web.errors import Refused
from stage.web.settings import MB, Settings
from stage.web.uploads import Uploads, _decode


def encoded(seconds: float = 2.0, format: str = "WAV", subtype: str = "PCM_16", sound=None, rate: int = 44100) -> bytes:
    made = io.BytesIO()
    sound = song(seconds) if sound is None else sound
    soundfile.write(made, sound.T, rate, format=format, subtype=subtype)
    return made.getvalue()


def lying(data_bytes: int) -> bytes:
    """A WAV file whose header announces more than there is."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16)
    whole = struct.pack("<4sI4s", b"RIFF", data_bytes + 36, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)
    return whole + bytes(4000)


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(5 * MB))
    return made.getvalue()


SECRET = "a text that no answer may hold"


def decode(tmp_path, content: bytes, most: float = 600.0) -> dict:
    """What the process that decodes answers, here."""
    source, target = tmp_path / "u-1234", tmp_path / "song.flac"
    source.write_bytes(content)
    target.unlink(missing_ok=True)
    made = _decode(most, (str(source), str(target)), lambda _: True)
    assert target.exists() == ("refused" not in made)
    if "refused" in made:
        status, code, line = made["refused"]
        assert 413 <= status <= 422 and "\n" not in line and str(tmp_path) not in line and source.name not in line, line
        assert SECRET not in line
    return made


@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_recordings_are_taken_and_are_as_long_as_they_were(tmp_path, kind):
    made = decode(tmp_path, encoded(2.0, *kind))
    sound, rate = soundfile.read(tmp_path / "song.flac", always_2d=True)
    assert rate == made["rate"] == 44100 and sound.shape[1] == made["channels"] == 2
    assert len(sound) / rate == made["seconds"] and abs(made["seconds"] - 2.0) < 0.06


def test_sound_beyond_full_scale_stays_as_it_is(tmp_path):
    loud = 3 * song(1.0)
    decode(tmp_path, encoded(sound=loud, subtype="FLOAT"))
    sound, _ = soundfile.read(tmp_path / "song.flac", dtype="float32", always_2d=True)
    assert np.array_equal(sound.T, loud)


def hostile(tmp_path) -> dict[str, tuple[bytes, int]]:
    (tmp_path / "secret.txt").write_text(SECRET)
    secret, other = tmp_path / "secret.txt", tmp_path / "other.wav"
    other.write_bytes(encoded())
    lists = [
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nfile://{other}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {other}\n",
        f"#EXTM3U\n{other}\n",
        f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n",
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="a"><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=x:{secret}\n",
    ]
    made = {f"list {i}": (text.encode(), 415) for i, text in enumerate(lists)}
    return made | {
        "text": (b"no sound at all\n" * 100, 415),
        "zip": (zipped(), 415),
        "page": (b"<html><script>alert(1)</script></html>" * 50, 415),
        "picture with a song": (b"GIF89a" + bytes(100) + encoded(), 415),
        "zeros": (bytes(100_000), 415),
        "noise": (np.random.default_rng(0).bytes(200_000), 415),
        "cut": (encoded(2.0, "FLAC")[:20_000], 422),
        "lies 4 GB": (lying(0xFFFFFF00), 422),
        "lies 100 MB": (lying(100 * MB), 422),
        "not numbers": (encoded(sound=np.full((2, 44100), np.nan, np.float32), subtype="FLOAT"), 422),
        "bomb": (encoded(sound=np.zeros((1, 44100 * 700), np.int16), format="FLAC"), 413),
        "slow bomb": (encoded(sound=np.zeros((1, 4000 * 3600), np.int16), format="FLAC", rate=4000), 413),
    }


def test_what_is_not_a_song_is_refused_with_a_line(tmp_path):
    found = {name: decode(tmp_path, content) for name, (content, _) in hostile(tmp_path).items()}
    assert {name: made["refused"][0] for name, made in found.items()} == {
        name: status for name, (_, status) in hostile(tmp_path).items()
    }


def test_memory_and_time_are_limited(tmp_path):
    source, target = tmp_path / "u-1", tmp_path / "song.flac"
    source.write_bytes(encoded(sound=np.zeros((2, 44100 * 500), np.int16), format="FLAC"))  # 176 MB of floats
    settings = Settings(tmp_path, decode_bytes=100 * MB)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(Refused) as refused:
        Uploads(settings).decode(source, target)
    assert (refused.value.status, refused.value.code) == (413, "too_large")
    with pytest.raises(Refused, match="too much time") as refused:
        Uploads(replace(settings, decode_seconds=0.05)).decode(source, target)
    assert refused.value.status == 413 and not target.exists()
    left = [child for child in psutil.Process().children() if child.pid not in before]
    assert [child for child in left if "tracker" not in " ".join(child.cmdline())] == []


def test_a_song_comes_through_the_process(tmp_path):
    source = tmp_path / "u-1"
    source.write_bytes(encoded(1.0))
    made = Uploads(Settings(tmp_path)).decode(source, tmp_path / "song.flac")
    assert made == {"seconds": 1.0, "rate": 44100, "channels": 2}
    source.write_bytes(b"x")
    with pytest.raises(StageError) as refused:
        Uploads(Settings(tmp_path)).decode(source, tmp_path / "other.flac")
    assert refused.value.status == 415
