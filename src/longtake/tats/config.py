"""Settings of a TATS run. Plain dataclasses: importing this loads neither torch nor diffusers.

The defaults are the authors' model at 128x128, as their commands build it (README.md: paper against code).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from longtake.data.config import AugmentConfig, ShortVideos
from longtake.training.config import OptimizerConfig, StageConfig

Norm = Literal["batch", "group"]
Padding = Literal["replicate", "zero", "reflect", "real"]
Condition = Literal["none", "label", "caption", "stft"]

ROLES = ("transformer", "sparse", "interpolation")  # the recipe's transformers, in the order of training

VQGAN_OPTIMIZER = OptimizerConfig(lr=9e-5, betas=(0.5, 0.9), weight_decay=0.0, clip_norm=1.0)
TRANSFORMER_OPTIMIZER = OptimizerConfig(lr=1.08e-4, betas=(0.9, 0.95), weight_decay=0.01)


@dataclass(frozen=True)
class CodebookConfig:
    """The codes, and how they follow the encoder."""

    num_codes: int = 16384
    """Codes."""
    dim: int = 256
    """Channels of a code."""
    decay: float = 0.99
    """Decay per step of the running means that the codes are."""
    start: int = 0
    """First step with codes (the authors: 0); before it the decoder learns from the encoder's outputs as they are."""
    restart_dead_codes: bool = False
    """Put codes that are hardly used onto encoder outputs (the authors' commands do not)."""
    restart_threshold: float = 1.0
    """Running mean of uses per step below which a code counts as dead."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The two PatchGAN discriminators: of single frames and of clips."""

    channels: int = 64
    """Channels of the first layer; they double up to eight times as many."""
    num_layers: int = 3
    """Strided convolutions."""
    loss: Literal["hinge", "vanilla"] = "hinge"
    """Hinge, or cross-entropy of the logits."""
    start: int = 10_000
    """First step of the adversarial and feature matching losses, and of the discriminators' training."""
    image_weight: float = 1.0
    """Weight of the frame discriminator's verdict; 0: there is none."""
    video_weight: float = 1.0
    """Weight of the clip discriminator's verdict; 0: there is none."""
    feature_weight: float = 4.0
    """Weight of feature matching in each discriminator that there is."""
    optimizer: OptimizerConfig = VQGAN_OPTIMIZER
    """The discriminators' optimizer."""


@dataclass(frozen=True)
class VQGANConfig(StageConfig):
    """Stage 1: the 3D autoencoder with discrete codes."""

    pretrained: str | None = None
    """A trained TATS (shipped model, pipeline or run folder), or what `longtake convert tats-vqgan` wrote, whose VQGAN
    is used as it is; this stage then trains nothing."""
    optimizer: OptimizerConfig = VQGAN_OPTIMIZER
    """The autoencoder's optimizer."""
    base_channels: int = 32
    """Channels at full resolution; each halving doubles them."""
    downsample: tuple[int, int, int] = (4, 8, 8)
    """Pixels per code along time, height and width: powers of two."""
    norm: Norm = "batch"
    """Batch norm (shared by all processes) or group norm, with which decoding in chunks is not exact."""
    norm_groups: int = 32
    """Groups of the group norms."""
    padding: Padding = "replicate"
    """What convolutions see beyond the edges, in every layer; real: as replicate, but trained only on what no padding
    in time reaches, for which clips must be long (the paper's real frames)."""
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    """The codes."""
    l1_weight: float = 4.0
    """Weight of the mean absolute error of pixels in [-0.5, 0.5]."""
    motion_weight: float = 0.0
    """Strength of `nn.motion_weight` in the absolute error: where a clip moves it counts more (not in the paper)."""
    commitment_weight: float = 0.25
    """Weight of the squared distance between encoder outputs and their codes."""
    perceptual_weight: float = 4.0
    """Weight of LPIPS on one random frame per clip (needs the extra `perceptual`)."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The discriminators."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class TransformerConfig(StageConfig):
    """A transformer over the codes of a window of latent frames."""

    optimizer: OptimizerConfig = TRANSFORMER_OPTIMIZER
    """The optimizer."""
    num_latents: int = 4
    """Latent frames in the window."""
    latent_step: int = 1
    """Every which latent frame of the clip is in the window (4: the sparse model)."""
    hidden_size: int = 1024
    """Width."""
    depth: int = 24
    """Blocks."""
    num_heads: int = 16
    """Attention heads."""
    dropout: float = 0.0
    """Dropout of the embedding and the residual branches (the authors: none)."""
    init: str | None = None
    """A trained TATS (shipped model, pipeline or run folder) whose transformer of the same name training starts from;
    for codes of the same VQGAN."""
    cached_variants: int = 0
    """Encode every clip at most this many times, each time augmented anew, and keep its codes in memory; 0: decode,
    augment and encode every clip anew."""
    encoded: str | None = None
    """Folder of `longtake data encode`: train on the codes in it, without encoding. `cached_variants` is then how many
    of its variants are used; 0: all."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each clip."""


