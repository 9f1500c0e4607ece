import pytest
import torch

from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import build_frame_vae
from longtake.glober.video_encoder import GloberVideoEncoder

DECODER = {
    "latent_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "attention": (False, True),
    "num_heads": 2,
    "norm_groups": 4,
    "feature_channels": 6,
    "feature_size": 4,
}
MODELS = {
    "video_encoder": (
        GloberVideoEncoder,
        {"latent_size": 8, "model_channels": 8, "head_channels": 4, "slot_positions": True, "temporal_modes": 4},
    ),
    "frame_decoder": (GloberFrameDecoder, {**DECODER, "context_dim": 8}),
    "frame_decoder_without_text": (
        GloberFrameDecoder,
        {**DECODER, "context_dim": None, "index_scale": 1000.0, "temporal_modes": 3},
    ),
    "discriminator": (
        GloberDiscriminator,
        {"size": 8, "model_channels": 8, "channel_mult": (1, 2), "attention_downsamples": (2,), "head_channels": 4},
    ),
    "feature_generator": (
        GloberFeatureGenerator,
        {"feature_size": 4, "hidden_size": 8, "depth": 1, "num_heads": 2, "shared_modulation": True},
    ),
    "label_encoder": (GloberLabelEncoder, {"num_classes": 3, "dim": 4}),
    "text_encoder": (GloberTextEncoder, {"dim": 4, "depth": 1, "num_heads": 2}),
}
ALL = pytest.mark.parametrize("name", MODELS)


@ALL
def test_saved_model_loads_with_its_config_and_every_tensor(name, tmp_path):
    kind, config = MODELS[name]
    model = kind(**config)
    if name == "feature_generator":
        model.feature_std.fill_(3.0)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").exists()
    loaded = kind.from_pretrained(tmp_path)
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value), key
    for key, value in config.items():
        saved = loaded.config[key]
        assert (tuple(saved) if isinstance(saved, list) else saved) == value


@ALL
def test_unknown_options_are_refused(name):
    kind, config = MODELS[name]
    with pytest.raises(TypeError, match="num_heades"):
        kind(**config, num_heades=3)


def test_frame_vae_keeps_its_latent_statistics(tmp_path):
    vae = build_frame_vae((8, 16), norm_groups=4)
    vae.register_to_config(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0])
    vae.save_pretrained(tmp_path)
    assert list(type(vae).from_pretrained(tmp_path).config.latents_std) == [1.0, 2.0, 3.0, 4.0]
