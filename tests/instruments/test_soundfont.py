"""SoundFonts as instruments."""

import numpy as np
import pytest

from helpers import soundfonts
from stage.errors import StageError
from stage.instruments import load, soundfont
from stage.instruments.sampler import Sampler
from stage.notes import Note

RATE = 44100
LOOPED = {54: 1}


def frequency(audio: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 19))
    return float(np.argmax(power) * RATE / (1 << 19))


def level(audio: np.ndarray) -> float:
    return 20 * np.log10(np.abs(audio).max())


def test_a_preset_sounds_at_its_pitch_as_long_as_the_note(tmp_path):
    instrument = load(soundfonts.write(tmp_path / "a.sf2", LOOPED))
    out = Sampler(instrument, RATE, varied=0).render([Note(0.1, 0.8, 69, 127), Note(1.0, 1.5, 81, 127)], 2.0)
    assert abs(frequency(out[0, 5000:30000]) - 500) < 1 and abs(frequency(out[0, 46000:64000]) - 1000) < 1
    assert np.abs(out[:, : round(0.099 * RATE)]).max() == 0 and np.abs(out[:, round(1.6 * RATE) :]).max() < 1e-4


def test_generators_of_preset_and_instrument_are_added(tmp_path):
    one, two = (
        soundfont.regions(soundfont.read(soundfonts.write(tmp_path / "a.sf2", LOOPED | own, above)), 0, 0)[0]
        for own, above in (({}, {}), ({48: 100, 51: 2, 38: 1200}, {48: 50, 51: -3, 52: 30, 38: 1200}))
    )
    assert one.volume - two.volume == pytest.approx(0.4 * 15) and two.tune == -100 + 30
    assert two.ampeg_release == pytest.approx(4 * 80 / 96, rel=1e-3) and one.ampeg_release == 0.02


def test_keys_and_velocities_meet(tmp_path):
    path = soundfonts.write(tmp_path / "a.sf2", LOOPED | {43: 60 << 8 | 40, 44: 127 << 8 | 64}, {43: 80 << 8 | 50})
    (region,) = load(path).regions
    assert (region.lokey, region.hikey, region.lovel, region.hivel) == (50, 60, 64, 127)


def test_left_and_right_are_one_region(tmp_path):
    instrument = load(soundfonts.write(tmp_path / "a.sf2", LOOPED, pair=True))
    assert [(region.sample, region.pan) for region in instrument.regions] == [("0+1", 0)]
    left, right = Sampler(instrument, RATE, varied=0).render([Note(0, 1, 69, 127)], 1.0)
    assert abs(frequency(left) - 500) < 1 and abs(frequency(right) - 700) < 1


def test_envelope_and_filter(tmp_path):
    decays = LOOPED | {36: 0, 37: 1000}  # by 96 dB in a second
    out = Sampler(load(soundfonts.write(tmp_path / "a.sf2", decays)), RATE, varied=0).render(
        [Note(0, 2, 69, 127)], 1.5
    )[0]
    early, late = (level(out[round(t * RATE) : round((t + 0.02) * RATE)]) for t in (0.1, 0.6))
    assert early - late == pytest.approx(48, abs=1.5)
    dull = LOOPED | {8: 5936}  # 252 Hz: an octave under the tone
    (region,) = load(soundfonts.write(tmp_path / "b.sf2", dull)).regions
    assert region.cutoff == pytest.approx(252, rel=0.01)
    plain, filtered = (
        Sampler(load(tmp_path / f"{name}.sf2"), RATE, varied=0).render([Note(0, 2, 69, 127)], 0.5)[0, 10000:]
        for name in "cb"
        if soundfonts.write(tmp_path / "c.sf2", LOOPED)
    )
    assert level(plain) - level(filtered) == pytest.approx(12.3, abs=0.7)


def test_a_moving_cutoff_moves_without_clicks(tmp_path):
    sweep = LOOPED | {8: 4736, 11: 4800, 26: 0, 28: 1200, 29: 1000, 30: 0}
    (region,) = load(soundfonts.write(tmp_path / "a.sf2", sweep)).regions
    assert (region.fileg_depth, region.fileg_attack, region.fileg_sustain) == (4800, 1.0, 0.0)
    out = Sampler(load(tmp_path / "a.sf2"), RATE, varied=0).render([Note(0, 3, 69, 127)], 2.5)[0]
    closed, opened = (level(out[round(t * RATE) : round((t + 0.05) * RATE)]) for t in (0.05, 1.0))
    assert opened - closed > 10
    assert np.abs(np.diff(out, 2)).max() < 1.1 * np.abs(out).max() * (2 * np.pi * 500 / RATE) ** 2


def test_kits_ring_and_choke(tmp_path):
    path = soundfonts.write(tmp_path / "a.sf2", {38: 1200, 57: 3}, bank=128)
    (region,) = load(path, drums=True).regions
    assert (region.loop_mode, region.group, region.off_by) == ("one_shot", 3, 3)
    assert region.ampeg_decay == pytest.approx(2 * 80 / 96, rel=1e-3) and region.ampeg_sustain == 0


@pytest.mark.parametrize(
    "change", [lambda data: b"", lambda data: b"RIFF" + bytes(40), lambda data: data[:-60], lambda data: data[:400]]
)
def test_what_is_no_soundfont_is_one_line(tmp_path, change):
    path = soundfonts.write(tmp_path / "a.sf2", LOOPED)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StageError, match="a.sf2 is not a SoundFont") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there(tmp_path):
    path = soundfonts.write(tmp_path / "a.sf2", LOOPED)
    with pytest.raises(StageError, match=r"has no preset 128:5 .* it has 0:0"):
        load(path, 5, drums=True)


def test_any_damage_is_one_line_or_an_instrument(tmp_path):
    data = bytearray(soundfonts.write(tmp_path / "a.sf2", LOOPED | {36: 0, 8: 5000}).read_bytes())
    first = data.index(b"pdta")
    for at in range(first, len(data), 5):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        path = tmp_path / f"{at}.sf2"
        path.write_bytes(broken)
        try:
            Sampler(load(path), 8000).render([Note(0, 0.1, 69, 100)], 0.1)
        except StageError as error:
            assert "\n" not in str(error)
