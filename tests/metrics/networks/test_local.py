"""The small evaluator: what it computes, how it is found and read, and the one that ships."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.core.errors import UserError
from longtake.metrics import frechet_distance
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.local import LocalEvaluator
from longtake.models import WEIGHTS
from longtake.video import read_video

DATA = Path(os.environ.get("LONGTAKE_DATA", Path(__file__).parents[3] / "../shared/data")) / "weizmann-actions"
SHIPPED = WEIGHTS / "evaluator-weizmann"


def small_evaluator() -> LocalEvaluator:
    torch.manual_seed(0)
    return LocalEvaluator(("a", "b", "c"), size=16, num_frames=5, channels=(8, 8, 16))


@pytest.fixture
def folder(tmp_path):
    small_evaluator().save_pretrained(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, 7, 20, 30, 3), np.uint8)


def test_probabilities_are_the_classifier_on_the_features(folder, clips):
    network = load_features(f"local:{folder}")
    features = network.features(clips, "crop").astype(np.float64)
    classifier = small_evaluator().classifier
    logits = features @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()
    exponentials = np.exp(logits)
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.probabilities(clips, "crop"), expected, atol=1e-6)
    assert features.shape == (3, network.dim) == (3, 16)
    assert network.classes == 3
    assert network.class_names == ("a", "b", "c")


def test_clips_do_not_influence_each_other(folder, clips):
    network = load_features(f"local:{folder}")
    together = network.features(clips, "squash")
    for number in range(3):
        alone = network.features(clips[number : number + 1], "squash")
        np.testing.assert_allclose(together[number : number + 1], alone, atol=1e-5)


def test_features_tell_still_from_moving_and_forwards_from_mixed_up(folder, clips):
    network = load_features(f"local:{folder}")
    features = network.features(clips, "squash")
    still = np.repeat(clips[:, :1], clips.shape[1], axis=1)
    assert np.abs(network.features(still, "squash") - features).max() > 1e-3
    assert np.abs(network.features(clips[:, [0, 3, 1, 5, 2, 6, 4]], "squash") - features).max() > 1e-3


def test_run_folder_model_folder_and_sha256(folder):
    run = folder.parent / "run"
    run.mkdir()
    folder.rename(run / "model")
    by_run, by_model = load_features(f"local:{run}"), load_features(f"local:{run / 'model'}")
    assert by_run.name == by_model.name == "local:run"
    files = [run / "model" / name for name in ("diffusion_pytorch_model.safetensors", "config.json")]
    expected = "+".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert by_run.sha256 == by_model.sha256 == expected
    assert by_run.kind == "local"


def test_half_precision_changes_little(folder, clips):
    exact = load_features(f"local:{folder}").features(clips, "squash")
    small_evaluator().half().save_pretrained(folder)
    assert load_features(f"local:{folder}").network.dtype == torch.float32
    np.testing.assert_allclose(load_features(f"local:{folder}").features(clips, "squash"), exact, atol=5e-3)


def test_short_clips_are_refused(folder, clips):
    with pytest.raises(UserError, match="local:small takes clips of at least 5 frames, not 4"):
        load_features(f"local:{folder}").features(clips[:, :4], "crop")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("a",)}, r"needs at least 2 classes, not \['a'\]"),
        ({"classes": "ab", "channels": (8,)}, r"channels are \[8\]; they must be at least 2 positive numbers"),
        ({"classes": "ab", "channels": (0, 8)}, r"channels are \[0, 8\]"),
    ],
)
def test_settings_that_cannot_be_built(settings, message):
    with pytest.raises(UserError, match=message):
        LocalEvaluator(**settings)


def test_no_such_evaluator(tmp_path):
    with pytest.raises(UserError, match=r"no evaluator '.*nowhere' .shipped: .*evaluator-weizmann"):
        load_features(f"local:{tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match=r"is no evaluator: there is no diffusion_pytorch_model.safetensors"):
        load_features(f"local:{tmp_path}")
    with pytest.raises(UserError, match=r"names its own weights: leave out w.pt"):
        load_features(f"local:{tmp_path}", weights=Path("w.pt"))


def truncate(folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def drop_a_weight(folder):
    network = small_evaluator()
    del network.classifier.bias
    network.classifier.bias = None
    network.save_pretrained(folder)


def widen(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"channels": [8, 8, 24]}))


def break_config(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("damage", [truncate, drop_a_weight, widen, break_config])
def test_damaged_folder_is_one_line(folder, damage):
    damage(folder)
    with pytest.raises(UserError, match="damaged") as caught:
        load_features(f"local:{folder}")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_shipped_evaluator_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1.4e6
    network = load_features("local:evaluator-weizmann")
    assert network.name == "local:evaluator-weizmann"
    assert network.class_names == ("bend", "jack", "wave1", "wave2")


@pytest.fixture(scope="module")
def shipped():
    if not DATA.is_dir():
        pytest.skip(f"no videos in {DATA}")
    return load_features("local:evaluator-weizmann")


def test_shipped_accuracy_is_what_is_stated(shipped):
    stated = json.loads((SHIPPED / "evaluation.json").read_text())
    right = 0
    for clip in stated["clips"]:
        frames = read_video(DATA / clip["video"], range(clip["start"], clip["start"] + shipped.min_frames))
        predicted = shipped.class_names[shipped.probabilities(frames[None], "crop").argmax()]
        assert predicted == clip["predicted"]
        assert clip["label"] == Path(clip["video"]).parent.name
        assert Path(clip["video"]).name.startswith("subject8")
        right += predicted == clip["label"]
    assert right == stated["num_correct"]
    assert stated["accuracy"] == right / len(stated["clips"])
    assert f"{right} of {len(stated['clips'])} clips" in (SHIPPED / "README.md").read_text()


@pytest.mark.filterwarnings("ignore::longtake.metrics.BiasWarning")  # so few clips tell such distances apart
def test_shipped_features_put_damage_in_order(shipped):
    """Real against real, against blurred, against noise: the distance grows."""
    videos = [read_video(path, range(32, 48)) for path in sorted(DATA.glob("*/*.mp4"))]
    first, second = np.stack(videos[::2]), np.stack(videos[1::2])
    rng = np.random.default_rng(0)
    noisy = np.clip(second + rng.normal(0, 12, second.shape), 0, 255).astype(np.uint8)
    noise = rng.integers(0, 256, second.shape, np.uint8)
    reference = shipped.features(first, "crop")
    distances = [frechet_distance(reference, shipped.features(clips, "crop")) for clips in (second, noisy, noise)]
    assert distances[0] < distances[1] < distances[2]
