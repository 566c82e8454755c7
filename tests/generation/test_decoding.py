import pytest
import torch

from stage.config import DecoderConfig
from stage.generation.decoding import Sampling, Stopped, choose, generate, steps
from stage.models import fast_step
from stage.models.decoder import Decoder
from stage.prefix import row, training_row

SHAPES = {
    "stage": dict(contexts=("mix",), positions="sinusoidal", restart=False),
    "sketch": dict(contexts=("grid", "mix"), positions="rotary", restart=True),
}


def make(kind: str) -> Decoder:
    torch.manual_seed(3)
    config = DecoderConfig(
        dim=64,
        layers=2,
        heads=2,
        ffn_dim=128,
        codebooks=4,
        codebook_size=32,
        text_dim=16,
        stems=("drums", "bass"),
        **SHAPES[kind],
    )
    decoder = Decoder(config).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)
    return decoder


def contexts(decoder: Decoder, frames: int = 11) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(32, (4, frames), generator=generator) for _ in decoder.config.contexts]


TEXT = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", SHAPES)
def test_cached_steps_agree_with_whole_rows(kind):
    """What was generated greedily is the arg-max of one uncached pass over the finished row."""
    decoder = make(kind)
    codes = generate(
        decoder,
        stem=1,
        contexts=contexts(decoder),
        text=TEXT,
        frames=14,
        sampling=Sampling(guidance=2.5, temperature=0),
    )[0]
    full = training_row(decoder.config, [row(decoder.config, contexts(decoder), 1, codes)])
    bare = training_row(decoder.config, [row(decoder.config, [None] * len(decoder.config.contexts), 1, codes)])
    with torch.inference_mode():
        with_, mask = decoder.target_logits(decoder(full, TEXT[None], torch.ones(1, 3, dtype=torch.bool)), full)
        without, _ = decoder.target_logits(decoder(bare), bare)
    guided = without + 2.5 * (with_ - without)
    assert torch.equal(guided.argmax(-1)[0][mask], codes[mask])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("text_guidance", [None, 1.5])
def test_a_variation_depends_on_its_own_seed_alone(kind, text_guidance, monkeypatch):
    monkeypatch.setattr(fast_step, "SMALL", 0)  # as a decoder that takes all threads
    decoder, threads = make(kind), torch.get_num_threads()
    sampling = Sampling(guidance=2.0, text_guidance=text_guidance, top_k=20)
    arguments = dict(stem=0, contexts=contexts(decoder), text=TEXT, frames=12, sampling=sampling)
    together = generate(decoder, seeds=(7, 8, 9), **arguments)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for i, seed in enumerate((7, 8, 9)):
                assert torch.equal(generate(decoder, seeds=(seed,), **arguments)[0], together[i])
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(together[0], together[1])


def test_a_small_decoder_takes_one_thread_and_leaves_the_others_as_they_were(monkeypatch):
    """With several, each kernel ends with threads that wait for each other, spinning: tens of seconds on a busy
    machine."""
    decoder, threads, taken = make("sketch"), torch.get_num_threads(), []
    decoder.norm.register_forward_pre_hook(lambda *_: taken.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        for small, expected in ((fast_step.SMALL, {1}), (decoder.config.dim - 1, {2})):
            monkeypatch.setattr(fast_step, "SMALL", small)
            for _ in steps(decoder, stem=0, contexts=contexts(decoder), frames=4):
                assert torch.get_num_threads() == 2
            assert set(taken) == expected and len(taken) > 4
            taken.clear()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_prompt_is_kept_and_continued(kind):
    decoder = make(kind)
    prompt = contexts(decoder)[0][:, :5]
    greedy = Sampling(temperature=0)
    codes = generate(decoder, stem=0, contexts=contexts(decoder), frames=9, prompt=prompt, sampling=greedy)
    assert torch.equal(codes[0, :, :5], prompt)
    whole = generate(decoder, stem=0, contexts=contexts(decoder), frames=9, sampling=greedy)
    again = generate(decoder, stem=0, contexts=contexts(decoder), frames=9, prompt=whole[0, :, :6], sampling=greedy)
    assert torch.equal(again, whole)


def test_the_context_and_the_stem_change_the_result():
    decoder = make("sketch")
    arguments = dict(frames=10, sampling=Sampling(temperature=0))
    base = generate(decoder, stem=0, contexts=contexts(decoder), **arguments)
    assert not torch.equal(base, generate(decoder, stem=1, contexts=contexts(decoder), **arguments))
    assert not torch.equal(base, generate(decoder, stem=0, contexts=[None, contexts(decoder)[1]], **arguments))


def test_it_stops_at_once():
    decoder, seen = make("stage"), []

    def on_step(done: int, total: int) -> bool:
        seen.append((done, total))
        return done < 3

    with pytest.raises(Stopped):
        generate(decoder, stem=0, contexts=[None], frames=20, on_step=on_step)
    assert seen == [(1, 23), (2, 23), (3, 23)]


def test_choose_follows_the_distribution_and_its_limits():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(20000, 1, 1)
    draws = torch.rand(20000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def shares(sampling: Sampling) -> torch.Tensor:
        return torch.bincount(choose(logits, draws, sampling).flatten(), minlength=4) / 20000

    assert torch.allclose(shares(Sampling(top_k=0)), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.015)
    assert torch.allclose(shares(Sampling(top_k=2)), torch.tensor([0.625, 0.375, 0, 0]), atol=0.015)
    assert torch.allclose(shares(Sampling(top_k=0, top_p=0.7)), torch.tensor([0.625, 0.375, 0, 0]), atol=0.015)
    assert shares(Sampling(temperature=0))[0] == 1
