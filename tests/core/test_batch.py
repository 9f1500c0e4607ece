import dataclasses

import pytest
import torch

from longtake.core.batch import VideoBatch


@pytest.fixture
def batch():
    return VideoBatch(
        video=torch.zeros(2, 3, 4, 5, 6),
        label=torch.tensor([1, -1]),
        text=["a", ""],
        fps=torch.tensor([25.0, 10.0]),
        path=["a.mp4", "b.mp4"],
        start=torch.tensor([0, 7]),
    )


def test_to_moves_every_tensor_and_keeps_the_rest(batch):
    moved = batch.to("meta")
    for field in dataclasses.fields(VideoBatch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert after.device.type == "meta", field.name
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            assert before.device.type == "cpu", field.name  # the batch itself stays where it is
        else:
            assert after == before


def test_to_the_same_device_copies_nothing(batch):
    moved = batch.to(torch.device("cpu"))
    assert moved.video is batch.video
    assert moved.label.tolist() == [1, -1]
