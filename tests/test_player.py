"""From a recording or a tempo to a part of played notes, by a model of events with drawn weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from helpers.fakes import drawn_player, echo_stage, song
from stage import BeatGrid, Stage, StageError
from stage.config import EventsConfig
from stage.generation.event_rules import EventRules
from stage.generation.performance import Performance
from stage.generation.played import Plan, chord_logits, entering, time_line
from stage.generation.prepare import Prepared
from stage.generation.request import Recording, Request
from stage.generation.sounding import CodesSoFar, within
from stage.generation.windows import play
from stage.models.events import TimeLine, codecs
from stage.models.lora import Adapter, AdapterConfig
from stage.models.playable import INSTRUMENTS, WORDS, named
from stage.notes import Note
from stage.training.finetune.trainable import prepare

RATE = 32000


@pytest.fixture(scope="module")
def player():
    return drawn_player()


@pytest.mark.parametrize("stem", ["drums", "bass"])
@pytest.mark.parametrize("rate, channels", [(44100, 2), (22050, 1)])
def test_a_part_is_notes_and_their_sound_as_long_as_the_song(player, stem, rate, channels):
    made = player.accompany(song(3.1, rate, channels), rate, stem, variations=2, grid=BeatGrid.regular(120, 4, 3.1))
    assert made.stems.shape == (2, channels, round(3.1 * rate)) and np.abs(made.stems).max() > 0.01
    assert len(made.notes) == 2 and made.notes[0] != made.notes[1] and all(made.notes)
    assert all(0 <= note.start < 3.1 and note.end <= 3.1 for part in made.notes for note in part)
    assert len(made.instruments) == 2 and made.mix().shape == made.song.shape


def test_a_seed_is_its_own_music_alone_or_among_others(player):
    recording, grid = song(6.0), BeatGrid.regular(120, 4, 6.0)  # longer than a window of eight beats
    both = player.accompany(recording, 44100, "keys", variations=2, seed=3, grid=grid)
    alone = player.accompany(recording, 44100, "keys", seed=4, grid=grid)
    assert alone.notes[0] == both.notes[1] and np.array_equal(alone.stems[0], both.stems[1])


def test_a_stem_may_have_a_sampling_of_its_own(player):
    own = replace(player.events, sampling={"drums": {"guidance": 1.0, "temperature": 0.5}})
    stage = replace(player, events=own)
    assert (stage.sampling(stem="drums").guidance, stage.sampling(stem="drums").temperature) == (1.0, 0.5)
    assert stage.sampling(2.0, stem="drums").guidance == 2.0 and stage.sampling(stem="bass") == player.sampling()
    request = Request("drums", Recording(song(2.0), 44100))
    assert stage.complete(request).sampling == stage.sampling(stem="drums")
    with pytest.raises(ValueError, match="sampling of drums has top_k"):
        replace(own, sampling={"drums": {"top_k": 3}})
    with pytest.raises(ValueError, match="temperature"):
        replace(own, sampling={"drums": {"temperature": -1.0}})


def test_a_metronome_needs_no_recording(player):
    made = player.click(100, "drums", bars=2)
    assert made.stems.shape[1:] == made.song.shape == (2, round(4.8 * 44100)) and len(made.notes[0]) > 1
    assert made.grid.bpm == pytest.approx(100)


def test_regular_frames_stand_in_where_no_beats_are_known(player):
    made = player.accompany(song(2.0), 44100, "bass", grid="off")
    assert made.grid is None and made.notes[0]
    line = time_line(None, 2.0, EventsConfig())
    assert line.frames >= 48 and not line.numbers.any() and np.allclose(np.diff(line.times), 1 / 24)


def test_plain_output_is_one_channel_at_the_codecs_rate(player):
    mix = song(2.0, player.codec.sample_rate, 1)[0]
    plain = player.generate_audio({"mix": mix}, "pads", seconds=2.0, seeds=(1, 2))
    assert plain.shape == (2, 2 * player.codec.sample_rate)
    with pytest.raises(StageError, match="no grid as context: it takes mix"):
        player.generate_audio({"grid": mix}, "pads", seconds=2.0)


def test_notes_outside_the_stretch_and_in_pauses_are_left_out():
    notes = [Note(-0.2, 0.1, 36, 90), Note(-0.02, 0.5, 40, 90), Note(0.9, 2.4, 43, 90), Note(1.5, 1.6, 45, 90)]
    assert within(notes, 2.0, ((1.2, 1.8),)) == [Note(0.0, 0.5, 40, 90), Note(0.9, 1.2, 43, 90)]
    assert within([Note(0.5, 3.0, 36, 90)], 2.0) == [Note(0.5, 2.0, 36, 90)]


def test_a_saved_player_plays_the_same(player, tmp_path):
    player.save_pretrained(tmp_path / "saved")
    again = Stage.from_pretrained(tmp_path / "saved")
    assert again.events == player.events and again.chord_head is not None
    arguments = (song(2.0), 44100, "guitar")
    grid = BeatGrid.regular(120, 4, 2.0)
    assert again.accompany(*arguments, grid=grid).notes == player.accompany(*arguments, grid=grid).notes


def test_a_player_of_another_version_is_refused(player, tmp_path):
    player.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    good = json.loads(path.read_text())
    for change in ({"events": None}, {"events": {**good["events"], "instruments": {"drums": ["tin cans"]}}}):
        path.write_text(json.dumps({key: value for key, value in (good | change).items() if value is not None}))
        with pytest.raises(StageError, match="lacks 'events'|another version"):
            Stage.from_pretrained(tmp_path / "saved")
    path.write_text(json.dumps(good | {"codec": {"kind": "shared", "model": "nobody's"}}))
    with pytest.raises(StageError, match="no model"):
        Stage.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("stem", ["drums", "keys"])
def test_notes_as_they_come_are_those_of_the_whole(player, stem):
    """Codes part by part: no note begins before what was certain, and all together are the whole part's notes."""
    prepared = Prepared({}, 8.0, player.codec.sample_rate, BeatGrid.regular(113, 4, 8.0))
    request = Request(stem, Recording(np.zeros((1, 8 * 44100), np.float32), 44100), seeds=(1, 2))
    plan = player._plan(request, prepared)
    codes = play(**player._played(plan, request, None))
    whole = [plan.events.decode(one, plan.line) for one in codes]
    sizes = [40, 3, 1, 1, 17, 60, codes.shape[2] - 122]
    known, edge = [{}, {}], -1.0
    parts = CodesSoFar(plan)
    for part in codes.split(sizes, -1):
        parts.add(part)
        made, certain = parts.recent(), parts.certain
        for notes, seen in zip(made, known):
            for note in notes:
                key = note.start, note.pitch, note.velocity
                assert key in seen or note.start >= edge
                seen[key] = note
        edge = certain
    assert [sorted(seen.values()) for seen in known] == [
        sorted({(n.start, n.pitch, n.velocity): n for n in w}.values()) for w in whole
    ]


