"""Settings of a GLOBER run. Plain dataclasses: importing this loads neither torch nor diffusers.

The defaults are the paper's model at 256x256 (Table 8, resolved against the authors' code in README.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from longtake.data.config import AugmentConfig
from longtake.training.config import OptimizerConfig, StageConfig

Prediction = Literal["epsilon", "v_prediction"]
FeatureScale = Literal["global", "channel", "none"]
ClipFrames = Literal["contiguous", "whole_video"]


@dataclass(frozen=True)
class VideoEncoderConfig:
    """The network that folds keyframes into the global feature."""

    model_channels: int = 320
    """Channels of the first level."""
    channel_mult: tuple[int, ...] = (1, 2)
    """Channels of each level over `model_channels`; each further level halves the resolution."""
    num_res_blocks: int = 2
    """Residual blocks per level."""
    attention_downsamples: tuple[int, ...] = (1, 2)
    """Downsampling factors at which spatial and temporal attention follow each residual block."""
    head_channels: int = 64
    """Channels per attention head."""
    feature_channels: int = 16
    """Channels of the global feature."""
    slot_positions: bool = False
    """Learn a position for each keyframe slot (not in the paper)."""
    temporal_modes: int = 0
    """Make the feature's channels the modes of a cosine series in time, written straight from the keyframes and read
    off at the frame's time (not in the paper; at most one mode per keyframe; 0: none)."""
    initial_logvar: float = 0.0
    """What the feature's log-variance starts at (the authors: 0, noise as large as the feature)."""


