"""Frame latents, cached and not; the frame VAE's stage; previews."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toy_glober import RECIPE, begun, changed, same, snapshot, take_steps

from longtake.core.batch import VideoBatch
from longtake.data.transforms import to_frames
from longtake.glober import stages
from longtake.glober.frame_vae import encode_frames
from longtake.glober.latents import LatentBatch, frame_latents
from longtake.glober.stages import FrameVAEStage

pytestmark = pytest.mark.usefixtures("on_cpu")


def take(stage, count):
    return itertools.islice(stage.batches(0, 0, 1), count)


def test_frame_latents_are_drawn_from_the_posterior(index, frame_vae):
    video = torch.rand(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = VideoBatch(video, torch.zeros(2), ["", ""], torch.ones(2), ["", ""], torch.zeros(2))
    frames = torch.tensor([[1, 6, 3], [7, 0, 2]])
    draws = torch.stack(
        [frame_latents(batch, frames, frame_vae, torch.Generator().manual_seed(seed)) for seed in range(200)]
    )
    assert draws.shape == (200, 2, 3, 4, 8, 8)
    for clip, position in itertools.product(range(2), range(3)):
        frame = batch.video[clip, :, frames[clip, position]][None]
        posterior = frame_vae.encode(frame).latent_dist
        mine = draws[:, clip, position]
        torch.testing.assert_close(mine.mean(0), encode_frames(frame_vae, frame)[0], rtol=0, atol=0.6)
        # the config's deviation is 0.5, so normalised latents vary twice as much
        assert (mine.std(0) / (2 * posterior.std[0])).mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("changes", [{}, {"span": 12, "short_videos": "reflect"}])
def test_cached_latents_are_those_of_the_clips_on_the_way(build_autoencoder, frame_vae, changes):
    cached = build_autoencoder(autoencoder__cached_variants=2, **changes)
    direct = build_autoencoder(**changes)
    with torch.no_grad():
        begun(cached)
        pairs = zip(cached.batches(3, 1, 2), direct.batches(3, 1, 2), strict=False)
        for latents, video in itertools.islice(pairs, 6):
            assert isinstance(latents, LatentBatch)
            assert latents.text == video.text
            assert torch.equal(latents.label, video.label)
            for clip in range(2):
                expected = encode_frames(frame_vae, video.video[clip].transpose(0, 1))
                torch.testing.assert_close(latents.latents[clip], expected, rtol=1e-4, atol=1e-5)


def test_cached_variants_are_augmented_each_anew(build_autoencoder):
    stage = build_autoencoder(autoencoder__cached_variants=3, autoencoder__augment__colour=0.3)
    begun(stage)
    variants = [stage._cache.latents(0, variant) for variant in range(3)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(variants, 2))
    batches = stage.batches(0, 0, 1)
    seen = {latents[0].sum().item() for _ in range(40) for latents in next(batches).latents}
    num_clips = sum(entry.info.num_frames - 7 for entry in stage.dataset.entries)
    assert len(seen) > num_clips  # more than there are without variants


def test_frame_vae_loss_and_export(index, tmp_path):
    torch.manual_seed(0)
    stage = FrameVAEStage(changed(RECIPE, frame_vae__kl_weight=0.1), index)
    trainer = begun(stage)
    batch = next(stage.batches(0, 0, 1))
    assert batch.video.shape == (2, 3, 1, 16, 16)
    before = snapshot(stage.frame_vae)
    with torch.no_grad():
        loss, terms = stage.loss("frame_vae", batch, 0, torch.Generator().manual_seed(0))
    assert loss == pytest.approx((terms["train/loss_recon"] + 0.1 * terms["train/loss_kl"]).item())
    posterior = stage.frame_vae.encode(batch.video[:, :, 0]).latent_dist
    assert terms["train/loss_kl"] == pytest.approx(posterior.kl().mean().item() / (4 * 8 * 8), rel=1e-4)
    take_steps(trainer, 2)
    assert not same(before, snapshot(stage.frame_vae))

    with pytest.MonkeyPatch.context() as patch, trainer.showing(2):
        patch.setattr(stages, "NUM_STATISTICS_FRAMES", 64)
        stage.export(tmp_path)
    loaded = stage.frame_vae.from_pretrained(tmp_path / "frame_vae")
    frames = torch.cat([batch.video[:, :, 0] for batch in take(stage, 32)])
    with torch.no_grad():
        latents = encode_frames(loaded, frames)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=1e-3)


def test_previews(index, build_autoencoder, build_generator):
    torch.manual_seed(0)
    for stage, name, shape in (
        (FrameVAEStage(RECIPE, index), "reconstruction", (8, 2, 16, 16, 3)),
        (build_autoencoder(), "reconstruction", (4, 8, 16, 16, 3)),
        (build_autoencoder(autoencoder__decoder__reads_condition=True), "reconstruction", (4, 8, 16, 16, 3)),
        (build_generator(generator__feature_scale="none"), "samples", (4, 8, 16, 16, 3)),
    ):
        with begun(stage).showing(1) as generator:
            videos = stage.preview(generator)
        assert list(videos) == [name]
        assert videos[name].shape == shape
        assert videos[name].dtype == np.uint8
    stage = build_autoencoder()
    with begun(stage).showing(1) as generator:
        clips = stage.preview(generator)["reconstruction"][::2]
    originals = to_frames(torch.cat([batch.video for batch in take(stage, 2)]))
    assert np.array_equal(clips, originals[: len(clips)])
