"""The frozen text encoder: transformers' own states, padded, kept, and turned into tables of prompts."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from toy_glober import CAPTIONS, RECIPE, begun, changed, few_statistics, random_frame_vae, take_steps
from toy_pretrained import NUM_CLIP_TOKENS, TEXT_DIM, write_clip
from transformers import CLIPTextModel, CLIPTokenizer

import longtake
from longtake.core.errors import UserError
from longtake.glober import build, text_encoder
from longtake.glober.condition import GloberLabelEncoder
from longtake.glober.latents import LatentBatch
from longtake.glober.stages import AutoencoderStage, encode_condition
from longtake.glober.text_encoder import GloberClipEncoder, check_clip, prompt_table, read_clip
from longtake.glober.train import train

TEXTS = ["a dog", "", "a much longer text than that"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def clip(folder):
    return read_clip(str(folder))


@torch.no_grad()
def reference(folder, texts):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer(texts, padding="max_length", max_length=NUM_CLIP_TOKENS, truncation=True, return_tensors="pt")
    return CLIPTextModel.from_pretrained(folder)(tokens.input_ids).last_hidden_state


def test_states_are_those_of_transformers(folder, clip):
    states = clip.encode(TEXTS)
    assert states.shape == (3, NUM_CLIP_TOKENS, TEXT_DIM)
    torch.testing.assert_close(states, reference(folder, TEXTS))
    assert not torch.allclose(states[0], states[1])
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_a_text_is_encoded_once(clip, monkeypatch):
    clip.encode(TEXTS)
    expected = clip.encode(TEXTS[:1])
    monkeypatch.setattr(GloberClipEncoder, "forward", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(clip.encode(TEXTS[:1]), expected)


def test_known_texts_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(text_encoder, "MAX_KNOWN_TEXTS", 2)
    encoder = read_clip(str(folder))
    states = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert list(encoder._known) == TEXTS[1:]
    assert torch.equal(encoder.encode(TEXTS), states)


def test_layouts_of_transformers_and_diffusers(folder, clip, tmp_path):
    expected = clip.encode(TEXTS)
    pipeline = tmp_path / "pipeline"
    shutil.copytree(folder, pipeline / "text_encoder")
    (pipeline / "tokenizer").mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (pipeline / "text_encoder" / file).rename(pipeline / "tokenizer" / file)
    for place in (pipeline, pipeline / "text_encoder"):
        assert torch.equal(read_clip(str(place)).encode(TEXTS), expected)


def test_saved_and_loaded_again(clip, tmp_path):
    clip.save_pretrained(tmp_path / "saved")
    assert torch.equal(GloberClipEncoder.from_pretrained(tmp_path / "saved").encode(TEXTS), clip.encode(TEXTS))


def test_what_is_no_text_encoder(folder, tmp_path):
    with pytest.raises(
        UserError, match=r"no text encoder in .*: give a transformers folder of CLIP with --text-encoder"
    ):
        read_clip(str(tmp_path))
    with pytest.raises(UserError, match=f"has {TEXT_DIM} channels, but condition_dim is 768"):
        check_clip(str(folder), 768)
    mute = shutil.copytree(folder, tmp_path / "mute")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (mute / name).unlink()
    with pytest.raises(UserError, match="tokenizer") as caught:
        read_clip(str(mute))
    assert "\n" not in str(caught.value)
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 500}))
    with pytest.raises(UserError, match="has 190 tokens, but the text encoder 500"):
        check_clip(str(other), TEXT_DIM)


def test_table_of_prompts_holds_their_states(folder, clip, monkeypatch):
    monkeypatch.setattr(text_encoder, "PROMPTS_AT_ONCE", 2)
    table = prompt_table(clip, ["run", "jump", "wave"])
    assert isinstance(table, GloberLabelEncoder)
    torch.testing.assert_close(table.encode(torch.tensor([2, 0, -1])), reference(folder, ["wave", "run", ""]))
    assert not any(parameter.requires_grad for parameter in table.parameters())


def recipe(folder, **changes):
    return changed(
        RECIPE,
        text_encoder=str(folder),
        condition_dim=TEXT_DIM,
        autoencoder__decoder__reads_condition=True,
        autoencoder__cra_weight=0.0,
        **changes,
    )


def test_class_names_captions_and_one_prompt_reach_the_networks(folder, index):
    batch = LatentBatch(torch.zeros(2, 1, 1, 1, 1), [1, 1], torch.tensor([0, 1]), list(CAPTIONS.values()), [])
    kept = torch.tensor([True, False])
    for settings, texts in (
        ({"condition": "label"}, ["down", ""]),
        ({"condition": "caption"}, [CAPTIONS["down"], ""]),
        ({"condition": "none"}, ["", ""]),
    ):
        encoder = build.condition_encoder(recipe(folder, **settings), index)
        torch.testing.assert_close(encode_condition(encoder, batch, kept), reference(folder, texts))
    settings = recipe(folder, condition="prompt", prompt="a square")
    seen = build.conditioned(settings, index)
    assert {entry.label for entry in index.entries} == {0, 1}
    assert {entry.label for entry in seen.entries} == {0}
    encoder = build.condition_encoder(settings, seen)
    labels = torch.tensor([seen.entries[0].label, seen.entries[-1].label])
    states = encode_condition(encoder, LatentBatch(batch.latents, batch.lengths, labels, batch.text, []), kept)
    torch.testing.assert_close(states, reference(folder, ["a square", ""]))
    with pytest.raises(UserError, match="condition prompt needs the text and its encoder"):
        build.condition_encoder(changed(settings, prompt=""), seen)


def test_frozen_parts_stay_frozen_and_out_of_optimizer_and_checkpoint(folder, index):
    stage = AutoencoderStage(recipe(folder, condition="caption", autoencoder__ema_decay=0.9), index, random_frame_vae())
    frozen = [*stage.frame_vae.parameters(), *stage.condition_encoder.parameters()]
    before = [parameter.clone() for parameter in frozen]
    trainer = begun(stage)
    moved = [parameter.clone() for parameter in stage.frame_decoder.parameters()]
    take_steps(trainer, 1)
    assert all(torch.equal(old, new) for old, new in zip(before, frozen, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(moved, stage.frame_decoder.parameters(), strict=True))

    contents = trainer.contents(2, {})
    trained = [*stage.video_encoder.parameters(), *stage.frame_decoder.parameters()]
    (optimizer,) = trainer.optimizers.values()
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in trained}
    # what a checkpoint holds: the trained weights, their running mean, two moments each, and nothing of what is frozen
    size = sum(parameter.numel() for parameter in trained)
    assert sum(value.numel() for value in contents.modules.values()) == size
    assert sum(value.numel() for value in contents.ema.values()) == size
    states = contents.optimizers["players"]["autoencoder"]["state"].values()
    moments = [value for state in states for name, value in state.items() if name != "step"]
    assert sum(value.numel() for value in moments) == 2 * sum(
        parameter.numel() for parameter in trained if parameter in optimizer.state
    )


def test_texts_and_features_are_dropped_as_often_as_asked(folder, index, monkeypatch):
    settings = recipe(
        folder, condition="caption", autoencoder__condition_dropout=0.3, autoencoder__feature_dropout=0.15
    )
    stage = AutoencoderStage(settings, index, random_frame_vae())
    begun(stage)
    texts, silent, clips = [], [], 400
    monkeypatch.setattr(
        type(stage.condition_encoder),
        "encode",
        lambda _, given: texts.extend(given) or torch.zeros(len(given), 1, TEXT_DIM),
    )
    encode = type(stage.video_encoder).forward

    def watch(self, keyframes):
        silent.extend((~keyframes.flatten(1).any(dim=1)).tolist())
        return encode(self, keyframes)

    monkeypatch.setattr(type(stage.video_encoder), "forward", watch)
    latents = torch.ones(clips, 8, 4, 8, 8)
    batch = LatentBatch(latents, [8] * clips, torch.zeros(clips, dtype=torch.long), ["text"] * clips, [])
    with torch.no_grad():
        stage.loss("autoencoder", batch, 0, torch.Generator().manual_seed(0))
    dropped = torch.tensor([text == "" for text in texts])
    silent = torch.tensor(silent)
    # within three standard deviations; and dropped independently of each other
    assert abs(dropped.double().mean() - 0.3) < 3 * (0.3 * 0.7 / clips) ** 0.5
    assert abs(silent.double().mean() - 0.15) < 3 * (0.15 * 0.85 / clips) ** 0.5
    assert abs((dropped & silent).double().mean() - 0.045) < 3 * (0.045 * 0.955 / clips) ** 0.5


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("condition", ["prompt", "caption"])
def test_a_run_with_a_text_encoder_ends_with_a_pipeline(folder, index, tmp_path, condition):
    random_frame_vae().save_pretrained(tmp_path / "vae")
    settings = changed(
        RECIPE,
        frame_vae__pretrained=str(tmp_path / "vae"),
        text_encoder=str(folder),
        condition_dim=TEXT_DIM,
        condition=condition,
        prompt="a square",
        autoencoder__decoder__reads_condition=True,
        autoencoder__cra_weight=0.0,
    )
    with few_statistics():
        train(settings, "toy", index.root, tmp_path / "run", max_steps=1)
    parts = {path.name for path in (tmp_path / "run" / "components" / "autoencoder").iterdir()}
    assert parts == {"video_encoder", "frame_decoder"}
    pipe = longtake.load(tmp_path / "run")
    given = {"prompt": CAPTIONS["right"]} if condition == "caption" else {}
    text = CAPTIONS["right"] if condition == "caption" else "a square"
    assert pipe(2, **given).frames.shape == (2, 16, 16, 3)
    resolved = pipe.resolve_condition(None, given.get("prompt"), seed=0, video=0)
    torch.testing.assert_close(pipe.encode_condition(resolved), reference(folder, [text]))
    torch.testing.assert_close(pipe.encode_condition(pipe._null_condition), reference(folder, [""]))
