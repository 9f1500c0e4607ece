"""What is kept of clips comes back as it was, whatever the block it lies in."""

from __future__ import annotations

import pytest
import torch

from longtake.data.known_clips import KnownClips


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_values_are_kept_in_order_over_blocks(monkeypatch, dtype):
    monkeypatch.setattr(KnownClips, "BLOCK", 3)
    known, plain = KnownClips(), {}
    for number in range(8):
        clip = (number, 0, 5 * number)
        assert clip not in known
        plain[clip] = torch.randint(0, 1000, (2, 3, 3)).to(dtype)
        known.add(clip, plain[clip])
        assert clip in known
    wanted = [(7, 0, 35), (0, 0, 0), (3, 0, 15), (3, 0, 15)]
    stacked = known.stack(wanted)
    assert stacked.dtype == dtype
    assert torch.equal(stacked, torch.stack([plain[clip] for clip in wanted]))