@dataclass(frozen=True)
class ConditioningConfig:
    """How captions and sound become tokens."""

    clip_tokenizer: str | None = None
    """Folder of CLIP's tokenizer, for captions (the paper); none: byte pairs learned from the training captions."""
    num_merges: int = 256
    """Byte pairs to learn; 0: every byte of a caption is a token."""
    num_text_tokens: int = 256
    """Tokens of every caption; longer ones are cut off."""
    stft_vqgan: str | None = None
    """Folder of the VQGAN of spectrograms (model/ of a run of tats_drum_stft), for sound."""
    stft_size: tuple[int, int] = (64, 16)
    """Height and width of a spectrogram."""


@dataclass(frozen=True)
class SamplingConfig:
    """What the exported pipeline does unless told otherwise."""

    temperature: float = 1.0
    """Divisor of the logits."""
    top_k: int | None = 2048
    """Draw among this many most likely codes; none: all."""
    top_p: float | None = 0.92
    """Draw among the most likely codes that together have this probability; none: all."""
    context_latents: int = 3
    """Latent frames that a new one sees (the paper: one less than the window; the authors' command: 1)."""


@dataclass(frozen=True)
class TatsRecipe:
    """A whole TATS run: what is trained, stage after stage, and how the result is sampled."""

    size: int = 128
    """Height and width of the frames."""
    span: int = 16
    """Frames of a clip that the VQGAN learns on."""
    sample_step: int = 1
    """Every which frame of a video is used."""
    short_videos: ShortVideos = "leave_out"
    """Videos too short for a clip: leave them out, or go on backwards from their last frame."""
    condition: Condition = "none"
    """What steers the video: nothing, the class of the video's folder, its caption, or its sound."""
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    """How captions and sound become tokens."""
    vqgan: VQGANConfig = field(default_factory=VQGANConfig)
    """Stage 1."""
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """Stage 2: the autoregressive transformer over neighbouring latent frames."""
    sparse: TransformerConfig | None = None
    """Hierarchical model: the autoregressive transformer over every `latent_step`-th latent frame; none: there is no
    hierarchical model."""
    interpolation: TransformerConfig | None = None
    """Hierarchical model: the transformer that fills in between two latent frames of the sparse one. Its window is
    the two and what lies between."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Defaults of the exported pipeline."""


@dataclass(frozen=True)
class SpectrogramRecipe:
    """The VQGAN of spectrograms: what turns sound into codes, trained before a run with condition "stft"."""

    stft_size: tuple[int, int] = (64, 16)
    """Height and width that spectrograms are resized to."""
    span: int = 16
    """Video frames of a clip, each with its spectrogram."""
    short_videos: ShortVideos = "leave_out"
    """Videos too short for a clip: leave them out, or go on backwards from their last frame."""
    vqgan: VQGANConfig = field(default_factory=VQGANConfig)
    """The VQGAN; `augment` does not apply to sound."""
