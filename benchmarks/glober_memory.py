"""What a GLOBER recipe needs of a GPU's memory, reckoned on the CPU (see `longtake.glober.memory` for how).

    python benchmarks/glober_memory.py glober_finetune_256 --batch-size 1 2 --chunk 16

Takes a minute or more for each batch size at the paper's sizes. One gigabyte is 10^9 bytes; a card of "24 GB" has 25.8
of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from longtake import recipes
from longtake.core.wording import counted
from longtake.glober import memory

GIGABYTE = 1e9


def gigabytes(found: dict[str, int], total: int) -> dict[str, float]:
    """Return the figures to print."""
    return {name: round(value / GIGABYTE, 2) for name, value in {**found, "total": total}.items()}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--batch-size", type=int, nargs="+", help="default: the recipe's own")
    parser.add_argument("--eight-bit", action="store_true", help="8-bit moments")
    parser.add_argument("--chunk", type=int, default=16, help="frames sampled at once")
    arguments = parser.parse_args()

    recipe = recipes.find(arguments.recipe)()
    stage = recipe.autoencoder
    stage = replace(stage, optimizer=replace(stage.optimizer, eight_bit=arguments.eight_bit))
    figures = {}
    for size in arguments.batch_size or [stage.batch_size]:
        found = memory.training_memory(replace(recipe, autoencoder=replace(stage, batch_size=size)))
        figures[f"training, {counted(size, 'clip')}"] = gigabytes(found, memory.training_total(found))
    sampled = memory.sampling_memory(recipe, arguments.chunk)
    figures[f"sampling, {counted(arguments.chunk, 'frame')}"] = gigabytes(sampled, sum(sampled.values()))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
