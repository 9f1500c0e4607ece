"""Settings of a recall run. Plain dataclasses: importing this loads neither torch nor diffusers.

The defaults are the thesis' improved R2 at 128x128 (Table 5.3, resolved in README.md); recipes.py has the other models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from longtake.data.config import AugmentConfig, ShortVideos
from longtake.training.config import OptimizerConfig, StageConfig

CLIP_FRAMES = 16
"""Frames of a clip: what one latent space stands for and one pass of the generator makes."""

Model = Literal["g3an", "encgan3", "lencgan", "r2", "ar2", "r3"]

GAN_OPTIMIZER = OptimizerConfig(lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0)  # AdamW without decay is Adam
GPT_OPTIMIZER = OptimizerConfig(lr=5e-5, betas=(0.9, 0.95), weight_decay=0.01)


@dataclass(frozen=True)
class EncoderConfig:
    """The network that gives a clip its latent space: of one content frame, and of the differences between frames."""

    channels: tuple[int, ...] = (8, 8, 16, 16, 32, 32, 64, 64)
    """Channels of the convolutions of either stream: two for every halving of the size down to 8."""
    content_features: tuple[int, ...] = (256, 256)
    """Channels of the linear layers after the content stream's convolutions."""
    motion_features: tuple[int, ...] = (256, 256)
    """The same for each difference map; pairs of maps are compressed to as many channels as the last has."""
    clip_features: int = 256
    """Channels of the linear layers on all maps of a clip together."""
    motion_head_relu: bool = True
    """A ReLU between the two layers of each motion head."""
    content_frame: int = 8
    """Frame of a clip that the content stream sees: r of the recall mechanism; 0 in EncGAN3."""
    latter_content: Literal["local", "shared"] = "local"
    """Content frame of R2's second clip: its own frame r, or the first clip's."""
    initial_logvar: float = 0.0
    """What the log-variances start at (the thesis: 0, noise as large as the latents may grow)."""
    lstm_channels: int = 512
    """LEncGAN: channels of both LSTMs."""
    inherit: Literal["none", "cell", "output", "both"] = "both"
    """LEncGAN: which LSTM states a clip takes over from the clip before it."""
    inherit_at: Literal["mid", "last"] = "last"
    """LEncGAN: the states after the earlier clip's last map, or after its middle one. The next clip starts there: 15
    frames further on, or 8."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The three-stream generator (G3AN's): content and motion latents -> a clip."""

    content_channels: int = 512
    """Channels of the content latents (c_a)."""
    motion_channels: int = 256
    """Channels of the motion latents (c_m)."""
    channels: tuple[int, ...] = (512, 512, 256, 128, 64, 32)
    """Channels of each G3 block; the first makes 4x4 pixels, each further one doubles them."""
    mode: Literal["1p2d", "2p1d", "3d"] = "3d"
    """The video stream's convolutions: in time, then in space; the other way round; or in both at once."""
    spatial_stream: bool = True
    """Concatenate the spatial stream's features to the video stream's (off: the thesis' "no G_S")."""
    temporal_stream: bool = True
    """Add the temporal stream's features to the video stream's (off: "no G_T")."""
    self_attention: bool = True
    """Factorised self-attention after the fourth block."""
    legacy_fsa: bool = False
    """Scramble the attention's output as G3AN's published code does, for weights trained with it."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminators of clips and of single frames."""

    video_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Channels of the clip discriminator's stages, each of which halves the size; down to 4x4 pixels."""
    image_channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    """The same for the frame discriminator."""
    optimizer: OptimizerConfig = GAN_OPTIMIZER
    """The discriminators' optimizer."""


