"""Who takes a step in which order and on what, what the losses are made of, and settings that are refused."""

from __future__ import annotations

import pytest
import torch
from toy_recall import RECIPES, batch_for, begun, changed, of, random_batch, render, same, snapshot, terms_of

from longtake.core.errors import UserError
from longtake.recall import losses, stages
from longtake.recall.build import check
from longtake.training.config import OptimizerConfig


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize(
    ("model", "joint", "makers"),
    [
        ("g3an", False, ["generator"]),
        ("encgan3", False, ["encoder", "generator"]),
        ("lencgan", False, ["encoder", "generator"]),
        ("r2", True, ["autoencoder"]),
        ("r2", False, ["encoder", "generator"]),
        ("ar2", True, ["autoencoder"]),
    ],
)
def test_each_player_steps_in_turn_and_changes_its_own_networks_alone(index, model, joint, makers):
    stage = of(model, index, gan__joint=joint)
    trainer = begun(stage)
    own = {
        "discriminators": {"image_discriminator", "video_discriminator"},
        "encoder": {"encoder"},
        "generator": {"generator"},
        "autoencoder": {"encoder", "generator"},
    }
    assert [player.name for player in trainer.players] == ["discriminators", *makers]
    batch = batch_for(model)
    for number, player in enumerate(trainer.players):
        before = {name: snapshot(module) for name, module in stage.modules().items()}
        trainer._player_step(number, player, 0, [batch])
        moved = {name for name, module in stage.modules().items() if not same(snapshot(module), before[name])}
        assert moved == own[player.name]


@pytest.mark.parametrize("model", RECIPES)
def test_every_parameter_gets_a_gradient(index, model):
    """But for those in front of an attention whose gamma is still 0."""
    stage = of(model, index, generator__self_attention=False)
    trainer = begun(stage)
    for player in trainer.players:
        for parameter in player.parameters:
            parameter.requires_grad_(True)
        stage.loss(player.name, batch_for(model), 0, torch.Generator().manual_seed(0))[0].backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in player.parameters)
        for parameter in player.parameters:
            parameter.requires_grad_(False)


def test_adam_is_adamw_without_decay():
    torch.manual_seed(0)
    config = OptimizerConfig(lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0)
    first, second = (torch.nn.Parameter(torch.ones(5)) for _ in range(2))
    adam = torch.optim.Adam([first], config.lr, config.betas)
    adamw = torch.optim.AdamW([second], config.lr, config.betas, weight_decay=config.weight_decay)
    for _ in range(5):
        first.grad = torch.randn(5)
        second.grad = first.grad.clone()
        adam.step()
        adamw.step()
    assert torch.equal(first, second)


def test_losses_are_the_weighted_sums_of_their_terms(index):
    stage = of("encgan3", index, gan__recon_weight=3.0, gan__kl_weight=0.5)
    loss, terms = terms_of(stage, "encoder", "encgan3")
    kl = terms["train/loss_kl_content"] + terms["train/loss_kl_motion"]
    torch.testing.assert_close(loss, 3 * terms["train/loss_recon"] + 0.5 * kl)
    loss, terms = terms_of(stage, "generator", "encgan3")
    adversarial = terms["train/loss_adv_image"] + terms["train/loss_adv_video"]
    torch.testing.assert_close(loss, 3 * terms["train/loss_recon"] + adversarial)
    assert set(terms_of(of("r2", index), "autoencoder", "r2")[1]) == {
        "train/loss_recon",
        "train/loss_kl_content",
        "train/loss_kl_motion",
        "train/loss_adv_image",
        "train/loss_adv_video",
    }
    assert set(terms_of(of("g3an", index), "generator", "g3an")[1]) == {"train/loss_adv_image", "train/loss_adv_video"}


def test_r2_decodes_two_overlapping_clips_and_stitches_a_third(index):
    stage, batch = of("r2", index), random_batch(2, 24)
    rendering = render(stage, batch)
    decoded, video = rendering.decoded, batch.video
    assert torch.equal(rendering.real, torch.cat([video[:, :, 0:16], video[:, :, 8:24]]))
    assert rendering.real is decoded.targets
    first, second = decoded.clips.chunk(2)
    (judged,) = decoded.judged
    assert torch.equal(judged, torch.cat([first, second, torch.cat([first[:, :, :8], second[:, :, :8]], dim=2)]))
    assert torch.equal(decoded.stitched[1], video[:, :, 0:16])


def test_r2_judges_three_clips_alike(index):
    """The fake loss of the clip discriminator is the mean over the two clips and the stitched one (Alg. 6)."""
    stage, batch = of("r2", index), random_batch(2, 24)
    stage.video_discriminator.eval()
    rendering = render(stage, batch)
    loss, terms = stage._discriminator_loss(rendering, torch.Generator().manual_seed(0))
    first, second = rendering.decoded.clips.chunk(2)
    third = torch.cat([first[:, :, :8], second[:, :, :8]], dim=2)
    fakes = [losses.fake_loss(stage.video_discriminator(clips)) for clips in (first, second, third)]
    reals = [losses.real_loss(stage.video_discriminator(clips)) for clips in rendering.real.chunk(2)]
    torch.testing.assert_close(terms["train/loss_disc_video"], sum(fakes) / 3 + sum(reals) / 2)
    torch.testing.assert_close(loss, terms["train/loss_disc_video"] + terms["train/loss_disc_image"])


