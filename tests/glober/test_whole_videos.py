"""Videos of different lengths, each a clip of its own: frame i of F has the time i / F."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toy_glober import RECIPE, SIZE, begun, changed, few_statistics, moving_square, random_frame_vae, short_recipe

import longtake
from longtake.cli.main import main
from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.glober.frame_vae import encode_frames
from longtake.glober.stages import AutoencoderStage
from longtake.glober.train import train
from longtake.video import read_video, write_video

pytestmark = pytest.mark.usefixtures("on_cpu")

LENGTHS = {"a": 5, "b": 8, "c": 30}
WHOLE = {
    "frames": "whole_video",
    "condition": "none",
    "autoencoder__cra_weight": 0.0,
    "autoencoder__cached_variants": 1,
    "generator__cached_variants": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos of all lengths, one of them too short for four keyframes."""
    root = tmp_path_factory.mktemp("lengths")
    for name, length in {**LENGTHS, "too-short": 3}.items():
        write_video(root / f"{name}.npy", moving_square("down", 0, length), 10)
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A run of six steps per stage."""
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch, few_statistics():
        patch.setenv("ACCELERATE_USE_CPU", "1")
        train(changed(short_recipe(), **WHOLE, autoencoder__sample_every=3), "toy", folder, run)
    return run


def test_every_frame_of_every_video_is_learned_at_its_share_of_the_video(folder, monkeypatch):
    torch.manual_seed(0)
    frame_vae = random_frame_vae()
    stage = AutoencoderStage(changed(RECIPE, **WHOLE, autoencoder__batch_size=3), index_folder(folder), frame_vae)
    begun(stage)
    assert {entry.path.stem for entry in stage.dataset.entries} == set(LENGTHS)
    latents = {
        length: encode_frames(frame_vae, torch.from_numpy(video).permute(0, 3, 1, 2) / 127.5 - 1)
        for length in LENGTHS.values()
        for video in [moving_square("down", 0, length)]
    }
    keyframes, times, noisy = [], [], []
    encode, control, decode = stage.video_encoder.forward, stage.frame_decoder.control, stage.frame_decoder.forward
    monkeypatch.setattr(stage.video_encoder, "forward", lambda x: keyframes.append(x) or encode(x))
    monkeypatch.setattr(stage.frame_decoder, "control", lambda v, t: times.append(t) or control(v, t))
    # without noise the decoder is given the very frames that it learns
    monkeypatch.setattr("longtake.glober.losses.add_noise", lambda clean, *_: clean)
    monkeypatch.setattr(stage.frame_decoder, "forward", lambda x, *rest: noisy.append(x) or decode(x, *rest))
    monkeypatch.setattr("longtake.glober.stages.draw_kept", lambda count, *_: torch.ones(count, dtype=torch.bool))
    seen = {length: set() for length in latents}
    for batch in itertools.islice(stage.batches(0, 0, 1), 200):
        with torch.no_grad():
            stage.loss("autoencoder", batch, 0, torch.Generator().manual_seed(len(times)))
        for clip, length in enumerate(batch.lengths):
            mine = latents[length]
            expected = mine[[0, 2 * length // 8, 5 * length // 8, 7 * length // 8]]
            torch.testing.assert_close(keyframes[-1][clip].transpose(0, 1), expected, rtol=1e-4, atol=1e-4)
            for time, frame in zip(times[-1].view(3, 3)[clip], noisy[-1].unflatten(0, (3, 3))[clip], strict=True):
                number = round(time.item() * length)
                assert time.item() == pytest.approx(number / length, abs=1e-6)
                torch.testing.assert_close(frame, mine[number], rtol=1e-4, atol=1e-4)
                seen[length].add(number)
    assert seen == {length: set(range(length)) for length in latents}


def test_a_trained_model_takes_and_makes_whole_videos(trained, folder):
    pipe = longtake.load(trained, device="cpu")
    assert pipe.config.fps == pytest.approx(25)  # 8 frames for 5, 8 and 30 at 25 per second: 40, 25 and 6.7
    assert pipe().frames.shape == (8, SIZE, SIZE, 3)
    assert pipe(100, stretch=True).frames.shape == (100, SIZE, SIZE, 3)
    for length in LENGTHS.values():
        video = moving_square("down", 0, length)
        assert np.array_equal(pipe.fit(video), video[[k * length // 8 for k in range(8)]])
        torch.testing.assert_close(pipe.encode(video), pipe.encode(pipe.fit(video)))
        assert pipe.reconstruct(video).shape == (8, SIZE, SIZE, 3)
    with pytest.raises(UserError, match="the video has 3 frames, but the model needs 4"):
        pipe.fit(moving_square("down", 0, 3))
    preview = read_video(next((trained / "samples" / "autoencoder").glob("*.mp4")))
    assert len(preview) == 8


def test_reconstruct_compares_with_all_of_the_video(trained, folder, tmp_path):
    assert main(["reconstruct", str(trained), str(folder / "c.npy"), "--out", str(tmp_path / "out")]) == 0
    written = read_video(tmp_path / "out" / "c.mp4")
    assert written.shape == (8, SIZE, 2 * SIZE, 3)
    original = moving_square("down", 0, 30)[[k * 30 // 8 for k in range(8)]]
    assert np.abs(written[:, :, :SIZE].astype(int) - original).mean() < 12  # compressed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"autoencoder__cached_variants": 0}, "set autoencoder.cached_variants or .encoded"),
        ({"generator__cached_variants": 0}, "set generator.cached_variants or .encoded"),
        ({"generator__previous_window": True}, "previous_window chains windows of a fixed length"),
        ({"short_videos": "reflect"}, "short_videos fills up clips of a fixed length"),
        ({"autoencoder__num_targets": 5}, "num_targets is 5; with frames whole_video it must be at most 4"),
        ({"frames": "whole"}, "unknown frames 'whole'; did you mean 'whole_video'"),
    ],
)
def test_settings_that_do_not_go_with_whole_videos(folder, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(changed(RECIPE, **{**WHOLE, **changes}), "toy", folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()
