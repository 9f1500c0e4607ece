"""The form of a model's options: which controls it has, what stands in them, and what a filled form asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from longtake.core.errors import UserError
from longtake.studio.request import Request
from longtake.studio.shelf import Model
from longtake.tats.story import read_story

ANY_LABEL = "any"
"""Leaves the class to the seed."""
UP_TO_MODEL = "recommended"
"""Leaves another choice to the model."""


@dataclass(frozen=True)
class Control:
    """How one argument of `stream` is asked for; a model has it if its `stream` takes that argument.

    Attributes:
        name: the argument.
        title: what stands above the control.
        kind: what can be entered.
        help: what a newcomer should know.
        low: least value of a slider.
        high: greatest value of a slider; more if the model recommends more.
        step: from one value of a slider to the next.
        setting: setting of the pipeline that recommends a value.
        otherwise: value that changes nothing, where the model recommends none.
        is_main: whether it is about what the video shows; the others are about how it is sampled.
    """

    name: str
    title: str
    kind: Literal["choice", "text", "lines", "file", "slider", "number", "switch"]
    help: str = ""
    low: float = 0
    high: float = 0
    step: float = 1
    setting: str | None = None
    otherwise: Any = None
    is_main: bool = False


CONTROLS = (
    Control("label", "What it shows", "choice", "any: drawn from the seed", otherwise=ANY_LABEL, is_main=True),
    Control("prompt", "Prompt", "text", "What the video shows, in words", otherwise="", is_main=True),
    Control(
        "story",
        "Story",
        "lines",
        "Several of them, a line each: they share the video evenly, or begin at a frame, as in 96: wave",
        otherwise="",
        is_main=True,
    ),
    Control("first_clip", "Video to go on from", "file", is_main=True),
    Control("audio", "Sound to make it to", "file", is_main=True),
    Control("speed", "Speed", "slider", "0.5 is slow motion", 0.1, 4, 0.05, otherwise=1.0),
    Control("reverse", "Backwards", "switch", otherwise=False),
    Control("stretch", "Stretch over the trained span (slow motion)", "switch", otherwise=False),
    Control(
        "num_inference_steps", "Steps", "slider", "More: better and slower", 1, 100, 1, setting="num_inference_steps"
    ),
    Control(
        "guidance_scale",
        "Guidance",
        "slider",
        "More: closer to what is asked for, less varied; 1 is none",
        0,
        10,
        0.1,
        setting="guidance_scale",
    ),
    Control("mode", "Mode", "choice", setting="mode"),
    Control("rollout", "How it goes on", "choice", setting="rollout"),
    Control(
        "candidates",
        "Candidates",
        "slider",
        "Clips to choose the best of, in mode vdrej: more is better and slower",
        1,
        32,
        1,
        setting="num_candidates",
    ),
    Control(
        "temperature", "Temperature", "slider", "Less: calmer and more alike", 0.05, 2, 0.05, setting="temperature"
    ),
    Control("top_p", "Top-p", "slider", "Draw among the likeliest with this probability", 0.05, 1, 0.05, "top_p", 1.0),
    Control("top_k", "Top-k", "number", "Draw among so many of the likeliest; 0: all", setting="top_k", otherwise=0),
    Control("context", "Context", "number", "Latent frames that it looks back on", setting="context"),
    Control("compat", "Fill in as the authors' code does", "switch", setting="compat", otherwise=False),
)


@dataclass(frozen=True)
class Field:
    """One control as a model has it.

    Attributes:
        control: which.
        value: what stands in it at first: with this the model does as it recommends.
        choices: values of a choice.
        high: greatest value of a slider.
    """

    control: Control
    value: Any
    choices: Sequence[str] = ()
    high: float = 0


def fields(model: Model) -> dict[str, Field]:
    """Return the controls that a model has, by name."""
    options = model.options()
    return {control.name: _field(control, model, options) for control in CONTROLS if _is_asked(control, options)}


def _is_asked(control: Control, options: Mapping[str, Sequence[str]]) -> bool:
    if control.name not in options:
        return False
    return control.kind != "choice" or control.name == "label" or len(options[control.name]) > 1


def _field(control: Control, model: Model, options: Mapping[str, Sequence[str]]) -> Field:
    value: Any = None if control.setting is None else model.recommended(control.setting)
    value = control.otherwise if value is None else value
    choices = list(options[control.name])
    if control.name == "label":
        choices = [ANY_LABEL, *choices]
    elif control.kind == "choice" and value is None:
        value, choices = UP_TO_MODEL, [UP_TO_MODEL, *choices]
    high = max(control.high, 2 * value) if control.kind == "slider" and value > control.high else control.high
    return Field(control, value, choices, high)


def read(model: Model, values: Mapping[str, Any], device: str | None) -> Request:
    """Return what a filled form asks for; raises `UserError` for what is missing or no number.

    `values` has "frames" and "seed", for a part of the video also "start" and "stop", and those of the controls by
    name. What still is what the model recommends is left to it.
    """
    num_frames = _whole("frames", values["frames"])
    start = _whole("first frame", values.get("start", 0))
    stop = _whole("last frame", values.get("stop", num_frames))
    options = {}
    for name, field in fields(model).items():
        value = values.get(name)
        if value is None or value in ("", field.value):
            continue
        if field.control.kind == "lines":
            value = read_story([line for line in value.splitlines() if line.strip()], num_frames)
        elif field.control.kind == "number" or (field.control.kind == "slider" and field.control.step == 1):
            value = _whole(field.control.title, value)
        options[name] = value
    return Request(model.name, num_frames, start, stop, _whole("seed", values["seed"]), options, device)


def _whole(what: str, value: Any) -> int:  # noqa: ANN401 (whatever stood in the form)
    if not isinstance(value, int | float) or value != value // 1:
        raise UserError(f"{what} must be a whole number, not {'empty' if value is None else value}")
    return int(value)
