"""What a user gets from a pipeline: any part of a video again, of any length, and one line for each mistake."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from toy_recall import SIZE
from toy_sampling import as_clip, as_frames, close, gpt, joined, noise_video, pipeline

from longtake.core.errors import UserError
from longtake.core.randomness import generator
from longtake.data.transforms import resize_and_crop
from longtake.recall import arithmetic
from longtake.recall.pipeline import RecallPipeline
from longtake.recall.request import SamplingOptions
from longtake.recall.sampling import DRAW_CLIP
from peak_memory import PeakMemory

VIDEO = noise_video(90)
GIVEN = {
    "g3an": {},
    "encgan3": {"first_clip": VIDEO},
    "lencgan": {"first_clip": VIDEO},
    "r2": {"first_clip": VIDEO},
    "ar2": {},
    "r3": {},
}


@pytest.fixture(scope="module")
def pipes():
    return {model: pipeline(model) for model in GIVEN}


@pytest.mark.parametrize("model", GIVEN)
def test_any_chunk_and_any_part_give_the_same_frames(pipes, model):
    pipe, given = pipes[model], GIVEN[model]
    whole = pipe(61, **given).frames
    assert whole.shape == (61, SIZE, SIZE, 3)
    assert whole.std() > 3
    for chunk in (1, 7, 40):
        chunks = list(pipe.stream(61, chunk=chunk, **given))
        assert max(len(frames) for frames in chunks) <= chunk
        assert close(np.concatenate(chunks), whole)
    for start, stop in ((0, 1), (21, 33), (60, 61)):
        assert close(joined(pipe.stream(61, start=start, stop=stop, **given)), whole[start:stop])


@pytest.mark.parametrize("model", GIVEN)
def test_seed_and_number_of_the_video_matter(pipes, model):
    pipe, given = pipes[model], GIVEN[model]
    base = pipe(24, seed=3, video=1, **given).frames
    assert (pipe(24, seed=3, video=1, **given).frames == base).all()
    assert not close(pipe(24, seed=4, video=1, **given).frames, base)
    both = pipe(24, seed=3, num_videos=2, **given).frames
    assert (both[1] == base).all()
    assert not close(both[0], base)


@pytest.mark.parametrize("model", ["ar2", "r3", "r2"])
def test_longer_video_goes_on_where_the_shorter_one_ends(pipes, model):
    """All but the last clip's second half, which the next clip covers."""
    short, long = pipes[model](40, **GIVEN[model]).frames, pipes[model](72, **GIVEN[model]).frames
    assert close(short[:32], long[:32])


@pytest.mark.parametrize("model", ["ar2", "r3"])
@pytest.mark.parametrize("options", [{}, {"mode": "mean"}, {"mode": "vdrej", "candidates": 2}])
def test_videos_go_on_from_the_end_of_a_first_clip(pipes, model, options):
    clip = noise_video(29, 20, 18)
    video = pipes[model](40, first_clip=clip, **options).frames
    assert (video[:8] == resize_and_crop(clip[13:21], SIZE)).all()
    assert (pipes[model](16, first_clip=clip, **options).frames == resize_and_crop(clip[13:], SIZE)).all()
    assert not close(video[8:], pipes[model](40, first_clip=255 - clip, **options).frames[8:])


def test_first_clip_of_another_size_is_fitted(pipes):
    clip = noise_video(24, 37, 52)
    fitted = resize_and_crop(clip, SIZE)
    for model in ("encgan3", "lencgan", "r2", "ar2", "r3"):
        length = 16 if model == "lencgan" else 24
        assert (pipes[model](length, first_clip=clip).frames == pipes[model](length, first_clip=fitted).frames).all()


def test_r3_begins_with_an_example_of_the_class(pipes):
    pipe = pipes["r3"]
    spaces = [pipe.gpt.example(number) for number in range(4)]
    for label, name in enumerate(("bend", "jump")):
        video = pipe(16, label=name, mode="mean").frames
        assert (pipe(16, label=str(label), mode="mean").frames == video).all()
        with torch.no_grad():
            starts = [
                as_frames(pipe.generator(tokens[:1, :6], tokens[:1, 12:16])) for tokens, own in spaces if own == label
            ]
        assert sum(close(video, start) for start in starts) == 1
    drawn = {pipe._examples(None, None, SamplingOptions(video=video))[0] for video in range(40)}
    assert drawn == {0, 1, 2, 3}


