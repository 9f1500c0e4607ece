"""Our VQGAN against the official module, through `convert`: `$LONGTAKE_FIXTURES/tats`; all sizes come from there."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from longtake.tats.convert import read_vqgan

TOLERANCE = 1e-4  # of the largest magnitude


@pytest.fixture(scope="module")
def vqgan(official):
    return read_vqgan(official / "vqgan.ckpt")


@pytest.fixture(scope="module")
def io(official):
    return load_file(official / "io.safetensors")


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error < TOLERANCE, f"relative error {error:.1e}"


@torch.no_grad()
def test_parity_of_vectors_before_quantisation(vqgan, io):
    assert_close(vqgan.pre_quant(2 * io["video"]), io["pre_quant"])


@torch.no_grad()
def test_parity_of_codes_is_exact(vqgan, io):
    assert torch.equal(vqgan.encode(2 * io["video"]), io["indices"])
    assert torch.equal(vqgan.codebook.nearest(io["pre_quant"]), io["indices"])


@torch.no_grad()
def test_parity_of_decoded_video(vqgan, io):
    assert_close(vqgan.decode_vectors(vqgan.lookup(io["indices"])) / 2, io["decoded"])
    assert_close(vqgan.decode(io["indices"]) / 2, io["decoded"].clamp(-0.5, 0.5))


@torch.no_grad()
def test_parity_survives_saving_and_loading(vqgan, io, tmp_path):
    vqgan.save_pretrained(tmp_path)
    again = type(vqgan).from_pretrained(tmp_path)
    assert torch.equal(again.encode(2 * io["video"]), io["indices"])
    assert torch.equal(again.decode(io["indices"]), vqgan.decode(io["indices"]))
    assert again.codebook.is_initialized
