import pytest
import torch

from longtake.core.errors import UserError
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder


def test_labels_have_one_token_each_and_minus_one_is_the_null_condition():
    encoder = GloberLabelEncoder(num_classes=3, dim=4)
    tokens = encoder.encode(torch.tensor([2, -1, 0, -1]))
    assert tokens.shape == (4, 1, 4)
    weight = encoder.embedding.weight
    assert torch.equal(tokens[:, 0], weight[[2, 3, 0, 3]])


@pytest.mark.parametrize("label", [3, -2])
def test_unknown_labels_are_refused(label):
    with pytest.raises(UserError, match=f"label {label} is not among the 3 classes"):
        GloberLabelEncoder(num_classes=3, dim=4).encode(torch.tensor([0, label]))


@torch.no_grad()
def test_text_is_read_byte_by_byte_in_order_and_alone():
    torch.manual_seed(0)
    encoder = GloberTextEncoder(dim=8, depth=1, num_heads=2, max_length=6)
    states = encoder.encode(["ab", "ba", "", "é"])
    assert states.shape == (4, 6, 8)
    assert not torch.allclose(states[0], states[1])
    torch.testing.assert_close(encoder.encode([""])[0], states[2])
    tokens = torch.full((1, 6), 256)
    tokens[0, :2] = torch.tensor([0xC3, 0xA9])
    torch.testing.assert_close(encoder(tokens)[0], states[3])
    torch.testing.assert_close(encoder.encode(["abcdefgh"]), encoder.encode(["abcdef"]))


def test_the_null_text_is_learned():
    encoder = GloberTextEncoder(dim=8, depth=2, num_heads=2, max_length=6)
    encoder.encode([""]).square().mean().backward()
    used = torch.zeros(257)
    used[256] = 1
    assert torch.equal((encoder.embedding.weight.grad.abs().sum(1) > 0).float(), used)