@pytest.mark.parametrize("layout", ["paired", "labelled"])
def test_other_layouts_sample_too(layout):
    pipe = pipeline("r3", gpt=gpt(layout=layout, num_positions=9, num_classes=2))
    first = pipe(80, label="bend").frames
    assert first.shape == (80, SIZE, SIZE, 3)
    begun = pipe(80, label="bend", first_clip=VIDEO).frames
    assert (begun[:8] == VIDEO[74:82]).all()
    assert not close(begun, pipe(80, label="jump", first_clip=VIDEO).frames)


def test_r2_by_its_parts(pipes):
    pipe = pipes["r2"]
    with torch.no_grad():
        spaces = [pipe.encoder(as_clip(VIDEO[start : start + 16])) for start in (0, 8, 16)]
        clips = [
            pipe.generator(*space.sample(generator(7, 2, DRAW_CLIP, number))) for number, space in enumerate(spaces)
        ]
    expected = np.concatenate([*(as_frames(clip)[:8] for clip in clips), as_frames(clips[-1])[8:]])
    assert close(pipe(32, first_clip=VIDEO, seed=7, video=2).frames, expected)


@pytest.mark.parametrize(("model", "made"), [("encgan3", 16), ("lencgan", 76), ("r2", 88), ("r3", 88)])
def test_reconstruction_takes_the_means(pipes, model, made):
    pipe, video = pipes[model], noise_video(90, 20, 17)
    rebuilt = pipe.reconstruct(video)
    assert rebuilt.shape == pipe.fit(video).shape == (made, SIZE, SIZE, 3)
    if model in ("encgan3", "r2"):
        assert close(rebuilt, pipe(made, first_clip=video, mode="mean").frames)
    assert (pipe.fit(video) == resize_and_crop(video[:made], SIZE)).all()


def test_latent_arithmetic(pipes):
    pipe = pipes["r2"]
    first, second = pipe.encode(noise_video(16, seed=1)), pipe.encode(noise_video(16, seed=2))
    one, other = arithmetic.swap_motion(first, second)
    assert torch.equal(one.content_mean, first.content_mean)
    assert torch.equal(one.motion_logvar, second.motion_logvar)
    assert torch.equal(other.content_logvar, second.content_logvar)
    assert torch.equal(other.motion_mean, first.motion_mean)
    with torch.no_grad():
        expected = as_frames(pipe.generator(first.content_mean, second.motion_mean))
    assert (pipe.decode(one, mode="mean") == expected).all()
    quarter = arithmetic.interpolate(first, second, 0.25)
    torch.testing.assert_close(quarter.motion_mean, 0.75 * first.motion_mean + 0.25 * second.motion_mean)
    assert torch.equal(arithmetic.interpolate(first, second, 0).tokens(), first.tokens())
    with pytest.raises(UserError, match=r"weight must be in 0\.\.1, not 2"):
        arithmetic.interpolate(first, second, 2)


def test_sum_of_latent_spaces_is_that_of_its_draws(pipes):
    first, second = (pipes["r2"].encode(noise_video(16, seed=seed)) for seed in (1, 2))
    total = arithmetic.add(first, second)
    rng = torch.Generator().manual_seed(0)
    draws = torch.stack([first.sample(rng)[0] + second.sample(rng)[0] for _ in range(4000)])
    torch.testing.assert_close(draws.mean(dim=0), total.content_mean, rtol=0, atol=0.1)
    torch.testing.assert_close(draws.var(dim=0), total.content_logvar.exp(), rtol=0.1, atol=0)


@pytest.mark.parametrize("model", GIVEN)
def test_saved_and_loaded_pipeline_makes_the_same_video(pipes, model, tmp_path):
    pipe = pipes[model]
    pipe.save_pretrained(tmp_path)
    loaded = RecallPipeline.from_pretrained(tmp_path)
    settings = [{key: value for key, value in one.config.items() if key[0] != "_"} for one in (loaded, pipe)]
    assert settings[0] == settings[1]
    assert close(loaded(20, **GIVEN[model]).frames, pipe(20, **GIVEN[model]).frames)


