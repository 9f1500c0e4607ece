"""Each algorithm against the same written out clip by clip, without streams, batches or caches."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice

import pytest
import torch
from toy_recall import RECIPES, changed
from toy_sampling import R3, TOKEN, as_clip, gpt, networks, noise_video

from longtake.core.randomness import generator
from longtake.recall import sampling
from longtake.recall.gpt import TokenRollout
from longtake.recall.latents import LatentSpace
from longtake.recall.sampling import DRAW_CLIP, ClipMaker
from longtake.recall.stitching import stitched, windows

MODES = ("mean", "sample", "vdrej")
SEED, VIDEO, CANDIDATES = 5, 2, 3


def maker(parts, mode):
    judge = parts.get("video_discriminator")
    return ClipMaker(parts["generator"], judge, mode, seed=SEED, video=VIDEO, num_candidates=CANDIDATES)


def slow_clip(parts, space, number, mode, previous):
    """One clip after Alg. 8, candidate by candidate."""
    if mode == "mean":
        return parts["generator"](space.content_mean, space.motion_mean)
    count = CANDIDATES if mode == "vdrej" else 1
    rng = generator(SEED, VIDEO, DRAW_CLIP, number)
    content_noise = torch.randn(count, space.content_mean.shape[1], generator=rng)
    motion_noise = torch.randn(count, space.motion_mean.shape[1], generator=rng)
    best, best_score = None, None
    for row in range(count):
        content = space.content_mean + torch.exp(space.content_logvar / 2) * content_noise[row]
        motion = space.motion_mean + torch.exp(space.motion_logvar / 2) * motion_noise[row]
        clip = parts["generator"](content, motion)
        if count == 1:
            return clip
        judged = clip if previous is None else torch.cat([previous[:, :, :8], clip[:, :, :8]], dim=2)
        score = float(parts["video_discriminator"](judged))
        if best is None or score > best_score:
            best, best_score = clip, score
    return best


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", [1, 3])
@torch.no_grad()
def test_r2_recreates_clip_by_clip(mode, group):
    """Alg. 7."""
    parts, video = networks(RECIPES["r2"]), noise_video(45)
    clips = [as_clip(video[start : start + 16]) for start in (0, 8, 16, 24)]
    spaces = sampling.encode((as_clip(window) for window in windows(video, 8)), parts["encoder"])
    found = list(sampling.decode(spaces, maker(parts, mode), group=group))
    expected, previous = [], None
    for number, clip in enumerate(clips):
        previous = slow_clip(parts, parts["encoder"](clip), number, mode, previous)
        expected.append(previous)
    assert_same(found, expected)
    whole = torch.cat(list(stitched(iter(found), 8)), dim=2)
    assert whole.shape[2] == 40
    assert torch.equal(whole, torch.cat([*(clip[:, :, :8] for clip in found), found[-1][:, :, 8:]], dim=2))


@torch.no_grad()
def test_lencgan_passes_its_states_on():
    """Alg. 5."""
    parts, video = networks(RECIPES["lencgan"]), noise_video(46)
    parts["encoder"] = deepcopy(parts["encoder"])
    for lstm in (parts["encoder"].content_lstm, parts["encoder"].motion_lstm):
        lstm.bias_hh_l0[12:24] = 5  # the forget gates stay open, so that the states last
    spaces = sampling.encode_in_turn((as_clip(window) for window in windows(video, 15)), parts["encoder"])
    found = list(sampling.decode(spaces, maker(parts, "sample"), group=2))
    state, expected = parts["encoder"].initial_state(1), []
    for number, start in enumerate((0, 15, 30)):
        space, state = parts["encoder"](as_clip(video[start : start + 16]), state)
        expected.append(slow_clip(parts, space, number, "sample", None))
    assert_same(found, expected)
    alone, _ = parts["encoder"](as_clip(video[15:31]))
    assert (slow_clip(parts, alone, 1, "sample", None) - found[1]).abs().max() > 0.01


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_ar2_predicts_from_the_last_clip(mode):
    """Alg. 10."""
    parts = networks(RECIPES["ar2"])
    first = as_clip(noise_video(16))
    found = list(islice(sampling.predict(first, parts["encoder"], maker(parts, mode)), 5))
    expected = [first]
    for number in range(1, 5):
        expected.append(slow_clip(parts, parts["encoder"](expected[-1]), number, mode, expected[-1]))
    assert_same(found, expected)


def predictions(model, tokens):
    """What the GPT says after each sequence of tokens, without a cache, on at most the last six."""
    return model(torch.cat(tokens[-6:])[None])[:, -1]


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_r3_robust_reads_the_encoded_chosen_clips(mode):
    """Alg. 11, beyond the six tokens that the GPT has positions for."""
    parts, model = networks(R3), gpt()
    encoder, first = parts["encoder"], as_clip(noise_video(16))
    rollout = TokenRollout(model, lambda number: number)
    token = encoder(first).tokens()
    found = list(islice(sampling.continue_robustly(first, token, encoder, rollout, maker(parts, mode)), 10))
    clips, tokens = [first], [token]
    for number in range(1, 10):
        space = LatentSpace.from_tokens(predictions(model, tokens), 6)
        clips.append(slow_clip(parts, space, number, mode, clips[-1]))
        tokens.append(encoder(found[number]).tokens())
    assert_same(found, clips)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_r3_faster_reads_its_own_predictions(mode):
    parts, model = networks(R3), gpt()
    encoder, first = parts["encoder"], as_clip(noise_video(16))
    rollout = TokenRollout(model, lambda number: number)
    tokens, clips = [encoder(first).tokens()], [first]
    stream = sampling.continue_faster(
        first, tokens[0], rollout, maker(parts, mode), content_channels=6, group=1 if mode == "vdrej" else 4
    )
    found = list(islice(stream, 10))
    for number in range(1, 10):
        tokens.append(predictions(model, tokens))
        clips.append(slow_clip(parts, LatentSpace.from_tokens(tokens[-1], 6), number, mode, clips[-1]))
    assert_same(found, clips)


@torch.no_grad()
def test_robust_encodes_what_was_chosen_and_not_what_was_predicted():
    """A planted discriminator that chooses the darkest candidate; the encoder then sees that one."""
    parts, model = networks(R3), gpt()
    seen, made, encoder = [], [], parts["encoder"]

    class Spy:
        config = encoder.config

        def __call__(self, clip):
            seen.append(clip)
            return encoder(clip)

    class Recorded:
        paint = staticmethod(parts["generator"].paint)

        def grow(self, content, motion):
            made.append(parts["generator"](content, motion))
            return parts["generator"].grow(content, motion)

    def darkness(clips):
        return -clips[:, :, 8:].mean(dim=(1, 2, 3, 4))

    make = ClipMaker(Recorded(), darkness, "vdrej", num_candidates=7)
    first = as_clip(noise_video(16))
    fed = []
    rollout = TokenRollout(model, lambda number: number)

    def recorded(token):
        fed.append(token)
        return rollout(token)

    token = encoder(first).tokens()
    clips = list(islice(sampling.continue_robustly(first, token, Spy(), recorded, make), 4))
    for clip, candidates in zip(clips[1:], made, strict=True):
        darkest = candidates[:, :, :8].mean(dim=(1, 2, 3, 4)).argmin()
        torch.testing.assert_close(clip[0], candidates[darkest])
    assert all(torch.equal(clip, other) for clip, other in zip(seen, clips[1:], strict=False))
    assert torch.equal(fed[1], encoder(clips[1]).tokens())
    assert fed[1].shape == (1, TOKEN)


@pytest.mark.parametrize("num_frames", [1, 16, 17, 33, 90])
@pytest.mark.parametrize("mode", ["mean", "sample"])
@torch.no_grad()
def test_long_clips_of_encgan3_are_those_of_one_pass(num_frames, mode):
    """Without attention, whose reach in time is all that is given to it."""
    parts = networks(changed(RECIPES["encgan3"], generator__self_attention=False))
    space = parts["encoder"](as_clip(noise_video(16)))
    make = maker(parts, mode)
    found = torch.cat(list(sampling.unroll(space, make, num_frames)), dim=2)[:, :, :num_frames]
    points = 1 + max(0, -(-(num_frames - 16) // 4))
    content, motion = space.content_mean, space.motion_mean[:, :, None].repeat(1, 1, points)
    if mode == "sample":
        content, _ = space.sample(generator(SEED, VIDEO, sampling.DRAW_CONTENT))
        rngs = [generator(SEED, VIDEO, sampling.DRAW_MOTION, point) for point in range(points)]
        motion = torch.stack([space.sample(rng)[1] for rng in rngs], dim=2)
    whole = parts["generator"](content, motion)
    assert whole.shape[2] == 16 + 4 * (points - 1) >= num_frames
    torch.testing.assert_close(found, whole[:, :, :num_frames], rtol=1e-4, atol=1e-5)


def test_draws_depend_on_seed_video_and_clip_alone():
    space = LatentSpace(*(torch.zeros(1, channels) for channels in (4, 4, 2, 2)))
    base = ClipMaker(None, seed=1, video=2).draw(space, 3)[0]
    assert torch.equal(ClipMaker(None, seed=1, video=2).draw(space, 3)[0], base)
    for seed, video, number in ((0, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3)):
        assert not torch.equal(ClipMaker(None, seed=seed, video=video).draw(space, number)[0], base)
