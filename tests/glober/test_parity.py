"""Our networks against the official modules: `$LONGTAKE_FIXTURES/glober/glober-tiny.safetensors`.

Every size comes from the fixture, so any file of the same form at any sizes will do. Tolerance: 1e-4 of the largest
magnitude. All in float32 but the discriminator: in the fixture it normalises groups of two values that are nearly
equal and its logits are small differences of large sums, so that rounding alone is about 1e-4 in float32, in the
official module as in ours; in float64 what is left is the official module's.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from einops import rearrange, repeat
from safetensors import safe_open

from longtake.core.errors import UserError
from longtake.glober import convert
from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.video_encoder import GloberVideoEncoder

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
# GroupNorm32 of the official code: no fixture can have any other
OFFICIAL_GROUPS = 32


@dataclass(frozen=True)
class Fixture:
    config: dict
    tensors: dict[str, torch.Tensor]

    def state(self, network: str) -> dict[str, torch.Tensor]:
        return convert.with_prefix(self.tensors, f"{network}.")

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]


@pytest.fixture(scope="module")
def official():
    folder = Path(os.environ.get("LONGTAKE_FIXTURES", "../shared/fixtures"))
    path = ROOT / folder / "glober" / "glober-tiny.safetensors"
    if not path.exists():
        pytest.skip(f"no fixture at {path}")
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        return Fixture(config, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a dict)


def build_video_encoder(official, separate_heads=None):
    sizes = official.config["video_encoder"]
    if separate_heads is None:
        separate_heads = "video_encoder.out_vc_var.0.weight" in official.tensors
    return GloberVideoEncoder(
        latent_channels=sizes["latent_channels"],
        latent_size=sizes["latent_size"],
        num_keyframes=sizes["num_keyframes"],
        model_channels=sizes["model_channels"],
        channel_mult=sizes["channel_mult"],
        num_res_blocks=sizes["num_res_blocks"],
        attention_downsamples=sizes["attention_downsamples"],
        head_channels=sizes["head_channels"],
        feature_channels=sizes["out_channels"],
        separate_heads=separate_heads,
    )


def build_frame_decoder(official):
    sizes, encoder = official.config["unet"], official.config["video_encoder"]
    multiples = sizes["channel_mult"]
    return GloberFrameDecoder(
        latent_channels=official["noisy_latents"].shape[1],
        latent_size=official["noisy_latents"].shape[-1],
        block_out_channels=[sizes["model_channels"] * multiple for multiple in multiples],
        layers_per_block=sizes["num_res_blocks"],
        attention=[2**level in sizes["attention_downsamples"] for level in range(len(multiples))],
        num_heads=sizes["num_heads"],
        norm_groups=OFFICIAL_GROUPS,
        context_dim=sizes["context_dim"],
        feature_channels=official["global_mean"].shape[1],
        feature_size=official["global_mean"].shape[-1],
        index_dim=encoder["model_channels"],
        transformer_depth=sizes["transformer_depth"],
    )


def build_discriminator(official):
    sizes = official.config["discriminator"]
    return GloberDiscriminator(
        in_channels=official["pair_latents"].shape[1],
        size=sizes["latent_size"],
        model_channels=sizes["model_channels"],
        channel_mult=sizes["channel_mult"],
        num_res_blocks=sizes["num_res_blocks"],
        attention_downsamples=sizes["attention_downsamples"],
        head_channels=sizes["head_channels"],
    )


def build_feature_generator(official):
    sizes = official.config["dit"]
    return GloberFeatureGenerator(
        feature_channels=sizes["in_channels"],
        feature_size=sizes["input_size"],
        hidden_size=sizes["hidden_size"],
        depth=sizes["depth"],
        num_heads=sizes["num_heads"],
        mlp_ratio=sizes["mlp_ratio"],
        context_dim=sizes["context_dim"],
        patch_size=sizes["patch_size"],
    )


def assert_equal(ours, official):
    assert ours.shape == official.shape
    error = (ours - official).abs().max() / official.abs().max()
    assert error < TOLERANCE, f"relative error {error:.1e}"


@torch.no_grad()
def test_parity_video_encoder(official):
    encoder = build_video_encoder(official)
    convert.load_video_encoder(encoder, official.state("video_encoder"))
    mean, logvar = encoder(official["keyframe_latents"])
    assert_equal(mean, official["global_mean"])
    assert_equal(logvar, official["global_logvar"])


@torch.no_grad()
def test_parity_control_branch_and_frame_decoder(official):
    decoder = build_frame_decoder(official)
    convert.load_frame_decoder(decoder, official.state("unet"), official.state("video_encoder"))
    index = official["frame_index"]
    feature = repeat(official["global_mean"], "b c h w -> (b n) c h w", n=index.shape[1])
    control = decoder.control(feature, rearrange(index, "b n -> (b n)"))
    expected = [official[key] for key in sorted(official.tensors) if key.startswith("control_")]
    assert len(control) == len(expected)
    for ours, theirs in zip(control, expected, strict=True):
        assert_equal(ours, theirs)
    eps = decoder(official["noisy_latents"], official["timesteps"], expected, official["text_states"])
    assert_equal(eps, official["eps"])


@torch.no_grad()
def test_parity_discriminator(official):
    discriminator = build_discriminator(official)
    convert.load_discriminator(discriminator, official.state("discriminator"))
    logits = discriminator.double()(official["pair_latents"].double())
    assert_equal(logits, official["pair_logits"])


@torch.no_grad()
def test_parity_feature_generator(official):
    generator = build_feature_generator(official)
    computed = generator.position_embedding.clone()
    convert.load_feature_generator(generator, official.state("dit"))
    # the fixture's position embedding is stored in half precision; ours is computed
    torch.testing.assert_close(computed, generator.position_embedding, atol=5e-4, rtol=0)
    eps = generator(official["dit_input"], official["dit_timesteps"], official["dit_text"])
    assert_equal(eps, official["dit_eps"])


def test_half_precision_weights_are_copied_into_the_models_own_dtype(official):
    discriminator = build_discriminator(official)
    state = official.state("discriminator")
    convert.load_discriminator(discriminator, {key: value.half() for key, value in state.items()})
    assert {parameter.dtype for parameter in discriminator.parameters()} == {torch.float32}
    assert torch.equal(discriminator.frame_embedding, state["frame_embed"].half().float())


@pytest.mark.parametrize("network", ["video_encoder", "discriminator", "dit", "unet"])
def test_every_official_key_is_accounted_for(official, network):
    build, load = {
        "video_encoder": (build_video_encoder, convert.load_video_encoder),
        "discriminator": (build_discriminator, convert.load_discriminator),
        "dit": (build_feature_generator, convert.load_feature_generator),
        "unet": (build_frame_decoder, convert.load_frame_decoder),
    }[network]
    model, state = build(official), official.state(network)
    with pytest.raises(UserError, match=r"'left_over.weight' has no place"):
        load(model, {**state, "left_over.weight": torch.zeros(1)})
    own = [key for key in state if not key.startswith(("index_embed.", "output_blocks.")) or network == "unet"]
    with pytest.raises(UserError, match="lack"):
        load(model, {key: value for key, value in state.items() if key != own[-1]})
    with pytest.raises(UserError, match="has shape"):
        load(model, {key: value[..., :-1] if value.ndim else value for key, value in state.items()})


def test_both_halves_of_the_video_encoders_weights_are_used_up(official):
    state = official.state("video_encoder")
    with pytest.raises(UserError, match=r"'output_blocks.99.0.weight' has no place"):
        convert.load_frame_decoder(
            build_frame_decoder(official),
            official.state("unet"),
            {**state, "output_blocks.99.0.weight": torch.zeros(1)},
        )
    with pytest.raises(UserError, match="lack"):
        convert.load_frame_decoder(
            build_frame_decoder(official),
            official.state("unet"),
            {key: value for key, value in state.items() if key != "output_blocks.0.1.0.bias"},
        )


def test_two_headed_official_weights_load(official):
    state = {key: value for key, value in official.state("video_encoder").items() if not key.startswith("out_vc")}
    encoder = build_video_encoder(official, separate_heads=True)
    heads = {"out_vc": encoder.mean_head, "out_vc_var": encoder.logvar_head}
    expected = {
        f"{name}.{key}": torch.rand(value.shape)
        for name, head in heads.items()
        for key, value in head.state_dict().items()
    }
    convert.load_video_encoder(encoder, state | expected)
    for name, head in heads.items():
        for key, value in head.state_dict().items():
            assert torch.equal(value, expected[f"{name}.{key}"])


def test_stable_diffusion_checkpoint_loads_as_diffusers_converts_it(official):
    checkpoint = {f"model.diffusion_model.{key}": value for key, value in official.state("unet").items()}
    checkpoint["first_stage_model.decoder.conv_in.bias"] = torch.zeros(1)
    decoder = build_frame_decoder(official)
    convert.load_frame_decoder(decoder, checkpoint)
    reference = UNet2DConditionModel.from_config(decoder.unet.config)
    reference.load_state_dict(convert_ldm_unet_checkpoint(checkpoint, reference.config))
    for key, value in reference.state_dict().items():
        assert torch.equal(decoder.unet.state_dict()[key], value), key
