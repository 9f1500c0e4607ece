"""Networks that others trained: Stable Diffusion v1's VAE and UNet, in diffusers' form or the original one.

A source is a diffusers folder of the network, a folder of a whole diffusers pipeline (its `vae` or `unet` is taken),
or an original checkpoint (.safetensors, or .ckpt read without running what is in it). Nothing is downloaded, and a
tensor that should be there and is not is an error: a network that is half random looks like one that works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import AutoencoderKL, ModelMixin, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from longtake.core.checkpoint_files import State, read_checkpoint
from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.glober.convert import STABLE_DIFFUSION_UNET, with_prefix
from longtake.glober.frame_decoder import GloberFrameDecoder

STABLE_DIFFUSION_VAE = "first_stage_model."
STABLE_DIFFUSION_SCALE = 0.18215
STABLE_DIFFUSION_HEADS = 8
DECODER_OPTION = "--autoencoder.decoder.pretrained"
VAE_OPTION = "--frame-vae.pretrained"
NORM_GROUPS = 32

Network = TypeVar("Network", bound=ModelMixin)


@dataclass(frozen=True)
class Initialisation:
    """What a network took over from another.

    Attributes:
        copied: names of tensors that were copied.
        kept: names of its own tensors that had no counterpart of the same name and shape.
        unused: names of the other's tensors that found no place.
    """

    copied: list[str]
    kept: list[str]
    unused: list[str]

    def lines(self, source: str) -> list[str]:
        """Return it in words, every tensor that was not copied by name, those of one part together where it is new."""
        total = len(self.copied) + len(self.kept)
        lines = [f"frame decoder: {len(self.copied)} of {total} tensors are those of {source}"]
        new = [name for name in self.kept if not name.startswith("unet.")]
        own = [name for name in self.kept if name.startswith("unet.")]
        if new:
            lines.append(f"new, not in Stable Diffusion: {len(new)} tensors of control_branch")
        if own:
            lines.append(f"not initialised from it: {', '.join(own)}")
        if self.unused:
            lines.append(f"not used of it: {', '.join(self.unused)}")
        return lines


def initialise(decoder: GloberFrameDecoder, source: str) -> Initialisation:
    """Copy every tensor of a Stable Diffusion v1 UNet that `decoder` has, by name and shape; return what was copied.

    Raises `UserError` if there is no UNet at `source`, or one of another width.
    """
    given = {f"unet.{name}": value for name, value in read_unet(source).state_dict().items()}
    own = decoder.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if "unet.conv_in.weight" not in fitting:
        wanted, found = (tuple(state["unet.conv_in.weight"].shape) for state in (own, given))
        raise UserError(f"the UNet in {source} begins with weights {found}, the frame decoder with {wanted}")
    decoder.load_state_dict(fitting, strict=False)
    return Initialisation(
        list(fitting), [name for name in own if name not in fitting], [name for name in given if name not in fitting]
    )


def check_unet(source: str) -> None:
    """Raise `UserError` if there is no UNet, nor any checkpoint, at `source`; its weights are not read."""
    if not Path(source).is_file():
        find_network(source, "unet", DECODER_OPTION)


def read_unet(source: str) -> UNet2DConditionModel:
    """Load a UNet, in fp32. Raises `UserError` if there is none, or it is not complete."""
    path = Path(source)
    if path.is_file():
        state = _part(read_tensors(path), path, STABLE_DIFFUSION_UNET, "input_blocks.0.0.weight")
        model = UNet2DConditionModel(**unet_shape(state, path))
        prefixed = {f"{STABLE_DIFFUSION_UNET}{name}": value for name, value in state.items()}
        return _fill(model, convert_ldm_unet_checkpoint(prefixed, model.config), path)
    folder = find_network(source, "unet", DECODER_OPTION)
    return _read_folder(UNet2DConditionModel, folder)


def read_frame_vae(source: str) -> AutoencoderKL:
    """Load a frame VAE, in fp32. Raises `UserError` if there is none, or it is not complete.

    Its config says by what latents are scaled; an original checkpoint seldom does, and then Stable Diffusion's factor
    is taken.
    """
    path = Path(source)
    if path.is_file():
        tensors = read_tensors(path)
        state = _part(tensors, path, STABLE_DIFFUSION_VAE, "encoder.conv_in.weight")
        scale = float(tensors.get("scale_factor", STABLE_DIFFUSION_SCALE))
        model = AutoencoderKL(**vae_shape(state, path), scaling_factor=scale)
        return _fill(model, convert_ldm_vae_checkpoint(dict(state), model.config), path)
    return _read_folder(AutoencoderKL, find_network(source, "vae", VAE_OPTION))


def frame_vae_shape(source: str) -> AutoencoderKL:
    """Return the frame VAE at `source` without its weights; raise `UserError` as `read_frame_vae` does."""
    path = Path(source)
    if path.is_file():
        state = _part(read_tensors(path), path, STABLE_DIFFUSION_VAE, "encoder.conv_in.weight")
        return AutoencoderKL(**vae_shape(state, path))
    folder = find_network(source, "vae", VAE_OPTION)
    with _one_line(f"cannot load the frame VAE in {folder}"):
        return AutoencoderKL.from_config(AutoencoderKL.load_config(folder, local_files_only=True))


def find_network(source: str, part: str, option: str) -> Path:
    """Return the diffusers folder of a network: `source`, or `part` in it. Raises `UserError` if neither is one."""
    for folder in (Path(source) / part, Path(source)):
        if (folder / "config.json").is_file():
            return folder
    what = {"vae": "frame VAE", "unet": "UNet"}[part]
    raise UserError(
        f"no {what} in {source}: give a diffusers folder of one, or an original checkpoint, with {option} PATH"
    )


def convert_vae(source: Path, destination: Path) -> None:
    """Write the VAE of an original checkpoint to `destination`/vae in diffusers' form."""
    _convert(destination / "vae", lambda: read_frame_vae(str(source)))


