import pytest
import torch

from longtake.core.errors import UserError
from longtake.glober.frame_vae import build_frame_vae, decode_frames, encode_frames


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return build_frame_vae((8, 16, 16), norm_groups=4).eval()


@pytest.fixture
def frames():
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_small_vae_has_the_measured_size_and_no_attention():
    vae = build_frame_vae((32, 64, 96), 1, 4, 8, mid_attention=False)
    assert round(sum(parameter.numel() for parameter in vae.parameters()) / 1e6, 2) == 1.62
    assert not any("attentions" in name for name, _ in vae.named_parameters())


@torch.no_grad()
def test_latents_are_scaled_by_the_scaling_factor_or_by_the_statistics_where_set(vae, frames):
    raw = vae.encode(frames).latent_dist.mode()
    assert raw.shape == (5, 4, 4, 4)
    torch.testing.assert_close(encode_frames(vae, frames), raw * vae.config.scaling_factor)
    mean, std = [0.5, -1.0, 0.0, 2.0], [0.1, 2.0, 3.0, 0.7]
    vae.register_to_config(latents_mean=mean, latents_std=std)
    latents = encode_frames(vae, frames)
    for channel in range(4):
        torch.testing.assert_close(latents[:, channel], (raw[:, channel] - mean[channel]) / std[channel])
    expected = vae.decode(raw).sample.clamp(-1, 1)
    torch.testing.assert_close(decode_frames(vae, latents), expected, atol=1e-5, rtol=1e-5)
    vae.register_to_config(latents_mean=None, latents_std=None)
    torch.testing.assert_close(decode_frames(vae, raw * vae.config.scaling_factor), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_generator_draws_from_the_posterior_whatever_the_chunk(vae, frames):
    drawn = encode_frames(vae, frames, torch.Generator().manual_seed(3))
    posterior = vae.encode(frames).latent_dist
    noise = torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    expected = (posterior.mean + posterior.std * noise) * vae.config.scaling_factor
    torch.testing.assert_close(drawn, expected)
    for chunk in (1, 2, 5):
        again = encode_frames(vae, frames, torch.Generator().manual_seed(3), chunk=chunk)
        torch.testing.assert_close(again, drawn, atol=1e-5, rtol=1e-4)


def test_decoding_lets_gradients_through(vae):
    latents = torch.zeros(1, 4, 4, 4, requires_grad=True)
    decode_frames(vae, latents).sum().backward()
    assert latents.grad.abs().max() > 0


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="30 channels"):
        build_frame_vae((30, 60), norm_groups=8)
