"""Latents encoded beforehand: from every kind of model, and training on them step for step as with those in memory."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch
from toy_glober import RECIPE, SIZE, begun, changed, few_statistics, random_frame_vae, same, snapshot
from toy_pretrained import original_checkpoint, sd_vae

from longtake.cli.encode import find_family
from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig
from longtake.data.encoded import EncodedStore
from longtake.data.index import index_folder
from longtake.data.variants import EncodeSettings
from longtake.glober.encode import encode_dataset, find_frame_vae
from longtake.glober.latents import check_stores
from longtake.models import find_folder

pytestmark = pytest.mark.usefixtures("on_cpu")

AUGMENT = AugmentConfig(zoom=0.2, mirror=True, colour=0.2)
CHANGES = {
    "autoencoder__augment": AUGMENT,
    "generator__augment": AUGMENT,
    "autoencoder__seed": 7,
    "generator__seed": 7,
}


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    """The toy's frame VAE as the diffusers folder that the first stage exports."""
    folder = tmp_path_factory.mktemp("model") / "frame_vae"
    random_frame_vae().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, index, vae_folder):
    """Three variants of the toy videos."""
    out = tmp_path_factory.mktemp("encoded") / "latents"
    settings = EncodeSettings(num_variants=3, size=SIZE, augment=AUGMENT, seed=7)
    report = encode_dataset(str(vae_folder), index.root, out, settings)
    assert (report.num_videos, report.num_arrays, report.unreadable) == (4, 12, {})
    return out


def losses_and_weights(stage, count=4):
    """Train and return every logged value of every step, then all weights and buffers."""
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    logs = [trainer.step(step, [next(batches)]) for step in range(count)]
    return [value for log in logs for _, value in sorted(log.items())], snapshot(*stage.modules().values())


@pytest.mark.parametrize("kind", ["autoencoder", "generator"])
def test_training_on_stored_latents_equals_training_on_latents_in_memory(
    build_autoencoder, build_generator, store, kind
):
    build = {"autoencoder": build_autoencoder, "generator": build_generator}[kind]
    with few_statistics():
        in_memory = losses_and_weights(build(**CHANGES, **{f"{kind}__cached_variants": 3}))
        stored = losses_and_weights(build(**CHANGES, **{f"{kind}__encoded": str(store)}))
        fewer = losses_and_weights(build(**CHANGES, **{f"{kind}__encoded": str(store), f"{kind}__cached_variants": 2}))
    for ours, theirs in zip(stored, in_memory, strict=True):
        assert same(ours, theirs)
    assert not same(stored[0], fewer[0])  # the test can tell other latents


def test_the_store_is_read_and_nothing_is_encoded(build_autoencoder, store, monkeypatch):
    stage = build_autoencoder(**CHANGES, autoencoder__encoded=str(store))
    begun(stage)
    expected = next(build_batches(build_autoencoder))
    monkeypatch.setattr("longtake.glober.latents.encode_frames", None)
    batch = next(stage.batches(0, 0, 1))
    assert torch.equal(batch.latents, expected.latents)
    assert batch.clips == expected.clips


def build_batches(build_autoencoder):
    stage = build_autoencoder(**CHANGES, autoencoder__cached_variants=3)
    begun(stage)
    return stage.batches(0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"autoencoder__augment": AugmentConfig()}, "its augment is mirror=True, zoom=0.2, .*, here it is none"),
        ({"autoencoder__cached_variants": 4}, "has 3 variants of each video, not 4"),
    ],
)
def test_settings_that_the_store_does_not_have_are_one_line(build_autoencoder, store, changes, message):
    with pytest.raises(UserError, match=message):
        begun(build_autoencoder(**{**CHANGES, **changes}, autoencoder__encoded=str(store)))


def test_stores_are_checked_before_any_stage_is_trained(index, store, tmp_path):
    fitting = changed(RECIPE, **CHANGES, autoencoder__encoded=str(store), generator__encoded=str(store))
    check_stores(fitting, index, ["autoencoder", "generator"])
    for changes, message in (
        ({"generator__augment": AugmentConfig()}, "its augment is mirror=True, zoom=0.2, colour=0.2, here it is none"),
        ({"generator__cached_variants": 4}, "has 3 variants of each video, not 4"),
        ({"generator__encoded": str(tmp_path)}, "holds no encoded videos"),
    ):
        recipe = changed(fitting, **changes)
        check_stores(recipe, index, ["frame_vae", "autoencoder"])
        with pytest.raises(UserError, match=message):
            check_stores(recipe, index, ["generator"])
    with pytest.raises(UserError, match="its size is 16, here it is 8"):
        check_stores(changed(fitting, size=8), index, ["autoencoder"])


def test_latents_of_another_frame_vae_are_refused(build_autoencoder, store, frame_vae):
    stage = build_autoencoder(**CHANGES, autoencoder__encoded=str(store))
    with torch.no_grad():
        next(frame_vae.parameters())[0, 0, 0, 0] += 1e-3
    with pytest.raises(UserError, match="its weights_sha256 is"):
        begun(stage)


