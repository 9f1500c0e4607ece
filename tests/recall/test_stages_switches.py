"""Each of the thesis' ablation switches changes what it should."""

from __future__ import annotations

import pytest
import torch
from toy_recall import batch_for, of, random_batch, render, terms_of

from longtake.recall import stages


def loss_with(index, model, player, **changes):
    return terms_of(of(model, index, **changes), player, model)


def test_switch_noise_terms(index):
    """Clips from noise count for discriminators and generator, never for the encoder."""
    for model, player, kinds in (("r2", "autoencoder", 1), ("encgan3", "generator", 1), ("ar2", "autoencoder", 2)):
        for has_noise in (False, True):
            stage = of(model, index, gan__noise_terms=has_noise)
            rendering = render(stage, batch_for(model), with_noise=has_noise)
            assert len(stages.clip_fakes(rendering)) == kinds + has_noise
            assert len(stages.frame_fakes(rendering)) == 1 + has_noise
            calls = []
            stage._from_noise = lambda *arguments, calls=calls, stage=stage: (
                calls.append(1) or type(stage)._from_noise(stage, *arguments)
            )
            for name in ("discriminators", player):
                terms_of(stage, name, model)
            assert len(calls) == 2 * has_noise
            if model == "encgan3":
                terms_of(stage, "encoder", model)
                assert len(calls) == 2 * has_noise


def test_switch_stitched_clip(index):
    """R_Enc alone: without R_3VD the clip discriminator judges the two clips only."""
    for model, judged in (("r2", [4]), ("ar2", [2])):
        decoded = render(of(model, index, gan__stitched_clip=False), batch_for(model)).decoded
        assert [len(kind) for kind in decoded.judged] == judged
    assert [len(kind) for kind in render(of("r2", index), batch_for("r2")).decoded.judged] == [6]
    assert [len(kind) for kind in render(of("ar2", index), batch_for("ar2")).decoded.judged] == [2, 2]


def content_of(index, **changes):
    stage, batch, seen = of("r2", index, **changes), random_batch(2, 24), []
    stage.encoder.content_stream.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    render(stage, batch)
    earlier, later = seen[0].chunk(2)
    frames = batch.video.unbind(2)
    return [next(n for n, frame in enumerate(frames) if torch.equal(frame, part)) for part in (earlier, later)]


def test_switch_content_frame(index):
    """Both clips' own frame r; without overlapping encoders (R_3VD alone) their first; or the first clip's for both."""
    assert content_of(index) == [8, 16]
    assert content_of(index, encoder__content_frame=0) == [0, 8]
    assert content_of(index, encoder__latter_content="shared") == [8, 8]


@pytest.mark.parametrize("hop", [4, 8, 12])
def test_switch_hop(index, hop):
    """T_o = 16 - hop frames of overlap; the stitched clip is 16 frames in a row for any of them."""
    stage = of("r2", index, hop=hop)
    batch = next(stage.batches(0, 0, 1))
    assert batch.video.shape[2] == 16 + hop
    rendering = render(stage, batch)
    assert torch.equal(rendering.real.chunk(2)[1], batch.video[:, :, hop:])
    real = stages.stitch(batch.video[:, :, :16], batch.video[:, :, hop:], hop)
    assert torch.equal(real, batch.video[:, :, :16])


def test_switch_generator_recon(index):
    """Loss versions v1 to v3: the generator's reconstruction of three clips, of two, or none."""
    found = {
        kind: loss_with(index, "r2", "generator", gan__joint=False, gan__generator_recon=kind, gan__anchor_frame=None)[
            1
        ]
        for kind in ("clips", "stitched", "none")
    }
    stage, batch = of("r2", index), random_batch(2, 24)
    decoded = render(stage, batch).decoded
    two = (decoded.clips - decoded.targets).abs().mean()
    three = (2 * two + (decoded.stitched[0] - batch.video[:, :, :16]).abs().mean()) / 3
    torch.testing.assert_close(found["clips"]["train/loss_recon"], two)
    torch.testing.assert_close(found["stitched"]["train/loss_recon"], three)
    assert "train/loss_recon" not in found["none"]


def test_switch_recon_target(index):
    def recon(player, **changes):
        return loss_with(index, "encgan3", player, **changes)[1]["train/loss_recon"]

    frames, motion = ({"gan__recon_target": kind} for kind in ("frames", "motion"))
    only_encoder = {"gan__recon_target": "motion_in_encoder"}
    assert recon("encoder", **frames) != recon("encoder", **motion)
    assert recon("encoder", **only_encoder) == recon("encoder", **motion)
    assert recon("generator", **frames) != recon("generator", **motion)
    assert recon("generator", **only_encoder) == recon("generator", **frames)


def test_switch_recon_loss_and_anchor(index):
    l1 = loss_with(index, "r2", "autoencoder", gan__anchor_frame=None)[1]["train/loss_recon"]
    smooth = loss_with(index, "r2", "autoencoder", gan__anchor_frame=None, gan__recon_loss="smooth_l1")[1]
    assert smooth["train/loss_recon"] < l1
    anchored = [loss_with(index, "r2", "autoencoder", gan__anchor_frame=n)[1]["train/loss_recon"] for n in (0, 8)]
    assert l1 < min(anchored)
    assert anchored[0] != anchored[1]


def test_switch_latents(index):
    def decoded(kind, seed):
        stage = of("encgan3", index, gan__latents=kind)
        with torch.no_grad():
            return stage._render(batch_for("encgan3"), torch.Generator().manual_seed(seed), with_noise=False).decoded

    assert torch.equal(decoded("mean", 0).clips, decoded("mean", 1).clips)
    assert not torch.equal(decoded("sample", 0).clips, decoded("sample", 1).clips)


def test_switches_of_the_generator(index):
    """Streams, attention and mode reach the network."""
    config = of(
        "r2",
        index,
        generator__mode="1p2d",
        generator__spatial_stream=False,
        generator__temporal_stream=False,
        generator__self_attention=False,
    ).generator.config
    assert (config.mode, config.spatial_stream, config.temporal_stream) == ("1p2d", False, False)
    assert not config.self_attention
    assert of("r2", index, generator__legacy_fsa=True).generator.config.legacy_fsa


def test_switch_frames(index):
    """Windows at stride 8; steps drawn per clip; one frame from each of 16 parts."""

    def starts_and_rates(**changes):
        batches = of("encgan3", index, gan__batch_size=8, **changes).batches(0, 0, 1)
        parts = [next(batches) for _ in range(4)]
        return torch.cat([part.start for part in parts]), torch.cat([part.fps for part in parts])

    start, fps = starts_and_rates(frames="windows")
    assert (start % 8 == 0).all()
    assert fps.unique().tolist() == [25]
    _, fps = starts_and_rates(frames="random_step", steps=(1, 2))
    assert fps.unique().tolist() == [12.5, 25]
    start, fps = starts_and_rates(frames="bins")
    assert (start < 4).all()
    assert (fps < 25 / 2).all()  # 40 frames and more in 16 parts
