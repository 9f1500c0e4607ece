import json

import numpy as np
import pytest

from longtake.metrics.frames import psnr
from longtake.video import VideoReader, read_video


def test_side_by_side_with_numbers(longtake, tiny_model, glober, videos, tmp_path):
    out = tmp_path / "out"
    outcome = longtake("reconstruct", tiny_model, videos / "bend" / "a.mp4", videos / "walk" / "a.mp4", "--out", out)
    assert outcome.status == 0, outcome.err
    assert {path.name for path in out.iterdir()} == {"a-000.mp4", "a-001.mp4", "contact-sheet.png", "metrics.json"}
    with VideoReader(out / "a-000.mp4") as reader:
        assert (reader.info.num_frames, reader.info.height, reader.info.width) == (8, 16, 32)

    report = json.loads((out / "metrics.json").read_text())
    first, second = report["videos"]
    assert (first["label"], second["label"]) == ("bend", "walk")  # the folders the videos lie in
    source = read_video(videos / "walk" / "a.mp4")
    original = glober.fit(source)
    expected = psnr(original, glober.reconstruct(source, label="walk"))
    np.testing.assert_allclose(second["psnr_per_frame"], expected)
    assert second["psnr"] == pytest.approx(expected.mean())
    ceiling = psnr(original, glober.reconstruct_frames(source))
    assert second["frame_autoencoder_alone"]["psnr"] == pytest.approx(ceiling.mean())
    assert f"{second['psnr']:.2f}" in outcome.out
    assert "mean" in outcome.out


def test_a_folder_of_videos_stands_for_the_videos_in_it(longtake, tiny_model, videos, tmp_path):
    out = tmp_path / "out"
    assert longtake("reconstruct", tiny_model, videos / "bend", "--out", out).status == 0
    records = json.loads((out / "metrics.json").read_text())["videos"]
    assert [record["video"] for record in records] == sorted(str(path) for path in (videos / "bend").iterdir())


def test_of_a_short_video_only_real_frames_count(longtake, tiny_model, glober, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "short.npy", frames)
    outcome = longtake("reconstruct", tiny_model, tmp_path / "short.npy", "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    (record,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["videos"]
    rebuilt = glober.reconstruct(frames[[0, 1, 2, 3, 4, 3, 2, 1]])
    np.testing.assert_allclose(record["psnr_per_frame"], psnr(frames, rebuilt[:5]))
    assert record["label"] is None
    with VideoReader(tmp_path / "out" / "short.mp4") as reader:
        assert reader.info.num_frames == 5


def test_videos_that_cannot_be_used(longtake, tiny_model, videos, tmp_path):
    out = tmp_path / "out"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    good = videos / "bend" / "a.mp4"
    assert "broken.mp4" in longtake("reconstruct", tiny_model, good, broken, "--out", out).error_line
    assert "no such file" in longtake("reconstruct", tiny_model, tmp_path / "gone.mp4", "--out", out).error_line
    assert "missing VIDEO" in longtake("reconstruct", tiny_model, "--out", out).error_line
    assert "is a file" in longtake("reconstruct", tiny_model, good, "--out", broken).error_line
    assert not out.exists()
