"""How much memory a recipe needs on its GPU, reckoned without one.

Weights, gradients, moments and running mean are counted. What a step or a frame needs beside them is found by going
through it with tensors that have shapes and no contents: at its peak, the bytes of all that is alive at once. Assumed:
latents and text come from a cache, attention is fused (it is, on the CPU that is imitated and on a GPU), and
nothing is lost between the allocator's blocks. The CUDA context, about half a gigabyte, and workspaces of convolutions
come on top.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtake.data.index import VideoEntry, VideoIndex
from longtake.glober import build
from longtake.glober.condition import GloberLabelEncoder
from longtake.glober.config import GloberRecipe
from longtake.glober.frame_vae import decode_frames
from longtake.glober.latents import LatentBatch
from longtake.glober.stages import AutoencoderStage, trainable
from longtake.training.trainer import AUTOCAST_TYPES
from longtake.video import VideoInfo

FLOAT = 4  # bytes
TEXT_TOKENS = 77


class LiveBytes(TorchDispatchMode):
    """Watches the tensors that operations make: `now` bytes of them are alive, `peak` were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run an operation and take note of what it made."""
        del types
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage(), given)
        return made

    def _note(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in given or key in self._storages:
            return  # a view, or written in place
        self._storages.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def training_memory(recipe: GloberRecipe) -> dict[str, int]:
    """Return the bytes of each kind that a step of the autoencoder stage, the largest, needs; see `training_total`.

    Its batch is `recipe.autoencoder.batch_size` clips, as latents.
    """
    config = recipe.autoencoder
    with _imitated():
        stage = _autoencoder_stage(recipe)
        parameters = trainable(*stage.modules().values())
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)  # so that gradients are not counted as activations
        size = recipe_latent_size(recipe)
        latents = torch.zeros(config.batch_size, recipe.span, stage.frame_vae.config.latent_channels, size, size)
        count = config.batch_size
        batch = LatentBatch(latents, [recipe.span] * count, torch.zeros(count, dtype=torch.long), [""] * count, [])
        dtype = AUTOCAST_TYPES.get(config.precision)
        with LiveBytes() as live:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is not None):
                loss, _ = stage.loss("autoencoder", batch, config.cra_start, torch.Generator().manual_seed(0))
            loss.backward()
    trained = num_values(parameters)
    averaged = num_values(trainable(*stage.exported().values())) if stage.ema() else 0
    moments = 2 if config.optimizer.eight_bit else 2 * FLOAT
    return {
        "weights": FLOAT * trained,
        "gradients": FLOAT * trained,
        "moments": moments * trained,
        "running mean": FLOAT * averaged,
        "frozen weights": FLOAT * num_values(stage.frame_vae.parameters()),
        "activations": live.peak,
        # AdamW takes the roots of all second moments at once, when the activations are gone
        "update": 0 if config.optimizer.eight_bit else FLOAT * num_values(stage.players()[0].parameters),
    }


def training_total(found: Mapping[str, int]) -> int:
    """Return the need in all: activations and the update's own values are never there at the same time."""
    return sum(found.values()) - min(found["activations"], found["update"])


def sampling_memory(recipe: GloberRecipe, chunk: int, bytes_per_value: int = 2) -> dict[str, int]:
    """Return the bytes that sampling needs, `chunk` frames at a time with guidance, in half precision or fp32.

    The text encoder is not counted: CLIP's has 123 M parameters, and with known prompts it is not needed.
    """
    dtype = torch.bfloat16 if bytes_per_value == 2 else torch.float32
    with _imitated(dtype):
        recipe = plain(recipe)
        vae = build.frame_vae(recipe)
        networks = [vae, build.video_encoder(recipe, vae), build.frame_decoder(recipe, vae)]
        networks.append(build.feature_generator(recipe, vae))
        decoder, size = networks[2], build.latent_size(recipe, vae)
        both = 2 * chunk
        feature = torch.zeros(both, decoder.config.feature_channels, *2 * [decoder.config.feature_size])
        context = None
        if decoder.config.context_dim:
            context = torch.zeros(both, TEXT_TOKENS, decoder.config.context_dim)
        latents = torch.zeros(both, vae.config.latent_channels, size, size)
        with torch.no_grad(), LiveBytes() as rendering:
            control = decoder.control(feature, torch.zeros(both))
            decoder(latents, torch.zeros(both), control, context)
            del control
        with torch.no_grad(), LiveBytes() as decoding:
            decode_frames(vae, latents[:chunk])
    weights = bytes_per_value * sum(num_values(network.parameters()) for network in networks)
    return {"weights": weights, "activations": max(rendering.peak, decoding.peak)}


def num_values(parameters: Any) -> int:  # noqa: ANN401
    """Return how many numbers tensors hold."""
    return sum(parameter.numel() for parameter in parameters)


def recipe_latent_size(recipe: GloberRecipe) -> int:
    """Height and width of latents under the recipe's own VAE settings."""
    return recipe.size // 2 ** (len(recipe.frame_vae.block_out_channels) - 1)


def plain(recipe: GloberRecipe) -> GloberRecipe:
    """Return the recipe without anything that lies in a file: the sizes in it are Stable Diffusion's by default."""
    autoencoder = replace(
        recipe.autoencoder, decoder=replace(recipe.autoencoder.decoder, pretrained=None), pretrained=None, encoded=None
    )
    vae = replace(recipe.frame_vae, pretrained=None)
    return replace(recipe, frame_vae=vae, autoencoder=autoencoder, text_encoder=None, condition="label")


def _autoencoder_stage(recipe: GloberRecipe) -> AutoencoderStage:
    """Build the stage for one video that nobody reads, with the text encoder's states of a prompt."""
    recipe = plain(recipe)
    path = Path("video.mp4")
    info = VideoInfo(path, recipe.span, 25.0, recipe.size, recipe.size, "imitated", has_audio=False)
    index = VideoIndex(Path(), (VideoEntry(path, 0, "", info),), ("prompt",), ())
    stage = AutoencoderStage(recipe, index, build.frame_vae(recipe))
    if stage.condition_encoder is not None:
        table = GloberLabelEncoder(1, recipe.condition_dim, num_tokens=TEXT_TOKENS)
        stage.condition_encoder = table.requires_grad_(False)
    return stage


@contextmanager
def _imitated(dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Tensors have shapes and no contents; weights are of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.set_default_dtype(before)
