"""Drummers of the Groove MIDI Dataset in composed songs: a small ZIP made here, and the data set where it is."""

import numpy as np
import pytest

from helpers import groove
from helpers.drummers import groove_zip, midi_bytes, rock
from stage.corpus import form
from stage.corpus.compose import compose
from stage.corpus.grooves import EARLY, Grooves
from stage.corpus.human_drums import REACH, STYLES, Drummers, _swing, _timing
from stage.corpus.score import METRES, STEMS
from stage.errors import StageError
from stage.models.playable import GROUPS

GM_KEYS = {key for group in GROUPS.values() for _, key in group}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Rock of 24 bars for training, of 8 for held-out songs, at tempi that suit any; and a fill."""
    fill = [(i / 4, (50, 48, 45, 43)[i // 4], 100) for i in range(16)] + [(0.0, 36, 60)]
    styles = sorted({style for table in STYLES.values() for style in table if "/" not in style})
    rows = []
    for style in styles:
        for bpm in (70, 100, 140, 190):
            rows.append({"style": style, "bpm": bpm, "hits": rock(24, 0.03, 4)})
            rows.append({"style": style, "bpm": bpm, "hits": rock(8, 0.03, 4), "split": "test"})
            rows.append({"style": style, "bpm": bpm, "hits": fill, "beat_type": "fill"})
    return Grooves(groove_zip(tmp_path_factory.mktemp("grooves") / "small.zip", rows))


def songs(drummers, count, side=0, seconds=24.0):
    return [compose(np.random.default_rng([8, side, i]), seconds, side, drummers) for i in range(count)]


@pytest.fixture(scope="module")
def played(small):
    """Songs with a person's drums."""
    found = [s for s in songs(Drummers(small, 1.0), 60) if s.take]
    assert len(found) > 15
    return found


def test_bars_of_a_performance(tmp_path):
    hits = [(b - 0.05, key, v) for b, key, v in rock(9, fill_every=4)] + [(36.0, 36, 60), (36.0, 49, 120)]
    hits = [(max(b, 0.0), key, v) for b, key, v in hits]
    found = Grooves(groove_zip(tmp_path / "a.zip", [{"hits": hits}]))
    bars = found.bars(found.performances[0])
    assert [bar.number for bar in bars] == list(range(9))  # the last stroke is no bar
    assert [bar.fill for bar in bars] == [False, False, False, True] * 2 + [False]
    assert [bar.crash for bar in bars] == [False, False, False, False, True, False, False, False, True]
    on = bars[5].hits
    assert np.abs(on[:, 0] * 2 - np.round(on[:, 0] * 2)).max() < 0.005  # all are early alike: made good
    assert set(on[:, 1]) == {36, 38, 42} and 49 in bars[4].hits[:, 1]  # 55 is the first crash's edge
    assert on[on[:, 1] == 36][:, 2].tolist() == [100, 100] and on[on[:, 1] == 38][:, 2].tolist() == [110, 110]


def test_swing_is_measured():
    beats = np.arange(32.0)
    for half, want in ((0.5, 0.5), (0.66, 0.66), (0.62, 0.62)):
        hits = np.concatenate([beats, beats + half])
        assert _swing(np.stack([hits, np.full_like(hits, 42), hits * 0 + 80], 1)) == pytest.approx(want, abs=1e-3)


def test_lateness_of_kicks_and_of_the_feel():
    hits = np.array(
        [[b + late, key, 90.0] for b in range(0, 16, 4) for late, key in ((0.02, 36), (1.05, 42), (2.66, 36))]
    )
    kick, template = _timing(hits, 0.66, METRES["4/4"])
    assert (
        kick[0] == pytest.approx(0.02) and kick[10] == pytest.approx(0.0, abs=1e-6) and kick[16] == pytest.approx(0.02)
    )
    assert template[4] == pytest.approx(0.05) and template[10] == pytest.approx(0.0, abs=1e-6)


