"""The form has the controls that a model has, and a filled form asks for what stands in it."""

from __future__ import annotations

import pytest

from longtake.core.errors import UserError
from longtake.studio import form
from longtake.studio.form import ANY_LABEL, CONTROLS
from longtake.studio.request import Request

FILLED = {"frames": 32, "seed": 5}


def test_each_family_has_its_own_controls(shelf):
    assert set(form.fields(shelf.model("glober"))) == {
        *("label", "speed", "reverse", "stretch", "num_inference_steps", "guidance_scale")
    }
    assert set(form.fields(shelf.model("tats"))) == {
        *("label", "story", "first_clip", "mode", "temperature", "top_p", "top_k", "context", "compat")
    }
    assert set(form.fields(shelf.model("recall"))) == {"label", "first_clip", "mode", "rollout", "candidates"}


def test_every_control_is_an_option_of_the_command_line():
    import dataclasses

    from longtake.cli.sample import Sample
    from longtake.nn.stream_options import flag

    options = {field.name for field in dataclasses.fields(Sample)}
    assert {flag(control.name)[2:].replace("-", "_") for control in CONTROLS} <= options


def test_fields_begin_with_what_the_model_recommends(shelf):
    glober = form.fields(shelf.model("glober"))
    assert glober["num_inference_steps"].value == 3
    assert glober["label"].choices == [ANY_LABEL, "bend", "jump", "walk", "wave2"]
    recall = form.fields(shelf.model("recall"))
    assert (recall["candidates"].value, recall["mode"].value) == (3, "sample")
    tats = form.fields(shelf.model("tats"))
    assert (tats["temperature"].value, tats["top_p"].value, tats["top_k"].value) == (1.0, 1.0, 0)
    assert tats["mode"].value not in ("sliding", "hierarchical")  # the pipeline decides


@pytest.mark.parametrize("name", ["glober", "recall", "tats"])
def test_an_untouched_form_leaves_everything_to_the_model(shelf, name):
    model = shelf.model(name)
    untouched = {field: value.value for field, value in form.fields(model).items()}
    assert form.read(model, {**FILLED, **untouched}, None) == Request(name, 32, 0, 32, 5)


def test_what_was_changed_is_asked_for(shelf):
    values = {"label": "jump", "reverse": True, "speed": 0.5, "num_inference_steps": 4.0, "guidance_scale": 1.0}
    request = form.read(shelf.model("glober"), {**FILLED, "start": 3, "stop": 9, **values}, "cpu")
    assert (request.start, request.stop, request.length, request.device) == (3, 9, 6, "cpu")
    # its guidance is the recommended one
    assert request.options == {"label": "jump", "reverse": True, "speed": 0.5, "num_inference_steps": 4}
    assert isinstance(request.options["num_inference_steps"], int)


def test_a_story_is_typed_line_by_line(shelf):
    values = {**FILLED, "story": "bend\n\njump\n"}
    assert form.read(shelf.model("tats"), values, None).options == {"story": [(0, "bend"), (16, "jump")]}


def test_controls_of_other_models_are_not_read(shelf):
    assert form.read(shelf.model("recall"), {**FILLED, "speed": 2.0, "prompt": "x"}, None).options == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": None}, "frames must be a whole number, not empty"),
        ({"frames": 2.5}, r"frames must be a whole number, not 2\.5"),
        ({"seed": "x"}, "seed must be a whole number, not x"),
        ({"frames": float("nan")}, "frames must be a whole number, not nan"),
        ({"frames": float("inf")}, "frames must be a whole number, not inf"),
    ],
)
def test_what_is_no_number_is_one_line(shelf, values, message):
    with pytest.raises(UserError, match=message):
        form.read(shelf.model("glober"), {**FILLED, **values}, None)
