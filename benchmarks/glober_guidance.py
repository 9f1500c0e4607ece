"""Samples of a GLOBER model under several strengths of guidance, each set scored: the paper's Tables 6 and 7.

    python benchmarks/glober_guidance.py runs/ucf --real ucf101/train --sweep decoder --out sweep            (Table 6)
    python benchmarks/glober_guidance.py runs/ucf-classes --real ucf101/train --sweep generator --out sweep  (Table 7)

A strength of 1 is no guidance, which the paper's tables call 0. Each set is written to OUT/<sweep>-<strength>/ as
folders of pictures, and `longtake evaluate --protocol glober` scores it to OUT/<sweep>-<strength>.json against as many
real videos. Videos that are there already are kept, so a sweep goes on where it stopped. The strengths, and which table
is about which of the two scales, are our reading of the paper.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import longtake
from longtake.cli.main import main as run_command
from longtake.video import write_video

STRENGTHS = (1.0, 3.0, 6.0, 9.0, 12.0)
OPTIONS = {"decoder": "decoder_guidance_scale", "generator": "guidance_scale"}


def main() -> int:
    """Sample and score; return the first exit status that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="shipped name, pipeline folder or run folder")
    parser.add_argument("--real", type=Path, required=True, help="folder of the real videos")
    parser.add_argument("--sweep", choices=OPTIONS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--count", type=int, default=2048, help="videos per strength (the paper's protocol: 2048)")
    parser.add_argument("--device")
    parser.add_argument("--evaluate", nargs=argparse.REMAINDER, default=[], help="further options of longtake evaluate")
    arguments = parser.parse_args()

    pipe = longtake.load(arguments.model, device=arguments.device)
    for strength in arguments.strengths:
        folder = arguments.out / f"{arguments.sweep}-{strength:g}"
        for video in range(arguments.count):
            file = folder / f"video-{video:04d}"
            if not file.exists():
                frames = pipe(video=video, **{OPTIONS[arguments.sweep]: strength}).frames
                write_video(file, frames, pipe.config.fps)
        sides = [
            "--real",
            str(arguments.real),
            "--fake",
            str(folder),
            "--out",
            str(folder.with_name(f"{folder.name}.json")),
            "--count",
            str(arguments.count),
        ]
        status = run_command(["evaluate", *sides, "--protocol", "glober", *arguments.evaluate])
        if status:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
