"""Finding and loading models, and one line for every way in which that can fail."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import longtake
from longtake import models
from longtake.core.errors import UserError


@pytest.fixture(scope="module")
def saved(build_glober, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    build_glober(description="a tiny model").save_pretrained(folder)
    return folder


@pytest.fixture
def model(saved, tmp_path):
    """A copy of the model to damage."""
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def shelf(saved, monkeypatch):
    """The package ships the tiny model alone."""
    monkeypatch.setattr(models, "WEIGHTS", saved.parent)


@pytest.fixture
def no_hub(monkeypatch):
    """The hub is a port where nobody listens."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda name, file: f"http://127.0.0.1:9/{name}/{file}")


def test_a_shipped_name_a_folder_and_a_run_folder_load_the_same_model(saved, shelf, tmp_path, glober):
    run = tmp_path / "run"
    shutil.copytree(saved, run / "model")
    expected = glober(3, label=2).frames
    for name in ("tiny", str(saved), saved, str(run)):
        pipe = longtake.load(name, device="cpu")
        assert type(pipe).__name__ == "GloberPipeline"
        assert pipe.dtype == torch.float32
        assert np.array_equal(pipe(3, label=2).frames, expected)


def test_loaded_weights_lie_as_those_that_were_saved_did(saved):
    """Memory of a mapped file begins at any address, and kernels round differently there."""
    pipe = longtake.load(saved, device="cpu")
    weights = [tensor for part in (pipe.frame_decoder, pipe.frame_vae) for tensor in part.parameters()]
    assert {tensor.data_ptr() % 64 for tensor in weights} == {0}


def test_the_list_of_shipped_models(saved, shelf):
    (model,) = models.available_models()
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    assert model == models.ShippedModel("tiny", "glober", "a tiny model", size, saved)


def test_listing_models_imports_no_torch():
    code = "import sys; from longtake import models; models.available_models(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_an_unknown_name_names_the_nearest_shipped_one(shelf):
    with pytest.raises(UserError, match=r"no model 'tinny'; did you mean 'tiny'\? \(shipped: tiny; "):
        models.load("tinny")
    with pytest.raises(UserError, match="no model 'a/b/c'"):
        models.load("a/b/c")


def test_folders_that_are_not_models(tmp_path):
    with pytest.raises(UserError, match=r"is not a model: there is no model_index\.json"):
        models.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "components").mkdir()
    with pytest.raises(UserError, match="has no model/ yet"):
        models.load(tmp_path)


def break_index(folder):
    (folder / "model_index.json").write_text("{not json")


def break_index_type(folder):
    (folder / "model_index.json").write_text("[1, 2]")


def name_another_pipeline(folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))


def name_another_class(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["frame_decoder"] = ["longtake.glober.frame_decoder", "Nothing"]
    (folder / "model_index.json").write_text(json.dumps(index))


def remove_component(folder):
    shutil.rmtree(folder / "video_encoder")


def remove_config(folder):
    (folder / "video_encoder" / "config.json").unlink()


def break_config(folder):
    (folder / "frame_decoder" / "config.json").write_text("garbage")


def remove_weights(folder):
    (folder / "frame_decoder" / "diffusion_pytorch_model.safetensors").unlink()


def cut_weights(folder):
    file = folder / "frame_decoder" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def resize_network(folder):
    file = folder / "feature_generator" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hidden_size": 32}))


def deepen_network(folder):
    file = folder / "feature_generator" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"depth": 2}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_index, "cannot read model_index.json"),
        (break_index_type, "names the pipeline None"),
        (name_another_pipeline, "names the pipeline 'StableDiffusionPipeline' .known: GloberPipeline"),
        (name_another_class, "no class `Nothing`"),
        (remove_component, "has no video_encoder/"),
        (remove_config, "is damaged: .*config.json"),
        (break_config, "is damaged: .*config.json"),
        (remove_weights, "is damaged: .*diffusion_pytorch_model"),
        (cut_weights, "is damaged"),
        (resize_network, "is damaged"),
        (deepen_network, "is damaged: [0-9]+ weights are missing"),
    ],
)
def test_damaged_folders(model, damage, message):
    damage(model)
    with pytest.raises(UserError, match=message) as raised:
        models.load(model, device="cpu")
    assert "\n" not in str(raised.value)


def test_devices(saved):
    with pytest.raises(UserError, match="cannot use device 'gpu'"):
        models.load(saved, device="gpu")
    if not torch.cuda.is_available():
        assert models.load(saved).device.type == "cpu"
        with pytest.raises(UserError, match="cannot use device 'cuda'"):
            models.load(saved, device="cuda")


def test_a_hub_out_of_reach_is_told_at_once(no_hub):
    with pytest.raises(UserError, match="no folder 'owner/nothing', and none such from the model hub: out of reach"):
        models.load("owner/nothing")


def test_a_hub_id_loads_what_the_hub_hands_over(saved, monkeypatch, glober):
    def fetch_file(hub_id, file, **options):
        assert (hub_id, file) == ("owner/tiny", "model_index.json")
        return str(saved / file)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch_file)
    monkeypatch.setattr("longtake.nn.pipeline.snapshot_download", lambda hub_id, **options: str(saved))
    assert np.array_equal(models.load("owner/tiny", "cpu")(2, label=0).frames, glober(2, label=0).frames)


@pytest.mark.parametrize("name", [model.name for model in models.available_models()])
def test_loading_a_shipped_model_says_nothing(name, capfd):
    longtake.load(name, device="cpu")
    assert capfd.readouterr() == ("", "")