@dataclass(frozen=True)
class GANConfig(StageConfig):
    """Stage 1: encoder and generator against two discriminators."""

    optimizer: OptimizerConfig = GAN_OPTIMIZER
    """The optimizer of encoder and generator."""
    recon_weight: float = 1.0
    """Weight of the reconstruction error, averaged over elements, against one adversarial term."""
    motion_weight: float = 0.0
    """Strength of `nn.motion_weight` in the reconstruction error: what moves counts more (not in the thesis)."""
    kl_weight: float = 1.0
    """Weight of each KL term, averaged over latent channels."""
    recon_loss: Literal["l1", "smooth_l1"] = "l1"
    """Distance of a clip from its reconstruction."""
    recon_target: Literal["frames", "motion_in_encoder", "motion"] = "frames"
    """Reconstruct all frames; or, in the encoder's loss or in both, the first frame and the difference maps."""
    anchor_frame: int | None = 8
    """Frame whose reconstruction error is added to that of the clip (Eq. 4.4: r); none: no such term."""
    generator_recon: Literal["clips", "stitched", "none"] = "clips"
    """The generator's reconstruction term: of clips; of clips and R2's stitched clip; or none."""
    joint: bool = True
    """One step for encoder and generator together (R2 onwards); off: the encoder's, then the generator's."""
    adversarial_start: int = 0
    """First step of the adversarial terms and of the discriminators' training (the thesis: 0); before it encoder and
    generator learn to reconstruct alone."""
    latents: Literal["sample", "mean"] = "sample"
    """What is decoded: a draw from the latent space, or its mean."""
    noise_terms: bool = False
    """Judge clips from latents drawn from N(0, 1) too."""
    stitched_clip: bool = True
    """Let the clip discriminator judge clips stitched from two (R_3VD), too."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class GPTConfig(StageConfig):
    """Stage 2 of R3: the GPT over latent spaces, one token per clip."""

    optimizer: OptimizerConfig = GPT_OPTIMIZER
    """The GPT's optimizer."""
    depth: int = 48
    """Blocks."""
    num_heads: int = 24
    """Attention heads."""
    width: int | None = None
    """Channels of the GPT; none: as many as a token has, 2 (c_a + c_m), so that tokens enter as they are."""
    dropout: float = 0.1
    """Dropout."""
    max_tokens: int = 128
    """Longest sequence of tokens; longer videos are sampled through a sliding window."""
    max_frames: int = 1000
    """Frames of a training video beyond this many are left off."""
    layout: Literal["padded", "paired", "labelled"] = "padded"
    """A training sequence: one video and zeros (5.5); a video and another of its class (5.6); or class, length,
    video, length, video, zeros (5.7)."""
    keep_first: bool = False
    """Let the sliding window keep the video's first token for good, so that persons and actions last; half of the
    training sequences then leave out some of what follows their first token (not in the thesis; layout padded)."""
    own_share: float = 0.0
    """Share of the sequences whose tokens after the first are, as in sampling, the GPT's own predictions, while the
    targets stay those of the video (scheduled sampling; not in the thesis)."""
    own_passes: int = 3
    """With `own_share`: passes that make these predictions, each from those of the pass before, so that this many of a
    sequence's tokens are what sampling would give."""
    cached_variants: int = 1
    """Variants of every video, each changed at random once, whose tokens are computed before training and kept."""
    examples_per_class: int = 8
    """Token sequences of training videos that are kept with the GPT: what a video without a first clip begins with."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each video."""


@dataclass(frozen=True)
class SamplingConfig:
    """What the exported pipeline does unless told otherwise."""

    latents: Literal["sample", "mean"] = "sample"
    """What is decoded: draws from latent spaces, or their means."""
    num_candidates: int = 1
    """Clips drawn for every clip shown, of which the clip discriminator picks one (VDrej; the thesis: 20); 1: none."""
    rollout: Literal["robust", "faster"] = "robust"
    """R3: encode each chosen clip for the GPT again, or let the GPT run on alone and decode afterwards."""


@dataclass(frozen=True)
class RecallRecipe:
    """A whole recall run: what is trained, stage after stage, and how the result is sampled."""

    model: Model = "r2"
    """g3an: the generator without an encoder; encgan3: with one; lencgan: with LSTMs; r2: overlapping pairs of clips;
    ar2: the second clip of a pair from the first; r3: r2, and a GPT over its latent spaces."""
    size: int = 128
    """Height and width of the frames: a power of two."""
    frames: Literal["windows", "random_step", "bins"] = "windows"
    """Frames a clip is made of: consecutive ones from every eighth frame on; every n-th, n drawn from `steps`; or one
    out of each of 16 equal parts of the video."""
    steps: tuple[int, ...] = (1,)
    """Distances between frames that `random_step` draws from."""
    short_videos: ShortVideos = "leave_out"
    """Videos with too few frames: leave them out, or go on backwards from their last frame."""
    hop: int = 8
    """Frames from the start of a clip to that of the next (the clips overlap by 16 - hop)."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The generator."""
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The discriminators."""
    gan: GANConfig = field(default_factory=GANConfig)
    """Stage 1."""
    gpt: GPTConfig = field(default_factory=GPTConfig)
    """Stage 2, of R3 alone."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Defaults of the exported pipeline."""