def test_latents_normalised_otherwise_are_refused(build_autoencoder, store, frame_vae):
    frame_vae.register_to_config(latents_std=[0.6] * 4)
    with pytest.raises(UserError, match="its weights_sha256 is"):
        begun(build_autoencoder(**CHANGES, autoencoder__encoded=str(store)))


def test_a_run_says_what_is_trained_on(index, vae_folder, tmp_path):
    """Size, changes and seed come from the run's recipe; what is given goes first."""
    recipe = changed(RECIPE, **CHANGES)
    run = tmp_path / "run"
    (run / "components" / "frame_vae").mkdir(parents=True)
    config = {"recipe": "toy", "family": "glober", "data": "data", "settings": dataclasses.asdict(recipe)}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="has no trained frame VAE yet"):
        find_frame_vae(str(run))
    (run / "components" / "frame_vae" / "frame_vae").symlink_to(vae_folder)
    encode_dataset(str(run), index.root, tmp_path / "as the run", EncodeSettings())
    encoding = EncodedStore(tmp_path / "as the run").encoding
    assert (encoding.family, encoding.content) == ("glober", "frame latents")
    assert (encoding.size, encoding.augment, encoding.seed) == (SIZE, AUGMENT, 7)
    other = EncodeSettings(size=8, augment=AugmentConfig(reverse=True), seed=1)
    encode_dataset(str(run), index.root, tmp_path / "otherwise", other)
    encoding = EncodedStore(tmp_path / "otherwise").encoding
    assert (encoding.size, encoding.augment, encoding.seed) == (8, AugmentConfig(reverse=True), 1)

    pretrained = changed(recipe, frame_vae__pretrained=str(vae_folder))
    (run / "config.json").write_text(json.dumps({**config, "settings": dataclasses.asdict(pretrained)}))
    assert find_frame_vae(str(run)).folder == vae_folder
    trained = changed(recipe, autoencoder__pretrained="glober-weizmann")
    (run / "config.json").write_text(json.dumps({**config, "settings": dataclasses.asdict(trained)}))
    assert find_frame_vae(str(run)).folder == find_folder("glober-weizmann") / "frame_vae"


def test_a_pretrained_frame_vae_in_every_form_that_training_takes(index, tmp_path):
    sd_vae().save_pretrained(tmp_path / "sd" / "vae")
    torch.save(original_checkpoint(), tmp_path / "sd.ckpt")
    stores = []
    for source in ("sd", "sd/vae", "sd.ckpt"):
        assert find_family(str(tmp_path / source)) == "glober"
        out = tmp_path / f"latents {len(stores)}"
        encode_dataset(str(tmp_path / source), index.root, out, EncodeSettings(size=16))
        stores.append(EncodedStore(out))
    for name, _ in named(index):
        assert torch.equal(stores[0][f"{name}#0"], stores[1][f"{name}#0"])
        assert torch.equal(stores[0][f"{name}#0"], stores[2][f"{name}#0"])
    assert stores[0].encoding == stores[1].encoding == stores[2].encoding


def test_a_pipeline_is_not_augmented(glober, index, tmp_path):
    glober.save_pretrained(tmp_path / "pipeline")
    encode_dataset(str(tmp_path / "pipeline"), index.root, tmp_path / "out", EncodeSettings())
    store = EncodedStore(tmp_path / "out")
    assert (store.encoding.size, store.encoding.augment) == (16, AugmentConfig())
    lengths = {f"{name}#0": entry.info.num_frames for name, entry in named(index)}
    assert {key: tuple(store[key].shape) for key in lengths} == {
        key: (length, 4, 8, 8) for key, length in lengths.items()
    }


def named(index):
    return [(entry.path.relative_to(index.root).as_posix(), entry) for entry in index.entries]


def test_mistakes_are_one_line(vae_folder, index, tmp_path):
    out = tmp_path / "out"
    for model, settings, message in (
        (vae_folder, EncodeSettings(), "give --size"),
        (vae_folder, EncodeSettings(size=15), "size 15 is not a multiple of the frame VAE's downsampling factor 2"),
        (tmp_path / "nowhere", EncodeSettings(), "no model"),
        (vae_folder, EncodeSettings(size=16, device="abacus"), "cannot use device 'abacus'"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            encode_dataset(str(model), index.root, out, settings)
        assert "\n" not in str(caught.value)
        assert not out.exists()
    with pytest.raises(UserError, match="does not exist"):
        encode_dataset(str(vae_folder), tmp_path / "nowhere", out, EncodeSettings(size=16))


def test_every_video_is_stored_whatever_the_span(store, index, tmp_path):
    """Short videos too: what is too short for one span is not for another."""
    stored = EncodedStore(store)
    assert len(stored) == 12
    for (name, entry), variant in itertools.product(named(index_folder(index.root)), range(3)):
        assert stored[f"{name}#{variant}"].shape == (entry.info.num_frames, 4, 8, 8)
