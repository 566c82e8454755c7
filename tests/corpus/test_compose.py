"""The composer: songs that are repeatable, coherent and truthfully described. No audio, no fluidsynth."""

import numpy as np
import pytest

from stage.corpus import genres, harmony, parts, presets, synth, words
from stage.corpus.bass import Bassist
from stage.corpus.build import build, describe, song_id
from stage.corpus.compose import compose
from stage.corpus.drums import KICK, PATTERNS, Drummer, draw_groove
from stage.corpus.score import METRES, Section, parity
from stage.errors import StageError


def songs(count, side=0, seconds=24.0):
    return [compose(np.random.default_rng([5, side, i]), seconds, side) for i in range(count)]


@pytest.fixture(scope="module")
def many():
    return songs(120)


def test_the_same_seed_composes_the_same_song():
    (first,), (again,) = songs(1), songs(1)
    assert first == again
    assert first.notes != compose(np.random.default_rng(99), 24.0, 0).notes


def test_songs_are_wide(many):
    tempi = [s.tempo for s in many]
    assert min(tempi) < 72 and max(tempi) > 165 and all(60 <= t <= 190 for t in tempi)
    assert {s.metre.name for s in many} == {"4/4", "3/4", "6/8"}
    assert {s.feel for s in many} == {"straight", "swing", "shuffle"}
    assert len({s.genre.name for s in many}) >= 14
    assert {s.key for s in many} == set(range(12)) and len({s.mode for s in many}) == 4
    assert len({s.groove.signature() for s in many}) > 95
    playing = [set(s.notes) for s in many]
    assert np.mean(["drums" in p for p in playing]) > 0.9 and np.mean(["bass" in p for p in playing]) > 0.9
    assert sum(p & {"guitar", "keys", "pads"} != set() for p in playing) > 0.95 * len(many)
    kinds = {section.kind for s in many for section in s.sections}
    assert kinds == {"intro", "verse", "chorus", "bridge", "break", "outro", "ending"}


def test_every_pattern_has_the_length_of_its_bar():
    for metre, patterns in PATTERNS.items():
        for pattern in patterns.values():
            for row in (pattern.kick, pattern.snare, *(text for _, text in pattern.extra)):
                assert len(row) == METRES[metre].steps
    known = {name for patterns in PATTERNS.values() for name in patterns}
    for genre in genres.GENRES:
        assert set(genre.grooves) <= known
        assert all(any(g in PATTERNS[m] for g in genre.grooves) for m, _ in genre.metres), genre.name


def test_chords_follow_one_another_without_gaps(many):
    for song in many:
        assert song.chords[0].start == 0
        assert all(a.end == b.start for a, b in zip(song.chords, song.chords[1:]))
        assert song.chords[-1].end >= song.bars * song.metre.beats
        assert all(c.root in c.pitch_classes and c.bass in c.pitch_classes for c in song.chords)


@pytest.mark.parametrize("side", (0, 1))
def test_the_splits_share_no_progressions_and_no_grooves(side):
    rng = np.random.default_rng(3)
    for mode in harmony.SCALES:
        for blues in (0.0, 1.0):
            steps = harmony.progression(rng, mode, side, blues)
            assert parity(harmony.signature(mode, steps)) == side
    for metre, patterns in PATTERNS.items():
        for name in patterns:
            for density in (0.02, 0.5, 0.98):
                assert parity(draw_groove(rng, name, METRES[metre], density, side).signature()) == side


def test_presets_of_the_splits_are_disjoint_and_both_exist():
    fonts = sorted({name for name, _ in synth.SOUNDFONTS.values()})
    drawn = {0: set(), 1: set()}
    for side in drawn:
        rng = np.random.default_rng(side)
        for genre in genres.GENRES:
            for stem in ("drums", "bass", "guitar", "keys", "pads", "lead"):
                for _ in range(6):
                    font, bank, program = presets.choose(
                        rng, stem, presets.of_genre(genre, stem), fonts, side, lambda *_: True
                    )
                    drawn[side].add((presets.FAMILY[font], bank, program))
    assert drawn[0] and drawn[1] and not drawn[0] & drawn[1]


def test_swing_moves_the_offbeat_and_never_the_beat():
    song = next(s for s in songs(200) if s.feel == "shuffle")
    beat = 60 / song.tempo
    assert song.seconds(song.first_beat) == pytest.approx(song.offset)
    assert song.seconds(song.first_beat + 5) - song.offset == pytest.approx(5 * beat)
    off = (song.seconds(song.first_beat + 0.5) - song.offset) / beat
    assert 0.6 < off < 0.7


def test_density_changes_how_many_drums_there_are():
    metre = METRES["4/4"]
    for name in ("rock", "funk", "swing", "four", "ballad"):
        counts = []
        for density in (0.1, 0.9):
            rng = np.random.default_rng(4)
            drummer = Drummer(rng, draw_groove(rng, name, metre, density, 0), metre)
            section = Section("verse", 0, 8)
            counts.append(sum(len(drummer.bar(section, bar, fill=0, first=False)) for bar in range(8)))
        assert counts[1] > 1.4 * counts[0], name


