import dataclasses

import numpy as np
import pytest
import soundfile

from stage.errors import StageError
from stage.instruments import sfz
from stage.instruments.sampler import Sampler
from stage.notes import Note

RATE = 44100


def tone(hz=440.0, seconds=1.0, rate=RATE, level=0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    """Write samples and a text; returns the instrument that was read."""

    def make(text: str, **samples) -> sfz.Instrument:
        for name, audio in (samples or {"a": tone()}).items():
            soundfile.write(tmp_path / f"{name}.wav", audio, RATE, subtype="FLOAT")
        (tmp_path / "test.sfz").write_text(text, encoding="utf-8")
        return sfz.read(tmp_path / "test.sfz")

    return make


def frequency(audio: np.ndarray, rate=RATE) -> float:
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 20))
    return float(np.argmax(power) * rate / (1 << 20))


def plain(instrument, rate=RATE) -> Sampler:
    return Sampler(instrument, rate, varied=0.0)


# ---------------------------------------------------------------- reading


def test_headers_hand_their_opcodes_on(write):
    read = write(
        "// a comment\n<control> default_path=\n<global> ampeg_release=0.5 volume=-6\n"
        "<group> lovel=1 hivel=64 pan=-50\n"
        "<region> sample=a.wav key=c4 tune=10\n<region> sample=a.wav lokey=c#4 hikey=b5 pan=20 cutoff=900"
        " cutoff2=9 fil_type=hpf_1p\n"
        "<group>\n<region> sample=a.wav key=36 /* gone */ volume=0\n"
    )
    one, two, three = read.regions
    assert (one.lokey, one.hikey, one.pitch_keycenter, one.tune, one.pan, one.volume) == (60, 60, 60, 10, -50, -6)
    assert (two.lokey, two.hikey, two.pan, two.hivel, two.ampeg_release) == (61, 83, 20, 64, 0.5)
    assert (three.volume, three.hivel, three.pan) == (0, 127, 0)
    assert two.cutoff == 900 and read.unknown == ("cutoff2", "fil_type=hpf_1p")


def test_words_includes_and_names_with_blanks(write, tmp_path):
    (tmp_path / "more.txt").write_text("<region> sample=my sample.wav key=$KEY volume=-3\n")
    read = write('#define $KEY 40\n#include "more.txt"\n', **{"my sample": tone()})
    assert read.regions[0].sample == "my sample.wav" and read.regions[0].lokey == 40


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "holds no instrument"),
        ("<region> key=60", "no region with a sample"),
        ("hello", "no region with a sample"),
        ("sample=a.wav <region>", "before the first header"),
        ("<region> sample=b.wav", "b.wav does not exist"),
        ("<region> sample=../a.wav", "outside of the instrument's folder"),
        ("<region> sample=/etc/passwd", "outside of the instrument's folder"),
        ("<region> sample=a.wav volume=loud", "volume=loud: a number"),
        ("<region> sample=a.wav volume=nan", "volume=nan is out of range"),
        ("<region> sample=a.wav key=h9", "key=h9 names no key"),
        ('#include "/etc/passwd"\n<region> sample=a.wav', "not in the instrument's folder"),
        ('#include "test.sfz"\n<region> sample=a.wav', "without end"),
        ("<region> sample=a.wav\0", "no text"),
    ],
)
def test_what_is_wrong_is_one_line(write, text, message):
    with pytest.raises(StageError, match=message) as caught:
        write(text)
    assert "\n" not in str(caught.value)


def test_a_sample_that_is_not_sound(write, tmp_path):
    read = write("<region> sample=a.wav", a=tone())
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(StageError, match="cannot be read"):
        plain(read).render([Note(0, 1, 60, 100)], 1.0)


def test_any_value_is_one_line_or_sound(write):
    draws = np.random.default_rng(0)
    names = [field.name for field in dataclasses.fields(sfz.Region) if field.name != "sample"]
    values = "-1 0 1 3 127 -9600 1e9 -1e9 1e-9 0.5 5000 99999999999999 loop_continuous one_shot".split()
    refused = 0
    for _ in range(150):
        words = [f"{name}={draws.choice(values)}" for name in draws.choice(names, draws.integers(1, 4), replace=False)]
        try:
            read = write("<region> sample=a.wav " + " ".join(words), a=tone(seconds=0.1))
            out = Sampler(read, 22050).render([Note(-0.1, 0.1, 64, 127), Note(0, 0.1, 60, 100)], 0.3)
            assert np.isfinite(out).all(), words
        except StageError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 20 < refused < 130


# ---------------------------------------------------------------- playing


