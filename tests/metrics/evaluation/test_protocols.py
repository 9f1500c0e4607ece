"""The table of protocols against what the public code does."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.metrics import INCEPTION_SCORE_PROTOCOLS
from longtake.metrics.evaluation.clip_list import Clip
from longtake.metrics.evaluation.protocols import PROTOCOLS


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        # frames, strides, resize, ddof, count, starts, trials
        ("tats", (16, 1, 1, "squash", 1, 2048, "random", "first", 1)),
        ("digan", (16, 1, 1, "crop", 1, 2048, "random", "first", 10)),
        ("styleganv", (16, 1, 1, "squash", 0, 2048, "random", "first", 1)),
        ("styleganv-128", (128, 1, 1, "squash", 0, 2048, "random", "first", 1)),
        ("styleganv-subsample8", (16, 8, 8, "squash", 0, 2048, "random", "first", 1)),
        ("latte", (16, 3, 1, "squash", 0, 2048, "random", "first", 1)),
        ("glober", (16, 1, 1, "squash", 0, 2048, "random", "first", 1)),
        ("g3an", (16, 1, 1, "squash", 1, 5000, "centre", "centre", 1)),
    ],
)
def test_published_protocols(name, facts):
    row = PROTOCOLS[name]
    found = (row.frames, row.real_stride, row.fake_stride, row.resize, row.ddof, row.count)
    assert (*found, row.real_start, row.fake_start, row.trials) == facts


def test_every_protocol_is_complete():
    for name, row in PROTOCOLS.items():
        assert row.inception_score in INCEPTION_SCORE_PROTOCOLS, name
        assert row.rounding == ("truncate" if name in ("tats", "digan") else "round")
        assert row.features == ("resnext3d" if name == "g3an" else "i3d")
        sorted_reals = name.startswith("styleganv") or name in ("latte", "glober")
        assert any("sorted order" in note for note in row.deviations) == sorted_reals


def test_a_clip_holds_output_frames_whatever_its_stride():
    np.testing.assert_array_equal(Clip("x", 5, 3, 4).indices, [5, 8, 11, 14])
