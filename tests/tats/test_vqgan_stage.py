"""The VQGAN stage: whose turn changes what, when the codes move, what its losses are made of, and that it learns."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from toy_tats import NO_JUDGE, RECIPE, begun, changed, write_index

from longtake.core.errors import UserError
from longtake.data.index import VideoIndex
from longtake.tats import build, losses
from longtake.tats.config import CodebookConfig, DiscriminatorConfig
from longtake.tats.stages import VQGANStage
from longtake.tats.vqgan import TatsVQGAN

pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def build_stage(index):
    def build(**changes):
        torch.manual_seed(0)
        return VQGANStage(changed(RECIPE, **changes), index)

    return build


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def states(stage):
    return {
        name: {key: value.clone() for key, value in module.state_dict().items()}
        for name, module in stage.modules().items()
    }


def differing(before, after):
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_codes_move_once_per_step_however_many_batches_make_one(build_stage, monkeypatch):
    updates = []
    stage = build_stage(vqgan__accumulation=3)
    update = type(stage.vqgan.codebook).update
    monkeypatch.setattr(
        type(stage.vqgan.codebook),
        "update",
        lambda self, assignment, decay: (
            updates.append(assignment.counts.sum().item()) or update(self, assignment, decay)
        ),
    )
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    for step in range(2):
        trainer.step(step, list(itertools.islice(batches, 3)))
    # two clips of 4x4x4 codes in each of three batches; the discriminators' turn adds nothing
    assert updates == [3 * 2 * 64] * 2


def test_codes_move_by_what_all_batches_of_the_step_were_assigned(build_stage):
    stage = build_stage(vqgan__accumulation=2, vqgan__discriminator=NO_JUDGE)
    begun(stage)
    book, batches = stage.vqgan.codebook, list(itertools.islice(stage.batches(0, 0, 1), 2))
    with torch.no_grad():
        z = [stage.vqgan.pre_quant(batch.video) for batch in batches]
    book.initialize(z[0], seeded())
    before = book.embeddings.clone()
    flat = torch.cat([part.movedim(1, -1).reshape(-1, 8) for part in z])
    nearest = torch.cdist(flat, before).argmin(1)
    stage.loss("autoencoder", batches[0], 0, seeded())
    assert torch.equal(book.embeddings, before)
    stage.loss("autoencoder", batches[1], 0, seeded())
    for code in range(16):
        of_code = flat[nearest == code]
        torch.testing.assert_close(book.counts[code], torch.tensor(0.99 + 0.01 * len(of_code)))
        torch.testing.assert_close(book.sums[code], 0.99 * before[code] + 0.01 * of_code.sum(0), atol=1e-5, rtol=1e-5)


def test_each_player_changes_its_own_weights_only(build_stage):
    stage = build_stage()
    trainer = begun(stage)
    batch = next(stage.batches(0, 0, 1))
    before = states(stage)
    trainer._player_step(0, trainer.players[0], 0, [batch])
    middle = states(stage)
    changed_keys = differing(before["vqgan"], middle["vqgan"])
    assert {key for key in before["vqgan"] if "num_batches" not in key} == changed_keys - {
        key for key in changed_keys if "num_batches" in key
    }
    for name in ("image_discriminator", "video_discriminator"):
        statistics = {key for key in differing(before[name], middle[name]) if "running" not in key}
        assert {key for key in statistics if "num_batches" not in key} == set()
    trainer._player_step(1, trainer.players[1], 0, [batch])
    after = states(stage)
    assert all("running" in key or "num_batches" in key for key in differing(middle["vqgan"], after["vqgan"]))
    for name in ("image_discriminator", "video_discriminator"):
        weights = {key for key, _ in stage.modules()[name].named_parameters()}
        assert weights <= differing(middle[name], after[name])


def test_autoencoder_loss_is_the_weighted_sum_of_its_terms(build_stage):
    stage = build_stage(vqgan__discriminator__image_weight=0.5, vqgan__discriminator__video_weight=2.0)
    begun(stage)
    batch = next(stage.batches(0, 0, 1))
    loss, terms = stage.loss("autoencoder", batch, 0, seeded())
    term = {name.removeprefix("train/loss_"): value for name, value in terms.items()}
    expected = 4 * term["l1"] + 0.25 * term["commitment"]
    expected += 0.5 * term["image"] + 2 * term["video"] + 4 * (term["image_features"] + term["video_features"])
    torch.testing.assert_close(loss, expected)


def test_pixel_and_commitment_terms_are_those_of_the_network(build_stage):
    stage = build_stage(vqgan__discriminator=NO_JUDGE)
    begun(stage)
    batch = next(stage.batches(0, 0, 1))
    stage.vqgan.codebook.is_initialized.fill_(True)
    with torch.no_grad():
        z = stage.vqgan.pre_quant(batch.video)
        vectors = stage.vqgan.lookup(stage.vqgan.codebook.nearest(z))
        fake = stage.vqgan.decode_vectors(vectors)
    _, terms = stage.loss("autoencoder", batch, 0, seeded())
    torch.testing.assert_close(terms["train/loss_l1"], (fake - batch.video).abs().mean() / 2)
    torch.testing.assert_close(terms["train/loss_commitment"], (z - vectors).square().mean())
    mse = ((fake - batch.video) / 2).square().mean()
    torch.testing.assert_close(terms["train/psnr"], -10 * mse.log10())


def test_discriminator_loss_is_that_of_both(build_stage):
    stage = build_stage(vqgan__discriminator__image_weight=0.5, vqgan__discriminator__loss="vanilla")
    begun(stage)
    batch = next(stage.batches(0, 0, 1))
    loss, _ = stage.loss("discriminator", batch, 0, seeded())
    with torch.no_grad():
        z = stage.vqgan.pre_quant(batch.video)
        fake = stage.vqgan.decode_vectors(stage.vqgan.lookup(stage.vqgan.codebook.nearest(z))) / 2
    frames = torch.randint(8, (2,), generator=seeded())
    expected = torch.zeros(())
    for name, weight in (("image", 0.5), ("video", 1.0)):
        judge = stage.discriminators[name]
        pair = [
            judge(
                torch.stack([clip[:, frame] for clip, frame in zip(video, frames, strict=True)])
                if name == "image"
                else video
            )
            for video in (batch.video / 2, fake)
        ]
        expected = expected + weight * losses.discriminator_loss(pair[0].logits, pair[1].logits, "vanilla")
    torch.testing.assert_close(loss, expected)


def test_discriminators_start_when_told(build_stage):
    stage = build_stage(vqgan__discriminator__start=2)
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    for step in range(3):
        before = states(stage)
        logged = trainer.step(step, [next(batches)])
        moved = differing(before["video_discriminator"], states(stage)["video_discriminator"])
        assert bool(moved) == (step >= 2)
        assert ("train/loss_video" in logged) == ("train/loss_discriminator" in logged) == (step >= 2)


def test_dead_codes_restart_during_training(build_stage):
    book = CodebookConfig(num_codes=64, dim=8, restart_dead_codes=True, restart_threshold=0.995)
    stage = build_stage(vqgan__codebook=book, vqgan__discriminator=NO_JUDGE)
    trainer = begun(stage)
    trainer.step(0, [next(stage.batches(0, 0, 1))])
    # unused codes went down to 0.99 and back to 1
    assert stage.vqgan.codebook.counts.min() == 1


class Perceptual(torch.nn.Module):
    """Stands in for LPIPS, which needs a download: mean absolute error per frame."""

    def forward(self, fake, real):
        self.seen = fake.shape
        return (fake - real).abs().mean((1, 2, 3), keepdim=True)


def test_perceptual_loss_sees_one_frame_per_clip(build_stage, monkeypatch):
    monkeypatch.setattr(losses, "build_perceptual", Perceptual)
    stage = build_stage(vqgan__perceptual_weight=3.0, vqgan__discriminator=NO_JUDGE)
    begun(stage)
    assert stage.frozen() == {"perceptual": stage.perceptual}
    loss, terms = stage.loss("autoencoder", next(stage.batches(0, 0, 1)), 0, seeded())
    assert stage.perceptual.seen == (2, 3, 16, 16)
    term = {name.removeprefix("train/loss_"): value for name, value in terms.items()}
    torch.testing.assert_close(loss, 4 * term["l1"] + 0.25 * term["commitment"] + 3 * term["perceptual"])


def test_real_frames_are_learned_where_no_padding_reaches(tmp_path):
    index = write_index(tmp_path, num_frames=64)
    # one halving of time: the encoder sees 4 latent frames before and 3 after, the decoder 5 each
    recipe = changed(RECIPE, span=52, vqgan__padding="real", vqgan__batch_size=1, vqgan__discriminator=NO_JUDGE)
    build.check(recipe, index)
    stage = VQGANStage(recipe, index)
    begun(stage)
    before = sum(stage.vqgan.encoder_context), sum(stage.vqgan.decoder_context)
    batch = next(stage.batches(0, 0, 1))
    done = stage._reconstruct(batch.video, 0, seeded())
    assert done.z.shape[2] == 26 - before[0]
    assert done.real.shape == done.fake.shape
    assert done.real.shape[2] == 2 * (26 - sum(before))
    start = 2 * (stage.vqgan.encoder_context[0] + stage.vqgan.decoder_context[0])
    assert torch.equal(done.real[:, :, 0], batch.video[:, :, start] / 2)
    short = dataclasses.replace(recipe, span=2 * sum(before))
    with pytest.raises(UserError, match=f"padding 'real' needs {2 * (sum(before) + 1)} frames at least"):
        build.check(short, index)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 18}, "size is 18; it must be a multiple of 4"),
        ({"span": 7}, "span is 7; it must be a multiple of 2"),
        ({"vqgan__downsample": (2, 4, 8)}, "height and width must have the same factor"),
        ({"vqgan__downsample": (3, 4, 4)}, "must be three powers of two"),
        ({"span": 4, "vqgan__padding": "reflect"}, "padding 'reflect' needs 3 codes along every axis"),
        ({"vqgan__norm": "group"}, "channels cannot be split into 32"),
        ({"vqgan__perceptual_weight": 1.0}, "needs the package lpips"),
        ({"condition": "caption"}, "needs captions, but"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(index, monkeypatch, changes, message):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=message) as caught:
        build.check(changed(RECIPE, **changes), index)
    assert "\n" not in str(caught.value)


def test_labels_need_classes(index):
    bare = VideoIndex(index.root, index.entries, (), ())
    with pytest.raises(UserError, match="needs classes, but"):
        build.check(RECIPE, bare)


def test_stage_learns_two_clips_by_heart(tmp_path):
    index = write_index(tmp_path, num_per_class=1, num_frames=8)
    recipe = changed(
        RECIPE,
        vqgan__discriminator=NO_JUDGE,
        vqgan__optimizer__lr=2e-3,
        vqgan__codebook=CodebookConfig(num_codes=64, dim=8, decay=0.9, restart_dead_codes=True, restart_threshold=0.5),
    )
    torch.manual_seed(0)
    stage = VQGANStage(recipe, index)
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    psnr = [trainer.step(step, [next(batches)])["train/psnr"].item() for step in range(150)]
    assert psnr[0] < 12
    assert sum(psnr[-5:]) / 5 > 17  # each video's mean frame has 15.8
    stage.vqgan.eval()
    preview = stage.preview(seeded())["reconstruction"]
    assert preview.shape == (8, 8, 16, 16, 3)
    real, fake = preview[0::2].astype(float), preview[1::2].astype(float)
    assert abs(real - fake).mean() < 16


def test_export_is_the_vqgan_alone(build_stage, tmp_path):
    stage = build_stage()
    stage.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vqgan"]
    again = TatsVQGAN.from_pretrained(tmp_path / "vqgan")
    assert differing(stage.vqgan.state_dict(), again.state_dict()) == set()


def test_a_discriminator_of_weight_0_is_not_built(build_stage):
    stage = build_stage(vqgan__discriminator__image_weight=0.0)
    assert set(stage.modules()) == {"vqgan", "video_discriminator"}
    stage = build_stage(vqgan__discriminator=DiscriminatorConfig(image_weight=0.0, video_weight=0.0))
    assert [player.name for player in stage.players()] == ["autoencoder"]
