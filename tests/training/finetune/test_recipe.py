"""Recipes of fine-tuning: strict, includable, changeable by name."""

from pathlib import Path

import pytest

from helpers import fake_songs  # noqa: F401  stands in for stage.data until it is there
from stage.errors import StageError
from stage.training.finetune.recipe import CHANGEABLE, Recipe, read
from stage.training.recipe import differences, plain

RECIPES = Path(__file__).parents[3] / "recipes"
OURS = ("paper", "drums", "bass", "guitar", "keys", "multi-stem", "ablation-no-click", "lora-drums", "tiny")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", OURS)
def test_the_shipped_recipes_are_read(name):
    found = read(RECIPES / f"{name}.yaml")
    assert isinstance(found, Recipe) and found.stems and found.about


def test_the_papers_constants_stand_in_its_recipes():
    drums, bass, without = (read(RECIPES / f"{name}.yaml") for name in ("drums", "bass", "ablation-no-click"))
    assert (drums.optimizer.lr, drums.optimizer.betas, drums.optimizer.weight_decay, drums.optimizer.clip_value) == (
        1e-5,
        (0.9, 0.95),
        0.001,
        1.0,
    )
    assert (drums.batch.size, drums.batch.accumulate, drums.schedule.steps, drums.schedule.kind) == (
        2,
        4,
        100_000,
        "constant",
    )
    assert drums.stems == ("drums",) and bass.stems == ("bass",)
    assert [key.split(":")[0] for key in differences(plain(drums), plain(bass))] == ["examples.stems", "name"]
    assert all(key.startswith(("examples.click", "name")) for key in differences(plain(drums), plain(without)))
    assert differences(plain(drums), plain(without))


@pytest.mark.parametrize(
    "text, message",
    [
        ("optimiser: {lr: 1}", r"unknown key 'optimiser'; did you mean 'optimizer'\?"),
        ("optimizer: {rl: 1}", r"unknown key 'optimizer.rl'; did you mean 'lr'\?"),
        ("lr: 1e-4", r"unknown key 'lr'; did you mean 'optimizer.lr'\?"),
        ("weight_decay: 0.1", r"unknown key 'weight_decay'; did you mean 'optimizer.weight_decay'\?"),
        ("optimizer: {lr: fast}", "'optimizer.lr' is a value of kind float, not 'fast'"),
        ("optimizer: {betas: [0.9]}", "'optimizer.betas' holds 2 values, not 1"),
        ("batch: {size: 0}", "size is a number above 0"),
        ("batch: {size: 1.5}", "'batch.size' is a value of kind int"),
        ("batch: 3", "'batch' is a section"),
        ("learn: {parameters: lore}", "learn.parameters is one of all, lora"),
        ("learn: {parameters: lora}\nexamples: {stems: [drums, bass]}", "an adapter plays one stem"),
        ("include: nowhere.yaml", "no recipe at"),
        ("include: wrong.yaml", "includes itself"),
        ("- 1", "is not a recipe"),
        ("a: [", "is not a YAML recipe"),
    ],
)
def test_a_mistake_is_reported_with_the_nearest_key(tmp_path, text, message):
    with pytest.raises(StageError, match=message):
        read(
            write(
                tmp_path / "wrong.yaml",
                text
                if "examples" in text
                else f"{text}\n"
                if text[0] in "-a"
                else f"{text}\nexamples: {{stems: [drums]}}\n",
            )
        )


def test_a_recipe_goes_on_top_of_those_it_includes(tmp_path):
    write(tmp_path / "a.yaml", "examples: {stems: [drums]}\noptimizer: {lr: 1e-3, eps: 0.5}\nseed: 7\n")
    write(tmp_path / "b.yaml", "include: a.yaml\noptimizer: {lr: 2.0}\n")
    found = read(tmp_path / "b.yaml", ["examples.stems=[bass]", "engine.precision=16"])
    assert (found.optimizer.lr, found.optimizer.eps, found.seed, found.stems, found.engine.precision) == (
        2.0,
        0.5,
        7,
        ("bass",),
        "16",
    )
    with pytest.raises(StageError, match="did you mean 'seed'"):
        read(tmp_path / "b.yaml", ["sede=1"])
    with pytest.raises(StageError, match="key=value"):
        read(tmp_path / "b.yaml", ["seed"])


def test_what_a_run_may_change_on_its_way():
    one = plain(read(RECIPES / "tiny.yaml"))
    other = plain(
        read(RECIPES / "tiny.yaml", ["schedule.steps=999", "engine.devices=2", "loader.workers=1", "every.log=3"])
    )
    assert differences(one, other, CHANGEABLE) == []
    assert differences(one, plain(read(RECIPES / "tiny.yaml", ["seed=99"])), CHANGEABLE) == [
        f"seed: {one['seed']}, now 99"
    ]
