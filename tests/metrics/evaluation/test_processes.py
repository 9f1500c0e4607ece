"""Several processes share the work and find what one finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_evaluation import CONFIG, ToyNetwork, write_bars, write_broken

from longtake.core.errors import UserError
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.evaluation.work_group import WorkGroup, work_group

SCRIPT = Path(__file__).with_name("toy_evaluation.py")


def test_two_processes_give_the_report_of_one(tmp_path):
    """Also where on each side two videos turn out not to decode, which not all of them read."""
    real, fake = write_bars(tmp_path / "real", range(8)), write_bars(tmp_path / "fake", range(8, 16))
    # two that are read together on one side and apart on the other: all are found before the sets are compared
    for path in (real / "class-1" / "x", real / "class-1" / "y", fake / "class-0" / "x", fake / "class-1" / "x"):
        write_broken(path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [str(SCRIPT), str(real), str(fake), str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LONGTAKE_CACHE": str(tmp_path / "another")}
    done = subprocess.run(
        [*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / "out" / f"process-{rank}" / "report.json").read_text()) for rank in "01")
    report = evaluate(real, fake, CONFIG, network=ToyNetwork())
    assert [item["file"] for item in report.facts["fake"]["left_out"]] == ["class-0/x", "class-1/x"]
    report.write(tmp_path / "report.json")
    assert first == second == json.loads((tmp_path / "report.json").read_text())


def test_a_process_alone_does_all_the_work():
    seen = []
    with work_group() as workers:
        assert workers.map(lambda item: item * 2, [1, 2, 3], lambda done, total: seen.append((done, total))) == [
            2,
            4,
            6,
        ]
        assert workers.on_first(lambda: "x") == "x"
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_error_is_raised_after_the_others_were_told():
    def fail(item):
        raise UserError(f"item {item}")

    with pytest.raises(UserError, match="item 1"):
        WorkGroup().map(fail, [1, 2], lambda done, total: None)


def test_a_world_without_a_launcher_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UserError, match="torchrun"), work_group():
        pass