def test_what_needs_codes_of_audio_is_refused(player, tmp_path):
    player.save_pretrained(tmp_path / "player")
    with pytest.raises(StageError, match="plays events, and a fine-tuning learns from sound"):
        prepare(player, ("drums",), 0)
    config = AdapterConfig(name="mine", stem="drums")
    with pytest.raises(StageError, match='"drawn player" plays events'):
        player.add_adapter(Adapter(config))


@pytest.mark.parametrize("stem, options", [("drums", {}), ("bass", {}), ("drums", {"swing": 0.5})])
def test_a_stream_is_the_part_made_at_once(player, stem, options):
    request = Request.recording(
        song(5.0),
        44100,
        stem,
        variations=2,
        grid=BeatGrid.regular(97, 4, 5.0),
        level=False,
        performance=Performance(**options),
    )
    whole = player.make(request)
    with player.make_stream(request, chunk_seconds=0.5) as stream:
        chunks = list(stream)
    assert stream.channels == 2 and all(chunk.shape[:2] == (2, 2) for chunk in chunks)
    assert (len(chunks) > 8) == (not options)
    assert np.abs(np.concatenate(chunks, -1) - whole.stems).max() < 1e-4
    again = stream.finish(chunks)
    assert again.notes == whole.notes and again.instruments == whole.instruments
    assert np.array_equal(again.stems, whole.stems)


def test_chords_and_options_reach_the_model_or_are_refused(player, monkeypatch):
    made = player.click(120, "bass", bars=4, chords="Am F", performance=Performance(register="low"))
    assert [span.chord.name for span in made.chords] == ["Am", "F", "Am", "F"] and "repeated" in " ".join(made.remarks)
    assert all(note.pitch <= 48 for note in made.notes[0])
    with pytest.raises(StageError, match="fills is of no use to bass"):
        player.click(120, "bass", performance=Performance(fills=4))
    with pytest.raises(StageError, match="'Xyz'|Xyz"):
        player.click(120, "bass", chords="Am Xyz")
    stage, _ = echo_stage(monkeypatch)
    with pytest.raises(StageError, match="chords, controls and instruments are for models of events"):
        stage.accompany(song(2.0), 44100, "drums", chords="Am")


