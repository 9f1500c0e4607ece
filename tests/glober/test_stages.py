"""The stages' draws, their losses, what they train and what they leave alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
import torch
from toy_glober import RECIPE, begun, latent_batch, same, snapshot, take_steps

from longtake.glober import generator_stage, losses
from longtake.glober.draws import draw_kept, draw_targets
from longtake.glober.frame_vae import decode_frames

pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def test_targets_are_different_frames_with_the_first_two_in_order(rng):
    for num_targets in (1, 2, 5, 8):
        frames = draw_targets([8] * 500, num_targets, rng)
        assert frames.shape == (500, num_targets)
        assert all(len(set(row)) == num_targets and set(row) <= set(range(8)) for row in frames.tolist())
        assert (frames[:, :2].diff(dim=1) > 0).all()


def test_targets_are_uniform(rng):
    frames = draw_targets([8] * 28_000, 3, rng)
    pairs = Counter((first, second) for first, second, _ in frames.tolist())
    assert set(pairs) == set(itertools.combinations(range(8), 2))
    assert all(850 < count < 1150 for count in pairs.values())  # 1000 +- 31
    assert all(3250 < count < 3750 for count in frames[:, 2].bincount().tolist())  # 3500 +- 55


def test_targets_lie_within_each_clip_and_are_uniform_there(rng):
    frames = draw_targets([3, 7] * 14_000, 3, rng)
    assert frames[::2].max() == 2
    assert sorted(frames[0].tolist()) == [0, 1, 2]
    counts = frames[1::2].flatten().bincount().tolist()
    assert len(counts) == 7
    assert all(5800 < count < 6200 for count in counts)  # 6000 +- 59


def test_dropout_rate(rng):
    assert 0.28 < 1 - draw_kept(10_000, 0.3, rng).float().mean() < 0.32
    assert draw_kept(100, 0.0, rng).all()


def test_features_and_conditions_are_dropped_at_their_rates_independently(build_autoencoder, rng):
    stage = build_autoencoder(
        autoencoder__feature_dropout=0.3,
        autoencoder__condition_dropout=0.2,
        autoencoder__decoder__reads_condition=True,
        autoencoder__cra_weight=0.0,
        autoencoder__num_targets=1,
    )
    dropped = {}

    def encode(keyframes):
        dropped["feature"] = keyframes.flatten(1).eq(0).all(1)
        return torch.zeros(len(keyframes), 4, 4, 4), torch.zeros(len(keyframes), 4, 4, 4)

    class Decoder:
        def control(self, feature, index):
            return []

        def __call__(self, noisy, timestep, control, context):
            assert context.shape == (len(noisy), 1, 8)
            return noisy

    stage.video_encoder, stage.frame_decoder = encode, Decoder()
    stage.condition_encoder.register_forward_pre_hook(
        lambda module, arguments: dropped.update(condition=arguments[0] == -1)
    )
    stage.loss("autoencoder", latent_batch(4000), 0, rng)
    feature, condition = dropped["feature"].float(), dropped["condition"].float()
    assert 0.27 < feature.mean() < 0.33
    assert 0.17 < condition.mean() < 0.23
    assert 0.045 < (feature * condition).mean() < 0.075  # 0.3 * 0.2


def test_generator_drops_conditions_at_its_rate(build_generator, rng):
    stage = build_generator(generator__condition_dropout=0.25)
    labels = []
    stage.condition_encoder.register_forward_pre_hook(lambda module, arguments: labels.append(arguments[0]))
    for _ in range(10):
        stage.loss("generator", latent_batch(200), 0, rng)
    seen = torch.cat(labels)
    assert 0.22 < (seen == -1).float().mean() < 0.28
    assert abs((seen == 0).sum() - (seen == 1).sum()) < 150


def test_loss_is_the_weighted_sum_of_its_terms(build_autoencoder):
    stage = build_autoencoder(autoencoder__feature_kl_weight=0.01, autoencoder__cra_weight=0.3)
    with torch.no_grad():
        loss, terms = stage.loss("autoencoder", latent_batch(4), 0, torch.Generator().manual_seed(1))
    expected = terms["train/loss_recon"] + 0.01 * terms["train/loss_kl"] + 0.3 * terms["train/loss_cra"]
    assert loss == pytest.approx(expected.item())
    assert terms["train/loss_kl"] > 0


def test_denoising_loss_of_a_known_network(build_autoencoder):
    """A network that predicts zero has the mean square of its target as its loss: of noise, 1."""
    stage = build_autoencoder(autoencoder__cra_weight=0.0, autoencoder__num_targets=8)
    torch.nn.init.zeros_(stage.frame_decoder.unet.conv_out.weight)
    torch.nn.init.zeros_(stage.frame_decoder.unet.conv_out.bias)
    _, terms = stage.loss("autoencoder", latent_batch(16), 0, torch.Generator().manual_seed(1))
    assert terms["train/loss_recon"].item() == pytest.approx(1, abs=0.03)


def test_the_decoder_is_told_the_frame_and_given_its_latent(build_autoencoder, rng):
    stage = build_autoencoder(autoencoder__cra_weight=0.0, autoencoder__num_targets=3)
    seen = {}
    control = stage.frame_decoder.control
    stage.frame_decoder.control = lambda feature, index: seen.update(index=index) or control(feature, index)
    batch = latent_batch(2)
    clean, estimate, *_ = stage._reconstruct(batch, rng)
    frames = (seen["index"] * 8).reshape(2, 3)
    assert clean.shape == estimate.shape == (2, 3, 4, 8, 8)
    assert torch.equal(frames, frames.round())
    for clip, position in itertools.product(range(2), range(3)):
        assert torch.equal(clean[clip, position], batch.latents[clip, int(frames[clip, position])])


def test_every_target_gets_the_feature_and_the_condition_of_its_own_clip(build_autoencoder, rng):
    stage = build_autoencoder(
        autoencoder__cra_weight=0.0, autoencoder__decoder__reads_condition=True, autoencoder__condition_dropout=0.0
    )
    seen = {}
    decoder, means = stage.frame_decoder, torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 4, 4, 4)
    stage.video_encoder = lambda keyframes: (means, torch.full_like(means, -30))

    class Recorder:
        def control(self, feature, index):
            seen["feature"] = feature.mean(dim=(1, 2, 3)).round().tolist()
            return decoder.control(feature, index)

        def __call__(self, noisy, timestep, control, context):
            seen["context"] = context
            return decoder(noisy, timestep, control, context)

    stage.frame_decoder = Recorder()
    batch = latent_batch(4)
    stage.loss("autoencoder", batch, 0, rng)
    assert seen["feature"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    tokens = stage.condition_encoder(batch.label)
    assert torch.equal(seen["context"], torch.stack([tokens[clip] for clip in range(4) for _ in range(3)]))


def test_the_video_encoder_sees_the_keyframes(build_autoencoder, rng):
    stage = build_autoencoder()
    batch = latent_batch(2)
    keyframes = stage.keyframe_latents(batch, rng)
    for clip, (slot, frame) in itertools.product(range(2), enumerate(RECIPE.keyframes)):
        assert torch.equal(keyframes[clip, :, slot], batch.latents[clip, frame])


@pytest.mark.parametrize("space", ["latent", "pixel"])
def test_cra_loss_reaches_video_encoder_and_frame_decoder(build_autoencoder, frame_vae, space):
    stage = build_autoencoder(autoencoder__discriminator__space=space)
    autoencoder, discriminator = begun(stage).players  # all frozen: the engine thaws one player at a time
    for parameter in autoencoder.parameters:
        parameter.requires_grad_(True)
    _, terms = stage.loss("autoencoder", latent_batch(4), 0, torch.Generator().manual_seed(1))
    terms["train/loss_cra"].backward()
    for network in (stage.video_encoder, stage.frame_decoder.control_branch, stage.frame_decoder.unet):
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
    # through the discriminator and the frame VAE, not into them
    assert all(parameter.grad is None for parameter in [*discriminator.parameters, *frame_vae.parameters()])


@pytest.mark.parametrize("space", ["latent", "pixel"])
def test_cra_loss_judges_latents_or_frames(build_autoencoder, frame_vae, space):
    stage = build_autoencoder(autoencoder__discriminator__space=space)
    batch = latent_batch(4)
    with torch.no_grad():
        clean, estimate, *_ = stage._reconstruct(batch, torch.Generator().manual_seed(1))
        real, fake = clean[:, :2], estimate[:, :2]
        if space == "pixel":
            real, fake = (
                torch.stack([decode_frames(frame_vae, frames[:, n]) for n in range(2)], dim=1)
                for frames in (real, fake)
            )
            assert real.shape == (4, 2, 3, 16, 16)
        real_logits, fake_logits = (stage.discriminator(p) for p in losses.cra_discriminator_pairs(real, fake))
        _, terms = stage.loss("autoencoder", batch, 0, torch.Generator().manual_seed(1))
        _, disc_terms = stage.loss("discriminator", batch, 0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(terms["train/loss_cra"], losses.cra_generator_loss(fake_logits[:12]))
    torch.testing.assert_close(
        disc_terms["train/loss_disc"], losses.cra_discriminator_loss(real_logits, fake_logits), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(disc_terms["train/logit_real"], real_logits.mean(), rtol=1e-4, atol=1e-5)


def test_each_player_moves_its_own_networks_alone(build_autoencoder):
    stage = build_autoencoder(autoencoder__discriminator__every=2)
    trainer = begun(stage)
    own, other = [stage.video_encoder, stage.frame_decoder], stage.discriminator
    before = [snapshot(network) for network in own], snapshot(other)
    take_steps(trainer, 1)  # the discriminator's turn comes in the second step
    assert not any(same(old, snapshot(network)) for old, network in zip(before[0], own, strict=True))
    assert same(before[1], snapshot(other))

    trainer.players = trainer.players[1:]
    before = snapshot(*own)
    take_steps(trainer, 2)
    assert same(before, snapshot(*own))
    assert not same(snapshot(other), snapshot(build_autoencoder().discriminator))


def test_discriminators_loss_has_no_gradient_for_the_autoencoder(build_autoencoder, rng):
    stage = build_autoencoder()
    loss, _ = stage.loss("discriminator", latent_batch(2), 0, rng)
    loss.backward()
    assert all(parameter.grad is None for parameter in stage.players()[0].parameters)
    assert all(parameter.grad is not None for parameter in stage.discriminator.parameters())


def test_cra_starts_when_the_recipe_says(build_autoencoder):
    stage = build_autoencoder(autoencoder__cra_start=2)
    trainer, batches = begun(stage), stage.batches(0, 0, 1)
    discriminator = snapshot(stage.discriminator)
    for step in range(4):
        values = trainer.step(step, [next(batches)])
        assert ("train/loss_cra" in values) == ("train/loss_discriminator" in values) == (step >= 2)
        assert same(discriminator, snapshot(stage.discriminator)) == (step < 2)


def test_without_cra_there_is_no_discriminator(build_autoencoder):
    stage = build_autoencoder(autoencoder__cra_weight=0.0, autoencoder__num_targets=1)
    assert [player.name for player in stage.players()] == ["autoencoder"]
    assert "discriminator" not in stage.modules()
    take_steps(begun(stage), 1)


def test_the_discriminator_has_no_running_mean(build_autoencoder):
    stage = build_autoencoder(autoencoder__ema_decay=0.9, autoencoder__decoder__reads_condition=True)
    assert set(stage.ema()) == {"video_encoder", "frame_decoder", "condition_encoder"}
    assert build_autoencoder().ema() == ()


@pytest.mark.parametrize("reads_condition", [False, True])
def test_frozen_networks_stay_frozen(build_autoencoder, build_generator, reads_condition):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator_stage, "NUM_STATISTICS_CLIPS", 4)
        for build in (build_autoencoder, build_generator):
            stage = build(autoencoder__decoder__reads_condition=reads_condition)
            trainer = begun(stage)
            frozen = snapshot(*stage.frozen().values())
            trained = [snapshot(network) for network in stage.modules().values()]
            take_steps(trainer, 2)
            assert same(frozen, snapshot(*stage.frozen().values()))
            for old, network in zip(trained, stage.modules().values(), strict=True):
                assert not same(old, snapshot(network))
            for network in stage.frozen().values():
                assert not network.training
                assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_condition_is_learned_where_it_is_first_read(build_autoencoder, build_generator):
    first = build_autoencoder(autoencoder__decoder__reads_condition=True)
    assert "condition_encoder" in first.modules()
    second = build_generator(autoencoder__decoder__reads_condition=True)
    assert set(second.modules()) == {"feature_generator"}
    assert "condition_encoder" in second.frozen()

    first = build_autoencoder(autoencoder__decoder__reads_condition=False)
    assert set(first.modules()) == {"video_encoder", "frame_decoder", "discriminator"}
    second = build_generator(autoencoder__decoder__reads_condition=False)
    assert set(second.modules()) == {"feature_generator", "condition_encoder"}
    assert set(second.frozen()) == {"frame_vae", "video_encoder", "frame_decoder"}


def test_a_decoder_that_reads_labels_tells_them_apart(build_autoencoder):
    stage = build_autoencoder(
        autoencoder__decoder__reads_condition=True, autoencoder__condition_dropout=0.0, autoencoder__cra_weight=0.0
    )
    batch = latent_batch(4)

    def loss(labels):
        other = dataclasses.replace(batch, label=torch.tensor(labels))
        return stage.loss("autoencoder", other, 0, torch.Generator().manual_seed(1))[0].item()

    assert loss([0, 1, 0, 1]) != loss([1, 0, 1, 0])
