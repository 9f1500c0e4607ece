"""The released transformers' form, through `convert`, against logits of the official modules; published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toy_transformers
from safetensors.torch import load_file
from toy_official import save_official

from longtake.cli.main import main
from longtake.core.errors import UserError
from longtake.nn.gpt import GPTCore
from longtake.tats.assemble import condition_of
from longtake.tats.convert import convert_vqgan, read_vqgan
from longtake.tats.convert_transformer import convert_transformer, read_transformer
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.transformer import TatsTransformer


def test_parity_of_teacher_forced_logits(official):
    vqgan = read_vqgan(official / "vqgan.ckpt")
    model = read_transformer(official / "transformer.ckpt", vqgan)
    assert condition_of(model) == "label"
    stored = load_file(official / "io.safetensors")
    with torch.no_grad():
        logits = model(stored["label"][:, None], stored["indices"])
    assert logits.shape == stored["logits"].shape
    assert (logits - stored["logits"]).abs().max() <= 1e-4 * stored["logits"].abs().max()


def test_parity_checkpoints_convert_to_a_pipeline(official, tmp_path):
    with pytest.raises(UserError, match=r"no VQGAN in .*: convert that first"):
        convert_transformer(official / "transformer.ckpt", tmp_path)
    convert_vqgan(official / "vqgan.ckpt", tmp_path)
    convert_transformer(official / "transformer.ckpt", tmp_path)
    pipeline = TatsPipeline.from_pretrained(tmp_path)
    num_classes = pipeline.transformer.config.condition_vocabulary
    assert pipeline.config.classes == [str(label) for label in range(num_classes)]
    size = pipeline.image_size
    assert pipeline(18, label=num_classes - 1, top_k=5).frames.shape == (18, size, size, 3)
    with pytest.raises(UserError, match="exists already"):
        convert_transformer(official / "transformer.ckpt", tmp_path)


def test_hierarchical_pair_in_official_form_becomes_a_pipeline(tmp_path):
    toy_transformers.vqgan().save_pretrained(tmp_path / "vqgan")
    pair = {"sparse": toy_transformers.transformer(latent_step=4), "interpolation": toy_transformers.interpolation()}
    for role, model in pair.items():
        assert not (tmp_path / "model_index.json").exists()
        save_official(tmp_path / f"{role}.ckpt", model)
        convert_transformer(tmp_path / f"{role}.ckpt", tmp_path)
    converted = TatsPipeline.from_pretrained(tmp_path)
    expected = toy_transformers.pipeline(transformer=None, classes=["0", "1", "2"], top_k=2048, top_p=0.92, span=64)
    for compat in (False, True):
        frames = converted(70, label=1, compat=compat).frames
        assert (frames == expected(70, label=1, compat=compat).frames).all()
        out = tmp_path / f"{compat}.npy"
        arguments = ["sample", str(tmp_path), "--out", str(out), "--frames", "70", "--label", "1", "--device", "cpu"]
        assert main([*arguments, *["--compat"] * compat]) == 0
        assert (np.load(out) == frames).all()


@pytest.mark.parametrize("num_latents", [2, 3])
def test_context_fits_into_a_short_window(tmp_path, num_latents):
    toy_transformers.vqgan().save_pretrained(tmp_path / "vqgan")
    save_official(tmp_path / "x.ckpt", toy_transformers.transformer(num_latents=num_latents))
    convert_transformer(tmp_path / "x.ckpt", tmp_path)
    converted = TatsPipeline.from_pretrained(tmp_path)
    frames = converted(20, label=1).frames
    assert (frames == converted(20, label=1, context=num_latents - 1).frames).all()


def test_latent_frames_need_not_be_square(tmp_path):
    toy_transformers.vqgan(downsample=(4, 4, 2)).save_pretrained(tmp_path / "vqgan")
    model = toy_transformers.transformer(latent_size=(2, 4))
    save_official(tmp_path / "x.ckpt", model)
    convert_transformer(tmp_path / "x.ckpt", tmp_path)
    assert TatsPipeline.from_pretrained(tmp_path)(16).frames.shape == (16, 8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 3}, "has 2 blocks, but its settings say 3"),
        ({"n_head": 3}, "is not a TATS transformer: its settings or tensors are of another form"),
        ({"n_head": 0}, "is not a TATS transformer: its settings or tensors are of another form"),
        ({"sequence_length": None}, "is not a TATS transformer: its settings or tensors are of another form"),
        ({"sequence_length": 0}, "does not go with this VQGAN"),
        ({"resolution": 0}, "does not go with this VQGAN"),
        ({"sample_every_n_latent_frames": 100}, "does not go with this VQGAN"),
    ],
)
def test_settings_that_no_transformer_has_are_one_line(tmp_path, changes, message):
    save_official(tmp_path / "x.ckpt", toy_transformers.transformer(), **changes)
    with pytest.raises(UserError, match=message):
        read_transformer(tmp_path / "x.ckpt", toy_transformers.vqgan())


@pytest.mark.parametrize("changes", [{"resolution": 12}, {"sequence_length": 20}])
def test_transformer_of_another_vqgan_is_refused(tmp_path, changes):
    save_official(tmp_path / "x.ckpt", toy_transformers.transformer(), **changes)
    with pytest.raises(UserError, match="does not go with this VQGAN"):
        read_transformer(tmp_path / "x.ckpt", toy_transformers.vqgan())


def test_vqgan_is_no_transformer(tmp_path):
    torch.save({"state_dict": {"codebook.N": torch.ones(1)}, "hyper_parameters": {}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="not a TATS transformer"):
        read_transformer(tmp_path / "x.ckpt", toy_transformers.vqgan())


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 336_914_432),  # unconditional, and the sparse model
        ({"condition_vocabulary": 101}, 337_121_280),
        ({"num_latents": 5, "interpolates": True}, 337_176_576),
        # text: 256 + 1024 positions, one of which is never read
        ({"condition_vocabulary": 49408, "condition_length": 256, "num_positions": 1280}, 438_364_160),
    ],
)
def test_published_parameter_counts(changes, count):
    with torch.device("meta"):
        model = TatsTransformer(num_codes=16384, latent_size=(16, 16), **changes)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_published_parameter_count_of_a_core_on_vectors():
    with torch.device("meta"):
        core = GPTCore(width=1536, depth=48, num_heads=24, block_size=128)
    assert sum(value.numel() for name, value in core.named_parameters() if name != "positions") == 1_359_916_032
