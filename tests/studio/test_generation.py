"""A video is made while somebody watches: what is seen, what is written, what a stop leaves, and one at a time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from longtake.core.errors import UserError
from longtake.studio.generation import Made, Progress, Workshop
from longtake.studio.request import Request
from longtake.studio.shelf import Shelf
from longtake.video import read_video

REQUEST = Request("glober", 24, 0, 24, seed=3, options={"label": "jump"}, device="cpu")


class FakePipe:
    """Chunks of two frames, each made by a call of a network once it may go on."""

    def __init__(self):
        self.network = torch.nn.Identity()
        self.may_go_on = threading.Semaphore(0)
        self.threads = []

    def stream(self, num_frames, **_options):
        self.threads.append(threading.current_thread())
        for number in range(0, num_frames, 2):
            while not self.may_go_on.acquire(timeout=0.01):
                self.network(torch.zeros(1))
            yield np.full((2, 16, 16, 3), number, np.uint8)


@pytest.fixture
def fake(workshop):
    pipe = FakePipe()
    workshop.shelf._load = lambda name, device: pipe
    return pipe


def make(workshop, request, is_stopped=lambda: False):
    *progress, last = list(workshop.make(request, is_stopped))
    return progress, last


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_frames_that_are_watched_are_those_of_the_pipeline(workshop):
    progress, made = make(workshop, REQUEST)
    expected = workshop.shelf.load("glober")(24, label="jump", seed=3).frames
    chunks = [news.chunk for news in progress if news.chunk is not None]
    assert np.array_equal(np.concatenate(chunks), expected)
    done = [news.done for news in progress]
    assert done == sorted(done)
    assert (progress[-1].done, progress[-1].seconds_left) == (24, 0)
    assert (made.is_whole, made.size, made.fps, made.request) == (True, (16, 16), 25.0, REQUEST)
    assert read_video(made.video).shape == expected.shape
    assert sorted(path.name for path in made.video.parent.iterdir()) == [
        "glober-jump-seed3.mp4",
        "glober-jump-seed3.png",
    ]


def test_time_left_is_that_of_the_frames_to_come():
    assert Progress("making", 10, 40, seconds=2.0).seconds_left == 6
    assert Progress("making", 0, 40, seconds=2.0).seconds_left is None


def test_a_part_is_that_part_of_the_whole(workshop):
    whole = workshop.shelf.load("glober")(24, label="jump", seed=3).frames
    progress, made = make(workshop, Request("glober", 24, 10, 13, seed=3, options={"label": "jump"}))
    (chunk,) = [news.chunk for news in progress if news.chunk is not None]
    assert np.abs(chunk.astype(int) - whole[10:13]).max() <= 1
    assert made.video.name == "glober-jump-seed3-10-13.mp4"


def test_a_stop_in_the_middle_of_a_chunk_keeps_the_chunks_before(workshop, fake):
    stop = threading.Event()
    watched = workshop.make(Request("glober", 100, 0, 100), stop.is_set)
    fake.may_go_on.release(3)
    for news in watched:
        if news.done == 6:
            break
    stop.set()
    before = time.monotonic()
    *_, made = watched
    assert time.monotonic() - before < 5  # though the next chunk would never come
    assert (made.is_whole, made.request.stop) == (False, 6)
    assert len(read_video(made.video)) == 6
    assert made.video.name == made.request.file_name
    until(lambda: not fake.threads[0].is_alive())
    fake.network(torch.zeros(1))  # the brake is off


def test_a_stop_before_the_first_frame_leaves_nothing(workshop, fake):
    watched = workshop.make(Request("glober", 100, 0, 100), lambda: bool(fake.threads))
    assert all(isinstance(news, Progress) for news in watched)
    assert not list(workshop.folder.rglob("*.*"))
    until(lambda: not fake.threads[0].is_alive())


def test_who_looks_away_stops_it(workshop, fake):
    watched = workshop.make(Request("glober", 100, 0, 100), lambda: False)
    fake.may_go_on.release(1)
    while next(watched).done == 0:
        pass
    watched.close()  # as happens when the page is closed
    until(lambda: not fake.threads[0].is_alive())
    assert not list(workshop.folder.rglob("*.*"))


def test_what_is_made_ends_with_the_page(workshop, fake):
    watched = workshop.make(Request("glober", 100, 0, 100), lambda: False)
    fake.may_go_on.release(2)
    while next(watched).done < 4:
        pass
    workshop.close()
    *_, made = watched
    assert (made.is_whole, made.request.stop) == (False, 4)
    until(lambda: not fake.threads[0].is_alive())


def test_one_video_at_a_time(workshop, fake):
    first, second = (workshop.make(Request("glober", 4, 0, 4, seed), lambda: False) for seed in (0, 1))
    until(lambda: next(first).phase == "making")
    assert [next(second).phase for _ in range(3)] == ["waiting"] * 3
    assert len(fake.threads) == 1
    fake.may_go_on.release(10)
    assert [isinstance(list(watched)[-1], Made) for watched in (first, second)] == [True, True]


def test_a_model_is_loaded_once_and_when_it_is_needed(weights, shelf):
    loaded = []
    counting = Shelf([str(weights / "tats")], "cpu", lambda name, device: loaded.append((name, device)) or name)
    assert loaded == []
    for name in ("glober", str(weights / "tats"), "glober"):
        assert counting.load(name) == name
    assert loaded == [("glober", "cpu"), (str(weights / "tats"), "cpu")]
    with pytest.raises(UserError, match="unknown model 'globber'; did you mean 'glober'"):
        counting.load("globber")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("glober", 8, 0, 8, options={"label": "bent"}), "unknown label 'bent'; did you mean 'bend'"),
        (Request("glober", 0, 0, 0), "number of frames must be at least 1, not 0"),
        (Request("glober", 8, 5, 3), r"cannot make frames 5\.\.3"),
        (Request("glober", 8, 0, 8, seed=-1), r"seed must be in 0\.\.2"),
        (Request("tats", 8, 0, 8, options={"first_clip": "none.mp4"}), r"none\.mp4"),
    ],
)
def test_mistakes_are_the_models_own_line_and_leave_nothing(workshop: Workshop, request_, message):
    with pytest.raises(UserError, match=message):
        make(workshop, request_)
    assert not list(workshop.folder.rglob("*.*"))
    make(workshop, REQUEST)  # and the next one has its turn
