"""The codebook against a slow version that is written out code by code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from longtake.tats.codebook import Assignment, Codebook, sum_assignments

DECAY = 0.9


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_codebook(num_codes: int = 5, dim: int = 3) -> Codebook:
    book = Codebook(num_codes, dim)
    book.initialize(torch.randn(2, dim, 2, 3, 2, generator=seeded()), seeded())
    return book


def slow_nearest(book, z):
    """One vector, one code at a time."""
    codes = torch.zeros(z.shape[0], *z.shape[2:], dtype=torch.long)
    for b, t, h, w in torch.cartesian_prod(*(torch.arange(n) for n in codes.shape)).tolist():
        distances = [((z[b, :, t, h, w] - code) ** 2).sum() for code in book.embeddings]
        codes[b, t, h, w] = int(torch.stack(distances).argmin())
    return codes


def slow_update(book, batches, decay):
    """The official update, with a one-hot per vector."""
    one_hot = torch.cat([torch.nn.functional.one_hot(codes.flatten(), 5).double() for _, codes in batches])
    flat = torch.cat([z.permute(0, 2, 3, 4, 1).reshape(-1, 3).double() for z, _ in batches])
    counts = decay * book.counts.double() + (1 - decay) * one_hot.sum(0)
    sums = decay * book.sums.double() + (1 - decay) * one_hot.T @ flat
    n = counts.sum()
    weights = (counts + 1e-7) / (n + 5 * 1e-7) * n
    return counts, sums, sums / weights[:, None]


def test_nearest_code_is_found():
    book = random_codebook()
    z = torch.randn(2, 3, 2, 2, 3, generator=seeded(1))
    assert torch.equal(book.nearest(z), slow_nearest(book, z))


def test_nearest_code_does_not_depend_on_how_many_distances_fit(monkeypatch):
    book = random_codebook()
    z = torch.randn(2, 3, 2, 2, 3, generator=seeded(1))
    expected = book.nearest(z)
    monkeypatch.setattr("longtake.tats.codebook.NEAREST_ELEMENTS", 7)
    assert torch.equal(book.nearest(z), expected)


def test_nearest_code_is_found_in_float32_under_autocast():
    book = random_codebook()
    z = torch.randn(2, 3, 2, 2, 3, generator=seeded(1))
    with torch.autocast("cpu", torch.bfloat16):
        codes = book.nearest(z)
    assert torch.equal(codes, slow_nearest(book, z))


def test_lookup_returns_the_codes_vectors():
    book = random_codebook()
    codes = torch.tensor([[[[0, 4], [2, 2]]]])
    vectors = book.lookup(codes)
    assert vectors.shape == (1, 3, 1, 2, 2)
    assert torch.equal(vectors[0, :, 0, 0, 1], book.embeddings[4])
    assert torch.equal(book.nearest(vectors), codes)


def test_update_equals_the_slow_version_over_several_steps():
    book = random_codebook()
    for step in range(4):
        z = torch.randn(2, 3, 2, 2, 3, generator=seeded(step))
        codes = book.nearest(z)
        counts, sums, embeddings = slow_update(book, [(z, codes)], DECAY)
        book.update(book.assign(z, codes), DECAY)
        torch.testing.assert_close(book.counts.double(), counts)
        torch.testing.assert_close(book.sums.double(), sums)
        torch.testing.assert_close(book.embeddings.double(), embeddings, atol=1e-6, rtol=1e-6)


def test_assignments_of_several_batches_add_up_to_one_update():
    book = random_codebook()
    batches = [(z := torch.randn(1, 3, 2, 2, 3, generator=seeded(n)), book.nearest(z)) for n in range(3)]
    expected = slow_update(book, batches, DECAY)
    book.update(sum_assignments([book.assign(z, codes) for z, codes in batches]), DECAY)
    ours = (book.counts.double(), book.sums.double(), book.embeddings.double())
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


def test_a_code_that_is_never_used_stays_finite():
    book = random_codebook()
    nothing = Assignment(torch.tensor([9.0, 0, 0, 0, 0]), torch.eye(5, 3))
    for _ in range(3000):
        book.update(nothing, DECAY)
    assert book.embeddings.isfinite().all()
    assert book.counts[1] < 1e-30


def test_codes_start_on_different_encoder_outputs_once():
    book = Codebook(5, 3)
    assert not book.is_initialized
    z = torch.randn(2, 3, 2, 3, 2, generator=seeded())
    outputs = {tuple(vector.tolist()) for vector in z.permute(0, 2, 3, 4, 1).reshape(-1, 3)}
    book.initialize(z, seeded())
    codes = {tuple(vector.tolist()) for vector in book.embeddings}
    assert codes <= outputs
    assert len(codes) == 5
    assert torch.equal(book.sums, book.embeddings)
    assert torch.equal(book.counts, torch.ones(5))
    before = book.embeddings.clone()
    book.initialize(z + 1, seeded(1))
    assert torch.equal(book.embeddings, before)


def test_fewer_outputs_than_codes_are_repeated_with_a_little_noise():
    book = Codebook(7, 3)
    z = torch.randn(1, 3, 1, 2, 1, generator=seeded())
    book.initialize(z, seeded())
    distances = torch.cdist(book.embeddings, z.reshape(3, 2).T).min(1).values
    assert distances.max() < 5 * 0.01
    assert len(book.embeddings.unique(dim=0)) == 7


def test_the_flag_of_the_start_is_saved_and_loaded():
    book, fresh = random_codebook(), Codebook(5, 3)
    fresh.load_state_dict(book.state_dict())
    assert fresh.is_initialized
    fresh.initialize(torch.zeros(1, 3, 1, 1, 9), seeded())
    assert torch.equal(fresh.embeddings, book.embeddings)


def test_dead_codes_restart_on_encoder_outputs_and_live_ones_stay():
    book = random_codebook()
    book.counts.copy_(torch.tensor([0.5, 2.0, 0.99, 1.0, 3.0]))
    before = book.embeddings.clone()
    z = torch.randn(2, 3, 2, 3, 2, generator=seeded(5))
    book.restart_dead(z, 1.0, seeded())
    assert torch.equal(book.embeddings[[1, 3, 4]], before[[1, 3, 4]])
    assert torch.equal(book.counts, torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0]))
    outputs = z.permute(0, 2, 3, 4, 1).reshape(-1, 3)
    for dead in (0, 2):
        assert (outputs == book.embeddings[dead]).all(1).any()
        assert torch.equal(book.sums[dead], book.embeddings[dead])
    # the next update leaves a restarted code where it is, up to the smoothing
    restarted = book.embeddings[0].clone()
    book.update(Assignment(torch.zeros(5), torch.zeros(5, 3)), DECAY)
    torch.testing.assert_close(book.embeddings[0], restarted, rtol=1e-5, atol=1e-5)


SCRIPT = """
import json, sys, torch
sys.path.insert(0, sys.argv[3])
from test_codebook import DECAY, seeded
from longtake.tats.codebook import Codebook
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", "tcp://127.0.0.1:" + sys.argv[2], rank=rank, world_size=2)
z = torch.randn(1, 3, 2, 2, 3, generator=seeded(rank))
book = Codebook(5, 3)
book.initialize(z, seeded(rank))
first = book.embeddings.clone()
book.update(book.assign(z, book.nearest(z)), DECAY)
second = book.embeddings.clone()
book.restart_dead(z, 2.0, seeded(rank))
print(json.dumps([value.tolist() for value in (first, second, book.embeddings, book.counts)]))
torch.distributed.destroy_process_group()
"""


def test_two_processes_move_one_codebook_by_the_vectors_of_both():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", SCRIPT]
    started = [
        subprocess.Popen([*command, str(rank), port, str(Path(__file__).parent)], stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    ours, theirs = (json.loads(process.communicate(timeout=120)[0]) for process in started)
    assert ours == theirs
    first, second, *_ = (torch.tensor(value) for value in ours)
    # the codes started on rank 0's outputs ...
    book = Codebook(5, 3)
    z0, z1 = (torch.randn(1, 3, 2, 2, 3, generator=seeded(rank)) for rank in range(2))
    book.initialize(z0, seeded(0))
    assert torch.equal(first, book.embeddings)
    # ... and moved by both
    expected = slow_update(book, [(z, book.nearest(z)) for z in (z0, z1)], DECAY)
    torch.testing.assert_close(second.double(), expected[2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("num_codes", [5, 16384])
def test_an_assignment_is_no_larger_than_the_codebook(num_codes):
    book = Codebook(num_codes, 3)
    z = torch.randn(1, 3, 4, 4, 4)
    counts, sums = book.assign(z, book.nearest(z))
    assert counts.shape == (num_codes,)
    assert sums.shape == (num_codes, 3)
    assert counts.sum() == 64
