"""`longtake evaluate`: reference numbers through the command line, whole reports or none, mistakes in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from longtake.cli import terminal
from longtake.metrics.evaluation import evaluation
from longtake.metrics.evaluation.measures import MEASURES
from longtake.metrics.evaluation.protocols import PROTOCOLS
from longtake.metrics.networks.features import FeatureNetwork
from longtake.video import write_video

FIXTURES = Path(os.environ.get("LONGTAKE_FIXTURES", Path(__file__).parents[2] / "../shared/fixtures")) / "metrics"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Keep features in the test's own folder."""
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def vectors():
    if not FIXTURES.is_dir():
        pytest.skip(f"no fixtures in {FIXTURES}")
    with np.load(FIXTURES / "vectors.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def expected(vectors):
    return json.loads((FIXTURES / "expected.json").read_text())


@pytest.fixture
def evaluate(longtake, tmp_path):
    """Write arrays to files, evaluate them, return the report as it was written."""

    def run(real, fake, *options):
        for name, arrays in (("real", real), ("fake", fake)):
            np.savez(tmp_path / f"{name}.npz", **arrays)
        out = tmp_path / "out" / "report.json"
        files = "--real", tmp_path / "real.npz", "--fake", tmp_path / "fake.npz", "--out", out
        outcome = longtake("evaluate", *files, "--resamples", 0, *options)
        assert outcome.status == 0, outcome.err
        report = json.loads(out.read_text())
        results = {item["name"]: item for item in [*report["numbers"], *report["curves"]]}
        assert all(name in outcome.out for name in results)
        return results

    return run


class MeanColours(FeatureNetwork):
    kind = "local"
    name = "colours"
    sha256 = "0" * 64
    dim = 3
    min_frames = 2

    def _features(self, clips, resize):
        return clips.mean(axis=(1, 2, 3)).astype(np.float32)


@pytest.fixture
def network(monkeypatch):
    """Load mean colours, whatever network is asked for; return what it was asked with."""
    asked = {}

    def load(name, **options):
        asked.update(options | {"name": name})
        return MeanColours()

    monkeypatch.setattr(evaluation, "load_features", load)
    return asked


@pytest.mark.parametrize(("protocol", "key"), [("tats", "nuclear_norm_unbiased"), ("styleganv", "nuclear_norm_biased")])
def test_reference_distances(evaluate, vectors, expected, protocol, key):
    name = next(name for name in expected["fd"] if name.startswith("real_fake"))
    real, fake = {"features": vectors["real"]}, {"features": vectors["fake"]}
    count = str(len(vectors["real"]))
    found = evaluate(real, fake, "--protocol", protocol, "--count", count, "--metrics", "frechet_distance,kvd", "jedi")
    assert found["frechet_distance[npz]"]["value"] == pytest.approx(expected["fd"][name][key], rel=1e-6)
    kernel = expected["kvd"][name]["tats_polynomial_mmd_float64"]
    assert found["kernel_distance[npz]"]["value"] == pytest.approx(kernel, rel=1e-9)
    jedi = next(value for key, value in expected["kvd"]["jedi_formula_x100"].items() if key == name)
    assert found["jedi_mmd[npz]"]["value"] == pytest.approx(jedi, rel=1e-9)


def test_reference_distance_of_unequal_sets_and_of_statistics(evaluate, vectors, expected):
    real, fake = vectors["real_fullrank"], vectors["fake_fullrank"]
    name = next(name for name in expected["fd"] if name.startswith("fullrank"))
    value = pytest.approx(expected["fd"][name]["nuclear_norm_unbiased"], rel=1e-6)
    options = "--allow-unequal", "--metrics", "frechet_distance"
    found = evaluate({"features": real}, {"features": fake}, *options)
    assert found["frechet_distance[npz]"]["value"] == value
    statistics = {"mu": real.mean(0, dtype=np.float64), "sigma": np.cov(real.T.astype(np.float64)), "n": len(real)}
    assert evaluate(statistics, {"features": fake}, *options)["frechet_distance[npz]"]["value"] == value


@pytest.mark.parametrize(
    ("protocol", "key"), [("tats", "tgan2_1split_float64"), ("styleganv", "styleganv_10splits_shuffle42_float64")]
)
def test_reference_inception_score(evaluate, vectors, expected, protocol, key):
    probabilities = {"probabilities": vectors["probs"]}
    count = str(len(vectors["probs"]))
    found = evaluate(probabilities, probabilities, "--protocol", protocol, "--count", count)["inception_score[npz]"]
    mean, std = expected["inception_score"][key]
    assert found["value"] == pytest.approx(mean, rel=1e-9)
    assert found["std_over_splits"] == pytest.approx(std, abs=1e-9)


def test_reference_coherence(evaluate, vectors, expected):
    segments = {"segment_probabilities": vectors["seg_probs"]}
    found = evaluate(segments, segments)
    for name, key in (
        ("ccs", "ccs_per_segment"),
        ("ics_kl_t_0", "ics_KL_pt_given_p0_per_segment"),
        ("ics_kl_0_t", "ics_KL_p0_given_pt_per_segment"),
        ("first_class_probability", "prob_of_first_class_per_segment"),
    ):
        np.testing.assert_allclose(found[f"{name}[npz]"]["values"], expected["coherence"][key], rtol=1e-6, atol=1e-9)
    assert found["ccs_mean[npz]"]["value"] == pytest.approx(expected["coherence"]["ccs_auc_mean_over_t_ge_1"])


def test_reference_frames(longtake, vectors, expected, tmp_path):
    """PSNR, SSIM, flickering and colours of the stored videos, from files."""
    for side in "ab":
        for number, video in enumerate(vectors[f"video_{side}"]):
            (tmp_path / side).mkdir(exist_ok=True)
            write_video(tmp_path / side / f"{number}.npy", np.ascontiguousarray(video.transpose(0, 2, 3, 1)), 25)
    out = tmp_path / "report.json"
    metrics = "psnr,ssim,flickering,histogram_correlation"
    sides = "--real", tmp_path / "a", "--fake", tmp_path / "b"
    outcome = longtake("evaluate", *sides, "--metrics", metrics, "--resamples", 5, "--out", out)
    assert outcome.status == 0, outcome.err
    report = json.loads(out.read_text())
    found = {item["name"]: item for item in [*report["numbers"], *report["curves"]]}
    frame = expected["frame"]
    np.testing.assert_allclose(found["psnr"]["values"], frame["psnr_mean_t"], rtol=1e-6)
    np.testing.assert_allclose(found["ssim"]["values"], frame["ssim_mean_t"], rtol=1e-6)
    for name, key in (
        ("temporal_flickering", "vbench_temporal_flickering"),
        ("histogram_correlation", "hist_corr_first_last_joint_8bins"),
        ("channel_histogram_correlation", "hist_corr_first_last_perchannel_256bins"),
    ):
        assert found[f"{name}[fake]"]["value"] == pytest.approx(np.mean(frame[key]), rel=1e-9)
    assert (tmp_path / "report-psnr.png").is_file()


def test_folders_through_a_network(longtake, network, videos, tmp_path):
    out = tmp_path / "out" / "r.json"
    sides = "--real", videos, "--fake", videos, "--out", out
    options = (
        "--frames",
        4,
        "--resamples",
        5,
        "--features",
        "local:mine",
        "--weights",
        "w.pt",
        "--trust",
        "--device",
        "cpu",
    )
    outcome = longtake("evaluate", *sides, *options, "--save-features", tmp_path / "saved")
    assert outcome.status == 0, outcome.err
    assert network == {"name": "local:mine", "weights": Path("w.pt"), "trust": True, "device": "cpu"}
    report = json.loads(out.read_text())
    numbers = {item["name"]: item["value"] for item in report["numbers"]}
    assert numbers["frechet_distance[colours]"] == pytest.approx(0, abs=1e-9)
    assert report["real"]["fps"] == 25
    assert report["real"]["clips_sha256"] in outcome.out
    assert "frames is 4; in protocol longtake it is 16" in outcome.out
    assert {file.name for file in out.parent.iterdir()} == {"r.json", *report["files"]}
    assert {file.name for file in (tmp_path / "saved").iterdir()} == {"real.npz", "fake.npz"}
    again = longtake(
        "evaluate",
        "--real",
        tmp_path / "saved" / "real.npz",
        "--fake",
        videos,
        "--frames",
        4,
        "--out",
        tmp_path / "x.json",
    )
    assert again.status == 0, again.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--frames", 4), ("--stride", 2), ("--weights", "x.pt"), ("--device", "cpu"), ("--save-features", "saved")],
)
def test_options_for_videos_are_refused_where_there_are_none(longtake, tmp_path, option, value):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", features=np.random.default_rng(0).normal(size=(8, 2)))
    sides = ["--real", tmp_path / "a.npz", "--fake", tmp_path / "b.npz", "--out", tmp_path / "out.json"]
    assert longtake("evaluate", *sides).status == 0
    outcome = longtake("evaluate", *sides, option, value)
    assert f"{option} is for videos, but both sides are files of features" in outcome.error_line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--features", "local:mine"),
        ("--weights", "x.pt"),
        ("--frames", 4),
        ("--stride", 2),
        ("--device", "cpu"),
        ("--save-features", "saved"),
    ],
)
def test_options_of_features_are_refused_where_no_metric_is_made_of_them(longtake, videos, tmp_path, option, value):
    sides = "--real", videos, "--fake", videos, "--out", tmp_path / "out" / "report.json"
    outcome = longtake("evaluate", *sides, "--metrics", "flickering", option, value)
    assert f"{option} is for metrics made of features, which flickering is not: leave out" in outcome.error_line
    several = longtake("evaluate", *sides, "--metrics", "flickering,psnr", option, value)
    assert "which flickering and psnr are not" in several.error_line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_name_or_hash_is_cut_off_on_a_narrow_terminal(longtake, network, videos, tmp_path, monkeypatch, columns):
    """Everything that the table on a wide terminal shows is on a narrow one, if in pieces."""
    monkeypatch.setattr(terminal, "stdout_console", lambda: Console(width=columns))
    out = tmp_path / "report.json"
    sides = "--real", videos, "--fake", videos, "--frames", 4, "--protocol", "digan", "--resamples", 5, "--out", out
    outcome = longtake("evaluate", *sides)
    assert outcome.status == 0, outcome.err
    shown = outcome.out.partition("- the original")[0]
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns
    report = json.loads(out.read_text())
    for number in [*report["numbers"], *report["curves"]]:
        measure, bracket, features = number["name"].partition("[")
        assert f"{measure} " in shown or f"{measure}[" in shown
        assert bracket + features in shown
    joined = shown.replace("│", "").replace(" ", "").replace("\n", "")
    assert report["real"]["clips_sha256"] in joined
    assert report["fake"]["clips_sha256"] in joined


