"""Frame latents of a whole data set on disk, for the stages after the frame VAE."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL

from longtake import models
from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedWriter
from longtake.data.index import Progress, index_folder
from longtake.data.variants import EncodeReport, EncodeSettings, encode_variants
from longtake.glober.latents import latent_encoding, video_latents
from longtake.glober.pretrained import read_frame_vae


@dataclass(frozen=True)
class FrameVAESource:
    """Where a frame VAE is, and how the videos were shown to it where that is known.

    Attributes:
        folder: a diffusers folder, or an original checkpoint.
        size: height and width of its frames; None if the folder alone is known.
        augment: random changes of the stages trained on its latents.
        seed: seed of the stages trained on its latents.
    """

    folder: Path
    size: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0


def encode_dataset(
    model: str, data: Path, out: Path, settings: EncodeSettings, progress: Progress | None = None
) -> EncodeReport:
    """Write the latents of every frame of every video of `data` to the folder `out`, or go on where that stopped.

    `model` is a run folder whose frame VAE is trained, a pipeline folder, the name of a shipped model, or a pretrained
    frame VAE in any form that training takes (see `pretrained.py`). What `settings` leave open is as in the run's
    autoencoder stage; without a run, videos are not augmented. Raises `UserError` for what is no such model, unusable
    data, and an `out` that holds something else.
    """
    source = find_frame_vae(model)
    size = settings.size or source.size
    if size is None:
        raise UserError(f"{model} does not say how large its frames are: give --size")
    augment = source.augment if settings.augment is None else settings.augment
    seed = source.seed if settings.seed is None else settings.seed
    frame_vae = read_frame_vae(str(source.folder)).to(find_device(settings.device))
    frame_vae.eval().requires_grad_(False)
    check_size(size, frame_vae)
    # clips of one frame, so that no video is too short; nothing comes up twice, so that keeping it would not help
    dataset = ClipDataset(index_folder(data), ClipConfig(num_frames=1, size=size), augment, seed, cache_bytes=0)
    writer = EncodedWriter(out, latent_encoding(frame_vae, dataset), dataset.index, settings.num_variants)
    return encode_variants(
        dataset,
        lambda frames: video_latents(frame_vae, frames),
        writer,
        settings.num_variants,
        num_workers=settings.num_workers,
        progress=progress,
    )


def find_frame_vae(model: str) -> FrameVAESource:
    """Find the frame VAE of a run folder, a pipeline or itself. Raises `UserError` if there is none."""
    folder = Path(model)
    config = _read(folder / "config.json")
    if folder.is_file() or (folder / "vae").is_dir() or config.get("_class_name") == "AutoencoderKL":
        return FrameVAESource(folder)
    if "settings" in config:
        recipe = config["settings"]
        stage = recipe["autoencoder"]
        if stage.get("pretrained"):
            trained = models.find_folder(stage["pretrained"]) / "frame_vae"
        elif recipe["frame_vae"]["pretrained"]:
            trained = Path(recipe["frame_vae"]["pretrained"])
        else:
            trained = folder / "components" / "frame_vae" / "frame_vae"
        if not trained.exists():
            raise UserError(f"run folder {folder} has no trained frame VAE yet: train it first (--stage frame_vae)")
        return FrameVAESource(trained, recipe["size"], AugmentConfig(**stage["augment"]), stage["seed"])
    pipeline = models.find_folder(model)
    latent_size = _read(pipeline / "video_encoder" / "config.json").get("latent_size")
    num_levels = len(_read(pipeline / "frame_vae" / "config.json").get("block_out_channels", ()))
    if not latent_size or not num_levels:
        raise UserError(f"model folder {pipeline} is damaged: its networks do not say how large they are")
    return FrameVAESource(pipeline / "frame_vae", latent_size * 2 ** (num_levels - 1))


def check_size(size: int, frame_vae: AutoencoderKL) -> None:
    """Raise `UserError` if frames of this size cannot be halved as often as the frame VAE does."""
    factor = 2 ** (len(frame_vae.config.block_out_channels) - 1)
    if size < 1 or size % factor:
        raise UserError(f"size {size} is not a multiple of the frame VAE's downsampling factor {factor}")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except OSError:
        return {}
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON ({error})") from error
    return content if isinstance(content, dict) else {}