def test_ar2_predicts_the_next_clip_and_stitches_it_to_real_frames(index):
    stage, batch = of("ar2", index), random_batch(2, 24)
    encoded = []
    stage.encoder.register_forward_pre_hook(lambda module, arguments: encoded.append(arguments[0]))
    rendering = render(stage, batch, with_noise=True)
    video, decoded = batch.video, rendering.decoded
    assert torch.equal(encoded[0], video[:, :, 0:16])
    assert torch.equal(rendering.real, video[:, :, 8:24])
    assert torch.equal(decoded.targets, video[:, :, 8:24])
    predicted, stitched = decoded.judged
    assert torch.equal(predicted, decoded.clips)
    assert torch.equal(stitched, torch.cat([video[:, :, 0:8], predicted[:, :, :8]], dim=2))
    # Eq. 5.2: predicted, stitched and from noise, added
    stage.video_discriminator.eval()
    _, terms = stage._discriminator_loss(rendering, torch.Generator().manual_seed(0))
    judge = stage.video_discriminator
    fakes = [losses.fake_loss(judge(clips)) for clips in (predicted, stitched, rendering.from_noise)]
    torch.testing.assert_close(terms["train/loss_disc_video"], losses.real_loss(judge(video[:, :, 8:24])) + sum(fakes))


def test_one_random_frame_of_every_clip_is_judged(rng):
    clips = torch.arange(16.0).reshape(1, 1, 16, 1, 1).expand(3, 3, 16, 2, 2)
    drawn = [stages.draw_frame(clips, rng) for _ in range(400)]
    assert all(frame.unique().numel() == 1 for frame in drawn)
    assert {frame[0, 0, 0, 0].item() for frame in drawn} == set(range(16))


def test_clips_from_noise_are_drawn_from_a_standard_normal(index, rng):
    stage, seen = of("encgan3", index), []
    stage.generator.forward = lambda content, motion: seen.append((content, motion))
    stage._from_noise(torch.zeros(5000, 1), rng)
    (content, motion) = seen[0]
    assert (content.shape, motion.shape) == ((5000, 6), (5000, 4))
    for values in (content, motion):
        assert values.mean().item() == pytest.approx(0, abs=0.05)
        assert values.std().item() == pytest.approx(1, abs=0.05)


def test_running_means_are_of_encoder_and_generator(index):
    assert of("r2", index, gan__ema_decay=0.9).ema() == ("encoder", "generator")
    assert of("g3an", index, gan__ema_decay=0.9).ema() == ("generator",)
    assert of("r2", index).ema() == ()


@pytest.mark.parametrize("model", RECIPES)
def test_previews_show_what_is_learned(index, model):
    stage = of(model, index)
    with begun(stage).showing(0) as generator:
        videos = stage.preview(generator)
    assert ("reconstruction" in videos) == (model != "g3an")
    assert ("samples" in videos) == stage.config.noise_terms
    assert all(video.shape[1:] == (16, 16, 16, 3) for video in videos.values())
    if model == "r2":
        batch = next(stage.batches(0, 0, 1))
        real = ((batch.video[0, :, :16] + 1) * 127.5).round().permute(1, 2, 3, 0)
        assert torch.equal(torch.from_numpy(videos["reconstruction"][0]).float(), real)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("r2", {"size": 32}, r"generator\.channels makes frames of 16, but size is 32"),
        ("r2", {"discriminators__image_channels": (4,)}, r"discriminators\.image_channels makes frames of 8"),
        (
            "r2",
            {
                "size": 8,
                "generator__channels": (4, 4),
                "discriminators__video_channels": (4,),
                "discriminators__image_channels": (4,),
            },
            "size is 8; the generator makes frames of 16 and more",
        ),
        ("r2", {"hop": 16}, "hop is 16; it must be 1 to 15"),
        ("r2", {"gan__anchor_frame": 16}, r"gan\.anchor_frame is 16; a clip has the frames 0 to 15"),
        ("r2", {"encoder__content_frame": 16}, r"encoder\.content_frame is 16; a clip has the frames 0 to 15"),
        ("r2", {"encoder__channels": (4,)}, "an encoder of 1 convolution does not fit frames of 16"),
        ("r2", {"gan__generator_recon": "none"}, "give --gan.no-joint"),
        ("r2", {"gan__recon_target": "motion", "gan__motion_weight": 1.0}, "give --gan.motion-weight 0"),
        ("r2", {"gan__recon_target": "motion", "gan__generator_recon": "stitched"}, "difference maps of single clips"),
        ("g3an", {"gan__noise_terms": False}, "g3an has no encoder, so it learns from noise alone"),
        ("g3an", {"gan__adversarial_start": 5}, r"gan\.adversarial_start is 5, but only the adversarial terms train"),
        ("ar2", {"gan__generator_recon": "stitched"}, "model 'ar2' stitches no two reconstructions"),
        ("ar2", {"encoder__latter_content": "shared"}, "model 'ar2' encodes no second clip"),
        ("lencgan", {"frames": "bins"}, "model 'lencgan' learns on consecutive frames"),
        ("r2", {"frames": "random_step", "steps": (0,)}, "clip steps are"),
        ("r2", {"model": "r3", "gpt__num_heads": 3}, r"gpt\.num_heads is 3, which does not divide the width of 20"),
    ],
)
def test_settings_that_contradict_each_other(model, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        check(changed(RECIPES[model], **changes))
    assert "\n" not in str(caught.value)
