"""Networks that training takes from a trained pipeline, as they are or to go on from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.core.errors import UserError

if TYPE_CHECKING:
    from diffusers import ModelMixin


def check_fits(folder: Path, networks: Mapping[str, ModelMixin], settings: Iterable[tuple[str, Any, Any]] = ()) -> None:
    """Raise `UserError` if the networks of a pipeline folder differ from what a recipe describes.

    Args:
        folder: the pipeline's.
        networks: name of a part -> the network as the recipe builds it, of which only the configuration matters.
        settings: further (name, the recipe's value, the pipeline's).
    """
    pairs = list(settings)
    for part, network in networks.items():
        try:
            saved = network.load_config(folder / part)
        except OSError as error:
            raise UserError(f"{folder} does not fit the recipe: it has no {part}") from error
        pairs += [(name, value, saved.get(name, value)) for name, value in network.config.items() if name[0] != "_"]
    for name, wanted, found in pairs:
        if json.dumps(wanted) != json.dumps(found):
            raise UserError(f"{folder} does not fit the recipe: its {name} is {found}, not {wanted}")


def start_from(folder: Path, networks: Mapping[str, ModelMixin], optional: Collection[str] = ()) -> None:
    """Load the weights of a pipeline folder's parts into networks of the same names.

    A weight named in `optional` may be in one of the two alone: the network's stays as it is, the folder's is left out.
    Raises `UserError` if anything else does not fit.
    """
    for name, network in networks.items():
        try:
            weights = type(network).from_pretrained(folder / name).state_dict()
            missing, unexpected = network.load_state_dict(weights, strict=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"cannot start from {folder / name}: {' '.join(str(error).split())}") from error
        for key in {*missing, *unexpected}.difference(optional):
            raise UserError(f"cannot start from {folder / name}: one of the two networks has no {key}")
