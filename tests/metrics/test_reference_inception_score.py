import re

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import InceptionScoreProtocol, inception_score

STORED = re.compile(
    r"(?P<tool>[a-z0-9]+)_(?P<splits>\d+)splits?(_(shuffle(?P<seed>\d+)|noshuffle))?_float(?P<bits>\d+)"
)


def test_reference_scores(vectors, expected):
    """The stored names say tool, splits, shuffle and precision."""
    forms = {name: STORED.fullmatch(name) for name in expected["inception_score"]}
    assert sum(form is not None for form in forms.values()) >= 5
    for name, form in forms.items():
        if form is None:
            continue
        protocol = InceptionScoreProtocol(
            num_splits=int(form["splits"]),
            shuffle_seed=int(form["seed"]) if form["seed"] else None,
            eps=1e-20 if form["tool"] == "tgan2" else 0,
        )
        found = inception_score(vectors["probs"], protocol)
        tolerance = 1e-9 if form["bits"] == "64" else 1e-5
        stored = expected["inception_score"][name]
        np.testing.assert_allclose((found.mean, found.std), stored, rtol=tolerance, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("styleganv", "styleganv_10splits_shuffle42_float64"),
        ("tgan2", "tgan2_1split_float64"),
        ("tats", "tgan2_1split_float64"),
        ("tgan", "tgan1_eps1e-7_1split_float64"),
    ],
)
def test_reference_protocols_by_name(vectors, expected, protocol, name):
    found = inception_score(vectors["probs"], protocol)
    assert found.mean == pytest.approx(np.ravel(expected["inception_score"][name])[0], rel=1e-9)


def test_reference_score_is_the_difference_of_the_entropies(vectors, expected):
    found = inception_score(vectors["probs"])
    score = np.exp(found.inter_entropy - found.intra_entropy)
    assert score == pytest.approx(expected["inception_score"]["tgan2_1split_float64"][0], rel=1e-6)


def test_score_by_hand():
    rows = np.array([[0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    marginal = rows.mean(0)
    divergences = [sum(p * np.log(p / q) for p, q in zip(row, marginal, strict=True) if p > 0) for row in rows]
    found = inception_score(rows)
    assert found.mean == pytest.approx(np.exp(np.mean(divergences)))
    assert found.inter_entropy == pytest.approx(-(marginal * np.log(marginal)).sum())
    assert found.intra_entropy == pytest.approx((np.log(2) + 1.5 * np.log(2)) / 2)


@pytest.mark.parametrize("protocol", ["tgan", "tgan2", "tats", "styleganv"])
def test_bounds_are_reached(protocol):
    num_classes = 4
    # 16 of each class, in an order that gives every split as many of each as can be
    sure = np.tile(np.eye(num_classes), (16, 1))
    unsure = np.full((64, num_classes), 1 / num_classes)
    assert inception_score(unsure, protocol).mean == pytest.approx(1)
    if protocol != "styleganv":  # shuffled splits of 6 do not hold every class equally often
        assert inception_score(sure, protocol).mean == pytest.approx(num_classes, rel=1e-5)
    assert 1 < inception_score(sure, protocol).mean < num_classes + 1e-9


def test_splits_are_scored_apart():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 11)
    found = inception_score(rows, InceptionScoreProtocol(num_splits=3))
    parts = [inception_score(part).mean for part in (rows[:3], rows[3:7], rows[7:])]
    np.testing.assert_allclose(found.scores, parts)
    assert (found.mean, found.std) == pytest.approx((np.mean(parts), np.std(parts)))


def test_what_cannot_be_scored():
    with pytest.raises(UserError, match="did you mean 'styleganv'"):
        inception_score(np.eye(2), "stylegan")
    with pytest.raises(UserError, match="softmax"):
        inception_score(np.array([[2.0, -1]]))
    with pytest.raises(UserError, match="softmax"):
        inception_score(np.ones((3, 3)))
    with pytest.raises(UserError, match="2 videos cannot make 10 splits"):
        inception_score(np.eye(2), "styleganv")
    with pytest.raises(UserError, match="num_splits"):
        inception_score(np.eye(2), InceptionScoreProtocol(num_splits=0))
    with pytest.raises(UserError, match="eps must be at least 0"):
        inception_score(np.eye(2), InceptionScoreProtocol(eps=-1e-7))
    with pytest.raises(UserError, match="seed must be"):
        inception_score(np.eye(2), InceptionScoreProtocol(shuffle_seed=2**32))
    with pytest.raises(UserError, match="shape"):
        inception_score(np.ones(3) / 3)
    with pytest.raises(UserError, match="too few"):
        inception_score(np.ones((0, 3)))
    with pytest.raises(UserError, match="NaN"):
        inception_score(np.full((3, 3), np.nan))
