"""The frame decoder: noisy latent of a frame, global feature and frame index -> prediction of the noise (Sec. 3.1).

The backbone is Stable Diffusion v1's UNet, diffusers' own, so that its published weights load. GLOBER adds the control
branch's features after every *input block*, before the result goes on and onto the skip stack; neither the middle nor
the output blocks get any, except through the skips. Frames do not see each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict, register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.glober.blocks import check_level_size, run_block, zero_init
from longtake.glober.control_branch import GloberControlBranch


class GloberFrameDecoder(ModelMixin, ConfigMixin):
    """Stable Diffusion v1's UNet (`unet`) with a control branch for the global feature (`control_branch`).

    Args:
        latent_channels: channels of a frame's latent.
        latent_size: height and width of a frame's latent.
        block_out_channels: channels of every level; each level halves the size.
        layers_per_block: residual blocks per level on the way down (one more on the way up).
        attention: for every level, whether it has attention; the middle always has.
        num_heads: attention heads, at every level.
        norm_groups: groups of every group normalisation.
        context_dim: channels of the text states the decoder attends to; None for a decoder without text, with plain
            self-attention in place of the transformer blocks.
        feature_channels: channels of the global feature.
        feature_size: height and width of the global feature.
        index_scale: factor on the frame index (see `GloberControlBranch`).
        index_modulation: "add" or "scale_shift" (see `GloberControlBranch`).
        temporal_modes: as the video encoder's (see `GloberControlBranch`).
        index_dim: size of the frame index's sinusoid embedding; None is the first level's channels. (The official code
            takes the video encoder's `model_channels`; at the paper's sizes both are 320.)
        transformer_depth: layers of every transformer block (with text).

    Raises:
        UserError: if sizes and channels do not fit each other.
    """

    _supports_gradient_checkpointing = True
    gradient_checkpointing = False

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        latent_channels: int = 4,
        latent_size: int = 32,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        attention: Sequence[bool] = (True, True, True, False),
        num_heads: int = 8,
        norm_groups: int = 32,
        context_dim: int | None = 768,
        feature_channels: int = 16,
        feature_size: int = 16,
        index_scale: float = 1.0,
        index_modulation: str = "add",
        temporal_modes: int = 0,
        index_dim: int | None = None,
        transformer_depth: int = 1,
    ) -> None:
        super().__init__()
        check_level_size("latent_size", latent_size, len(block_out_channels))
        if len(attention) != len(block_out_channels):
            raise UserError(
                f"attention has {counted(len(attention), 'value')} for {counted(len(block_out_channels), 'level')}"
            )
        for channels in block_out_channels:
            if channels % num_heads or channels % norm_groups:
                raise UserError(f"{channels} channels cannot be split into {num_heads} heads or {norm_groups} groups")
        self.unet = _build_unet(self.config)
        control_channels, control_sizes = input_block_shapes(block_out_channels, layers_per_block, latent_size)
        self.control_branch = GloberControlBranch(
            feature_channels,
            feature_size,
            control_channels,
            control_sizes,
            index_dim=index_dim or block_out_channels[0],
            index_scale=index_scale,
            index_modulation=index_modulation,
            temporal_modes=temporal_modes,
        )

    def control(self, feature: Float[Tensor, "n c h w"], frame_index: Float[Tensor, " n"]) -> list[Tensor]:
        """Return the control features, one per input block; `frame_index` is in [0, 1).

        They depend on neither noise nor timestep: compute them once and use them at every denoising step.
        """
        return self.control_branch(feature, frame_index)

    def forward(
        self,
        noisy: Float[Tensor, "n c h w"],
        timestep: Int[Tensor, " n"],
        control: Sequence[Tensor],
        context: Float[Tensor, "n l d"] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Predict the noise (or velocity: what it is trained for) of noisy frame latents.

        `context` is the text states, None exactly if the decoder was built without `context_dim`.
        """
        unet = self.unet
        assert (context is None) == (self.config.context_dim is None), "context must be given iff context_dim is set"
        embedding = unet.time_embedding(unet.get_time_embed(noisy, timestep))
        controls = iter(control)
        hidden = unet.conv_in(noisy) + next(controls)
        skips = [hidden]
        for block in unet.down_blocks:
            attentions = getattr(block, "attentions", [None] * len(block.resnets))
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                hidden = run_block(self, resnet, hidden, embedding)
                hidden = _attend(attention, hidden, context) + next(controls)
                skips.append(hidden)
            for downsampler in block.downsamplers or ():
                hidden = downsampler(hidden) + next(controls)
                skips.append(hidden)
        assert next(controls, None) is None, "more control features than input blocks"

        text = {} if context is None else {"encoder_hidden_states": context}
        hidden = unet.mid_block(hidden, embedding, **text)
        for block in unet.up_blocks:
            count = len(block.resnets)
            residuals, skips = tuple(skips[-count:]), skips[:-count]
            has_text = getattr(block, "has_cross_attention", False)
            hidden = block(hidden, temb=embedding, res_hidden_states_tuple=residuals, **(text if has_text else {}))
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def input_block_shapes(
    block_out_channels: Sequence[int], layers_per_block: int, latent_size: int
) -> tuple[list[int], list[int]]:
    """Return channels and sizes of the UNet's input blocks.

    An input block is the input convolution, one residual block with its attention, or one downsampling.
    """
    channels, sizes = [block_out_channels[0]], [latent_size]
    for level, level_width in enumerate(block_out_channels):
        channels += [level_width] * layers_per_block
        sizes += [latent_size >> level] * layers_per_block
        if level + 1 < len(block_out_channels):
            channels.append(level_width)
            sizes.append(latent_size >> (level + 1))
    return channels, sizes


