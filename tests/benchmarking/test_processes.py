"""Several processes share the sampling and find what one finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import toy_compare

from longtake.benchmarking import compare

TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def test_two_processes_find_what_one_finds(toy_models, real, tmp_path, network, in_this_process):
    models = [str(toy_models[name]) for name in ("glober", "tats")]
    arguments = [toy_compare.__file__, str(real), "out", *models]
    done = subprocess.run(
        [*TWO, *arguments],
        env={**os.environ, "LONGTAKE_CACHE": str(tmp_path / "another")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / "out" / f"process-{rank}.json").read_text()) for rank in "01")
    # five videos of each model: whoever makes them, each is made once
    assert first["made"] == [["glober", 0], ["glober", 2], ["glober", 4], ["tats", 0], ["tats", 2], ["tats", 4]]
    assert second["made"] == [["glober", 1], ["glober", 3], ["tats", 1], ["tats", 3]]
    assert first["found"] == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert first["found"]["machine"]["processes"] == 2
    assert first["found"] == second["found"]
    alone, _ = compare.compare(models, real, tmp_path / "alone", toy_compare.CONFIG)
    for mine, theirs in zip(first["found"]["rows"], alone.to_json()["rows"], strict=True):
        for part in ("numbers", "curves", "real"):
            assert mine["report"][part] == theirs["report"][part]
    for name in ("glober", "tats"):
        for number in range(5):
            file = f"{name}/video-{number:03d}.mp4"
            assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
