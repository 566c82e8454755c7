"""Rules of events against what codecs write, and their shifts on a small decoder of drawn weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stage.config import DecoderConfig
from stage.generation.decoding import Sampling, generate
from stage.generation.event_rules import EventRules, Past
from stage.generation.windows import of_codes, play
from stage.models.decoder import Decoder
from stage.models.events import HOLD, LOWEST, MANNERS, ONSET, REACH, REST, TimeLine, codecs, manner_of
from stage.notes import Note
from stage.prefix import interleave

DELAYS = (0, *(lane + part for lane in range(8) for part in (0, 1)))
FRAMES = 24


def make(delays=DELAYS) -> Decoder:
    torch.manual_seed(3)
    shape = dict(dim=32, layers=2, heads=2, ffn_dim=64, codebooks=17, codebook_size=16, context_codebooks=2)
    shape |= dict(delays=delays, target_size=MANNERS, stems=("drums", "bass"), contexts=("mix",), text_dim=8)
    return Decoder(DecoderConfig(**shape, positions="rotary", restart=True)).eval().requires_grad_(False)


def draw(rules, seeds=(1, 2, 3, 4), frames=FRAMES, prompt=None, delays=DELAYS, guidance=3.0):
    mix = torch.randint(0, 16, (2, frames), generator=torch.Generator().manual_seed(5))
    sampling = Sampling(guidance=guidance)
    arguments = dict(stem=0, contexts=[mix], frames=frames, seeds=seeds, prompt=prompt, sampling=sampling)
    return generate(make(delays), rules=rules, **arguments)


def played(stem: str, seed: int) -> list[Note]:
    """Notes at any time, many at once, many of them short."""
    draws = np.random.default_rng(seed)
    notes = []
    for _ in range(90):
        start = draws.uniform(-0.5, 4.0)
        pitch = int(draws.choice([36, 38, 42, 46, 45, 51, 49, 54])) if stem == "drums" else int(draws.integers(30, 60))
        notes.append(Note(start, start + draws.exponential(0.3), pitch, int(draws.integers(1, 128))))
    return notes


def check_fit(codes: torch.Tensor, stem: str, first: int = 0) -> None:
    """From frame `first` on, how fits what in each lane of [K, T], and holds follow what sounds."""
    for what, how in zip(codes[1::2].tolist(), codes[2::2].tolist()):
        for t in range(first, len(what)):
            sounded = t > 0 and what[t - 1] >= HOLD and stem != "drums"
            if stem == "drums" or what[t] >= ONSET:
                assert (how[t] > 0) == (what[t] > 0)
            elif what[t] == HOLD:
                assert sounded and how[t] == 0
            else:
                assert (how[t] > 0) == sounded and (not how[t] or manner_of(how[t])[0] == 0)


@pytest.mark.parametrize("stem", codecs())
@pytest.mark.parametrize("delays", [DELAYS, tuple(range(17)), (0, *range(0, 16, 2), *range(4, 19, 2))])
def test_all_that_codecs_write_is_allowed(stem, delays):
    codec = codecs()[stem]
    codes = codec.encode(played(stem, 7), TimeLine.regular(4.0, 24.0), codec.instruments[0])
    check_fit(codes, stem)
    assert (codes[1::2] > 0).sum() > 60
    rules, start = EventRules.of(codec), 23
    columns = interleave(codes + start, 16, delays)[None]
    for at in range(codes.shape[1] + max(delays)):
        allowed = rules._fitting(Past(columns, at, start, delays)).expand(1, -1, -1)
        for k, delay in enumerate(delays):
            if 0 <= at - delay < codes.shape[1]:
                code = codes[k, at - delay]
                # the register alone may be narrower
                assert allowed[0, k, code] or (k % 2 and code >= ONSET and not rules.allowed[k, code])


@pytest.mark.parametrize("stem", ["drums", "bass"])
@pytest.mark.parametrize("delays", [DELAYS, ()])
def test_how_fits_what_in_all_that_is_drawn(stem, delays):
    rules = EventRules.of(codecs()[stem], presence=1.5)
    for codes in draw(rules, delays=delays):
        check_fit(codes, stem)
        assert (codes[1::2] > 0).any()
    loose = draw(replace(rules, following=None), delays=delays)
    with pytest.raises(AssertionError):
        check_fit(loose[0], stem)


@pytest.mark.parametrize("stem", ["drums", "bass"])
def test_a_prompt_is_gone_on_from(stem):
    codec = codecs()[stem]
    notes = [Note(0.1 * i, 0.1 * i + 0.5, 36 + i, 90) for i in range(8)]
    prompt = codec.encode(notes, TimeLine.regular(1.0, 12.0), codec.instruments[0])
    if stem == "bass":
        assert (prompt[1::2, -1] == HOLD).any()
    codes = draw(EventRules.of(codec, codec.instruments[0]), prompt=prompt)
    assert torch.equal(codes[:, :, :12], prompt.expand(4, -1, -1))
    for one in codes:
        check_fit(one, stem, first=12)


def onsets(codes: torch.Tensor, stem: str) -> torch.Tensor:
    """[V, lanes, T] bool"""
    return codes[:, 1::2] >= (1 if stem == "drums" else ONSET)


@pytest.mark.parametrize("stem", ["drums", "keys"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_lift_makes_more_or_less_begin(stem, guidance):
    rules = EventRules.of(codecs()[stem])
    counts = []
    for nats in (-3.0, -1.0, 0.0, 1.0, 3.0):
        lifted = replace(rules, lift=torch.full((FRAMES, 17), nats))
        counts.append(int(onsets(draw(lifted, range(6), guidance=guidance), stem).sum()))
    assert counts == sorted(set(counts)) and counts[-1] > 1.3 * counts[0]
    plain = draw(rules, range(6), guidance=guidance)
    assert int(onsets(plain, stem).sum()) == counts[2]
    none = draw(replace(rules, lift=torch.zeros(FRAMES, 17), lean=torch.zeros(FRAMES)), range(6), guidance=guidance)
    assert torch.equal(none, plain)


@pytest.mark.parametrize("stem", ["drums", "keys"])
def test_a_lift_is_of_frames_and_codebooks(stem):
    lift = torch.zeros(FRAMES, 17)
    lift[:7], lift[12:, 5] = -torch.inf, -torch.inf
    found = onsets(draw(replace(EventRules.of(codecs()[stem]), lift=lift)), stem)
    assert not found[:, :, :7].any() and not found[:, 2, 12:].any()
    assert found[:, 2, 7:12].any() and found[:, 3, 12:].any() and found[:, :, 7].any() and found[:, :, -1].any()


def test_a_least_chance_is_one():
    """Where less is likely to begin than asked, it is as likely as asked; elsewhere nothing changes."""
    rules = EventRules.of(codecs()["drums"])
    draw = torch.Generator().manual_seed(0)
    chances = torch.randn(2, *rules.allowed.shape, generator=draw) + 6 * rules.still
    chances = chances.masked_fill(~rules.allowed, -torch.inf).log_softmax(-1)
    least = torch.zeros(3, 17)
    least[1, 3], least[1, 5] = 0.4, 1e-6
    begins = (chances.exp() * ~rules.still).sum(-1)
    assert (begins[:, 3] < 0.3).all() and (begins[:, 5] > 1e-6).all()
    moved = replace(rules, least=least).moved(chances.clone(), 1)
    assert torch.equal(moved[:, [i for i in range(17) if i != 3]], chances[:, [i for i in range(17) if i != 3]])
    shares = moved[:, 3].softmax(-1)
    assert torch.allclose((shares * ~rules.still[3]).sum(-1), torch.tensor(0.4))
    first, second = (~rules.still & rules.allowed)[3].nonzero().flatten()[:2].tolist()  # as likely against each other
    assert torch.allclose(moved[:, 3, first] - moved[:, 3, second], chances[:, 3, first] - chances[:, 3, second])
    for other in (0, 2):
        assert torch.equal(replace(rules, least=least).moved(chances.clone(), other), chances)
    none = chances.clone()
    none[:, 3] = torch.where(rules.still[3], chances[:, 3], -torch.inf)  # that nothing can begin is not changed
    assert torch.equal(replace(rules, least=least).moved(none.clone(), 1), none)


@pytest.mark.parametrize("stem", ["drums", "bass"])
def test_a_lean_makes_it_louder_or_softer(stem):
    rules, means = EventRules.of(codecs()[stem]), []
    for nats in (-1.0, -0.3, 0.0, 0.3, 1.0):
        codes = draw(replace(rules, lean=torch.full((FRAMES,), nats)))
        means.append(float(((codes[:, 2::2][onsets(codes, stem)] - 1) // (2 * REACH)).float().mean()))
    assert means == sorted(means) and means[-1] - means[0] > 2
    rising = draw(replace(rules, lean=torch.linspace(-2, 2, FRAMES)))
    loud = ((rising[:, 2::2] - 1) // (2 * REACH)).float()
    first, second = (loud[..., half][onsets(rising, stem)[..., half]].mean() for half in (slice(0, 8), slice(16, 24)))
    assert second > first + 3


def test_a_window_has_the_rules_of_its_frames():
    lift, lean = torch.arange(5 * 17.0).reshape(5, 17), torch.arange(5.0)
    rules = replace(EventRules.of(codecs()["drums"]), lift=lift, lean=lean, least=lift)
    cut = rules.cut(torch.tensor([1, 2, 4]))
    assert torch.equal(cut.lift, lift[[1, 2, 4]]) and torch.equal(cut.lean, lean[[1, 2, 4]])
    assert torch.equal(cut.least, cut.lift)
    laid = cut.laid(DELAYS, 3)
    assert laid.lift.shape == laid.lean.shape == (3 + 8, 17)
    assert torch.equal(laid.least, laid.lift)
    assert laid.lift[3, 3] == lift[4, 3] and laid.lean[6, 8] == lean[4]  # the third frame, by the delays
    assert laid.lift[0, 16] == lift[1, 16] and laid.lift[10, 0] == lift[4, 0]  # beyond: nothing is chosen there
    with pytest.raises(ValueError, match="lift has 3 frames, the target 4"):
        cut.laid(DELAYS, 4)
    plain = EventRules.of(codecs()["drums"])
    assert plain.cut(torch.arange(2)).lift is None and plain.laid(DELAYS, 9).lean is None


@pytest.mark.parametrize("pieces", [(), (5,)])
def test_each_window_of_a_long_piece_has_its_own_frames(pieces):
    """The lifts of 40 frames count in windows of 16 that overlap by half, and holds go on over their edges."""
    lift = torch.zeros(40, 17)
    lift[10:30] = -torch.inf
    rules = replace(EventRules.of(codecs()["bass"]), lift=lift, lean=torch.zeros(40))
    piece = dict(stem=1, contexts=of_codes([None]), text=None, frames=40, size=16, seeds=(1, 2), sampling=Sampling())
    codes = play(make(), **piece, rules=rules, pieces=pieces)
    found = onsets(codes, "bass")
    assert not found[:, :, 10:30].any() and found[..., :10].any() and found[..., 30:].any()
    for one in codes:
        check_fit(one, "bass")


def test_the_first_frame_cannot_hold():
    rules = EventRules.of(codecs()["bass"])
    columns = torch.full((2, 17, 30), 16)
    allowed = rules._fitting(Past(columns, 0, 23, DELAYS))
    assert not allowed[:, 1, HOLD].any() and allowed[:, 1, REST].all() and allowed[:, 1, ONSET + 40 - LOWEST].all()


def test_a_lift_of_every_frame_adds_to_one_of_some():
    rules = EventRules.of(codecs()["drums"])
    made = rules.lifted(0.5, 4).lift
    assert made.shape == (4, 17) and (made[:, 1::2] == 0.5).all() and not made[:, 0::2].any()
    some = torch.zeros(4, 17)
    some[2] = -torch.inf
    assert torch.isinf(replace(rules, lift=some).lifted(0.5, 4).lift[2, 1]) and (rules.lift is None)
