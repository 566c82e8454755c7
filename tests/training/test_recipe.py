"""Every recipe is read strictly by the class of its training, or refused in one line."""

from pathlib import Path

import pytest
import yaml

from stage.cli import app as cli
from stage.errors import StageError
from stage.training.embedded.player_recipe import PlayerRecipe
from stage.training.embedded.recipe import ChordRecipe, CodecRecipe, DecoderRecipe, ScorerRecipe, TrackerRecipe
from stage.training.finetune.recipe import Recipe
from stage.training.recipe import plain, read
from stage.typed import build

RECIPES = Path(__file__).parents[2] / "recipes"
KINDS = {
    "embedded-codec": CodecRecipe,
    "embedded-decoder": DecoderRecipe,
    "ablation-embedded": DecoderRecipe,
    "player": PlayerRecipe,
    "tracker": TrackerRecipe,
    "chords": ChordRecipe,
    "scorer": ScorerRecipe,
}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_recipes_hold_what_their_files_say(path):
    kind = KINDS.get(path.stem, Recipe)
    if path.stem == "paper":
        return  # included by others, with the stems
    found = read(kind, path)
    assert build(kind, plain(found), "again") == found
    written, values = yaml.safe_load(path.read_text(encoding="utf-8")), plain(found)

    def within(part: dict, whole: dict) -> None:
        for key, value in part.items():
            if isinstance(value, dict):
                within(value, whole[key])
            elif key != "include":
                assert whole[key] == (float(value) if isinstance(whole[key], float) else value), key

    within(written, values)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty: keys with values are expected"),
        ("# nothing yet", "is empty"),
        ("steps: 3", "unknown key 'steps'; did you mean 'schedule.steps'"),
        ("seed: 1", "the file lacks model, data, batch"),
        ("model: {widht: 3}", "unknown key 'model.widht'; did you mean 'width'"),
        ("optimizer: {}", "'optimizer' lacks lr"),
        ("optimizer: {lr: .nan}", "lr is a number above 0, not nan"),
        ("optimizer: {lr: 1, betas: [0.9, 1]}", "betas are shares from 0 to below 1"),
        ("losses: []", "'losses' is a section with keys"),
        ("schedule: {floor: 2}", "floor is a share from 0 to 1"),
        ("include: 3", "'include' is the name of a recipe, or a list"),
        ("include: [a.yaml, 3]", "'include' is the name of a recipe, or a list"),
        ("include: .", "is not a YAML recipe"),
        ("seed: 2020-99-99", "is not a YAML recipe: month must be"),
        ("[" * 3000, "is not a YAML recipe"),
        ("? [a]\n: 1", "is not a YAML recipe"),
        ("1: 2", "unknown key '1'"),
        ("- 1", "is not a recipe: keys with values"),
        (b"seed: \xff", "is not a YAML recipe"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StageError, match=message) as error:
        read(CodecRecipe, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ("seed", "takes key=value"),
        ("seed.sub=1", "'seed' has no keys of its own"),
        ("=1", "unknown key ''"),
        ("seed=[", "is not YAML"),
        ("seed=2020-99-99", "is not YAML"),
        ("batch.rows=0", "rows is a number above 0"),
        ("batch.row=1", "unknown key 'batch.row'; did you mean 'rows'"),
        ("optimizer.muon=1", "unknown key 'optimizer.muon'; did you mean 'muon_lr'"),
    ],
)
def test_a_change_that_cannot_be_is_one_line(change, message):
    with pytest.raises(StageError, match=message):
        read(ScorerRecipe, RECIPES / "scorer.yaml", [change])


def test_a_byte_order_mark_and_a_change_of_an_included_section(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfinclude: b.yaml\nseed: 2\n")
    (tmp_path / "b.yaml").write_text((RECIPES / "scorer.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    found = read(ScorerRecipe, tmp_path / "a.yaml", ["batch.rows=3", "optimizer.lr=1e-5"])
    assert (found.seed, found.batch.rows, found.optimizer.lr) == (2, 3, 1e-5)


@pytest.mark.parametrize("command", ["codec", "tracker", "chords"])
@pytest.mark.parametrize("text", ["", "steps: 3\n", "seed: 1\n"])
def test_the_commands_print_the_line(tmp_path, capsys, command, text):
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    arguments = ["train", command, str(tmp_path / "recipe.yaml"), "--corpus", str(tmp_path), "--out", str(tmp_path)]
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