def convert_unet(source: Path, destination: Path) -> None:
    """Write the UNet of an original checkpoint to `destination`/unet in diffusers' form."""
    _convert(destination / "unet", lambda: read_unet(str(source)))


def vae_shape(state: State, path: Path) -> dict[str, Any]:
    """Return the arguments of the `AutoencoderKL` that original weights are of, read off their names and shapes."""
    with _one_line(f"{path} holds no KL autoencoder in Stable Diffusion's form"):
        levels = _count(state, "encoder.down.{}.block.0.conv1.weight")
        channels = tuple(state[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels))
        return {
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
    with _one_line(f"{path} holds no UNet in Stable Diffusion v1's form"):
        blocks = _count_blocks(state)
        downsamplings = [block for block in range(blocks) if f"input_blocks.{block}.0.op.weight" in state]
        firsts = [1, *(block + 1 for block in downsamplings)]
        attention = [f"input_blocks.{first}.1.norm.weight" in state for first in firsts]
        text = state[f"input_blocks.{firsts[attention.index(True)]}.1.transformer_blocks.0.attn2.to_k.weight"]
        return {
            "in_channels": state["input_blocks.0.0.weight"].shape[1],
            "out_channels": state["out.2.weight"].shape[0],
            "block_out_channels": tuple(state[f"input_blocks.{b}.0.out_layers.3.weight"].shape[0] for b in firsts),
            "layers_per_block": downsamplings[0] - 1,
            "down_block_types": tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention),
            "up_block_types": tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)),
            "attention_head_dim": STABLE_DIFFUSION_HEADS,
            "cross_attention_dim": text.shape[1],
            "norm_num_groups": NORM_GROUPS,
        }


def _convert(destination: Path, read: Any) -> None:  # noqa: ANN401
    if destination.exists():
        raise UserError(f"{destination} exists already")
    network = read()
    with atomic_path(destination) as folder:
        network.save_pretrained(folder)


def _part(tensors: State, path: Path, prefix: str, first: str) -> State:
    """Return the tensors of one network in a checkpoint: those under `prefix`, or all if the network stands alone."""
    state = with_prefix(tensors, prefix) or tensors
    if first not in state:
        raise UserError(f"{path} holds neither {prefix}{first} nor {first}: it is no Stable Diffusion v1 checkpoint")
    return state


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


def _fill(model: Network, converted: State, path: Path) -> Network:
    """Load converted weights, all of them."""
    own = model.state_dict()
    missing = [name for name in own if name not in converted or converted[name].shape != own[name].shape]
    if missing:
        raise UserError(f"{path} lacks {missing[0]} and {len(missing) - 1} more tensors of {type(model).__name__}")
    model.load_state_dict({name: value.float() for name, value in converted.items() if name in own})
    return model.eval()


def _read_folder(network: type[Network], folder: Path) -> Network:
    """Load a diffusers folder; unlike diffusers, refuse one that lacks tensors."""
    what = {AutoencoderKL: "frame VAE", UNet2DConditionModel: "UNet"}[network]
    with _one_line(f"cannot load the {what} in {folder}"), _quiet():
        model, report = network.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32
        )
    if report["missing_keys"]:
        lacking = f"{min(report['missing_keys'])} and {len(report['missing_keys']) - 1} more tensors"
        raise UserError(f"the {what} in {folder} lacks {lacking}: what is missing would be random")
    return model.eval()


def _count(state: State, pattern: str) -> int:
    """Return how many of the names pattern.format(0), (1), ... are there, up to the first gap."""
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number


def _count_blocks(state: State) -> int:
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith("input_blocks."))


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers from warning of what is an error here."""
    verbosity = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers.utils.logging.set_verbosity(verbosity)
