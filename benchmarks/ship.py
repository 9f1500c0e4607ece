"""A finished run -> the folder that ships with the package: half precision, with a description.

python benchmarks/ship.py runs/weizmann src/longtake/weights/glober-weizmann --description "..."
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import longtake
from longtake.core.files import atomic_path


def main() -> None:
    """Load, convert, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--description", required=True, help="one line for `longtake models`")
    arguments = parser.parse_args()

    pipe = longtake.load(arguments.run, device="cpu", dtype=torch.float16)
    pipe.register_to_config(description=arguments.description)
    with atomic_path(arguments.out) as folder:
        pipe.save_pretrained(folder)
    size = sum(file.stat().st_size for file in arguments.out.rglob("*") if file.is_file())
    print(f"{arguments.out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
