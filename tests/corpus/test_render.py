"""Rendering, files and reading. Skips where fluidsynth or its soundfonts are missing."""

import json

import numpy as np
import pytest

from stage.corpus import effects, read, synth
from stage.corpus.build import build, render_song
from stage.errors import StageError
from stage.files import LOCK, lock


@pytest.fixture(scope="module")
def renderer():
    try:
        synth.check()
    except StageError as error:
        pytest.skip(f"fluidsynth: {error}")
    renderer = synth.Renderer()
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def built(renderer, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    assert build(root, "heldout", songs=2, seed=3, seconds=8.0) == 2
    return root


def test_notes_start_when_they_should_and_nothing_before(renderer):
    events = [synth.Event(t, t + 0.1, 38, 110) for t in (0.5, 1.13, 1.871)]
    font = sorted(renderer.fonts)[0]
    audio = renderer.render(events, 2.5, font, 128, 0)
    assert audio.shape == (80000,) and audio.dtype == np.float32
    assert np.max(np.abs(audio[: int(0.498 * 32000)])) < 1e-6
    for e in events:
        after = np.abs(audio[int((e.start - 0.02) * 32000) : int((e.start + 0.05) * 32000)])
        onset = np.argmax(after > 0.2 * after.max()) / 32000 - 0.02
        assert abs(onset) < 0.006


def test_a_stem_does_not_depend_on_what_was_rendered_before(renderer):
    font = sorted(renderer.fonts)[0]
    hats = [synth.Event(0.25 * i, 0.25 * i + 0.1, 42 + 4 * (i % 2), 100) for i in range(8)]
    first = renderer.render(hats, 2.0, font, 128, 0)
    renderer.render(
        [synth.Event(0.0, 9.0, p, 120) for p in (48, 55, 60)], 1.0, font, 0, 16
    )  # an organ that never lets go
    again = renderer.render(hats, 2.0, font, 128, 0)
    np.testing.assert_array_equal(first, again)


def test_a_song_has_beats_under_its_drums_and_does_not_clip(renderer):
    near, stronger = [], []
    for index in range(3):
        meta, audio = render_song("train", 11, index, 12.0, renderer)
        mix = sum(audio.values())
        assert np.max(np.abs(mix)) <= 0.9 and all(np.max(np.abs(a)) <= 0.9 for a in audio.values())
        assert set(audio) == set(meta["stems"]) == set(meta["notes"]) == set(meta["density"])
        for name, stem in audio.items():
            assert effects.passage_rms(stem, 32000) > 1e-3
            first = meta["notes"][name][0][0]
            assert np.max(np.abs(stem[: max(int((first - 0.004) * 32000), 0)]), initial=0.0) < 1e-4
        beats = np.array(meta["beats"])
        kicks = np.array([n[0] for n in meta["notes"].get("drums", []) if n[2] == 36])
        near += [np.min(np.abs(beats - k)) for k in kicks]
        stronger.append(len(kicks))
    assert sum(stronger) > 10 and np.mean(np.array(near) < 0.03) > 0.5


def test_the_files(built):
    for song in read.songs(built, "heldout"):
        files = {p.name for p in song.folder.iterdir()}
        assert files == {"song.json"} | {f"{s}.flac" for s in song.stems}
        meta = json.loads((song.folder / "song.json").read_text())
        assert meta["split"] == "heldout" and meta["rate"] == 32000 and meta["samples"] == 8 * 32000
        assert {"tempo", "meter", "feel", "genre", "moods", "key", "chords", "sections", "captions"} <= set(meta)


def test_building_again_makes_only_what_is_missing(built):
    gone = read.songs(built, "heldout")[1]
    before = (gone.folder / "song.json").read_bytes(), {s: gone.stem(s) for s in gone.stems}
    for path in gone.folder.iterdir():
        path.unlink()
    gone.folder.rmdir()
    assert build(built, "heldout", songs=2, seed=3, seconds=8.0) == 1
    assert (gone.folder / "song.json").read_bytes() == before[0]
    for stem, audio in before[1].items():
        np.testing.assert_array_equal(gone.stem(stem), audio)
    assert build(built, "heldout", songs=2, seed=3, seconds=8.0) == 0
    assert not [p for p in (built / "heldout").iterdir() if p.name.startswith(".") and p.name != LOCK]


def test_two_builds_never_meet_in_one_folder_and_old_leftovers_go(built):
    left = built / "heldout" / ".heldout-0003-000001.4711"  # of a build of an earlier version that was killed
    left.mkdir()
    with lock(built / "heldout"), pytest.raises(StageError, match="in use by another `stage corpus`"):
        build(built, "heldout", songs=2, seed=3, seconds=8.0)
    reported = []
    assert build(built, "heldout", songs=2, seed=3, seconds=8.0, on_song=lambda *now: reported.append(now)) == 0
    assert reported == [(2, 2)] and not left.exists()


def test_reading_pieces(built):
    song = read.songs(built, "heldout")[0]
    name = song.stems[0]
    whole = song.stem(name)
    assert whole.shape == (song.samples,) and song.seconds == 8.0
    np.testing.assert_array_equal(song.crop(name, 2.5, 1.0), whole[80000:112000])
    early = song.crop(name, -1.0, 2.0)
    assert not early[:32000].any()
    np.testing.assert_array_equal(early[32000:], whole[:32000])
    late = song.crop(name, 7.5, 2.0)
    np.testing.assert_array_equal(late[:16000], whole[-16000:])
    assert not late[16000:].any()
    assert not song.crop("theremin", 0.0, 1.0).any()
    np.testing.assert_allclose(song.mix(), sum(song.stem(s) for s in song.stems), atol=1e-6)
    assert len(song.beats) == len(song.numbers)


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(StageError, match="stage corpus"):
        read.songs(tmp_path, "train")
    (tmp_path / "song.json").write_text("{")
    with pytest.raises(StageError, match="not a song"):
        read.CorpusSong(tmp_path).meta  # noqa: B018


def test_a_song_with_numbers_that_no_song_has_is_refused(tmp_path):
    right = {"id": "a", "rate": 32000, "samples": 10, "beats": [0.5], "downbeat_numbers": [1], "stems": {}}
    wrong = {
        "rate": [0, 10**9, "x"],
        "samples": [-1, 10**30],
        "beats": [[], ["a"]],
        "downbeat_numbers": [[10**30], [0]],
    }
    for name, values in (*wrong.items(), ("stems", [[]]), ("id", [[]])):
        for value in values:
            (tmp_path / "song.json").write_text(json.dumps({**right, name: value}))
            with pytest.raises(StageError, match="song.json"):
                read.CorpusSong(tmp_path).meta  # noqa: B018
    (tmp_path / "song.json").write_text(json.dumps(right))
    assert read.CorpusSong(tmp_path).numbers.tolist() == [1]


def test_effects_keep_length_and_level():
    rng = np.random.default_rng(0)
    audio = np.zeros(64000, dtype=np.float32)
    audio[1000:30000] = rng.normal(0, 0.1, 29000)
    for seed in range(6):
        for stem in ("drums", "bass", "keys"):
            out = effects.treat(np.random.default_rng(seed), audio, 32000, stem)
            assert out.shape == audio.shape and out.dtype == np.float32 and np.all(np.isfinite(out))
            assert np.max(np.abs(out)) == pytest.approx(1.0, abs=1e-4) and np.max(np.abs(out[:990])) < 1e-4
    assert effects.passage_rms(np.zeros(64000), 32000) == 0.0


def test_shelves_do_what_they_say():
    time = np.arange(32000) / 32000
    for hz, high in ((60, False), (12000, True)):
        tone = np.sin(2 * np.pi * hz * time).astype(np.float32)
        lifted = effects.shelf(tone, 32000, 800, 6.0, high)
        kept = effects.shelf(tone, 32000, 800, 6.0, not high)
        assert 20 * np.log10(np.std(lifted[8000:]) / np.std(tone)) == pytest.approx(6.0, abs=0.4)
        assert 20 * np.log10(np.std(kept[8000:]) / np.std(tone)) == pytest.approx(0.0, abs=0.4)


def test_keys_that_a_kit_lacks_sound_as_their_nearest(renderer):
    font = sorted(renderer.fonts)[0]
    for key, near in synth.NEAREST_KEYS.items():
        heard = [renderer.render([synth.Event(0.1, 0.2, k, 100)], 0.5, font, 128, 0) for k in (key, near)]
        assert np.max(np.abs(heard[0])) > 1e-3
        np.testing.assert_array_equal(*heard)
