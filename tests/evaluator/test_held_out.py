"""Which videos are held out, and what is measured on them."""

from __future__ import annotations

import numpy as np
import pytest
from toy_evaluator import SIZE, SPAN, write_videos

from longtake.core.errors import UserError
from longtake.data.config import ClipConfig
from longtake.data.index import index_folder
from longtake.evaluator.held_out import Evaluation, Prediction, evaluate, split_off

CLIP = ClipConfig(num_frames=SPAN, size=SIZE)


@pytest.fixture
def index(videos):
    return index_folder(videos)


class Oracle:
    """Sees which way the square goes; calls everything "down" if it is told to."""

    class_names = ("down", "right")

    def __init__(self, always_down: bool = False) -> None:
        self.always_down = always_down
        self.seen: list[np.ndarray] = []

    def probabilities(self, clips, resize):
        assert resize == "crop"
        self.seen.append(clips)
        rows = (clips[0, :, :, :, 0] == 220).any(axis=2).argmax(axis=1)
        goes_right = len(set(rows)) == 1 and not self.always_down
        return np.array([[1 - goes_right, goes_right]], np.float32)


def test_split_keeps_classes_and_loses_no_video(index):
    training, held_out = split_off(index, "person2*")
    assert training.classes == index.classes
    assert sorted(entry.path.name for entry in held_out) == ["person2.npy"] * 2
    assert {*training.entries, *held_out} == {*index.entries}
    assert len(training.entries) + len(held_out) == len(index.entries) == 6
    assert split_off(index, "") == (index, ())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("person7*", "held_out is 'person7.*', but no file"), ("person*", "held_out is 'person.*', and all files")],
)
def test_patterns_that_hold_out_none_or_all(index, pattern, message):
    with pytest.raises(UserError, match=message):
        split_off(index, pattern)


def test_folders_without_two_classes(tmp_path):
    root = write_videos(tmp_path / "actions")
    with pytest.raises(UserError, match=r"has one class only \(down\); at least 2 are needed"):
        split_off(one_class(root), "")
    np.save(root / "stray.npy", np.zeros((SPAN, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"stray.npy has no class: put the videos of each class into a folder"):
        split_off(index_folder(root), "")


def one_class(root):
    parent = root.parent / "only"
    (parent / "down").mkdir(parents=True)
    for path in (root / "down").iterdir():
        (parent / "down" / path.name).write_bytes(path.read_bytes())
    return index_folder(parent)


def test_every_whole_clip_of_every_held_out_video_is_classified(index):
    _, held_out = split_off(index, "person2*")
    oracle = Oracle()
    found = evaluate(oracle, index, held_out, "person2*", CLIP)
    assert [(clip.video, clip.start) for clip in found.predictions] == [
        (f"{action}/person2.npy", start) for action in ("down", "right") for start in (0, SPAN)
    ]
    video = np.load(index.root / "right" / "person2.npy")
    np.testing.assert_array_equal(oracle.seen[3][0], video[SPAN : 2 * SPAN])
    assert (found.accuracy, found.num_correct) == (1.0, 4)


def test_accuracy_counts_clips(index):
    _, held_out = split_off(index, "person2*")
    found = evaluate(Oracle(always_down=True), index, held_out, "person2*", CLIP)
    assert found.to_json() | {"clips": None} == {
        "held_out": "person2*",
        "accuracy": 0.5,
        "num_correct": 2,
        "num_clips": 4,
        "num_videos": 2,
        "clips": None,
    }
    assert found.to_json()["clips"][2] == {
        "video": "right/person2.npy",
        "start": 0,
        "label": "right",
        "predicted": "down",
    }
    assert found.summary() == "held-out accuracy: 0.500 (2 of 4 clips of 2 videos named person2*)"


def test_videos_shorter_than_a_clip(index):
    _, held_out = split_off(index, "person2*")
    long = ClipConfig(num_frames=20, size=SIZE)
    with pytest.raises(UserError, match=r"no video named 'person2.*' has the 20 frames of a clip"):
        evaluate(Oracle(), index, held_out, "person2*", long)
    reflected = ClipConfig(num_frames=20, size=SIZE, short_videos="reflect")
    oracle = Oracle()
    assert len(evaluate(oracle, index, held_out, "person2*", reflected).predictions) == 2
    video = np.load(index.root / "down" / "person2.npy")
    np.testing.assert_array_equal(oracle.seen[0][0], video[[*range(14), 12, 11, 10, 9, 8, 7]])


def test_evaluation_of_known_predictions():
    clips = tuple(Prediction(f"a/{n}.mp4", 0, "a", "a" if n else "b") for n in range(4))
    found = Evaluation("*", clips)
    assert (found.num_correct, found.accuracy, len(found.videos)) == (3, 0.75, 4)
