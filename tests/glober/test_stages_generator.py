"""The generator's stage: its features and its conditions."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from toy_glober import CAPTIONS, RECIPE, begun, changed, few_statistics, latent_batch, same, snapshot, take_steps

from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.glober import build
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder

pytestmark = pytest.mark.usefixtures("on_cpu")


def features(stage, count):
    """Global features of the first `count` batches, encoded here."""
    with torch.no_grad():
        keyframes = [
            batch.latents[:, list(stage.recipe.keyframes)].transpose(1, 2)
            for batch in itertools.islice(stage.batches(0, 0, 1), count)
        ]
        return torch.cat([stage.video_encoder(each)[0] for each in keyframes])


def test_features_are_scaled_by_one_deviation_over_the_statistics_clips(build_generator):
    stage = build_generator(generator__cached_variants=2)
    with few_statistics():
        begun(stage)
    raw = features(stage, 16)  # 32 clips
    model = stage.feature_generator
    centred = raw - raw.mean(dim=(0, 2, 3), keepdim=True)
    torch.testing.assert_close(model.feature_mean[None], raw.mean(dim=(0, 2, 3), keepdim=True), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.feature_std, centred.square().mean().sqrt().expand(4, 1, 1), rtol=1e-3, atol=1e-5)
    assert model.normalize(raw).std().item() == pytest.approx(1, abs=1e-3)


def test_features_may_be_scaled_per_channel(build_generator):
    stage = build_generator(generator__cached_variants=2, generator__feature_scale="channel")
    with few_statistics():
        trainer = begun(stage)
    raw = features(stage, 16)  # 32 clips
    model = stage.feature_generator
    std, mean = torch.std_mean(raw, dim=(0, 2, 3))
    torch.testing.assert_close(model.feature_mean.flatten(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.feature_std.flatten(), std, rtol=1e-4, atol=1e-5)
    normal = model.normalize(raw)
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(normal.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(model.denormalize(normal), raw)
    before = model.feature_mean.clone(), model.feature_std.clone()
    take_steps(trainer, 2)
    assert torch.equal(model.feature_mean, before[0])
    assert torch.equal(model.feature_std, before[1])


def test_features_of_cached_clips_are_each_clips_own(build_generator):
    stage = build_generator(generator__cached_variants=2, generator__augment__colour=0.3)
    with few_statistics():
        begun(stage)
    fresh = features(stage, 60)
    for _ in range(2):  # encoded now or known from before
        kept = torch.cat(
            [stage._features(batch, torch.Generator()) for batch in itertools.islice(stage.batches(0, 0, 1), 60)]
        )
        torch.testing.assert_close(kept, fresh, rtol=1e-4, atol=1e-5)
    assert len({row.sum().item() for row in kept}) > 20  # of 18 starts, 2 variants each


def test_a_zero_prediction_loses_one_on_normalised_features(build_generator):
    stage = build_generator(generator__cached_variants=1, generator__prediction="v_prediction")
    with few_statistics():
        begun(stage)
    for parameter in stage.feature_generator.final_linear.parameters():
        torch.nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(0)
    values = [
        stage.loss("generator", batch, 0, generator)[0].item()
        for batch in itertools.islice(stage.batches(0, 0, 1), 150)
    ]
    assert sum(values) / 150 == pytest.approx(1, abs=0.05)


def test_statistics_come_out_the_same_on_resume(build_generator):
    found = []
    for _ in range(2):
        stage = build_generator()  # not cached: latents are drawn
        with few_statistics():
            begun(stage)
        found.append(snapshot(stage.feature_generator))
    assert same(*found)


def test_features_may_be_left_as_they_are(build_generator):
    stage = build_generator(generator__feature_scale="none")
    begun(stage)
    assert torch.equal(stage.feature_generator.feature_mean, torch.zeros(4, 1, 1))
    assert torch.equal(stage.feature_generator.feature_std, torch.ones(4, 1, 1))


@pytest.mark.parametrize("which", ["autoencoder", "generator"])
@pytest.mark.parametrize("condition", ["label", "caption", "none"])
def test_the_condition_changes_the_loss(build_autoencoder, build_generator, which, condition):
    build_stage = build_autoencoder if which == "autoencoder" else build_generator
    changes = {f"{which}__condition_dropout": 0.0, "generator__feature_scale": "none"}
    stage = build_stage(condition=condition, autoencoder__decoder__reads_condition=True, **changes)
    batch = latent_batch(4)

    def loss(**other):
        with torch.no_grad():
            other_batch = dataclasses.replace(batch, **other)
            return stage.loss(which, other_batch, 0, torch.Generator().manual_seed(1))[0].item()

    plain = loss()
    assert loss() == plain
    assert (loss(label=1 - batch.label) != plain) == (condition == "label")
    assert (loss(text=["c", "d", "c", "d"]) != plain) == (condition == "caption")
    # a dropped condition is the null condition
    changes |= {f"{which}__condition_dropout": 0.99999}
    dropped = build_stage(condition=condition, autoencoder__decoder__reads_condition=True, **changes)
    with torch.no_grad():
        value = dropped.loss(which, batch, 0, torch.Generator().manual_seed(1))[0].item()
    assert value == loss(label=torch.full((4,), -1), text=[""] * 4)


@pytest.mark.parametrize(
    ("condition", "kind"), [("label", GloberLabelEncoder), ("caption", GloberTextEncoder), ("none", GloberLabelEncoder)]
)
def test_conditions_are_learned(build_generator, condition, kind):
    stage = build_generator(condition=condition, generator__feature_scale="none")
    assert type(stage.condition_encoder) is kind
    assert [entry.text for entry in stage.dataset.entries] == [CAPTIONS["down"]] * 2 + [CAPTIONS["right"]] * 2
    assert stage.condition_encoder.embedding.num_embeddings == {"label": 3, "caption": 257, "none": 1}[condition]
    trainer = begun(stage)
    before = [parameter.detach().clone() for parameter in stage.condition_encoder.parameters()]
    take_steps(trainer, 4)
    for old, new in zip(before, stage.condition_encoder.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert (old - new).abs().max() > 1e-3  # more than weight decay does


def test_pipeline_takes_what_the_recipe_is_conditioned_on(build_generator):
    options = {"num_inference_steps": 1}
    stage = build_generator(condition="none")
    pipeline = stage.pipeline()
    assert pipeline.config.classes is None
    assert pipeline(3, **options).frames.shape == (3, 16, 16, 3)
    with pytest.raises(UserError, match="no classes"):
        pipeline(3, label="down", **options)

    pipeline = build_generator(condition="caption").pipeline()
    first, second = (pipeline.sample_feature(prompt) for prompt in CAPTIONS.values())
    assert not torch.allclose(first, second, rtol=0, atol=1e-5)
    assert pipeline(2, prompt="a square", **options).frames.shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match="only a prompt"):
        pipeline(2, label="down", **options)

    pipeline = build_generator().pipeline()
    assert pipeline.config.classes == ["down", "right"]
    assert pipeline.config.keyframes == [0, 2, 5, 7]
    assert (pipeline.config.span, pipeline.config.fps) == (8, 25 / 2 + 5)  # half the videos say 10, half nothing: 25


def test_data_without_what_the_recipe_needs(index, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.npy").write_bytes(index.entries[1].path.read_bytes())
    bare = index_folder(flat)
    with pytest.raises(UserError, match=r"the recipe needs classes, but .* has no sub-folders"):
        build.condition_encoder(RECIPE, bare)
    with pytest.raises(UserError, match=r"the recipe needs captions, but .* has none"):
        build.condition_encoder(changed(RECIPE, condition="caption"), bare)


def test_captions_start_from_a_model_of_classes_with_an_encoder_of_their_own(build_generator, tmp_path):
    labels = build_generator(generator__feature_scale="none")
    labels.pipeline().save_pretrained(tmp_path)
    stage = build_generator(condition="caption", generator__feature_scale="none")
    before = snapshot(stage.condition_encoder)
    build.start_from(tmp_path, stage.modules())
    assert same(snapshot(stage.feature_generator), snapshot(labels.feature_generator))
    assert same(snapshot(stage.condition_encoder), before)
