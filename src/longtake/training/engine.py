"""The training loop of one stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from accelerate import PartialState
from rich.console import Console

from longtake.core.device import is_native
from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.wording import are, counted
from longtake.training.checkpoint import (
    Checkpoint,
    Identity,
    newest_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from longtake.training.interrupt import TrainingInterruptedError, catch_stop_signals
from longtake.training.log import MetricsLog
from longtake.training.processes import any_process, average_over_processes, process_state, run_on_main
from longtake.training.reporter import Reporter, StageProgress
from longtake.training.run_folder import RunFolder
from longtake.training.samples import write_previews
from longtake.training.schedule import learning_rate
from longtake.training.stage import Stage
from longtake.training.trainer import AUTOCAST_TYPES, Trainer, TrainingDivergedError


def train_stage(
    stage: Stage,
    run: RunFolder,
    *,
    resume: bool = False,
    max_steps: int | None = None,
    upstream: Mapping[str, Identity] | None = None,
    reporter: Reporter | None = None,
) -> None:
    """Train `stage` up to `stage.config.steps` (at most `max_steps`) and export it to `run.components`.

    With `resume` it goes on from the newest good checkpoint, bit for bit as if it had never stopped (on the same
    number of processes). `upstream` names the earlier stages' weights and is stored in every checkpoint.

    Raises `UserError` if there are checkpoints and `resume` is false, or if they do not fit the stage;
    `TrainingDivergedError` if a loss or gradient is not finite; `TrainingInterruptedError` after SIGINT or SIGTERM,
    once the current step is done and saved.
    """
    StageRun(stage, run, upstream or {}, reporter or default_reporter()).train(resume, max_steps)


def default_reporter() -> Reporter:
    """Return a reporter to standard error in the main process, a silent one in the others."""
    return Reporter(None if process_state().is_main_process else Console(quiet=True))


class StageRun:
    """One stage on its way from its newest checkpoint to its last step."""

    def __init__(self, stage: Stage, run: RunFolder, upstream: Mapping[str, Identity], reporter: Reporter) -> None:
        self.stage = stage
        self.run = run
        self.upstream = upstream
        self.reporter = reporter
        self.state: PartialState = process_state()
        self.checkpoints = run.checkpoints(stage.name)
        self.saved_step = 0

    def train(self, resume: bool, max_steps: int | None) -> None:
        """Train, save, export."""
        config = self.stage.config
        last_step = min(config.steps, max_steps or config.steps)
        checkpoint = self._find_checkpoint(resume)
        step = self.saved_step = checkpoint.step if checkpoint else 0
        with self.reporter.status(f"{self.stage.name}: preparing") as tell:
            self.stage.tell = tell
            trainer = Trainer(self.stage, self.state)
            trainer.begin(checkpoint)
        if step < last_step:
            self._warn_of_emulation(trainer)
            self._loop(trainer, step, last_step)
        self._export(trainer, max(step, last_step))

    def _find_checkpoint(self, resume: bool) -> Checkpoint | None:
        def find() -> tuple[Checkpoint | None, list[str]]:
            remove_leftovers(self.checkpoints)
            return newest_checkpoint(self.checkpoints)

        checkpoint, problems = run_on_main(find)
        if (checkpoint or problems) and not resume:
            raise UserError(f"{self.checkpoints} holds checkpoints: continue with --resume or choose another folder")
        for problem in problems:
            self.reporter.message(f"warning: {problem}")
        if checkpoint and checkpoint.world_size != self.state.num_processes:
            self.reporter.message(
                f"warning: {checkpoint.path} was trained by {counted(checkpoint.world_size, 'process')}, now there "
                f"{are(self.state.num_processes)} {self.state.num_processes}: batches come in another order "
                "than without the interruption"
            )
        return checkpoint

    def _warn_of_emulation(self, trainer: Trainer) -> None:
        precision = self.stage.config.precision
        if precision in AUTOCAST_TYPES and not is_native(AUTOCAST_TYPES[precision], trainer.device):
            self.reporter.message(
                f"warning: this {trainer.device.type} has no {precision} arithmetic and emulates it: steps are faster "
                f"with --{self.stage.name.replace('_', '-')}.precision fp32"
            )

    def _loop(self, trainer: Trainer, first_step: int, last_step: int) -> None:
        config = self.stage.config
        batches = self.stage.batches(
            first_step * config.accumulation, self.state.process_index, self.state.num_processes
        )
        is_main = self.state.is_main_process
        with (
            catch_stop_signals() as stop,
            self._open_log(first_step) if is_main else nullcontext() as log,
            self.reporter.progress(self.stage.name, first_step, last_step) as progress,
        ):
            for step in range(first_step, last_step):
                self._step(trainer, step, batches, log, progress)
                done = step + 1
                is_last = done == last_step
                if is_last or done % config.checkpoint_every == 0:
                    self._save(trainer, done)
                if config.sample_every and (is_last or done % config.sample_every == 0):
                    self._preview(trainer, done)
                if any_process(stop.is_made):
                    self._stop(trainer, done)

    def _open_log(self, step: int) -> MetricsLog:
        return MetricsLog(self.run.metrics, self.run.tensorboard(self.stage.name), self.stage.name, step)

    def _step(
        self, trainer: Trainer, step: int, batches: Iterator[Any], log: MetricsLog | None, progress: StageProgress
    ) -> None:
        config = self.stage.config
        micro_batches = [batch.to(trainer.device) for batch in islice(batches, config.accumulation)]
        assert len(micro_batches) == config.accumulation, "a stage's batches must not end"
        try:
            values = trainer.step(step, micro_batches)
        except TrainingDivergedError as error:
            last = f"the last good checkpoint is of step {self.saved_step}" if self.saved_step else "no checkpoint yet"
            raise TrainingDivergedError(f"{error}; {last}") from error
        done = step + 1
        if done == 1 or done % config.log_every == 0:
            means = average_over_processes(
                torch.stack([value.to(trainer.device) for value in values.values()])
            ).tolist()
            rates = {f"lr/{p.name}": learning_rate(p.optimizer, step, config.steps) for p in trainer.players}
            if log is not None:
                log.write(done, {**dict(zip(values, means, strict=True)), **rates})
        progress.update(done, trainer.losses)

    def _save(self, trainer: Trainer, step: int) -> None:
        def save() -> None:
            write_checkpoint(
                self.checkpoints, trainer.contents(step, self.upstream), self.stage.config.keep_checkpoints
            )

        run_on_main(save)
        self.saved_step = step

    def _preview(self, trainer: Trainer, step: int) -> None:
        def preview() -> None:
            with trainer.showing(step) as generator:
                videos = self.stage.preview(generator)
            write_previews(self.run.samples(self.stage.name), step, videos, self.stage.preview_fps)

        run_on_main(preview)

    def _stop(self, trainer: Trainer, step: int) -> None:
        if self.saved_step != step:
            self._save(trainer, step)
        raise TrainingInterruptedError(
            f"stopped in stage {self.stage.name!r} after step {step}, which is saved: continue with --resume"
        )

    def _export(self, trainer: Trainer, step: int) -> None:
        def export() -> None:
            with atomic_path(self.run.components / self.stage.name) as partial, trainer.showing(step):
                partial.mkdir()
                self.stage.export(partial)

        run_on_main(export)
