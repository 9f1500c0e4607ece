"""Two folders in, numbers out: against the formulas on features that are computed here, clip by clip."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from toy_evaluation import ToyNetwork, moving_bars, write_bars

from longtake.core.errors import UserError
from longtake.metrics import (
    ccs,
    cosine_similarity_by_lag,
    frechet_distance,
    frechet_distance_by_segment,
    ics_kl_t_0,
    inception_score,
    jedi_distance,
    kernel_distance,
    psnr,
    ssim,
    temporal_flickering,
)
from longtake.metrics.evaluation import whole_videos
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.video import find, read_video, write_video

QUICK = EvaluationConfig(frames=4, resamples=0)


def slow_features(folder, clips, network, output="features"):
    """One clip at a time, from the saved list."""
    compute = network.features if output == "features" else network.probabilities
    rows = []
    for clip in clips:
        frames = read_video(folder / clip["file"])
        indices = [clip["start"] + clip["stride"] * t for t in range(clip["frames"])]
        rows.append(compute(frames[indices][None], "squash")[0])
    return np.array(rows)


def test_numbers_are_the_formulas_on_the_listed_clips(folders, network):
    metrics = ("frechet_distance", "kvd", "jedi", "is", "flickering")
    config = replace(QUICK, metrics=metrics, batch_size=3, seed=5)
    report = evaluate(folders["a"], folders["b"], config, network=network)
    lists = {side: clips.to_json()["trials"][0] for side, clips in report.clip_lists.items()}
    real, fake = (slow_features(folders[name], lists[side], network) for name, side in (("a", "real"), ("b", "fake")))
    assert len(real) == 16
    assert report.number("frechet_distance[toy]").value == pytest.approx(frechet_distance(real, fake, 1), rel=1e-5)
    assert report.number("kernel_distance[toy]").value == pytest.approx(kernel_distance(real, fake), rel=1e-5)
    assert report.number("jedi_mmd[toy]").value == pytest.approx(jedi_distance(real, fake), rel=1e-5)
    rows = slow_features(folders["b"], lists["fake"], network, "probabilities")
    assert report.number("inception_score[toy]").value == pytest.approx(inception_score(rows, "tats").mean, rel=1e-5)
    assert report.number("intra_entropy[toy]").value == pytest.approx(
        inception_score(rows, "tats").intra_entropy, rel=1e-5
    )
    still = np.mean([temporal_flickering(read_video(folders["a"] / clip["file"])) for clip in lists["real"]])
    assert report.number("temporal_flickering[real]").value == pytest.approx(still)


def test_order_is_right_and_identical_folders_are_no_distance_apart(folders, network):
    config = replace(QUICK, metrics=("frechet_distance", "kvd"))
    halves, noise, same = (
        evaluate(folders["a"], folders[other], config, network=network) for other in ("b", "noise", "a")
    )
    for name in ("frechet_distance[toy]", "kernel_distance[toy]"):
        assert noise.number(name).value > 5 * halves.number(name).value
    assert halves.number("frechet_distance[toy]").value > 0.01
    assert same.number("frechet_distance[toy]").value == pytest.approx(0, abs=1e-9)
    assert same.clip_lists["real"].sha256 == same.clip_lists["fake"].sha256


def test_segments_are_the_pieces_of_the_fakes(folders, network):
    config = replace(QUICK, metrics=("segments", "cosine_by_lag", "ccs", "ics"), batch_size=2)
    report = evaluate(folders["a"], folders["b"], config, network=network)
    real = slow_features(folders["a"], report.clip_lists["real"].to_json()["trials"][0], network)
    videos = [read_video(path) for path in find.find_videos(folders["b"])]
    pieces = np.array([[video[t : t + 4] for t in (0, 4, 8)] for video in videos])
    features = np.array([network.features(video, "squash") for video in pieces])
    probabilities = np.array([network.probabilities(video, "squash") for video in pieces])
    curve = report.curve("frechet_distance_by_segment[toy]")
    np.testing.assert_allclose(curve.values, frechet_distance_by_segment(real, features), rtol=1e-5)
    np.testing.assert_allclose(curve.details["relative_to_first"], np.array(curve.values) / curve.values[0])
    np.testing.assert_allclose(
        report.curve("cosine_by_lag[toy]").values,
        np.mean([cosine_similarity_by_lag(video, (1, 2)) for video in features], axis=0),
        rtol=1e-5,
    )
    np.testing.assert_allclose(report.curve("ccs[toy]").values, ccs(probabilities))
    np.testing.assert_allclose(report.curve("ics_kl_t_0[toy]").values, ics_kl_t_0(probabilities), atol=1e-6)


def test_clip_lengths_are_taken_of_the_same_long_videos(tmp_path, network):
    real, fake = (
        write_bars(tmp_path / name, seeds, num_frames=130) for name, seeds in (("r", range(6)), ("f", range(6, 12)))
    )
    write_bars(fake, range(20, 22), num_frames=30)  # too short for the long clip: not in the short ones either
    config = replace(QUICK, metrics=("clip_lengths",), allow_unequal=True)
    report = evaluate(real, fake, config, network=network)
    short, long, ratio = report.numbers
    assert [number.name for number in (short, long, ratio)] == [
        "frechet_distance_16f[toy]",
        "frechet_distance_128f[toy]",
        "frechet_distance_128f_over_16f[toy]",
    ]
    assert ratio.value == pytest.approx(long.value / short.value)
    assert short.conditions["fake"]["n"] == 6
    assert long.conditions["fake"]["frames"] == (128,)
    clips = report.clip_lists["fake-128f"]
    assert long.conditions["fake"]["clips_sha256"] == [clips.sha256]
    listed = slow_features(fake, clips.to_json()["trials"][0], network)
    others = slow_features(real, report.clip_lists["real-128f"].to_json()["trials"][0], network)
    assert long.value == pytest.approx(frechet_distance(others, listed), rel=1e-5)


def test_pairs_are_videos_of_one_name(tmp_path, network):
    rng = np.random.default_rng(0)
    clean = {name: moving_bars(seed, 5) for seed, name in enumerate("xyz")}
    noisy = {
        name: np.clip(video + rng.normal(0, 20, video.shape), 0, 255).astype(np.uint8) for name, video in clean.items()
    }
    for name in clean:
        (tmp_path / "real").mkdir(exist_ok=True)
        (tmp_path / "fake").mkdir(exist_ok=True)
        write_video(tmp_path / "real" / f"{name}.npy", clean[name], 25)
        write_video(tmp_path / "fake" / name, noisy[name], 25)  # a folder of pictures of the same name
    write_video(tmp_path / "fake" / "other.npy", clean["x"], 25)
    config = EvaluationConfig(metrics=("psnr", "ssim"), resamples=20)  # and videos shorter than any clip
    report = evaluate(tmp_path / "real", tmp_path / "fake", config)
    for name, formula in (("psnr", psnr), ("ssim", ssim)):
        expected = np.array([formula(clean[key], noisy[key]) for key in "xyz"])
        np.testing.assert_allclose(report.curve(name).values, expected.mean(axis=0))
        np.testing.assert_allclose(report.curve(name).details["std_over_videos"], expected.std(axis=0))
        assert report.number(f"{name}_mean").value == pytest.approx(expected.mean())
        assert report.number(f"{name}_mean").conditions["fake"]["n"] == 3
    assert "psnr and ssim: 0 real and 1 fake without a partner, left out" in report.notes
    assert not any("first 5 frames" in note for note in report.notes)
    write_video(tmp_path / "real" / "z.npy", moving_bars(2, 9), 25)
    write_video(tmp_path / "fake" / "other.npy", moving_bars(2, 12), 25)  # has no part in the lengths
    report = evaluate(tmp_path / "real", tmp_path / "fake", config)
    (note,) = (note for note in report.notes if "first 5 frames of every video" in note)
    assert note.endswith("the longest has 9")
    write_bars(tmp_path / "elsewhere", range(2))
    with pytest.raises(UserError, match="share none"):
        evaluate(tmp_path / "real", tmp_path / "elsewhere", config)


def test_lpips_compares_first_and_last_frame(tmp_path, monkeypatch):
    """With a network of the package's form that takes the mean difference."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    package = types.ModuleType("lpips")
    package.LPIPS = lambda net, verbose: types.SimpleNamespace(eval=lambda: lambda x, y: (x - y).abs().mean())
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(whole_videos, "lpips_network", whole_videos.lpips_network.__wrapped__)
    folder = write_bars(tmp_path / "bars", range(3))
    config = EvaluationConfig(metrics=("lpips",), resamples=0)
    with pytest.raises(UserError, match=r"lpips needs torchvision's vgg16.*\.pth: put it into .*checkpoints"):
        evaluate(folder, folder, config)
    weights = tmp_path / "torch" / "hub" / "checkpoints" / whole_videos.VGG16_FILE
    weights.parent.mkdir(parents=True)
    weights.touch()
    ends = [moving_bars(seed, 12)[[0, -1]] / 127.5 for seed in range(3)]
    expected = np.mean([np.abs(first - last).mean() for first, last in ends])
    assert evaluate(folder, folder, config).number("lpips_vgg_first_last[fake]").value == pytest.approx(expected)


