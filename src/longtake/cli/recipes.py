"""`longtake recipes`: what can be trained."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

import tyro

from longtake import recipes
from longtake.cli.parsing import Command
from longtake.cli.terminal import say, show


@dataclass(frozen=True)
class Recipes(Command):
    """List what can be trained; with a name, everything about that recipe."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")] = None
    """A recipe's name."""

    def run(self) -> None:
        """Print the list, or one recipe's docstring and settings."""
        if self.name is None:
            self.show_all()
            return
        recipe = recipes.find(self.name)
        say(f"{self.name}\n\n{inspect.getdoc(recipe) or ''}\n")
        say("settings (each is an option of longtake train):")
        for option in settings(recipe()):
            say(f"  {option}")

    def show_all(self) -> None:
        """Print a table: name, frame size and length, summary."""
        from rich.table import Table
        from rich.text import Text

        table = Table("recipe", "size", "frames", "what", title="longtake recipes NAME tells all", title_justify="left")
        for name, function in recipes.RECIPES.items():
            recipe = function()
            size, span = getattr(recipe, "size", None), getattr(recipe, "span", None)
            table.add_row(name, f"{size}x{size}" if size else "", str(span or ""), Text(recipes.summary(name)))
        show(table)


def settings(recipe: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401 -- any family's dataclass
    """Yield every field of a nested dataclass as it is typed on the command line, a switch by its name alone.

    A stage that the recipe lacks (None in place of a dataclass) has no option.
    """
    kinds = get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        value, name = getattr(recipe, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from settings(value, f"{prefix}{name}.")
        elif value is None and any(dataclasses.is_dataclass(kind) for kind in get_args(kinds[field.name])):
            continue
        elif isinstance(value, bool):
            yield f"--{prefix}{name if value else f'no-{name}'}"
        else:
            parts = value if isinstance(value, tuple) else (value,)
            yield shlex.join([f"--{prefix}{name}", *map(str, parts)])
