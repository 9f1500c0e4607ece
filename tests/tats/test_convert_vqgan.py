"""Every key and every setting of an official VQGAN checkpoint is accounted for."""

from __future__ import annotations

import argparse

import pytest
import torch

from longtake.core.checkpoint_files import read_checkpoint
from longtake.core.errors import UserError
from longtake.tats.convert import convert_vqgan, read_vqgan, rules, settings
from longtake.tats.vqgan import TatsVQGAN


@pytest.fixture
def contents(official):
    return read_checkpoint(official / "vqgan.ckpt")


@pytest.fixture
def saved(contents, tmp_path):
    """Function: changes to the checkpoint's state and settings -> the changed checkpoint's path."""

    def save(state=None, **changes):
        args = argparse.Namespace(**{**settings(contents), **changes})
        kept = {key: value for key, value in {**contents["state_dict"], **(state or {})}.items() if value is not None}
        torch.save({"state_dict": kept, "hyper_parameters": {"args": args}}, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return save


def test_every_official_tensor_is_copied(contents, official):
    model = read_vqgan(official / "vqgan.ckpt")
    own, names = model.state_dict(), rules(len(model.encoder.blocks))
    seen = set()
    for key, value in contents["state_dict"].items():
        module, _, leaf = key.rpartition(".")
        name = names.get(key) or f"{names[module]}.{leaf}"
        assert torch.equal(own[name], value.to(own[name].dtype)), key
        seen.add(name)
    assert own.keys() - seen == {"codebook.is_initialized"}
    assert model.codebook.is_initialized
    assert not model.training


def test_parts_that_only_training_needs_are_passed_over(saved):
    extra = {f"{part}.weight": torch.zeros(1) for part in ("perceptual_model.lin0", "image_discriminator.model0.0")}
    assert isinstance(read_vqgan(saved(extra)), TatsVQGAN)


def test_what_does_not_fit_is_refused(saved, contents):
    key = next(key for key in contents["state_dict"] if key.endswith("running_var"))
    for state, message in (
        ({"encoder.attention.weight": torch.zeros(1)}, "'encoder.attention.weight' has no place"),
        ({key: None}, "the official weights lack"),
        ({"post_vq_conv.conv.bias": torch.zeros(3)}, "has shape"),
    ):
        with pytest.raises(UserError, match=message):
            read_vqgan(saved(state))


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ({"codebook.embeddings": torch.zeros(3)}, {}),
        ({"codebook.embeddings": 3}, {}),
        ({"post_vq_conv.conv.bias": "x"}, {}),
        ({3: torch.zeros(1)}, {}),
        ({}, {"downsample": None}),
        ({}, {"downsample": (4, "8", 8)}),
    ],
)
def test_settings_and_tensors_of_another_form_are_one_line(saved, state, changes):
    with pytest.raises(UserError, match="is not a TATS VQGAN: its settings or tensors are of another form"):
        read_vqgan(saved(state, **changes))


def test_padding_that_reached_some_layers_only_is_refused(saved):
    with pytest.raises(UserError, match="trained with padding 'constant'; only 'replicate' can be converted"):
        read_vqgan(saved(padding_type="constant"))


def test_settings_may_lie_beside_each_other(contents):
    assert settings({"hyper_parameters": {"n_hiddens": 8}}) == {"n_hiddens": 8}
    assert settings({}) == {}
    assert settings(contents)["n_codes"] == contents["state_dict"]["codebook.embeddings"].shape[0]


def test_converted_folder_loads_and_is_not_overwritten(official, tmp_path):
    convert_vqgan(official / "vqgan.ckpt", tmp_path / "model")
    model = TatsVQGAN.from_pretrained(tmp_path / "model" / "vqgan")
    expected = read_vqgan(official / "vqgan.ckpt")
    for ours, theirs in zip(model.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(UserError, match="exists already"):
        convert_vqgan(official / "vqgan.ckpt", tmp_path / "model")
