import pytest

from longtake.core.errors import UserError, choose_one_of

CLASSES = ("bend", "jack", "wave1", "wave2")


def message(what, value, allowed):
    with pytest.raises(UserError) as caught:
        choose_one_of(what, value, allowed)
    return str(caught.value)


def test_what_is_allowed_comes_back():
    assert choose_one_of("label", "jack", CLASSES) == "jack"
    assert choose_one_of("label", "jack", iter(CLASSES)) == "jack"  # any iterable


def test_message_names_the_value_the_nearest_and_all():
    assert message("label", "wave3", iter(CLASSES)) == (
        "unknown label 'wave3'; did you mean 'wave2'? (known: bend, jack, wave1, wave2)"
    )
    assert message("label", "Bend", CLASSES).startswith("unknown label 'Bend'; did you mean 'bend'?")


def test_nothing_near_and_nothing_known():
    assert message("label", "zzz", CLASSES) == "unknown label 'zzz' (known: bend, jack, wave1, wave2)"
    assert message("recipe", "a", []) == "unknown recipe 'a' (known: none)"


def test_mistakes_are_value_errors_of_one_line():
    assert issubclass(UserError, ValueError)
    assert "\n" not in message("label", "wave3", CLASSES)
