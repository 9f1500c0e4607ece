"""`longtake train`: every stage of a recipe, in order."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from longtake import recipes
from longtake.cli.parsing import Command, Flag, OptionalInt, OptionalText, parse, wants_help
from longtake.cli.terminal import say
from longtake.core.errors import UserError, choose_one_of
from longtake.tats.config import SpectrogramRecipe


@dataclass(frozen=True)
class TrainOptions:
    """What every recipe needs to run."""

    data: Path
    """Folder of videos; a video's class is the folder it lies in."""
    out: Path
    """Run folder: logs, previews, checkpoints, and the finished pipeline in model/."""
    resume: Flag = False
    """Go on from the newest checkpoint in the run folder."""
    max_steps: OptionalInt = None
    """Stop every stage after this many steps; schedules still follow the recipe."""
    stage: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")] = ()
    """Train these stages only (default: all, in order)."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""


@dataclass(frozen=True)
class Train(Command):
    """Train a recipe on a folder of videos: all stages in order."""

    shares_work = True
    recipe_name: str
    options: TrainOptions
    recipe: Any

    @classmethod
    def parse(cls, arguments: Sequence[str], prog: str) -> Train:
        """Read `RECIPE [options] [overrides]`; every field of the recipe is an option.

        Raises `UserError` for an unknown recipe, option or field, and for a value of the wrong type.
        """
        name, rest = split_recipe(arguments)
        if name is None:
            if not wants_help(arguments):
                raise UserError(f"missing RECIPE (known: {', '.join(recipes.RECIPES)})")
            print(f"usage: {prog} RECIPE --data DIR --out RUN [OPTIONS]\n\n{cls.__doc__}\n")
            print(f"recipes: {', '.join(recipes.RECIPES)}\n{prog} RECIPE --help shows every setting of a recipe.")
            raise SystemExit(0)
        default = recipes.find(name)()
        parsed: Any = parse(with_overrides(default), rest, f"{prog} {name}", recipes.summary(name))
        return cls(name, parsed.options, parsed.recipe)

    def run(self) -> None:
        """Train; the engine shows its own progress."""
        options = self.options
        if options.max_steps is not None and options.max_steps < 1:
            raise UserError(f"--max-steps must be at least 1, not {options.max_steps}")
        train = trainer_of(self.recipe)
        train(
            self.recipe,
            self.recipe_name,
            options.data,
            options.out,
            resume=options.resume,
            max_steps=options.max_steps,
            only=options.stage or None,
            device=options.device,
        )
        finished = options.out / "model"
        if (finished / "model_index.json").is_file():
            say(f"model: {finished} (longtake sample {finished} --out video.mp4)")
        elif isinstance(self.recipe, SpectrogramRecipe) and finished.is_dir():
            say(f"VQGAN of spectrograms: {finished} (longtake train tats_drum_64 --conditioning.stft-vqgan {finished})")
        elif finished.is_dir():  # an evaluator
            command = f"longtake evaluate --features local:{finished} --real DIR --fake DIR --out report.json"
            say(f"evaluator: {finished} ({command})")
        else:
            say(f"run: {options.out}")


def split_recipe(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take the recipe's name out of the arguments: the first of them, or wherever a known name stands."""
    tokens = list(arguments)
    known = next((token for token in tokens if token in recipes.RECIPES), None)
    if known is None and tokens and not tokens[0].startswith("-"):
        known = choose_one_of("recipe", tokens[0], recipes.RECIPES)
    if known is not None:
        tokens.remove(known)
    return known, tokens


def with_overrides(recipe: Any) -> type:  # noqa: ANN401 -- each family has its own recipe type
    """Build the dataclass of run options and recipe fields side by side, the recipe's own values as defaults."""
    unprefixed = tyro.conf.arg(name="")
    options = Annotated[TrainOptions, unprefixed]
    overrides = Annotated[type(recipe), unprefixed]  # type: ignore[valid-type]
    return make_dataclass(
        "Train", [("options", options), ("recipe", overrides, field(default_factory=lambda: recipe))], frozen=True
    )


def trainer_of(recipe: Any) -> Callable[..., None]:  # noqa: ANN401
    """Return the function that trains a recipe: `train` of the folder that the recipe's type is defined in."""
    family = type(recipe).__module__.rpartition(".")[0]
    trainer: Callable[..., None] = importlib.import_module(f"{family}.train").train  # loads torch
    return trainer
