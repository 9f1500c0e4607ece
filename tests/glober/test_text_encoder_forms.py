"""CLIP's folders as strangers keep them: every form gives the same states, every other folder a line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_pretrained import TEXT_DIM, write_clip
from transformers import BertConfig, CLIPConfig, CLIPModel, CLIPTextModel

from longtake.core.errors import UserError
from longtake.glober.text_encoder import check_clip, read_clip

TEXTS = ["a dog", ""]
WEIGHTS = "model.safetensors"
VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def states(original):
    return read_clip(str(original)).encode(TEXTS)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "clip")


def keep(folder, *names):
    for name in VOCABULARY:
        if name not in names:
            (folder / name).unlink()


def tensors_of(folder):
    """The weights, in memory of their own: the file is going to be overwritten."""
    return {name: value.clone() for name, value in load_file(folder / WEIGHTS).items()}


def assert_same(folder, states):
    check_clip(str(folder), TEXT_DIM)
    assert torch.equal(read_clip(str(folder)).encode(TEXTS), states)


@pytest.mark.parametrize(
    "names",
    [
        ("tokenizer.json", "tokenizer_config.json"),
        ("tokenizer.json",),
        ("vocab.json", "merges.txt", "tokenizer_config.json"),
        ("vocab.json", "merges.txt"),
    ],
)
@pytest.mark.parametrize("layout", ["alone", "pipeline"])
def test_every_form_of_the_vocabulary(folder, states, tmp_path, names, layout):
    keep(folder, *names)
    if layout == "pipeline":
        (tmp_path / "pipeline" / "tokenizer").mkdir(parents=True)
        for name in names:
            (folder / name).rename(tmp_path / "pipeline" / "tokenizer" / name)
        folder = folder.rename(tmp_path / "pipeline" / "text_encoder").parent
    assert_same(folder, states)


def test_every_form_of_the_weights(folder, states, capfd):
    tensors = tensors_of(folder)
    (folder / WEIGHTS).rename(folder / "model.fp16.safetensors")
    assert_same(folder, states)
    (folder / "model.fp16.safetensors").unlink()
    torch.save({f"text_model.{name}": value for name, value in tensors.items()}, folder / "pytorch_model.bin")
    assert_same(folder, states)
    (folder / "pytorch_model.bin").unlink()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    text = CLIPTextModel.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    text.save_pretrained(folder, max_shard_size="5KB")
    assert len(list(folder.glob("model-*"))) > 1
    capfd.readouterr()
    assert_same(folder, states)
    assert capfd.readouterr() == ("", "")


def test_the_whole_of_clip(folder, states, capfd):
    text = CLIPTextModel.from_pretrained(folder)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=vision, projection_dim=8))
    whole.text_model.load_state_dict(text.state_dict())
    whole.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip"
    capfd.readouterr()
    assert_same(folder, states)
    assert capfd.readouterr() == ("", "")  # the half that sees is not used, and that takes no page to say


def test_weights_that_are_damaged_or_of_another_model(folder):
    tensors = tensors_of(folder)

    def line() -> str:
        with pytest.raises(UserError) as caught:
            read_clip(str(folder))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = (folder / WEIGHTS).read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        (folder / WEIGHTS).write_bytes(content)
        assert f"cannot load the text encoder in {folder}" in line()
    (name,) = [name for name in tensors if "token_embedding" in name]
    save_file({**tensors, name: torch.zeros(50, TEXT_DIM)}, folder / WEIGHTS, metadata={"format": "pt"})
    assert (
        f"{name.removeprefix('text_model.')} of (50, {TEXT_DIM}), but its config.json says (190, {TEXT_DIM})" in line()
    )
    (folder / WEIGHTS).unlink()
    assert "no weights beside its config.json" in line()
    BertConfig(hidden_size=TEXT_DIM).save_pretrained(folder)
    assert "is a 'bert', not a CLIP" in line()
    for content in ("{", "[]"):
        (folder / "config.json").write_text(content)
        assert "config.json" in line()


def test_vocabularies_that_are_none(folder):
    def line() -> str:
        with pytest.raises(UserError) as caught:
            check_clip(str(folder), TEXT_DIM)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "A": 900}))
    assert "numbers a token 900, but the text encoder has 190" in line()
    (folder / "vocab.json").write_text(json.dumps({name: n for name, n in vocabulary.items() if name != "A"}))
    assert "has 189 tokens, but the text encoder 190" in line()
    (folder / "merges.txt").unlink()
    assert "no tokenizer in" in line()
    (folder / "vocab.json").unlink()
    assert line() == f"no tokenizer in {folder}: it is tokenizer.json, or vocab.json with merges.txt"
