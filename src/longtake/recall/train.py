"""A whole recall run: recipe and folder of videos in, pipeline out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import diffusers

from longtake.core.files import atomic_path
from longtake.data.index import VideoIndex, index_folder
from longtake.recall import build, gpt_stage
from longtake.recall.config import RecallRecipe
from longtake.recall.export import pipeline
from longtake.recall.stages import GANStage
from longtake.training.processes import use_device
from longtake.training.run import Components, Factory, choose_stages, export_if_complete, run_config, train_stages
from longtake.training.run_folder import RunFolder


def train(
    recipe: RecallRecipe,
    name: str,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    max_steps: int | None = None,
    only: Sequence[str] | None = None,
    device: str | None = None,
) -> None:
    """Train the stages of `recipe` in order and write the pipeline to `run`/model.

    Args:
        recipe: the settings.
        name: the recipe's name, for config.json.
        data: folder of videos.
        run: run folder, empty or missing unless `resume`.
        resume: go on where the run stopped.
        max_steps: caps every stage; learning rate schedules still follow the recipe.
        only: names of stages to train; the others must have been trained in this run before.
        device: where to train; None is the best there is.

    Raises `UserError` for wrong settings, unusable data, a run folder in use, and a loss that is not finite.
    """
    diffusers.utils.logging.disable_progress_bar()
    if device is not None:
        use_device(device)
    index = index_folder(data)
    stages = factories(recipe, index)
    chosen = choose_stages(stages, only)
    folder = RunFolder(run)
    train_stages(chosen, folder, resume=resume, max_steps=max_steps, config=run_config(recipe, name, data))
    export_if_complete(stages, folder, lambda: export(recipe, index, folder))


def factories(recipe: RecallRecipe, index: VideoIndex) -> dict[str, Factory]:
    """Each stage by name, as a function of what earlier stages exported.

    Raises `UserError` for settings that cannot be built or contradict each other.
    """
    build.check(recipe)
    stages: dict[str, Factory] = {"gan": lambda _: GANStage(recipe, index)}
    if recipe.model == "r3":
        gpt_stage.check(recipe, index)

        stages["gpt"] = lambda components: gpt_stage.GPTStage.on(recipe, index, components.find("gan"))
    return stages


def export(recipe: RecallRecipe, index: VideoIndex, run: RunFolder) -> None:
    """Put the trained parts together as a pipeline in `run.model`."""
    with atomic_path(run.model) as folder:
        pipeline(recipe, index, Components(run.components)).save_pretrained(folder)
