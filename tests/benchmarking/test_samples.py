"""A model's videos on disk: whole ones are taken up, and nobody's are mixed with others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from longtake.benchmarking import samples as module
from longtake.benchmarking.contestant import find_contestants
from longtake.benchmarking.cost import highest_peaks
from longtake.benchmarking.samples import SETTINGS as SETTINGS_FILE
from longtake.benchmarking.samples import Samples, SampleSettings, complete
from longtake.core.errors import UserError
from longtake.metrics.evaluation.evaluation import no_progress
from longtake.metrics.evaluation.work_group import WorkGroup
from longtake.video import read_video, write_video

SETTINGS = SampleSettings("abc", 6, 5, "cpu", "0.1.0")


@pytest.fixture
def contestant(toy_models):
    return find_contestants([str(toy_models["tats"])])[0]


@pytest.fixture
def made(monkeypatch, in_this_process):
    """Numbers of the videos that were made."""
    numbers = []

    def spy(path, fps):
        numbers.append(int(path.stem.removeprefix("video-")))
        return open_writer(path, fps)

    open_writer = module.open_writer
    monkeypatch.setattr(module, "open_writer", spy)
    return numbers


def completed(contestant, samples, count):
    return complete(contestant, samples, count, WorkGroup(), no_progress)


def test_videos_are_those_of_the_pipeline(contestant, in_this_process, tmp_path, monkeypatch):
    told, chunks, metered = [], [], module.metered

    def spy(stream, cost):
        for chunk in metered(stream, cost):
            chunks.append(chunk)
            yield chunk

    monkeypatch.setattr(module, "metered", spy)
    fresh = Samples.open(tmp_path / "x", SETTINGS)
    samples = complete(contestant, fresh, 4, WorkGroup(), lambda *state: told.append(state))
    assert told[-1] == ("tats: sampling", 4 * 6, 4 * 6)
    pipe, labels = contestant.load("cpu"), ["bend", "jump", "walk", "bend"]
    expected = [pipe(6, seed=5, video=number, label=label).frames for number, label in enumerate(labels)]
    assert (np.concatenate(chunks) == np.concatenate(expected)).all()
    assert [(samples.videos[number]["label"], samples.videos[number]["frames"]) for number in range(4)] == [
        (label, 6) for label in labels
    ]
    assert all(read_video(tmp_path / "x" / video["file"]).shape == (6, 8, 8, 3) for video in samples.videos.values())
    assert Samples.open(tmp_path / "x", SETTINGS) == samples
    assert all(video["memory_bytes"]["process"] > 10**8 for video in samples.videos.values())


def test_whole_videos_are_taken_up(contestant, made, tmp_path):
    completed(contestant, Samples.open(tmp_path, SETTINGS), 5)
    (tmp_path / "video-001.mp4").unlink()
    (tmp_path / "video-003.json").write_text("{")
    (tmp_path / "video-004.json").unlink()
    write_video(tmp_path / "video-002.mp4", np.zeros((5, 8, 8, 3), np.uint8), 25)  # a frame too few
    seconds = Samples.open(tmp_path, SETTINGS).videos[0]["seconds"]
    again = Samples.open(tmp_path, SETTINGS)
    assert again.missing(6) == [1, 2, 3, 4, 5]
    made.clear()
    assert completed(contestant, again, 4).videos[0]["seconds"] == seconds
    assert made == [1, 2, 3]
    made.clear()
    assert len(completed(contestant, Samples.open(tmp_path, SETTINGS), 2).infos(2)) == 2
    assert made == []


def test_stopped_before_the_first_video_the_folder_is_still_ours(contestant, tmp_path, monkeypatch, in_this_process):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "open_writer", stop)
    with pytest.raises(KeyboardInterrupt):
        completed(contestant, Samples.open(tmp_path / "x", SETTINGS), 3)
    assert Samples.open(tmp_path / "x", SETTINGS).missing(3) == [0, 1, 2]


def test_peak_is_the_highest_of_all_processes():
    videos = [{"memory_bytes": {"loaded": 50, "process": 900}}, {"memory_bytes": {"loaded": 60, "process": 700}}]
    assert highest_peaks(videos) == {"loaded": 60, "process": 900}


@pytest.mark.parametrize(("name", "value"), [("frames", 7), ("seed", 1), ("device", "cuda:0"), ("model_sha256", "x")])
def test_videos_of_other_settings_are_left_alone(tmp_path, name, value):
    Samples(tmp_path, SETTINGS).write_settings()
    with pytest.raises(UserError, match=f"holds videos made with {name.replace('_', ' ')} .*, not {value}: choose"):
        Samples.open(tmp_path, replace(SETTINGS, **{name: value}))


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_other_peoples_folders_are_left_alone(tmp_path, content):
    (tmp_path / "holiday.mp4").write_bytes(b"")
    if content is not None:
        (tmp_path / SETTINGS_FILE).write_text(content)
    with pytest.raises(UserError, match=rf"{tmp_path.name} is there, but has no {SETTINGS_FILE}"):
        Samples.open(tmp_path, SETTINGS)
