"""The generator's stage with a window before: what it is given, and how a trained model becomes an endless one."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from toy_glober import RECIPE, begun, changed, few_statistics, same, snapshot, take_steps, write_videos

import longtake
from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.glober import build
from longtake.glober.latents import LatentBatch
from longtake.glober.train import train

pytestmark = pytest.mark.usefixtures("on_cpu")

ENDLESS = {
    "generator__previous_window": True,
    "generator__cached_variants": 1,
    "generator__previous_noise": 0.0,
    "generator__feature_scale": "none",
}


def batches(stage, count):
    return list(itertools.islice(stage.batches(0, 0, 1), count))


def test_clips_come_with_the_window_before_them(build_generator):
    stage = build_generator(short_videos="reflect", generator__batch_size=8, **ENDLESS)
    begun(stage)
    follows = []
    for batch in batches(stage, 50):
        follows.append(batch.follows)
        before = batch.previous
        assert torch.equal(before.label, batch.label[batch.follows])
        assert torch.equal(before.latents[:, 4:], batch.latents[batch.follows][:, :4])
        for clip, earlier in zip(itertools.compress(batch.clips, batch.follows), before.clips, strict=True):
            assert clip[:2] == earlier[:2]
    assert torch.cat(follows).float().mean().item() == pytest.approx(0.75, abs=0.07)


def test_videos_too_short_for_two_windows_train_first_ones(build_generator):
    stage = build_generator(**ENDLESS)  # 11 and 12 frames, windows of 8
    begun(stage)
    kept = [clip for batch in batches(stage, 200) for clip in itertools.compress(batch.clips, batch.follows)]
    lengths = {stage.dataset.entries[video].info.num_frames for video, _, _ in kept}
    assert lengths == {12}
    assert {start for _, _, start in kept} == {4}


def test_the_window_before_reaches_the_network_as_its_feature_and_zeros_elsewhere(build_generator, monkeypatch):
    stage = build_generator(short_videos="reflect", generator__batch_size=8, **ENDLESS)
    begun(stage)
    seen = []
    forward = stage.feature_generator.forward
    monkeypatch.setattr(stage.feature_generator, "forward", lambda *inputs: seen.append(inputs[3]) or forward(*inputs))
    batch = batches(stage, 1)[0]
    stage.loss("generator", batch, 0, torch.Generator().manual_seed(0))
    keyframes = batch.previous.latents[:, list(stage.recipe.keyframes)].transpose(1, 2)
    with torch.no_grad():
        expected = stage.video_encoder(keyframes)[0]
    torch.testing.assert_close(seen[0][batch.follows], expected, rtol=1e-4, atol=1e-5)
    assert not seen[0][~batch.follows].any()

    noisy = build_generator(
        short_videos="reflect", generator__batch_size=8, **ENDLESS | {"generator__previous_noise": 0.5}
    )
    begun(noisy)
    given = noisy._previous(batch, torch.zeros_like(seen[0]), torch.Generator().manual_seed(0))
    assert not given[~batch.follows].any()
    deviation = (given - seen[0])[batch.follows].flatten(1).std(dim=1)
    assert (deviation > 0).all()
    assert (deviation < 0.7).all()


def test_a_trained_model_becomes_an_endless_one(tmp_path):
    data = write_videos(tmp_path / "videos")
    recipe = changed(
        frame_vae__steps=1,
        autoencoder__steps=1,
        generator__steps=4,
        generator__cached_variants=1,
        short_videos="reflect",
    )
    with few_statistics():
        train(recipe, "toy", data, tmp_path / "a", device="cpu")
        endless = changed(
            recipe,
            autoencoder__pretrained=str(tmp_path / "a"),
            generator__init=str(tmp_path / "a"),
            generator__previous_window=True,
        )
        train(endless, "toy", data, tmp_path / "b", device="cpu", max_steps=1)
        train(endless, "toy", data, tmp_path / "b", device="cpu", resume=True)
    assert sorted(path.name for path in (tmp_path / "b" / "components").iterdir()) == ["generator"]
    first, second = (longtake.load(tmp_path / run, device="cpu") for run in "ab")
    for name in ("frame_vae", "video_encoder", "frame_decoder"):
        assert same(snapshot(getattr(first, name)), snapshot(getattr(second, name)))
    for name in ("feature_mean", "feature_std"):
        assert torch.equal(getattr(first.feature_generator, name), getattr(second.feature_generator, name))
    assert second.feature_generator.previous_embedding.weight.any()
    assert second(20, label=0).frames.shape == (20, 16, 16, 3)
    with pytest.raises(UserError, match="--stretch"):
        first.stream(20, label=0)
    with pytest.raises(
        UserError, match=r"does not fit the recipe: its keyframes is \[0, 2, 5, 7\], not \(0, 1, 5, 7\)"
    ):
        build.check(changed(endless, keyframes=(0, 1, 5, 7)), index_folder(data))
    with pytest.raises(UserError, match="does not fit the recipe: its feature_channels is 4, not 8"):
        build.check(changed(endless, autoencoder__encoder__feature_channels=8), index_folder(data))
    settings = json.loads((tmp_path / "b" / "config.json").read_text())["settings"]
    assert settings["generator"]["previous_window"] is True


def test_a_start_from_trained_weights_changes_nothing_yet(build_generator, tmp_path):
    trained = build_generator(generator__feature_scale="none")
    take_steps(begun(trained), 2)
    trained.pipeline().save_pretrained(tmp_path)
    stage = build_generator(**ENDLESS)
    build.start_from(tmp_path, stage.modules())
    torch.nn.init.zeros_(stage.feature_generator.previous_embedding.weight)  # `build_generator` fills it
    noisy, previous = torch.randn(2, 2, 4, 4, 4)
    inputs = noisy, torch.tensor([3, 700]), torch.randn(2, 1, 8)
    with torch.no_grad():
        assert torch.equal(trained.feature_generator(*inputs), stage.feature_generator(*inputs, previous))
    assert torch.equal(trained.condition_encoder.embedding.weight, stage.condition_encoder.embedding.weight)
    stage.pipeline().save_pretrained(tmp_path / "endless")
    back = build_generator(generator__feature_scale="none")
    build.start_from(tmp_path / "endless", back.modules())
    with torch.no_grad():
        assert torch.equal(back.feature_generator(*inputs), trained.feature_generator(*inputs))
    other = build_generator(generator__depth=2, **ENDLESS)
    with pytest.raises(UserError, match=r"cannot start from .*feature_generator: one of the two .* no blocks.1"):
        build.start_from(tmp_path, other.modules())
    wider = build_generator(generator__hidden_size=32, **ENDLESS)
    with pytest.raises(UserError, match=r"cannot start from .*feature_generator: .*size mismatch"):
        build.start_from(tmp_path, wider.modules())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator__cached_variants": 0}, "previous_window needs whole videos as latents"),
        ({"generator__previous_dropout": 0.0}, r"previous_dropout is 0\.0; it must be above 0"),
        ({"span": 9}, "the span must be even, not 9"),
    ],
)
def test_chains_that_cannot_be_trained(index, changes, message):
    with pytest.raises(UserError, match=message):
        build.check(changed(RECIPE, **ENDLESS | changes), index)


def test_a_span_of_128_frames_is_trained_at_times_k_over_128(build_autoencoder, monkeypatch):
    """Table 5 of the paper: the index of frame k of a clip of 128 is k / 128. Nothing but the span changes."""
    stage = build_autoencoder(
        span=128,
        keyframes=(0, 42, 85, 127),
        short_videos="reflect",
        autoencoder__num_targets=64,
        autoencoder__cra_weight=0,
    )
    seen = []
    control = stage.frame_decoder.control
    monkeypatch.setattr(stage.frame_decoder, "control", lambda *inputs: seen.append(inputs[1]) or control(*inputs))
    latents = torch.randn(2, 128, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = LatentBatch(latents, [128, 128], torch.tensor([0, 1]), ["", ""], [(0, 0, 0), (1, 0, 0)])
    stage.loss("autoencoder", batch, 0, torch.Generator().manual_seed(0))
    frames = seen[0] * 128
    assert torch.equal(frames, frames.round())
    assert frames.min() < 8
    assert 120 <= frames.max() <= 127
