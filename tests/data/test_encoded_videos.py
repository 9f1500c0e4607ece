import os
from pathlib import Path

import numpy as np
import pytest

from longtake.data.check import check_folder
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import index_folder
from longtake.data.transforms import resize_and_crop
from longtake.video import read_video, write_video

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / os.environ.get("LONGTAKE_DATA", "../shared/data") / "weizmann-actions"


@pytest.fixture
def folder(tmp_path):
    """Three short films of moving blobs in three formats."""
    rows, columns = np.mgrid[0:24, 0:32]
    for number, name in enumerate(["walk/a.mp4", "walk/b.webm", "run/c.gif"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        centres = np.arange(30)[:, None, None] + 3 * number
        blobs = 255 * np.exp(-((rows - 12) ** 2 + (columns - centres) ** 2) / 20)
        write_video(path, np.repeat(blobs[..., None], 3, axis=-1).astype(np.uint8), 12.5)
    return tmp_path


def test_clips_of_encoded_videos_are_the_frames_of_their_files(folder):
    index = index_folder(folder)
    assert [entry.info.num_frames for entry in index.entries] == [30, 30, 30]
    assert index.classes == ("run", "walk")
    clip = ClipConfig(num_frames=5, mode="step", step=3, size=16)
    kept = ClipDataset(index, clip, AugmentConfig(), seed=0)
    read_each_time = ClipDataset(index, clip, AugmentConfig(), seed=0, cache_bytes=0)
    for position in range(9):
        sample = kept[position]
        start = sample.source.start
        expected = resize_and_crop(read_video(Path(sample.source.path))[start : start + 13 : 3], 16)
        assert np.array_equal(sample.frames, expected)
        assert np.array_equal(read_each_time[position].frames, expected)
        assert sample.source.fps == pytest.approx(12.5 / 3, rel=1e-3)


def test_cut_and_empty_files_are_named_by_the_check(folder):
    for name, cut in (("walk/a.mp4", "walk/cut.mp4"), ("walk/b.webm", "walk/cut.webm")):
        content = (folder / name).read_bytes()
        (folder / cut).write_bytes(content[: len(content) * 6 // 10])
    (folder / "walk" / "empty.mp4").write_bytes(b"")
    report = check_folder(folder, ClipConfig(num_frames=4))
    assert report.num_videos == 6
    assert list(report.unreadable) == ["walk/cut.mp4", "walk/empty.mp4"]
    assert list(report.suspicious) == ["walk/cut.webm"]
    assert "header announces" in report.suspicious["walk/cut.webm"]
    assert report.num_usable == 4


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
def test_weizmann_actions():
    index = index_folder(DATA)
    assert index.classes == ("bend", "jack", "wave1", "wave2")
    assert len(index.entries) == 64
    assert index.unreadable == ()
    kept = ClipDataset(index, ClipConfig(), AugmentConfig(), seed=0)
    read_each_time = ClipDataset(index, ClipConfig(), AugmentConfig(), seed=0, cache_bytes=0)
    for position in range(4):
        assert np.array_equal(kept[position].frames, read_each_time[position].frames)
