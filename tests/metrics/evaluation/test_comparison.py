"""Which sides can be compared, on how many clips, and what their numbers may be called."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_evaluation import ToyNetwork, write_bars

from longtake.core.errors import UserError
from longtake.metrics import feature_statistics, psnr
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.evaluation.feature_files import read_feature_file
from longtake.video import read_video

QUICK = EvaluationConfig(frames=4, resamples=0)


@pytest.fixture
def save(tmp_path):
    """Write a feature file of so many rows of 4 features and class probabilities."""

    def write(name, num=16, width=4, **provenance):
        rows = np.random.default_rng(num).normal(size=(num, width))
        probabilities = np.full((num, 2), 0.5)
        path = tmp_path / f"{name}.npz"
        np.savez(path, features=rows, probabilities=probabilities, provenance=json.dumps(provenance))
        return path

    return write


def test_published_names_need_to_know_of_both_sides(save):
    i3d, unknown = save("i3d", features="net", kind="i3d"), save("unknown")
    c3d = save("c3d", features="net", kind="c3d")
    config = EvaluationConfig(resamples=0, metrics=("frechet_distance", "kvd", "is"))

    def names(real, fake):
        return [number.name for number in evaluate(real, fake, config).numbers][:3]

    assert names(i3d, i3d) == ["fvd", "kvd", "inception_score[net]"]
    of_both = "frechet_distance[net and npz]", "kernel_distance[net and npz]"
    assert names(i3d, unknown) == [*of_both, "inception_score[npz]"]
    # the score is of the fakes alone
    assert names(unknown, c3d) == ["frechet_distance[npz and net]", "kernel_distance[npz and net]", "video_is"]


def test_a_folder_beside_a_file_of_unknown_origin(folders, save):
    network = type("Net", (ToyNetwork,), {"kind": "i3d", "name": "net"})()
    config = replace(QUICK, metrics=("frechet_distance",))
    report = evaluate(save("unknown"), folders["b"], config, network=network)
    assert report.numbers[0].name == "frechet_distance[npz and net]"
    assert "kind" not in report.facts["network"]


def test_other_widths_are_refused_before_anything_is_computed(folders, save, network):
    with pytest.raises(UserError, match=r"same width, not 5 and 4 as in .*wide\.npz and"):
        evaluate(save("wide", width=5), folders["b"], QUICK, network=network)
    assert network.calls == 0


def test_metrics_of_one_side_do_not_mind_the_other_ones_features(folders, save, network):
    config = replace(QUICK, metrics=("is",))
    assert evaluate(save("wide", width=5, features="other"), folders["b"], config, network=network).numbers


def test_long_clips_of_unequally_many_videos_are_refused_unless_asked_for(tmp_path):
    """Both folders hold five videos; four and three of them are long enough."""
    network = ToyNetwork(dim=2)
    for name, num_long in (("real", 4), ("fake", 3)):
        write_bars(tmp_path / name, range(num_long), num_frames=128)
        write_bars(tmp_path / name, range(num_long, 5), num_frames=20)
    config = EvaluationConfig(resamples=0, metrics=("clip_lengths",))
    sides = tmp_path / "real", tmp_path / "fake"
    with pytest.raises(UserError, match=r"gives 4 clips of 128 frames and .* 3, .* compare 3 of each .--count 3."):
        evaluate(*sides, config, network=network)
    write_bars(tmp_path / "short", range(5), num_frames=20)
    with pytest.raises(UserError, match=r"gives 4 clips of 128 frames and .*short 0, .* how many: add videos, or ask"):
        evaluate(sides[0], tmp_path / "short", config, network=network)
    assert network.calls == 0
    equal = evaluate(*sides, replace(config, count=3), network=network)
    assert {side: equal.numbers[1].conditions[side]["n"] for side in ("real", "fake")} == {"real": 3, "fake": 3}
    report = evaluate(*sides, replace(config, allow_unequal=True), network=network)
    assert "clip_lengths: 4 real and 3 fake videos, as many as are long enough" in report.notes


def test_files_have_no_clips_of_other_lengths(folders, save, network):
    config = replace(QUICK, metrics=("clip_lengths",), allow_unequal=True)
    with pytest.raises(UserError, match=r"real\.npz holds features, not videos"):
        evaluate(save("real"), folders["b"], config, network=network)


def test_statistics_cannot_be_cut_down(save, tmp_path):
    mu, sigma = feature_statistics(np.random.default_rng(0).normal(size=(16, 4)))
    np.savez(tmp_path / "statistics.npz", mu=mu, sigma=sigma, n=16)
    with pytest.raises(
        UserError, match=r"16 clips and .* 9, .*: statistics cannot be cut down: give as many clips, or"
    ):
        evaluate(tmp_path / "statistics.npz", save("few", num=9))
    both = evaluate(tmp_path / "statistics.npz", tmp_path / "statistics.npz")
    assert not any("intervals" in note for note in both.notes)


def test_psnr_needs_no_frames_as_large_as_the_window_of_ssim(tmp_path):
    real, fake = (write_bars(tmp_path / name, range(2), size=8) for name in ("real", "fake"))
    (fake / "class-0" / "bars-000.npy").unlink()
    report = evaluate(real, fake, EvaluationConfig(metrics=("psnr",), resamples=0))
    clean = read_video(real / "class-1" / "bars-001.npy")
    np.testing.assert_allclose(report.curve("psnr").values, psnr(clean, clean))
    with pytest.raises(UserError, match="SSIM needs frames of at least 11 x 11"):
        evaluate(real, fake, EvaluationConfig(metrics=("psnr", "ssim"), resamples=0))


def test_probabilities_alone_are_saved_as_well(folders, network, tmp_path):
    config = replace(QUICK, metrics=("is",))
    report = evaluate(folders["a"], folders["b"], config, network=network)
    (file,) = report.write_features(tmp_path / "saved")
    assert set(read_feature_file(file).arrays) == {"probabilities"}
    assert evaluate(file, file, replace(config, frames=None)).numbers[0].value == report.numbers[0].value


def test_differences_are_named_without_brackets(folders, network, tmp_path):
    (tmp_path / "both").mkdir()
    for size in (16, 18):
        write_bars(tmp_path / "both" / str(size), range(size, size + 8), size=size)
    config = replace(QUICK, metrics=("frechet_distance",))
    report = evaluate(folders["a"], tmp_path / "both", config, network=network)
    assert any("real has resolution 16x16, fake 16x16, 18x18; pixels" in note for note in report.notes)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seeds_that_numpy_does_not_take_are_refused_at_once(seed):
    with pytest.raises(UserError, match="seed must be a whole number from 0 to 4294967295"):
        EvaluationConfig(seed=seed)


def test_the_protocol_of_a_report_names_the_features_that_were_asked_for():
    assert EvaluationConfig(protocol="g3an").resolved_protocol().features == "resnext3d"
    assert EvaluationConfig(protocol="g3an", features="local:x").resolved_protocol().features == "local:x"
