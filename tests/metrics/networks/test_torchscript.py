"""StyleGAN-V's form of I3D is a program: run only if known or trusted, and called as its protocol does."""

from __future__ import annotations

import hashlib
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.metrics.networks import torchscript
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.preprocess import i3d_input


class Program(nn.Module):
    """The published signature; its logits tell what it was given. Like the published one, it fails on one clip."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        x = x.float()
        if rescale:
            x = x / 127.5 - 1.0
        described = torch.stack(
            [
                x.mean(dim=[1, 2, 3, 4]),
                x[:, 0, 0, 0, 0],
                torch.full([x.shape[0]], float(x.shape[3])),
                torch.full([x.shape[0]], float(rescale)),
                torch.full([x.shape[0]], float(resize)),
            ],
            dim=1,
        )
        logits = torch.cat([described, torch.zeros(x.shape[0], 395)], dim=1).squeeze()
        assert logits.dim() == 2
        return logits if return_features else logits.softmax(dim=1)


class WrongProgram(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def save(module: nn.Module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture
def program(tmp_path):
    return save(Program(), tmp_path / "i3d_torchscript.pt")


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, 9, 32, 48, 3), np.uint8)


def test_unknown_program_is_not_run(program, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was run"))
    sha256 = hashlib.sha256(program.read_bytes()).hexdigest()
    with pytest.raises(
        UserError, match=f"is a program .TorchScript. with sha256 {sha256}, not the known bec6519f.*--trust"
    ):
        load_features("i3d", weights=program)


def test_known_program_is_run(program, clips, monkeypatch):
    monkeypatch.setattr(torchscript, "KNOWN_SHA256", hashlib.sha256(program.read_bytes()).hexdigest())
    network = load_features("i3d", weights=program)
    assert (network.name, network.dim, network.min_frames) == ("i3d-kinetics400-torchscript", 400, 9)
    assert network.sha256 == torchscript.KNOWN_SHA256
    assert network.features(clips, "squash").shape == (3, 400)


def test_squash_leaves_resizing_and_rescaling_to_the_program(program, clips):
    found = load_features("i3d", weights=program, trust=True).features(clips, "squash")
    scaled = clips.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(found[:, 0], scaled.mean(axis=(1, 2, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], scaled[:, 0, 0, 0, 0], atol=1e-5)
    assert found[:, 2:5].tolist() == [[32, 1, 1]] * 3


def test_crop_hands_over_what_is_cropped(program, clips):
    found = load_features("i3d", weights=program, trust=True).features(clips, "crop")
    np.testing.assert_allclose(found[:, 0], i3d_input(clips, "crop").mean(dim=(1, 2, 3, 4)), atol=1e-5)
    assert found[:, 2:5].tolist() == [[224, 0, 0]] * 3


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_single_clip_gives_what_it_gives_in_a_batch(program, clips, resize):
    network = load_features("i3d", weights=program, trust=True)
    alone = network.features(clips[1:2], resize)
    assert alone.shape == (1, 400)
    np.testing.assert_array_equal(alone[0], network.features(clips, resize)[1])


def test_other_programs_are_refused_in_one_line(tmp_path, clips):
    network = load_features("i3d", weights=save(WrongProgram(), tmp_path / "wrong.pt"), trust=True)
    with pytest.raises(UserError, match="does not run as StyleGAN-V's I3D does") as caught:
        network.features(clips, "crop")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnext3d", "c3d"])
def test_only_i3d_is_published_as_a_program(program, monkeypatch, name):
    monkeypatch.setattr("longtake.metrics.networks.c3d.read_mean", lambda _: torch.zeros(3, 16, 112, 112))
    with pytest.raises(UserError, match="is TorchScript, which runs its own code; plain weights are needed"):
        load_features(name, weights=program, trust=True)


def test_damaged_program(program):
    with zipfile.ZipFile(program) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(program, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"nonsense(" if name.endswith(".py") else content)
    with pytest.raises(UserError, match="cannot read") as caught:
        load_features("i3d", weights=program, trust=True)
    assert "\n" not in str(caught.value)
