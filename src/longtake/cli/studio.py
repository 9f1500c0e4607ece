"""`longtake studio`: the web page."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Annotated

import tyro

from longtake.cli.parsing import Command, OptionalText
from longtake.cli.terminal import say
from longtake.training.interrupt import catch_stop_signals

POLL_S = 0.2


@dataclass(frozen=True)
class Studio(Command):
    """See in a browser what models do: make videos, compare models, watch a run."""

    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL ...]", help_behavior_hint="")
    ] = ()
    """Pipeline folders, run folders (also of runs that go on) or hub ids, beside the models that ship with longtake."""
    port: int = 7860
    """Port of the page, on this machine alone."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Serve the page until Ctrl-C or SIGTERM."""
        from longtake.studio.app import serve
        from longtake.studio.shelf import Shelf

        with serve(Shelf(self.models, self.device), self.port) as address, catch_stop_signals() as stop:
            say(f"longtake studio is at {address} (Ctrl-C ends it)")
            while not stop.is_made:
                time.sleep(POLL_S)
        gc.freeze()  # else Python looks for cycles among half a million objects of libraries before it ends: seconds
        say("ended")
