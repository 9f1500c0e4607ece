"""Compares models with a toy feature network, sampling in this process: a script for a test to start under torchrun."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics" / "evaluation"))

from toy_evaluation import ToyNetwork

from longtake.benchmarking import compare, samples
from longtake.metrics.evaluation.config import EvaluationConfig

CONFIG = EvaluationConfig(frames=4, resamples=10, device="cpu", seed=3)


def main(real: Path, out: Path, models: list[str]) -> None:
    """Write what each process made, and what it found, beside what `compare` writes."""
    made = []

    def in_this_process(work, contestant, of, numbers, hear):
        made.extend((contestant.name, number) for number in numbers)
        return work(hear, contestant, of, numbers)

    samples.in_own_process = in_this_process
    compare.load_features = lambda *_, **__: ToyNetwork()
    comparison, _ = compare.compare(models, real, out, CONFIG)
    facts = {"made": made, "found": comparison.to_json()}
    (out / f"process-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
