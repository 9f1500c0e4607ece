import dataclasses

import numpy as np
import pytest
import torch

from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedStore, EncodedWriter
from longtake.data.encoded_index import Encoding
from longtake.data.index import index_folder
from longtake.data.variants import encode_variants, vary

AUGMENT = AugmentConfig(mirror=True, zoom=0.2, shift=0.1, colour=0.1)
ENCODING = Encoding("test", "frames", "0" * 64, 8, AUGMENT, seed=5)


def dataset_of(root, seed=5, **settings):
    return ClipDataset(index_folder(root), ClipConfig(num_frames=1, size=8), AUGMENT, seed, **settings)


def encode_all(dataset, folder, num_variants=2, **options):
    writer = EncodedWriter(folder, ENCODING, dataset.index, num_variants, shard_bytes=5000)
    return encode_variants(dataset, torch.tensor, writer, num_variants, **options)


def test_variants_belong_to_names_not_to_places(make_folder):
    root = make_folder({"b.npy": 6, "c.npy": 6})
    before = dataset_of(root)
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    drawn = [vary(frames, before, 1, variant) for variant in range(4)]
    make_folder({"a.npy": 6}, root)
    after = dataset_of(root)
    assert after.entries[2].path == before.entries[1].path
    assert all(np.array_equal(vary(frames, after, 2, variant), drawn[variant]) for variant in range(4))
    for other in (vary(frames, after, 1, 0), vary(frames, dataset_of(root, seed=6), 2, 0), drawn[1]):
        assert not np.array_equal(other, drawn[0])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_store_holds_every_variant_of_every_video(make_folder, tmp_path, num_workers):
    dataset = dataset_of(make_folder({f"{number}.npy": 4 + number for number in range(5)}), cache_bytes=0)
    calls = []
    report = encode_all(
        dataset, tmp_path / "store", num_workers=num_workers, progress=lambda *count: calls.append(count)
    )
    assert calls == [(done, 5) for done in range(1, 6)]
    assert dataclasses.asdict(report) == {
        "num_videos": 5,
        "num_arrays": 10,
        "num_bytes": sum(file.stat().st_size for file in (tmp_path / "store").glob("*.safetensors")),
        "unreadable": {},
    }
    store = EncodedStore(tmp_path / "store")
    for video in range(5):
        for variant in range(2):
            expected = vary(dataset.video(video), dataset, video, variant)
            assert np.array_equal(store[f"{video}.npy#{variant}"].numpy(), expected)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resume_encodes_only_what_is_missing(make_folder, tmp_path, num_workers):
    dataset = dataset_of(make_folder({f"{number}.npy": 9 for number in range(6)}), cache_bytes=0)

    def stop_at_the_third(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_all(dataset, tmp_path / "store", num_workers=num_workers, progress=stop_at_the_third)
    calls = []
    report = encode_all(
        dataset, tmp_path / "store", num_workers=num_workers, progress=lambda *count: calls.append(count)
    )
    assert 6 <= report.num_arrays < 12
    assert calls[-1] == (6, 6)
    assert len(calls) < 6
    store = EncodedStore(tmp_path / "store")
    straight = EncodedStore(encode_into(dataset, tmp_path / "straight"))
    for key in (f"{video}.npy#{variant}" for video in range(6) for variant in range(2)):
        assert torch.equal(store[key], straight[key])


def encode_into(dataset, folder):
    encode_all(dataset, folder)
    return folder


@pytest.mark.parametrize("num_workers", [0, 1])
def test_broken_videos_are_named_and_the_others_encoded(make_folder, cut_short, tmp_path, num_workers):
    dataset = dataset_of(make_folder({"a.npy": 5, "b.npy": 5, "c.npy": 5}))
    cut_short(dataset.entries[1].path)
    report = encode_all(dataset, tmp_path / "store", num_workers=num_workers)
    assert list(report.unreadable) == ["b.npy"]
    assert report.num_videos == 2
    store = EncodedStore(tmp_path / "store")
    assert len(store) == 4
    with pytest.raises(ValueError, match=r"has nothing of b\.npy: not a readable npy"):
        store.require(ENCODING, dataset.index, 1)
