"""Small networks written as the authors' code writes its checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from longtake.tats import convert
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vqgan import TatsVQGAN


def save_official_vqgan(path: Path, model: TatsVQGAN) -> None:
    """Write a VQGAN's weights; `read_vqgan`'s own list of names is compared with the real ones in parity tests."""
    theirs = {ours: name for name, ours in convert.rules(len(model.encoder.blocks)).items()}
    state = {}
    for key, value in model.state_dict().items():
        module, _, leaf = key.rpartition(".")
        if key in theirs or module in theirs:
            state[theirs[key] if key in theirs else f"{theirs[module]}.{leaf}"] = value
    args = {
        "n_hiddens": model.config.base_channels,
        "downsample": model.config.downsample,
        "image_channels": model.config.in_channels,
        "norm_type": model.config.norm,
    }
    torch.save({"state_dict": state, "hyper_parameters": {"args": argparse.Namespace(**args)}}, path)


def save_official(path: Path, model: TatsTransformer, **changes) -> None:
    """Write a model's weights as the authors' code would have, masks and all."""
    names = {
        "token_embedding": "tok_emb",
        "core.blocks": "blocks",
        "core.norm": "ln_f",
        "norm1": "ln1",
        "norm2": "ln2",
        "attention": "attn",
    }
    state = {"first_stage_model.codebook.N": torch.ones(3)}
    for key, value in model.gpt.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)  # noqa: PLW2901
        is_position = key == "core.positions"
        state["transformer.pos_emb" if is_position else f"transformer.{key}"] = value[None] if is_position else value
    config = model.config
    for block in range(config.depth):
        state[f"transformer.blocks.{block}.attn.mask"] = torch.ones(1, 1, 2, 2)
    rate = 4
    args = {
        "unconditional": config.condition_vocabulary == 0,
        "cond_stage_key": "label",
        "block_size": len(model.gpt.core.positions),
        "n_layer": config.depth,
        "n_head": config.num_heads,
        "n_embd": config.hidden_size,
        "n_unmasked": model.tokens_per_latent if config.interpolates else 0,
        "sample_every_n_latent_frames": 0 if config.latent_step == 1 else config.latent_step,
        "sequence_length": config.num_latents * config.latent_step * rate,
        "resolution": config.latent_size[0] * 4,
        **changes,
    }
    torch.save({"state_dict": state, "hyper_parameters": {"args": argparse.Namespace(**args)}}, path)
