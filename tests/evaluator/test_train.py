"""Whole runs: what is learnt, what is written, resuming, and what cannot be trained on."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from toy_evaluator import HELD_OUT, RECIPE, SIZE, SPAN, changed, write_videos

from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.evaluator.recipes import RECIPES
from longtake.evaluator.stages import ClassifierStage, training_clips
from longtake.evaluator.train import factories, train
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.local import LocalEvaluator


@pytest.fixture(scope="module")
def trained(videos, tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        train(RECIPE, "toy", videos, run)
    return run


def records(run, stage):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines if line["stage"] == stage]


def test_a_run_learns_to_tell_unseen_videos_apart(trained):
    evaluation = json.loads((trained / "model" / "evaluation.json").read_text())
    assert evaluation["accuracy"] == 1
    assert (evaluation["num_clips"], evaluation["num_videos"], evaluation["held_out"]) == (4, 2, HELD_OUT)
    assert records(trained, "evaluation") == [{"stage": "evaluation", "step": 60, "held_out/accuracy": 1.0}]
    assert json.loads((trained / "config.json").read_text())["family"] == "evaluator"


@pytest.mark.parametrize("part", ["", "model"])
def test_features_load_from_run_and_model_folder(trained, videos, part):
    network = load_features(f"local:{trained / part}")
    assert (network.name, network.classes, network.min_frames, network.dim) == ("local:toy", 2, SPAN, 8)
    clip = np.load(videos / "right" / "person2.npy")[None, :SPAN]
    assert network.class_names[network.probabilities(clip, "crop").argmax()] == "right"


def test_the_model_is_the_classifier_in_half_precision(trained):
    exact = LocalEvaluator.from_pretrained(trained / "components" / "classifier").state_dict()
    stored = load_features(f"local:{trained}").network.state_dict()
    assert exact.keys() == stored.keys()
    assert all(torch.equal(value.half().float(), stored[name]) for name, value in exact.items())
    assert str(trained) not in (trained / "model" / "config.json").read_text()


def test_resume_equals_straight_run(videos, tmp_path):
    recipe = changed(steps=6, checkpoint_every=2, log_every=1, ema_decay=0.9, batch_size=2)
    train(recipe, "toy", videos, tmp_path / "straight")
    train(recipe, "toy", videos, tmp_path / "halted", max_steps=3)
    train(recipe, "toy", videos, tmp_path / "halted", resume=True)
    for name in ("model/diffusion_pytorch_model.safetensors", "model/evaluation.json"):
        assert (tmp_path / "halted" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert records(tmp_path / "halted", "classifier") == records(tmp_path / "straight", "classifier")
    assert [line["step"] for line in records(tmp_path / "halted", "classifier")] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in records(tmp_path / "halted", "evaluation")] == [3, 6]


def test_resume_of_a_finished_run_measures_once(trained, videos):
    before = (trained / "metrics.jsonl").read_text().count("held_out/accuracy")
    train(RECIPE, "toy", videos, trained, resume=True)
    assert (trained / "metrics.jsonl").read_text().count("held_out/accuracy") == before == 1


def test_held_out_videos_are_never_trained_on(videos):
    stage = factories(RECIPE, index_folder(videos))["classifier"](videos)
    batches = stage.batches(0, 0, 1)
    seen = {path for _ in range(20) for path in next(batches).path}
    assert {path.rpartition("/")[2] for path in seen} == {"person0.npy", "person1.npy"}


def test_without_held_out_videos_all_are_trained_on_and_nothing_is_measured(videos, tmp_path):
    recipe = dataclasses.replace(RECIPE, held_out="")
    train(recipe, "toy", videos, tmp_path / "run", max_steps=1)
    assert not (tmp_path / "run" / "model" / "evaluation.json").exists()
    assert records(tmp_path / "run", "evaluation") == []
    assert load_features(f"local:{tmp_path / 'run'}").classes == 2


def test_loss_is_the_smoothed_cross_entropy(videos):
    torch.manual_seed(0)
    recipe = changed(dropout=0.0, label_smoothing=0.2)
    stage = ClassifierStage(recipe, training_clips(recipe, index_folder(videos)))
    batch = next(stage.batches(0, 0, 1))
    loss, logged = stage.loss("network", batch, 0, torch.Generator())
    logits = stage.network(batch.video).double()
    logs = logits - logits.exp().sum(dim=1, keepdim=True).log()
    target = torch.full_like(logits, 0.1)
    target[range(4), batch.label] += 0.8
    assert loss.item() == pytest.approx(-(target * logs).sum(dim=1).mean().item(), rel=1e-5)
    expected = np.mean([logits[row].argmax().item() == batch.label[row].item() for row in range(4)])
    assert logged["train/accuracy"].item() == pytest.approx(expected)


def test_unlabelled_folder(tmp_path):
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "a.npy", np.zeros((SPAN, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"a.npy has no class: put the videos of each class into a folder") as caught:
        train(RECIPE, "toy", tmp_path / "data", tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_class_without_usable_video(tmp_path):
    root = write_videos(tmp_path / "actions")
    (root / "up").mkdir()
    np.save(root / "up" / "short.npy", np.zeros((SPAN - 1, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"class 'up' of .* has no usable video to train on"):
        train(RECIPE, "toy", root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_stage(videos, tmp_path):
    with pytest.raises(UserError, match="unknown stage 'clasifier'; did you mean 'classifier'"):
        train(RECIPE, "toy", videos, tmp_path / "run", only=["clasifier"])


@pytest.mark.parametrize(
    ("setting", "message"), [({"dropout": 1.0}, "dropout is 1.0"), ({"label_smoothing": -0.1}, "label_smoothing is")]
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(UserError, match=message):
        changed(**setting)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_build_a_network_of_the_promised_size(name):
    recipe = RECIPES[name]()
    network = LocalEvaluator(
        ("a", "b", "c", "d"), recipe.size, recipe.span, recipe.classifier.channels, recipe.classifier.dropout
    )
    assert 2 * sum(value.numel() for value in network.parameters()) < 1.4e6  # bytes in half precision
    assert 64 <= network.classifier.in_features <= 128
