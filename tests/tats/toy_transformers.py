"""TATS pipelines so small that they sample in a fraction of a second, and what tests compare them with."""

from __future__ import annotations

import torch
from torch import nn

from longtake.tats.pipeline import TatsPipeline
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vqgan import TatsVQGAN

CLASSES = ("bend", "jump", "walk")
NUM_CODES, LATENT_SIZE = 12, (2, 2)
S = LATENT_SIZE[0] * LATENT_SIZE[1]


def wake_up(*networks: nn.Module) -> None:
    """Draw all weights wide, those of attention above all, so that every token seen has a say in the next."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in networks:
            for name, parameter in network.named_parameters():
                spread = (3 if "attention" in name else 1) / max(1, parameter[0].numel()) ** 0.5
                parameter.add_(min(spread, 1) * torch.randn(parameter.shape, generator=generator))


def transformer(**changes) -> TatsTransformer:
    """A random transformer in eval mode."""
    settings = {
        "num_codes": NUM_CODES,
        "latent_size": LATENT_SIZE,
        "num_latents": 4,
        "condition_vocabulary": len(CLASSES),
        "hidden_size": 16,
        "depth": 2,
        "num_heads": 2,
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TatsTransformer(**settings)
    wake_up(model)
    return model.eval()


def interpolation(**changes) -> TatsTransformer:
    """A random transformer that fills in between frame 0 and frame 4."""
    return transformer(num_latents=5, interpolates=True, **changes)


def vqgan(**changes) -> TatsVQGAN:
    """A random VQGAN of 8x8 frames whose codes are all in use, and far apart for its decoder."""
    settings = {"base_channels": 4, "downsample": (4, 4, 4), "num_codes": NUM_CODES, "code_dim": 4, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TatsVQGAN(**settings).eval()
    generator = torch.Generator().manual_seed(0)
    levels = torch.linspace(-1, 1, 20)[:, None, None, None, None]
    video = levels + 0.5 * torch.randn(20, model.config.in_channels, 8, 8, 8, generator=generator)
    with torch.no_grad():
        model.codebook.initialize(model.pre_quant(video), generator)
        codes = model.codebook.embeddings
        weight = model.post_vq.weight[:, :, 0, 0, 0] / codes.std(dim=0)
        model.post_vq.weight.copy_(weight[:, :, None, None, None])
        model.post_vq.bias.copy_(-weight @ codes.mean(dim=0))
    wake_up(model.decoder)
    return model


def pipeline(**changes) -> TatsPipeline:
    """A class-conditional pipeline with base transformer and hierarchical pair."""
    parts = {"transformer": transformer(), "sparse": transformer(latent_step=4), "interpolation": interpolation()}
    settings = {"condition": "label", "classes": CLASSES, "span": 16, **parts, **changes}
    return TatsPipeline(settings.pop("vqgan", None) or vqgan(), **settings)


def random_codes(*shape: int, seed: int = 0) -> torch.Tensor:
    """Codes drawn uniformly."""
    return torch.randint(NUM_CODES, shape, generator=torch.Generator().manual_seed(seed))
