"""A pipeline's frames depend on what they are, never on how they are asked for."""

import weakref

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from longtake.data.transforms import resize_and_crop, to_frames, to_video
from longtake.glober import sampling
from longtake.glober.frame_vae import decode_frames, encode_frames
from longtake.glober.request import SamplingOptions


def whole(stream):
    return np.concatenate(list(stream))


def largest_difference(first, second):
    assert first.shape == second.shape
    return np.abs(first.astype(int) - second).max()


def test_a_video_is_repeatable_and_differs_from_the_others(glober):
    video = glober(label="jump").frames
    assert video.shape == (8, 16, 16, 3)
    assert video.dtype == np.uint8
    assert np.array_equal(video, glober(label="jump").frames)
    assert np.array_equal(video, glober(label=1).frames)
    for other in (glober(label="jump", seed=1), glober(label="jump", video=1), glober(label="walk")):
        assert largest_difference(video, other.frames) > 5


@pytest.mark.parametrize("settings", [{}, {"shared_noise": 0.5, "decoder_guidance_scale": 2.0}])
@pytest.mark.parametrize("scheduler", ["ddim", "dpm"])
def test_chunk_size_makes_no_difference(build_glober, settings, scheduler):
    pipe = build_glober(text_decoder=True, **settings)
    pipe.use_scheduler(scheduler)
    videos = [whole(pipe.stream(9, stretch=True, label=0, chunk=chunk)) for chunk in (1, 4, 16)]
    assert largest_difference(videos[0], videos[1]) <= 1
    assert largest_difference(videos[0], videos[2]) <= 1
    assert [len(part) for part in pipe.stream(9, stretch=True, label=0, chunk=4)] == [4, 4, 1]


@pytest.mark.parametrize("scheduler", ["ddim", "dpm"])
def test_any_range_of_frames_is_cut_from_the_same_video(build_glober, scheduler):
    pipe = build_glober(shared_noise=0.3)
    pipe.use_scheduler(scheduler)
    video = whole(pipe.stream(40, stretch=True, seed=5, label=2))
    for start, stop in ((0, 1), (39, 40), (7, 29)):
        part = whole(pipe.stream(40, stretch=True, seed=5, label=2, start=start, stop=stop))
        assert largest_difference(video[start:stop], part) <= 1


def test_real_time_is_a_prefix_and_stretching_samples_the_same_span_more_finely(build_glober, monkeypatch):
    pipe = build_glober()
    video = whole(pipe.stream(label=0))
    assert largest_difference(video[:5], whole(pipe.stream(5, label=0))) <= 1
    assert largest_difference(video, whole(pipe.stream(8, label=0, stretch=True))) <= 1

    # with the same noise for all frames, frames at equal times are equal pictures
    monkeypatch.setattr(sampling, "frame_noise", lambda shape, _seed, _video, frames: torch.ones(len(frames), *shape))
    slow = whole(pipe.stream(32, label=0, stretch=True))
    assert largest_difference(whole(pipe.stream(label=0)), slow[::4]) <= 1
    assert largest_difference(slow[0], slow[20]) > 1


def test_many_videos_are_the_single_ones(glober):
    videos = glober(4, num_videos=3, video=6, seed=2).frames
    assert videos.shape == (3, 4, 16, 16, 3)
    for position in range(3):
        assert np.array_equal(videos[position], whole(glober.stream(4, video=6 + position, seed=2)))


def test_the_length_of_a_video_does_not_show_in_what_is_alive(build_glober, monkeypatch):
    pipe = build_glober()
    alive = []  # a weak reference to every batch of frames that was ever made: noise, latents and pictures
    for name in ("denoise", "shared_frame_noise"):
        monkeypatch.setattr(sampling, name, remember_results(getattr(sampling, name), alive))
    monkeypatch.setattr(pipe, "render", remember_results(pipe.render, alive))

    most = [sum(batch() is not None for batch in alive) for _ in pipe.stream(32, stretch=True, label=0, chunk=4)]
    assert len(alive) == 1 + 8 * 3  # the feature, and of each chunk noise, latents and pictures
    assert max(most[1:]) == most[1] <= 3


