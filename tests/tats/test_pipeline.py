"""What a user gets from a pipeline: any part of a video again, videos of any length, and one line for each mistake."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_transformers import CLASSES, pipeline, transformer, vqgan

from longtake.core.errors import UserError
from longtake.tats.decoding import Part
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.request import SamplingOptions, Wish, resolve_label
from longtake.tats.vocabulary import BytePairs

MODES = ("sliding", "hierarchical")


@pytest.fixture(scope="module")
def pipe() -> TatsPipeline:
    return pipeline()


def joined(stream) -> np.ndarray:
    return np.concatenate(list(stream))


@pytest.mark.parametrize("mode", MODES)
def test_any_chunk_and_any_part_give_the_same_frames(pipe, mode):
    whole = pipe(70, mode=mode).frames
    assert whole.shape == (70, 8, 8, 3)
    assert whole.std() > 3
    for chunk in (1, 7, 16, 100):
        chunks = list(pipe.stream(70, mode=mode, chunk=chunk))
        assert max(len(frames) for frames in chunks) <= chunk
        assert (np.concatenate(chunks) == whole).all()
    for start, stop in ((0, 1), (21, 33), (69, 70)):
        assert (joined(pipe.stream(70, mode=mode, start=start, stop=stop)) == whole[start:stop]).all()


@pytest.mark.parametrize("mode", MODES)
def test_longer_video_goes_on_where_the_shorter_one_ends(pipe, mode):
    """All but the frames whose decoding reaches over the shorter one's end."""
    short, long = pipe(60, mode=mode).frames, pipe(150, mode=mode).frames
    same = 60 - 4 * pipe.vqgan.decoder_context[1]
    assert (short[:same] == long[:same]).all()


