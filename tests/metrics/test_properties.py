"""What must hold for any features and probabilities at all."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from longtake import metrics
from longtake.metrics import (
    ccs,
    feature_statistics,
    frechet_distance,
    frechet_distance_from_statistics,
    ics_kl_0_t,
    ics_kl_t_0,
    inception_score,
    jedi_distance,
    kernel_distance,
)

pytestmark = pytest.mark.filterwarnings("ignore::longtake.metrics.BiasWarning")

MODEST = settings(max_examples=40, deadline=None)
VALUES = st.floats(-100, 100, width=32)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def pairs(draw):
    """Two sets of features of the same size, with more or fewer samples than features."""
    shape = draw(st.integers(2, 8)), draw(st.integers(1, 6))
    return draw(arrays.arrays(np.float32, shape, elements=VALUES)), draw(
        arrays.arrays(np.float32, shape, elements=VALUES)
    )


@st.composite
def distributions(draw, num_axes=2):
    """Probabilities over the last axis, zeros among them."""
    shape = (*(draw(st.integers(1, 6)) for _ in range(num_axes - 1)), draw(st.integers(2, 6)))
    weights = draw(arrays.arrays(np.float64, shape, elements=st.floats(0, 1, width=16)))
    weights[..., 0] += 1e-3
    return weights / weights.sum(-1, keepdims=True)


def scale(*sets):
    """What rounding is relative to: the traces and means that cancel in a Frechet distance."""
    return 1 + sum(float(np.square(each.astype(np.float64)).sum()) for each in sets)


def rotation(seed, dim):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


@MODEST
@given(pairs())
def test_frechet_distance_of_a_set_from_itself_is_0(pair):
    assert frechet_distance(pair[0], pair[0]) == pytest.approx(0, abs=1e-12 * scale(pair[0]))


@MODEST
@given(pairs(), st.sampled_from([0, 1]))
def test_distances_are_symmetric_and_not_negative(pair, ddof):
    x, y = pair
    forward, back = frechet_distance(x, y, ddof), frechet_distance(y, x, ddof)
    assert forward == pytest.approx(back, abs=1e-12 * scale(x, y))
    assert forward >= 0
    size = (1 + scale(x, y)) ** 3  # of the cubic kernel
    assert kernel_distance(x, y) == pytest.approx(kernel_distance(y, x), abs=1e-12 * size)
    assert jedi_distance(x, y) == pytest.approx(jedi_distance(y, x), abs=1e-12 * size)
    assert jedi_distance(x, y) >= 0


@MODEST
@given(pairs(), SEEDS)
def test_distances_do_not_depend_on_axes_or_order(pair, seed):
    x, y = (each.astype(np.float64) for each in pair)
    turn = rotation(seed, x.shape[1])
    rng = np.random.default_rng(seed)
    moved = rng.permutation(x) @ turn, rng.permutation(y) @ turn
    assert frechet_distance(*moved) == pytest.approx(frechet_distance(x, y), abs=1e-11 * scale(x, y))
    size = (1 + scale(x, y)) ** 3
    assert kernel_distance(*moved) == pytest.approx(kernel_distance(x, y), abs=1e-12 * size)
    assert jedi_distance(*moved) == pytest.approx(jedi_distance(x, y), abs=1e-12 * size)


@MODEST
@given(pairs(), SEEDS)
def test_frechet_distance_of_a_shifted_set_is_the_shift_squared(pair, seed):
    x = pair[0].astype(np.float64)
    shift = np.random.default_rng(seed).normal(size=x.shape[1])
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, abs=1e-11 * scale(x))


@MODEST
@given(pairs(), st.sampled_from([0, 1]))
def test_statistics_say_the_same_as_features(pair, ddof):
    x, y = pair
    found = frechet_distance_from_statistics(*feature_statistics(x, ddof), *feature_statistics(y, ddof))
    # an eigenvalue lost in rounding (1e-16 of the largest) takes its root with it (1e-8)
    assert found == pytest.approx(frechet_distance(x, y, ddof), abs=1e-6 * scale(x, y))


@MODEST
@given(distributions(), st.sampled_from(["tgan2", "tats"]))
def test_inception_score_lies_between_1_and_the_number_of_classes(rows, protocol):
    found = inception_score(rows, protocol)
    assert 1 - 1e-9 <= found.mean <= rows.shape[1] + 1e-9
    assert -1e-12 <= found.intra_entropy <= found.inter_entropy + 1e-9 <= np.log(rows.shape[1]) + 2e-9
    assert found.mean == pytest.approx(np.exp(found.inter_entropy - found.intra_entropy), rel=1e-9)


@MODEST
@given(distributions(), SEEDS)
def test_inception_score_in_one_split_does_not_depend_on_order(rows, seed):
    rng = np.random.default_rng(seed)
    moved = rng.permutation(rng.permutation(rows, axis=0), axis=1)
    assert inception_score(moved).mean == pytest.approx(inception_score(rows).mean, rel=1e-9)


@MODEST
@given(distributions(num_axes=3))
def test_coherence_starts_whole(videos):
    assert ccs(videos)[0] == 1
    assert ((ccs(videos) >= 0) & (ccs(videos) <= 1)).all()
    for divergence in (ics_kl_t_0(videos), ics_kl_0_t(videos)):
        assert divergence[0] == 0
        assert (divergence >= -1e-12).all()


def test_formulas_do_without_torch():
    code = (
        "import sys, longtake.metrics; assert 'torch' not in sys.modules, 'torch'; longtake.metrics.psnr; sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_every_public_name_is_there():
    assert all(callable(getattr(metrics, name)) or name.isupper() for name in metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fvd'"):
        _ = metrics.fvd
