"""Codes encoded beforehand: training on them, step for step as on those in memory; what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice

import numpy as np
import pytest
import torch
from toy_tats import OPTIMIZER, begun, changed
from toy_transformers import NUM_CODES, vqgan

from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig
from longtake.data.encoded import EncodedStore
from longtake.data.index import index_folder
from longtake.data.transforms import resize_and_crop, to_video
from longtake.data.variants import EncodeSettings
from longtake.tats.config import ROLES, CodebookConfig, TatsRecipe, TransformerConfig, VQGANConfig
from longtake.tats.encode import encode_dataset, find_run
from longtake.tats.tokens import check_stores
from longtake.tats.transformer_stages import TransformerStage
from longtake.video import read_video, write_video

pytestmark = pytest.mark.usefixtures("on_cpu")

AUGMENT = AugmentConfig(zoom=0.2, mirror=True, colour=0.3)
LENGTHS = {"a/0.npy": 26, "a/1.npy": 18, "b/0.npy": 30}
TRANSFORMER = TransformerConfig(
    batch_size=3, optimizer=OPTIMIZER, sample_every=0, hidden_size=16, depth=1, num_heads=2, augment=AUGMENT, seed=7
)
RECIPE = TatsRecipe(
    size=8,
    condition="label",
    vqgan=VQGANConfig(
        base_channels=4, downsample=(4, 4, 4), codebook=CodebookConfig(num_codes=NUM_CODES, dim=4), perceptual_weight=0
    ),
    transformer=TRANSFORMER,
    sparse=changed(TRANSFORMER, num_latents=3, latent_step=2),  # 24 frames: a/1.npy is too short
    interpolation=changed(TRANSFORMER, num_latents=3),
)
CLIPS = {"transformer": (16, 1), "sparse": (24, 2), "interpolation": (12, 1)}  # frames, latent step


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise on levels of grey that change from frame to frame, so that codes tell the clips apart."""
    root, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for name, length in LENGTHS.items():
        (root / name).parent.mkdir(exist_ok=True)
        levels = rng.integers(0, 200, (length, 1, 1, 1))
        write_video(root / name, (levels + rng.integers(0, 56, (length, 8, 8, 3))).astype(np.uint8), 10)
    return root


def write_run(folder, recipe):
    """A run whose VQGAN is trained."""
    vqgan().save_pretrained(folder / "components" / "vqgan" / "vqgan")
    config = {"recipe": "toy", "family": "tats", "data": "data", "settings": dataclasses.asdict(recipe)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), RECIPE)


@pytest.fixture(scope="module")
def store(tmp_path_factory, data, run):
    """Three variants of every video."""
    out, calls = tmp_path_factory.mktemp("encoded") / "codes", []
    report = encode_dataset(str(run), data, out, EncodeSettings(num_variants=3), lambda *count: calls.append(count))
    assert calls == [(done, 8) for done in range(1, 9)]
    assert (report.num_videos, report.num_arrays, report.unreadable) == (3, 24, {})
    assert report.num_bytes == sum(file.stat().st_size for file in out.rglob("*.safetensors"))
    return out


def stage(data, role, **changes):
    torch.manual_seed(0)
    recipe = changed(RECIPE, **{f"{role}__{name}": value for name, value in changes.items()})
    return TransformerStage(role, recipe, index_folder(data), vqgan())


def losses_and_weights(stage, count=6):
    """Train and return every logged value of every step, then all weights."""
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    logs = [trainer.step(step, [next(batches)]) for step in range(count)]
    return [value for log in logs for _, value in sorted(log.items())], list(stage.model.state_dict().values())


def same(these, those):
    return all(torch.equal(a, b) for a, b in zip(these, those, strict=True))


@pytest.mark.parametrize("role", ROLES)
def test_training_on_stored_codes_equals_training_on_codes_in_memory(data, store, role):
    in_memory = losses_and_weights(stage(data, role, cached_variants=3))
    stored = losses_and_weights(stage(data, role, encoded=str(store)))
    fewer = losses_and_weights(stage(data, role, encoded=str(store), cached_variants=2))
    assert same(stored[0], in_memory[0])
    assert same(stored[1], in_memory[1])
    assert not same(stored[0], fewer[0])  # the test can tell other codes


