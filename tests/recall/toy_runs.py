"""Whole toy runs as a program, with every part that a checkpoint must hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from toy_recall import RECIPES, changed
from toy_sampling import R3

from killed_runs import hang_in
from longtake.recall.config import RecallRecipe
from longtake.recall.gpt_stage import GPTStage
from longtake.recall.stages import GANStage
from longtake.recall.train import train

STEPS, CHECKPOINT_EVERY = 6, 3
STAGES = {"encgan3": ("gan",), "lencgan": ("gan",), "ar2": ("gan",), "r3": ("gan", "gpt")}


def short_recipe(model: str) -> RecallRecipe:
    """Six steps a stage with a checkpoint after the third, and whatever is random or carried in training."""
    recipe = R3 if model == "r3" else RECIPES[model]
    for stage in STAGES[model]:
        recipe = changed(
            recipe,
            **{
                f"{stage}__steps": STEPS,
                f"{stage}__checkpoint_every": CHECKPOINT_EVERY,
                f"{stage}__log_every": 1,
                f"{stage}__sample_every": 0,
                f"{stage}__batch_size": 2,
                f"{stage}__ema_decay": 0.9,
                f"{stage}__augment__zoom": 0.2,
            },
        )
    return recipe


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=STAGES)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--hang-in")
    args = parser.parse_args(arguments)
    if args.hang_in:
        hang_in((GANStage, GPTStage), args.hang_in, CHECKPOINT_EVERY + 1)
    train(short_recipe(args.model), "toy", args.data, args.out, resume=args.resume)


if __name__ == "__main__":
    main()
