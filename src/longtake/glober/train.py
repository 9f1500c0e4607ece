"""A whole GLOBER run: recipe and folder of videos in, pipeline out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL

from longtake.core.files import atomic_path
from longtake.data.index import VideoIndex, index_folder
from longtake.glober import build
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.config import GloberRecipe
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.latents import check_stores
from longtake.glober.stages import AutoencoderStage, FrameVAEStage, GeneratorStage
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.training.processes import use_device
from longtake.training.run import Factory, choose_stages, export_if_complete, exported, run_config, train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Stage


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
    chosen = choose_stages(stages, only)
    check_stores(recipe, index, chosen)
    folder = RunFolder(run)
    train_stages(chosen, folder, resume=resume, max_steps=max_steps, config=run_config(recipe, name, data))
    export_if_complete(stages, folder, lambda: export(recipe, index, folder))


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
            GloberVideoEncoder.from_pretrained(exported(components, "autoencoder") / "video_encoder"),
            GloberFrameDecoder.from_pretrained(exported(components, "autoencoder") / "frame_decoder"),
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
    return AutoencoderKL.from_pretrained(exported(components, "frame_vae") / "frame_vae")


def _condition_encoder(recipe: GloberRecipe, stage_folder: Path) -> GloberLabelEncoder | GloberTextEncoder | None:
    folder = stage_folder / "condition_encoder"
    if not folder.is_dir():
        return None
    encoder = GloberTextEncoder if recipe.condition == "caption" else GloberLabelEncoder
    return encoder.from_pretrained(folder)
