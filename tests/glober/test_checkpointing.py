"""Gradient checkpointing: the same losses and gradients, less kept in between; and the 8-bit optimizer."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from toy_glober import RECIPE, changed, latent_batch

from longtake.core.errors import UserError
from longtake.glober import build
from longtake.training.config import OptimizerConfig
from longtake.training.optimizer import adamw_class


def loss_and_gradients(stage):
    module = torch.nn.ModuleDict(stage.modules())
    module.requires_grad_(True)
    kept = []
    # what lies within a checkpointed block never reaches these hooks
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda kept: kept
    ):
        loss, _ = stage.loss(stage.players()[0].name, latent_batch(2), 5, torch.Generator().manual_seed(0))
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in module.named_parameters()}, sum(kept)


@pytest.mark.parametrize("name", ["autoencoder", "generator"])
def test_checkpointing_changes_memory_and_nothing_else(build_autoencoder, build_generator, name):
    build_stage = {"autoencoder": build_autoencoder, "generator": build_generator}[name]
    changes = {"autoencoder__cra_weight": 0.0, "autoencoder__decoder__reads_condition": name == "autoencoder"}
    expected_loss, expected, kept = loss_and_gradients(build_stage(**changes))
    loss, gradients, kept_less = loss_and_gradients(build_stage(**changes, **{f"{name}__gradient_checkpointing": True}))
    assert torch.equal(loss, expected_loss)
    assert any(gradient is not None and gradient.any() for gradient in gradients.values())
    for parameter, gradient in expected.items():
        if gradient is None:
            assert gradients[parameter] is None, parameter
        else:
            torch.testing.assert_close(gradients[parameter], gradient)
    assert kept_less < 0.6 * kept


def test_eight_bit_optimizer_is_bitsandbytes_or_an_error(index, monkeypatch):
    eight_bit = OptimizerConfig(eight_bit=True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match=r"optimizer.eight_bit needs bitsandbytes, with CUDA: pip install bitsandbytes"):
        build.check(changed(RECIPE, autoencoder__optimizer=eight_bit), index)
    package, optimizers = types.ModuleType("bitsandbytes"), types.ModuleType("bitsandbytes.optim")
    optimizers.AdamW8bit = object()
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optimizers)
    assert adamw_class(eight_bit) is optimizers.AdamW8bit
    assert adamw_class(OptimizerConfig()) is torch.optim.AdamW
