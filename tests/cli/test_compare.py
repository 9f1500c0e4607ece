"""`longtake compare` and `longtake bench` as a user types them, in processes of their own."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from longtake.benchmarking.table import Table
from longtake.cli.terminal import show_table
from longtake.video import write_video


@pytest.fixture
def model(glober, tmp_path):
    glober.save_pretrained(tmp_path / "models" / "toy")
    return tmp_path / "models" / "toy"


@pytest.fixture
def real(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        for label in ("bend", "walk"):
            (tmp_path / "real" / label).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "real" / label / f"{number}.mp4"
            write_video(path, rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8), 25)
    return tmp_path / "real"


@pytest.mark.slow
def test_whole_command(longtake, model, real, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    arguments = ("--real", real, "--features", "local:evaluator-weizmann", "--clip-frames", 16, "--device", "cpu")
    outcome = longtake("compare", model, "r3-weizmann", *arguments, "--out", out, "--resamples", 5)
    assert "toy makes 8 frames of real time at most" in outcome.error_line or "--frames 16" in outcome.error_line
    outcome = longtake(
        "compare", "r3-weizmann", *arguments, "--frames", 16, "--videos", 2, "--out", out, "--resamples", 5
    )
    assert outcome.status == 0, outcome.err
    assert "real, other half" in outcome.out
    assert "frechet distance [local: evaluator-weizmann]" in outcome.out
    (row, floor) = json.loads((out / "comparison.json").read_text())["rows"]
    assert row["name"] == "r3-weizmann"
    assert sorted(video["label"] for video in row["videos"].values()) == ["bend", "jack"]
    assert row["memory_bytes"]["process"] > row["memory_bytes"]["loaded"] > 10**8
    assert floor["report"]["fake"]["n"] == 2
    assert (out / "r3-weizmann" / "video-001.mp4").is_file()


@pytest.mark.slow
def test_bench_of_a_model(longtake, model, tmp_path):
    out = tmp_path / "bench.json"
    outcome = longtake("bench", model, "--frames", 4, 8, "--out", out, "--device", "cpu")
    assert outcome.status == 0, outcome.err
    (figures,) = json.loads(out.read_text())["models"]
    assert [video["frames"] for video in figures["videos"]] == [4, 8]
    assert f"wrote {out}" in outcome.out


@pytest.mark.parametrize("width", [80, 120])
def test_whole_table_fits_a_terminal(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    heads = ["model", "frechet distance [local: evaluator-weizmann]", "the same, by segment", "inception score"]
    columns = [*heads, "s per video", "frames/s", "peak memory"]
    row = ["glober-weizmann", "12.4", "16.2 to 14.8", "2.59", "39.8", "1.61", "646 MB"]
    details = ["glober, 6.8 M", "0.567 .. 29.2", "4 segments", "2.01 .. 2.98", "8.85", "7.23", ""]
    show_table(Table([(head, "") for head in columns], [list(zip(row, details, strict=True))], ["a line"]))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join([*row, *details]).split()
    assert all(word in shown.split() for word in words)
    assert "- a line" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--real", "x"], "missing MODEL: at least one model is needed"),
        (["compare", "x"], "missing --real"),
        (["compare", "x", "--real", "y", "--videos", 1], "--videos must be at least 2, not 1"),
        (["compare", "x", "--real", "y", "--frames", 0], "--frames must be at least 1, not 0"),
        (["compare", "x", "--real", "y", "--clip-frames", 0], "--clip-frames must be at least 1, not 0"),
        (["compare", "x", "--real", "y", "--protocol", "tat"], "unknown protocol 'tat'; did you mean 'tats'?"),
        (["compare", "r3-weizman", "--real", "y"], "no model 'r3-weizman'; did you mean 'r3-weizmann'?"),
        (["compare", "r3-weizmann", "--real", "nowhere"], "folder nowhere does not exist"),
        (["bench", "--frames", 0], "--frames must be at least 1 each, not 0"),
        (["bench", "--seed", "-1"], "--seed must be at least 0, not -1"),
        (["bench", "--out", "x.txt"], "x.txt: the figures are written as .json"),
        (["bench", "tats-weizman"], "no model 'tats-weizman'; did you mean 'tats-weizmann'?"),
    ],
)
def test_mistakes_are_one_line(longtake, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert longtake(*arguments).error_line.startswith(message)
    assert not list(tmp_path.iterdir())
