"""The store of encodings: what goes in comes out, a killed writer goes on, and a wrong store is refused in one line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from longtake.core.errors import UserError
from longtake.data import encoded
from longtake.data.config import AugmentConfig
from longtake.data.encoded import EncodedStore, EncodedWriter, key_of
from longtake.data.encoded_index import Encoding
from longtake.data.index import index_folder

ENCODING = Encoding("glober", "frame latents", "ab" * 32, 16, AugmentConfig(zoom=0.1), seed=3)
LENGTHS = {"p/a.npy": 5, "p/b.npy": 7, "q/a.npy": 4}
SHARD_BYTES = 700  # two or three of these arrays


@pytest.fixture
def index(make_folder):
    return index_folder(make_folder(LENGTHS))


@pytest.fixture
def store(tmp_path):
    """A folder for one, beside that of the videos."""
    return tmp_path / "store"


@pytest.fixture
def arrays():
    generator = torch.Generator().manual_seed(0)
    return {
        key_of(name, variant): torch.randn(length, 3, 4, generator=generator)
        for name, length in LENGTHS.items()
        for variant in range(2)
    }


def fill(folder, index, arrays, encoding=ENCODING):
    """Write what the store does not have yet; return which keys those were."""
    writer = EncodedWriter(folder, encoding, index, 2, SHARD_BYTES)
    new = [key for key in arrays if key not in writer]
    for key in new:
        writer.add(key, arrays[key])
    writer.finish({})
    return new


def test_what_goes_in_comes_out_of_several_files(tmp_path, index, arrays):
    assert fill(tmp_path / "store", index, arrays) == list(arrays)
    store = EncodedStore(tmp_path / "store")
    assert len(list((tmp_path / "store").glob("*.safetensors"))) > 1
    assert len(store) == len(arrays)
    assert store.num_variants == 2
    assert store.encoding == ENCODING
    assert "p/a.npy#2" not in store
    for key, array in arrays.items():
        assert key in store
        assert torch.equal(store[key], array)
    store.require(ENCODING, index, 2)
    store.require(dataclasses.replace(ENCODING, seed=4), index, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int16, torch.int64])
def test_other_arrays_than_floats(store, index, dtype):
    array = torch.arange(24).reshape(2, 3, 4).to(dtype)
    assert fill(store, index, {"tokens#0": array.transpose(0, 1)}) == ["tokens#0"]
    stored = EncodedStore(store)["tokens#0"]
    assert stored.dtype == dtype
    assert torch.equal(stored, array.transpose(0, 1))


def test_a_killed_writer_goes_on_where_its_newest_file_ended(store, index, arrays):
    killed = EncodedWriter(store, ENCODING, index, 2, SHARD_BYTES)
    for key in list(arrays)[:4]:
        killed.add(key, arrays[key])
    (store / ".00001.1234.partial.safetensors").write_bytes(b"half a file")
    (store / "00009.safetensors").write_bytes(b"a file that the index does not know")
    with pytest.raises(UserError, match="is not finished: run the same"):
        EncodedStore(store)
    new = fill(store, index, arrays)
    assert 0 < len(new) < len(arrays)
    assert new == list(arrays)[-len(new) :]
    stored = EncodedStore(store)
    assert all(torch.equal(stored[key], array) for key, array in arrays.items())
    assert not list(store.glob(".*"))
    assert fill(store, index, arrays) == []


def test_a_killed_writer_loses_little_time_however_small_its_arrays(store, index, arrays, monkeypatch):
    now = 0.0
    monkeypatch.setattr(encoded.time, "monotonic", lambda: now)
    writer = EncodedWriter(store, ENCODING, index, 2)  # whose files would be full at 128 MB
    keys = list(arrays)
    for key in keys[:5]:
        writer.add(key, arrays[key])
        now += 0.4 * encoded.SHARD_SECONDS
    killed_here = EncodedWriter(store, ENCODING, index, 2)
    assert [key for key in keys if key in killed_here] == keys[:4]
    for key in keys[4:]:
        killed_here.add(key, arrays[key])
    killed_here.finish({})
    assert all(torch.equal(EncodedStore(store)[key], arrays[key]) for key in keys)


def test_more_videos_and_more_variants_join_those_that_are_there(store, index, arrays, make_folder):
    fill(store, index, arrays)
    root = make_folder({**LENGTHS, "r/new.npy": 6})
    more = {**arrays, "r/new.npy#0": torch.ones(3), "p/a.npy#2": torch.zeros(3)}
    assert fill(store, index_folder(root), more) == ["r/new.npy#0", "p/a.npy#2"]
    EncodedStore(store).require(ENCODING, index_folder(root), 1)
    with pytest.raises(UserError, match=r"r/new\.npy in .* is not in it"):  # not as often
        EncodedStore(store).require(ENCODING, index_folder(root), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 32}, "does not fit: its size is 16, here it is 32"),
        ({"weights_sha256": "cd" * 32}, "does not fit: its weights_sha256 is abababababab, here it is cdcdcdcdcdcd"),
        ({"augment": AugmentConfig(mirror=True)}, "its augment is zoom=0.1, here it is mirror=True"),
        ({"augment": AugmentConfig()}, "its augment is zoom=0.1, here it is none"),
        ({"family": "tats"}, "its family is glober, here it is tats"),
        ({"content": "tokens"}, "its content is frame latents, here it is tokens"),
    ],
)
def test_another_encoding_is_refused_by_reader_and_writer(store, index, arrays, changes, message):
    fill(store, index, arrays)
    other = dataclasses.replace(ENCODING, **changes)
    with pytest.raises(UserError, match=message) as caught:
        EncodedStore(store).require(other, index, 2)
    assert str(store) in str(caught.value)
    with pytest.raises(UserError, match=f"whose {next(iter(changes))} is .* choose another folder"):
        EncodedWriter(store, other, index, 2)


def test_another_seed_is_refused_by_the_writer_alone(store, index, arrays):
    fill(store, index, arrays)
    with pytest.raises(UserError, match="whose seed is 3, not 4"):
        EncodedWriter(store, dataclasses.replace(ENCODING, seed=4), index, 2)


def test_other_videos_are_refused_by_name(store, index, arrays, make_folder):
    fill(store, index, arrays)
    with pytest.raises(UserError, match="has 2 variants of each video, not 3"):
        EncodedStore(store).require(ENCODING, index, 3)
    root = make_folder({"p/c.npy": 5})
    with pytest.raises(UserError, match=r"p/c.npy in .* is not in it"):
        EncodedStore(store).require(ENCODING, index_folder(root), 2)
    (root / "p" / "c.npy").unlink()
    np.save(root / "p" / "b.npy", np.zeros((9, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"p/b.npy had 1472 bytes and 7 frames, now 1856 and 9"):
        EncodedStore(store).require(ENCODING, index_folder(root), 2)
    with pytest.raises(UserError, match=r"holds another p/b.npy than is in the data now"):
        EncodedWriter(store, ENCODING, index_folder(root), 2)


def test_a_video_that_could_not_be_decoded_is_named_with_its_reason(store, index):
    writer = EncodedWriter(store, ENCODING, index, 1)
    writer.add("p/a.npy#0", torch.zeros(5))
    writer.finish({"p/b.npy": "cut short"})
    with pytest.raises(UserError, match=r"has nothing of p/b.npy: cut short"):
        EncodedStore(store).require(ENCODING, index, 1)


def test_damaged_stores_are_one_line(store, index, arrays):
    fill(store, index, arrays)
    shard, file = store / "00000.safetensors", store / "index.json"
    content, text = shard.read_bytes(), file.read_text()
    for damage, message in (
        (lambda: shard.write_bytes(content[:-1]), "00000.safetensors is missing or cut short"),
        (lambda: shard.write_bytes(bytes(len(content))), "is damaged: 00000.safetensors"),
        (shard.unlink, "00000.safetensors is missing or cut short"),
        (lambda: file.write_text(text[:-9]), "index.json is damaged"),
        (lambda: file.write_text("[]"), "index.json is damaged"),
        (lambda: file.write_text(json.dumps({**json.loads(text), "format": 9})), "has format 9, .* reads format 1"),
        (lambda: file.write_text(json.dumps({**json.loads(text), "videos": 3})), "index.json is damaged"),
        (file.unlink, "holds no encoded videos"),
    ):
        shard.write_bytes(content)
        file.write_text(text)
        damage()
        with pytest.raises(UserError, match=message) as caught:
            EncodedStore(store)["p/a.npy#0"]
        assert "\n" not in str(caught.value)


def test_folders_of_something_else_are_left_alone(tmp_path, index):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no encoded videos"):
        EncodedWriter(tmp_path, ENCODING, index, 1)
    with pytest.raises(UserError, match="is a file; a folder is needed"):
        EncodedWriter(tmp_path / "notes.txt", ENCODING, index, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name != "videos"] == ["notes.txt"]
