import warnings

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import (
    BiasWarning,
    bias_note,
    feature_statistics,
    frechet_distance,
    frechet_distance_by_segment,
    frechet_distance_from_statistics,
    frechet_distance_infinite,
    relative_to_first,
)

pytestmark = pytest.mark.filterwarnings("ignore::longtake.metrics.BiasWarning")


def features(seed, num, dim, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (num, dim))


def with_moments(seed, num, mean, deviations):
    """Samples whose mean is exactly `mean` and whose covariance over n is exactly diag(deviations^2)."""
    values = features(seed, num, len(mean))
    values = np.linalg.qr(values - values.mean(0))[0] * np.sqrt(num)  # orthogonal columns of mean 0
    return values * deviations + mean


@pytest.mark.parametrize(("ddof", "form"), [(1, "unbiased"), (0, "biased")])
def test_reference_distances_of_features(pairs_of_features, expected, ddof, form):
    for name, (real, fake) in pairs_of_features.items():
        found = frechet_distance(real, fake, ddof, allow_unequal=True)
        assert found == pytest.approx(expected["fd"][name][f"nuclear_norm_{form}"], rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize(("ddof", "form"), [(1, "unbiased"), (0, "biased")])
def test_reference_distances_of_saved_statistics(pairs_of_features, expected, ddof, form):
    for name, (real, fake) in pairs_of_features.items():
        found = frechet_distance_from_statistics(*feature_statistics(real, ddof), *feature_statistics(fake, ddof))
        assert found == pytest.approx(expected["fd"][name][f"nuclear_norm_{form}"], rel=1e-9, abs=1e-9), name
        assert found == pytest.approx(expected["fd"][name][f"eigh_{form}"], abs=1e-3), name


def test_reference_matrix_roots_of_the_public_tools(pairs_of_features, expected):
    forms = {
        1: ("commonmetrics_sqrtm_float64_unbiased", "g3an_sqrtm_float64_unbiased", "eigvals_unbiased"),
        0: ("styleganv_sqrtm_float64_biased",),
    }
    for name, (real, fake) in pairs_of_features.items():
        for ddof, keys in forms.items():
            found = frechet_distance(real, fake, ddof, allow_unequal=True)
            for key in keys:
                assert found == pytest.approx(expected["fd"][name][key], abs=1e-3), (name, key)


def test_reference_form_of_tats(pairs_of_features, expected):
    """TATS takes no root of singular values below 1e-10: that rule alone is between its value and the exact one."""
    for name, (real, fake) in pairs_of_features.items():
        found = frechet_distance(real, fake, 1, allow_unequal=True)
        tats = expected["fd"][name]["tats_svd_float64_unbiased"]
        if "fullrank" not in name:
            assert found == pytest.approx(tats, rel=1e-6, abs=1e-9), name
            continue
        covariances = [feature_statistics(each)[1] for each in (real, fake)]
        squares = np.linalg.eigvals(covariances[0] @ covariances[1]).real
        left_out = np.where(np.abs(squares) < 1e-10, np.sqrt(np.abs(squares)) - np.abs(squares), 0).sum()
        assert found + 2 * left_out == pytest.approx(tats, rel=1e-7), name


def test_reference_parts_of_the_distance(pairs_of_features, expected):
    for name, (real, fake) in pairs_of_features.items():
        (mean_x, covariance_x), (mean_y, covariance_y) = feature_statistics(real), feature_statistics(fake)
        parts = expected["fd"][name]
        assert np.square(mean_x - mean_y).sum() == pytest.approx(parts["mean_term"], rel=1e-9), name
        assert np.trace(covariance_x) == pytest.approx(parts["trace_real_unbiased"], rel=1e-9), name
        assert np.trace(covariance_y) == pytest.approx(parts["trace_fake_unbiased"], rel=1e-9), name


def test_reference_distance_far_from_the_origin(vectors, expected):
    real, fake = (vectors[name] + np.float32(300) for name in ("real_fullrank", "fake_fullrank"))
    found = frechet_distance(real, fake, 0, allow_unequal=True)
    assert found == pytest.approx(expected["fd"]["offset300_fullrank"]["float64_centred"], rel=1e-6)


def test_reference_bias_of_few_samples(expected):
    """What two sets of one distribution give falls about as 1 / N once N > D, in the stored table and here."""
    stored = {int(num): value for num, value in expected["bias_same_distribution_FD_by_N"].items()}
    fewer, most = sorted(stored)[-2:]
    assert stored[fewer] / stored[most] == pytest.approx(most / fewer, rel=0.05)
    few, many = (frechet_distance(features(0, num, 16), features(1, num, 16)) for num in (200, 400))
    assert few / many == pytest.approx(2, rel=0.35)


@pytest.mark.parametrize("ddof", [0, 1])
def test_diagonal_gaussians(ddof):
    """Independent features: FD = sum (mu_x - mu_y)^2 + (sigma_x - sigma_y)^2."""
    num, mean_x, mean_y = 30, np.array([1.0, -2, 0.5]), np.array([0.0, 3, 0.5])
    deviations_x, deviations_y = np.array([0.5, 2, 1]), np.array([1.5, 1, 0.25])
    x, y = with_moments(0, num, mean_x, deviations_x), with_moments(1, num, mean_y, deviations_y)
    spread = np.square(deviations_x - deviations_y).sum() * num / (num - ddof)
    assert frechet_distance(x, y, ddof) == pytest.approx(26 + spread, rel=1e-12)
    statistics = mean_x, np.diag(deviations_x**2), mean_y, np.diag(deviations_y**2)
    found = frechet_distance_from_statistics(*statistics)
    assert found == pytest.approx(26 + np.square(deviations_x - deviations_y).sum(), rel=1e-12)


def test_one_feature_and_singular_covariances():
    x, y = features(0, 9, 1), features(1, 9, 1, 2, 3)
    assert frechet_distance(x, y, 0) == pytest.approx((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)
    still = np.ones((4, 3))
    assert frechet_distance(still, still + 2) == pytest.approx(12)
    # one side singular in some directions, against the root of the covariances' product
    x, y = features(0, 5, 8), features(1, 5, 8)
    covariances = np.cov(x.T), np.cov(y.T)
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    slow = np.square(x.mean(0) - y.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * roots
    assert frechet_distance(x, y) == pytest.approx(slow, rel=1e-6)


def test_statistics_are_numpys():
    x = features(0, 20, 4)
    for ddof in (0, 1):
        mean, covariance = feature_statistics(x, ddof)
        np.testing.assert_allclose(mean, x.mean(0))
        np.testing.assert_allclose(covariance, np.cov(x.T, ddof=ddof))


def test_unequal_sets_are_refused_unless_asked_for():
    x, y = features(0, 20, 4), features(1, 15, 4)
    with pytest.raises(UserError, match="20 and 15 samples"):
        frechet_distance(x, y)
    assert frechet_distance(x, y, allow_unequal=True) > 0


def test_small_sets_are_warned_of():
    assert bias_note(401, 400) is None
    assert "N = 400 samples for D = 400" in bias_note(400, 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BiasWarning)
        frechet_distance(features(0, 5, 4), features(1, 5, 4))
    with pytest.warns(BiasWarning, match="N = 4 samples") as caught:
        frechet_distance(features(0, 4, 4), features(1, 4, 4))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(5), r"shape \(n d\), not \(5,\)"),
        (np.zeros((5, 3, 1)), "must have shape"),
        (np.zeros((5, 0)), "must have shape"),
        (np.zeros((1, 3)), "1 sample is too few"),
        (np.full((5, 3), np.nan), "15 values are NaN"),
        (np.full((5, 3), np.inf), "15 values are NaN or infinite"),
        (np.zeros((5, 4)), "same width, not 4 and 3"),
        ([["a"]], "must be numbers"),
    ],
)
def test_features_that_cannot_be_compared(x, message):
    with pytest.raises(UserError, match=message):
        frechet_distance(x, np.zeros((5, 3)))


