"""Which frames the encoders look at, how maps are paired, what LSTMs hand on, and clips they refuse."""

from __future__ import annotations

import pytest
import torch
from toy_recall import RECIPES, changed

from longtake.core.errors import UserError
from longtake.recall import build
from longtake.recall.encoder import FeatureNorm, RecallEncoder
from longtake.recall.latents import LatentSpace
from longtake.recall.lstm_encoder import RecurrentState


def encoder_of(model, **changes):
    torch.manual_seed(0)
    return build.encoder(changed(RECIPES[model], **changes)).eval()


def clips(count=2, seed=0):
    return torch.rand(count, 3, 16, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def frames_that_matter(outputs, video):
    """Frames of the first clip on which a sum of outputs depends."""
    (gradient,) = torch.autograd.grad(outputs.sum(), video, retain_graph=True)
    return [frame for frame in range(video.shape[2]) if gradient[0, :, frame].any()]


@pytest.mark.parametrize("frame", [0, 8])
def test_content_comes_from_one_frame_and_motion_from_all(frame):
    encoder = encoder_of("r2", encoder__content_frame=frame)
    video = clips().requires_grad_()
    latents = encoder(video)
    assert frames_that_matter(latents.content_mean, video) == [frame]
    assert frames_that_matter(latents.content_logvar, video) == [frame]
    assert frames_that_matter(latents.motion_mean, video) == list(range(16))


def test_motion_is_blind_to_a_constant():
    encoder, video = encoder_of("r2"), clips() / 2
    shifted = encoder(video + 0.25)
    torch.testing.assert_close(encoder(video).motion_mean, shifted.motion_mean)
    assert not torch.allclose(encoder(video).content_mean, shifted.content_mean)


def test_maps_are_compressed_in_pairs_and_the_last_stays():
    encoder, video = encoder_of("r2"), clips()
    with torch.no_grad():
        maps = video[:, :, :-1] - video[:, :, 1:]
        features = [encoder.motion_stream(maps[:, :, number]) for number in range(15)]
        pairs = [encoder.pair(torch.cat(features[number : number + 2], dim=1)) for number in range(0, 14, 2)]
        expected = encoder.motion_mean(encoder.clip(torch.cat([*pairs, features[14]], dim=1)))
        torch.testing.assert_close(encoder(video).motion_mean, expected)


def test_the_relu_in_the_motion_heads_is_a_switch():
    with_relu, without = encoder_of("r2"), encoder_of("r2", encoder__motion_head_relu=False)
    assert (len(with_relu.motion_mean), len(without.motion_mean)) == (3, 2)
    count = [sum(parameter.numel() for parameter in encoder.parameters()) for encoder in (with_relu, without)]
    assert count[0] == count[1]


def test_content_of_another_frame_can_be_given():
    encoder, video = encoder_of("r2"), clips()
    other = encoder(video, content=video[:, :, 3])
    torch.testing.assert_close(other.content_mean, encoder_of("r2", encoder__content_frame=3)(video).content_mean)
    torch.testing.assert_close(other.motion_mean, encoder(video).motion_mean)


def test_batch_norm_of_one_clip_uses_running_statistics_and_leaves_them():
    norm = FeatureNorm(3)
    norm(torch.randn(50, 3) * 2 + 1)
    before, x = norm.running_mean.clone(), torch.randn(1, 3)
    expected = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), expected)
    assert torch.equal(norm.running_mean, before)


def test_one_clip_trains():
    encoder = encoder_of("r2").train()
    encoder(clips(1)).tokens().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("model", ["r2", "lencgan"])
@pytest.mark.parametrize(
    ("shape", "found"), [((1, 3, 12, 16, 16), "12 frames of 16x16"), ((1, 3, 16, 16, 32), "16 frames of 32x16")]
)
def test_clips_of_another_length_or_size_are_refused(model, shape, found):
    with pytest.raises(UserError, match=f"the encoder takes clips of 16 frames of 16x16, not {found}"):
        encoder_of(model)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("size", "channels", "wanted"),
    [(64, (4, 4), "6 convolutions"), (128, (4,) * 6, "8 convolutions"), (48, (4, 4), "a size of 16, 32, 64, 128")],
)
def test_a_size_that_does_not_fit(size, channels, wanted):
    with pytest.raises(UserError, match=f"does not fit frames of {size}: it takes {wanted}"):
        RecallEncoder(size, 6, 4, channels)