def test_the_kick_marks_the_downbeat(many):
    stronger = []
    for song in many:
        kicks = [n for n in song.notes.get("drums", []) if n.pitch == KICK and n.beat % 1 == 0]
        bars, beats = song.bars, song.metre.beats
        if kicks:
            one = sum(n.velocity for n in kicks if n.beat % beats == 0) / bars
            rest = sum(n.velocity for n in kicks if n.beat % beats != 0) / (bars * (beats - 1))
            stronger.append(one > rest)
    assert np.mean(stronger) > 0.85


def test_bass_notes_on_beats_are_in_the_chord(many):
    inside = [
        n.pitch % 12 in parts.chord_at(song.chords, n.beat).pitch_classes
        for song in many
        for n in song.notes.get("bass", [])
        if n.beat % 1 == 0
    ]
    assert len(inside) > 1000 and np.mean(inside) > 0.9


def test_the_bass_can_lock_to_the_kick():
    metre, rng = METRES["4/4"], np.random.default_rng(0)
    chords = harmony.lay_out(rng, [(0, "", "T")], key=0, metre=metre, first_bar=0, bars=1, bars_each=1, colour=0)
    notes = Bassist(rng, "lock", metre, 0.5, range(12)).bar(0, chords, [0, 6, 10])
    assert [n.beat for n in notes] == [0, 1.5, 2.5]


def test_entries_and_silences_of_sections():
    section = Section("intro", 4, 4, enters={"bass": 2}, silent=frozenset({"lead"}))
    assert not section.plays("bass", 5) and section.plays("bass", 6)
    assert section.plays("drums", 4) and not section.plays("lead", 7)


def test_words_speak_the_truth():
    rng = np.random.default_rng(0)
    common = {
        "meter": "4/4",
        "feel": "straight",
        "genre": "ballad",
        "mood": ["calm"],
        "instrument": "brush kit",
        "style": None,
    }
    sparse = " | ".join(words.stem_captions(rng, "drums", density=0.1, tempo=64.0, count=60, **common))
    busy = " | ".join(words.stem_captions(rng, "drums", density=0.95, tempo=170.0, count=60, **common))
    assert "sparse" in sparse and "slow" in sparse and "ballad" in sparse and "brush kit" in sparse
    assert "driving" in busy and "busy" in busy and "fast" in busy
    for wrong in ("busy", "driving", "dense", "fast", "intense"):
        assert wrong not in sparse
    for wrong in ("sparse", "minimal", "slow", "gentle"):
        assert wrong not in busy


def test_the_description_has_exact_beats_chords_and_sections(many):
    for song in many[:20]:
        about = {s: {"words": ["x"], "style": None} for s in song.notes}
        meta = describe(song, about, 24.0, np.random.default_rng(1))
        beats, numbers = np.array(meta["beats"]), meta["downbeat_numbers"]
        np.testing.assert_allclose(np.diff(beats), 60 / meta["tempo"], atol=2e-6)
        assert 0 <= beats[0] <= 0.5 and beats[-1] < 24.0 <= beats[-1] + 60 / meta["tempo"] + 1e-5
        assert numbers[0] == song.first_beat % song.metre.beats + 1 and set(numbers) == set(
            range(1, song.metre.beats + 1)
        )
        assert meta["chords"][0]["start"] <= song.offset + 1e-4 and meta["chords"][-1]["end"] == 24.0
        assert all(c["root"] is None or c["root"] in c["pitch_classes"] for c in meta["chords"])
        assert meta["sections"][-1]["end"] == 24.0
        assert len(meta["captions"]) == 5 and all(len(c) == 5 for c in meta["stem_captions"].values())


def test_bad_requests_are_named(tmp_path, monkeypatch):
    with pytest.raises(StageError, match="train, heldout"):
        build(tmp_path, "dev")
    for wrong in ({"songs": 0}, {"workers": 0}, {"seconds": 1.0}, {"seed": -1}):
        with pytest.raises(StageError, match="at least one song"):
            build(tmp_path, "train", **wrong)
    monkeypatch.setattr(synth, "FOLDERS", (str(tmp_path),))
    with pytest.raises(StageError, match="apt-get install libfluidsynth3"):
        synth.find_soundfonts()


def test_a_missing_package_or_library_is_named(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(error):
        def fake(name, *args, **kwargs):
            if name == "fluidsynth":
                raise error
            return real(name, *args, **kwargs)

        return fake

    monkeypatch.setattr(builtins, "__import__", without(ModuleNotFoundError("fluidsynth")))
    with pytest.raises(StageError, match=r"stage-music\[corpus\]"):
        synth.check()
    monkeypatch.setattr(builtins, "__import__", without(ImportError("Couldn't find the FluidSynth library.")))
    with pytest.raises(StageError, match="apt-get install libfluidsynth3"):
        synth.check()


def test_names_of_songs_sort_by_their_number():
    names = [song_id("train", 1, i) for i in (2, 10, 100)]
    assert names == sorted(names)