@pytest.mark.parametrize("ddof", [2, -1, 0.5, "tats"])
def test_unknown_ddof(ddof):
    with pytest.raises(UserError, match="ddof must be"):
        frechet_distance(features(0, 5, 3), features(1, 5, 3), ddof)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.eye(3), "square covariance"),
        (np.ones((2, 3)), "square covariance"),
        (np.array([[1.0, 2], [0, 1]]), "symmetric"),
        (np.array([[1.0, 0], [0, -1]]), "negative"),
        (np.array([[1.0, 0], [0, np.nan]]), "finite"),
    ],
)
def test_covariances_that_are_none(covariance, message):
    with pytest.raises(UserError, match=message):
        frechet_distance_from_statistics(np.zeros(2), covariance, np.zeros(2), np.eye(2))


def test_statistics_of_different_widths():
    with pytest.raises(UserError, match="not 2 and 3"):
        frechet_distance_from_statistics(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))


def test_extrapolation_takes_the_bias_away():
    """Two Gaussians a distance of 1 apart: at N = 400 the distance is much more than 1, at infinity it is about 1."""
    x, y = features(0, 400, 24), features(1, 400, 24)
    y[:, 0] += 1
    line = frechet_distance_infinite(x, y)
    assert frechet_distance(x, y) > 1.5
    assert line.value == pytest.approx(1, abs=0.25)
    assert line.slope > 0
    assert (line.sizes[0], line.sizes[-1], len(line.sizes)) == (100, 400, 15)
    assert line.distances[-1] == pytest.approx(frechet_distance(x, y))
    np.testing.assert_allclose(np.polyfit(1 / line.sizes, line.distances, 1), [line.slope, line.value])
    assert frechet_distance_infinite(x, y).value == line.value
    assert frechet_distance_infinite(x, y, seed=1).value != line.value


def test_extrapolation_takes_unequal_sets_but_not_tiny_ones():
    assert frechet_distance_infinite(features(0, 40, 3), features(1, 30, 3)).sizes.max() == 30
    with pytest.raises(UserError, match="at least 8"):
        frechet_distance_infinite(features(0, 7, 3), features(1, 7, 3))
    with pytest.raises(UserError, match="at least 2 sizes"):
        frechet_distance_infinite(features(0, 9, 3), features(1, 9, 3), num_sizes=1)
    with pytest.warns(BiasWarning, match="N = 10"):
        frechet_distance_infinite(features(0, 40, 10), features(1, 40, 10))


def test_curve_by_segment_is_the_distance_of_each():
    real, fake = features(0, 20, 4), np.stack([features(t, 20, 4, mean=t) for t in range(1, 4)], axis=1)
    for ddof in (0, 1):
        curve = frechet_distance_by_segment(real, fake, ddof)
        np.testing.assert_allclose(curve, [frechet_distance(real, fake[:, t], ddof) for t in range(3)])
    np.testing.assert_allclose(relative_to_first(curve), curve / curve[0])
    with pytest.raises(UserError, match="20 and 19"):
        frechet_distance_by_segment(real, fake[:19])
    with pytest.raises(UserError, match="shape"):
        frechet_distance_by_segment(real, fake[:, 0])
    with pytest.raises(UserError, match="starts at 0"):
        relative_to_first([0, 1])