@pytest.mark.parametrize("role", ROLES)
def test_without_changes_training_equals_that_on_clips_encoded_anew(data, run, tmp_path, role):
    encode_dataset(str(run), data, tmp_path / "plain", EncodeSettings(augment=AugmentConfig()))
    plain = {"augment": AugmentConfig()}
    anew = losses_and_weights(stage(data, role, **plain))
    stored = losses_and_weights(stage(data, role, **plain, encoded=str(tmp_path / "plain")))
    assert same(stored[0], anew[0])
    assert same(stored[1], anew[1])


@pytest.mark.parametrize("role", ROLES)
def test_a_store_holds_the_codes_of_the_clip_at_every_start(data, run, tmp_path, role):
    encode_dataset(str(run), data, tmp_path / "plain", EncodeSettings(augment=AugmentConfig()))
    codes, model = EncodedStore(tmp_path / "plain" / role), vqgan()
    frames, step = CLIPS[role]
    names = [name for name, length in LENGTHS.items() if length >= frames]
    assert len(codes) == len(names)
    for name in names:
        video = to_video(resize_and_crop(read_video(data / name), 8))
        stored = codes[f"{name}#0"]
        assert stored.dtype == torch.int16
        assert len(stored) == LENGTHS[name] - frames + 1
        for start, clip in enumerate(stored):
            assert torch.equal(clip, model.encode(video[None, :, start : start + frames])[0, ::step])


@pytest.mark.parametrize("sample_step", [1, 2])
def test_videos_that_go_on_backwards_have_one_clip(data, tmp_path, sample_step):
    changes = {"short_videos": "reflect", "sample_step": sample_step, "sparse": None, "interpolation": None}
    recipe = changed(RECIPE, transformer__num_latents=8, **changes)  # 32 frames: longer than any video
    encode_dataset(str(write_run(tmp_path / "run", recipe)), data, tmp_path / "out", EncodeSettings())
    codes = EncodedStore(tmp_path / "out" / "transformer")
    assert {key: tuple(codes[key].shape) for key in ("a/0.npy#0", "a/1.npy#0", "b/0.npy#0")} == {
        f"{name}#0": (1, 8, 2, 2) for name in LENGTHS
    }
    torch.manual_seed(0)
    stages = [
        TransformerStage("transformer", changed(recipe, **settings), index_folder(data), vqgan())
        for settings in ({"transformer__cached_variants": 1}, {"transformer__encoded": str(tmp_path / "out")})
    ]
    assert same(*([batch.codes for batch in few_batches(this)] for this in stages))


def few_batches(stage, count=4):
    stage.prepare(torch.device("cpu"))
    return list(islice(stage.batches(0, 0, 1), count))


def test_the_store_is_read_and_nothing_is_encoded(data, store, monkeypatch):
    expected = few_batches(stage(data, "sparse", cached_variants=3))
    monkeypatch.setattr("longtake.tats.vqgan.TatsVQGAN.encode", None)
    found = few_batches(stage(data, "sparse", encoded=str(store)))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.codes, theirs.codes)
        assert torch.equal(ours.label, theirs.label)
        assert torch.equal(ours.start, theirs.start)
        assert (ours.path, ours.text) == (theirs.path, theirs.text)


def test_what_settings_leave_open_is_the_runs(data, store, run, tmp_path):
    for role in ROLES:
        encoding = EncodedStore(store / role).encoding
        assert (encoding.family, encoding.size, encoding.augment, encoding.seed) == ("tats", 8, AUGMENT, 7)
    assert EncodedStore(store / "sparse").encoding.content == "codes of 24 frames with sample_step 1, latent_step 2"
    settings = EncodeSettings(size=16, augment=AugmentConfig(reverse=True), seed=1)
    encode_dataset(str(run), data, tmp_path / "otherwise", settings)
    encoding = EncodedStore(tmp_path / "otherwise" / "sparse").encoding
    assert (encoding.size, encoding.augment, encoding.seed) == (16, AugmentConfig(reverse=True), 1)


