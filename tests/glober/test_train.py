"""Whole runs: settings that contradict each other, which stages there are, and the pipeline at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toy_glober import CAPTIONS, RECIPE, changed, few_statistics, moving_square, random_frame_vae, short_recipe

import longtake
from longtake.core.errors import UserError
from longtake.glober.train import factories, train

pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keyframes": (0, 2, 5, 8)}, r"keyframes \[0, 2, 5, 8\] do not lie within the span of 8 frames"),
        ({"keyframes": (-1, 2, 5, 7)}, r"keyframes \[-1, 2, 5, 7\] do not lie within the span"),
        ({"keyframes": ()}, r"keyframes \[\] do not lie within the span"),
        ({"span": 7}, "do not lie within the span of 7 frames"),
        ({"autoencoder__num_targets": 0}, r"num_targets is 0; it must be 1 to 8 \(the span\)"),
        ({"autoencoder__num_targets": 9}, "num_targets is 9; it must be 1 to 8"),
        ({"autoencoder__num_targets": 1}, "CRA loss pairs frames, so num_targets must be at least 2"),
    ],
)
def test_settings_that_contradict_each_other(index, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        train(changed(RECIPE, **changes), "toy", index.root, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_settings_that_only_look_odd(index):
    for changes in (
        {"autoencoder__num_targets": 1, "autoencoder__cra_weight": 0.0},
        {"autoencoder__num_targets": 8},
        {"keyframes": (7,)},
    ):
        assert list(factories(changed(RECIPE, **changes), index)) == ["frame_vae", "autoencoder", "generator"]


def test_unknown_and_untrained_stages(index, tmp_path):
    with pytest.raises(UserError, match="unknown stage 'generatr'; did you mean 'generator'"):
        train(RECIPE, "toy", index.root, tmp_path / "run", only=["generatr"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="stage 'frame_vae' is not trained in this run yet"):
        train(RECIPE, "toy", index.root, tmp_path / "run", only=["autoencoder"])


@pytest.fixture(scope="module")
def trained(index, tmp_path_factory):
    """A run of three steps per stage."""
    run = tmp_path_factory.mktemp("trained") / "run"
    recipe = changed(short_recipe(), autoencoder__sample_every=3)
    with pytest.MonkeyPatch.context() as patch, few_statistics():
        patch.setenv("ACCELERATE_USE_CPU", "1")
        train(recipe, "toy", index.root, run, max_steps=3)
    return run


def test_a_run_ends_with_a_pipeline_that_samples(trained):
    pipe = longtake.load(trained)
    config = pipe.config
    assert config.classes == ["down", "right"]
    assert (config.span, config.keyframes, config.fps) == (8, [0, 2, 5, 7], 17.5)
    assert (config.num_inference_steps, config.guidance_scale, config.decoder_guidance_scale) == (2, 1.5, 1.0)
    assert pipe.decoder_scheduler.config.prediction_type == "epsilon"
    assert pipe.generator_scheduler.config.prediction_type == "v_prediction"
    frames = pipe(label="right", seed=3).frames
    assert frames.shape == (8, 16, 16, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, pipe(label=1, seed=3).frames)
    assert not torch.equal(pipe.sample_feature(0), pipe.sample_feature(1))
    with pytest.raises(UserError, match="unknown label 'rihgt'; did you mean 'right'"):
        pipe(label="rihgt")
    part = np.concatenate(list(pipe.stream(40, stretch=True, start=10, stop=14, label="down", chunk=3)))
    assert part.shape == (4, 16, 16, 3)
    assert pipe.reconstruct(moving_square("down", 0, 8)).shape == (8, 16, 16, 3)


def test_a_run_folder_holds_what_it_should(trained):
    config = json.loads((trained / "config.json").read_text())
    assert (config["recipe"], config["family"], config["settings"]["span"]) == ("toy", "glober", 8)
    for stage, parts in {
        "frame_vae": {"frame_vae"},
        "autoencoder": {"video_encoder", "frame_decoder"},
        "generator": {"feature_generator", "condition_encoder"},
    }.items():
        assert {path.name for path in (trained / "components" / stage).iterdir()} == parts
        assert (trained / "checkpoints" / stage / "step-00000003").is_dir()
    samples = {path.name for path in (trained / "samples" / "autoencoder").iterdir()}
    assert samples == {"step-00000003-reconstruction.mp4", "step-00000003-reconstruction.png"}
    # the pipeline's parts are the stages'
    for stage, part in (("autoencoder", "video_encoder"), ("generator", "condition_encoder")):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (trained / "model" / name).read_bytes() == (trained / "components" / stage / name).read_bytes()
    latents = json.loads((trained / "model" / "frame_vae" / "config.json").read_text())
    assert len(latents["latents_mean"]) == len(latents["latents_std"]) == 4


def test_captions_that_the_decoder_reads_end_in_the_pipeline(index, tmp_path):
    recipe = changed(
        short_recipe(), condition="caption", autoencoder__decoder__reads_condition=True, autoencoder__cra_weight=0.0
    )
    with few_statistics():
        train(recipe, "toy", index.root, tmp_path / "run", max_steps=1)
    parts = tmp_path / "run" / "components"
    name = "condition_encoder/diffusion_pytorch_model.safetensors"
    assert (parts / "autoencoder" / name).read_bytes() == (parts / "generator" / name).read_bytes()
    assert (tmp_path / "run" / "model" / name).read_bytes() == (parts / "generator" / name).read_bytes()
    pipe = longtake.load(tmp_path / "run")
    assert pipe.config.classes is None
    first, second = (pipe(prompt=prompt).frames for prompt in CAPTIONS.values())
    assert first.shape == second.shape == (8, 16, 16, 3)


def test_a_pretrained_frame_vae_is_used_as_it_is(index, tmp_path):
    frame_vae = random_frame_vae()
    frame_vae.save_pretrained(tmp_path / "vae")
    recipe = changed(
        short_recipe(),
        condition="none",
        frame_vae__pretrained=str(tmp_path / "vae"),
        autoencoder__discriminator__space="pixel",
    )
    assert list(factories(recipe, index)) == ["autoencoder", "generator"]
    with few_statistics():
        train(recipe, "toy", index.root, tmp_path / "run", max_steps=1)
    assert {path.name for path in (tmp_path / "run" / "components").iterdir()} == {"autoencoder", "generator"}
    pipe = longtake.load(tmp_path / "run")
    for name, value in frame_vae.state_dict().items():
        assert torch.equal(pipe.frame_vae.state_dict()[name], value), name
    assert pipe.frame_vae.config.latents_std == [0.5] * 4
    assert pipe(2).frames.shape == (2, 16, 16, 3)


def test_a_pretrained_frame_vae_that_is_not_there(index, tmp_path):
    recipe = changed(RECIPE, frame_vae__pretrained=str(tmp_path / "gone"))
    with pytest.raises(UserError, match=f"no frame VAE in {tmp_path / 'gone'}: give a diffusers folder"):
        train(recipe, "toy", index.root, tmp_path / "run")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=f"cannot load the frame VAE in {tmp_path / 'gone'}: ") as caught:
        train(recipe, "toy", index.root, tmp_path / "run2")
    assert "\n" not in str(caught.value)
