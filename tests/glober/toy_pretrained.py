"""Miniatures of the networks that GLOBER starts from, with random weights and the names of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTHS, NUM_BLOCKS, TEXT_DIM = (32, 64), 1, 8
VAE_WIDTHS = (32, 64)
NUM_CLIP_TOKENS = 6


def random_(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every tensor, the zero-initialised and the ones of norms as well, with a value of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def sd_unet() -> UNet2DConditionModel:
    """A UNet of Stable Diffusion v1's kind with two levels, text in the first."""
    return random_(
        UNet2DConditionModel(
            block_out_channels=WIDTHS,
            layers_per_block=NUM_BLOCKS,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=8,
            cross_attention_dim=TEXT_DIM,
        )
    )


def sd_vae(widths: tuple[int, ...] = VAE_WIDTHS) -> AutoencoderKL:
    """A KL autoencoder of Stable Diffusion's kind."""
    return random_(
        AutoencoderKL(
            latent_channels=4,
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=1,
        ),
        seed=1,
    )


def original_unet_names() -> dict[str, str]:
    """diffusers' module or tensor -> Stable Diffusion's, written out for the miniature."""
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    names = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    }
    resnets = {
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.1.resnets.0": "input_blocks.3.0",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.resnets.1": "output_blocks.1.0",
        "up_blocks.1.resnets.0": "output_blocks.2.0",
        "up_blocks.1.resnets.1": "output_blocks.3.0",
    }
    attentions = {
        "down_blocks.0.attentions.0": "input_blocks.1.1",
        "mid_block.attentions.0": "middle_block.1",
        "up_blocks.1.attentions.0": "output_blocks.2.1",
        "up_blocks.1.attentions.1": "output_blocks.3.1",
    }
    for ours, theirs in resnets.items():
        names |= {f"{ours}.{part}": f"{theirs}.{name}" for part, name in resnet.items()}
    return names | attentions


def original_vae_names(num_levels: int = 2) -> dict[str, str]:
    """The same for the autoencoder; its decoder counts levels from the output."""
    names = {}
    for half, blocks, per_level in (("encoder", "down", 1), ("decoder", "up", 2)):
        names |= {f"{half}.conv_in": f"{half}.conv_in", f"{half}.conv_out": f"{half}.conv_out"}
        names[f"{half}.conv_norm_out"] = f"{half}.norm_out"
        for level in range(num_levels):
            theirs = level if half == "encoder" else num_levels - 1 - level
            for block in range(per_level):
                names[f"{half}.{blocks}_blocks.{level}.resnets.{block}"] = f"{half}.{blocks}.{theirs}.block.{block}"
            sampler = f"{blocks}samplers.0.conv"
            names[f"{half}.{blocks}_blocks.{level}.{sampler}"] = f"{half}.{blocks}.{theirs}.{blocks}sample.conv"
        names[f"{half}.mid_block.resnets.0"] = f"{half}.mid.block_1"
        names[f"{half}.mid_block.resnets.1"] = f"{half}.mid.block_2"
        attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        names |= {f"{half}.mid_block.attentions.0.{a}": f"{half}.mid.attn_1.{b}" for a, b in attention.items()}
    return names


def renamed(state: dict[str, Tensor], names: dict[str, str], prefix: str) -> dict[str, Tensor]:
    """Give tensors the names of the longest entry of `names` that theirs begin with."""
    found = {}
    for name, value in state.items():
        place = max((ours for ours in names if f"{name}.".startswith(f"{ours}.")), key=len, default=None)
        new = name if place is None else names[place] + name[len(place) :]
        if "mid.attn_1" in new and new.endswith("weight") and value.ndim == 2:
            value = value[:, :, None, None]  # a 1x1 convolution in the original  # noqa: PLW2901
        found[prefix + new.replace("conv_shortcut", "nin_shortcut")] = value.clone()
    return found


def original_checkpoint() -> dict[str, Tensor]:
    """A whole Stable Diffusion checkpoint's tensors: UNet, autoencoder, and things that are no concern of ours."""
    return {
        **renamed(sd_unet().state_dict(), original_unet_names(), "model.diffusion_model."),
        **renamed(sd_vae().state_dict(), original_vae_names(), "first_stage_model."),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "alphas_cumprod": torch.linspace(1, 0, 10),
    }


def write_clip(folder: Path, dim: int = TEXT_DIM, num_layers: int = 2) -> Path:
    """Write a text encoder whose vocabulary is the bytes, alone and at the end of a word, and two marks."""
    byte_characters = [chr(code) for code in range(33, 127)]
    tokens = [*byte_characters, *(f"{token}</w>" for token in byte_characters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=dim,
        intermediate_size=2 * dim,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        max_position_embeddings=NUM_CLIP_TOKENS,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    model = CLIPTextModel(config)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(
                0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) + (parameter == 1)
            )
    model.save_pretrained(folder)
    return folder
