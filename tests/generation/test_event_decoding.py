"""Generation of events: tables of the target's own, delays, features of frames, and rules of what a stem can play."""

import pytest
import torch

from stage.config import DecoderConfig
from stage.generation.decoding import Sampling, finished, generate, guide, made, steps
from stage.generation.event_rules import EventRules
from stage.models.decoder import Decoder
from stage.models.events import HOLD, LOWEST, MANNERS, ONSET, REST, codecs
from stage.models.features import BEAT, SIZE, beat_alone
from stage.prefix import row, training_row

PATTERN = (0, 0, 1, 1, 2)
TEXT = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))


def make(context_layers: int = 0, **changes) -> Decoder:
    torch.manual_seed(3)
    shape = dict(dim=32, layers=2, heads=2, ffn_dim=64, codebooks=5, codebook_size=16, context_codebooks=2)
    shape |= dict(delays=PATTERN, target_size=40, features=SIZE, stems=("drums", "bass"), contexts=("mix",))
    shape |= dict(text_dim=8, positions="rotary", restart=True, context_layers=context_layers, context_width=8)
    decoder = Decoder(DecoderConfig(**shape | changes)).eval().requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.mul_(2.0)
    if context_layers:
        torch.nn.init.normal_(decoder.context.leave.weight)
        torch.nn.init.normal_(decoder.context.beside.weight)
    return decoder


def mix(frames: int = 14) -> torch.Tensor:
    return torch.randint(0, 16, (2, frames), generator=torch.Generator().manual_seed(5))


