"""Features from files: the same numbers as from videos, and no file that is not what it says."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import feature_statistics, frechet_distance
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.evaluation.feature_files import read_feature_file

QUICK = EvaluationConfig(frames=4, resamples=0)


def rows(seed, num=20, dim=3):
    return np.random.default_rng(seed).normal(seed, 1, (num, dim))


@pytest.fixture
def save(tmp_path):
    def write(name, **arrays):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return tmp_path / f"{name}.npz"

    return write


def test_saved_features_stand_for_the_videos(folders, network, tmp_path):
    metrics = ("frechet_distance", "kvd", "segments", "ccs", "cosine_by_lag")
    config = replace(QUICK, metrics=metrics, protocol="styleganv", resamples=10)
    report = evaluate(folders["a"], folders["b"], config, network=network)
    files = report.write_features(tmp_path / "saved")
    assert [file.name for file in files] == ["real.npz", "fake.npz"]
    from_files = evaluate(*files, replace(config, frames=None))
    mixed = evaluate(files[0], folders["b"], config, network=network)
    for other in (from_files, mixed):
        assert [number.name for number in other.numbers] == [number.name for number in report.numbers]
        for number in report.numbers:
            assert other.number(number.name).value == pytest.approx(number.value, rel=1e-12)
            assert other.number(number.name).interval.low == pytest.approx(number.interval.low, rel=1e-12)
        for curve in report.curves:
            np.testing.assert_allclose(other.curve(curve.name).values, curve.values)
    saved = read_feature_file(files[0])
    provenance = saved.provenance
    assert (provenance["n"], provenance["frames"], provenance["ddof"], provenance["resize"]) == (16, 4, 0, "squash")
    assert provenance["clips_sha256"] == report.clip_lists["real"].sha256
    np.testing.assert_allclose(saved.statistics.sigma, np.cov(saved.arrays["features"].T, ddof=0))


def test_intervals_of_distances_end_at_zero_and_those_of_unbiased_estimates_do_not(save):
    x, y = np.random.default_rng(0).normal(size=(2, 30, 2, 2))
    sides = [save(name, features=each[:, 0], segments=each) for name, each in (("real", x), ("fake", y))]
    config = EvaluationConfig(metrics=("frechet_distance", "kvd", "segments"), protocol="digan", resamples=50)
    report = evaluate(*sides, config)
    assert report.numbers[0].interval.low == 0 < report.numbers[0].value
    assert report.numbers[1].interval.low < 0
    bounds = [interval.low for interval in report.curves[0].intervals]
    assert min(bounds) == 0


def test_intervals_hold_nothing_that_a_number_cannot_be(save):
    """Sets for which the shifted bootstrap reaches beyond: draws of one thing, nearly certain, of equal shares."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.1, (2, 12, 2))
    certain = 0.97 * np.eye(4)[np.arange(12) % 4] + 0.03 * np.eye(4)[np.arange(12) // 3]
    coherent = np.stack([certain, np.where(np.arange(12)[:, None] < 1, certain[:, ::-1], certain)], axis=1)
    real = save("real", features=x)
    fake = save("fake", features=y, probabilities=certain, segment_probabilities=coherent)
    report = evaluate(real, fake, EvaluationConfig(metrics=("jedi", "is", "ccs", "ics"), resamples=100, seed=3))
    limits = {
        "jedi_mmd[npz]": (0, np.inf),
        "inception_score[npz]": (1, 4),
        "inter_entropy[npz]": (0, np.log(4)),
        "intra_entropy[npz]": (0, np.log(4)),
        "ccs_mean[npz]": (0, 1),
        "ccs[npz]": (0, 1),
        "first_class_probability[npz]": (0, 1),
        "ics_kl_t_0[npz]": (0, np.inf),
        "ics_kl_0_t[npz]": (0, np.inf),
    }
    intervals = [(number.name, number.interval) for number in report.numbers]
    intervals += [(curve.name, interval) for curve in report.curves for interval in curve.intervals]
    assert {name for name, _ in intervals} == set(limits)
    for name, interval in intervals:
        least, most = limits[name]
        assert least <= interval.low <= interval.value <= interval.high <= most, name
    cut = {name for name, interval in intervals if interval.low == limits[name][0] or interval.high == limits[name][1]}
    assert {"jedi_mmd[npz]", "inception_score[npz]", "inter_entropy[npz]", "ccs_mean[npz]", "ics_kl_t_0[npz]"} <= cut


def test_small_splits_and_short_lines_are_noted(save):
    """Where an inception score cannot reach K, and where an extrapolation starts at N <= D."""

    def notes(num, protocol):
        probabilities = np.full((num, 4), 0.25)
        files = (save(name, features=rows(0, num), probabilities=probabilities) for name in ("real", "fake"))
        return evaluate(
            *files, EvaluationConfig(metrics=("is", "frechet_infinite"), protocol=protocol, resamples=0)
        ).notes

    found = notes(15, "styleganv")
    assert any("inception score in 10 splits of 1 clip:" in note and "there are 4 classes" in note for note in found)
    assert any("frechet_infinite starts at N = 3 samples for D = 3 features" in note for note in found)
    found = notes(40, "styleganv")
    assert not any("inception score" in note or "frechet_infinite" in note for note in found)
    assert any("inception score in 10 splits of 3 clips" in note for note in notes(39, "styleganv"))
    assert not any("inception score" in note for note in notes(39, "tats"))


@pytest.mark.parametrize(("saved_ddof", "protocol", "ddof"), [(1, "tats", 1), (1, "styleganv", 0), (0, "tats", 1)])
def test_statistics_stand_for_features(save, saved_ddof, protocol, ddof):
    x, y = rows(0), rows(1)
    mu, sigma = feature_statistics(x, saved_ddof)
    real = save("real", mu=mu, sigma=sigma, n=20, provenance=f'{{"ddof": {saved_ddof}}}')
    config = EvaluationConfig(protocol=protocol, resamples=10)
    report = evaluate(real, save("fake", features=y), config)
    number = report.number("frechet_distance[npz]")
    assert number.value == pytest.approx(frechet_distance(x, y, ddof), rel=1e-9)
    assert number.interval is not None
    assert [each.name for each in report.numbers] == ["frechet_distance[npz]"]  # no KVD without features
    fake = save("statistics", mu=mu + 1, sigma=sigma, n=20, provenance=f'{{"ddof": {saved_ddof}}}')
    assert evaluate(real, fake, config).numbers[0].value == pytest.approx(3)
    with pytest.raises(UserError, match=r"kvd cannot be computed: .* has no features"):
        evaluate(real, fake, replace(config, metrics=("kvd",)))


def test_a_count_draws_rows(save):
    x, y = rows(0), rows(1, num=30)
    real, fake = save("real", features=x), save("fake", features=y)
    with pytest.raises(UserError, match=r"20 clips and .* 30"):
        evaluate(real, fake)
    with pytest.raises(UserError, match=r"20 clips and .* 1, .*: add videos, or ask for it"):
        evaluate(real, save("single", features=y[:1]))
    report = evaluate(real, fake, EvaluationConfig(count=20, resamples=0))
    assert report.numbers[0].conditions["fake"]["n"] == 20
    whole = evaluate(real, fake, EvaluationConfig(allow_unequal=True, resamples=0))
    assert whole.numbers[0].value == pytest.approx(frechet_distance(x, y, allow_unequal=True))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"feats": rows(0)}, "holds feats .known: features"),
        ({"features": rows(0)[0]}, r"features must have shape \(n d\)"),
        ({"features": rows(0) * np.nan}, "must be finite"),
        ({"features": rows(0) * 1e300}, "whose squares are more than a double can hold"),
        ({"features": rows(0), "probabilities": np.full((3, 2), 0.5)}, "as many rows"),
        ({"probabilities": rows(0)}, "sum to 1"),
        ({"mu": np.zeros(3), "sigma": np.eye(2)}, r"fake\.npz: a mean of 3 features needs a square covariance"),
        ({"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array(1)}, "n = 1, but a covariance is that of 2 clips"),
        ({"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array(4.5)}, "n must be a whole number, not 4.5"),
        ({"mu": np.zeros(3), "sigma": np.eye(3), "n": np.array([4, 5])}, "n must be a whole number"),
        ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, r"fake\.npz: a covariance must be symmetric"),
        ({"mu": np.zeros(3), "sigma": -np.eye(3)}, r"fake\.npz: a covariance must have no negative eigenvalues"),
        ({"features": rows(0), "provenance": '{"features": ["a"]}'}, "features in the provenance must be text"),
        ({"features": rows(0), "provenance": '{"kind": "local"}'}, "kind is 'i3d' in .*, but 'local'"),
        ({"features": rows(0), "provenance": "{"}, "must be JSON"),
        ({"features": rows(0), "provenance": '{"fps": NaN}'}, "must be JSON"),
        ({"features": np.array([{}], dtype=object)}, "is no feature file, or is damaged"),
        ({"features": rows(0, dim=2)}, "same width, not 3 and 2"),
        ({"features": rows(0), "provenance": '{"frames": 128}'}, "frames is 16 in .*, but 128"),
        ({"features": rows(0), "provenance": '{"weights_sha256": "ab"}'}, "weights_sha256 is 'cd' in .*, but 'ab'"),
        ({"features": rows(0)[:1]}, "gives 1 clip, at least 2 are needed"),
    ],
)
def test_files_that_cannot_be_compared(save, arrays, message):
    real = save("real", features=rows(2), provenance='{"frames": 16, "weights_sha256": "cd", "kind": "i3d"}')
    config = EvaluationConfig(resamples=0, allow_unequal=True, metrics=("frechet_distance",))
    with pytest.raises(UserError, match=message):
        evaluate(real, save("fake", **arrays), config)


def test_damaged_files_are_one_line(save, tmp_path):
    real = save("real", features=rows(0))
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, rows(0))
    np.savez_compressed(tmp_path / "damaged.npz", features=rows(0, num=200))
    content = bytearray((tmp_path / "damaged.npz").read_bytes())
    content[300:400] = b"\xff" * 100
    (tmp_path / "damaged.npz").write_bytes(content)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 100), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "promising.npz", "w") as archive:
        archive.writestr("features.npy", b"\x93NUMPY\x01\x00v\x00" + header)
    for name in ("single", "damaged", "promising"):
        with pytest.raises(UserError, match=rf"{name}\.npz is no feature file, or is damaged") as caught:
            evaluate(real, tmp_path / f"{name}.npz")
        assert "context manager" not in str(caught.value)


def test_no_file_and_no_feature_file(save, tmp_path):
    real = save("real", features=rows(0))
    with pytest.raises(UserError, match="no such feature file"):
        evaluate(real, tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("features")
    with pytest.raises(UserError, match=r"is no feature file, .*: it is no \.npz archive of plain arrays") as caught:
        evaluate(real, tmp_path / "text.npz")
    assert "allow_pickle" not in str(caught.value)
    (tmp_path / "text.txt").write_text("features")
    with pytest.raises(UserError, match=r"neither a folder of videos nor a .npz"):
        evaluate(real, tmp_path / "text.txt")
    for name, value in (("features", "i3d"), ("frames", 4)):
        with pytest.raises(UserError, match=f"leave out {name}"):
            evaluate(real, real, EvaluationConfig(**{name: value}))
    with pytest.raises(UserError, match=r"neither .* nor .* holds videos"):
        evaluate(real, real, EvaluationConfig(metrics=("flickering",)))
