"""Whole runs: what they leave behind, videos they cannot use, and stages they do not have."""

from __future__ import annotations

import json

import pytest
import torch
from toy_recall import RECIPE, RECIPES, changed, moving_square

from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.recall.discriminators import RecallVideoDiscriminator
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.stages import GANStage
from longtake.recall.train import factories, train
from longtake.video import write_video


def test_a_run_leaves_networks_previews_and_settings(index, tmp_path):
    train(changed(gan__sample_every=2), "toy", index.root, tmp_path / "run", max_steps=2, only=["gan"])
    parts = tmp_path / "run" / "components" / "gan"
    assert {path.name for path in parts.iterdir()} == {"encoder", "generator", "video_discriminator"}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["recipe"], config["family"], config["settings"]["hop"]) == ("toy", "recall", 8)
    assert (tmp_path / "run" / "samples" / "gan" / "step-00000002-reconstruction.mp4").is_file()
    latents = RecallEncoder.from_pretrained(parts / "encoder").eval()(torch.zeros(1, 3, 16, 16, 16))
    clips = RecallGenerator.from_pretrained(parts / "generator").eval()(*latents.mean())
    assert RecallVideoDiscriminator.from_pretrained(parts / "video_discriminator")(clips).shape == (1,)


def test_unknown_stages_and_settings(index, tmp_path):
    with pytest.raises(UserError, match="unknown stage 'gann'; did you mean 'gan'"):
        train(RECIPE, "toy", index.root, tmp_path / "run", only=["gann"])
    with pytest.raises(UserError, match="hop is 0"):
        train(changed(hop=0), "toy", index.root, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "gan" in factories(RECIPE, index)


@pytest.fixture
def uneven(tmp_path):
    """Videos of 10, 20 and 30 frames."""
    for length in (10, 20, 30):
        write_video(tmp_path / f"videos/{length}.npy", moving_square(0, length), 10)
    return index_folder(tmp_path / "videos")


@pytest.mark.parametrize(
    ("model", "lengths"), [("encgan3", [20, 30]), ("r2", [30]), ("ar2", [30]), ("lencgan", [20, 30])]
)
def test_videos_too_short_for_a_window_are_left_out(uneven, model, lengths):
    stage = GANStage(RECIPES[model], uneven)
    entries = (stage.sequences or stage.dataset).entries
    assert [entry.info.num_frames for entry in entries] == lengths


def test_only_short_videos_are_one_clear_error(tmp_path):
    write_video(tmp_path / "videos/short.npy", moving_square(0, 20), 10)
    with pytest.raises(UserError, match=r"no usable video in .*too short: 20 frames, a clip needs 24") as caught:
        train(RECIPE, "toy", tmp_path / "videos", tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_short_videos_can_be_reflected(uneven):
    stage = GANStage(changed(short_videos="reflect"), uneven)
    assert [entry.info.num_frames for entry in stage.dataset.entries] == [10, 20, 30]
    assert next(stage.batches(0, 0, 1)).video.shape[2] == 24


def test_one_clip_per_batch_trains(index, tmp_path):
    train(changed(RECIPES["encgan3"], gan__batch_size=1), "toy", index.root, tmp_path / "run", max_steps=2)
    train(changed(RECIPES["lencgan"], gan__batch_size=1), "toy", index.root, tmp_path / "lstm", max_steps=2)
