"""A recipe's settings -> networks and data."""

from __future__ import annotations

from longtake.core.errors import UserError
from longtake.data.config import ClipConfig
from longtake.recall.config import CLIP_FRAMES, RecallRecipe
from longtake.recall.discriminators import RecallImageDiscriminator, RecallVideoDiscriminator
from longtake.recall.encoder import RecallEncoder, check_encoder_size
from longtake.recall.generator import NUM_TEMPORAL_BLOCKS, RecallGenerator
from longtake.recall.lstm_encoder import MID_MAPS, RecallLSTMEncoder

PAIRED = ("r2", "ar2", "r3")
"""Models that learn on two overlapping clips at a time."""

WINDOW_STRIDE = 8
"""Frames from one training window of a video to the next."""


def check(recipe: RecallRecipe) -> None:
    """Raise `UserError` for settings that cannot be built or contradict each other."""
    _check_sizes(recipe)
    _check_losses(recipe)
    clip_config(recipe)
    if recipe.model == "r3":
        _check_gpt(recipe)


def _check_sizes(recipe: RecallRecipe) -> None:
    config, judges = recipe.generator, recipe.discriminators
    for name, size in (
        ("generator.channels", 4 * 2 ** (len(config.channels) - 1)),
        ("discriminators.video_channels", 4 * 2 ** len(judges.video_channels)),
        ("discriminators.image_channels", 4 * 2 ** len(judges.image_channels)),
    ):
        if size != recipe.size:
            raise UserError(f"{name} makes frames of {size}, but size is {recipe.size}: each entry doubles them")
    if len(config.channels) < NUM_TEMPORAL_BLOCKS:
        raise UserError(f"size is {recipe.size}; the generator makes frames of 16 and more")
    if recipe.model != "g3an":
        check_encoder_size(recipe.size, recipe.encoder.channels)
    if not 0 <= recipe.encoder.content_frame < CLIP_FRAMES:
        raise UserError(
            f"encoder.content_frame is {recipe.encoder.content_frame}; a clip has the frames 0 to {CLIP_FRAMES - 1}"
        )
    if not 1 <= recipe.hop < CLIP_FRAMES:
        raise UserError(f"hop is {recipe.hop}; it must be 1 to {CLIP_FRAMES - 1}, so that clips overlap")


def _check_losses(recipe: RecallRecipe) -> None:
    config = recipe.gan
    if config.anchor_frame is not None and not 0 <= config.anchor_frame < CLIP_FRAMES:
        raise UserError(f"gan.anchor_frame is {config.anchor_frame}; a clip has the frames 0 to {CLIP_FRAMES - 1}")
    if recipe.model == "g3an" and not config.noise_terms:
        raise UserError("g3an has no encoder, so it learns from noise alone: give --gan.noise-terms")
    if config.adversarial_start and (recipe.model == "g3an" or config.generator_recon == "none"):
        raise UserError(
            f"gan.adversarial_start is {config.adversarial_start}, but only the adversarial terms train this "
            "generator: it must be 0"
        )
    if config.recon_target == "motion" and (config.motion_weight or config.generator_recon == "stitched"):
        raise UserError(
            "gan.recon_target 'motion' compares the first frame and difference maps of single clips: give "
            "--gan.motion-weight 0 --gan.generator-recon clips"
        )
    if config.joint and config.generator_recon == "none":
        raise UserError("a joint step has one reconstruction term: with gan.generator_recon 'none' give --gan.no-joint")
    if config.generator_recon == "stitched" and recipe.model not in ("r2", "r3"):
        raise UserError(f"model {recipe.model!r} stitches no two reconstructions: gan.generator_recon must be 'clips'")
    if recipe.encoder.latter_content == "shared" and recipe.model not in ("r2", "r3"):
        raise UserError(f"model {recipe.model!r} encodes no second clip: encoder.latter_content must be 'local'")
    if recipe.model in ("lencgan", "r3") and recipe.frames != "windows":
        raise UserError(f"model {recipe.model!r} learns on consecutive frames: frames must be 'windows'")


def _check_gpt(recipe: RecallRecipe) -> None:
    config = recipe.gpt
    width = config.width or 2 * (recipe.generator.content_channels + recipe.generator.motion_channels)
    if width % config.num_heads:
        raise UserError(f"gpt.num_heads is {config.num_heads}, which does not divide the width of {width}")


def clip_config(recipe: RecallRecipe) -> ClipConfig:
    """What the first stage learns on: a clip, the span of two overlapping ones, or LEncGAN's sequence of clips."""
    num_frames = CLIP_FRAMES + (recipe.hop if recipe.model in PAIRED else 0)
    if recipe.frames == "random_step":
        return ClipConfig(
            num_frames, "random_step", steps=recipe.steps, size=recipe.size, short_videos=recipe.short_videos
        )
    if recipe.frames == "bins":
        return ClipConfig(num_frames, "bins", size=recipe.size)
    stride = sequence_hop(recipe) if recipe.model == "lencgan" else WINDOW_STRIDE
    return ClipConfig(num_frames, "windows", size=recipe.size, stride=stride, short_videos=recipe.short_videos)


def sequence_hop(recipe: RecallRecipe) -> int:
    """Frames from one clip of LEncGAN to the next: where the states are taken that it inherits."""
    return MID_MAPS if recipe.encoder.inherit_at == "mid" else CLIP_FRAMES - 1


def encoder(recipe: RecallRecipe) -> RecallEncoder | RecallLSTMEncoder:
    """The untrained encoder: with LSTMs for LEncGAN."""
    config = recipe.encoder
    if recipe.model == "lencgan":
        return RecallLSTMEncoder(
            size=recipe.size,
            content_channels=recipe.generator.content_channels,
            motion_channels=recipe.generator.motion_channels,
            channels=config.channels,
            content_features=config.content_features,
            motion_features=config.motion_features,
            lstm_channels=config.lstm_channels,
            motion_head_relu=config.motion_head_relu,
            inherit=config.inherit,
            inherit_at=config.inherit_at,
            initial_logvar=config.initial_logvar,
        )
    return RecallEncoder(
        size=recipe.size,
        content_channels=recipe.generator.content_channels,
        motion_channels=recipe.generator.motion_channels,
        channels=config.channels,
        content_features=config.content_features,
        motion_features=config.motion_features,
        clip_features=config.clip_features,
        motion_head_relu=config.motion_head_relu,
        content_frame=config.content_frame,
        initial_logvar=config.initial_logvar,
    )


def generator(recipe: RecallRecipe) -> RecallGenerator:
    """The untrained generator."""
    config = recipe.generator
    return RecallGenerator(
        content_channels=config.content_channels,
        motion_channels=config.motion_channels,
        channels=config.channels,
        mode=config.mode,
        spatial_stream=config.spatial_stream,
        temporal_stream=config.temporal_stream,
        self_attention=config.self_attention,
        legacy_fsa=config.legacy_fsa,
    )


def video_discriminator(recipe: RecallRecipe) -> RecallVideoDiscriminator:
    """The untrained discriminator of clips."""
    return RecallVideoDiscriminator(recipe.discriminators.video_channels)


def image_discriminator(recipe: RecallRecipe) -> RecallImageDiscriminator:
    """The untrained discriminator of frames."""
    return RecallImageDiscriminator(recipe.discriminators.image_channels)
