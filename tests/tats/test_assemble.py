"""Released checkpoints, part after part, become pipelines; until then the command says what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_clip import write_clip_tokenizer
from toy_official import save_official, save_official_vqgan
from toy_sound import write_tone
from toy_transformers import transformer, vqgan

from longtake.cli.main import main
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import CLIP_SIZE

# 16 frames of 64x16 spectrograms, of which one in (4, 8, 8) is a code
NUM_SOUND_CODES, SOUND_LENGTH = 9, 64


@pytest.fixture
def longtake(capsys):
    """Function: arguments -> exit status and what was printed."""

    def run(*arguments) -> tuple[int, str]:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, (captured.out if status == 0 else captured.err).strip()

    return run


@pytest.fixture
def folder(longtake, tmp_path):
    """A folder with a VQGAN, converted from an official checkpoint."""
    save_official_vqgan(tmp_path / "vqgan.ckpt", vqgan())
    folder = tmp_path / "model"
    expected = (
        f"part of a model: {folder}; it still needs a transformer (longtake convert tats-transformer SRC {folder})"
    )
    assert longtake("convert", "tats-vqgan", tmp_path / "vqgan.ckpt", folder) == (0, expected)
    return folder


def stft_vqgan(**changes):
    return vqgan(in_channels=1, downsample=(4, 8, 8), num_codes=NUM_SOUND_CODES, **changes)


def text_model() -> TatsTransformer:
    """Narrow, as its table of ids is long."""
    return transformer(condition_vocabulary=CLIP_SIZE, condition_length=6, num_positions=22, hidden_size=4, depth=1)


def sound_model(**changes) -> TatsTransformer:
    return transformer(
        condition_vocabulary=NUM_SOUND_CODES,
        condition_length=SOUND_LENGTH,
        num_positions=SOUND_LENGTH + 16,
        **changes,
    )


def test_captions_need_the_tokenizer(longtake, folder, tmp_path):
    save_official(tmp_path / "text.ckpt", text_model(), cond_stage_key="text")
    status, said = longtake("convert", "tats-transformer", tmp_path / "text.ckpt", folder)
    needs = f"it still needs CLIP's tokenizer (longtake convert tats-tokenizer FOLDER {folder})"
    assert (status, said) == (0, f"part of a model: {folder}; {needs}")
    assert longtake("sample", folder, "--out", tmp_path / "x.npy")[0] == 2
    clip = write_clip_tokenizer(tmp_path / "clip")
    status, said = longtake("convert", "tats-tokenizer", clip, folder)
    assert (status, said.split(" (")[0]) == (0, f"model: {folder}")
    story = ("--story", "0:a cat", "--story", "8:cc")
    status, said = longtake("sample", folder, "--frames", 16, *story, "--top-k", 4, "--out", tmp_path / "x.npy")
    assert status == 0, said
    expected = TatsPipeline.from_pretrained(folder)(16, story=[(0, "a cat"), (8, "cc")], top_k=4).frames
    assert (np.load(tmp_path / "x.npy") == expected).all()


@pytest.mark.parametrize("first", ["tats-transformer", "tats-stft-vqgan"])
def test_sound_needs_the_vqgan_of_spectrograms(longtake, folder, tmp_path, first):
    sources = {"tats-transformer": tmp_path / "sound.ckpt", "tats-stft-vqgan": tmp_path / "stft.ckpt"}
    save_official(sources["tats-transformer"], sound_model(), cond_stage_key="stft")
    save_official_vqgan(sources["tats-stft-vqgan"], stft_vqgan())
    status, said = longtake("convert", first, sources.pop(first), folder)
    assert status == 0
    needed = (
        "the VQGAN of spectrograms (longtake convert tats-stft-vqgan SRC" if first == "tats-transformer" else "a tr"
    )
    assert f"it still needs {needed}" in said
    second, source = sources.popitem()
    status, said = longtake("convert", second, source, folder)
    assert (status, said.split(" (")[0]) == (0, f"model: {folder}")
    write_tone(tmp_path / "tone.wav", seconds=1.0, frequency=1000)
    out = tmp_path / "x.npy"
    status, said = longtake("sample", folder, "--frames", 20, "--audio", tmp_path / "tone.wav", "--out", out)
    assert status == 0, said
    assert "at 30 fps" in said
    pipe = TatsPipeline.from_pretrained(folder)
    assert (np.load(out) == pipe(20, audio=tmp_path / "tone.wav").frames).all()
    for name, value in stft_vqgan().state_dict().items():
        assert torch.equal(pipe.stft_vqgan.state_dict()[name], value), name


def test_parts_that_do_not_go_together_are_refused_and_leave_nothing(longtake, folder, tmp_path):
    save_official(tmp_path / "sound.ckpt", sound_model(), cond_stage_key="stft")
    save_official(tmp_path / "label.ckpt", transformer(latent_step=4))
    save_official_vqgan(tmp_path / "stft.ckpt", vqgan(in_channels=1, downsample=(4, 8, 8), num_codes=7))
    longtake("convert", "tats-transformer", tmp_path / "sound.ckpt", folder)
    before = sorted(folder.iterdir())
    for kind, source, message in (
        ("tats-stft-vqgan", "stft.ckpt", "it gives 64 codes of 7, the transformer takes 64 of 9"),
        ("tats-transformer", "label.ckpt", "has condition 'label'"),
        ("tats-stft-vqgan", "vqgan.ckpt", "is a VQGAN of videos: convert it as tats-vqgan"),
        ("tats-vqgan", "stft.ckpt", "is a VQGAN of spectrograms: convert it as tats-stft-vqgan"),
        ("tats-tokenizer", "nowhere", "no such folder"),
        ("tats-tokenizer", "empty", "it must have 49408"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        status, said = longtake("convert", kind, tmp_path / source, folder)
        assert status == 2
        assert message in said
        assert sorted(folder.iterdir()) == before
