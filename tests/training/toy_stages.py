"""Tiny stages for the engine's tests; run as a script it trains them, so that tests can kill it."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from longtake.core.errors import UserError
from longtake.core.randomness import generator
from longtake.training.config import OptimizerConfig, StageConfig
from longtake.training.run import train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Player, Stage

CONFIG = StageConfig(
    steps=12,
    batch_size=4,
    optimizer=OptimizerConfig(lr=1e-2, warmup_steps=3, schedule="cosine", clip_norm=1.0),
    checkpoint_every=3,
    sample_every=0,
    log_every=1,
)


@dataclass(frozen=True)
class ToyBatch:
    x: torch.Tensor

    def to(self, device):
        return ToyBatch(self.x.to(device))


class Regression(Stage):
    """A two-layer network learns sin(3 x); `noise` draws from both random states."""

    name = "regression"

    def __init__(self, config=CONFIG, noise=0.0, nan_at=None, pause=0.0):
        self.config, self.noise, self.nan_at, self.pause = config, noise, nan_at, pause
        self.network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(noise), nn.Linear(16, 2))
        self.prepared = 0

    def modules(self):
        return {"network": self.network}

    def players(self):
        biases = [parameter for parameter in self.network.parameters() if parameter.ndim == 1]
        return [Player("network", list(self.network.parameters()), self.config.optimizer, undecayed=biases)]

    def batches(self, first, rank, world_size):
        size, batch = self.config.batch_size, first
        while True:
            positions = range((batch * world_size + rank) * size, (batch * world_size + rank + 1) * size)
            yield ToyBatch(torch.stack([torch.rand(2, generator=generator(7, p)) for p in positions]))
            batch += 1

    def prepare(self, device):
        self.prepared += 1

    def loss(self, player, batch, step, generator):
        time.sleep(self.pause)
        x = batch.x + self.noise * torch.randn(batch.x.shape, generator=generator, device=batch.x.device)
        error = F.mse_loss(self.network(x), torch.sin(3 * batch.x))
        if self.nan_at == step:
            error = error * float("nan")
        return error, {"train/loss_recon": error}

    def export(self, folder):
        save_file(self.network.state_dict(), folder / "network.safetensors")


class Plain(Regression):
    """Without randomness, so that two processes can be compared with one."""

    name = "plain"


class Adversarial(Regression):
    """A generator learns to please a discriminator, which steps after it in every second step."""

    name = "adversarial"

    def __init__(self, config=CONFIG, components=None, pause=0.0):
        super().__init__(config, noise=0.1, pause=pause)
        self.critic = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
        if components is not None:
            self.network.load_state_dict(load_file(components.find("regression") / "network.safetensors"))

    def modules(self):
        return {"network": self.network, "critic": self.critic}

    def ema(self):
        return ("network",) if self.config.ema_decay is not None else ()

    def players(self):
        critic = Player("critic", list(self.critic.parameters()), replace(self.config.optimizer, lr=3e-3), every=2)
        return [*super().players(), critic]

    def loss(self, player, batch, step, generator):
        time.sleep(self.pause)
        fake = self.network(batch.x + 0.1 * torch.randn(batch.x.shape, generator=generator, device=batch.x.device))
        if player == "network":
            value = -self.critic(fake).mean() + F.mse_loss(fake, torch.sin(3 * batch.x))
            return value, {"train/loss_adversarial": value}
        value = F.relu(1 + self.critic(fake)).mean() + F.relu(1 - self.critic(torch.sin(3 * batch.x))).mean()
        return value, {}

    def preview(self, generator):
        frames = torch.randint(0, 256, (2, 3, 16, 16, 3), generator=generator, device=generator.device)
        return {"noise": frames.cpu().numpy().astype(np.uint8)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--steps", type=int, default=CONFIG.steps)
    parser.add_argument("--pause", type=float, default=0.0)
    args = parser.parse_args(arguments)
    config = replace(CONFIG, steps=args.steps, ema_decay=0.9, accumulation=2)
    factories = {
        "plain": lambda components: Plain(config),
        "regression": lambda components: Regression(config, noise=0.1, pause=args.pause),
        "adversarial": lambda components: Adversarial(config, components, pause=args.pause),
    }
    try:
        train_stages(factories, RunFolder(args.out), resume=args.resume, max_steps=args.max_steps)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