def test_an_interrupted_command_goes_on(data, run, store, tmp_path):
    out = tmp_path / "codes"

    def stop_in_the_second_store(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_dataset(str(run), data, out, EncodeSettings(num_variants=3), stop_in_the_second_store)
    with pytest.raises(UserError, match="sparse is not finished: run the same"):
        stage(data, "sparse", encoded=str(out)).prepare(torch.device("cpu"))
    report = encode_dataset(str(run), data, out, EncodeSettings(num_variants=3))
    assert report.num_arrays == 15
    for role in ROLES:
        whole, interrupted = EncodedStore(store / role), EncodedStore(out / role)
        keys = [f"{name}#{variant}" for name in ("a/0.npy", "b/0.npy") for variant in range(3)]
        assert all(torch.equal(whole[key], interrupted[key]) for key in keys)


def test_stores_are_checked_before_any_stage_is_trained(data, store, tmp_path):
    index = index_folder(data)
    fitting = changed(RECIPE, **{f"{role}__encoded": str(store) for role in ROLES})
    check_stores(fitting, index, ROLES)
    for changes, message in (
        ({"sparse__augment": AugmentConfig()}, "its augment is mirror=True, zoom=0.2, colour=0.3, here it is none"),
        ({"sparse__cached_variants": 4}, "has 3 variants of each video, not 4"),
        ({"sparse__encoded": str(tmp_path)}, "sparse holds no encoded videos"),
        ({"sparse__num_latents": 2}, "its content is codes of 24 frames .*, here it is codes of 16 frames"),
        ({"sample_step": 2, "sparse__num_latents": 1}, "content is .* sample_step 1, .* sample_step 2"),
        ({"short_videos": "reflect"}, r"a/1.npy in .* is not in it"),
        ({"size": 16}, "its size is 8, here it is 16"),
    ):
        recipe = changed(fitting, **changes)
        check_stores(recipe, index, ["vqgan"])
        with pytest.raises(UserError, match=message):
            check_stores(recipe, index, ["vqgan", "sparse"])


def test_codes_of_another_vqgan_are_refused(data, store):
    this = stage(data, "transformer", encoded=str(store))
    with torch.no_grad():
        this.vqgan.codebook.embeddings[0, 0] += 1e-3
    with pytest.raises(UserError, match="its weights_sha256 is"):
        this.prepare(torch.device("cpu"))


def test_mistakes_are_one_line(data, run, tmp_path):
    out = tmp_path / "out"
    untrained = write_run(tmp_path / "untrained", RECIPE)
    (untrained / "components" / "vqgan" / "vqgan").rename(untrained / "elsewhere")
    short = write_run(tmp_path / "short", changed(RECIPE, sparse__num_latents=9))
    for model, settings, message in (
        (tmp_path / "nowhere", EncodeSettings(), "is no run folder"),
        (run / "components" / "vqgan" / "vqgan", EncodeSettings(), "is no run folder"),
        (untrained, EncodeSettings(), r"no trained VQGAN yet: train it first \(--stage vqgan\)"),
        (run, EncodeSettings(size=10), "size 10 is not a multiple of the VQGAN's downsampling factor 4"),
        (run, EncodeSettings(device="abacus"), "cannot use device 'abacus'"),
        (short, EncodeSettings(), "no usable video in .* a clip needs 72"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            encode_dataset(str(model), data, out, settings)
        assert "\n" not in str(caught.value)
        assert not out.exists()
    (out / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="holds 'mine'"):
        encode_dataset(str(run), data, out, EncodeSettings())
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_the_clips_of_a_run_are_those_of_its_recipe(run):
    folder, recipe = find_run(str(run))
    assert folder == run / "components" / "vqgan" / "vqgan"
    for name in ("size", "sample_step", "short_videos"):
        assert getattr(recipe, name) == getattr(RECIPE, name)
    for role in ROLES:
        assert getattr(recipe, role).augment == AUGMENT
