"""What is read from a run folder, and how curves are drawn of it."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.studio import run_page
from longtake.studio.curves import HEIGHT, curve_svg, thinned
from longtake.studio.runs import read_run
from longtake.studio.shelf import Shelf
from longtake.training.log import MetricsLog
from longtake.training.run_folder import RunFolder
from longtake.training.samples import write_previews


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """One stage done, the next begun 30 steps ago at two steps a second."""
    folder = RunFolder(tmp_path / "run")
    settings = {"size": 16, "vae": {"steps": 4}, "gpt": {"steps": 100}}
    folder.start({"recipe": "toy", "family": "glober", "data": "my <videos>", "settings": settings}, resume=False)
    with MetricsLog(folder.metrics, folder.tensorboard("vae"), "vae", 0) as log:
        for step in (1, 2, 4):
            log.write(step, {"train/loss_recon": 1 / step, "lr/vae": 0.1})
    now = time.time()
    records = [
        {"stage": "gpt", "step": step, "time": now + step / 2, "train/loss_gpt": step * 1.0} for step in range(1, 31)
    ]
    with folder.metrics.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
        file.write('{"stage": "gpt", "step": 31, "ti')  # on its way
    frames = np.zeros((2, 4, 16, 16, 3), np.uint8)
    for step in (2, 4):
        write_previews(folder.samples("vae"), step, {"reconstruction": frames}, 10)
    write_previews(folder.samples("gpt"), 20, {"samples": frames}, 10)
    (folder.checkpoints("gpt") / "step-00000020").mkdir(parents=True)
    return folder


def test_a_run_is_read_while_it_goes_on(run):
    state = read_run(run.path)
    assert (state.recipe, state.is_finished) == ("toy", False)
    vae, gpt = state.stages
    assert (vae.name, vae.step, vae.steps) == ("vae", 4, 4)
    assert vae.curves == {"train/loss_recon": [(1, 1.0), (2, 0.5), (4, 0.25)], "lr/vae": [(1, 0.1), (2, 0.1), (4, 0.1)]}
    assert (gpt.step, gpt.steps) == (30, 100)
    assert gpt.seconds_left == pytest.approx(35)
    shown = [(preview.stage, preview.name, preview.step) for preview in state.previews]
    assert shown == [("gpt", "samples", 20), ("vae", "reconstruction", 4)]
    assert all(preview.video.is_file() and preview.sheet.is_file() for preview in state.previews)
    assert [(checkpoint.stage, checkpoint.step) for checkpoint in state.checkpoints] == [("gpt", 20)]


def test_a_value_that_was_not_finite_is_left_out(run):
    with run.metrics.open("a") as file:
        file.write('\n{"stage": "gpt", "step": 40, "time": 1, "train/loss_gpt": null}\n')
        file.write('{"stage": "gpt", "step": 50, "time": 1, "train/loss_gpt": NaN}\n')
        file.write('{"stage": "gpt", "step": 60, "time": 1, "train/loss_gpt": Infinity}\n')
    state = read_run(run.path)
    gpt = next(stage for stage in state.stages if stage.name == "gpt")
    assert gpt.curves["train/loss_gpt"][-1] == (30, 30.0)
    assert run_page.curves(state, everything=True).count("<svg") == 3


def test_lines_that_are_no_records_are_passed_over(run):
    before = read_run(run.path)
    with run.metrics.open("ab") as file:
        file.write(
            b'\n\xff\xfe\n{"stage": ["gpt"], "step": 1, "time": 2}\n{"stage": "gpt", "step": "1", "time": "2"}\n[]\n'
        )
    assert read_run(run.path).stages == before.stages


def test_a_checkpoint_that_goes_while_it_is_looked_at(run, monkeypatch):
    folder = run.checkpoints("gpt") / "step-00000010"
    folder.mkdir()
    stat = Path.stat

    def gone(path, **options):
        if path == folder:
            raise FileNotFoundError(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    assert [checkpoint.step for checkpoint in read_run(run.path).checkpoints] == [20]


@pytest.mark.parametrize("text", ["[1]", '{"settings": []}'])
def test_settings_that_are_none(run, text):
    run.config.write_text(text)
    with pytest.raises(UserError, match="holds no settings of a training"):
        read_run(run.path)


def test_the_page_of_a_run(run):
    state = read_run(run.path)
    status = run_page.status(state)
    assert "toy on my &lt;videos&gt;: <b>training" in status
    assert "30 of 100" in status
    assert "width:30.0%" in status
    assert "gpt 20 (" in status
    losses, everything = run_page.curves(state), run_page.curves(state, everything=True)
    assert losses.index("<h3>gpt") < losses.index("<h3>vae")
    assert (losses.count("<svg"), everything.count("<svg")) == (2, 3)
    assert run_page.previews(state).count('<video src="data:video/mp4;base64,') == 2


def test_a_run_that_has_only_begun(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.start({"recipe": "toy", "family": "glober", "data": "d", "settings": {}}, resume=False)
    state = read_run(folder.path)
    assert "nothing recorded yet" in run_page.status(state)
    assert run_page.previews(state) == ""


def test_folders_that_are_no_runs(tmp_path, weights, shelf):
    for folder in (tmp_path, tmp_path / "none", weights / "tats"):
        with pytest.raises(UserError, match="is not a run folder"):
            read_run(folder)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_run(tmp_path)


def test_a_run_becomes_a_model_when_it_is_finished(run, weights, shelf):
    watching = Shelf([str(run.path)])
    assert watching.runs == [str(run.path)]
    assert list(watching.models()) == ["glober", "recall", "tats"]
    shutil.copytree(weights / "tats", run.model)
    assert list(watching.models()) == [str(run.path), "glober", "recall", "tats"]
    assert watching.model(str(run.path)).family == "tats"
    assert "finished" in run_page.status(read_run(run.path))
    shutil.rmtree(run.model)
    assert str(run.path) not in watching.models()


def test_names_that_are_neither(shelf, tmp_path):
    with pytest.raises(UserError, match="is not a model"):
        Shelf([str(tmp_path)])
    with pytest.raises(UserError, match="no model 'tast'; did you mean 'tats'"):
        Shelf(["tast"])


def test_a_curve_goes_where_its_values_are():
    svg = curve_svg("a<b", [(10, 0.0), (20, 4.0), (30, 1.0)])
    points = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="(.*?)"', svg)[1].split()]
    (x1, y1), (x2, y2), (x3, y3) = points
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert (y1 - y2) == pytest.approx(4 * (y1 - y3), abs=0.2)
    assert 0 <= y2 < y3 < y1 <= HEIGHT
    assert "a&lt;b" in svg
    assert "<b>1</b>" in svg
    curve_svg("one point", [(1, 0.0)])


def test_long_curves_are_thinned_to_means():
    points = [(step, float(step % 2)) for step in range(1000)]
    few = thinned(points, 10)
    assert few[0] == (49.5, 0.5)
    assert len(few) == 10
    assert thinned(points[:7], 10) == points[:7]