@dataclass(frozen=True)
class FrameDecoderConfig:
    """The UNet that renders one frame from the global feature and a time index."""

    pretrained: str | None = None
    """Stable Diffusion v1's UNet to start from: a diffusers folder of it or of a whole pipeline, or an original
    checkpoint. Every tensor of the same name and shape is taken over, the others are named."""
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels of each level."""
    layers_per_block: int = 2
    """Residual blocks per level."""
    attention: tuple[bool, ...] = (True, True, True, False)
    """Levels that have attention."""
    num_heads: int = 8
    """Attention heads."""
    norm_groups: int = 32
    """Groups of the UNet's group norms."""
    index_scale: float = 1.0
    """Factor on the time index, which lies in [0, 1), before its sinusoids (the paper: 1)."""
    index_modulation: Literal["add", "scale_shift"] = "add"
    """How the time index enters a control block: added (the paper), or as scale and shift after the norm."""
    reads_condition: bool = True
    """Cross-attend to the text or label states; otherwise attention is self-attention alone."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The CRA discriminator of frame pairs."""

    model_channels: int = 256
    """Channels of the first level."""
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Channels of each level over `model_channels`."""
    num_res_blocks: int = 1
    """Residual blocks per level."""
    attention_downsamples: tuple[int, ...] = (2, 4, 8, 16)
    """Downsampling factors with attention over both frames."""
    head_channels: int = 32
    """Channels per attention head."""
    space: Literal["latent", "pixel"] = "latent"
    """Judge latents, or frames decoded from them (with gradients through the frame VAE's decoder)."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The discriminator's optimizer."""
    every: int = 1
    """Autoencoder steps per discriminator step."""


@dataclass(frozen=True)
class FrameVAEConfig(StageConfig):
    """Stage 1: the image autoencoder of single frames. Trained here, or pretrained and frozen."""

    pretrained: str | None = None
    """A KL autoencoder to use as it is, such as Stable Diffusion's: a diffusers folder of it or of a whole pipeline, or
    an original checkpoint (.safetensors or .ckpt); the stage then trains nothing."""
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of each level; each further level halves the resolution."""
    layers_per_block: int = 2
    """Residual blocks per level."""
    latent_channels: int = 4
    """Channels of the latents."""
    norm_groups: int = 32
    """Groups of the group norms."""
    mid_attention: bool = True
    """Attention at the lowest resolution."""
    kl_weight: float = 1e-6
    """Weight of the KL term, averaged over latent elements, against the mean absolute error."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class AutoencoderConfig(StageConfig):
    """Stage 2: video encoder and frame decoder, with the CRA discriminator against them."""

    pretrained: str | None = None
    """A trained GLOBER (shipped model, pipeline or run folder) whose frame VAE, video encoder and frame decoder to use
    as they are; this stage and the frame VAE's then train nothing."""
    encoder: VideoEncoderConfig = field(default_factory=VideoEncoderConfig)
    """The video encoder."""
    decoder: FrameDecoderConfig = field(default_factory=FrameDecoderConfig)
    """The frame decoder."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The CRA discriminator."""
    prediction: Prediction = "epsilon"
    """What the frame decoder predicts (the paper: epsilon)."""
    num_targets: int = 2
    """Frames of each clip that the decoder learns on in a step; the CRA loss pairs the first two."""
    feature_kl_weight: float = 1e-6
    """Lambda 1: weight of the global feature's KL term."""
    cra_weight: float = 0.1
    """Lambda 2: weight of the CRA loss; 0 trains without a discriminator."""
    cra_start: int = 0
    """First step of the CRA loss and of its discriminator."""
    feature_dropout: float = 0.1
    """Share of clips whose keyframe latents are zeroed, so that the decoder can be guided."""
    condition_dropout: float = 0.1
    """Share of clips whose text or label is dropped, independent of `feature_dropout`."""
    gradient_checkpointing: bool = False
    """Compute what lies within the networks' blocks again for the gradient, instead of keeping it: less memory, more
    time."""
    cached_variants: int = 0
    """Encode every video at most this many times, each time augmented anew, and train on those latents, kept in
    memory (for small sets); 0: decode, augment and encode every clip anew."""
    encoded: str | None = None
    """Folder that `longtake data encode` has written: train on its latents, with the same result as with
    `cached_variants`, which then says how many of its variants are used (0: all)."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class GeneratorConfig(StageConfig):
    """Stage 3: the DiT that generates global features."""

    hidden_size: int = 1152
    """Width."""
    depth: int = 28
    """Blocks."""
    num_heads: int = 16
    """Attention heads."""
    shared_modulation: bool = False
    """Share one adaLN network among all blocks (not in the paper)."""
    prediction: Prediction = "epsilon"
    """What the network predicts (the paper: epsilon)."""
    feature_scale: FeatureScale = "global"
    """What features are divided by, their mean per channel taken off: one deviation for all, so that channels keep
    their proportions; each channel's own; or nothing at all, mean included (the authors)."""
    condition_dropout: float = 0.1
    """Share of samples whose text or label is dropped."""
    gradient_checkpointing: bool = False
    """As in the autoencoder stage."""
    previous_window: bool = False
    """Make features in a chain, each window overlapping the one before by half, for videos of any length in real time
    (not in the paper; needs cached or encoded latents)."""
    previous_dropout: float = 0.25
    """With `previous_window`: share of clips that stand alone, from which first windows are learned."""
    previous_noise: float = 0.3
    """With `previous_window`: largest standard deviation of the noise on the (normalised) feature before, against
    errors that add up along the chain."""
    init: str | None = None
    """A trained GLOBER that training starts from: its generator, and its encoder of labels or captions if this run has
    one of the same kind; what else that lacks starts at zero."""
    cached_variants: int = 0
    """As in the autoencoder stage; features are then kept in memory as well."""
    encoded: str | None = None
    """As in the autoencoder stage, and the same folder will do where both augment alike."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class SamplingConfig:
    """What the exported pipeline does unless told otherwise."""

    num_inference_steps: int = 50
    """Denoising steps."""
    feature_inference_steps: int | None = None
    """Denoising steps of the feature generator, which has little to do; none: as many as the frames."""
    guidance_scale: float = 9.0
    """Classifier-free guidance of the feature generator."""
    decoder_guidance_scale: float = 3.0
    """Classifier-free guidance of the frame decoder, text and feature dropped together."""
    decoder_feature_guidance_scale: float = 0.0
    """Further guidance of the frame decoder, the feature alone dropped, in a third pass (the paper: 0; the authors'
    later code: 3)."""
    shared_noise: float = 0.0
    """Share of the variance of the frame noise that all frames of a video have in common (the paper: 0)."""


@dataclass(frozen=True)
class GloberRecipe:
    """A whole GLOBER run: what is trained, stage after stage, and how the result is sampled."""

    size: int = 256
    """Height and width of the frames."""
    frames: ClipFrames = "contiguous"
    """What a clip is. contiguous: `span` consecutive frames from a random start. whole_video: all F frames of a video,
    however many, frame i at the time index i / F, so that videos of different lengths train one model; it needs cached
    or encoded latents, and leaves out videos with fewer frames than there are keyframes."""
    span: int = 16
    """Frames of a clip, at the videos' own rate: one global feature stands for that much time. With whole videos: the
    frames of a video that is sampled, unless another number is asked for."""
    keyframes: tuple[int, ...] = (0, 5, 10, 15)
    """Frames of a clip that the video encoder sees; of a whole video those at k F / span, rounded down."""
    short_videos: Literal["leave_out", "reflect"] = "leave_out"
    """Videos with fewer frames than `span`: leave them out, or go on backwards from their last frame."""
    condition: Literal["none", "label", "caption", "prompt"] = "none"
    """What steers the video: nothing, the class of the video's folder, its caption, or `prompt` for all videos (what
    the paper calls unconditional)."""
    prompt: str = ""
    """The text of every video, with condition prompt."""
    text_encoder: str | None = None
    """Transformers folder of a CLIP text encoder, or of a whole diffusers pipeline: it encodes captions, class names or
    the prompt, and stays as it is. None: a small encoder of labels or captions is trained."""
    condition_dim: int = 768
    """Channels of the text or label states."""
    frame_vae: FrameVAEConfig = field(default_factory=FrameVAEConfig)
    """Stage 1."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Stage 2."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Stage 3."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Defaults of the exported pipeline."""
