"""A whole GLOBER run: recipe and folder of videos in, pipeline out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL

from longtake.core.files import atomic_path
from longtake.data.index import VideoIndex, index_folder
from longtake.glober import build, pretrained
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.config import GloberRecipe
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.generator_stage import GeneratorStage
from longtake.glober.latents import check_stores
from longtake.glober.stages import AutoencoderStage, FrameVAEStage
from longtake.glober.text_encoder import ConditionEncoder
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.models import find_folder
from longtake.training.engine import default_reporter
from longtake.training.processes import use_device
from longtake.training.run import Components, Factory, choose_stages, export_if_complete, run_config, train_stages
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
    index = build.conditioned(recipe, index_folder(data))
    stages = factories(recipe, index)
    chosen = choose_stages(stages, only)
    check_stores(recipe, index, chosen)
    folder = RunFolder(run)
    train_stages(chosen, folder, resume=resume, max_steps=max_steps, config=run_config(recipe, name, data))
    export_if_complete(stages, folder, lambda: export(recipe, index, folder))


def factories(recipe: GloberRecipe, index: VideoIndex) -> dict[str, Factory]:
    """Each stage by name, as a function of what earlier stages exported.

    Raises `UserError` for settings that cannot be built or do not suit the data.
    """
    build.check(recipe, index)

    def autoencoder(components: Components) -> Stage:
        stage = AutoencoderStage(recipe, index, _frame_vae(recipe, components))
        if decoder.pretrained:
            for line in pretrained.initialise(stage.frame_decoder, decoder.pretrained).lines(decoder.pretrained):
                default_reporter().message(line)
        return stage

    def generator(components: Components) -> Stage:
        return GeneratorStage(
            recipe,
            index,
            _frame_vae(recipe, components),
            GloberVideoEncoder.from_pretrained(_autoencoder(recipe, components) / "video_encoder"),
            GloberFrameDecoder.from_pretrained(_autoencoder(recipe, components) / "frame_decoder"),
            _condition_encoder(recipe, index, _autoencoder(recipe, components)) if knows_condition else None,
        )

    decoder = recipe.autoencoder.decoder
    knows_condition = decoder.reads_condition or recipe.text_encoder
    stages: dict[str, Factory] = {}
    if not build.frame_vae_folder(recipe):
        stages["frame_vae"] = lambda _: FrameVAEStage(recipe, index)
    if not recipe.autoencoder.pretrained:
        stages["autoencoder"] = autoencoder
    return {**stages, "generator": generator}


def export(recipe: GloberRecipe, index: VideoIndex, run: RunFolder) -> None:
    """Put the trained parts together as a pipeline in `run.model`."""
    components = Components(run.components)
    autoencoder = _autoencoder(recipe, components)
    reads_condition = recipe.autoencoder.decoder.reads_condition
    generator = components.find("generator")
    condition_encoder = _condition_encoder(recipe, index, autoencoder if reads_condition else generator)
    assert condition_encoder is not None
    pipeline = build.pipeline(
        recipe,
        index,
        _frame_vae(recipe, components),
        GloberVideoEncoder.from_pretrained(autoencoder / "video_encoder"),
        GloberFrameDecoder.from_pretrained(autoencoder / "frame_decoder"),
        GloberFeatureGenerator.from_pretrained(generator / "feature_generator"),
        condition_encoder,
    )
    with atomic_path(run.model) as folder:
        pipeline.save_pretrained(folder)


def _frame_vae(recipe: GloberRecipe, components: Components) -> AutoencoderKL:
    folder = build.frame_vae_folder(recipe)
    if folder:
        return pretrained.read_frame_vae(folder)
    return AutoencoderKL.from_pretrained(components.find("frame_vae") / "frame_vae")


def _autoencoder(recipe: GloberRecipe, components: Components) -> Path:
    """Return the folder of video encoder and frame decoder."""
    if recipe.autoencoder.pretrained:
        return find_folder(recipe.autoencoder.pretrained)
    return components.find("autoencoder")


def _condition_encoder(recipe: GloberRecipe, index: VideoIndex, stage_folder: Path) -> ConditionEncoder | None:
    if recipe.text_encoder:
        return build.condition_encoder(recipe, index)
    folder = stage_folder / "condition_encoder"
    if not folder.is_dir():
        return None
    encoder = GloberTextEncoder if recipe.condition == "caption" else GloberLabelEncoder
    return encoder.from_pretrained(folder)
