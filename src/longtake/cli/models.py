"""`longtake models`: what can be loaded."""

from __future__ import annotations

from dataclasses import dataclass

from longtake import models
from longtake.cli.parsing import Command
from longtake.cli.terminal import say, show


@dataclass(frozen=True)
class Models(Command):
    """List the models that ship with longtake."""

    def run(self) -> None:
        """Print a table; nothing is loaded."""
        from rich.table import Table
        from rich.text import Text

        table = Table("model", "family", "frames", "fps", "labels", "MB", "what")
        for model in models.available_models():
            config = models.read_index(model.path)
            table.add_row(
                model.name,
                model.family,
                str(config.get("span", "")),
                f"{config['fps']:g}" if "fps" in config else "",
                Text(", ".join(config.get("classes") or ())),
                f"{model.size / 1e6:.1f}",
                Text(model.description),
            )
        if table.row_count:
            show(table)
        else:
            say("no model ships with this version (train one: longtake recipes)")
        say("Any other model is loaded by its path: a pipeline folder, a run folder, or a hub id.")
