"""The transformers' stages: what is learned, from which codes; resuming; settings that do not fit."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_tats
from einops import rearrange
from safetensors.torch import load_file
from torch.nn import functional as F
from toy_tats import begun, changed

from longtake.core.errors import UserError
from longtake.data.index import VideoIndex, index_folder
from longtake.tats import build
from longtake.tats.config import AugmentConfig, ConditioningConfig, TatsRecipe, TransformerConfig
from longtake.tats.tokens import window_codes
from longtake.tats.transformer_stages import TransformerStage
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.config import OptimizerConfig
from longtake.training.engine import train_stage
from longtake.training.run_folder import RunFolder
from longtake.video import write_video

CAPTIONS = {"dark": "lightning at night", "bright": "sun between clouds"}
LEVELS = {"dark": 50, "bright": 200}
ROLES = ("transformer", "sparse", "interpolation")
TRANSFORMER = TransformerConfig(
    batch_size=4,
    optimizer=OptimizerConfig(lr=5e-3, betas=(0.9, 0.95)),
    sample_every=0,
    hidden_size=32,
    depth=1,
    num_heads=2,
)
RECIPE: TatsRecipe = changed(
    toy_tats.RECIPE,
    vqgan__downsample=(2, 8, 8),
    transformer=TRANSFORMER,
    sparse=changed(TRANSFORMER, latent_step=4),
    interpolation=changed(TRANSFORMER, num_latents=5),
    conditioning=ConditioningConfig(num_text_tokens=4, num_merges=20),
)


def write_captioned(root: Path) -> Path:
    """Videos of 32 frames that are dark but for flashes, or bright but for clouds, in folders and with captions."""
    captions = {}
    rng = np.random.default_rng(0)
    for name, other in (("bright", "dark"), ("dark", "bright")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            level = np.where(rng.random(16) < 0.7, LEVELS[name], LEVELS[other]).repeat(2)
            frames = (level[:, None, None, None] + rng.integers(-8, 8, (32, 16, 16, 3))).astype(np.uint8)
            write_video(root / name / f"{number}.npy", frames, 10)
            captions[f"{name}/{number}.npy"] = CAPTIONS[name]
    (root / "captions.json").write_text(json.dumps(captions))
    return root


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> VideoIndex:
    return index_folder(write_captioned(tmp_path_factory.mktemp("captioned")))


@pytest.fixture(scope="module")
def vqgan() -> TatsVQGAN:
    """A random VQGAN whose codes tell levels of grey apart."""
    torch.manual_seed(0)
    model = build.vqgan(RECIPE).eval()
    generator = torch.Generator().manual_seed(0)
    levels = torch.linspace(-1, 1, 16)[:, None, None, None, None]
    video = levels + 0.1 * torch.randn(16, 3, 8, 16, 16, generator=generator)
    with torch.no_grad():
        model.codebook.initialize(model.pre_quant(video), generator)
    return model


@pytest.fixture
def stage(index, vqgan, on_cpu):
    """Function: role, changes to the recipe -> the stage."""

    def make(role: str = "transformer", **changes) -> TransformerStage:
        torch.manual_seed(0)
        return TransformerStage(role, changed(RECIPE, **changes), index, vqgan)

    return make


def next_batch(stage: TransformerStage):
    stage.prepare(torch.device("cpu"))
    return next(iter(stage.batches(0, 0, 1)))


@torch.no_grad()
@pytest.mark.parametrize("role", ROLES)
def test_loss_is_the_cross_entropy_of_the_window_or_of_what_lies_between(stage, role):
    this = stage(role)
    batch = next_batch(this)
    torch.nn.init.normal_(this.model.gpt.core.positions)
    codes = this.vqgan.encode(batch.video)
    assert batch.video.shape[2] == 2 * {"transformer": 4, "sparse": 16, "interpolation": 5}[role]
    window = codes[:, ::4] if role == "sparse" else codes
    tokens = rearrange(window, "b t h w -> b (t h w)") + 2
    mask = this.model.mask() if role == "interpolation" else None
    logits = this.model.gpt(torch.cat([batch.label[:, None], tokens[:, :-1]], dim=1), mask=mask)
    per_token = F.cross_entropy(logits.mT, tokens, reduction="none")
    if role == "interpolation":
        size = window[0, 0].numel()
        per_token = per_token[:, size : 4 * size]
    loss, terms = this.loss(role, batch, 0, torch.Generator())
    torch.testing.assert_close(loss, per_token.mean())
    assert 0 <= terms["train/accuracy"] <= 1


@pytest.mark.parametrize("role", ROLES)
def test_cached_codes_are_those_encoded_on_the_fly(stage, role):
    on_the_fly, cached = stage(role), stage(role, **{f"{role}__cached_variants": 1})
    for number, (video, codes) in enumerate(
        islice(zip(on_the_fly.batches(0, 0, 1), batches_of(cached), strict=False), 3)
    ):
        expected = on_the_fly.vqgan.encode(video.video)[:, :: 4 if role == "sparse" else 1]
        assert torch.equal(codes.codes, expected), number
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = window_codes(video, on_the_fly.vqgan, 4 if role == "sparse" else 1)
        assert torch.equal(seen, expected), number
        assert torch.equal(video.label, codes.label)
        assert (video.text, video.path) == (codes.text, codes.path)
        assert torch.equal(video.start, codes.start)


def batches_of(stage: TransformerStage):
    stage.prepare(torch.device("cpu"))
    return stage.batches(0, 0, 1)


def test_variants_differ_and_come_again(stage):
    this = stage(transformer__cached_variants=2, transformer__augment=AugmentConfig(colour=0.5))
    next_batch(this)
    list(islice(this.batches(0, 0, 1), 60))
    known = this._cache._known
    keys = known.keys()
    assert known.stack(list(keys)).dtype == torch.int16
    pairs = [known.stack([(v, 0, s), (v, 1, s)]) for v, variant, s in keys if variant == 0 and (v, 1, s) in known]
    assert pairs
    assert any(not torch.equal(*pair) for pair in pairs)
    list(islice(this.batches(0, 0, 1), 60))
    assert known.keys() == keys


@pytest.mark.parametrize("role", ROLES)
def test_resume_equals_a_straight_run(stage, tmp_path, role):
    settings = {"steps": 6, "checkpoint_every": 3, "dropout": 0.2, "ema_decay": 0.9, "cached_variants": 2}
    changes = {f"{role}__{name}": value for name, value in settings.items()}
    changes[f"{role}__augment"] = AugmentConfig(colour=0.2, mirror=True)
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    train_stage(stage(role, **changes), straight)
    train_stage(stage(role, **changes), stopped, max_steps=3)
    torch.manual_seed(1)
    train_stage(stage(role, **changes), stopped, resume=True)
    name = f"{role}/{role}/diffusion_pytorch_model.safetensors"
    expected, found = load_file(straight.components / name), load_file(stopped.components / name)
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    for run in (straight, stopped):
        assert (run.checkpoints(role) / "step-00000006").is_dir()


@pytest.mark.parametrize("role", ROLES)
def test_preview_samples_videos(stage, role):
    this = stage(role)
    this.model.eval()
    videos = this.preview(torch.Generator())["samples"]
    assert videos.shape == (4, {"transformer": 16, "sparse": 16, "interpolation": 10}[role], 16, 16, 3)
    assert (videos == this.preview(torch.Generator())["samples"]).all()


def train(stage: TransformerStage, steps: int) -> list[float]:
    trainer = begun(stage)
    batches = stage.batches(0, 0, 1)
    losses = [trainer.step(step, [next(batches)])[f"train/loss_{stage.name}"].item() for step in range(steps)]
    stage.model.eval()
    return losses


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("condition", ["label", "caption"])
def test_training_learns_the_videos(stage, role, condition):
    losses = train(stage(role, condition=condition, **{f"{role}__cached_variants": 1}), 40)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_pipeline_draws_classes_by_their_share_in_the_data(stage, index, vqgan):
    entries = [entry for entry in index.entries if entry.label == 1 or entry.path.name == "0.npy"][:4]
    fewer = VideoIndex(index.root, tuple(entries), index.classes, ())
    pipe = build.pipeline(changed(RECIPE, sparse=None, interpolation=None), fewer, vqgan, stage().model)
    assert pipe.config.classes == ["bright", "dark"]
    assert pipe.config.class_weights == [0.25, 0.75]
    assert pipe.config.span == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": None}, "needs both, sparse and interpolation"),
        ({"sparse__latent_step": 3}, "every 3-th latent frame, so the interpolation's window must be 4"),
        ({"transformer__num_heads": 5}, "hidden_size 32 and num_heads 5"),
        ({"sampling__context_latents": 4}, "context_latents is 4; the transformer's window has room for 1 to 3"),
        ({"condition": "stft", "sparse__augment": AugmentConfig(reverse=True)}, "sparse.augment.reverse is set"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        build.check_transformers(changed(RECIPE, **changes))
