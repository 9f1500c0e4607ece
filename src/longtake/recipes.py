"""Every named run of every family. Importing this loads neither torch nor diffusers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from longtake.core.errors import choose_one_of
from longtake.evaluator.recipes import RECIPES as EVALUATOR_RECIPES
from longtake.glober.recipes import RECIPES as GLOBER_RECIPES
from longtake.recall.recipes import RECIPES as RECALL_RECIPES
from longtake.tats.recipes import RECIPES as TATS_RECIPES

# A recipe is a frozen dataclass that nests its stages' settings; each family has its own type.
RecipeFunction = Callable[[], Any]

RECIPES: Mapping[str, RecipeFunction] = MappingProxyType(
    {**GLOBER_RECIPES, **TATS_RECIPES, **RECALL_RECIPES, **EVALUATOR_RECIPES}
)
"""Name -> function without arguments that returns the recipe; its docstring holds paper, data, command and score."""


def find(name: str) -> RecipeFunction:
    """Return the recipe function called `name`; raise `UserError` naming the nearest if there is none."""
    return RECIPES[choose_one_of("recipe", name, RECIPES)]


def summary(name: str) -> str:
    """Return the first paragraph of a recipe's docstring as one line."""
    text = inspect.getdoc(find(name)) or ""
    return " ".join(text.split("\n\n")[0].split())
