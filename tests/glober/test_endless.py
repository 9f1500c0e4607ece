"""A chain of features: where frames lie in it, that it is one video however it is asked for, and what it remembers."""

import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.data.clips import reflect
from longtake.glober import sampling
from longtake.glober.endless import HANDOVER, FeatureChain, draw_pair, places
from longtake.glober.request import SamplingOptions

sys.path.insert(0, str(Path(__file__).parents[1]))

from peak_memory import PeakMemory


def whole(stream):
    return np.concatenate(list(stream))


def largest_difference(first, second):
    assert first.shape == second.shape
    return np.abs(first.astype(int) - second).max()


@pytest.fixture(scope="module")
def endless(build_glober):
    """A tiny model whose windows are 8 frames long."""
    return build_glober(endless=True, shared_noise=0.3, decoder_guidance_scale=2.0, guidance_scale=1.5)


def test_every_frame_lies_in_two_windows_and_is_handed_over_in_the_middle_of_their_overlap():
    where = places(torch.arange(300, dtype=torch.float64) / 64, is_chain=True)
    for frame in range(300):
        containing = [window for window in range(20) if 32 * window <= frame < 32 * window + 64]
        window = int(where.window[frame])
        assert window == containing[0]
        assert where.index[frame] == (frame - 32 * window) / 64
        to_middle = frame - 32 * window - 48  # frames
        assert where.share[frame] == np.clip(to_middle / 64 / HANDOVER + 0.5, 0, 1)
        assert len(containing) == 2 or where.share[frame] == 0
    assert sorted(set(where.share.tolist())) == [number / 8 for number in range(9)]
    alone = places(torch.arange(64, dtype=torch.float64) / 64, is_chain=False)
    assert not alone.window.any()
    assert not alone.share.any()
    assert alone.index.tolist() == [frame / 64 for frame in range(64)]


