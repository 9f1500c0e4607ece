"""Models by name: each is called something else, found once, and asked for classes in turn."""

from __future__ import annotations

import shutil

import pytest

from longtake.benchmarking.contestant import Contestant, find_contestants, num_parameters, short_names
from longtake.core.errors import UserError


def test_names_are_as_short_as_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a/model", "runs/b/model", "old/a", "c"):
        (tmp_path / folder).mkdir(parents=True)
    assert short_names(["runs/a", "runs/b/model", "c/", "r3-weizmann"]) == ["a", "b", "c", "r3-weizmann"]
    assert short_names(["runs/a", "old/a", "c"]) == ["runs-a", "old-a", f"{tmp_path.name}-c"]
    assert short_names(["."]) == [tmp_path.name]
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert short_names(["..", "../b"]) == ["runs", "b"]  # no folder above --out
    monkeypatch.chdir(tmp_path)
    assert short_names(["someone/a-model"]) == ["a-model"]


def test_known_facts(toy_models):
    contestant, other = find_contestants([str(toy_models["tats"]), str(toy_models["short"] / "model")])
    assert (contestant.name, contestant.family, contestant.span) == ("tats", "tats", 16)
    assert (other.name, other.family, other.span) == ("short", "glober", 8)
    assert [contestant.label(video) for video in range(4)] == ["bend", "jump", "walk", "bend"]
    pipe = contestant.load("cpu")
    weights = [pipe.vqgan, pipe.transformer, pipe.sparse, pipe.interpolation]
    assert num_parameters(pipe) == sum(weight.numel() for part in weights for weight in part.parameters())


def test_model_given_twice(toy_models):
    with pytest.raises(UserError, match=r"the model in .*tats/model is given 2 times"):
        find_contestants([str(toy_models["tats"]), str(toy_models["tats"] / "model")])


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("short", 9, "short makes 8 frames of real time at most, not 9"),
        ("r2", 24, "r2: a model 'r2' recreates a video: give it one"),
        ("glober", 0, "glober: number of frames must be at least 1, not 0"),
    ],
)
def test_model_that_cannot_make_the_videos(toy_models, name, frames, message):
    (contestant,) = find_contestants([str(toy_models[name])])
    with pytest.raises(UserError, match=f"^{message}"):
        contestant.check(contestant.load("cpu"), 0, 2, frames)


def test_hash_is_of_what_the_files_hold(toy_models, tmp_path):
    shutil.copytree(toy_models["r3"] / "model", tmp_path / "copy")
    (first, second) = find_contestants([str(toy_models["r3"]), str(tmp_path / "copy")])
    assert first.sha256() == second.sha256()
    index = tmp_path / "copy" / "model_index.json"
    index.write_text(index.read_text().replace('"hop": 8', '"hop": 4'))
    assert first.sha256() != second.sha256()


def test_model_without_classes_has_no_labels():
    contestant = Contestant("x", "x", None, "glober", 8, ())
    assert contestant.options(3, 1) == {"seed": 3, "video": 1}
