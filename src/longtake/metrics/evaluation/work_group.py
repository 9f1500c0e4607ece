"""Processes of a `torchrun` that share the work: each does its part, and all get the whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from longtake.core.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = timedelta(days=7)  # the first process computes intervals while the others wait


@dataclass(frozen=True)
class WorkGroup:
    """Who works together.

    Attributes:
        rank: this process's number.
        size: how many there are.
        group: torch's handle of them; None for a process alone.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], progress: Callable[[int, int], None]
    ) -> list[Result]:
        """Return `function` of every item, in order; process r computes items r, r + size, ...

        Which items are computed together never depends on the number of processes, so neither does the result.
        A `UserError` of one process is raised in all.
        """
        own = range(self.rank, len(items), self.size)
        results: list[Result] = []
        failure: UserError | None = None
        try:
            for done, index in enumerate(own, 1):
                results.append(function(items[index]))
                progress(done, len(own))
        except UserError as error:
            failure = error
        shares = self._share(failure or results)
        return [shares[index % self.size][index // self.size] for index in range(len(items))]

    def on_first(self, function: Callable[[], Result]) -> Result:
        """Run `function` in the first process only; every process gets its result, or its `UserError`."""
        outcome: Any = None
        if self.rank == 0:
            try:
                outcome = function()
            except UserError as error:
                outcome = error
        return self._share(outcome)[0]

    def _share(self, outcome: Any) -> list[Any]:  # noqa: ANN401
        """Return every process's outcome, by rank; raises the first that is an error."""
        outcomes = [outcome]
        if self.size > 1:
            outcomes = [None] * self.size
            dist.all_gather_object(outcomes, outcome, group=self.group)
        for each in outcomes:
            if isinstance(each, UserError):
                raise each
        return outcomes


@contextmanager
def work_group() -> Iterator[WorkGroup]:
    """Join the processes that the launcher started, for as long as the context lasts; alone without a launcher."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield WorkGroup()
        return
    if "LOCAL_RANK" not in os.environ:
        raise UserError(f"WORLD_SIZE is {size} without LOCAL_RANK: start with `torchrun --nproc_per_node N`")
    is_ours = not dist.is_initialized()
    if is_ours:
        dist.init_process_group("gloo", timeout=PATIENCE)
    # what is shared are objects in memory: gloo takes them on every device
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield WorkGroup(dist.get_rank(), dist.get_world_size(), group)
    finally:
        dist.destroy_process_group(None if is_ours else group)