def remember_results(function, alive):
    def remembering(*inputs, **options):
        result = function(*inputs, **options)
        alive.append(weakref.ref(result))
        return result

    return remembering


def test_a_label_left_out_is_drawn_uniformly_from_seed_and_video(glober):
    drawn = [glober.resolve_condition(None, None, seed=0, video=video) for video in range(400)]
    assert drawn == [glober.resolve_condition(None, None, seed=0, video=video) for video in range(400)]
    assert np.all(np.bincount(drawn, minlength=4) > 70)
    video = drawn.index(3)
    assert np.array_equal(glober(2, video=video).frames, glober(2, video=video, label=3).frames)


def test_captions_steer_and_none_is_the_empty_caption(build_glober):
    pipe = build_glober(captions=True, text_decoder=True)
    video = pipe(4, prompt="a man bends").frames
    assert largest_difference(video, pipe(4, prompt="a man waves").frames) > 3
    assert np.array_equal(pipe(4).frames, pipe(4, prompt="").frames)


def test_generator_guidance_extrapolates_from_the_null_condition(build_glober):
    """In one DDIM step, and for a prediction linear in guidance, features at three scales lie on one line."""
    pipe = build_glober()

    def feature(condition, scale):
        return pipe.sample_feature(condition, SamplingOptions(num_inference_steps=1, guidance_scale=scale))

    null, plain, strong = feature(-1, 1.0), feature(2, 1.0), feature(2, 3.0)
    assert (plain - null).abs().max() > 1e-2
    torch.testing.assert_close(strong, null + 3 * (plain - null), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(feature(2, 0.0), null, rtol=1e-4, atol=1e-4)


def test_guidance_of_one_runs_the_condition_alone(build_glober, monkeypatch):
    pipe = build_glober()
    sizes = {"generator": [], "decoder": []}
    monkeypatch.setattr(pipe.feature_generator, "forward", count_batches(pipe.feature_generator, sizes["generator"]))
    monkeypatch.setattr(pipe.frame_decoder, "forward", count_batches(pipe.frame_decoder, sizes["decoder"]))
    controls = []
    control = pipe.frame_decoder.control
    monkeypatch.setattr(
        pipe.frame_decoder, "control", lambda *inputs: controls.append(len(inputs[0])) or control(*inputs)
    )

    pipe(4, label=0)
    assert sizes == {"generator": [1] * 3, "decoder": [4] * 3}
    assert controls == [4]  # once for the chunk, not at each of 3 steps
    for counted in sizes.values():
        counted.clear()
    pipe(4, label=0, guidance_scale=2, decoder_guidance_scale=2, num_inference_steps=2)
    assert sizes == {"generator": [2] * 2, "decoder": [8] * 2}


def test_the_generator_may_have_a_number_of_steps_of_its_own(build_glober, monkeypatch):
    pipe = build_glober(feature_inference_steps=5)
    sizes = {"generator": [], "decoder": []}
    monkeypatch.setattr(pipe.feature_generator, "forward", count_batches(pipe.feature_generator, sizes["generator"]))
    monkeypatch.setattr(pipe.frame_decoder, "forward", count_batches(pipe.frame_decoder, sizes["decoder"]))
    pipe(4, label=0)
    assert sizes == {"generator": [1] * 5, "decoder": [4] * 3}
    pipe(4, label=0, num_inference_steps=2)
    assert sizes == {"generator": [1] * 10, "decoder": [4] * 5}


def count_batches(network, sizes):
    forward = network.forward

    def counted(noisy, *inputs):
        sizes.append(len(noisy))
        return forward(noisy, *inputs)

    return counted


def test_decoder_guidance_drops_condition_and_feature_together(build_glober, monkeypatch):
    pipe = build_glober(text_decoder=True)
    seen = []
    forward, control = pipe.frame_decoder.forward, pipe.frame_decoder.control
    monkeypatch.setattr(pipe.frame_decoder, "control", lambda *inputs: seen.append(inputs) or control(*inputs))
    monkeypatch.setattr(pipe.frame_decoder, "forward", lambda *inputs: seen.append(inputs) or forward(*inputs))
    feature, noise = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 8, 8)
    context = pipe.encode_condition(1).expand(2, -1, -1)
    pipe.render(feature, torch.tensor([0.0, 0.5]), noise, context, SamplingOptions(decoder_guidance_scale=3.0))

    with torch.no_grad():
        null_feature = pipe.video_encoder(torch.zeros(1, 4, 3, 8, 8))[0]
    features, indexes = seen[0]
    torch.testing.assert_close(features, torch.cat([null_feature, null_feature, feature]))
    assert indexes.tolist() == [0, 0.5, 0, 0.5]
    contexts = seen[1][3]
    assert torch.equal(contexts, torch.cat([pipe.encode_condition(-1).expand(2, -1, -1), context]))


