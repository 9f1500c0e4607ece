"""Where weights are looked for, and what becomes of files that are not what they should be."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from longtake.core.errors import UserError
from longtake.metrics.networks import features
from longtake.metrics.networks.c3d import read_c3d, read_mean
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.weights import PUBLISHED, find_weights, load_weights, read_state_dict


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(2, 4, 1), nn.BatchNorm3d(4))


@pytest.fixture
def small_file(tmp_path):
    torch.manual_seed(0)
    torch.save(small_network().state_dict(), tmp_path / "small.pt")
    return tmp_path / "small.pt"


def line_of(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_explicit_path_before_variable_before_cache(tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "weights" / "i3d_pretrained_400.pt"
    cached.parent.mkdir(parents=True)
    for path in (cached, tmp_path / "variable.pt", tmp_path / "explicit.pt"):
        path.write_bytes(b"x")
    assert find_weights("i3d") == cached
    monkeypatch.setenv("LONGTAKE_I3D", str(tmp_path / "variable.pt"))
    assert find_weights("i3d") == tmp_path / "variable.pt"
    assert find_weights("i3d", tmp_path / "explicit.pt") == tmp_path / "explicit.pt"


def test_a_place_that_is_given_is_not_passed_over(tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "weights" / "i3d_pretrained_400.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    with pytest.raises(UserError, match=r"weights for i3d: .*/nowhere.pt does not exist") as caught:
        load_features("i3d", weights=tmp_path / "nowhere.pt")
    line_of(caught)
    monkeypatch.setenv("LONGTAKE_I3D", str(tmp_path))
    with pytest.raises(UserError, match=r"LONGTAKE_I3D: .* is a folder, not a file"):
        load_features("i3d")


def test_cache_is_in_the_home_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("LONGTAKE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cache" / "longtake" / "weights" / "resnext-101-kinetics.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert find_weights("resnext3d") == path


@pytest.mark.parametrize("network", features.PUBLISHED_NETWORKS)
def test_missing_weights_say_which_file_from_where_and_the_three_places(network, tmp_path):
    published = PUBLISHED[network]
    with pytest.raises(UserError) as caught:
        load_features(network)
    line = line_of(caught)
    for part in (published.files[0], "https://", "--weights", published.variable, str(tmp_path / "cache" / "weights")):
        assert part in line


def test_unknown_network():
    with pytest.raises(UserError, match="unknown feature network 'i3f'; did you mean 'i3d'"):
        load_features("i3f")


def test_wrapped_and_prefixed_weights_are_unwrapped(tmp_path):
    network = small_network()
    wrapped = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "w.pt")
    found = read_state_dict(tmp_path / "w.pt")
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


def test_old_files_without_zip_are_read(tmp_path):
    network = small_network()
    torch.save(network.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "old.pt").keys() == network.state_dict().keys()


def test_weights_replace_all_but_counters(small_file):
    torch.manual_seed(1)
    network = small_network()
    weights = {name: value for name, value in read_state_dict(small_file).items() if "num_batches" not in name}
    load_weights(network, weights, small_file)
    for name, value in weights.items():
        assert torch.equal(network.state_dict()[name], value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"it lacks '0.bias' \(1 of 6\)"),
        (lambda w: w.update(extra=torch.zeros(1)), r"it has unknown 'extra' \(1 of 6\)"),
        (lambda w: w.update({"0.bias": torch.zeros(5)}), r"'0.bias' has shape \(5,\), not \(4,\)"),
        (lambda w: w.update({"0.bias": torch.zeros(4, dtype=torch.int64)}), "'0.bias' is no float tensor"),
        (lambda w: w.update({"0.bias": 3}), "'0.bias' is no float tensor"),
    ],
)
def test_other_networks_weights_are_refused(small_file, change, message):
    weights = read_state_dict(small_file)
    change(weights)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(small_network(), weights, small_file)
    line_of(caught)
    assert str(small_file) in str(caught.value)


def test_ignored_weights_may_be_there_or_not(small_file):
    weights = read_state_dict(small_file)
    load_weights(small_network(), weights, small_file, ignored=("fc",))
    load_weights(small_network(), weights | {"fc": torch.zeros(1)}, small_file, ignored=("fc",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "is a web page, not weights"),
        (b"\xef\xbb\xbf \n<html>", "is a web page, not weights"),
        (b"Not Found", "cannot read weights"),
        (b"PK\x03\x04 and then nothing", "cannot read weights"),
    ],
)
@pytest.mark.parametrize("read", [read_state_dict, read_c3d])
def test_files_that_are_no_weights(tmp_path, content, message, read):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    line_of(caught)


@pytest.mark.parametrize("value", [[1, 2], {}, torch.zeros(2), {"state_dict": {}}])
def test_torch_files_without_named_tensors(tmp_path, value):
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds no weights|'0.bias'") as caught:
        load_weights(small_network(), read_state_dict(tmp_path / "w.pt"), tmp_path / "w.pt")
    line_of(caught)


class Hostile:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def write_hostile_zip(path, trace):
    torch.save({"state_dict": Hostile(trace)}, path)


def write_hostile_old(path, trace):
    torch.save({"state_dict": Hostile(trace)}, path, _use_new_zipfile_serialization=False)


def write_hostile_pickle(path, trace):
    path.write_bytes(pickle.dumps({"0.weight": Hostile(trace)}))


def write_hostile_npz(path, trace):
    np.savez(path, **{"conv1a/W": np.array([Hostile(trace)], dtype=object)})


@pytest.mark.parametrize("write", [write_hostile_zip, write_hostile_old, write_hostile_pickle, write_hostile_npz])
@pytest.mark.parametrize("network", features.PUBLISHED_NETWORKS)
def test_nothing_in_a_hostile_file_is_run(tmp_path, monkeypatch, write, network):
    path, trace = tmp_path / "w.npz", tmp_path / "trace"
    write(path, trace)
    monkeypatch.setattr("longtake.metrics.networks.c3d.read_mean", lambda _: torch.zeros(3, 16, 112, 112))
    with pytest.raises(UserError) as caught:
        load_features(network, weights=path)
    line_of(caught)
    assert not trace.exists()


def test_hostile_files_would_leave_a_trace_if_run(tmp_path):
    """The files of the test above do what they say when read without care."""
    write_hostile_zip(tmp_path / "w.pt", tmp_path / "trace")
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "trace").is_dir()


@pytest.mark.parametrize("old", [False, True])
def test_damaged_files_are_read_or_refused_in_one_line(small_file, tmp_path, old):
    torch.save(read_state_dict(small_file), small_file, _use_new_zipfile_serialization=not old)
    whole, rng, messages = small_file.read_bytes(), random.Random(0), []
    for _ in range(150):
        content = bytearray(whole)
        if rng.random() < 0.3:
            content = content[: rng.randrange(1, len(content))]
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        small_file.write_bytes(content)
        try:
            load_weights(small_network(), read_state_dict(small_file), small_file)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)


def test_c3d_names_come_from_chainers(tmp_path):
    weight, bias = np.ones((4, 3, 1, 1, 1), np.float32), np.zeros(4, np.float32)
    np.savez(tmp_path / "c3d.npz", **{"conv1a/W": weight, "conv1a/b": bias})
    found = read_c3d(tmp_path / "c3d.npz")
    assert set(found) == {"conv1a.weight", "conv1a.bias"}
    assert torch.equal(found["conv1a.weight"], torch.from_numpy(weight))


def test_truncated_npz(tmp_path):
    np.savez(tmp_path / "c3d.npz", **{"conv1a/W": np.ones((40, 3), np.float32)})
    content = (tmp_path / "c3d.npz").read_bytes()
    (tmp_path / "c3d.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot read weights") as caught:
        read_c3d(tmp_path / "c3d.npz")
    line_of(caught)
    buffer = bytearray(content)
    buffer[len(content) // 2] ^= 0xFF  # within the array: the archive's checksum tells
    (tmp_path / "c3d.npz").write_bytes(buffer)
    with pytest.raises(UserError, match=r"cannot read .*damaged"):
        read_c3d(tmp_path / "c3d.npz")


def test_mean_video_is_asked_for_and_checked(tmp_path):
    path = tmp_path / "mean2.npz"
    with pytest.raises(UserError, match=r"no .*mean2.npz: c3d needs the mean video"):
        read_mean(path)
    for arrays, message in (
        ({"other": np.zeros(3, np.float32)}, "holds no 'mean'"),
        ({"mean": np.zeros((3, 16, 112, 112), np.float32)}, r"'mean' of shape \(3, 16, 112, 112\); needed is"),
        ({"mean": np.zeros((3, 16, 128, 171), np.int64)}, "'mean' is of type int64"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(UserError, match=message) as caught:
            read_mean(path)
        line_of(caught)


def test_c3d_without_its_mean_video_says_so(tmp_path):
    np.savez(tmp_path / "conv3d_deepnetA_ucf.npz", **{"conv1a/W": np.ones((4, 3), np.float32)})
    with pytest.raises(UserError, match=r"no .*mean2.npz"):
        load_features("c3d", weights=tmp_path / "conv3d_deepnetA_ucf.npz")


def test_zip_of_something_else(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "w.pt").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="cannot read weights"):
        read_state_dict(tmp_path / "w.pt")
