"""A whole run: recipe and folder of labelled videos in, evaluator out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from longtake.core.files import atomic_path, write_json
from longtake.data.index import VideoIndex, index_folder
from longtake.evaluator.config import EvaluatorRecipe
from longtake.evaluator.held_out import Evaluation, evaluate, split_off
from longtake.evaluator.stages import ClassifierStage, clip_of, training_clips
from longtake.metrics.networks.local import LocalEvaluator, load_local
from longtake.training.checkpoint import newest_checkpoint
from longtake.training.engine import default_reporter
from longtake.training.log import MetricsLog
from longtake.training.processes import run_on_main, use_device
from longtake.training.run import Factory, choose_stages, run_config, train_stages
from longtake.training.run_folder import RunFolder

EVALUATION = "evaluation"


def train(
    recipe: EvaluatorRecipe,
    name: str,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    max_steps: int | None = None,
    only: Sequence[str] | None = None,
    device: str | None = None,
) -> None:
    """Train the classifier of `recipe`, write it to `run`/model and measure it on the held-out videos.

    Args:
        recipe: the settings.
        name: the recipe's name, for config.json.
        data: folder of videos, one sub-folder per class.
        run: run folder, empty or missing unless `resume`.
        resume: go on where the run stopped.
        max_steps: stop early; the learning rate's schedule still follows the recipe.
        only: names of stages to train; there is one, "classifier".
        device: where to train; None is the best there is.

    Raises `UserError` for wrong settings, unlabelled or unusable videos, a `held_out` that matches none or all of
    them, a run folder in use, and a loss that is not finite.
    """
    if device is not None:
        use_device(device)
    index = index_folder(data)
    stages = factories(recipe, index)
    folder = RunFolder(run)
    config = run_config(recipe, name, data)
    train_stages(choose_stages(stages, only), folder, resume=resume, max_steps=max_steps, config=config)
    evaluation = run_on_main(lambda: export(recipe, index, folder))
    if evaluation is not None:
        default_reporter().message(evaluation.summary())


def factories(recipe: EvaluatorRecipe, index: VideoIndex) -> dict[str, Factory]:
    """Return the one stage by name. Raises `UserError` for data that cannot be trained on."""
    training, _ = split_off(index, recipe.held_out)
    dataset = training_clips(recipe, training)
    return {ClassifierStage.name: lambda _: ClassifierStage(recipe, dataset)}


def export(recipe: EvaluatorRecipe, index: VideoIndex, run: RunFolder) -> Evaluation | None:
    """Write the evaluator to `run.model` in half precision, which is what then is measured.

    The accuracy goes to evaluation.json beside it and to the run's metrics; without `held_out` there is none.
    """
    _, held_out = split_off(index, recipe.held_out)
    network = LocalEvaluator.from_pretrained(run.components / ClassifierStage.name)
    network.register_to_config(_name_or_path="")
    with atomic_path(run.model) as folder:
        network.half().save_pretrained(folder)
        if not held_out:
            return None
        evaluation = evaluate(load_local(str(folder)), index, held_out, recipe.held_out, clip_of(recipe))
        write_json(folder / f"{EVALUATION}.json", evaluation.to_json())
    checkpoint, _ = newest_checkpoint(run.checkpoints(ClassifierStage.name))
    assert checkpoint is not None, "the stage has ended without a checkpoint"
    with MetricsLog(run.metrics, run.tensorboard(EVALUATION), EVALUATION, checkpoint.step - 1) as log:
        log.write(checkpoint.step, {"held_out/accuracy": evaluation.accuracy})
    return evaluation