def test_a_note_starts_at_its_sample_and_sounds_at_its_pitch(write):
    read = write("<region> sample=a.wav pitch_keycenter=69")
    out = plain(read).render([Note(0.25, 0.9, 69, 127)], 1.0)
    first = int(np.flatnonzero(np.abs(out[0]) > 1e-3)[0])
    assert out.shape == (2, RATE) and abs(first - round(0.25 * RATE)) <= 2
    np.testing.assert_array_equal(out[0], out[1])
    assert abs(frequency(out[0]) - 440) < 1
    high = plain(read).render([Note(0, 1, 81, 127)], 1.0, cents=50)[0]
    assert abs(frequency(high[: RATE // 2]) - 880 * 2 ** (50 / 1200)) < 2


def test_any_rate(write):
    read = write("<region> sample=a.wav pitch_keycenter=69")
    out = plain(read, 48000).render([Note(0, 1, 69, 127)], 1.0)
    assert out.shape == (2, 48000) and abs(frequency(out[0], 48000) - 440) < 1


def test_velocity_is_loudness(write):
    read = write("<region> sample=a.wav pitch_keycenter=60 loop_mode=one_shot")
    peaks = [np.abs(plain(read).render([Note(0, 1, 60, v)], 1.0)).max() for v in (127, 64)]
    assert abs(peaks[1] / peaks[0] - (64 / 127) ** 2) < 1e-3


def test_layers_are_chosen_by_velocity_and_fade_into_each_other(write):
    read = write(
        "<region> sample=a.wav key=60 hivel=63\n<region> sample=b.wav key=60 lovel=64", a=tone(300.0), b=tone(700.0)
    )
    assert abs(frequency(plain(read).render([Note(0, 1, 60, 50)], 1.0)[0]) - 300) < 2
    assert abs(frequency(plain(read).render([Note(0, 1, 60, 90)], 1.0)[0]) - 700) < 2
    noise = np.random.default_rng(0)
    a, b = (noise.normal(0, 0.1, RATE).astype(np.float32) for _ in range(2))
    text = "<global> amp_veltrack=0\n<region> sample=a.wav key=60 xfout_lovel=40 xfout_hivel=80\n"
    read = write(text + "<region> sample=b.wav key=60 xfin_lovel=40 xfin_hivel=80", a=a, b=b)
    power = [np.square(plain(read).render([Note(0, 1, 60, v)], 1.0)[0]).mean() for v in (20, 60, 100)]
    assert max(power) / min(power) < 1.1  # equal power


def test_hats_choke(write):
    text = "<region> sample=a.wav key=46 group=1 off_by=1 loop_mode=one_shot\n"
    read = write(
        text + "<region> sample=b.wav key=42 group=1 off_by=1 loop_mode=one_shot", a=tone(), b=tone(5000, 0.05)
    )
    out = plain(read).render([Note(0, 0, 46, 100), Note(0.4, 0.4, 42, 100)], 1.0)[0]
    assert np.abs(out[int(0.3 * RATE) : int(0.39 * RATE)]).max() > 0.1
    assert np.abs(out[int(0.47 * RATE) :]).max() < 1e-6
    assert np.abs(np.diff(out)).max() < 0.5  # without a click


def test_releases_ring_and_loops_last(write):
    read = write(
        "<region> sample=a.wav pitch_keycenter=69 loop_mode=loop_continuous loop_start=4410 loop_end=8809"
        " ampeg_release=0.2",
        a=tone(441.0, 0.25),
    )
    out = plain(read).render([Note(0, 1.5, 69, 127)], 2.0)[0]
    assert abs(np.abs(out[int(1.2 * RATE) : int(1.4 * RATE)]).max() - 0.5) < 0.01  # goes on long after the sample's end
    assert abs(frequency(out[: int(1.5 * RATE)]) - 441) < 0.5
    assert (
        0.01 < np.abs(out[int(1.52 * RATE) : int(1.56 * RATE)]).max() < 0.4
        and np.abs(out[int(1.71 * RATE) :]).max() == 0
    )


def test_equal_hits_differ_a_little_by_the_seed_alone(write):
    read = write("<region> sample=a.wav key=38 loop_mode=one_shot", a=tone(seconds=0.25))
    hits = [Note(0.0, 0, 38, 100), Note(0.5, 0, 38, 100)]
    one, again, other = (Sampler(read, RATE).render(hits, 1.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    first, second = one[0, : RATE // 4], one[0, RATE // 2 : RATE // 2 + RATE // 4]
    assert 1e-4 < np.abs(first - second).max() and abs(20 * np.log10(first.std() / second.std())) < 4


def test_round_robin_takes_turns(write):
    text = "<group> key=38 seq_length=2 loop_mode=one_shot\n<region> sample=a.wav seq_position=1\n"
    read = write(text + "<region> sample=b.wav seq_position=2", a=tone(300.0, 0.2), b=tone(700.0, 0.2))
    out = plain(read).render([Note(0, 0, 38, 100), Note(0.25, 0, 38, 100), Note(0.5, 0, 38, 100)], 1.0)[0]
    found = [frequency(out[int(t * RATE) : int((t + 0.2) * RATE)]) for t in (0, 0.25, 0.5)]
    assert [round(hz, -2) for hz in found] == [300, 700, 300]


def test_pan_and_stereo(write):
    read = write("<region> sample=a.wav key=60 pan=-100\n<region> sample=a.wav key=62")
    left, right = plain(read).render([Note(0, 1, 60, 127)], 1.0)
    assert np.abs(right).max() < 1e-6 and np.abs(left).max() > 0.6
    both = write("<region> sample=a.wav key=60", a=np.stack([tone(300.0), tone(500.0)], 1))
    left, right = plain(both).render([Note(0, 1, 60, 127)], 1.0)
    assert abs(frequency(left) - 300) < 2 and abs(frequency(right) - 500) < 2


def test_a_piece_in_parts_is_the_piece(write):
    read = write("<region> sample=a.wav pitch_keycenter=60 ampeg_release=0.1")
    notes = [Note(0.1 * i, 0.1 * i + 0.3, 55 + i, 60 + i) for i in range(8)]
    whole = plain(read).render(notes, 2.0)
    late = plain(read).render([Note(n.start - 0.5, n.end - 0.5, n.pitch, n.velocity) for n in notes], 1.5)
    np.testing.assert_allclose(whole[:, RATE // 2 :], late, atol=1e-6)
