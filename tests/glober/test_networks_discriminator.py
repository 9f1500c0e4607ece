import torch
from torch import nn

from longtake.glober.discriminator import GloberDiscriminator

SIZES = {
    "in_channels": 3,
    "size": 8,
    "model_channels": 16,
    "channel_mult": (1, 2),
    "attention_downsamples": (2,),
    "head_channels": 8,
}


def test_a_pair_in_the_other_order_gets_another_logit_only_through_the_frame_embedding():
    torch.manual_seed(0)
    discriminator = GloberDiscriminator(**SIZES).double()
    for parameter in discriminator.parameters():
        nn.init.normal_(parameter, std=0.3)
    pairs = torch.randn(4, 3, 2, 8, 8).double()
    with torch.no_grad():
        assert discriminator(pairs).shape == (4,)
        assert (discriminator(pairs) - discriminator(pairs.flip(2))).abs().max() > 1e-6
        # without the embedding and the time taps of the 3D convolutions, nothing tells first from second
        discriminator.frame_embedding.zero_()
        for module in discriminator.modules():
            if isinstance(module, nn.Conv3d):
                module.weight[:, :, [0, 2]] = 0
        assert (discriminator(pairs) - discriminator(pairs.flip(2))).abs().max() < 1e-12


def test_gradients_reach_the_pairs_and_after_a_step_every_parameter():
    torch.manual_seed(0)
    discriminator = GloberDiscriminator(**SIZES)
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    pairs = torch.randn(4, 3, 2, 8, 8, requires_grad=True)
    for _ in range(3):
        optimizer.zero_grad()
        (discriminator(pairs) * torch.tensor([1.0, -1, 2, 1])).sum().backward()
        optimizer.step()
    assert pairs.grad.abs().max() > 0
    assert not [name for name, p in discriminator.named_parameters() if not p.grad.abs().max() > 0]
