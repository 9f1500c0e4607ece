"""LEncGAN: states from all earlier clips, and batches that can begin anywhere."""

from __future__ import annotations

import itertools

import pytest
import torch
from toy_recall import batch_for, of, random_batch

from longtake.recall import stages
from longtake.recall.sequences import sequence_batches


def test_lstm_states_come_from_all_earlier_clips_without_gradients(index):
    encoder = of("lencgan", index).encoder.eval()
    history = random_batch(3, 16).video
    state = stages.state_after(encoder, history)
    expected = encoder.initial_state(1)
    for clip in history:
        _, expected = encoder(clip[None], expected)
    torch.testing.assert_close(state.content, expected.content)
    torch.testing.assert_close(state.motion, expected.motion)
    assert not state.motion[0].requires_grad
    assert not stages.state_after(encoder, history[:0]).content[0].any()


def test_switch_inherit(index):
    def encoded(**changes):
        stage = of("lencgan", index, **changes)
        stage.encoder.eval()
        with torch.no_grad():
            return stage._encode(batch_for("lencgan")).content_mean

    alone = encoded(encoder__inherit="none")
    for kind in ("cell", "output", "both"):
        assert not torch.equal(encoded(encoder__inherit=kind)[0], alone[0])
        torch.testing.assert_close(encoded(encoder__inherit=kind)[1], alone[1])  # a first clip inherits nothing


@pytest.mark.parametrize(("where", "hop"), [("last", 15), ("mid", 8)])
def test_lstm_clips_start_where_the_states_of_those_before_end(index, where, hop):
    stage = of("lencgan", index, encoder__inherit_at=where)
    lengths = set()
    for batch, _ in zip(stage.batches(0, 0, 1), range(12), strict=False):
        for clip, history in zip(batch.video, batch.history, strict=True):
            lengths.add(len(history))
            sequence = [*history, clip]
            for earlier, later in itertools.pairwise(sequence):
                assert torch.equal(earlier[:, hop:], later[:, : 16 - hop])
    assert {0, 1, 2} <= lengths  # unequal in one batch, too


def test_lstm_batches_begin_anywhere_and_ranks_share_nothing(index):
    stage = of("lencgan", index)
    run = stage.batches(0, 0, 1)
    batches = [next(run) for _ in range(4)]
    later = next(stage.batches(3, 0, 1))
    assert torch.equal(later.video, batches[3].video)
    assert [len(clips) for clips in later.history] == [len(clips) for clips in batches[3].history]
    both = [next(sequence_batches(stage.sequences, 0, 1, 0, rank, 2)).video for rank in range(2)]
    assert torch.equal(torch.cat(both), batches[0].video)