def test_render_takes_a_feature_per_frame(glober):
    """What a chain of features needs: frames of one batch may belong to different features."""
    features = torch.cat([glober.sample_feature(0), glober.sample_feature(3)])
    noise, index = torch.randn(2, 4, 8, 8), torch.tensor([0.75, 0.25])
    context = torch.cat([glober.encode_condition(0), glober.encode_condition(3)])
    both = glober.render(features, index, noise, context)
    for i in range(2):
        alone = glober.render(features[i : i + 1], index[i : i + 1], noise[i : i + 1], context[i : i + 1])
        assert largest_difference(both[i : i + 1], alone) <= 1


def test_reconstruction_goes_through_keyframes_and_back(glober):
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (11, 24, 20, 3), np.uint8)
    fitted = glober.fit(video)
    assert np.array_equal(fitted, resize_and_crop(video[:8], 16))

    keyframes = torch.stack(list(to_video(fitted[[0, 3, 7]]).unbind(1)))
    with torch.no_grad():
        latents = encode_frames(glober.frame_vae, keyframes)
        mean, _ = glober.video_encoder(torch.stack([latents.transpose(0, 1)]))
    torch.testing.assert_close(glober.encode(video), mean)

    result = glober.reconstruct(video, chunk=3)
    assert largest_difference(result, glober.reconstruct(video, chunk=8)) <= 1
    noise = sampling.shared_frame_noise((4, 8, 8), 0, 0, [5], 0.0)
    frame = glober.render(mean, torch.tensor([5 / 8]), noise, glober.encode_condition(-1))
    assert largest_difference(result[5:6], frame) <= 1

    other = video.copy()
    other[[1, 2, 4, 5, 6]] = 0  # frames the encoder does not see
    assert np.array_equal(glober.reconstruct(other), glober.reconstruct(video))


def test_the_frame_ceiling_is_the_frame_autoencoder(glober):
    video = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), np.uint8)
    frames = torch.stack(list(to_video(video).unbind(1)))
    with torch.no_grad():
        decoded = decode_frames(glober.frame_vae, encode_frames(glober.frame_vae, frames))
    expected = np.concatenate([to_frames(frame[:, None]) for frame in decoded])
    assert largest_difference(glober.reconstruct_frames(video, chunk=3), expected) <= 1


def test_sampling_ignores_dropout_and_leaves_training_as_it_was(build_glober):
    pipe = build_glober()
    expected = pipe(3, label=0).frames
    pipe.frame_decoder.train()
    pipe.frame_decoder.unet.mid_block.eval()
    for part in pipe.frame_decoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    assert np.array_equal(pipe(3, label=0).frames, expected)
    assert pipe.frame_decoder.training
    assert not pipe.frame_decoder.unet.mid_block.training
    assert all(parameter.grad is None for parameter in pipe.frame_decoder.parameters())


def test_the_dpm_solver_replaces_ddim(build_glober):
    pipe = build_glober(prediction="epsilon")
    assert pipe.decoder_scheduler.config.prediction_type == "epsilon"
    pipe.use_scheduler("dpm")
    assert isinstance(pipe.decoder_scheduler, DPMSolverMultistepScheduler)
    assert pipe.config.generator_scheduler == ("diffusers", "DPMSolverMultistepScheduler")
    assert pipe.decoder_scheduler.config.prediction_type == "epsilon"
