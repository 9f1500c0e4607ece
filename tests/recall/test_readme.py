"""The example in the family's README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from toy_sampling import noise_video, pipeline

import longtake
import longtake.recall
from longtake.video import read_video, write_video

README = Path(longtake.recall.__file__).with_name("README.md")


def test_latent_arithmetic(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(longtake, "load", lambda _: pipeline("r2"))
    for seed, name in enumerate(("bend", "wave")):
        write_video(tmp_path / f"{name}.mp4", noise_video(20, 48, 32, seed), 10)
    exec(code, {})
    made = {name: read_video(tmp_path / f"{name}.mp4") for name in ("swapped", "other", "halfway", "total")}
    assert {video.shape for video in made.values()} == {(16, 16, 16, 3)}
    assert len({video.tobytes() for video in made.values()}) == 4