def test_help_names_every_metric_and_protocol(longtake):
    text = longtake("evaluate", "--help").out
    assert all(name in text for name in [*MEASURES, *PROTOCOLS])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "frechet"], "unknown metric 'frechet'"),
        (["--protocol", "tat"], "unknown protocol 'tat'; did you mean 'tats'"),
        (["--features", "i3dd"], "unknown feature network 'i3dd'; did you mean 'i3d'"),
        (["--features", "i3d"], "no weights for i3d"),
        ([], "or do without: --features local:evaluator-weizmann"),
        ([], ".npz files of features in place of folders"),
        ([], "--metrics flickering histogram_correlation psnr ssim, which need no network"),
        (["--features", "i3d", "--weights", "missing.pt"], "missing.pt does not exist"),
        (["--fake", "EMPTY"], "is empty"),
        (["--fake", "missing.npz"], "no such feature file"),
        (["--count", "4"], "gives only 3 clips: give --count 3 or less"),
        (["--frames", "11"], "none of 3 videos is long enough: 11 frames are needed, the longest has 10"),
        (["--out", "report.txt"], "a report is written as .json"),
        (["--count", "many"], "--count takes INT, not 'many'"),
        (["--frame", "4"], "unknown option '--frame'; did you mean --frames?"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(longtake, videos, tmp_path, monkeypatch, options, message):
    monkeypatch.delenv("LONGTAKE_I3D", raising=False)
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    options = [str(tmp_path / "empty") if option == "EMPTY" else option for option in options]
    sides = ["--real", videos, "--fake", videos, "--out", out / "report.json"]
    outcome = longtake("evaluate", *sides, "--frames", 4, *options)
    assert message in outcome.error_line
    assert not out.exists()


def test_lpips_without_its_weights_is_one_line(longtake, videos, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    sides = ["--real", videos, "--fake", videos, "--out", tmp_path / "out" / "report.json"]
    assert "lpips needs" in longtake("evaluate", *sides, "--metrics", "lpips").error_line
    assert not (tmp_path / "out").exists()
