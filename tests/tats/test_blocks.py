"""Batch norm over several processes equals batch norm over their batches together, gradients included."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import torch

from longtake.tats.blocks import BatchNorm

SCRIPT = """
import json, sys, torch
from longtake.tats.blocks import BatchNorm
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", "tcp://127.0.0.1:" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
x, target = torch.randn(2, 4, 3, 2, 3, 3), torch.randn(2, 4, 3, 2, 3, 3)
mine = x[rank].requires_grad_()
norm = BatchNorm(3)
torch.nn.init.uniform_(norm.weight)
out = norm(mine)
(out - target[rank]).square().mean().backward()
weight = norm.weight.grad
torch.distributed.all_reduce(weight)
alone = norm.eval()(mine)
values = (out, norm.running_mean, norm.running_var, weight / 2, mine.grad, alone)
print(json.dumps([value.tolist() for value in values]))
torch.distributed.destroy_process_group()
"""


def test_batch_norm_on_two_processes_is_that_of_both_batches():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", SCRIPT]
    started = [subprocess.Popen([*command, str(rank), port], stdout=subprocess.PIPE) for rank in range(2)]
    found = [[torch.tensor(value) for value in json.loads(process.communicate(timeout=120)[0])] for process in started]

    torch.manual_seed(0)
    x, target = torch.randn(2, 4, 3, 2, 3, 3), torch.randn(2, 4, 3, 2, 3, 3)
    both = x.flatten(0, 1).requires_grad_()
    norm = torch.nn.BatchNorm3d(3)
    torch.nn.init.uniform_(norm.weight)
    out = norm(both)
    (out - target.flatten(0, 1)).square().mean().backward()
    alone = norm.eval()(both)
    for rank, (mine, mean, variance, weight, gradient, eval_out) in enumerate(found):
        half = slice(4 * rank, 4 * rank + 4)
        torch.testing.assert_close(mine, out[half].detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance, norm.running_var)
        torch.testing.assert_close(weight, norm.weight.grad, atol=1e-5, rtol=1e-5)
        # of the sum of both processes' losses, where the reference has their mean
        torch.testing.assert_close(gradient, 2 * both.grad[half], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(eval_out, alone[half].detach(), atol=1e-5, rtol=1e-5)


def test_batch_norm_is_torchs_on_one_process():
    x = torch.randn(3, 4, 2, 5, 5)
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm3d(4)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
