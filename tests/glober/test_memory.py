"""The reckoning of memory: against what a real step keeps, and formulas for what is counted."""

from __future__ import annotations

import torch
from toy_glober import RECIPE, changed

from longtake.glober import build, memory
from longtake.glober.memory import LiveBytes


def recipe(**changes):
    changes = {"condition": "none", "autoencoder__ema_decay": 0.9, "autoencoder__cra_weight": 0.0} | changes
    return changed(RECIPE, **changes)


def test_live_bytes_are_counted_and_forgotten():
    start = torch.zeros(1000)
    with LiveBytes() as live:
        one = start + 1  # 4000 bytes
        two = one.view(10, 100) * 2  # 8000 bytes
        two.add_(1)
        del one
        assert (live.now, live.peak) == (4000, 8000)
        three = torch.cat([two, two])
        assert (live.now, live.peak) == (12000, 12000)
        del two, three
    assert (live.now, live.peak) == (0, 12000)


def test_weights_gradients_moments_and_mean_are_four_bytes_each():
    found = memory.training_memory(recipe())
    networks = [build.video_encoder(recipe(), vae := build.frame_vae(recipe())), build.frame_decoder(recipe(), vae)]
    trained = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert found["weights"] == found["gradients"] == found["running mean"] == 4 * trained
    assert found["moments"] == 8 * trained
    assert found["update"] == 4 * trained
    larger = max(found["activations"], found["update"])
    assert memory.training_total(found) == 4 * (4 + 1) * trained + found["frozen weights"] + larger
    assert found["frozen weights"] == 4 * sum(parameter.numel() for parameter in vae.parameters())
    small = recipe(autoencoder__ema_decay=None, autoencoder__optimizer__eight_bit=True)
    lean = memory.training_memory(small)
    assert (lean["running mean"], lean["moments"], lean["update"]) == (0, 2 * trained, 0)


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing():
    one, four = (memory.training_memory(recipe(autoencoder__batch_size=size))["activations"] for size in (1, 4))
    less = memory.training_memory(recipe(autoencoder__batch_size=4, autoencoder__gradient_checkpointing=True))
    assert 3 < four / one < 4.5
    assert less["activations"] < 0.8 * four


def test_imitated_step_needs_what_a_real_one_does(build_autoencoder):
    changes = {"autoencoder__cra_weight": 0.0, "autoencoder__batch_size": 4, "condition": "none"}
    stage = build_autoencoder(**changes)
    module = torch.nn.ModuleDict(stage.modules()).requires_grad_(True)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    from toy_glober import latent_batch

    batch = latent_batch(4)
    with LiveBytes() as live:
        loss, _ = stage.loss("autoencoder", batch, 0, torch.Generator().manual_seed(0))
        loss.backward()
    imitated = memory.training_memory(changed(RECIPE, **changes))["activations"]
    assert abs(imitated / live.peak - 1) < 0.05


def test_sampling_needs_weights_and_one_chunk():
    found = {chunk: memory.sampling_memory(recipe(), chunk) for chunk in (2, 8)}
    vae = build.frame_vae(recipe())
    networks = [
        vae,
        *(part(recipe(), vae) for part in (build.video_encoder, build.frame_decoder, build.feature_generator)),
    ]
    size = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert found[2]["weights"] == found[8]["weights"] == 2 * size
    assert 3.5 < found[8]["activations"] / found[2]["activations"] < 4.5
    assert memory.sampling_memory(recipe(), 2, bytes_per_value=4)["weights"] == 4 * size
    assert torch.get_default_dtype() == torch.float32
