"""How time-agnostic a TATS VQGAN is under each kind of padding: codes of a clip alone against those in a longer video.

    python benchmarks/tats_time_agnostic.py --data DIR --out DIR [--size 32] [--steps 400] [--paddings replicate zero]

Trains one small VQGAN per padding (alike but for that), encodes whole videos, then clips of them on their own, and
counts how often both give the same code, by the clip's latent frame: 0 and the last touch the padding. Likewise it
decodes the clip's codes alone and within the video. Writes OUT/agreement.png and prints JSON. Runs in OUT go on where
they stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from PIL import Image

from longtake.data.dataset import decode
from longtake.data.index import VideoIndex, index_folder
from longtake.data.transforms import to_video
from longtake.metrics.evaluation.plots import Line, draw_plot
from longtake.tats.recipes import tats_weizmann_64
from longtake.tats.train import train
from longtake.tats.vqgan import TatsVQGAN


def trained(padding: str, data: Path, out: Path, size: int, steps: int) -> TatsVQGAN:
    """A small VQGAN with that padding in every layer."""
    recipe = tats_weizmann_64()
    config = dataclasses.replace(recipe.vqgan, padding=padding, steps=steps, ema_decay=None, sample_every=0)
    recipe = dataclasses.replace(recipe, size=size, condition="none", vqgan=config)
    train(recipe, "tats_weizmann_64", data, out, resume=True, only=["vqgan"])
    return TatsVQGAN.from_pretrained(out / "components" / "vqgan" / "vqgan").eval()


@torch.no_grad()
def agreement(vqgan: TatsVQGAN, index: VideoIndex, size: int, num_frames: int) -> dict[str, list[float]]:
    """By latent frame of a clip: share of equal codes, relative difference of vectors, PSNR of decoded frames."""
    rate, _ = vqgan.downsample
    length = num_frames // rate
    same, distance, error = [], [], []
    for entry in index.entries:
        video = to_video(decode(entry, size))[None]
        video = video[:, :, : video.shape[2] // rate * rate]
        vectors = vqgan.pre_quant(video)
        codes = vqgan.codebook.nearest(vectors)
        decoded = vqgan.decode(codes)
        # clips with frames before and after them
        for first in range(1, codes.shape[1] - length, length):
            clip = video[:, :, first * rate : first * rate + num_frames]
            alone, inside = vqgan.pre_quant(clip), vectors[:, :, first : first + length]
            same.append((vqgan.codebook.nearest(alone) == codes[:, first : first + length]).float().mean((0, 2, 3)))
            distance.append((alone - inside).square().sum((0, 1, 3, 4)) / inside.square().sum((0, 1, 3, 4)))
            apart = vqgan.decode(codes[:, first : first + length]) - decoded[:, :, first * rate :][:, :, :num_frames]
            error.append((apart / 2).square().unflatten(2, (length, rate)).mean((0, 1, 3, 4, 5)))
    return {
        "equal_codes": torch.stack(same).mean(0).tolist(),
        "relative_difference_of_vectors": torch.stack(distance).mean(0).sqrt().tolist(),
        "psnr_of_frames_decoded_alone": (-10 * torch.stack(error).mean(0).clamp(min=1e-12).log10()).tolist(),
        "clips": len(same),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--clip", type=int, default=16, help="frames of a clip")
    parser.add_argument("--videos", type=int, default=16, help="videos to measure on, spread over the data")
    parser.add_argument("--paddings", nargs="+", default=["replicate", "zero"])
    args = parser.parse_args()

    index = index_folder(args.data)
    spread = index.entries[:: max(1, len(index.entries) // args.videos)]
    some = dataclasses.replace(index, entries=spread)
    report = {}
    for padding in args.paddings:
        vqgan = trained(padding, args.data, args.out / padding, args.size, args.steps)
        report[padding] = agreement(vqgan, some, args.size, args.clip)
    plots = [
        draw_plot(
            Line(range(len(numbers["equal_codes"])), numbers["equal_codes"]),
            title=f"padding {padding}: share of codes equal alone and within the video",
            x_label=f"latent frame of a clip of {args.clip} frames",
        )
        for padding, numbers in report.items()
    ]
    sheet = Image.new("RGB", (plots[0].width, plots[0].height * len(plots)), "white")
    for row, plot in enumerate(plots):
        sheet.paste(plot, (0, row * plot.height))
    sheet.save(args.out / "agreement.png")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
