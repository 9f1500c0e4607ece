import re

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import jedi_distance, kernel, kernel_distance, kernel_distance_subsets

SUBSETS = re.compile(r"styleganv_kid_x1000_float64_subsets(?P<num>\d+)_(size(?P<size>\d+)|full)_seed(?P<seed>\d+)")


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 3)), rng.normal(0.5, 2, size=(5, 3))


def stored_distances(expected):
    return {name: forms for name, forms in expected["kvd"].items() if name in expected["fd"]}


def test_reference_kernel_distances(pairs_of_features, expected):
    for name, forms in stored_distances(expected).items():
        found = kernel_distance(*pairs_of_features[name])
        for form in ("tats_polynomial_mmd_float64", "explicit_cubic_mmd_float64"):
            assert found == pytest.approx(forms[form], rel=1e-9), (name, form)


def test_reference_kernel_distances_of_subsets(pairs_of_features, expected):
    """The stored names say how many subsets, of which size and seed."""
    num_checked = 0
    for name, forms in stored_distances(expected).items():
        for form in filter(None, map(SUBSETS.fullmatch, forms)):
            real, fake = pairs_of_features[name]
            if not form["size"]:  # the stored whole-set value is of the first of each, equally many
                real, fake = real[: len(fake)], fake[: len(real)]
            found = kernel_distance_subsets(
                real,
                fake,
                num_subsets=int(form["num"]),
                subset_size=int(form["size"] or len(real)),
                seed=int(form["seed"]),
            )
            assert found == pytest.approx(forms[form[0]], rel=1e-9), (name, form[0])
            num_checked += 1
    assert num_checked == 2 * len(stored_distances(expected))


def test_reference_jedi_distances(pairs_of_features, expected):
    for name, stored in expected["kvd"]["jedi_formula_x100"].items():
        pair = next(pair for full_name, pair in pairs_of_features.items() if full_name.startswith(name))
        assert jedi_distance(*pair, allow_unequal=True) == pytest.approx(stored, rel=1e-9, abs=1e-9), name


def test_kernel_distance_pair_by_pair(sets):
    x, y = sets

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * between, rel=1e-12)


def test_jedi_distance_compares_second_moments(sets):
    """(a.b / d)^2 is the product of the outer products: biased MMD^2 = |E xx' - E yy'|^2 / d^2."""
    x, y = sets
    difference = x.T @ x / len(x) - y.T @ y / len(y)
    found = jedi_distance(x, y, allow_unequal=True)
    assert found == pytest.approx(100 * np.square(difference / 3).sum(), rel=1e-12)
    with pytest.raises(UserError, match="7 and 5"):
        jedi_distance(x, y)


def test_sums_do_not_depend_on_how_many_rows_are_taken_at_once(sets, monkeypatch):
    whole = kernel_distance(*sets)
    monkeypatch.setattr(kernel, "ROWS_AT_ONCE", 2)
    assert kernel_distance(*sets) == pytest.approx(whole, rel=1e-12)


def test_subsets_have_the_mean_of_the_whole(sets):
    x, y = sets
    found = kernel_distance_subsets(x, y, num_subsets=4000, subset_size=4)
    assert found == pytest.approx(1000 * kernel_distance(x, y), rel=0.05)
    assert kernel_distance_subsets(x, y, seed=1, subset_size=4) != kernel_distance_subsets(x, y, seed=2, subset_size=4)


def test_kernel_distances_that_cannot_be(sets):
    x, y = sets
    with pytest.raises(UserError, match="too few"):
        kernel_distance(x[:1], y)
    with pytest.raises(UserError, match="NaN"):
        kernel_distance(x, y * np.nan)
    with pytest.raises(UserError, match="at least 1 subset"):
        kernel_distance_subsets(x, y, num_subsets=0)
    with pytest.raises(UserError, match="of 1"):
        kernel_distance_subsets(x, y, subset_size=1)
    for seed in (-1, 2**32, 0.5):
        with pytest.raises(UserError, match="seed must be a whole number from 0 to 4294967295"):
            kernel_distance_subsets(x, y, seed=seed)


@pytest.mark.parametrize("distance", [kernel_distance, kernel_distance_subsets, jedi_distance])
@pytest.mark.filterwarnings("error")
def test_kernels_that_no_double_can_hold(sets, distance):
    x = 1e100 * sets[0][:5]
    with pytest.raises(UserError, match=r"features reach .*e\+1\d\d, and a kernel of them is more than a double"):
        distance(x, sets[1])
    assert np.isfinite(distance(1e-60 * x, sets[1]))
