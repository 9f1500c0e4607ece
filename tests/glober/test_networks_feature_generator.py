import math

import pytest
import torch
from torch import nn

from longtake.core.errors import UserError
from longtake.glober.feature_generator import GloberFeatureGenerator, sincos_positions

SIZES = {"feature_channels": 3, "feature_size": 4, "hidden_size": 16, "depth": 2, "num_heads": 4, "context_dim": 5}


def randomise(generator):
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.2)
    return generator


def test_positions_are_column_then_row_sines_and_cosines():
    positions = sincos_positions(3, 8)
    row, column = 2, 1
    expected = [f(place * rate) for place in (column, row) for f in (math.sin, math.cos) for rate in (1, 0.01)]
    torch.testing.assert_close(positions[row * 3 + column], torch.tensor(expected))


@torch.no_grad()
def test_prediction_starts_at_zero_and_patches_return_to_their_place():
    generator = GloberFeatureGenerator(**SIZES, patch_size=2)
    noisy = torch.randn(2, 3, 4, 4)
    prediction = generator(noisy, torch.tensor([1, 999]), torch.randn(2, 7, 5))
    assert torch.equal(prediction, torch.zeros_like(noisy))
    generator.final_linear.bias.copy_(torch.arange(12.0))
    prediction = generator(noisy, torch.tensor([1, 999]), torch.randn(2, 7, 5))
    for row, column, channel in [(0, 0, 0), (3, 0, 1), (2, 1, 2), (1, 3, 0)]:
        assert prediction[0, channel, row, column] == ((row % 2) * 2 + column % 2) * 3 + channel


@torch.no_grad()
def test_condition_tokens_are_a_set_and_change_the_prediction():
    torch.manual_seed(0)
    generator = randomise(GloberFeatureGenerator(**SIZES))
    noisy, timestep, context = torch.randn(2, 3, 4, 4), torch.tensor([1, 999]), torch.randn(2, 7, 5)
    prediction = generator(noisy, timestep, context)
    torch.testing.assert_close(generator(noisy, timestep, context.flip(1)), prediction, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(generator(noisy, timestep, context + 1), prediction)
    assert not torch.allclose(generator(noisy, timestep + 1, context), prediction)


@torch.no_grad()
def test_shared_modulation_is_one_map_with_an_offset_per_block():
    torch.manual_seed(0)
    shared = randomise(GloberFeatureGenerator(**SIZES, shared_modulation=True))
    own = GloberFeatureGenerator(**SIZES)
    state = {k: v for k, v in shared.state_dict().items() if "modulation_" not in k}
    for index, block in enumerate(shared.blocks):
        state[f"blocks.{index}.modulation.weight"] = shared.modulation_for_all.weight
        state[f"blocks.{index}.modulation.bias"] = shared.modulation_for_all.bias + block.modulation_offset
    own.load_state_dict(state)
    arguments = torch.randn(2, 3, 4, 4), torch.tensor([1, 999]), torch.randn(2, 7, 5)
    torch.testing.assert_close(shared(*arguments), own(*arguments), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shared_modulation", [False, True])
def test_after_a_few_steps_every_parameter_learns(shared_modulation):
    torch.manual_seed(0)
    generator = GloberFeatureGenerator(**SIZES, shared_modulation=shared_modulation)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        prediction = generator(torch.randn(2, 3, 4, 4), torch.tensor([1, 999]), torch.randn(2, 1, 5))
        (prediction - torch.randn_like(prediction)).square().mean().backward()
        optimizer.step()
    trained = [(name, part) for name, part in generator.named_parameters() if part.requires_grad]
    idle = [name for name, part in trained if not part.grad.abs().max() > 0]
    assert not idle


def test_normalize_uses_the_statistics_per_channel_and_denormalize_undoes_it():
    generator = GloberFeatureGenerator(**SIZES)
    feature = torch.randn(5, 3, 4, 4)
    assert torch.equal(generator.normalize(feature), feature)
    generator.feature_mean.copy_(torch.tensor([1.0, 2.0, 3.0])[:, None, None])
    generator.feature_std.copy_(torch.tensor([2.0, 4.0, 8.0])[:, None, None])
    torch.testing.assert_close(generator.normalize(feature)[:, 1], (feature[:, 1] - 2) / 4)
    torch.testing.assert_close(generator.denormalize(generator.normalize(feature)), feature)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="patch_size 3"):
        GloberFeatureGenerator(**SIZES, patch_size=3)
    with pytest.raises(UserError, match="hidden_size must be a multiple of 4"):
        GloberFeatureGenerator(**{**SIZES, "hidden_size": 18})