@pytest.mark.parametrize(
    ("model", "sampling"), [("r2", {}), ("ar2", {}), ("encgan3", {}), ("r3", {}), ("r3", {"rollout": "faster"})]
)
def test_memory_is_flat(pipes, model, sampling):
    peaks = []
    for length in (64, 240):  # both an odd number of clips: the last passes alone, which torch's kernels treat apart
        given = {"first_clip": noise_video(length)} if GIVEN[model] else {}
        gc.collect()
        with PeakMemory() as memory:
            for frames in pipes[model].stream(length, **given, **sampling):
                assert len(frames) <= 16
        peaks.append(memory.peak)
    assert peaks[0] > 1e5
    assert peaks[1] <= 1.05 * peaks[0]


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("r3", {"num_frames": 0}, "number of frames must be at least 1, not 0"),
        ("r3", {"start": 5, "stop": 5}, r"cannot make frames 5\.\.5"),
        ("r3", {"label": "jmp"}, "unknown label 'jmp'; did you mean 'jump'"),
        ("r3", {"label": 2}, r"label 2 is out of range: the model has classes 0\.\.1"),
        ("r3", {"label": "bend", "first_clip": VIDEO}, r"give no label \('bend'\) with it"),
        ("r3", {"mode": "vdrejj"}, "unknown mode 'vdrejj'; did you mean 'vdrej'"),
        ("r3", {"rollout": "fast"}, "unknown rollout 'fast'; did you mean 'faster'"),
        ("r3", {"candidates": 4}, "candidates is 4, but mode 'sample' chooses none; use mode 'vdrej'"),
        ("r3", {"candidates": 0}, "candidates must be at least 1, not 0"),
        ("r3", {"chunk": 0}, "chunk must be at least 1"),
        ("r3", {"seed": -1}, "seed must be in"),
        ("r3", {"first_clip": VIDEO[:15]}, "the video has 15 frames, but the model needs 16"),
        ("r3", {"first_clip": VIDEO / 255}, "a video must be uint8"),
        ("ar2", {"label": "bend"}, r"no classes, so it takes no label \('bend'\)"),
        ("ar2", {"rollout": "faster"}, "no GPT, so it takes no rollout"),
        ("encgan3", {"mode": "vdrej"}, "no clip discriminator: mode must be 'mean' or 'sample'"),
        ("g3an", {"first_clip": VIDEO}, "takes no first clip"),
        ("r2", {}, "a model 'r2' recreates a video: give it one"),
        ("lencgan", {}, "a model 'lencgan' recreates a video: give it one"),
        ("r2", {"num_frames": 89, "first_clip": VIDEO}, "cannot make 89 frames: the video has 90, of which .* 88"),
        ("lencgan", {"num_frames": 77, "first_clip": VIDEO}, "cannot make 77 frames: .* recreates 76"),
    ],
)
def test_mistakes_are_one_line_at_the_call(pipes, model, asked, message):
    with pytest.raises(UserError, match=message) as caught:
        pipes[model].stream(**asked)
    assert "\n" not in str(caught.value)


def test_what_a_model_cannot_do_at_all(pipes):
    with pytest.raises(UserError, match="no encoder"):
        pipes["g3an"].encode(VIDEO)
    for model in ("g3an", "ar2"):
        with pytest.raises(UserError, match="reconstructs no videos"):
            pipes[model].reconstruct(VIDEO)
    with pytest.raises(UserError, match="a GPT if it is an R3"):
        pipeline("r2", gpt=pipes["r3"].gpt)


@pytest.mark.parametrize("model", ["encgan3", "ar2", "r3"])
def test_the_way_to_the_first_frame_is_announced(pipes, model):
    shares: list[float] = []
    stream = pipes[model].stream(300, start=250, preparing=shares.append, **GIVEN[model])
    assert shares == []
    next(stream)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert shares[-1] == 1
    steps = np.diff(shares[:-1]) * 251  # frames: as many each time
    np.testing.assert_allclose(steps, steps[0])
    count = len(shares)
    list(stream)
    assert len(shares) == count
