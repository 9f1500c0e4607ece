"""Trained networks -> a pipeline that samples."""

from __future__ import annotations

import statistics

from longtake.data.index import VideoIndex
from longtake.recall import build
from longtake.recall.config import CLIP_FRAMES, RecallRecipe
from longtake.recall.discriminators import RecallVideoDiscriminator
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.gpt import RecallGPT
from longtake.recall.lstm_encoder import RecallLSTMEncoder
from longtake.recall.pipeline import RecallPipeline
from longtake.recall.rejection import NUM_CANDIDATES
from longtake.recall.sampling import Mode
from longtake.recall.stitching import frames_of
from longtake.training.run import Components


def pipeline(recipe: RecallRecipe, index: VideoIndex, components: Components) -> RecallPipeline:
    """Put together what the stages of `recipe` have exported.

    An R3's recipe with `model` set to "r2" gives the R2 that it goes on from.
    """
    networks, sampling = components.find("gan"), recipe.sampling
    encoder_class = RecallLSTMEncoder if recipe.model == "lencgan" else RecallEncoder
    encoder = None if recipe.model == "g3an" else encoder_class.from_pretrained(networks / "encoder")
    judge, gpt = None, None
    if recipe.model in build.PAIRED:
        judge = RecallVideoDiscriminator.from_pretrained(networks / "video_discriminator")
    if recipe.model == "r3":
        gpt = RecallGPT.from_pretrained(components.find("gpt") / "gpt")
    hop = build.sequence_hop(recipe) if recipe.model == "lencgan" else recipe.hop
    return RecallPipeline(
        RecallGenerator.from_pretrained(networks / "generator"),
        encoder,
        judge,
        gpt,
        model=recipe.model,
        hop=hop,
        span=build.clip_config(recipe).num_frames if gpt is None else frames_of(gpt.longest, hop),
        fps=frame_rate(recipe, index),
        classes=index.classes if gpt is not None else None,
        mode=mode(recipe),
        num_candidates=sampling.num_candidates if sampling.num_candidates > 1 else NUM_CANDIDATES,
        rollout=sampling.rollout,
    )


def mode(recipe: RecallRecipe) -> Mode:
    """What the pipeline does with a latent space unless told otherwise."""
    if recipe.sampling.latents == "mean":
        return "mean"
    return "vdrej" if recipe.sampling.num_candidates > 1 else "sample"


def frame_rate(recipe: RecallRecipe, index: VideoIndex) -> float:
    """Frames per second of the clips that training saw."""
    rates = [entry.info.fps for entry in index.entries]
    if recipe.frames == "random_step":
        rates = [rate / statistics.mean(recipe.steps) for rate in rates]
    elif recipe.frames == "bins":
        rates = [entry.info.fps * CLIP_FRAMES / entry.info.num_frames for entry in index.entries]
    return statistics.median(rates)
