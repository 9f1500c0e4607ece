"""Networks that others trained: Stable Diffusion v1's VAE and UNet, in diffusers' form or the original one.

A source is a diffusers folder of the network, a folder of a whole diffusers pipeline (its `vae` or `unet` is taken),
or an original checkpoint (.safetensors, or .ckpt read without running what is in it). Nothing is downloaded, and a
tensor that should be there and is not is an error: a network that is half random looks like one that works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, ModelMixin, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from longtake.core.checkpoint_files import State
from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.wording import counted, first_and_more
from longtake.glober.convert import STABLE_DIFFUSION_UNET
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.original_weights import read_tensors, unet_shape, unet_tensors, vae_shape, vae_tensors
from longtake.glober.pretrained_folders import find_network, in_one_line, variant_of
from longtake.models import quiet_diffusers

STABLE_DIFFUSION_SCALE = 0.18215
RGB = 3

Network = TypeVar("Network", bound=ModelMixin)
NAMES: dict[type[ModelMixin], str] = {AutoencoderKL: "frame VAE", UNet2DConditionModel: "UNet"}
# part of a pipeline, and the option that asks for it
PLACES: dict[type[ModelMixin], tuple[str, str]] = {
    AutoencoderKL: ("vae", "--frame-vae.pretrained"),
    UNet2DConditionModel: ("unet", "--autoencoder.decoder.pretrained"),
}


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

    A linear projection is taken for the 1x1 convolution that it amounts to. Raises `UserError` if there is no UNet at
    `source`, or one that does not fit (see `check_unet`).
    """
    unet = read_unet(source)
    _check_fits(unet, decoder, source)
    own = decoder.state_dict()
    given = {f"unet.{name}": _shaped_like(own.get(f"unet.{name}"), value) for name, value in unet.state_dict().items()}
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    decoder.load_state_dict(fitting, strict=False)
    return Initialisation(
        list(fitting), [name for name in own if name not in fitting], [name for name in given if name not in fitting]
    )


def check_unet(source: str, decoder: GloberFrameDecoder) -> None:
    """Raise `UserError` if there is no UNet at `source`, or its input, heads or groups are not those of `decoder`.

    Heads and groups leave no trace in the shapes of weights: with others the same weights are another network. Neither
    network needs memory for its weights.
    """
    path = Path(source)
    with torch.device("meta"):
        if path.is_file():
            unet = UNet2DConditionModel(**unet_shape(unet_tensors(read_tensors(path), path), path))
        else:
            unet = _folder_shape(UNet2DConditionModel, _find(UNet2DConditionModel, source))
    _check_fits(unet, decoder, source)


def read_unet(source: str) -> UNet2DConditionModel:
    """Load a UNet, in fp32. Raises `UserError` if there is none, or it is not complete."""
    path = Path(source)
    if path.is_file():
        state = unet_tensors(read_tensors(path), path)
        model = UNet2DConditionModel(**unet_shape(state, path))
        prefixed = {f"{STABLE_DIFFUSION_UNET}{name}": value for name, value in state.items()}
        return _fill(model, state, convert_ldm_unet_checkpoint(prefixed, model.config), path)
    return _read_folder(UNet2DConditionModel, _find(UNet2DConditionModel, source))


def read_frame_vae(source: str) -> AutoencoderKL:
    """Load a frame VAE, in fp32. Raises `UserError` if there is none, it is not complete, or not one of RGB frames.

    Its config says by what latents are scaled; an original checkpoint seldom does, and then Stable Diffusion's factor
    is taken.
    """
    path = Path(source)
    if path.is_file():
        tensors = read_tensors(path)
        state = vae_tensors(tensors, path)
        scale = float(tensors.get("scale_factor", STABLE_DIFFUSION_SCALE))
        model = AutoencoderKL(**vae_shape(state, path), scaling_factor=scale)
        _check_rgb(model, source)
        return _fill(model, state, convert_ldm_vae_checkpoint(dict(state), model.config), path)
    folder = _find(AutoencoderKL, source)
    _check_rgb(_folder_shape(AutoencoderKL, folder), source)
    return _read_folder(AutoencoderKL, folder)


