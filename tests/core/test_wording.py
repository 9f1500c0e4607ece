"""Numbers in messages."""

from __future__ import annotations

import pytest

from longtake.core.wording import are, counted, first_and_more


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "frame", "0 frames"),
        (1, "frame", "1 frame"),
        (2, "frame", "2 frames"),
        (1, "class", "1 class"),
        (4, "class", "4 classes"),
        (2, "process", "2 processes"),
        (1, "real video", "1 real video"),
    ],
)
def test_one_thing_is_singular(number, noun, text):
    assert counted(number, noun) == text


def test_the_verb_goes_with_the_number():
    assert [are(number) for number in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("names", "text"),
    [(["b"], "b"), (["b", "a"], "a and 1 more tensor"), ({"c", "a", "b"}, "a and 2 more tensors")],
)
def test_the_first_of_some_names(names, text):
    assert first_and_more(names, "tensor") == text
