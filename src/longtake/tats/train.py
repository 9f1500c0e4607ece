"""A whole TATS run: recipe and folder of videos in, pipeline out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import diffusers

from longtake.core.files import atomic_path
from longtake.data.index import VideoIndex, index_folder
from longtake.tats import build, spectrogram_stage
from longtake.tats.config import ROLES, SpectrogramRecipe, TatsRecipe
from longtake.tats.spectrogram_stage import SpectrogramStage
from longtake.tats.stages import VQGANStage
from longtake.tats.tokens import check_stores
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.processes import use_device
from longtake.training.run import Components, Factory, choose_stages, export_if_complete, run_config, train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Stage


def train(
    recipe: TatsRecipe | SpectrogramRecipe,
    name: str,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    max_steps: int | None = None,
    only: Sequence[str] | None = None,
    device: str | None = None,
) -> None:
    """Train the stages of `recipe` in order and write the pipeline, or the VQGAN of spectrograms, to `run`/model.

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
    if isinstance(recipe, TatsRecipe):
        check_stores(recipe, index, chosen)
    folder = RunFolder(run)
    train_stages(chosen, folder, resume=resume, max_steps=max_steps, config=run_config(recipe, name, data))
    export_if_complete(stages, folder, lambda: export(recipe, index, folder))


def factories(recipe: TatsRecipe | SpectrogramRecipe, index: VideoIndex) -> dict[str, Factory]:
    """Each stage by name, as a function of what earlier stages exported.

    Raises `UserError` for settings that cannot be built or do not suit the data.
    """
    if isinstance(recipe, SpectrogramRecipe):
        spectrogram_stage.check(recipe, index)
        return {SpectrogramStage.name: lambda _: SpectrogramStage(recipe, index)}
    build.check(recipe, index)

    def transformer(name: str) -> Factory:
        def stage(components: Components) -> Stage:
            from longtake.tats.transformer_stages import TransformerStage

            return TransformerStage(name, recipe, index, _vqgan(recipe, components))

        return stage

    stages: dict[str, Factory] = {} if recipe.vqgan.pretrained else {"vqgan": lambda _: VQGANStage(recipe, index)}
    return {**stages, **{name: transformer(name) for name in transformers(recipe)}}


def transformers(recipe: TatsRecipe) -> list[str]:
    """The names of the recipe's transformers."""
    return [name for name in ROLES if getattr(recipe, name) is not None]


def export(recipe: TatsRecipe | SpectrogramRecipe, index: VideoIndex, run: RunFolder) -> None:
    """Put the trained parts together as a pipeline in `run.model`; a VQGAN of spectrograms stands there alone."""
    if isinstance(recipe, SpectrogramRecipe):
        with atomic_path(run.model) as folder:
            _trained_vqgan(Components(run.components), SpectrogramStage.name).save_pretrained(folder)
        return
    from longtake.tats.transformer import TatsTransformer

    parts = Components(run.components)
    trained = {name: TatsTransformer.from_pretrained(parts.find(name) / name) for name in transformers(recipe)}
    pipeline = build.pipeline(recipe, index, _vqgan(recipe, parts), **trained)
    with atomic_path(run.model) as folder:
        pipeline.save_pretrained(folder)


def _vqgan(recipe: TatsRecipe, components: Components) -> TatsVQGAN:
    if recipe.vqgan.pretrained:
        return TatsVQGAN.from_pretrained(build.pretrained_folder(recipe.vqgan.pretrained) / VQGANStage.name)
    return _trained_vqgan(components, VQGANStage.name)


def _trained_vqgan(components: Components, stage: str) -> TatsVQGAN:
    return TatsVQGAN.from_pretrained(components.find(stage) / stage)