def frame_vae_shape(source: str) -> AutoencoderKL:
    """Return the frame VAE at `source` without its weights; raise `UserError` as `read_frame_vae` does."""
    path = Path(source)
    if path.is_file():
        model = AutoencoderKL(**vae_shape(vae_tensors(read_tensors(path), path), path))
    else:
        model = _folder_shape(AutoencoderKL, _find(AutoencoderKL, source))
    _check_rgb(model, source)
    return model


def convert_vae(source: Path, destination: Path) -> None:
    """Write the VAE of an original checkpoint to `destination`/vae in diffusers' form."""
    _convert(destination / "vae", lambda: read_frame_vae(str(source)))


def convert_unet(source: Path, destination: Path) -> None:
    """Write the UNet of an original checkpoint to `destination`/unet in diffusers' form."""
    _convert(destination / "unet", lambda: read_unet(str(source)))


def _convert(destination: Path, read: Callable[[], ModelMixin]) -> None:
    if destination.exists():
        raise UserError(f"{destination} exists already")
    network = read()
    with atomic_path(destination) as folder:
        network.save_pretrained(folder)


def _find(network: type[ModelMixin], source: str) -> Path:
    part, option = PLACES[network]
    return find_network(source, part, network.__name__, NAMES[network], option)


def _check_fits(unet: UNet2DConditionModel, decoder: GloberFrameDecoder, source: str) -> None:
    wanted, found = (tuple(network.conv_in.weight.shape) for network in (decoder.unet, unet))
    if wanted != found:
        raise UserError(f"the UNet in {source} begins with weights {found}, the frame decoder with {wanted}")
    others = dict(unet.named_modules())
    for name, module in decoder.unet.named_modules():
        for kind, attribute, what in ((Attention, "heads", "heads"), (nn.GroupNorm, "num_groups", "groups")):
            if isinstance(module, kind) and isinstance(others.get(name), kind):
                wanted, found = getattr(module, attribute), getattr(others[name], attribute)
                if wanted != found:
                    raise UserError(
                        f"the UNet in {source} has {found} {what} in {name}, the frame decoder {wanted}: its weights "
                        "would mean something else there (Stable Diffusion v1 has 8 heads and 32 groups, 2 has others)"
                    )


def _shaped_like(own: Tensor | None, value: Tensor) -> Tensor:
    """Return the value in the shape of `own`, if the two differ in dimensions of size one alone."""
    if own is not None and own.ndim != value.ndim and own.squeeze().shape == value.squeeze().shape:
        return value.reshape(own.shape)
    return value


def _check_rgb(vae: AutoencoderKL, source: str) -> None:
    if (vae.config.in_channels, vae.config.out_channels) != (RGB, RGB):
        channels = f"{counted(vae.config.in_channels, 'channel')} in and {vae.config.out_channels} out"
        raise UserError(f"the frame VAE in {source} has {channels}; frames have {RGB}")


def _fill(model: Network, original: State, converted: State, path: Path) -> Network:
    """Load converted weights: all that the model has, and all that the original has."""
    own = model.state_dict()
    missing = [name for name in own if name not in converted or converted[name].shape != own[name].shape]
    if missing:
        raise UserError(f"{path} lacks {missing[0]} and {len(missing) - 1} more tensors of {type(model).__name__}")
    used = {value.data_ptr() for name, value in converted.items() if name in own}
    unused = [name for name, value in original.items() if value.data_ptr() not in used]
    if unused:
        raise UserError(
            f"{path} holds {unused[0]} and {len(unused) - 1} more tensors that {type(model).__name__} lacks"
        )
    model.load_state_dict({name: value.float() for name, value in converted.items() if name in own})
    return model.eval()


def _folder_shape(network: type[Network], folder: Path) -> Network:
    """Build what a diffusers folder's config describes, without its weights."""
    with in_one_line(f"cannot load the {NAMES[network]} in {folder}"), quiet_diffusers():
        return network.from_config(network.load_config(folder, local_files_only=True))


def _read_folder(network: type[Network], folder: Path) -> Network:
    """Load a diffusers folder; unlike diffusers, refuse one that lacks tensors."""
    what, variant = NAMES[network], variant_of(folder, NAMES[network])
    with in_one_line(f"cannot load the {what} in {folder}"), quiet_diffusers():
        model, report = network.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32, variant=variant
        )
    if report["missing_keys"]:
        lacking = first_and_more(report["missing_keys"], "tensor")
        raise UserError(f"the {what} in {folder} lacks {lacking}: what is missing would be random")
    return model.eval()