def test_a_chain_draws_each_feature_once_from_the_one_before_and_mixes_neighbours():
    drawn = []

    def draw(window, previous):
        drawn.append((window, None if previous is None else previous.item()))
        return torch.full((1, 1, 1, 1), float(window))

    chain = FeatureChain(draw)
    times = torch.arange(80, 160, dtype=torch.float64) / 64
    for first in range(0, 80, 5):
        where = places(times[first : first + 5], is_chain=True)
        main, blend = chain.at(where)
        mine, time = main.feature.flatten(), main.index.double()
        shown = mine / 2 + time
        torch.testing.assert_close(shown.double(), times[first : first + 5])
        if blend is not None:
            torch.testing.assert_close(blend.other.feature.flatten() / 2 + blend.other.index.double(), shown)
            assert set((blend.other.feature.flatten() - mine).tolist()) <= {0.0, 1.0}
        else:
            assert torch.equal(mine, where.window + where.share)
    assert drawn == [(0, None), (1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]


def test_any_range_and_any_chunk_of_an_endless_video_are_the_same_pixels(endless):
    asked = {"label": 1, "num_inference_steps": 2}
    video = whole(endless.stream(26, chunk=16, **asked))
    for chunk in (1, 7):
        assert largest_difference(video, whole(endless.stream(26, chunk=chunk, **asked))) <= 1
    for start, stop in ((25, 26), (9, 17)):
        assert largest_difference(video[start:stop], whole(endless.stream(26, start=start, stop=stop, **asked))) <= 1
    assert largest_difference(video[:9], whole(endless.stream(9, **asked))) <= 1
    assert largest_difference(video, whole(endless.stream(26, seed=1, **asked))) > 5


def test_each_window_renders_its_own_middle(endless, monkeypatch):
    monkeypatch.setattr(sampling, "frame_noise", lambda shape, _seed, _video, frames: torch.ones(len(frames), *shape))
    options, context = SamplingOptions(), endless.encode_condition(1)
    features = [endless.sample_feature(1, options)]
    for window in (1, 2):
        features.append(endless.sample_feature(1, options, window, features[-1]))
    noise = sampling.shared_frame_noise((4, 8, 8), 0, 0, [0], 0.3)

    def shown(window, time):
        return endless.render(features[window], torch.tensor([time]), noise, context)

    video = whole(endless.stream(16, label=1))  # windows start at 0, 4, 8: handed over at 6 and at 10
    for frame, window in ((0, 0), (5, 0), (7, 1), (8, 1), (9, 1), (11, 2)):
        assert largest_difference(video[frame : frame + 1], shown(window, (frame - 4 * window) / 8)) <= 1
    assert largest_difference(video[7:8], shown(0, 7 / 8)) > 1
    # in the middle of the overlap half of each window's control features
    monkeypatch.setattr(endless, "_control", lambda feature, *_: [feature])
    seen = []
    monkeypatch.setattr(
        endless.frame_decoder, "forward", lambda noisy, _t, control, _c: seen.append(control[0]) or noisy
    )
    whole(endless.stream(16, label=1, start=6, stop=7, decoder_guidance_scale=1.0))
    torch.testing.assert_close(seen[0], (features[0] + features[1]) / 2)


def test_guidance_drops_the_condition_and_keeps_the_window_before(endless, monkeypatch):
    given = []
    forward = endless.feature_generator.forward
    monkeypatch.setattr(endless.feature_generator, "forward", lambda *inputs: given.append(inputs) or forward(*inputs))
    previous = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    options = SamplingOptions(num_inference_steps=1, guidance_scale=3.0)
    first = endless.sample_feature(0, options, 1, previous)
    assert not torch.allclose(first, endless.sample_feature(0, options, 1, previous + 1), atol=1e-3)
    _, _, context, before = given[0]
    torch.testing.assert_close(before, torch.cat([(previous - 0.5) / 2] * 2))
    assert torch.equal(context, torch.cat([endless.encode_condition(-1), endless.encode_condition(0)]))
    # each window has noise of its own, the first that of a model without a chain
    assert not torch.allclose(first, endless.sample_feature(0, options, 2, previous), atol=1e-3)
    assert endless.is_endless


def test_long_videos_take_no_more_memory(build_glober, monkeypatch):
    pipe = build_glober(endless=True, num_inference_steps=1)
    # all but the chain of features stands still: it is what could grow
    monkeypatch.setattr(pipe, "render", lambda feature, *_: feature)
    peaks = []
    for num_frames in (64, 1024):
        with PeakMemory() as memory:
            for chunk in pipe.stream(num_frames, label=1, chunk=16):
                assert len(chunk) == 16
        peaks.append(memory.peak)
    assert peaks[1] <= 1.15 * peaks[0]


def test_features_passed_by_are_forgotten(endless, monkeypatch):
    alive = []
    sample = endless.sample_feature

    def remembering(*inputs):
        feature = sample(*inputs)
        alive.append(weakref.ref(feature))
        return feature

    monkeypatch.setattr(endless, "sample_feature", remembering)
    most = [sum(each() is not None for each in alive) for _ in endless.stream(40, label=1, chunk=4, start=8)]
    assert len(alive) == 10
    assert max(most) <= 3


def test_training_pairs_overlap_by_half_and_start_all_over_the_timeline():
    rng = np.random.default_rng(0)
    pairs = [draw_pair(20, 16, reflects=True, rng=rng) for _ in range(2000)]
    assert {first for first, _ in pairs} == set(range(38))  # 0..19 and back again
    for first, second in pairs:
        before, after = (reflect(start + np.arange(16), 20) for start in (first, second))
        assert np.array_equal(before[8:], after[:8])
    assert {draw_pair(30, 16, reflects=False, rng=rng) for _ in range(500)} == {(k, k + 8) for k in range(7)}
    assert draw_pair(23, 16, reflects=False, rng=rng) is None
    assert {draw_pair(150, 64, reflects=False, rng=rng)[0] % 4 for _ in range(50)} == {0}  # a grid of an eighth


@pytest.mark.parametrize(("start", "reverse", "needed"), [(0, False, 1), (40, False, 11), (40, True, 5), (0, True, 15)])
def test_the_way_to_the_first_frame_is_announced(endless, start, reverse, needed):
    shares: list[float] = []
    options = {"label": "jump", "num_inference_steps": 1, "chunk": 4, "reverse": reverse}
    stream = endless.stream(60, start=start, preparing=shares.append, **options)
    assert shares == []
    next(stream)
    np.testing.assert_allclose(shares, np.arange(1, needed + 1) / needed)
    list(stream)
    assert len(shares) == needed
