"""A whole GLOBER run: recipe and folder of videos in, pipeline out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL

from longtake.core.errors import UserError, choose_one_of
from longtake.core.files import atomic_path
from longtake.data.index import VideoIndex, index_folder
from longtake.glober import build
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.config import GloberRecipe
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.stages import AutoencoderStage, FrameVAEStage, GeneratorStage
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.training.processes import run_on_main, use_device
from longtake.training.run import train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Stage

Factory = Callable[[Path], Stage]


def train(
    recipe: GloberRecipe,
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
    for stage in only or ():
        choose_one_of("stage", stage, stages)
    chosen = {stage: factory for stage, factory in stages.items() if only is None or stage in only}
    folder = RunFolder(run)
    config = {"recipe": name, "family": "glober", "data": str(data), "settings": dataclasses.asdict(recipe)}
    train_stages(chosen, folder, resume=resume, max_steps=max_steps, config=config)

    def export_if_complete() -> None:
        if all((folder.components / stage).is_dir() for stage in stages):
            export(recipe, index, folder)

    run_on_main(export_if_complete)


def factories(recipe: GloberRecipe, index: VideoIndex) -> dict[str, Factory]:
    """Each stage by name, as a function of the folder that holds what earlier stages exported.

    Raises `UserError` for settings that cannot be built or do not suit the data.
    """
    build.check(recipe, index)

    def autoencoder(components: Path) -> Stage:
        return AutoencoderStage(recipe, index, _frame_vae(recipe, components))

    def generator(components: Path) -> Stage:
        return GeneratorStage(
            recipe,
            index,
            _frame_vae(recipe, components),
            GloberVideoEncoder.from_pretrained(_trained(components, "autoencoder") / "video_encoder"),
            GloberFrameDecoder.from_pretrained(_trained(components, "autoencoder") / "frame_decoder"),
            _condition_encoder(recipe, components / "autoencoder"),
        )

    first: dict[str, Factory] = (
        {} if recipe.frame_vae.pretrained else {"frame_vae": lambda _: FrameVAEStage(recipe, index)}
    )
    return {**first, "autoencoder": autoencoder, "generator": generator}


def export(recipe: GloberRecipe, index: VideoIndex, run: RunFolder) -> None:
    """Put the trained parts together as a pipeline in `run.model`."""
    components = run.components
    trained_condition = components / ("autoencoder" if recipe.autoencoder.decoder.reads_condition else "generator")
    condition_encoder = _condition_encoder(recipe, trained_condition)
    assert condition_encoder is not None
    pipeline = build.pipeline(
        recipe,
        index,
        _frame_vae(recipe, components),
        GloberVideoEncoder.from_pretrained(components / "autoencoder" / "video_encoder"),
        GloberFrameDecoder.from_pretrained(components / "autoencoder" / "frame_decoder"),
        GloberFeatureGenerator.from_pretrained(components / "generator" / "feature_generator"),
        condition_encoder,
    )
    with atomic_path(run.model) as folder:
        pipeline.save_pretrained(folder)


def _frame_vae(recipe: GloberRecipe, components: Path) -> AutoencoderKL:
    if recipe.frame_vae.pretrained:
        return build.pretrained_frame_vae(recipe.frame_vae.pretrained)
    return AutoencoderKL.from_pretrained(_trained(components, "frame_vae") / "frame_vae")


def _condition_encoder(recipe: GloberRecipe, stage_folder: Path) -> GloberLabelEncoder | GloberTextEncoder | None:
    folder = stage_folder / "condition_encoder"
    if not folder.is_dir():
        return None
    encoder = GloberTextEncoder if recipe.condition == "caption" else GloberLabelEncoder
    return encoder.from_pretrained(folder)


def _trained(components: Path, stage: str) -> Path:
    if not (components / stage).is_dir():
        raise UserError(f"stage {stage!r} is not trained in this run yet: train it first (--stage {stage})")
    return components / stage