def test_latents_and_tokens_are_the_same_numbers():
    latents = encoder_of("r2")(clips())
    tokens = latents.tokens()
    assert tokens.shape == (2, 2 * (6 + 4))
    assert torch.equal(tokens[:, 6:12], latents.content_logvar)
    again = LatentSpace.from_tokens(tokens, content_channels=6)
    for name, value in vars(latents).items():
        assert torch.equal(getattr(again, name), value), name


def test_samples_have_the_means_and_deviations_of_the_space():
    count = 20_000
    rows = {"content_mean": 0.5, "content_logvar": -1.0, "motion_mean": -2.0, "motion_logvar": 0.6}
    space = LatentSpace(**{name: torch.full((count, 1), value) for name, value in rows.items()})
    content, motion = space.sample(torch.Generator().manual_seed(0))
    for values, mean, logvar in ((content, 0.5, -1.0), (motion, -2.0, 0.6)):
        assert values.mean().item() == pytest.approx(mean, abs=0.04)
        assert values.var().log().item() == pytest.approx(logvar, abs=0.05)
    assert space.mean()[0][0].item() == 0.5


def test_lstm_content_sees_fifteen_frames():
    """Literally Alg. 3: at t = 15 the content LSTM has read frames 0 to 14."""
    encoder, video = encoder_of("lencgan"), clips().requires_grad_()
    latents, _ = encoder(video)
    assert frames_that_matter(latents.content_mean, video) == list(range(15))
    assert frames_that_matter(latents.motion_mean, video) == list(range(16))


def test_lstm_clips_one_after_the_other_are_one_long_sequence():
    """Two clips that share frame 15, with the states handed on, give what one pass over 30 steps gives."""
    encoder = encoder_of("lencgan")
    long = torch.rand(1, 3, 31, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        _, state = encoder(long[:, :, :16])
        latents, _ = encoder(long[:, :, 15:], state)
        maps = long[:, :, :-1] - long[:, :, 1:]
        frames = encoder.content_stream(long[0, :, :-1].transpose(0, 1))
        differences = encoder.motion_stream(maps[0].transpose(0, 1))
        content_cell = encoder.content_lstm(frames[None])[1][1][0]
        motion_cell = encoder.motion_lstm(differences[None])[1][1][0]
        torch.testing.assert_close(latents.content_mean, encoder.content_mean(content_cell))
        torch.testing.assert_close(latents.motion_logvar, encoder.motion_logvar(motion_cell))


@pytest.mark.parametrize("inherit", ["none", "cell", "output", "both"])
def test_what_lstm_clips_inherit(inherit):
    _, state = encoder_of("lencgan", encoder__inherit=inherit)(clips())
    for output, cell in (state.content, state.motion):
        assert bool(output.any()) == (inherit in ("output", "both"))
        assert bool(cell.any()) == (inherit in ("cell", "both"))


def test_where_lstm_clips_inherit():
    """The state at the middle has seen the first half only, and is followed by the clip that starts there."""
    for where, hop in (("last", 15), ("mid", 8)):
        encoder, video = encoder_of("lencgan", encoder__inherit_at=where), clips()
        changed_end = video.clone()
        changed_end[:, :, 10:] = 0
        with torch.no_grad():
            (first, state), (second, other) = encoder(video), encoder(changed_end)
        assert encoder.hop == hop == build.sequence_hop(changed(RECIPES["lencgan"], encoder__inherit_at=where))
        assert torch.equal(state.content[0], other.content[0]) == (where == "mid")
        assert not torch.equal(first.content_mean, second.content_mean)


def test_states_of_single_clips_stack_to_those_of_a_batch():
    encoder, video = encoder_of("lencgan"), clips()
    _, together = encoder(video)
    stacked = RecurrentState.stack([encoder(video[[number]])[1] for number in range(2)])
    torch.testing.assert_close(stacked.content, together.content)
    torch.testing.assert_close(stacked.motion, together.motion)
