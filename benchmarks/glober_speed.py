"""Seconds and peak memory of a GLOBER pipeline for videos of several lengths.

    python benchmarks/glober_speed.py paper --frames 16 64 1024 --dtype bf16 --compile      (on a GPU)

What `longtake bench` does for any model, with more to choose: "paper" builds the paper's 256x256 sizes with random
weights (the images mean nothing, the figures do), in any precision and compiled. Lengths follow each other in one
process, the shorter first, since on a CPU each peak is that of all so far. A CPU works with one thread.
"""

from __future__ import annotations

import argparse
import json

import torch

import longtake
from longtake.benchmarking.bench import measure_video
from longtake.benchmarking.cost import CHUNK
from longtake.benchmarking.machine import machine_facts
from longtake.glober import build, frame_vae
from longtake.glober.condition import GloberLabelEncoder
from longtake.glober.config import FrameVAEConfig, GloberRecipe
from longtake.glober.pipeline import GloberPipeline
from longtake.glober.sampling import build_scheduler

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def paper_pipeline() -> GloberPipeline:
    """Random weights in the paper's sizes: Stable Diffusion's VAE and UNet, and the DiT 1152 x 28."""
    recipe, sizes = GloberRecipe(), FrameVAEConfig()
    vae = frame_vae.build_frame_vae(
        sizes.block_out_channels, sizes.layers_per_block, sizes.latent_channels, sizes.norm_groups, sizes.mid_attention
    )
    return GloberPipeline(
        frame_vae=vae,
        video_encoder=build.video_encoder(recipe, vae),
        frame_decoder=build.frame_decoder(recipe, vae),
        feature_generator=build.feature_generator(recipe, vae),
        condition_encoder=GloberLabelEncoder(0, recipe.condition_dim),
        decoder_scheduler=build_scheduler("epsilon"),
        generator_scheduler=build_scheduler("epsilon"),
        span=recipe.span,
        keyframes=recipe.keyframes,
    )


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="shipped name, pipeline folder, run folder, or 'paper'")
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--chunk", type=int, default=CHUNK, help="frames made at once")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's own)")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile the frame decoder, with CUDA graphs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    on_gpu = arguments.device.startswith("cuda")
    if not on_gpu:
        torch.set_num_threads(1)
    dtype = DTYPES[arguments.dtype]
    if arguments.model == "paper":
        pipe = paper_pipeline().to(arguments.device, dtype)
    else:
        pipe = longtake.load(arguments.model, device=arguments.device, dtype=dtype)
    if arguments.compile:
        pipe.frame_decoder.compile(mode="reduce-overhead")
    options = {"chunk": arguments.chunk, "num_inference_steps": arguments.steps}
    report = {
        "model": arguments.model,
        "machine": machine_facts(pipe.device),
        "dtype": arguments.dtype,
        "compiled": arguments.compile,
        "chunk": arguments.chunk,
        "steps": arguments.steps or pipe.config.num_inference_steps,
        "torch": torch.__version__,
        "videos": [measure_video(pipe, frames, options, lambda _: None) for frames in sorted(arguments.frames)],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
