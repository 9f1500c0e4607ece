"""Sound from end to end: codes of spectrograms are trained, then a model that makes videos to a sound."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_sound import BEAT, FPS, drumming, write_drummers, write_wav
from toy_tats import NO_JUDGE, OPTIMIZER, RECIPE, changed

from longtake import recipes
from longtake.cli.main import main
from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig
from longtake.data.index import index_folder
from longtake.data.sets.stft import SAMPLE_RATE, spectra_path
from longtake.tats.config import CodebookConfig, SpectrogramRecipe, VQGANConfig
from longtake.tats.sound import read_spectrograms
from longtake.tats.spectrogram_stage import SpectrogramStage
from longtake.tats.train import train
from longtake.tats.vqgan import TatsVQGAN

pytestmark = pytest.mark.usefixtures("on_cpu")

STFT_SIZE = (8, 4)
SOUND = SpectrogramRecipe(
    stft_size=STFT_SIZE,
    span=8,
    vqgan=VQGANConfig(
        batch_size=4,
        optimizer=OPTIMIZER,
        sample_every=0,
        base_channels=4,
        downsample=(4, 4, 4),
        codebook=CodebookConfig(num_codes=16, dim=8),
        perceptual_weight=0.0,
        discriminator=NO_JUDGE,
    ),
)
DRUMS = changed(
    RECIPE,
    condition="stft",
    conditioning__stft_size=STFT_SIZE,
    size=8,
    vqgan__downsample=(4, 4, 4),
    vqgan__batch_size=4,
    vqgan__discriminator=NO_JUDGE,
    transformer__batch_size=8,
    transformer__num_latents=2,
    transformer__hidden_size=32,
    transformer__cached_variants=1,
    transformer__ema_decay=None,
    sampling__context_latents=1,
    sampling__top_p=0.5,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_drummers(tmp_path_factory.mktemp("drums") / "train")


@pytest.fixture(scope="module")
def sound_run(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        patch.setattr(recipes, "RECIPES", {"toy_stft": lambda: SOUND})
        run = tmp_path_factory.mktemp("sound") / "run"
        assert main(["train", "toy_stft", "--data", str(data), "--out", str(run), "--max-steps", "40"]) == 0
    return run


def test_batches_are_the_clips_spectrograms(data):
    stage = SpectrogramStage(SOUND, index_folder(data))
    batch = next(stage.batches(3, 1, 2))
    assert batch.video.shape == (4, 1, 8, *STFT_SIZE)
    assert len(set(batch.path)) > 1
    for video, path, start in zip(batch.video, batch.path, batch.start.tolist(), strict=True):
        assert torch.equal(video[0], 2 * read_spectrograms(path, STFT_SIZE)[start : start + 8])
    again = list(zip(range(8), stage.batches(0, 1, 2), strict=False))[3][1]
    assert torch.equal(again.video, batch.video)


def test_spectrograms_are_learned(sound_run):
    losses = [json.loads(line) for line in (sound_run / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1]["train/loss_l1"] < 0.6 * losses[0]["train/loss_l1"]
    assert losses[-1]["train/codes_used"] > 1
    model = TatsVQGAN.from_pretrained(sound_run / "model")
    assert model.config.in_channels == 1
    part = load_file(sound_run / "components/stft_vqgan/stft_vqgan/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, part[key]) for key, value in model.state_dict().items())


def test_training_of_spectrograms_resumes_exactly(data, tmp_path):
    for run, steps in (("straight", [6]), ("stopped", [3, 6])):
        for count in steps:
            train(SOUND, "toy", data, tmp_path / run, max_steps=count, resume=count != steps[0], device="cpu")
    name = "model/diffusion_pytorch_model.safetensors"
    expected, found = load_file(tmp_path / "straight" / name), load_file(tmp_path / "stopped" / name)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_preview_shows_spectrograms_with_low_frequencies_at_the_bottom(data):
    stage = SpectrogramStage(SOUND, index_folder(data))
    stage.vqgan.eval()
    with torch.no_grad():
        shown = stage.preview(torch.Generator())["reconstruction"]
    assert shown.shape == (8, 8, *STFT_SIZE, 3)
    first = stage._batch(range(1)).video[0, 0, :, 0] / 2  # the lowest row of the first clip
    assert np.abs(shown[0, :, -1, :, 0] / 127.5 - 1 - first.numpy()).max() < 0.01


def loudness_and_brightness(frames: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How loud each beat is, and how bright the frames are in its middle."""
    loudness = np.abs(samples).reshape(-1, BEAT * SAMPLE_RATE // FPS).mean(axis=1)
    return loudness, frames.reshape(-1, BEAT, *frames.shape[1:])[:, 1:3].mean(axis=(1, 2, 3, 4))


def test_video_follows_a_sound_it_was_not_trained_on(data, sound_run, tmp_path, capsys):
    recipe = changed(DRUMS, conditioning__stft_vqgan=str(sound_run / "model"))
    train(recipe, "toy", data, tmp_path / "run", max_steps=200, device="cpu")
    _, samples = drumming(np.random.default_rng(9), num_beats=16)
    write_wav(tmp_path / "new.wav", samples, SAMPLE_RATE)
    out = tmp_path / "x.npy"
    arguments = ["sample", tmp_path / "run", "--frames", 16 * BEAT, "--audio", tmp_path / "new.wav", "--out", out]
    assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    loudness, brightness = loudness_and_brightness(np.load(out), samples)
    assert np.corrcoef(loudness, brightness)[0, 1] > 0.8


def test_what_sound_needs_is_named(data, tmp_path):
    recipe = changed(DRUMS, conditioning__stft_vqgan=str(tmp_path / "none"))
    run = tmp_path / "run"
    for changes, message in (
        ({"condition": "stft", "sample_step": 2}, "sample_step is 2"),
        ({"condition": "stft"}, r"no VQGAN of spectrograms in .*none: train one"),
    ):
        with pytest.raises(UserError, match=message):
            train(changed(recipe, **changes), "toy", data, run, max_steps=1, device="cpu")
    for changes, message in (
        ({"stft_size": (10, 4)}, r"span and stft_size are \[8, 10, 4\]"),
        ({"vqgan__augment": AugmentConfig(mirror=True)}, "vqgan.augment is set"),
    ):
        with pytest.raises(UserError, match=message):
            train(changed(SOUND, **changes), "toy", data, tmp_path / "other", device="cpu")
    mute = write_drummers(tmp_path / "mute", num_videos=2)
    spectra_path(mute / "1.npy").unlink()
    with pytest.raises(UserError, match=r"no spectra of the sound of 1 of 2 videos, such as .*1.npy"):
        train(SOUND, "toy", mute, tmp_path / "other", device="cpu")
    assert not (tmp_path / "other").exists()
