"""Stable Diffusion's networks as strangers keep them: every form gives the same weights, every other network a line."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from test_pretrained import decoder
from toy_pretrained import (
    NUM_BLOCKS,
    TEXT_DIM,
    WIDTHS,
    original_checkpoint,
    original_unet_names,
    original_vae_names,
    random_,
    renamed,
    sd_unet,
    sd_vae,
)

from longtake.core.errors import UserError
from longtake.glober.frame_vae import decode_frames, encode_frames
from longtake.glober.pretrained import (
    check_unet,
    convert_unet,
    convert_vae,
    frame_vae_shape,
    initialise,
    read_frame_vae,
    read_unet,
)

FORMS = {
    "bin": {"safe_serialization": False},
    "fp16 names": {"variant": "fp16"},
    "fp16 names, bin": {"variant": "fp16", "safe_serialization": False},
    "non_ema names": {"variant": "non_ema"},
    "in parts": {"max_shard_size": "100KB"},
    "in parts, fp16 names": {"max_shard_size": "100KB", "variant": "fp16"},
}


def save(tensors, path):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return str(path)


def unet_like(**changes) -> UNet2DConditionModel:
    """The miniature UNet with another setting."""
    return random_(UNet2DConditionModel(**{**own_config(sd_unet()), **changes}))


def own_config(network) -> dict[str, object]:
    """What a network was built with."""
    unset = network.config["_use_default_values"]
    return {name: value for name, value in network.config.items() if name[0] != "_" and name not in unset}


def assert_same(network, expected):
    state = network.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(state[name], value), name


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_diffusers_folder(tmp_path, capfd, form):
    sd_unet().save_pretrained(tmp_path / "unet", **FORMS[form])
    sd_vae().save_pretrained(tmp_path / "vae", **FORMS[form])
    capfd.readouterr()
    assert_same(read_unet(str(tmp_path)), sd_unet())
    assert_same(read_frame_vae(str(tmp_path)), sd_vae())
    assert capfd.readouterr() == ("", "")  # no bars, no complaint about files that it does not need


def test_plain_files_go_before_a_variant(tmp_path):
    sd_vae().save_pretrained(tmp_path / "vae")
    random_(sd_vae(), seed=5).save_pretrained(tmp_path / "vae", variant="fp16")
    assert_same(read_frame_vae(str(tmp_path)), sd_vae())


def test_old_names_of_attention(tmp_path):
    sd_vae().save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = sd_vae().state_dict()
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): value for key, value in state.items()}
    assert len(state) == len(sd_vae().state_dict())
    assert any("proj_attn" in name for name in state)
    save(state, tmp_path / "diffusion_pytorch_model.safetensors")
    assert_same(read_frame_vae(str(tmp_path)), sd_vae())


def test_running_means_are_passed_over(tmp_path):
    state = original_checkpoint()
    means = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): torch.full_like(value, 5)
        for name, value in state.items()
        if name.startswith("model.diffusion_model.")
    }
    torch.save({"state_dict": {**state, **means, "model_ema.decay": torch.tensor(0.9999)}}, tmp_path / "full.ckpt")
    assert_same(read_unet(str(tmp_path / "full.ckpt")), sd_unet())
    assert_same(read_frame_vae(str(tmp_path / "full.ckpt")), sd_vae())


def test_networks_that_stand_alone(tmp_path):
    vae = renamed(sd_vae().state_dict(), original_vae_names(), "")
    torch.save({"state_dict": {**vae, "loss.logvar": torch.zeros(())}}, tmp_path / "vae.ckpt")
    torch.save(renamed(sd_unet().state_dict(), original_unet_names(), ""), tmp_path / "unet.pt")
    convert_vae(tmp_path / "vae.ckpt", tmp_path / "model")
    convert_unet(tmp_path / "unet.pt", tmp_path / "model")
    assert_same(read_frame_vae(str(tmp_path / "model")), sd_vae())
    assert_same(read_unet(str(tmp_path / "model")), sd_unet())


def test_three_latent_channels_and_halving_twice(tmp_path):
    levels = 3
    vae = random_(
        AutoencoderKL(
            latent_channels=3,
            block_out_channels=(32,) * levels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
    )
    path = save(
        renamed(vae.state_dict(), original_vae_names(levels), "first_stage_model."), tmp_path / "f4.safetensors"
    )
    assert_same(read_frame_vae(path), vae)
    assert frame_vae_shape(path).config.latent_channels == 3


def test_half_precision_becomes_fp32(tmp_path):
    for dtype in (torch.float16, torch.bfloat16):
        state = {name: value.to(dtype) for name, value in original_checkpoint().items()}
        unet = read_unet(save(state, tmp_path / "half.safetensors"))
        assert unet.dtype == torch.float32
        assert torch.equal(unet.conv_in.weight, sd_unet().conv_in.weight.to(dtype).float())


def test_linear_projections_are_taken_for_convolutions(tmp_path):
    linear = unet_like(use_linear_projection=True)
    linear.save_pretrained(tmp_path / "unet")
    model = decoder()
    report = initialise(model, str(tmp_path))
    assert [name for name in report.kept if name.startswith("unet.")] == []
    latents, timestep, text = torch.randn(2, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, TEXT_DIM)
    with torch.no_grad():
        expected, found = (unet(latents, timestep, text).sample for unet in (linear, model.unet))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("check", [check_unet, lambda source, model: initialise(model, source)])
@pytest.mark.parametrize(
    ("unet", "changes", "line"),
    [
        ({"in_channels": 9}, {}, r"begins with weights \(32, 9, 3, 3\), the frame decoder with \(32, 4, 3, 3\)"),
        ({"attention_head_dim": [2, 4]}, {}, r"has 2 heads in .*attn1, the frame decoder 8: .* 2 has others"),
        ({}, {"num_heads": 4}, r"has 8 heads in .*attn1, the frame decoder 4"),
        ({}, {"norm_groups": 16}, r"has 32 groups in .*norm.*, the frame decoder 16"),
    ],
)
def test_unets_whose_weights_would_mean_something_else(tmp_path, check, unet, changes, line):
    unet_like(**unet).save_pretrained(tmp_path / "unet")
    with pytest.raises(UserError, match=line):
        check(str(tmp_path), decoder(**changes))
    if not unet:
        with pytest.raises(UserError, match=line):
            check(save(original_checkpoint(), tmp_path / "sd.safetensors"), decoder(**changes))


def test_stable_diffusion_2_is_named(tmp_path):
    second = unet_like(attention_head_dim=[2, 4], cross_attention_dim=2 * TEXT_DIM, use_linear_projection=True)
    state = renamed(second.state_dict(), original_unet_names(), "model.diffusion_model.")
    path = save(state, tmp_path / "sd2.safetensors")
    for read in (read_unet, lambda source: check_unet(source, decoder())):
        with pytest.raises(UserError, match=r"Stable Diffusion 2's form \(linear projections, text of 16 channels\)"):
            read(path)


def test_networks_of_another_kind_are_named(tmp_path):
    sd_unet().save_pretrained(tmp_path / "unet")
    sd_vae().save_pretrained(tmp_path / "vae")
    with pytest.raises(UserError, match="class AutoencoderKL, but the UNet must be of UNet2DConditionModel"):
        read_unet(str(tmp_path / "vae"))
    with pytest.raises(UserError, match="class UNet2DConditionModel, but the frame VAE must be of AutoencoderKL"):
        read_frame_vae(str(tmp_path / "unet"))
    for read, part in ((read_unet, "unet"), (read_frame_vae, "vae"), (frame_vae_shape, "vae")):
        file = tmp_path / part / "diffusion_pytorch_model.safetensors"
        with pytest.raises(UserError, match="has diffusers' names for its tensors: give the folder that its config"):
            read(str(file))
    for file in tmp_path.glob("*/*.safetensors"):
        file.unlink()
    with pytest.raises(UserError, match=r"cannot load the UNet in .*: no weights beside its config.json"):
        read_unet(str(tmp_path))
    for text in ("{", "[]"):
        (tmp_path / "vae" / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"config\.json") as caught:
            read_frame_vae(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_other_autoencoders_are_named_and_never_cut_down(tmp_path):
    vae = renamed(sd_vae().state_dict(), original_vae_names(), "first_stage_model.")
    attention = {f"first_stage_model.encoder.down.1.attn.0.norm.{name}": torch.ones(64) for name in ("weight", "bias")}
    with pytest.raises(UserError, match=r"holds encoder.down.1.attn.0.norm.bias and 1 more tensors that Autoenc"):
        read_frame_vae(save({**vae, **attention}, tmp_path / "f16.safetensors"))
    codebook = {"first_stage_model.quantize.embedding.weight": torch.zeros(16, 4)}
    with pytest.raises(UserError, match=r"an autoencoder with a codebook \(VQ\)"):
        read_frame_vae(save({**vae, **codebook}, tmp_path / "vq.safetensors"))
    grey = random_(AutoencoderKL(**own_config(sd_vae()), in_channels=1, out_channels=1))
    grey.save_pretrained(tmp_path / "grey" / "vae")
    path = save(renamed(grey.state_dict(), original_vae_names(), ""), tmp_path / "grey.safetensors")
    for source in (str(tmp_path / "grey"), path):
        for read in (read_frame_vae, frame_vae_shape):
            with pytest.raises(UserError, match="has 1 channel in and 1 out; frames have 3"):
                read(source)


def test_latents_are_shifted_where_the_config_says_so(tmp_path):
    vae = sd_vae()
    vae.register_to_config(scaling_factor=0.5, shift_factor=3.0)
    vae.save_pretrained(tmp_path / "vae")
    vae, frames = read_frame_vae(str(tmp_path)), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        raw = vae.encode(frames).latent_dist.mean
        torch.testing.assert_close(encode_frames(vae, frames), (raw - 3) * 0.5)
        torch.testing.assert_close(decode_frames(vae, (raw - 3) * 0.5), vae.decode(raw).sample.clamp(-1, 1))


def test_a_wrong_unet_is_found_before_anything_is_trained(tmp_path, index):
    from toy_glober import RECIPE, changed

    from longtake.glober import build

    unet_like(in_channels=9).save_pretrained(tmp_path / "unet")
    recipe = changed(
        RECIPE,
        condition_dim=TEXT_DIM,
        autoencoder__decoder__pretrained=str(tmp_path),
        autoencoder__decoder__block_out_channels=WIDTHS,
        autoencoder__decoder__layers_per_block=NUM_BLOCKS,
        autoencoder__decoder__num_heads=8,
        autoencoder__decoder__norm_groups=32,
    )
    with pytest.raises(UserError, match="begins with weights"):
        build.check(recipe, index)
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    (tmp_path / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 4}))
    build.check(recipe, index)
