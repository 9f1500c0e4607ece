import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import bootstrap_interval, frechet_distance


def test_interval_of_a_mean_is_the_textbooks():
    sample = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_interval(np.mean, sample, num_resamples=2000)
    error = sample.std(ddof=1) / 20
    assert found.value == sample.mean()
    assert found.std == pytest.approx(error, rel=0.06)
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.03)
    assert found.bias == pytest.approx(0, abs=0.01)


def test_interval_holds_the_true_mean_as_often_as_the_textbooks():
    rng = np.random.default_rng(0)
    held, held_by_textbook = [], []
    for seed in range(200):
        sample = rng.normal(size=100)
        interval = bootstrap_interval(np.mean, sample, confidence=0.8, num_resamples=200, seed=seed)
        held.append(interval.low <= 0 <= interval.high)
        held_by_textbook.append(abs(sample.mean()) <= 1.2816 * sample.std(ddof=1) / 10)
    assert np.equal(held, held_by_textbook).mean() > 0.9
    assert np.mean(held) == pytest.approx(np.mean(held_by_textbook), abs=0.05)


def test_interval_of_a_biased_distance_holds_its_value():
    """Rows that repeat make resampled distances larger; the width must still be that of independent draws."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(80, 16)), rng.normal(0.5, 1, (80, 16))

    distances = [frechet_distance(*draw(seed)) for seed in range(100)]
    found = bootstrap_interval(frechet_distance, *draw(0), num_resamples=300)
    assert found.low + found.bias > found.value  # without the shift the interval would not hold it
    assert found.low < found.value < found.high
    assert (found.low + found.high) / 2 == pytest.approx(found.value, abs=0.5 * found.std)
    assert found.std == pytest.approx(np.std(distances), rel=0.35)


def test_what_no_distance_can_be_is_cut_off_and_the_truth_is_held_as_often():
    """Two sets of one distribution: about 0, from which the shift carries the lower bound away."""
    held, held_when_cut, cut = [], [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        samples = rng.normal(size=(40, 2)), rng.normal(0.2, 1, (40, 2))
        whole = bootstrap_interval(frechet_distance, *samples, confidence=0.8, num_resamples=50, seed=seed)
        part = whole.within(0, np.inf)
        assert (part.low, part.high) == (max(0, whole.low), whole.high)
        assert part.low <= part.value == whole.value
        cut += whole.low < 0
        held.append(whole.low <= 0.08 <= whole.high)
        held_when_cut.append(part.low <= 0.08 <= part.high)
    assert cut > 10
    assert held == held_when_cut
    assert whole.within(whole.high + 1, np.inf).high == whole.high + 1
    assert whole.within(-1, whole.low - 1).low == whole.low - 1


def test_paired_rows_stay_together():
    x = np.random.default_rng(0).normal(size=(50, 2))
    found = bootstrap_interval(lambda a, b: np.abs(a - b).max(), x, x, paired=True, num_resamples=20)
    assert (found.low, found.high) == (0, 0)
    apart = bootstrap_interval(lambda a, b: np.abs(a - b).max(), x, x, num_resamples=20)
    assert apart.high > apart.low
    with pytest.raises(UserError, match="50 and 49"):
        bootstrap_interval(frechet_distance, x, x[1:], paired=True)


def test_seed_decides():
    sample = np.arange(20.0)
    first, again, other = (bootstrap_interval(np.mean, sample, num_resamples=50, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.low != other.low


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ([], {}, "at least 2"),
        ([[1.0]], {}, "at least 2"),
        ([1.0], {}, "at least 2"),
        ([[1.0, 2]], {"confidence": 95}, "not 95"),
        ([[1.0, 2]], {"num_resamples": 1}, "not 1"),
        ([[1.0, np.nan]], {}, "finite"),
    ],
)
def test_what_cannot_be_resampled(arguments, settings, message):
    with pytest.raises(UserError, match=message):
        bootstrap_interval(np.mean, *arguments, **settings)