def test_trials_are_averaged(folders, network):
    config = replace(QUICK, protocol="digan", count=6, metrics=("frechet_distance",))
    number = evaluate(folders["a"], folders["b"], config, network=network).number("frechet_distance[toy]")
    assert len(number.details["trials"]) == 10
    assert len(set(number.details["trials"])) == 10
    assert number.value == pytest.approx(np.mean(number.details["trials"]))
    assert number.details["std_over_trials"] == pytest.approx(np.std(number.details["trials"]))


def test_protocol_decides_the_covariance(folders, network):
    values = {}
    for protocol in ("tats", "styleganv"):
        config = replace(QUICK, protocol=protocol, metrics=("frechet_distance",))
        number = evaluate(folders["a"], folders["b"], config, network=network).numbers[0]
        assert number.conditions["ddof"] == {"tats": 1, "styleganv": 0}[protocol]
        values[protocol] = number.value
    # both draw the same clips, 16 of each: the traces differ by 16 / 15, the means do not
    assert 1 < values["tats"] / values["styleganv"] < 16 / 15


def numbers_of(report):
    return {number.name: number.value for number in report.numbers}


def test_second_run_computes_nothing_and_gives_the_same(folders, network, cache):
    config = replace(QUICK, batch_size=5)
    first = evaluate(folders["a"], folders["b"], config, network=network)
    calls, files = network.calls, list(cache.rglob("*.npz"))
    assert calls == 2 * 16 + 16 + 2 * 16 * 3  # clips of both sides, probabilities of the fakes, their three segments
    assert len(files) == 2 * 16 + 16 + 2 * 16
    again = evaluate(folders["a"], folders["b"], config, network=network)
    assert network.calls == calls
    assert again.to_json() == first.to_json()
    content = files[0].read_bytes()
    values = content.index(b"NUMPY") + 130
    for damaged in (b"damaged", b"", content[:-30], content[:values] + b"\xff" + content[values + 1 :]):
        files[0].write_bytes(damaged)
        mended = evaluate(folders["a"], folders["b"], config, network=network)
        # the lost clips were in other batches, whose size turns the last bits
        assert numbers_of(mended) == pytest.approx(numbers_of(first), rel=1e-5)
        assert network.calls > calls
        calls = network.calls


