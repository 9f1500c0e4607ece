"""Official weights -> ours: the GLOBER authors' paper-era key names, and Stable Diffusion v1's (the same UNet).

Every function renames a whole state dict: an unknown key raises, and `load_official` raises for a missing one or a
wrong shape. Weights may be stored in half precision; they are copied into the model's own dtype.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

from longtake.core.checkpoint_files import Rules, State, load_official
from longtake.core.errors import UserError
from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.video_encoder import GloberVideoEncoder

STABLE_DIFFUSION_UNET = "model.diffusion_model."

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "embedding",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "skip",
}
UNET_RESIDUAL = {**RESIDUAL, "emb_layers.1": "time_emb_proj", "skip_connection": "conv_shortcut"}
# Stable Diffusion's transformer blocks: diffusers kept these names
TRANSFORMER_LAYERS = (
    *(f"attn{which}.{part}" for which in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")),
    "ff.net.0.proj",
    "ff.net.2",
    "norm1",
    "norm2",
    "norm3",
)
ATTENTION = {"norm": "norm", "qkv": "attention.qkv", "proj_out": "attention.proj"}


def load_video_encoder(model: GloberVideoEncoder, official: State) -> None:
    """Fill `model` from the encoding half of an official `VideoContentEnc`; its decoding half is passed over.

    The heads must be as the weights have them: one (`separate_heads` False), or two where there is an `out_vc_var`.
    """
    half = {key: value for key, value in official.items() if not key.startswith(("index_embed.", "output_blocks."))}
    rules = {"video_content": "video_token", "input_blocks.0": "conv_in"}
    if model.config.separate_heads:
        heads = {"out_vc": "mean_head", "out_vc_var": "logvar_head"}
    else:
        heads = {"out_vc": "shared_head"}
    rules |= _nested(heads, {str(layer): str(layer) for layer in (0, 1, 3)})
    for name, level, block in _official_levels(len(model.levels), model.config.num_res_blocks):
        if block is None:
            rules[f"{name}.0.op"] = f"levels.{level}.downsample"
            continue
        ours = f"levels.{level}.blocks.{block}"
        rules |= _nested({f"{name}.0": f"{ours}.residual"}, RESIDUAL)
        rules |= _nested({f"{name}.1": f"{ours}.spatial", f"{name}.2": f"{ours}.temporal"}, ATTENTION)
    load_official(model, _legacy_attention(half, model.config.head_channels), rules)


def load_frame_decoder(model: GloberFrameDecoder, official_unet: State, official_video: State | None = None) -> None:
    """Fill `model.unet` from an official (or Stable Diffusion v1) UNet and, if given, its control branch.

    The control branch is the decoding half of an official `VideoContentEnc`. Keys of a whole Stable Diffusion
    checkpoint are accepted: those outside its UNet are passed over.
    """
    if any(key.startswith(STABLE_DIFFUSION_UNET) for key in official_unet):
        official_unet = with_prefix(official_unet, STABLE_DIFFUSION_UNET)
    load_official(model.unet, official_unet, _unet_rules(model))
    if official_video is None:
        return
    half = {key: value for key, value in official_video.items() if key.startswith(("index_embed.", "output_blocks."))}
    rules = {"index_embed.0": "index_mlp.0", "index_embed.2": "index_mlp.2"}
    for block in range(len(model.control_branch.blocks)):
        rules |= _nested({f"output_blocks.{block}.0": f"blocks.{block}"}, RESIDUAL)
        rules[f"output_blocks.{block}.1.0"] = f"zero_convs.{block}"
    load_official(model.control_branch, half, rules)


def load_discriminator(model: GloberDiscriminator, official: State) -> None:
    """Fill `model` from an official latent-space `Discriminator`."""
    rules = {
        "frame_embed": "frame_embedding",
        "input_blocks.0": "conv_in",
        "out.0": "conv_out",
        "out.1": "norm_out",
        "out.5": "logit",
    }
    for name, level, block in _official_levels(len(model.levels), model.config.num_res_blocks):
        if block is None:
            rules[f"{name}.0.op"] = f"levels.{level}.downsample"
            continue
        ours = f"levels.{level}.blocks.{block}"
        rules |= _nested({f"{name}.0": f"{ours}.residual"}, RESIDUAL)
        rules |= _nested({f"{name}.1": f"{ours}.attention"}, ATTENTION)
    load_official(model, _legacy_attention(official, model.config.head_channels), rules)


def load_feature_generator(model: GloberFeatureGenerator, official: State) -> None:
    """Fill `model` from an official `DiT_crossattn`; it has no `feature_mean` and `feature_std`, which stay."""
    rules = {
        "pos_embed": "position_embedding",
        "x_embedder.proj": "patch_embedding",
        "c_embedder": "context_embedding",
        "t_embedder.mlp.0": "timestep_embedding.0",
        "t_embedder.mlp.2": "timestep_embedding.2",
        "final_layer.adaLN_modulation.1": "final_modulation",
        "final_layer.linear": "final_linear",
    }
    for block in range(len(model.blocks)):
        rules |= _nested(
            {f"blocks.{block}": f"blocks.{block}"},
            {
                "adaLN_modulation.1": "modulation",
                "attn.qkv": "attention.qkv",
                "attn.proj": "attention.proj",
                "mlp.fc1": "mlp.0",
                "mlp.fc2": "mlp.2",
            },
        )
    load_official(model, official, rules, keep=("feature_mean", "feature_std"))


def with_prefix(official: State, prefix: str) -> dict[str, Tensor]:
    """Return the entries under `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in official.items() if key.startswith(prefix)}


def _nested(places: Rules, inner: Rules) -> dict[str, str]:
    """Return rules for parts that occur, named alike, at several places."""
    return {f"{old}.{a}": f"{new}.{b}" for old, new in places.items() for a, b in inner.items()}


def _official_levels(num_levels: int, num_blocks: int) -> list[tuple[str, int, int | None]]:
    """Return (official name, level, block) of the input blocks after the first; block None is the downsampling."""
    places: list[tuple[int, int | None]] = []
    for level in range(num_levels):
        places += ([(level, None)] if level else []) + [(level, block) for block in range(num_blocks)]
    return [(f"input_blocks.{1 + index}", level, block) for index, (level, block) in enumerate(places)]


def _legacy_attention(official: State, head_channels: int) -> dict[str, Tensor]:
    """Reorder the rows of packed attention weights from (head, qkv, channel) to (qkv, head, channel)."""
    reordered = dict(official)
    for key, value in official.items():
        if ".qkv." in key:
            if value.shape[0] % (3 * head_channels):
                raise UserError(f"official key {key!r} has shape {tuple(value.shape)}: no heads of {head_channels}")
            reordered[key] = rearrange(value, "(heads qkv d) ... -> (qkv heads d) ...", qkv=3, d=head_channels)
    return reordered


def _unet_rules(model: GloberFrameDecoder) -> dict[str, str]:
    """Return the rules for the UNet: which official input, middle and output block is which of diffusers' blocks."""
    config = model.config
    num_levels, num_blocks = len(config.block_out_channels), config.layers_per_block
    transformer = {name: name for name in ("norm", "proj_in", "proj_out")}
    for depth in range(config.transformer_depth):
        transformer |= {(name := f"transformer_blocks.{depth}.{layer}"): name for layer in TRANSFORMER_LAYERS}
    rules = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    residuals = {"middle_block.0": "mid_block.resnets.0", "middle_block.2": "mid_block.resnets.1"}
    attentions = {"middle_block.1": "mid_block.attentions.0"}
    for name, level, block in _official_levels(num_levels, num_blocks):
        if block is None:
            rules[f"{name}.0.op"] = f"down_blocks.{level - 1}.downsamplers.0.conv"
            continue
        residuals[f"{name}.0"] = f"down_blocks.{level}.resnets.{block}"
        attentions[f"{name}.1"] = f"down_blocks.{level}.attentions.{block}"
    for index in range(num_levels * (num_blocks + 1)):
        level, block = divmod(index, num_blocks + 1)
        name = f"output_blocks.{index}"
        residuals[f"{name}.0"] = f"up_blocks.{level}.resnets.{block}"
        attentions[f"{name}.1"] = f"up_blocks.{level}.attentions.{block}"
        # The upsampling follows the attention, or the residual block where the level has none
        for place in (1, 2):
            rules[f"{name}.{place}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    return rules | _nested(residuals, UNET_RESIDUAL) | _nested(attentions, transformer)
