"""Original checkpoints of Stable Diffusion v1 and its like: what is in them, and the networks that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from longtake.core.checkpoint_files import State, read_checkpoint
from longtake.core.errors import UserError
from longtake.glober.convert import STABLE_DIFFUSION_UNET, with_prefix
from longtake.glober.pretrained_folders import in_one_line

STABLE_DIFFUSION_VAE = "first_stage_model."
STABLE_DIFFUSION_HEADS = 8
NORM_GROUPS = 32
UNET_PARTS = ("time_embed.", "label_emb.", "input_blocks.", "middle_block.", "output_blocks.", "out.")
VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def read_tensors(path: Path) -> State:
    """Return the tensors of a .safetensors file or of a checkpoint's state dict; nothing in the file runs.

    Raises `UserError` if it cannot be read.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} is not a safetensors file, or damaged") from error
    contents = read_checkpoint(path)
    state = contents.get("state_dict", contents)
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__} in place of tensors by name")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def unet_tensors(tensors: State, path: Path) -> State:
    """Return the UNet's tensors in a checkpoint. Raises `UserError` if there is none, or it is in diffusers' form.

    Of a checkpoint with running means (`model_ema.*`) it is the weights themselves, which training goes on from.
    """
    return _part(tensors, path, STABLE_DIFFUSION_UNET, UNET_PARTS, "input_blocks.0.0.weight")


def vae_tensors(tensors: State, path: Path) -> State:
    """Return the autoencoder's tensors in a checkpoint. Raises `UserError` if there is none, or it is no KL one."""
    state = _part(tensors, path, STABLE_DIFFUSION_VAE, VAE_PARTS, "encoder.down.0.block.0.conv1.weight")
    if any(name.removeprefix(STABLE_DIFFUSION_VAE).startswith("quantize.") for name in tensors):
        raise UserError(f"{path} holds an autoencoder with a codebook (VQ); the frame VAE must be a KL autoencoder")
    return state


def _part(tensors: State, path: Path, prefix: str, parts: tuple[str, ...], first: str) -> State:
    """Return the tensors of one network in a checkpoint: under `prefix`, or without it if the network stands alone."""
    state = {name: value for name, value in (with_prefix(tensors, prefix) or tensors).items() if name.startswith(parts)}
    if first not in state:
        if any(".resnets." in name for name in tensors):
            raise UserError(f"{path} has diffusers' names for its tensors: give the folder that its config.json is in")
        raise UserError(f"{path} holds neither {prefix}{first} nor {first}: it is no Stable Diffusion v1 checkpoint")
    return state


def vae_shape(state: State, path: Path) -> dict[str, Any]:
    """Return the arguments of the `AutoencoderKL` that original weights are of, read off their names and shapes."""
    with in_one_line(f"{path} holds no KL autoencoder in Stable Diffusion's form"):
        levels = _count(state, "encoder.down.{}.block.0.conv1.weight")
        channels = tuple(state[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels))
        return {
            "in_channels": state["encoder.conv_in.weight"].shape[1],
            "out_channels": state["decoder.conv_out.weight"].shape[0],
            "latent_channels": state["post_quant_conv.weight"].shape[1],
            "block_out_channels": channels,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "layers_per_block": _count(state, "encoder.down.0.block.{}.conv1.weight"),
            "norm_num_groups": NORM_GROUPS,
            "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in state,
        }


def unet_shape(state: State, path: Path) -> dict[str, Any]:
    """Return the arguments of the `UNet2DConditionModel` that original weights are of.

    Raises `UserError` for other UNets than Stable Diffusion v1's kind.
    """
    with in_one_line(f"{path} holds no UNet in Stable Diffusion v1's form"):
        blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("input_blocks."))
        downsamplings = [block for block in range(blocks) if f"input_blocks.{block}.0.op.weight" in state]
        firsts = [1, *(block + 1 for block in downsamplings)]
        attention = [f"input_blocks.{first}.1.norm.weight" in state for first in firsts]
        transformer = f"input_blocks.{firsts[attention.index(True)]}.1"
        text_dim = state[f"{transformer}.transformer_blocks.0.attn2.to_k.weight"].shape[1]
        if state[f"{transformer}.proj_in.weight"].ndim == 2:
            raise UserError(
                f"{path} holds a UNet in Stable Diffusion 2's form (linear projections, text of {text_dim} channels), "
                "whose attention has other heads: the frame decoder starts from Stable Diffusion v1's"
            )
        return {
            "in_channels": state["input_blocks.0.0.weight"].shape[1],
            "out_channels": state["out.2.weight"].shape[0],
            "block_out_channels": tuple(state[f"input_blocks.{b}.0.out_layers.3.weight"].shape[0] for b in firsts),
            "layers_per_block": downsamplings[0] - 1,
            "down_block_types": tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention),
            "up_block_types": tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)),
            "attention_head_dim": STABLE_DIFFUSION_HEADS,
            "cross_attention_dim": text_dim,
            "norm_num_groups": NORM_GROUPS,
        }


def _count(state: State, pattern: str) -> int:
    """Return how many of the names pattern.format(0), (1), ... are there, up to the first gap."""
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number