def test_cache_knows_a_changed_file_and_other_weights(tmp_path, network):
    real, fake = write_bars(tmp_path / "r", range(4)), write_bars(tmp_path / "f", range(4, 8))
    config = replace(QUICK, metrics=("frechet_distance",))
    before = evaluate(real, fake, config, network=network).numbers[0].value
    write_video(fake / "class-0" / "bars-004.npy", moving_bars(99, 12), 25)
    assert evaluate(real, fake, config, network=network).numbers[0].value != before
    calls = network.calls
    network.sha256 = "1" * 64
    evaluate(real, fake, config, network=network)
    assert network.calls == calls + 8


def test_without_a_cache_that_can_be_written_the_numbers_are_the_same(folders, network, tmp_path, monkeypatch, caplog):
    config = replace(QUICK, metrics=("frechet_distance",))
    expected = evaluate(folders["a"], folders["b"], config, network=network)
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "file"))
    assert evaluate(folders["a"], folders["b"], config, network=network).to_json() == expected.to_json()
    (warning,) = caplog.messages  # one, not one for each of 32 videos
    assert str(tmp_path / "file" / "features") in warning
    assert "LONGTAKE_CACHE" in warning


def test_report_says_what_the_numbers_depend_on(folders, network, tmp_path):
    report = evaluate(folders["a"], folders["b"], replace(QUICK, resamples=20), network=network)
    files = report.write(tmp_path / "out" / "x.json")
    assert {file.name for file in files} == {file.name for file in (tmp_path / "out").iterdir()}
    content = json.loads((tmp_path / "out" / "x.json").read_text())
    number = next(item for item in content["numbers"] if item["name"] == "frechet_distance[toy]")
    assert number["interval"]["low"] < number["value"] < number["interval"]["high"]
    assert number["interval"]["resamples"] == 20
    conditions = number["conditions"]
    assert conditions["weights_sha256"] == "0" * 64
    assert (conditions["ddof"], conditions["resize"], conditions["seed"]) == (1, "squash", 0)
    assert conditions["rounding"] == "bytes as stored, the protocol's: round"
    for side in ("real", "fake"):
        facts = conditions[side]
        assert (facts["n"], facts["frames"], facts["stride"], facts["resolution"]) == (16, 4, 1, "16x16")
        clips = json.loads((tmp_path / "out" / f"x-clips-{side}.json").read_text())
        assert clips["sha256"] == facts["clips_sha256"]
        assert len(clips["trials"][0]) == 16
    assert set(content["versions"]) == {"python", "longtake", "torch", "numpy", "pillow", "av"}
    assert "x-ccs-toy.png" in content["files"]


@pytest.mark.parametrize(
    ("kind", "metric", "name"),
    [
        ("i3d", "frechet_distance", "fvd"),
        ("resnext3d", "frechet_distance", "video_fid"),
        ("c3d", "frechet_distance", "frechet_distance[net]"),
        ("local", "kvd", "kernel_distance[net]"),
        ("i3d", "kvd", "kvd"),
        ("c3d", "is", "video_is"),
        ("local", "is", "inception_score[net]"),
    ],
)
def test_only_the_right_network_gives_a_number_its_published_name(folders, kind, metric, name):
    network = type("Net", (ToyNetwork,), {"kind": kind, "name": "net"})()
    report = evaluate(folders["a"], folders["b"], replace(QUICK, metrics=(metric,)), network=network)
    assert report.numbers[0].name == name