def _attend(attention: nn.Module | None, hidden: Tensor, context: Tensor | None) -> Tensor:
    """Apply the attention that follows a residual block: none, self-attention, or a transformer block with text."""
    if attention is None:
        return hidden
    if isinstance(attention, Transformer2DModel):
        return attention(hidden, encoder_hidden_states=context, return_dict=False)[0]
    return attention(hidden)


def _build_unet(config: FrozenDict) -> UNet2DConditionModel:
    """Build the UNet, with the zero initialisations of the official code (diffusers has none)."""
    channels, attention = tuple(config.block_out_channels), tuple(config.attention)
    has_text = config.context_dim is not None
    kind = "CrossAttn" if has_text else "Attn"
    unet = UNet2DConditionModel(
        sample_size=config.latent_size,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=channels,
        layers_per_block=config.layers_per_block,
        down_block_types=tuple(f"{kind}DownBlock2D" if has else "DownBlock2D" for has in attention),
        up_block_types=tuple(f"{kind}UpBlock2D" if has else "UpBlock2D" for has in reversed(attention)),
        mid_block_type="UNetMidBlock2DCrossAttn" if has_text else None,
        # the number of heads where there is text, the channels per head where there is none (set right below)
        attention_head_dim=config.num_heads,
        cross_attention_dim=config.context_dim if has_text else channels[-1],
        transformer_layers_per_block=config.transformer_depth,
        norm_num_groups=config.norm_groups,
    )
    if not has_text:
        # diffusers' only text-free middle block for this UNet has no attention; Stable Diffusion's middle always has
        unet.mid_block = UNetMidBlock2D(
            in_channels=channels[-1],
            temb_channels=4 * channels[0],
            resnet_eps=1e-5,
            resnet_groups=config.norm_groups,
            attn_groups=config.norm_groups,
            attention_head_dim=config.num_heads,
        )
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            zero_init(module.conv2)
        elif isinstance(module, Transformer2DModel):
            zero_init(module.proj_out)
        elif isinstance(module, Attention) and not has_text:
            # diffusers fixes the channels per head for all levels, or mixes the levels' up: ours is the number of heads
            module.heads = config.num_heads
            module.scale = (module.inner_dim / config.num_heads) ** -0.5
            zero_init(module.to_out[0])
    zero_init(unet.conv_out)
    return unet
