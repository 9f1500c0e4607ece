"""`longtake convert`: official TATS checkpoints become a pipeline; what is refused is refused in one line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch

FIXTURES = Path(__file__).resolve().parents[2] / os.environ.get("LONGTAKE_FIXTURES", "../shared/fixtures") / "tats"


def test_vqgan_and_transformer_become_a_pipeline(longtake, tmp_path):
    if not FIXTURES.is_dir():
        pytest.skip(f"no fixtures at {FIXTURES}")
    out = tmp_path / "model"
    outcome = longtake("convert", "tats-vqgan", FIXTURES / "vqgan.ckpt", out)
    assert outcome.status == 0, outcome.err
    assert f"part of a model: {out}" in outcome.out
    outcome = longtake("convert", "tats-transformer", FIXTURES / "transformer.ckpt", out)
    assert outcome.status == 0, outcome.err
    assert f"longtake sample {out}" in outcome.out
    assert {path.name for path in out.iterdir()} == {"model_index.json", "vqgan", "transformer"}
    again = longtake("convert", "tats-vqgan", FIXTURES / "vqgan.ckpt", out).error_line
    assert "exists already" in again


class Order:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["tats-vqgan", "tats-transformer"])
def test_hostile_checkpoint_is_refused_and_runs_nothing(longtake, tmp_path, kind):
    mark, source, out = tmp_path / "mark", tmp_path / "hostile.ckpt", tmp_path / "out"
    settings = argparse.Namespace(n_hiddens=8, callback=Order(mark))
    torch.save(
        {"state_dict": {"codebook.embeddings": torch.zeros(2, 2)}, "hyper_parameters": {"args": settings}}, source
    )
    if kind == "tats-transformer":
        from longtake.tats.vqgan import TatsVQGAN

        TatsVQGAN(base_channels=4, num_codes=4, code_dim=4).save_pretrained(out / "vqgan")
    line = longtake("convert", kind, source, out).error_line
    assert "refused checkpoint" in line
    assert "system" in line
    assert not mark.exists()
    assert kind == "tats-transformer" or not out.exists()


def test_mistakes_are_named(longtake, tmp_path):
    source = tmp_path / "a.ckpt"
    assert (
        "unknown kind 'tats-vqgam'; did you mean 'tats-vqgan'?"
        in longtake("convert", "tats-vqgam", source, tmp_path).error_line
    )
    assert "no such file" in longtake("convert", "tats-vqgan", source, tmp_path / "out").error_line
    source.write_bytes(b"something else")
    assert "is not a checkpoint" in longtake("convert", "tats-vqgan", source, tmp_path / "out").error_line
    assert "is a file" in longtake("convert", "tats-vqgan", source, source).error_line
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, source)
    assert "is not a TATS VQGAN" in longtake("convert", "tats-vqgan", source, tmp_path / "out").error_line
    assert "no VQGAN in" in longtake("convert", "tats-transformer", source, tmp_path / "out").error_line
    assert not (tmp_path / "out").exists()


def test_stable_diffusion_checkpoint_becomes_diffusers_folders(longtake, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "glober")
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from toy_pretrained import original_checkpoint, sd_unet, sd_vae

    source, out = tmp_path / "sd.ckpt", tmp_path / "stable-diffusion"
    torch.save({"state_dict": original_checkpoint()}, source)
    for kind, part, network, expected in (
        ("sd-unet", "unet", UNet2DConditionModel, sd_unet()),
        ("sd-vae", "vae", AutoencoderKL, sd_vae()),
    ):
        outcome = longtake("convert", kind, source, out)
        assert outcome.status == 0, outcome.err
        found = network.from_pretrained(out / part).state_dict()
        assert found.keys() == expected.state_dict().keys()
        assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())
        assert f"{out / part} exists already" in longtake("convert", kind, source, out).error_line
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, source)
    assert (
        "it is no Stable Diffusion v1 checkpoint" in longtake("convert", "sd-vae", source, tmp_path / "no").error_line
    )
    assert not (tmp_path / "no").exists()


def test_folder_in_place_of_a_checkpoint_is_named(longtake, tmp_path):
    line = longtake("convert", "sd-unet", tmp_path, tmp_path / "out").error_line
    assert f"no such file: {tmp_path}; sd-unet is of a file" in line
