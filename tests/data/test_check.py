import json
import re

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.data.check import check_folder
from longtake.data.config import ClipConfig
from longtake.data.index import index_folder
from longtake.video import find


@pytest.fixture
def root(make_folder):
    root = make_folder({"p/a.npy": 20, "p/b.npy": 40, "q/c.npy": 5}, height=8, width=12)
    (root / "q" / "broken.npy").write_bytes(b"broken")
    (root / "r").mkdir()
    np.save(root / "r" / "still.npy", np.full((33, 8, 8, 3), 7, np.uint8))
    (root / "captions.json").write_text('{"p/a.npy": "a caption"}')
    return root


def test_report_by_value(root):
    report = check_folder(root, decode=True)
    rate = f"{index_folder(root).entries[0].info.fps:.6g}"
    assert report.decoded
    assert report.num_videos == 5
    assert report.num_readable == 4
    assert report.num_usable == 3
    assert report.num_frames == 98
    assert report.seconds == pytest.approx(98 / float(rate))
    assert report.clip_span == 16
    assert report.sizes == {"12x8": 3, "8x8": 1}
    assert list(report.sizes) == ["12x8", "8x8"]
    assert report.frame_rates == {rate: 4}
    assert report.codecs == {"npy": 4}
    assert report.lengths == {"1-15": 1, "16-31": 1, "32-63": 2}
    assert report.fitting == {"16": 3, "32": 2, "64": 0, "128": 0, "256": 0, "512": 0, "1024": 0}
    assert report.classes == {"p": 2, "q": 1, "r": 1}
    assert report.num_captions == 1
    assert report.num_audio == 0
    assert list(report.unreadable) == ["q/broken.npy"]
    assert report.suspicious == {"r/still.npy": "all 33 frames are the same"}
    assert report.too_short == {"q/c.npy": "too short: 5 frames, a clip needs 16"}
    assert json.loads(json.dumps(report.to_json())) == report.to_json()


def test_the_clip_decides_what_is_too_short(root):
    report = check_folder(root, ClipConfig(num_frames=3, mode="step", step=2))
    assert report.clip_span == 5
    assert report.too_short == {}
    assert report.num_usable == 4


@pytest.mark.parametrize("decode", [False, True])
def test_processes_change_nothing_and_progress_counts_every_video(root, decode):
    calls = []
    report = check_folder(root, decode=decode, num_workers=2, progress=lambda done, total: calls.append((done, total)))
    assert report == check_folder(root, decode=decode)
    assert calls == [(done, 5) for done in range(1, 6)]


def test_without_decoding_only_headers_count(root):
    report = check_folder(root)
    assert not report.decoded
    assert list(report.unreadable) == ["q/broken.npy"]
    assert report.suspicious == {}


def test_a_folder_without_a_usable_video_has_a_report_that_says_why(root, tmp_path):
    assert check_folder(root).problem is None
    empty = tmp_path / "empty"
    empty.mkdir()
    report = check_folder(empty, num_workers=2)
    assert (report.num_videos, report.num_usable, report.num_frames, report.seconds) == (0, 0, 0, 0)
    assert report.lengths == report.sizes == report.unreadable == report.passed_over == {}
    assert report.problem is not None
    assert report.problem.startswith(f"folder {empty} is empty (known: ")
    report = check_folder(root, ClipConfig(num_frames=100))
    assert report.problem == f"folder {root} holds no usable video: 1 cannot be read, 4 shorter than 100 frames"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        check_folder(tmp_path / "nowhere")


def test_files_that_are_not_read_are_counted(root, tmp_path):
    assert check_folder(root).passed_over == {}
    (root / "p" / "C.FLV").write_bytes(b"FLV")
    (root / "q" / "d.flv").write_bytes(b"FLV")
    (root / "q" / "without_ending").write_bytes(b"")
    (root / "q" / "cover.png").write_bytes(b"a picture beside videos is no frame")
    (root / "q" / ".hidden.txt").write_text("")
    (root / "q" / "captions.json").write_text("only that of the root is one")
    assert check_folder(root).passed_over == {".flv": 2, ".json": 1, ".png": 1, "none": 1}


def test_where_there_are_no_videos_the_other_files_are_named(tmp_path):
    for name in ("a.flv", "b.ts", "c.ts"):
        (tmp_path / name).write_bytes(b"x")
    message = "holds no video, only files of type .ts (2), .flv (1) (known: "
    report = check_folder(tmp_path)
    assert message in str(report.problem)
    assert report.passed_over == {".ts": 2, ".flv": 1}
    with pytest.raises(UserError, match=re.escape(message)):
        index_folder(tmp_path)


def test_the_folder_is_walked_once(root, monkeypatch):
    walks = []
    walk = find._walk
    monkeypatch.setattr(find, "_walk", lambda folder, above: walks.append(folder) or walk(folder, above))
    check_folder(root)
    assert sorted(walks) == [root, root / "p", root / "q", root / "r"]
