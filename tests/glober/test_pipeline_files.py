"""A saved pipeline is the same pipeline."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from longtake.glober.pipeline import GloberPipeline


@pytest.mark.parametrize("captions", [False, True])
def test_save_and_load_give_the_same_video_and_settings(build_glober, tmp_path, captions, caplog):
    pipe = build_glober(captions=captions, text_decoder=True, fps=12, shared_noise=0.25, description="tiny")
    pipe.use_scheduler("dpm")
    pipe.save_pretrained(tmp_path)
    loaded = GloberPipeline.from_pretrained(str(tmp_path))

    assert np.array_equal(loaded(5, seed=3).frames, pipe(5, seed=3).frames)
    for name in ("span", "keyframes", "fps", "classes", "num_inference_steps", "shared_noise", "description"):
        assert loaded.config[name] == pipe.config[name], name
    assert type(loaded.decoder_scheduler) is type(pipe.decoder_scheduler)
    assert not any(module.training for module in loaded.components.values() if isinstance(module, torch.nn.Module))
    assert not caplog.records, "diffusers has something to complain about"

    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["frame_decoder"] == ["longtake.glober.frame_decoder", "GloberFrameDecoder"]


def test_saving_a_loaded_pipeline_leaves_no_path_behind(build_glober, tmp_path):
    build_glober().save_pretrained(tmp_path / "first")
    GloberPipeline.from_pretrained(str(tmp_path / "first")).save_pretrained(tmp_path / "second")
    for file in (tmp_path / "second").rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file
    assert GloberPipeline.from_pretrained(str(tmp_path / "second"))(1, label=0).frames.shape == (1, 16, 16, 3)


def test_half_precision_files_load_as_float32_and_look_the_same(build_glober, tmp_path):
    pipe = build_glober()
    expected = pipe(label=2).frames
    pipe.to(torch.float16, silence_dtype_warnings=True).save_pretrained(tmp_path)
    with safe_open(tmp_path / "frame_decoder" / "diffusion_pytorch_model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118

    loaded = GloberPipeline.from_pretrained(str(tmp_path))
    assert loaded.dtype == torch.float32
    dtypes = {
        tensor.dtype
        for component in loaded.components.values()
        if isinstance(component, torch.nn.Module)
        for tensor in component.state_dict().values()
    }
    assert dtypes == {torch.float32}
    assert np.abs(loaded(label=2).frames.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_networks_compute_in_the_dtype_asked_for(build_glober, tmp_path, dtype):
    pipe = build_glober(text_decoder=True)
    pipe.save_pretrained(tmp_path)
    loaded = GloberPipeline.from_pretrained(str(tmp_path), dtype=dtype)
    assert loaded.dtype == dtype
    frames = loaded(4, label=1, guidance_scale=2, decoder_guidance_scale=2).frames
    expected = pipe(4, label=1, guidance_scale=2, decoder_guidance_scale=2).frames
    assert np.abs(frames.astype(int) - expected).mean() < (5 if dtype == torch.bfloat16 else 0.1)
    assert loaded.reconstruct(np.zeros((8, 16, 16, 3), np.uint8)).shape == (8, 16, 16, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1), (torch.float16, 8)])
def test_a_gpu_draws_the_same_video(build_glober, dtype, tolerance):
    expected = build_glober()(label=1).frames
    pipe = build_glober().to("cuda", dtype)
    frames = pipe(label=1, chunk=3).frames
    assert np.abs(frames.astype(int) - expected).max() <= tolerance


def test_the_hub_hands_over_a_folder(build_glober, tmp_path, monkeypatch):
    pipe = build_glober()
    pipe.save_pretrained(tmp_path)
    asked = []

    def snapshot(repository, **options):
        asked.append((repository, options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr("longtake.nn.pipeline.snapshot_download", snapshot)
    loaded = GloberPipeline.from_pretrained("owner/glober", revision="v1")
    assert asked == [("owner/glober", "v1")]
    assert np.array_equal(loaded(2, label=0).frames, pipe(2, label=0).frames)