def known(frames: int = 14) -> torch.Tensor:
    return torch.randn(frames, SIZE, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("layers", [0, 3])
@pytest.mark.parametrize("context", [mix(), mix(9), None])
def test_cached_steps_agree_with_whole_rows(layers, context):
    """What was generated greedily is the arg-max of uncached passes; without conditions only the beat is known."""
    decoder, features = make(layers), known()
    arguments = dict(stem=1, text=TEXT, frames=14, features=features)
    greedy = Sampling(guidance=2.5, temperature=0)
    codes = generate(decoder, contexts=[context], sampling=greedy, **arguments)[0]
    assert codes.shape == (5, 14) and codes.min() >= 0 and codes.max() < 40
    full, bare = (training_row(decoder.config, [row(decoder.config, [c], 1, codes)]) for c in (context, None))
    seen = torch.ones(1, 3, dtype=torch.bool)
    with_, mask = decoder.target_logits(decoder(full, TEXT[None], seen, features[None]), full)
    without, _ = decoder.target_logits(decoder(bare, features=beat_alone(features)[None]), bare)
    guided = without + 2.5 * (with_ - without)
    assert torch.equal(guided.argmax(-1)[0][mask], codes[mask])


def test_columns_hold_tokens_and_codes_come_out_as_they_are_finished():
    decoder, done = make(), []
    for state in steps(decoder, stem=0, contexts=[mix()], frames=14, features=known(), seeds=(1, 2), hurry=False):
        ready = finished(state)
        done.append(ready)
        codes = made(state, 0, ready)
        assert codes.shape == (2, 5, ready) and (ready == 0 or 0 <= codes.min() and codes.max() < 40)
        inside = state.unknown[:, : state.at + 1]
        assert (state.columns[:, :, : state.at + 1][:, inside] >= decoder.config.target_start).all()
    assert done[0] == 0 and done[-1] == 14 and done == sorted(done) and len(done) == 14 + max(PATTERN)
    whole = generate(decoder, stem=0, contexts=[mix()], frames=14, features=known(), seeds=(1, 2))
    assert torch.equal(whole, made(state, 0, 14))


def test_a_prompt_of_codes_is_kept_and_continued():
    decoder, greedy = make(3), Sampling(temperature=0)
    arguments = dict(stem=0, contexts=[mix()], frames=14, features=known(), sampling=greedy)
    whole = generate(decoder, **arguments)
    again = generate(decoder, prompt=whole[0, :, :6], **arguments)
    assert torch.equal(again, whole)


def test_features_reach_the_frame_that_is_predicted_and_not_those_before():
    """A chord that changes with a frame is known when its first codebook is chosen."""
    decoder = make()
    sequence = training_row(decoder.config, [row(decoder.config, [None], 0, torch.zeros(5, 14, dtype=torch.int64))])
    changed = known()
    changed[8, BEAT] += 3
    first, _ = decoder.target_logits(decoder(sequence, features=known()[None]), sequence)
    second, _ = decoder.target_logits(decoder(sequence, features=changed[None]), sequence)
    moved = (first - second).abs().amax(-1)[0]
    assert moved[0, :8].max() == 0 and moved[0, 8] > 1e-3
    assert moved[4, :6].max() == 0 and moved[4, 6] > 1e-3  # stands two columns behind, so it depends on more


def test_features_have_the_shape_of_the_target():
    with pytest.raises(ValueError, match=rf"features are \[14, {SIZE}\], not \[13, {SIZE}\]"):
        generate(make(), stem=0, contexts=[mix()], frames=14, features=known(13))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(delays=(1, 1, 1, 1, 2)), "the least of them 0"),
        (dict(delays=(0, 0, 1, 1, 65)), "at most 64 columns"),
        (dict(target_size=0), "tables of its own"),
        (dict(context_codebooks=6), "choose a value from 0 to 5"),
        (dict(restart=False), "need positions that restart"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize("stem", codecs())
def test_only_what_the_stem_can_play_is_drawn(stem):
    codec = codecs()[stem]
    rules = EventRules.of(codec, codec.instruments[1])
    decoder = make(codebooks=17, target_size=MANNERS, delays=())
    arguments = dict(stem=0, contexts=[mix(10)], frames=10, features=known(10), seeds=(1, 2))
    codes = generate(decoder, rules=rules, **arguments)
    assert rules.allowed.gather(1, codes.transpose(0, 1).flatten(1)).all()
    assert (codes[:, 0] == 1).all()
    assert not rules.allowed.gather(1, generate(decoder, **arguments).transpose(0, 1).flatten(1)).all()


def test_registers_and_articulations_bound_what_is_allowed():
    bass, drums = (codecs()[stem].allowed() for stem in ("bass", "drums"))
    assert bass[1].nonzero().flatten().tolist() == [REST, HOLD, *range(ONSET + 26 - LOWEST, ONSET + 61 - LOWEST)]
    assert bass[3].nonzero().flatten().tolist() == [REST, HOLD]  # one note at once
    assert drums[1].nonzero().flatten().tolist() == [0, 1, 2]  # nothing, kick, second kick
    assert drums[0].sum() == len(codecs()["drums"].instruments) and drums[2].all()


def test_guidance_chooses_among_events_and_leaves_their_share():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, 17, MANNERS, generator=generator) * 2
    weights = torch.tensor([3.0, -2.0])
    rules = EventRules.of(codecs()["bass"])
    found, guided = rules.guide(logits, guide(logits, weights)).softmax(-1), guide(logits, weights)
    assert torch.allclose(found.sum(-1), torch.ones(3, 17), atol=1e-5) and not found[:, ~rules.allowed].any()
    plain = logits[0].masked_fill(~rules.allowed, -torch.inf).softmax(-1)
    assert torch.allclose(found[:, 1, [REST, HOLD]], plain[:, 1, [REST, HOLD]], atol=1e-6)
    events = rules.allowed[1] & ~rules.still[1]
    among = guided[:, 1, events].softmax(-1)
    assert torch.allclose(found[:, 1, events] / found[:, 1, events].sum(-1, keepdim=True), among, atol=1e-5)
    asked = guided[:, 0].masked_fill(~rules.allowed[0], -torch.inf).softmax(-1)
    assert torch.allclose(found[:, 0], asked, atol=1e-6)  # the instrument is guided as anything else
    more = EventRules.of(codecs()["bass"], presence=1.5).guide(logits, guided).softmax(-1)
    want = (logits[0] + 0.5 * (logits[0] - logits[1])).masked_fill(~rules.allowed, -torch.inf)[:, 1]
    # the branches are normalised over what is allowed, which moves no difference of logits
    assert torch.allclose(more[:, 1, HOLD], want.softmax(-1)[:, HOLD], atol=1e-5)
