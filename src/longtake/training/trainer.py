"""The state of one stage in training: networks, optimizers, running mean; and what one step does to it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.core.randomness import derive_seed
from longtake.training.checkpoint import Checkpoint, CheckpointContents, Identity
from longtake.training.ema import RunningMean
from longtake.training.memory import keep_freed_memory
from longtake.training.optimizer import adamw_class
from longtake.training.processes import average_gradients, average_over_processes, broadcast_modules
from longtake.training.schedule import learning_rate
from longtake.training.stage import Player, Stage

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What a random state is for; numbers below are the players'.
PREPARE, PREVIEW = 2**32, 2**32 + 1


class TrainingDivergedError(UserError):
    """A loss or gradient is not finite; the message names stage, step and terms."""


class Trainer:
    """Networks, optimizers and running mean of a stage on this process' device."""

    def __init__(self, stage: Stage, state: PartialState) -> None:
        keep_freed_memory()
        self.stage = stage
        self.device = state.device
        self.rank = state.process_index
        self.world_size = state.num_processes
        self.modules = stage.modules()
        for module in self.modules.values():
            module.to(self.device).train()
        for module in stage.frozen().values():
            module.to(self.device).eval().requires_grad_(False)
        self.players = stage.players()
        assert len({player.name for player in self.players}) == len(self.players), "players share a name"
        self.optimizers = {player.name: _adamw(player) for player in self.players}
        # accelerate fixes one precision per process, stages choose theirs: so autocast and scaler are torch's own
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=stage.config.precision == "fp16")
        self.ema: RunningMean | None = None
        self.losses: dict[str, float] = {}  # each player's latest, averaged over processes

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Load a checkpoint, if any; make all processes agree; let the stage prepare.

        Raises `UserError` if the checkpoint does not fit the stage.
        """
        contents = checkpoint.read() if checkpoint else None
        if contents is not None:
            self._load_weights(contents)
        broadcast_modules(self.modules.values())
        # the same on every rank, so that statistics drawn from samples agree
        self._seed(PREPARE, step=0, rank=0)
        with torch.no_grad():
            self.stage.prepare(self.device)
        broadcast_modules(self.modules.values())
        names = self.stage.ema()
        if self.stage.config.ema_decay is not None and names:
            self.ema = RunningMean({name: self.modules[name] for name in names}, self.stage.config.ema_decay)
            if contents is not None:
                self._load_ema(self.ema, contents)
                self.ema.copy_buffers()
        for module in self.modules.values():
            module.requires_grad_(False)

    def contents(self, step: int, upstream: Mapping[str, Identity]) -> CheckpointContents:
        """Return what a checkpoint after `step` steps holds."""
        optimizers: dict[str, Any] = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return CheckpointContents(
            step,
            {
                f"{name}.{key}": value
                for name, module in self.modules.items()
                for key, value in module.state_dict().items()
            },
            self.ema.state() if self.ema else {},
            {"players": optimizers, "scaler": self.scaler.state_dict()},
            self.world_size,
            upstream,
        )

    def step(self, step: int, batches: list[Any]) -> dict[str, Tensor]:
        """Let every player whose turn it is take step `step` (from 0); return what to log, averaged over `batches`.

        Raises `TrainingDivergedError` in every process, before any weight is touched by it, if a loss or (other than
        in fp16, whose scaler skips such steps) a gradient norm is not finite in any process.
        """
        values: dict[str, Tensor] = {}
        for index, player in enumerate(self.players):
            if step >= player.start and (step + 1) % player.every == 0:
                values = {**values, **self._player_step(index, player, step, batches)}
        if self.ema is not None:
            self.ema.update(step)
        return values

    @contextmanager
    def showing(self, step: int) -> Iterator[torch.Generator]:
        """Eval mode with the running mean in place, without gradients; yields a generator for previews."""
        for module in self.modules.values():
            module.eval()
        try:
            with torch.no_grad(), self._autocast(), self.ema.swapped() if self.ema else nullcontext():
                yield self._seed(PREVIEW, step, self.rank)
        finally:
            for module in self.modules.values():
                module.train()

    def _player_step(self, index: int, player: Player, step: int, batches: list[Any]) -> dict[str, Tensor]:
        config = player.optimizer
        optimizer = self.optimizers[player.name]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, self.stage.config.steps)
        with _requiring_gradients(player.parameters):
            loss, terms = self._accumulate_gradients(player.name, batches, step, self._seed(index, step, self.rank))
        average_gradients(player.parameters)
        self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm(_gradients(player.parameters)).to(self.device)
        self._check_finite(player.name, step, loss, norm, terms)
        if config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(player.parameters, config.clip_norm, norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        return {f"train/loss_{player.name}": loss, **terms, f"grad_norm/{player.name}": norm}

    def _accumulate_gradients(
        self, player: str, batches: list[Any], step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Leave the mean gradient over `batches` in the parameters; return mean loss and terms."""
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with self._autocast():
                loss, terms = self.stage.loss(player, batch, step, generator)
            self.scaler.scale(loss / len(batches)).backward()
            for name, value in {"": loss, **terms}.items():
                part = value.detach().float().to(self.device) / len(batches)
                sums[name] = sums[name] + part if name in sums else part
        return sums.pop(""), sums

    def _check_finite(self, player: str, step: int, loss: Tensor, norm: Tensor, terms: Mapping[str, Tensor]) -> None:
        # one transfer from the device; a value that is not finite in one process makes the mean so in all
        mean_loss, mean_norm = average_over_processes(torch.stack([loss, norm])).tolist()
        self.losses[player] = mean_loss
        place = f"stage {self.stage.name!r}, player {player!r}, step {step + 1}"
        if not math.isfinite(mean_loss):
            own = {name: value.item() for name, value in {"loss": loss, **terms}.items()}
            per_rank = gather_object([own])
            means = {name: sum(values[name] for values in per_rank) / len(per_rank) for name in own}
            listed = ", ".join(f"{name} = {value:.4g}" for name, value in means.items())
            raise TrainingDivergedError(f"{place}: the loss is not finite ({listed})")
        if not math.isfinite(mean_norm) and not self.scaler.is_enabled():
            listed = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
            raise TrainingDivergedError(f"{place}: the gradient norm is {mean_norm} (loss = {mean_loss:.4g}, {listed})")

    def _load_weights(self, contents: CheckpointContents) -> None:
        try:
            for name, module in self.modules.items():
                prefix = f"{name}."
                module.load_state_dict(
                    {key.removeprefix(prefix): v for key, v in contents.modules.items() if key.startswith(prefix)}
                )
            for name, optimizer in self.optimizers.items():
                # the settings are this run's, only the moments are the checkpoint's; torch compares the groups' sizes
                own, saved = optimizer.state_dict()["param_groups"], contents.optimizers["players"][name]
                groups = [{**a, "params": b["params"]} for a, b in zip(own, saved["param_groups"], strict=True)]
                optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
            self.scaler.load_state_dict(contents.optimizers["scaler"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise self._misfit(contents, error) from error

    def _load_ema(self, ema: RunningMean, contents: CheckpointContents) -> None:
        try:
            ema.load(contents.ema)
        except (RuntimeError, KeyError) as error:
            raise self._misfit(contents, error) from error

    def _misfit(self, contents: CheckpointContents, error: Exception) -> UserError:
        reason = " ".join(str(error).split())[:200]
        return UserError(
            f"stage {self.stage.name!r}: the checkpoint of step {contents.step} does not fit these settings ({reason})"
        )

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST_TYPES.get(self.stage.config.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _seed(self, purpose: int, step: int, rank: int) -> torch.Generator:
        """Seed torch's global random state and return a generator, both functions of the arguments alone.

        Nothing random is thus carried from step to step, and a resumed run draws what an uninterrupted one does.
        """
        seed = derive_seed(self.stage.config.seed, name_key(self.stage.name), rank, step, purpose)
        torch.manual_seed(seed)
        return torch.Generator(self.device).manual_seed(derive_seed(seed))


def name_key(name: str) -> int:
    """Return a 64-bit integer that stands for `name` in a seed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _adamw(player: Player) -> torch.optim.AdamW:
    config = player.optimizer
    undecayed = {id(parameter) for parameter in player.undecayed}
    decayed = [parameter for parameter in player.parameters if id(parameter) not in undecayed]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": player.undecayed, "weight_decay": 0.0},
    ]
    return adamw_class(config)([group for group in groups if group["params"]], lr=config.lr, betas=config.betas)


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@contextmanager
def _requiring_gradients(parameters: list[nn.Parameter]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