def test_the_bass_sits_on_the_kick_and_hits_keep_their_place(played):
    together = []
    for song in played:
        spb = 60 / song.tempo
        hats = np.array([n.beat for n in song.notes.get("drums", []) if n.pitch == 42 and 0.4 < n.beat % 1 < 0.7])
        if len(hats):
            assert set(np.round(hats % 1, 2)) == {0.53}  # as late as the drummer played them, in beats
            assert song.played("drums", 3.53) == pytest.approx(song.offset + (3.53 - song.first_beat) * spb)
        kicks = np.array([song.played("drums", n.beat) for n in song.notes.get("drums", []) if n.pitch == 36])
        for note in song.notes.get("bass", []):
            if len(kicks) and np.abs(kicks - song.seconds(note.beat)).min() < 0.04 * spb:
                together.append(np.abs(kicks - song.played("bass", note.beat)).min())
    assert len(together) > 200 and np.median(together) < 0.002


def test_fills_stand_before_sections(played):
    before, other = [], []
    for song in played:
        toms = np.array([n.beat for n in song.notes.get("drums", []) if n.pitch in (43, 45, 48)])
        borders = {s.start - 1 for s in song.sections[1:]}
        for bar in range(song.sections[-1].start):
            if form.at(song.sections, bar).plays("drums", bar):
                inside = ((toms + EARLY) // 4 == bar).sum()
                (before if bar in borders else other).append(inside > 2)
    assert np.mean(before) > 0.4 and np.mean(before) > 2 * np.mean(other)


def test_splits_of_the_set_are_kept(small):
    test = {p.id for p in small.performances if p.held_out}
    for side in (0, 1):
        used = {i for s in songs(Drummers(small, 1.0), 40, side) if s.take for i in s.take.about["performances"]}
        assert used and all((i in test) == bool(side) for i in used)


def test_the_seed_decides_and_other_songs_stay(small):
    drummers = Drummers(small, 0.5)
    once, again, without = songs(drummers, 30), songs(drummers, 30), songs(None, 30)
    assert once == again
    human = [bool(s.take) for s in once]
    assert 3 < sum(human) < 20
    for with_drummer, composed, own in zip(once, without, human):
        assert own or with_drummer == composed
        if own:  # only what follows the drummer differs
            assert with_drummer.chords == composed.chords and with_drummer.sections == composed.sections
            assert set(with_drummer.notes) - {"drums"} == set(composed.notes) - {"drums"}


def test_what_is_wrong_with_a_zip_is_said_in_one_line(tmp_path):
    no_zip, empty = tmp_path / "no.zip", tmp_path / "empty.zip"
    no_zip.write_bytes(b"MThd")
    import zipfile

    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("groove/README", "x")
    for path, why in ((tmp_path / "gone.zip", "No such file"), (no_zip, "not a zip"), (empty, "no info.csv")):
        with pytest.raises(StageError, match=why) as error:
            Grooves(path)
        assert "\n" not in str(error.value)
    rows = [{"hits": rock(2)}, {"hits": rock(2), "data": midi_bytes(rock(2), 110)[:60]}]
    cut = Grooves(groove_zip(tmp_path / "cut.zip", rows, leave_out=["drummer1/session1/0.mid"]))
    with pytest.raises(StageError, match="lacks groove/drummer1/session1/0.mid"):
        cut.bars(cut.performances[0])
    with pytest.raises(StageError, match="is cut"):
        cut.bars(cut.performances[1])
    wrong = tmp_path / "columns.zip"
    with zipfile.ZipFile(wrong, "w") as archive:
        archive.writestr("info.csv", "drummer,session\n1,2\n")
    with pytest.raises(StageError, match="no column id"):
        Grooves(wrong)


@pytest.mark.parametrize("side", (0, 1))
def test_the_data_set_itself(side):
    grooves = Grooves(groove.place())
    by_id = {p.id: p for p in grooves.performances}
    found = [s for s in songs(Drummers(grooves, 1.0), 40, side, 32.0) if s.take]
    assert len(found) > 10
    for song in found:
        about = song.take.about
        assert all(by_id[i].held_out == bool(side) for i in about["performances"])
        assert abs(np.log(about["bpm"] / song.tempo)) <= REACH and (song.feel == "straight") == (song.take.swing == 0.5)
        assert {n.pitch for n in song.notes.get("drums", [])} <= GM_KEYS
        assert all(1 <= n.velocity <= 127 for n in song.notes.get("drums", []))
        assert set(song.notes) <= set(STEMS) and 0 < song.density["drums"] < 1
        beats = [n.beat for n in song.notes.get("drums", [])]
        off = [b - round(b) for b in beats if abs(b - round(b)) < EARLY]
        assert abs(np.median(off or [0.0])) * 60 / song.tempo < 0.02  # the song's beats lie where the drummer's do
