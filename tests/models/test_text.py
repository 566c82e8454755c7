import torch

from stage.models.text import HashedConfig, HashedText


def test_any_prompt_gives_vectors_and_a_mask():
    text = HashedText(HashedConfig(dim=8, buckets=64, words=5))
    embeddings, mask = text.encode(["Busy, driving drums", "", "słow ☺ 8-bit one two three four"])
    assert embeddings.shape == (3, 5, 8)
    assert mask.sum(1).tolist() == [3, 0, 5]


def test_words_that_look_alike_are_alike():
    torch.manual_seed(0)
    text = HashedText(HashedConfig(dim=64, buckets=4096))
    embeddings, _ = text.encode(["drumming", "drummer", "quiet"])
    alike, other = (torch.cosine_similarity(embeddings[0, 0], embeddings[i, 0], dim=0) for i in (1, 2))
    assert alike > other + 0.2


def test_the_same_word_is_the_same_everywhere():
    text = HashedText()
    a, _ = text.encode(["sparse drums"])
    b, _ = text.encode(["loud and", "Drums!"])
    assert torch.allclose(a[0, 1], b[1, 0])
