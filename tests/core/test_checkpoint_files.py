"""Checkpoints are read without running what is in them, and copied into networks by name."""

from __future__ import annotations

import argparse
import builtins
import os
import pathlib
import pickle
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

from longtake.core.checkpoint_files import load_official, read_checkpoint
from longtake.core.errors import UserError


class Call:
    """Pickles as an order to call a function."""

    def __init__(self, function, *arguments):
        self.order = function, arguments

    def __reduce__(self):
        return self.order


def checkpoint(**extra):
    settings = argparse.Namespace(n_hiddens=8, downsample=(4, 8, 8), nested=argparse.Namespace(lr=0.1))
    return {
        "state_dict": {"weight": torch.arange(3.0), "half": torch.ones(2, dtype=torch.float16)},
        "hyper_parameters": {"args": settings},
        "epoch": 3,
        **extra,
    }


@pytest.mark.parametrize("as_zip", [True, False])
def test_tensors_and_settings_are_read(tmp_path, as_zip):
    torch.save(checkpoint(), tmp_path / "a.ckpt", _use_new_zipfile_serialization=as_zip)
    contents = read_checkpoint(tmp_path / "a.ckpt")
    assert contents["state_dict"]["weight"].tolist() == [0, 1, 2]
    assert contents["state_dict"]["half"].dtype == torch.float16
    args = contents["hyper_parameters"]["args"]
    assert args.downsample == (4, 8, 8)
    assert args.nested.lr == 0.1
    assert contents["epoch"] == 3


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("place", ["settings", "state_dict", "top"])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, r"posix\.system"),
        (subprocess.check_output, "check_output"),
        (builtins.eval, "eval"),
        (builtins.getattr, "getattr"),
        (pathlib.PurePosixPath, r"pathlib\.PurePosixPath"),
        (torch.load, r"torch\.serialization\.load"),
    ],
)
def test_hostile_checkpoint_is_refused_in_one_line_and_runs_nothing(tmp_path, function, name, place, as_zip):
    mark, path = tmp_path / "mark", tmp_path / "hostile.ckpt"
    argument = f"open({str(mark)!r}, 'w')" if function is eval else f"touch {mark}"
    order = (
        Call(function, argument) if function is not subprocess.check_output else Call(function, ["touch", str(mark)])
    )
    contents = checkpoint()
    if place == "settings":
        contents["hyper_parameters"]["args"].callback = order
    elif place == "state_dict":
        contents["state_dict"]["weight"] = order
    else:
        contents = order
    torch.save(contents, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(UserError, match=rf"refused checkpoint .*hostile\.ckpt: it asks for \S*{name}, ") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.fixture
def lightning(monkeypatch):
    """Classes that say they are Lightning's; whoever looks one up or runs one leaves a mark in `marks`."""
    marks: list[str] = []

    class ModelCheckpoint:
        def __init__(self, folder):
            marks.append("made")
            self.folder = folder

        def __reduce__(self):
            return type(self), (self.folder,), {"folder": self.folder}

        def __setstate__(self, state):
            marks.append("set")

    class Closure:
        pass

    for kind, module in ((ModelCheckpoint, "pytorch_lightning.callbacks"), (Closure, "lightning.loops")):
        kind.__module__, kind.__qualname__ = module, kind.__name__
        monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType("package"))
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{kind.__name__: kind}))
    return types.SimpleNamespace(checkpoint=ModelCheckpoint, closure=Closure, marks=marks)


@pytest.mark.parametrize("as_zip", [True, False])
def test_objects_of_lightning_become_placeholders_that_run_nothing(tmp_path, lightning, as_zip):
    objects = [lightning.checkpoint("a"), lightning.closure()]
    kept = {lightning.checkpoint: {"best": torch.tensor(2.0)}, "objects": objects}
    torch.save(checkpoint(callbacks=kept), tmp_path / "a.ckpt", _use_new_zipfile_serialization=as_zip)
    lightning.marks.clear()
    contents = read_checkpoint(tmp_path / "a.ckpt")
    assert contents["state_dict"]["weight"].tolist() == [0, 1, 2]
    assert [vars(placeholder) for placeholder in contents["callbacks"]["objects"]] == [{}, {}]
    assert lightning.checkpoint not in contents["callbacks"]
    assert lightning.marks == []
    torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert lightning.marks == ["made", "set"]  # so it would have been seen


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_placeholder_is_no_way_in(tmp_path, lightning, as_zip):
    mark = tmp_path / "mark"
    order = Call(os.system, f"touch {mark}")
    state = checkpoint(callbacks={lightning.checkpoint: lightning.checkpoint(order)})
    torch.save(state, tmp_path / "a.ckpt", _use_new_zipfile_serialization=as_zip)
    with pytest.raises(UserError, match=r"refused checkpoint .*a\.ckpt: it asks for posix\.system"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert not mark.exists()


def test_the_hostile_file_would_run_in_pythons_own_unpickler(tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Call(os.system, f"touch {mark}")))  # noqa: S301 (this is what must not happen above)
    assert mark.exists()


@pytest.mark.parametrize(
    "data", [b"", b"no checkpoint", b"\x80\x02}q\x00.", pickle.dumps([1, 2]), b"PK\x03\x04 cut off"]
)
def test_what_is_no_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.ckpt") as caught:
        read_checkpoint(tmp_path / "a.ckpt")
    assert "\n" not in str(caught.value)


def test_a_cut_off_checkpoint_is_refused(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="is not a checkpoint, or damaged"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read checkpoint .*a\.ckpt: No such file"):
        read_checkpoint(tmp_path / "a.ckpt")


RULES = {"body.conv": "0", "scale": "1.weight"}


def official():
    return {"body.conv.weight": torch.randn(3, 2, 1), "body.conv.bias": torch.randn(3), "scale": torch.randn(3)}


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))


def test_weights_are_renamed_and_copied():
    ours, theirs = model(), official()
    load_official(ours, {key: value.half() for key, value in theirs.items()}, RULES, keep=("1.bias",))
    assert torch.equal(ours[0].weight, theirs["body.conv.weight"].half().float()[..., 0])
    assert torch.equal(ours[1].weight, theirs["scale"].half().float())
    assert not ours[1].bias.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.other.weight": torch.zeros(1)}, "official key 'body.other.weight' has no place in Sequential"),
        ({"body.conv.bias": torch.zeros(4)}, r"'body.conv.bias' has shape \(4,\), not \(3,\)"),
        ({"scale": None}, "the official weights lack 1.weight"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, message):
    ours = model()
    before = [value.clone() for value in ours.state_dict().values()]
    theirs = {key: value for key, value in {**official(), **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        load_official(ours, theirs, RULES, keep=("1.bias",))
    assert all(torch.equal(a, b) for a, b in zip(before, ours.state_dict().values(), strict=True))
