import re

import pytest

from longtake import models
from longtake.cli import demo
from longtake.video import VideoReader


@pytest.fixture
def shipped(monkeypatch, tmp_path, glober):
    """One shipped model, which is the tiny pipeline."""
    weights = tmp_path / "weights"
    glober.save_pretrained(weights / "glober-tiny")
    monkeypatch.setattr(models, "WEIGHTS", weights)
    shots = (demo.Shot("real-time", "real time"), demo.Shot("slow-motion", "slow <motion>", 12, {"stretch": True}))
    monkeypatch.setitem(demo.SHOTS, "glober", shots)


def test_videos_sheets_and_page(longtake, shipped, tmp_path):
    out = tmp_path / "out"
    outcome = longtake("demo", "--out", out, "--seed", 2)
    assert outcome.status == 0, outcome.err
    names = {"glober-tiny-real-time", "glober-tiny-slow-motion"}
    assert {path.name for path in out.iterdir()} == {f"{n}.{s}" for n in names for s in ("mp4", "png")} | {"index.html"}
    for name, num_frames in (("real-time", 8), ("slow-motion", 12)):
        with VideoReader(out / f"glober-tiny-{name}.mp4") as reader:
            assert reader.info.num_frames == num_frames
    page = (out / "index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert (out / link).is_file()  # relative, so the page works from the disk
    assert "label walk · seed 2 · 12 frames · 0.5 s at 25 fps" in page
    assert "slow &lt;motion&gt;" in page
    assert str(out / "index.html") in outcome.out


def test_every_family_that_can_ship_has_a_demo():
    assert set(demo.SHOTS) == {family for family, _ in models.FAMILIES.values()}


def test_without_models(longtake, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "WEIGHTS", tmp_path / "weights")
    assert longtake("demo", "--out", tmp_path / "out").error_line.startswith("no model ships with this version")
    assert not (tmp_path / "out").exists()
    assert "no model ships" in longtake("models").out


def test_models_are_listed_without_loading_them(longtake, shipped):
    text = longtake("models").out
    assert "glober-tiny" in text
    assert "bend, jump, walk, wave2" in text
