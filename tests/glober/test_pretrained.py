"""Weights that others trained: whole, in every form, tensor by tensor; what is missing is an error, never random."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_pretrained import NUM_BLOCKS, TEXT_DIM, WIDTHS, original_checkpoint, renamed, sd_unet, sd_vae

from longtake.core.errors import UserError
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import latent_affine
from longtake.glober.pretrained import initialise, read_frame_vae, read_unet


def decoder(**changes) -> GloberFrameDecoder:
    """A frame decoder of the miniature UNet's sizes."""
    sizes = {
        "latent_size": 8,
        "block_out_channels": WIDTHS,
        "layers_per_block": NUM_BLOCKS,
        "attention": (True, False),
        "context_dim": TEXT_DIM,
        "feature_channels": 4,
        "feature_size": 4,
    }
    torch.manual_seed(7)
    return GloberFrameDecoder(**{**sizes, **changes})


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same networks in all forms."""
    root = tmp_path_factory.mktemp("stable_diffusion")
    state = original_checkpoint()
    torch.save({"state_dict": state, "global_step": 470000, "epoch": 2}, root / "sd.ckpt")
    save_file({name: value.contiguous() for name, value in state.items()}, root / "sd.safetensors")
    sd_unet().save_pretrained(root / "pipeline" / "unet")
    sd_vae().save_pretrained(root / "pipeline" / "vae")
    return root


FORMS = pytest.mark.parametrize("form", ["sd.ckpt", "sd.safetensors", "pipeline", "pipeline/unet"])


@FORMS
def test_stable_diffusion_weights_initialise_the_decoder_tensor_by_tensor(sources, form):
    model, untouched = decoder(), decoder().state_dict()
    report = initialise(model, str(sources / form))
    expected = sd_unet().state_dict()
    assert set(report.copied) == {f"unet.{name}" for name in expected}
    for name, value in expected.items():
        assert torch.equal(model.unet.state_dict()[name], value), name
    assert report.unused == []
    assert report.kept == [name for name in untouched if name.startswith("control_branch.")]
    for name in report.kept:
        assert torch.equal(model.state_dict()[name], untouched[name]), name
    assert report.lines("sd") == [
        f"frame decoder: {len(expected)} of {len(untouched)} tensors are those of sd",
        f"new, not in Stable Diffusion: {len(report.kept)} tensors of control_branch",
    ]


def test_stable_diffusion_tensors_without_a_place_are_named(sources):
    model = decoder(context_dim=2 * TEXT_DIM)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = initialise(model, str(sources / "sd.ckpt"))
    text = [name for name in before if re.search(r"attn2\.to_[kv]", name)]
    assert len(text) == 2 * 4  # four transformer blocks
    assert [name for name in report.kept if name.startswith("unet.")] == text
    assert report.unused == text
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in text)
    words = "\n".join(report.lines("sd.ckpt"))
    assert all(words.count(name) == 2 for name in text)


def test_a_unet_of_another_width(sources):
    with pytest.raises(UserError, match=r"begins with weights \(32, 4, 3, 3\), the frame decoder with \(96, 4, 3, 3\)"):
        initialise(decoder(block_out_channels=(96, 160)), str(sources / "sd.ckpt"))


@pytest.mark.parametrize("form", ["sd.ckpt", "sd.safetensors", "pipeline", "pipeline/vae"])
def test_stable_diffusion_autoencoder_is_the_same_in_every_form(sources, form):
    vae, expected = read_frame_vae(str(sources / form)), sd_vae().eval()
    state = vae.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(state[name], value), name
    assert vae.config.scaling_factor == 0.18215
    frames = torch.randn(1, 3, 8, 8)
    assert torch.equal(vae.encode(frames).latent_dist.mean, expected.encode(frames).latent_dist.mean)


def test_scale_of_latents_is_what_the_source_says(sources, tmp_path):
    vae = sd_vae()
    vae.register_to_config(scaling_factor=0.5)
    vae.save_pretrained(tmp_path / "vae")
    _, std = latent_affine(read_frame_vae(str(tmp_path / "vae")), torch.zeros(1))
    assert std.item() == 2
    tensors = {**load_file(sources / "sd.safetensors"), "scale_factor": torch.tensor(0.25)}
    save_file(tensors, tmp_path / "scaled.safetensors")
    assert read_frame_vae(str(tmp_path / "scaled.safetensors")).config.scaling_factor == 0.25


def test_autoencoders_of_other_factors_are_recognised(tmp_path):
    from toy_pretrained import original_vae_names

    for widths in ((32,), (32, 32, 64)):
        state = renamed(sd_vae(widths).state_dict(), original_vae_names(len(widths)), "")
        save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "vae.safetensors")
        vae = read_frame_vae(str(tmp_path / "vae.safetensors"))
        assert vae.encode(torch.zeros(1, 3, 16, 16)).latent_dist.mean.shape[-1] == 16 // 2 ** (len(widths) - 1)


def test_missing_tensors_are_an_error_and_never_random(sources, tmp_path):
    state = load_file(sources / "sd.safetensors")
    del state["first_stage_model.decoder.conv_out.bias"], state["model.diffusion_model.out.2.bias"]
    save_file(state, tmp_path / "torn.safetensors")
    with pytest.raises(UserError, match=r"lacks decoder.conv_out.bias and 0 more tensors of AutoencoderKL"):
        read_frame_vae(str(tmp_path / "torn.safetensors"))
    with pytest.raises(UserError, match=r"lacks conv_out.bias and 0 more tensors of UNet2DConditionModel"):
        read_unet(str(tmp_path / "torn.safetensors"))

    sd_vae().save_pretrained(tmp_path / "vae")
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    save_file({name: value for name, value in whole.items() if not name.startswith("encoder.conv_in")}, file)
    with pytest.raises(UserError, match=r"lacks encoder.conv_in.bias and 1 more tensor: what is missing would be rand"):
        read_frame_vae(str(tmp_path / "vae"))


def test_sources_that_are_none(tmp_path):
    with pytest.raises(
        UserError, match=r"no UNet in .*: give a diffusers folder of one, or an original checkpoint, with"
    ):
        read_unet(str(tmp_path))
    with pytest.raises(UserError, match=r"no frame VAE in .* with --frame-vae.pretrained PATH"):
        read_frame_vae(str(tmp_path / "gone"))
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="it is no Stable Diffusion v1 checkpoint"):
        read_unet(str(tmp_path / "other.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"something else")
    with pytest.raises(UserError, match="is not a safetensors file, or damaged"):
        read_frame_vae(str(tmp_path / "bad.safetensors"))
    torch.save({"state_dict": [torch.zeros(1)]}, tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="holds a list in place of tensors by name"):
        read_unet(str(tmp_path / "list.ckpt"))
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(UserError, match="cannot load the frame VAE in") as caught:
        read_frame_vae(str(folder))
    assert "\n" not in str(caught.value)
