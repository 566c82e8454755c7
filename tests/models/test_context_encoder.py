"""The context encoder: depends on past and future of the mix, and on nothing else."""

import torch

from stage.config import DecoderConfig
from stage.generation.decoding import Sampling, generate
from stage.models.decoder import Decoder
from stage.prefix import batch, row, training_row, trim

CONFIG = DecoderConfig(
    dim=32,
    layers=1,
    heads=2,
    ffn_dim=64,
    codebooks=2,
    codebook_size=16,
    stems=("drums", "bass"),
    contexts=("grid", "mix"),
    text_dim=8,
    positions="rotary",
    restart=True,
    context_layers=3,
    context_width=8,
)


def decoder() -> Decoder:
    torch.manual_seed(0)
    made = Decoder(CONFIG).eval().requires_grad_(False)
    torch.nn.init.normal_(made.context.leave.weight)
    torch.nn.init.normal_(made.context.beside.weight)
    return made


def codes(frames: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 16, (2, frames), generator=torch.Generator().manual_seed(seed))


def test_it_sees_both_ways_within_the_mix_alone():
    made, mix, target = decoder(), codes(20, 1), codes(12, 2)
    sequence = trim(row(CONFIG, [codes(20, 3), mix], 0, target))
    late = mix.clone()
    late[:, 18] = (late[:, 18] + 1) % 16
    changed = trim(row(CONFIG, [codes(20, 3), late], 0, target))
    difference = (made.enter(sequence)[0] - made.enter(changed)[0]).abs().sum(-1)[0]
    inside = sequence.segments[0] == CONFIG.segment(1)
    same_token = (sequence.columns == changed.columns).all(1)[0]
    assert difference[inside & same_token].max() > 1e-3  # columns before the change depend on it
    grid, played = sequence.segments[0] == CONFIG.segment(0), (sequence.segments[0] == 0) & same_token
    assert difference[grid].max() == 0
    # so did the target, where it stands at the positions of the mix
    moved = torch.zeros(64).scatter_reduce(
        0, sequence.positions[0, inside & same_token], difference[inside & same_token], "amax"
    )
    assert (difference[played][3:-1] > 1e-3).any() and (moved > 1e-3).any()


def test_it_adds_the_same_moment_to_the_target():
    made = decoder()
    sequence = trim(row(CONFIG, [None, codes(9, 1)], 0, codes(12, 2)))
    x, moment = made.enter(sequence)
    plain = made.embed_columns(sequence.columns, sequence.positions, sequence.segments)
    for column in range(sequence.first, sequence.columns.shape[-1]):
        assert torch.allclose(x[0, column] - plain[0, column], moment[0, sequence.positions[0, column]], atol=1e-5)
    assert moment[0, 1:10].abs().amin(0).max() > 0 and not moment[0, 0].any() and not moment[0, 10:].any()


def test_a_fresh_one_adds_nothing():
    torch.manual_seed(0)
    made = Decoder(CONFIG)
    sequence = trim(row(CONFIG, [None, codes(20, 1)], 0, codes(12, 2)))
    assert torch.equal(
        made.enter(sequence)[0], made.embed_columns(sequence.columns, sequence.positions, sequence.segments)
    )


def test_rows_of_a_batch_do_not_depend_on_each_other():
    made = decoder()
    rows = [
        row(CONFIG, [None, codes(frames, frames)], 1, codes(12, 5), drop_context=frames == 9) for frames in (20, 9, 13)
    ]
    together = made.logits(made(batch(CONFIG, rows)))
    for i, alone in enumerate(rows):
        assert torch.allclose(together[i, :, -12:], made.logits(made(alone))[0, :, -12:], atol=1e-4)


def test_generation_encodes_the_context_as_training_does():
    made, contexts = decoder(), [None, codes(20, 1)]
    made_codes = generate(made, stem=1, contexts=contexts, frames=24, sampling=Sampling(guidance=1.0, temperature=0))[0]
    sequence = training_row(CONFIG, [row(CONFIG, contexts, 1, made_codes)])
    logits, mask = made.target_logits(made(sequence), sequence)
    best = logits[0].argmax(-1)
    assert torch.equal(best[mask], made_codes[mask])
