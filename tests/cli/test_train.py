import shlex
from pathlib import Path

import pytest

from longtake import recipes
from longtake.cli.train import Train, split_recipe

SHIPPED = recipes.RECIPES  # those of the tests take their place while one runs


def test_defaults_come_from_the_recipe(longtake, train_call):
    outcome = longtake("train", "glober_toy_64", "--data", "videos", "--out", "runs/x")
    assert outcome.status == 0
    recipe, name, data, run = train_call.arguments
    assert recipe == recipes.RECIPES["glober_toy_64"]()
    assert (name, data, run) == ("glober_toy_64", Path("videos"), Path("runs/x"))
    assert train_call.options == {"resume": False, "max_steps": None, "only": None, "device": None}


def test_options_reach_the_engine(longtake, train_call):
    longtake(
        *("train", "glober_toy_64", "--data", "d", "--out", "o", "--resume", "--max_steps", "7"),
        *("--stage", "autoencoder", "generator", "--device", "cpu"),
    )
    assert train_call.options == {
        "resume": True,
        "max_steps": 7,
        "only": ("autoencoder", "generator"),
        "device": "cpu",
    }


def test_dotted_overrides_with_dashes_and_underscores(longtake, train_call):
    outcome = longtake(
        *("train", "--autoencoder.optimizer.lr", "3e-5", "glober_toy_64", "--data", "d", "--out", "o"),
        *("--generator.batch_size", "3", "--generator.hidden-size=48", "--frame_vae.block-out-channels", "8", "16"),
        *("--autoencoder.decoder.no-reads-condition", "--span", "12"),
    )
    assert outcome.status == 0, outcome.err
    recipe = train_call.arguments[0]
    assert recipe.autoencoder.optimizer.lr == 3e-5
    assert recipe.generator.batch_size == 3
    assert recipe.generator.hidden_size == 48
    assert recipe.frame_vae.block_out_channels == (8, 16)
    assert not recipe.autoencoder.decoder.reads_condition
    assert recipe.span == 12
    assert recipe.size == 64  # the recipe's own, not the class's default
    assert recipe.autoencoder.batch_size == recipes.RECIPES["glober_toy_64"]().autoencoder.batch_size


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--autoencoder.lr", "1"], "unknown option '--autoencoder.lr'; did you mean --autoencoder.optimizer.lr?"),
        (["--generatr.depth=2"], "unknown option '--generatr.depth'; did you mean --generator.depth?"),
        (["--max-step", "3"], "unknown option '--max-step'; did you mean --max-steps?"),
        (["--autoencoder.optimizer.lr", "fast"], "--autoencoder.optimizer.lr takes FLOAT, not 'fast'"),
        (["--span", "2.5"], "--span takes INT, not '2.5'"),
        (["--generator.seed"], "missing value for argument '--generator.seed'. Expected 1 values."),
        (["--max-steps", "many"], "--max-steps takes INT, not 'many'"),
        (["--max-steps", "0"], "--max-steps must be at least 1, not 0"),
    ],
)
def test_bad_overrides(longtake, train_call, option, message):
    assert longtake("train", "glober_toy_64", "--data", "d", "--out", "o", *option).error_line == message
    assert train_call.arguments == []


def test_wrong_choice_names_the_choices(longtake):
    line = longtake("train", "glober_toy_64", "--data", "d", "--out", "o", "--generator.precision", "int8").error_line
    assert "'int8'" in line
    assert "--generator.precision" in line
    assert "bf16" in line


def test_unknown_recipe_names_the_nearest(longtake):
    line = longtake("train", "glober_toy_46", "--data", "d", "--out", "o").error_line
    assert line == "unknown recipe 'glober_toy_46'; did you mean 'glober_toy_64'? (known: glober_toy_64)"


def test_missing_options_are_named(longtake):
    assert longtake("train", "glober_toy_64").error_line == "missing --data PATH and --out PATH"
    assert longtake("train", "--data", "d").error_line == "missing RECIPE (known: glober_toy_64)"


def test_help_shows_the_recipe_and_its_values(longtake):
    text = longtake("train", "glober_toy_64", "--help").out
    assert "Toy shapes that move." in text
    assert "--autoencoder.optimizer.lr FLOAT" in text
    assert "--keyframes [INT [INT ...]]" in text
    assert "(default: 0 3 7)" in text


def test_recipe_may_stand_anywhere():
    assert split_recipe(["--out", "o", "glober_toy_64", "--data", "d"]) == (
        "glober_toy_64",
        ["--out", "o", "--data", "d"],
    )
    assert split_recipe(["--help"]) == (None, ["--help"])


def test_recipes_command(longtake):
    assert "Toy shapes that move." in longtake("recipes").out
    text = longtake("recipes", "glober_toy_64").out
    assert "Paper: none. Data: none." in text
    assert "  --keyframes 0 3 7\n" in text
    assert "  --autoencoder.optimizer.weight-decay 0.01\n" in text
    assert "  --autoencoder.optimizer.no-eight-bit\n" in text
    assert "did you mean 'glober_toy_64'?" in longtake("recipes", "glober_toi_64").error_line


@pytest.mark.parametrize("name", ["glober_small_64", "tats_sky_mini_64", "r3_weizmann_64", "evaluator_small"])
def test_what_recipes_prints_can_be_typed(longtake, monkeypatch, name):
    monkeypatch.setattr(recipes, "RECIPES", SHIPPED)
    printed = longtake("recipes", name).out.split("settings (each is an option of longtake train):\n")[1]
    parsed = Train.parse([name, "--data", "x", "--out", "y", *shlex.split(printed)], "longtake train")
    assert parsed.recipe == SHIPPED[name]()
