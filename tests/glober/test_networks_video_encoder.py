import pytest
import torch
from torch import nn

from longtake.core.errors import UserError
from longtake.glober.video_encoder import GloberVideoEncoder

SIZES = {
    "latent_channels": 3,
    "latent_size": 8,
    "num_keyframes": 4,
    "model_channels": 16,
    "num_res_blocks": 1,
    "head_channels": 8,
    "feature_channels": 6,
}


def build(**options):
    """An encoder without any zero-initialised layer left."""
    torch.manual_seed(0)
    encoder = GloberVideoEncoder(**SIZES, **options)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    return encoder.double()


def relative_difference(first, second):
    return float((first - second).abs().max() / first.abs().max())


def keyframes():
    return torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def forget_time(encoder):
    """Reduce every Conv3d to a 2D convolution: keep the centre tap of its time axis."""
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.Conv3d) and module.kernel_size[0] == 3:
                module.weight[:, :, [0, 2]] = 0
    return encoder


def test_feature_shape_follows_the_levels():
    mean, logvar = build()(keyframes())
    assert mean.shape == logvar.shape == (2, 6, 4, 4)


@torch.no_grad()
def test_feature_depends_on_the_order_of_keyframes_through_the_3d_convolutions_alone():
    latents = keyframes()
    encoder = build()
    assert relative_difference(encoder(latents)[0], encoder(latents.flip(2))[0]) > 1e-3
    forget_time(encoder)
    assert relative_difference(encoder(latents)[0], encoder(latents.flip(2))[0]) < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("option", [{"slot_positions": True}, {"temporal_modes": 3}])
def test_options_tell_the_order_of_keyframes_even_without_3d_convolutions(option):
    latents = keyframes()
    encoder = forget_time(build(**option))
    assert relative_difference(encoder(latents)[0], encoder(latents.flip(2))[0]) > 1e-3


@torch.no_grad()
def test_temporal_modes_add_the_cosine_transform_of_the_slots_to_the_mean_alone():
    torch.manual_seed(0)
    encoder, latents = GloberVideoEncoder(**SIZES, temporal_modes=3), keyframes().float()
    plain = GloberVideoEncoder(**SIZES)
    plain.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("slot_head")})
    encoder.slot_head[-1].weight.zero_()
    encoder.slot_head[-1].bias.copy_(torch.tensor([1.0, -2.0]))
    mean, logvar = encoder(latents)
    # maps that are the same at all four keyframes have only the mode that is constant in time: sqrt(4) times the map
    constant = torch.tensor([2.0, -4.0, 0.0, 0.0, 0.0, 0.0])[:, None, None]
    torch.testing.assert_close(mean, plain(latents)[0] + constant)
    assert torch.equal(logvar, plain(latents)[1])


@torch.no_grad()
def test_initial_logvar_is_where_the_log_variance_starts():
    _, logvar = GloberVideoEncoder(**SIZES, initial_logvar=-5.0)(keyframes().float())
    assert torch.equal(logvar, torch.full_like(logvar, -5.0))


@torch.no_grad()
def test_separate_log_variance_head_starts_at_variance_one_and_the_shared_head_is_halved():
    latents = keyframes().float()
    _, logvar = GloberVideoEncoder(**SIZES)(latents)
    assert torch.equal(logvar, torch.zeros_like(logvar))
    shared = GloberVideoEncoder(**SIZES, separate_heads=False)
    nn.init.zeros_(shared.shared_head[-1].weight)
    shared.shared_head[-1].bias.copy_(torch.arange(12.0))
    mean, logvar = shared(latents)
    assert torch.equal(mean[0, :, 0, 0], torch.arange(6.0))
    assert torch.equal(logvar[0, :, 0, 0], torch.arange(6.0, 12.0))
    shared.shared_head[-1].bias.fill_(100.0)
    assert float(shared(latents)[1].max()) == 20.0


def test_after_a_step_every_parameter_learns():
    torch.manual_seed(0)
    encoder = GloberVideoEncoder(**SIZES, slot_positions=True, temporal_modes=3)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        mean, logvar = encoder(keyframes().float())
        (mean.square().mean() + (logvar - 1).square().mean()).backward()
        optimizer.step()
    idle = [name for name, parameter in encoder.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not idle


def test_wrong_sizes_are_refused():
    with pytest.raises(UserError, match="takes 4 keyframes, not 3"):
        build()(keyframes()[:, :, :3])
    with pytest.raises(UserError, match="latent_size 9"):
        GloberVideoEncoder(**{**SIZES, "latent_size": 9})
