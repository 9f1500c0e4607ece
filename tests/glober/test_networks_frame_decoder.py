import pytest
import torch
from torch import nn

from longtake.core.errors import UserError
from longtake.glober.frame_decoder import GloberFrameDecoder, input_block_shapes

WITHOUT_TEXT = {
    "latent_size": 16,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "attention": (False, True),
    "num_heads": 4,
    "norm_groups": 8,
    "context_dim": None,
    "feature_channels": 6,
    "feature_size": 8,
}
WITH_TEXT = {
    **WITHOUT_TEXT,
    "block_out_channels": (16, 32, 32),
    "layers_per_block": 2,
    "attention": (True, True, False),
    "context_dim": 12,
}
BOTH = pytest.mark.parametrize("sizes", [WITHOUT_TEXT, WITH_TEXT], ids=["without_text", "with_text"])


def build(sizes, **options):
    """A decoder without any zero-initialised layer left."""
    torch.manual_seed(0)
    decoder = GloberFrameDecoder(**sizes, **options)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    return decoder


def inputs(sizes):
    context = None if sizes["context_dim"] is None else torch.randn(2, 5, sizes["context_dim"])
    return torch.randn(2, 4, 16, 16), torch.tensor([5, 900]), context


@BOTH
@torch.no_grad()
def test_control_is_added_after_every_input_block_and_nowhere_else(sizes):
    decoder = build(sizes)
    noisy, timestep, context = inputs(sizes)
    control = decoder.control(torch.randn(2, 6, 8, 8), torch.tensor([0.0, 0.5]))
    ours = decoder(noisy, timestep, control, context)

    # diffusers' own forward, with the control added by hooks on the module that ends each input block
    def adding(tensor):
        def hook(_module, _inputs, output):
            return (output[0] + tensor,) if isinstance(output, tuple) else output + tensor

        return hook

    unet, remaining = decoder.unet, iter(control)
    ends = [unet.conv_in]
    for block in unet.down_blocks:
        ends += [*getattr(block, "attentions", block.resnets), *(block.downsamplers or [])]
    handles = [end.register_forward_hook(adding(next(remaining))) for end in ends]
    assert next(remaining, None) is None
    expected = unet(noisy, timestep, context).sample
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    for handle in handles:
        handle.remove()
    silent = [torch.zeros_like(tensor) for tensor in control]
    plain = decoder(noisy, timestep, silent, context)
    torch.testing.assert_close(plain, unet(noisy, timestep, context).sample, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, ours)


def test_input_blocks_of_stable_diffusion():
    channels, sizes = input_block_shapes((320, 640, 1280, 1280), 2, 32)
    assert channels == [320, 320, 320, 320, 640, 640, 640, 1280, 1280, 1280, 1280, 1280]
    assert [32 // size for size in sizes] == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8]


@pytest.mark.parametrize("feature_size", [4, 8, 16])
def test_the_feature_may_have_the_size_of_any_level(feature_size):
    decoder = build({**WITHOUT_TEXT, "feature_size": feature_size})
    control = decoder.control(torch.randn(3, 6, feature_size, feature_size), torch.tensor([0.0, 0.5, 0.9]))
    assert [tuple(tensor.shape) for tensor in control] == [(3, 16, 16, 16)] * 2 + [(3, 16, 8, 8), (3, 32, 8, 8)]


@torch.no_grad()
def test_index_scale_multiplies_the_frame_index():
    plain, scaled = build(WITHOUT_TEXT), build(WITHOUT_TEXT, index_scale=1000.0)
    scaled.load_state_dict(plain.state_dict())
    feature, index = torch.randn(2, 6, 8, 8), torch.tensor([0.001, 0.0005])
    for ours, theirs in zip(scaled.control(feature, index), plain.control(feature, 1000 * index), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_a_frame_does_not_depend_on_the_frames_rendered_with_it():
    decoder = build(WITHOUT_TEXT)
    noisy, timestep, _ = inputs(WITHOUT_TEXT)
    control = decoder.control(torch.randn(2, 6, 8, 8), torch.tensor([0.0, 0.5]))
    together = decoder(noisy, timestep, control)
    alone = decoder(noisy[1:], timestep[1:], [tensor[1:] for tensor in control])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("index_modulation", ["add", "scale_shift"])
def test_zero_initialised_layers_in_series_still_let_the_feature_learn(sizes, index_modulation):
    torch.manual_seed(0)
    decoder = GloberFrameDecoder(**sizes, index_modulation=index_modulation)
    feature = torch.randn(2, 6, 8, 8, requires_grad=True)
    noisy, timestep, context = inputs(sizes)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.5)
    for step in range(5):
        optimizer.zero_grad()
        feature.grad = None
        control = decoder.control(feature, torch.tensor([0.1, 0.5]))
        prediction = decoder(noisy, timestep, control, context)
        if step == 0:
            assert not prediction.any()
            assert not any(tensor.any() for tensor in control)
        (prediction - 1).square().mean().backward()
        optimizer.step()
    assert feature.grad.abs().max() > 0
    idle = [name for name, parameter in decoder.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not idle


def test_heads_are_as_many_at_every_level():
    decoder = GloberFrameDecoder(**{**WITHOUT_TEXT, "attention": (True, True)})
    attentions = [module for name, module in decoder.unet.named_modules() if name.split(".")[-2:-1] == ["attentions"]]
    assert len(attentions) == 1 + 1 + 1 + 2 + 2
    assert {attention.heads for attention in attentions} == {4}
    for attention in attentions:
        assert attention.inner_dim * attention.scale**2 == pytest.approx(4)


def test_what_does_not_fit_is_refused():
    for change, message in [
        ({"attention": (True,)}, "attention has 1 value for 2 levels"),
        ({"num_heads": 5}, "5 heads"),
        ({"feature_size": 6}, "feature_size 6"),
        ({"latent_size": 15}, "latent_size 15"),
        ({"index_modulation": "film"}, "index_modulation 'film'"),
    ]:
        with pytest.raises(UserError, match=message):
            GloberFrameDecoder(**{**WITHOUT_TEXT, **change})
