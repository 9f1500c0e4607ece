"""What a person sees while a stage trains: a progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Reporter:
    """Writes messages and progress to a console (standard error by default).

    Attributes:
        line_every: least seconds between progress lines where the console is not a terminal.
    """

    def __init__(self, console: Console | None = None, line_every: float = 30.0) -> None:
        self.console = console or Console(stderr=True)
        self.line_every = line_every

    def message(self, text: str) -> None:
        """Write one line."""
        self.console.print(escape(text), soft_wrap=True, highlight=False)

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[str], None]]:
        """Say what is being done while the context lasts; yields a function that says how far it is."""
        if self.console.is_terminal:
            with self.console.status(escape(text)) as spinner:
                yield lambda how_far: spinner.update(escape(f"{text}: {how_far}"))
        else:
            self.message(text)
            last_line = time.monotonic()

            def line(how_far: str) -> None:
                nonlocal last_line
                if time.monotonic() - last_line >= self.line_every:
                    last_line = time.monotonic()
                    self.message(f"{text}: {how_far}")

            yield line

    @contextmanager
    def progress(self, stage: str, first_step: int, num_steps: int) -> Iterator[StageProgress]:
        """Show the progress of a stage that has `first_step` of `num_steps` steps behind it."""
        if not self.console.is_terminal:
            yield StageProgress(self, stage, first_step, num_steps)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}  {task.fields[speed]}  left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(escape(stage), total=num_steps, completed=first_step, loss="", speed="")
            yield StageProgress(self, stage, first_step, num_steps, bar, task)


@dataclass
class StageProgress:
    """The progress of one stage; made by `Reporter.progress`."""

    reporter: Reporter
    stage: str
    first_step: int
    num_steps: int
    bar: Progress | None = None
    task: TaskID | None = None

    def __post_init__(self) -> None:
        self._start = self._last_line = time.monotonic()

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        """Show that `step` steps are done, with the latest loss of each player."""
        now = time.monotonic()
        speed = (step - self.first_step) / max(now - self._start, 1e-9)
        loss = "  ".join(f"{player} {value:.4g}" for player, value in losses.items())
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=step, loss=escape(loss), speed=f"{speed:.2f} steps/s")
        elif now - self._last_line >= self.reporter.line_every or step == self.num_steps:
            self._last_line = now
            left = timedelta(seconds=round((self.num_steps - step) / speed))
            self.reporter.message(
                f"{self.stage}: step {step}/{self.num_steps}  {loss}  {speed:.2f} steps/s  left {left}"
            )