def test_the_models_reading_of_chords_covers_every_frame(player):
    prepared = Prepared(
        {"mix": song(7.0, player.codec.sample_rate, 1)[0]}, 7.0, player.codec.sample_rate, BeatGrid.regular(120, 4, 7.0)
    )
    plan = Plan.of("keys", 7.0, prepared, player.events, player.codec, player.decoder.device)
    whole = chord_logits(player.decoder, player.chord_head, plan.mix, plan.known, plan.line.frames)
    parts = chord_logits(player.decoder, player.chord_head, plan.mix, plan.known, 96)
    assert whole.shape == (plan.line.frames, 25) and (whole != 0).all() and (parts != 0).all()
    assert torch.allclose(whole[:40], parts[:40], atol=1e-3)


def test_a_users_kit_is_played_and_what_it_lacks_is_said(player, tmp_path, monkeypatch):
    tone = 0.5 * np.sin(np.arange(4000) / 5)
    soundfile.write(tmp_path / "a.wav", tone, 44100)
    (tmp_path / "kit.sfz").write_text("<region> sample=a.wav key=38 flavour=7", encoding="utf-8")
    recording, grid = song(2.0), BeatGrid.regular(120, 4, 2.0)
    made = player.accompany(recording, 44100, "drums", grid=grid, performance={"kit": str(tmp_path / "kit.sfz")})
    assert made.instruments == (str(tmp_path / "kit.sfz"),) and np.abs(made.stems).max() > 0.01
    said = " ".join(made.remarks)
    assert "flavour" in said and "kit.sfz has no sound for these keys" in said
    assert list(dict(made.pieces())) == ["snare"] and len(made.midi().tracks) == 2
    named = player.accompany(recording, 44100, "drums", grid=grid, performance={"kit": "kits/jazz"})
    assert [m.program for m in named.midi().tracks[1] if m.type == "program_change"] == [32]

    monkeypatch.setattr("stage.generation.maker.play", lambda **_: pytest.fail("something was made"))
    for text, message in (("<region> sample=b.wav", "b.wav does not exist"), ("nothing", "no region with a sample")):
        (tmp_path / "broken.sfz").write_text(text, encoding="utf-8")
        with pytest.raises(StageError, match=message):
            player.accompany(recording, 44100, "drums", performance={"kit": str(tmp_path / "broken.sfz")})


def test_a_part_begins_with_the_first_downbeat():
    line = TimeLine.musical(BeatGrid(np.array([0.3, 0.8, 1.3, 1.8]), np.array([4, 1, 2, 3])), 2.0)
    lift = entering(EventRules.of(codecs()["keys"]), line, "keys").lift
    found = np.argwhere(lift.numpy() != 0)
    assert {int(frame) for frame, _ in found} == {int(np.argmin(np.abs(line.times - 0.8)))}
    assert [int(codebook) for _, codebook in found] == [1, 3, 5]


@pytest.mark.parametrize(
    "stem, prompt, wanted",
    [
        ("drums", "slow ballad on Brushes, sparse", "brushes"),
        ("drums", "drums on brush kit", "brushes"),
        ("drums", "drums on 808 kit", "808"),
        ("bass", "an upright, walking", "upright"),
        ("keys", "Rhodes, soft", "electric"),
        ("pads", "synth strings", "synth strings"),
        ("drums", "jazz", None),
        ("keys", "organic", None),
        ("drums", "", None),
    ],
)
def test_a_prompt_that_names_an_instrument_gets_it(player, stem, prompt, wanted):
    assert named(prompt, stem) == wanted
    if wanted:
        made = player.click(120, stem, bars=1, prompt=prompt, seed=4)
        assert made.instruments == (wanted,)
        other = {"kit": "studio"} if stem == "drums" else {"instrument": "finger"} if stem == "bass" else {}
        if other:
            assert player.click(120, stem, bars=1, prompt=prompt, performance=other).instruments != (wanted,)


def test_every_instrument_with_words_is_one_of_its_stem():
    assert all(set(names) <= set(INSTRUMENTS[stem]) for stem, names in WORDS.items())