def test_frames_are_the_decoded_codes_as_a_whole(pipe):
    plan = pipe._plan(Wish(label=1), Part(0, 40, 40), SamplingOptions(), video=3)
    latents = pipe._latents([plan], SamplingOptions())
    codes = torch.stack([next(latents).view(1, 2, 2) for _ in range(10)], dim=1)
    with torch.no_grad():
        video = pipe.vqgan.decode(codes)
    expected = ((video[0] + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
    assert (pipe(40, video=3, label=1).frames == expected).all()


@pytest.mark.parametrize("mode", MODES)
def test_batch_gives_what_streams_give(pipe, mode):
    together = pipe(20, mode=mode, num_videos=3, video=4, seed=9).frames
    for number, frames in enumerate(together):
        assert (joined(pipe.stream(20, mode=mode, video=4 + number, seed=9)) == frames).all()
    assert (together[0] != together[1]).any()


def test_seed_label_and_sampling_settings_matter(pipe):
    base = pipe(16, label=0, mode="sliding").frames
    assert (pipe(16, label=0, mode="sliding").frames == base).all()
    assert (pipe(16, label="bend", mode="sliding").frames == base).all()
    assert (pipe(16, label="0", mode="sliding").frames == base).all()
    for change in ({"seed": 1}, {"label": 2}, {"temperature": 3.0}, {"top_k": 1}, {"top_p": 0.1}):
        assert (pipe(16, **{"label": 0, "mode": "sliding", **change}).frames != base).any(), change
    assert (pipe(16, label=0, mode="sliding", top_k=0, top_p=1.0).frames == base).all()
    long = pipe(32, label=0, mode="sliding", context=3).frames
    assert (pipe(32, label=0, mode="sliding", context=1).frames != long).any()


def test_labels_are_drawn_from_the_shares_in_training():
    weights = [0.7, 0.0, 0.3]
    drawn = [resolve_label(None, CLASSES, weights, seed=0, video=video) for video in range(1000)]
    counts = np.bincount(drawn, minlength=3) / 1000
    assert np.abs(counts - weights).max() < 4 * (0.21 / 1000) ** 0.5
    assert counts[1] == 0
    pipe = pipeline(class_weights=[0, 1, 0])
    assert (pipe(8).frames == pipe(8, label=1).frames).all()


@pytest.mark.parametrize(("mode", "kept"), [("sliding", 16), ("hierarchical", 20)])
def test_video_begins_with_the_end_of_the_first_clip(pipe, mode, kept):
    """16 frames are a window; 20 are a frame of the sparse model, the three between, and the next."""
    clip = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), dtype=np.uint8)
    begun = pipe(kept, mode=mode, first_clip=clip).frames
    video = torch.tensor(clip[-kept:]).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        expected = pipe.vqgan.decode(pipe.vqgan.encode(video))[0]
    assert (begun == ((expected + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()).all()
    longer = pipe(60, mode=mode, first_clip=clip).frames
    assert (longer[40:] != pipe(60, mode=mode, first_clip=255 - clip).frames[40:]).any()


def test_group_norm_decodes_whole_videos():
    pipe = pipeline(vqgan=vqgan(norm="group", norm_groups=2))
    whole = pipe(40).frames
    assert (joined(pipe.stream(40, start=9, stop=22, chunk=5)) == whole[9:22]).all()


@pytest.mark.parametrize("parts", ["all", "base", "pair"])
def test_saved_and_loaded_pipeline_makes_the_same_video(tmp_path, parts):
    missing = {"all": {}, "base": {"sparse": None, "interpolation": None}, "pair": {"transformer": None}}[parts]
    pipe = pipeline(**missing, class_weights=[1, 2, 3], top_k=5, top_p=0.9, temperature=1.5, context=2)
    pipe.save_pretrained(tmp_path)
    loaded = TatsPipeline.from_pretrained(tmp_path)
    settings = [{key: value for key, value in one.config.items() if key[0] != "_"} for one in (loaded, pipe)]
    assert settings[0] == settings[1]
    assert (loaded(20).frames == pipe(20).frames).all()


def test_saved_pipeline_keeps_its_vocabulary(tmp_path):
    vocabulary = BytePairs.learn(["a cat sat on a mat", "a rat sat on a cat"], 10)
    model = transformer(condition_vocabulary=vocabulary.size, condition_length=6)
    pipe = TatsPipeline(vqgan(), model, condition="caption", merges=vocabulary.merges)
    pipe.save_pretrained(tmp_path)
    loaded = TatsPipeline.from_pretrained(tmp_path)
    assert (loaded(12, prompt="a cat").frames == pipe(12, prompt="a cat").frames).all()
    assert (pipe(12, prompt="a cat").frames != pipe(12, prompt="a rat").frames).any()


def test_reconstruction_is_the_vqgans(pipe):
    video = np.random.default_rng(0).integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
    original = pipe.fit(video)
    assert original.shape == (16, 8, 8, 3)
    with torch.no_grad():
        codes = pipe.vqgan.encode(torch.tensor(original).permute(3, 0, 1, 2)[None] / 127.5 - 1)
        expected = pipe.vqgan.decode(codes)[0]
    assert (pipe.reconstruct(video) == ((expected + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "number of frames must be at least 1, not 0"),
        ({"start": 5, "stop": 5}, r"cannot make frames 5\.\.5"),
        ({"label": "jmp"}, "unknown label 'jmp'; did you mean 'jump'"),
        ({"label": 3}, "label 3 is out of range"),
        ({"prompt": "a cat"}, r"takes no prompt \('a cat'\), only a label or a story"),
        ({"story": [(0, "bend"), (4, "jmp")]}, "unknown label 'jmp'; did you mean 'jump'"),
        ({"story": [(0, "bend")], "label": 1}, "give one of them"),
        ({"story": [(0, "bend"), (16, "jump")]}, "begins at frame 16, but the video has 16 frames"),
        ({"audio": "x.npz"}, "takes no audio"),
        ({"mode": "slidng"}, "unknown mode 'slidng'; did you mean 'sliding'"),
        ({"mode": "sliding", "compat": True}, "compat is a way to fill in between latent frames"),
        ({"context": 4}, "context is 4; this model sees 1 to 3"),
        ({"context": 0}, "context must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"seed": -1}, "seed must be in"),
        ({"video": -1}, "video number must be in"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"first_clip": np.zeros((2, 8, 8, 3), np.uint8)}, "the video has 2 frames, but the model needs 4"),
        ({"first_clip": np.zeros((8, 8, 8, 3), np.float32)}, "a video must be uint8"),
    ],
)
def test_mistakes_are_named_at_the_call(pipe, options, message):
    with pytest.raises(UserError, match=message):
        pipe.stream(**options)


def test_missing_transformers_are_named():
    with pytest.raises(UserError, match="no mode 'hierarchical'"):
        pipeline(sparse=None, interpolation=None).stream(8, mode="hierarchical")
    with pytest.raises(UserError, match="needs a transformer"):
        pipeline(interpolation=None)


@pytest.mark.parametrize("story", [[], [(4, "a")], [(0, "a"), (0, "b")], [(0, "a"), (8, "b"), (4, "c")]])
def test_story_must_rise_from_frame_0(story):
    model = transformer(condition_vocabulary=257, condition_length=4)
    pipe = TatsPipeline(vqgan(), model, condition="caption", merges=())
    with pytest.raises(UserError, match="must rise from 0"):
        pipe.stream(16, story=story)


@pytest.mark.parametrize("mode", MODES)
def test_story_of_classes_is_the_first_class_until_the_second_begins(pipe, mode):
    """The sparse frames before the change have to fit those after it, and decoding looks ahead."""
    story = pipe(64, story=[(0, "bend"), (32, 2)], mode=mode).frames
    only = pipe(64, label="bend", mode=mode).frames
    same = 32 - (16 if mode == "hierarchical" else 0) - 4 * pipe.vqgan.decoder_context[1]
    assert (story[:same] == only[:same]).all()
    assert (story[32:] != only[32:]).any()
    assert (pipe(64, story=[(0, "bend")], mode=mode).frames == only).all()


@pytest.mark.parametrize("mode", MODES)
def test_the_way_to_the_first_frame_is_announced(pipe, mode):
    shares: list[float] = []
    stream = pipe.stream(400, mode=mode, start=321, stop=390, chunk=8, preparing=shares.append)
    assert shares == []
    next(stream)
    # latent frames of 4 frames each, the first two chunks' and those that their decoding depends on after them
    _, after = pipe.vqgan.decoder_context
    needed = 321 // 4 + 8 // 4 + after
    np.testing.assert_allclose(shares, np.arange(1, needed + 1) / needed)
    list(stream)
    assert len(shares) == needed


def test_group_norm_announces_the_whole_video():
    shares: list[float] = []
    list(pipeline(vqgan=vqgan(norm="group", norm_groups=2)).stream(40, preparing=shares.append))
    np.testing.assert_allclose(shares, np.arange(1, 11) / 10)
