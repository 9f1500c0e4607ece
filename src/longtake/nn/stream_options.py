"""What can be asked of a pipeline's videos: read off its `stream`, so that there is no second list to keep.

Command line and web page both ask here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

StreamOptions = dict[str, tuple[str, ...]]
"""Name of an argument of `stream` -> the values it may have; none where they cannot be listed."""

FLAGS = {
    "num_frames": "frames",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "decoder_guidance_scale": "decoder_guidance",
}


def flag(name: str) -> str:
    """Return the option of `longtake sample` that sets an argument of `stream`."""
    return "--" + FLAGS.get(name, name).replace("_", "-")


def stream_options(stream: Callable[..., Any]) -> StreamOptions:
    """Return the arguments of a pipeline class' `stream`; those with a `Literal` type have its values."""
    hints = get_type_hints(stream)
    names = [name for name in inspect.signature(stream).parameters if name != "self"]
    return {name: tuple(_literals(hints[name])) for name in names}


def has_component(index: Mapping[str, Any], name: str) -> bool:
    """Whether a model_index.json has a component: one that a model lacks is not there, or [null, null]."""
    return (index.get(name) or [None])[-1] is not None


def _literals(kind: Any) -> Iterator[str]:  # noqa: ANN401 (a type of any form)
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _literals(member)
