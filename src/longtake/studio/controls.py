"""The form's controls as gradio shows them: made once for all models, then shown, hidden and filled for each."""

from __future__ import annotations

from typing import Any

import gradio as gr

from longtake.studio.form import CONTROLS, Control, Field


def build(*, is_main: bool) -> dict[str, gr.components.Component]:
    """Make the controls about the video, or those about how it is sampled; hidden until a model has them."""
    return {control.name: _component(control) for control in CONTROLS if control.is_main == is_main}


def _component(control: Control) -> gr.components.Component:
    texts: dict[str, Any] = {"label": control.title, "visible": False, "interactive": True}
    about: dict[str, Any] = {**texts, "info": control.help or None}
    match control.kind:
        case "choice":  # a value of one's own is refused by the model, with the nearest that it has
            return gr.Dropdown([], allow_custom_value=True, **about)
        case "text" | "lines":
            return gr.Textbox(lines=3 if control.kind == "lines" else 1, **about)
        case "file":
            return gr.File(type="filepath", height=130, **texts)
        case "slider":
            return gr.Slider(control.low, control.high, step=control.step, **about)
        case "number":
            return gr.Number(**about)
        case "switch":
            return gr.Checkbox(**about)


def update(control: Control, field: Field | None) -> dict[str, Any]:
    """Return what makes a control that of a model; hides it from a model that has none such."""
    if field is None:
        return gr.update(visible=False)
    more: dict[str, Any] = {}
    if control.kind == "choice":
        more["choices"] = list(field.choices)
    if control.kind == "slider":
        more["maximum"] = field.high
    return gr.update(visible=True, value=field.value, **more)
