"""Networks come back from a folder as they were: weights, running statistics and the vectors of the spectral norms."""

from __future__ import annotations

import pytest
import torch
from toy_recall import RECIPES

from longtake.nn.pipeline import own_memory
from longtake.recall import build


@pytest.mark.parametrize("part", ["encoder", "lstm_encoder", "generator", "video_discriminator", "image_discriminator"])
def test_saved_and_loaded_networks_compute_the_same(part, tmp_path):
    torch.manual_seed(0)
    recipe = RECIPES["lencgan" if part == "lstm_encoder" else "r2"]
    network = getattr(build, part.removeprefix("lstm_"))(recipe)
    inputs = {
        "generator": (torch.randn(3, 6), torch.randn(3, 4)),
        "image_discriminator": (torch.randn(3, 3, 16, 16),),
    }.get(part, (torch.randn(3, 3, 16, 16, 16),))
    network(*inputs)  # moves statistics and norms away from where they start
    network.eval().save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path).eval()
    own_memory(again)
    expected, found = network.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    outputs = [model(*inputs) for model in (network, again)]
    if part == "encoder":
        outputs = [latents.tokens() for latents in outputs]
    elif part == "lstm_encoder":
        outputs = [latents.tokens() for latents, _ in outputs]
    assert torch.equal(*outputs)
