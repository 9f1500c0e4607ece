"""Codes of a whole data set on disk, for the transformers' stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedWriter
from longtake.data.index import Progress, VideoIndex, index_folder
from longtake.data.variants import EncodeReport, EncodeSettings, encode_variants
from longtake.tats import build
from longtake.tats.config import ROLES, TatsRecipe, TransformerConfig, VQGANConfig
from longtake.tats.tokens import code_encoding, codes_of_all_clips
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.run_folder import RunFolder


def encode_dataset(
    model: str, data: Path, out: Path, settings: EncodeSettings, progress: Progress | None = None
) -> EncodeReport:
    """Write the codes of every clip that a run's transformers can learn from, or go on where that stopped.

    `out` gets a store per transformer ("transformer", "sparse", "interpolation"), since their clips are not equally
    long. Each holds, by video and variant, the codes of the clips that start at frame 0, 1, ...: "s t h w". `model` is
    a run folder whose VQGAN is trained; what `settings` leave open is as in the transformer's stage. `progress` counts
    the videos of all stores. Raises `UserError` for what is no such run, unusable data, and an `out` that holds
    something else.
    """
    vqgan_folder, recipe = find_run(model)
    recipe = replace(recipe, size=settings.size or recipe.size)
    factor = recipe.vqgan.downsample[1]
    if recipe.size % factor:
        raise UserError(f"size {recipe.size} is not a multiple of the VQGAN's downsampling factor {factor}")
    vqgan = TatsVQGAN.from_pretrained(vqgan_folder).to(find_device(settings.device))
    vqgan.eval().requires_grad_(False)
    index = index_folder(data)
    datasets = {role: _dataset(recipe, role, index, settings) for role in ROLES if getattr(recipe, role) is not None}
    _check_out(out)
    total, before, reports = sum(len(dataset.entries) for dataset in datasets.values()), 0, []
    for role, dataset in datasets.items():
        step = getattr(recipe, role).latent_step
        writer = EncodedWriter(out / role, code_encoding(vqgan, dataset, step), dataset.index, settings.num_variants)
        reports.append(
            encode_variants(
                dataset,
                partial(codes_of_all_clips, vqgan, clip=dataset.clip, latent_step=step),
                writer,
                settings.num_variants,
                num_workers=settings.num_workers,
                progress=partial(_report_progress, progress, before, total),
            )
        )
        before += len(dataset.entries)
    return EncodeReport(
        num_videos=max(report.num_videos for report in reports),
        num_arrays=sum(report.num_arrays for report in reports),
        num_bytes=sum(report.num_bytes for report in reports),
        unreadable={name: reason for report in reports for name, reason in report.unreadable.items()},
    )


def find_run(model: str) -> tuple[Path, TatsRecipe]:
    """Return the VQGAN's folder in a run, and the run's recipe as far as it says which clips there are.

    Raises `UserError` if `model` is no run folder of TATS, or its VQGAN is not trained yet.
    """
    run = RunFolder(Path(model))
    try:
        config = json.loads(run.config.read_text())
        assert config["family"] == "tats", config["family"]
        recipe = _clips_of(config["settings"])
        pretrained = config["settings"]["vqgan"].get("pretrained")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{model} is no run folder: codes are made for the transformers of a run, whose recipe says how long their "
            "clips are"
        ) from error
    if pretrained:
        return build.pretrained_folder(pretrained) / "vqgan", recipe
    vqgan = run.components / "vqgan" / "vqgan"
    if not vqgan.is_dir():
        raise UserError(f"run folder {model} has no trained VQGAN yet: train it first (--stage vqgan)")
    return vqgan, recipe


def _clips_of(settings: Mapping[str, Any]) -> TatsRecipe:
    """Return a recipe that makes the same clips as the one with these settings."""

    same: dict[str, Any] = {name: settings[name] for name in ("size", "sample_step", "short_videos")}
    for role in ROLES:
        if (stage := settings[role]) is not None:
            numbers = {name: stage[name] for name in ("num_latents", "latent_step", "seed")}
            same[role] = TransformerConfig(**numbers, augment=AugmentConfig(**stage["augment"]))
    return TatsRecipe(**same, vqgan=VQGANConfig(downsample=tuple(settings["vqgan"]["downsample"])))


def _dataset(recipe: TatsRecipe, role: str, index: VideoIndex, settings: EncodeSettings) -> ClipDataset:
    """Return the data set of one transformer; no video comes up twice, so that keeping it would not help."""
    config: TransformerConfig = getattr(recipe, role)
    return ClipDataset(
        index,
        build.clip(recipe, build.window_frames(recipe, role)),
        config.augment if settings.augment is None else settings.augment,
        config.seed if settings.seed is None else settings.seed,
        cache_bytes=0,
    )


def _check_out(out: Path) -> None:
    """Raise `UserError` if something else than codes lies in `out`."""
    others = [path.name for path in out.iterdir() if path.name not in ROLES] if out.is_dir() else []
    if others:
        raise UserError(f"{out} holds {min(others)!r}, which is no codes of this command: choose another folder")


def _report_progress(progress: Progress | None, before: int, total: int, done: int, of_this_store: int) -> None:
    del of_this_store
    if progress is not None:
        progress(before + done, total)
