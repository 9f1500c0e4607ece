"""What can be asked of a model's videos, told from its index alone: what is listed works, what is not is refused."""

from __future__ import annotations

import numpy as np
import pytest

from longtake import models
from longtake.core.errors import UserError
from longtake.nn.stream_options import flag
from longtake.tats.vocabulary import BytePairs

VALUES = {
    "label": "bend",
    "prompt": "a person bends",
    "story": [(0, "bend")],
    "first_clip": np.zeros((40, 16, 16, 3), np.uint8),
    "audio": "sound.wav",
    "rollout": "faster",
    "candidates": 2,
    "compat": True,
}


def tats(**changes):
    import toy_transformers

    return toy_transformers.pipeline(**changes)


def captioned_tats():
    import toy_transformers

    merges = BytePairs.learn(["bend", "a person bends"], 2).merges
    text = toy_transformers.transformer(condition_vocabulary=BytePairs(merges).size, condition_length=12)
    return toy_transformers.pipeline(
        transformer=text, sparse=None, interpolation=None, condition="caption", classes=None, merges=merges
    )


def recall(model, **changes):
    import toy_sampling

    return toy_sampling.pipeline(model, **changes)


CASES = {
    "glober with classes": (lambda glober: glober(), {"label"}, {}),
    "glober with captions": (lambda glober: glober(captions=True), {"prompt"}, {}),
    "glober with nothing": (lambda glober: glober(classes=None), set(), {}),
    "tats with classes": (
        lambda _: tats(),
        {"label", "story", "first_clip", "compat"},
        {"mode": ("sliding", "hierarchical")},
    ),
    "tats without its pair": (
        lambda _: tats(sparse=None, interpolation=None),
        {"label", "story", "first_clip"},
        {"mode": ("sliding",)},
    ),
    "tats with captions": (lambda _: captioned_tats(), {"prompt", "story", "first_clip"}, {"mode": ("sliding",)}),
    "r3": (
        lambda _: recall("r3"),
        {"label", "first_clip", "rollout", "candidates"},
        {"mode": ("mean", "sample", "vdrej"), "rollout": ("robust", "faster")},
    ),
    "ar2": (
        lambda _: recall("ar2", video_discriminator=None),
        {"first_clip"},
        {"mode": ("mean", "sample")},
    ),
    "g3an": (lambda _: recall("g3an", video_discriminator=None), set(), {"mode": ("mean", "sample")}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_listed_works_and_what_is_not_is_refused(case, build_glober, tmp_path):
    build, listed, choices = CASES[case]
    pipe = build(build_glober)
    pipe.save_pretrained(tmp_path / "model")
    index = models.read_index(tmp_path / "model")
    options = models.pipeline_class(index).stream_options(index)
    assert {name for name in VALUES if name in options} == listed
    assert {name: options[name] for name in choices} == choices
    assert options.get("label", ()) == tuple(pipe.config.classes or ())
    for name, value in VALUES.items():
        extra = {"mode": "vdrej"} if name == "candidates" and name in options else {}
        if name in options:
            pipe.stream(8, **{name: value}, **extra)
        else:
            with pytest.raises((UserError, TypeError)):
                pipe.stream(8, **{name: value})
    for mode in options.get("mode", ()):
        pipe.stream(8, mode=mode)


def test_flags_are_those_of_the_command_line():
    names = ["num_frames", "num_inference_steps", "guidance_scale", "first_clip", "label"]
    assert [flag(name) for name in names] == ["--frames", "--steps", "--guidance", "--first-clip", "--label"]
