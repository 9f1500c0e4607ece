"""Every mistake is one line that says what is allowed, and is raised before anything is sampled."""

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.glober.request import resolve_label


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 9}, r"trained on 8 frames .* --stretch \(stretch=True\)"),
        ({"num_frames": 0}, "number of frames must be at least 1, not 0"),
        ({"num_frames": -3}, "number of frames must be at least 1, not -3"),
        ({"start": -1}, "0 <= start < stop <= 8"),
        ({"start": 5, "stop": 5}, r"frames 5\.\.5: it must be 0 <= start < stop <= 8"),
        ({"stop": 9}, "0 <= start < stop <= 8"),
        ({"chunk": 0}, "chunk must be at least 1, not 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number, not nan"),
        ({"decoder_guidance_scale": float("inf")}, "decoder_guidance_scale must be a number, not inf"),
        (
            {"decoder_feature_guidance_scale": -float("inf")},
            "decoder_feature_guidance_scale must be a number, not -inf",
        ),
        ({"num_inference_steps": 0}, r"number of steps must be in 1\.\.1000, not 0"),
        ({"num_inference_steps": 1001}, "not 1001"),
        ({"seed": -1}, "seed must be in .*, not -1"),
        ({"seed": 2**64}, "seed must be in"),
        ({"video": -1}, "video number must be in"),
        ({"label": "wave3"}, "unknown label 'wave3'; did you mean 'wave2'"),
        ({"label": 4}, r"label 4 is out of range: the model has classes 0\.\.3"),
        ({"label": -1}, "label -1 is out of range"),
        ({"label": "7"}, "label 7 is out of range"),
        ({"prompt": "a man"}, "takes no prompt"),
    ],
)
def test_mistakes_are_told_at_the_call(glober, options, message):
    with pytest.raises(UserError, match=message) as raised:
        glober.stream(**options)
    assert "\n" not in str(raised.value)


def test_conditions_a_model_does_not_take(build_glober):
    with pytest.raises(UserError, match=r"no classes, so it takes no label \('bend'\), only a prompt"):
        build_glober(captions=True).stream(label="bend")
    with pytest.raises(UserError, match=r"no classes, so it takes no label \('bend'\)"):
        build_glober(classes=None).stream(label="bend")


def test_labels_by_name_and_by_index():
    classes = ("bend", "0", "walk")
    resolved = [resolve_label(label, classes, seed=0, video=0) for label in ("walk", 2, "2", "0", 0)]
    assert resolved == [2, 2, 2, 1, 0]  # a class may be called "0"
    assert resolve_label(None, (), seed=0, video=0) == -1


def test_videos_that_cannot_be_encoded(glober):
    with pytest.raises(UserError, match="has 7 frames, but the model needs 8"):
        glober.encode(np.zeros((7, 16, 16, 3), np.uint8))
    with pytest.raises(UserError, match="must be uint8"):
        glober.reconstruct(np.zeros((8, 16, 16, 3), np.float32))
    with pytest.raises(UserError, match="must be uint8"):
        glober.reconstruct_frames(np.zeros((8, 3, 16, 16), np.uint8))
    with pytest.raises(UserError, match="chunk"):
        glober.reconstruct(np.zeros((8, 16, 16, 3), np.uint8), chunk=0)
    with pytest.raises(UserError, match="number of videos must be at least 1"):
        glober(num_videos=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keyframes": (0, 7)}, "keyframes .* takes 3"),
        ({"keyframes": (0, 3, 8)}, r"each in 0\.\.7"),
        ({"shared_noise": 1.0}, "shared_noise"),
    ],
)
def test_settings_that_do_not_fit_the_networks(build_glober, settings, message):
    with pytest.raises(UserError, match=message):
        build_glober(**settings)
