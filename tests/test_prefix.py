import torch

from stage.config import DecoderConfig
from stage.prefix import batch, deinterleave, interleave, row, target_states, training_row, trim

CONFIG = DecoderConfig(
    dim=32,
    layers=1,
    heads=2,
    codebooks=4,
    codebook_size=16,
    stems=("drums", "bass"),
    contexts=("grid", "mix"),
    restart=True,
)


def codes(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(16, (4, frames), generator=torch.Generator().manual_seed(seed))


def test_delay_pattern_and_back():
    x = codes(7)
    columns = interleave(x, pad=16)
    assert columns.shape == (4, 11)
    assert (columns[:, 0] == 16).all()
    for k in range(4):
        assert columns[k, k + 1] == x[k, 0]
    assert torch.equal(deinterleave(columns, 1, 7), x)


def test_each_context_is_closed_and_the_separator_names_the_stem():
    r = row(CONFIG, [codes(5), codes(6)], stem=1, target=codes(4))
    frames = deinterleave(r.columns[0], 1, 5 + 1 + 6 + 1 + 4)
    assert (frames[:, 5] == CONFIG.closer(0, 1)).all() and CONFIG.closer(0, 1) == 16 + 1 + 2
    assert (frames[:, 12] == CONFIG.separator(1)).all() and CONFIG.separator(1) == 18
    assert r.first == 13


def test_frames_of_one_moment_share_a_position():
    r = row(CONFIG, [codes(5), codes(6)], stem=1, target=codes(4))
    at = {segment: r.positions[0][r.segments[0] == segment] for segment in range(CONFIG.segments)}
    assert len(at[0]) == 0  # nothing belongs to the other stem
    assert at[3][-6:].tolist() == [1, 2, 3, 4, 5, 0]  # the grid and its closing token
    assert at[2].tolist() == [1, 2, 3, 4, 5, 6]
    assert at[1][:5].tolist() == [0, 1, 2, 3, 4]  # the separator, then the target


def test_without_a_context_only_the_separator_stands():
    r = trim(row(CONFIG, [None, None], stem=0, target=codes(4)))
    assert r.columns[0, 0, 0] == CONFIG.separator(0) and r.first == 0


def test_a_dropped_context_is_masked_like_a_missing_one():
    dropped = trim(row(CONFIG, [codes(5), codes(6)], 0, codes(4), drop_context=True))
    missing = trim(row(CONFIG, [None, None], 0, codes(4)))
    for name in ("columns", "attend", "positions"):
        assert torch.equal(getattr(dropped, name), getattr(missing, name)), name


def test_left_padding_is_masked_and_positions_go_on_from_the_first_column():
    config = DecoderConfig(dim=32, layers=1, heads=2, codebook_size=16)
    rows = [row(config, [codes(9)], 0, codes(4)), row(config, [codes(3)], 0, codes(4))]
    whole = batch(config, rows)
    assert not whole.attend[1, :7].any() and whole.attend[1, 7:].all()
    assert whole.positions[1, 7] == 0 and whole.positions[0, 1] == 0
    assert torch.equal(whole.columns[0, :, whole.first + 4 :], whole.columns[1, :, whole.first + 4 :])


def test_target_states_are_those_of_the_predicting_columns():
    config = DecoderConfig(dim=32, layers=1, heads=2, codebook_size=16)
    target = codes(6)
    sequence = training_row(config, [row(config, [codes(3)], 0, target)])
    assert sequence.columns.shape[-1] == 3 + 1 + 6 + 1
    # a state that holds the next column's tokens holds the target's token of its codebook
    after = torch.cat([sequence.columns[..., 1:], torch.zeros(1, 4, 1, dtype=torch.int64)], -1)
    states, mask = target_states(after.transpose(1, 2), sequence)
    assert mask.sum(1).tolist() == [6, 5, 4, 3]
    for k in range(4):
        assert torch.equal(states[k, 0, :, k][mask[k]], target[k][mask[k]])
