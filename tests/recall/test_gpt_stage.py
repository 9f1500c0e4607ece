"""R3's second stage: tokens of the frozen encoder, batches, the loss, what is kept, exact resume, and a whole R3."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from toy_recall import begun, moving_square, take_steps
from toy_sampling import R3, as_clip, changed, joined, networks

from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.recall import export
from longtake.recall.gpt import TokenRollout
from longtake.recall.gpt_stage import GPTStage, check
from longtake.recall.pipeline import RecallPipeline
from longtake.recall.stages import GANStage
from longtake.recall.token_sequences import TokenSequence, leave_gap
from longtake.training.config import OptimizerConfig
from longtake.training.run import Components, train_stages
from longtake.training.run_folder import RunFolder
from longtake.video import VideoReader, write_video

SMALL = changed(
    R3,
    gan__steps=1,
    gpt__steps=4,
    gpt__batch_size=3,
    gpt__max_tokens=20,
    gpt__sample_every=0,
    gpt__log_every=1,
    gpt__examples_per_class=2,
)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Three videos of each of two classes, of 16 (left out), 24, 30, 40, 50 and 70 frames."""
    root = tmp_path_factory.mktemp("classes")
    for number, length in enumerate((16, 24, 30, 40, 50, 70)):
        video = moving_square(3 * number, length, number % 2)
        write_video(root / ("bend", "jump")[number % 2] / f"{number}.npy", video, 10)
    return index_folder(root)


def stage_of(index, **changes):
    recipe = changed(SMALL, **changes)
    parts = networks(SMALL)
    torch.manual_seed(0)
    return GPTStage(recipe, index, parts["encoder"], parts["generator"])


@pytest.fixture(scope="module")
def stage(classes):
    stage = stage_of(classes)
    begun(stage)
    return stage


def test_preparation_says_how_many_videos_are_encoded(classes):
    for variants, last in ((1, "encoded 5 of 5 videos"), (2, "encoded 10 of 10 variants of 5 videos")):
        stage, told = stage_of(classes, gpt__cached_variants=variants), []
        stage.tell = told.append
        begun(stage)
        assert len(told) == 5 * variants
        assert told[-1] == last


def slow_tokens(encoder, path, num_frames=None):
    with VideoReader(path) as reader:
        frames = np.stack(list(reader.frames()))[:num_frames]
    tokens = []
    with torch.no_grad():
        for start in range(0, len(frames) - 15, 8):
            space = encoder(as_clip(frames[start : start + 16]))
            parts = (space.content_mean, space.content_logvar, space.motion_mean, space.motion_logvar)
            tokens.append(torch.cat(parts, dim=1))
    return torch.cat(tokens)


def test_tokens_are_the_latent_spaces_of_every_eighth_frame_on(stage, classes):
    lengths = sorted(len(sequence.tokens) for sequence in stage.sequences)
    assert lengths == [24 // 8 - 1, 30 // 8 - 1, 40 // 8 - 1, 50 // 8 - 1, 70 // 8 - 1]
    long = next(sequence for sequence in stage.sequences if len(sequence.tokens) == 7)
    entry = next(entry for entry in classes.entries if entry.info.num_frames == 70)
    torch.testing.assert_close(long.tokens, slow_tokens(stage.encoder, entry.path), rtol=1e-4, atol=1e-4)
    assert long.label == entry.label
    assert stage.gpt.config.num_positions == 7


def test_variants_are_encoded_once_and_differ(classes):
    stage = stage_of(classes, gpt__cached_variants=2, gpt__augment__colour=0.5, gpt__max_frames=40)
    begun(stage)
    assert len(stage.sequences) == 10
    longest = [sequence.tokens for sequence in stage.sequences if len(sequence.tokens) == 4]
    assert len(longest) == 6
    assert all((longest[0] - other).abs().max() > 1e-3 for other in longest[1:])


def test_loss_is_smooth_l1_of_the_next_token(stage):
    """Sequence by sequence, without padding, and token by token."""
    batch = next(stage.batches(0, 0, 1))
    assert batch.tokens.shape[0] == 3
    stage.gpt.eval()
    with torch.no_grad():
        loss, terms = stage.loss("gpt", batch, 0, torch.Generator())
        errors, repeats = [], []
        for tokens, is_token in zip(batch.tokens, batch.is_token, strict=True):
            length = int(is_token.sum())
            assert not tokens[length:].any()
            predicted = stage.gpt(tokens[None, :length])[0]
            for position in range(1, length):
                for guess, found in ((predicted, errors), (tokens, repeats)):
                    gap = (guess[position - 1] - tokens[position]).abs()
                    found.append(torch.where(gap < 1, gap.square() / 2, gap - 0.5).mean())
        # what stands in the padding does not matter
        batch.tokens[~batch.is_token] = 50
        again, _ = stage.loss("gpt", batch, 0, torch.Generator())
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    torch.testing.assert_close(terms["train/loss_repeat"], torch.stack(repeats).mean())
    assert torch.equal(again, loss)


def test_own_predictions_stand_in_for_the_tokens_as_in_sampling(classes, monkeypatch):
    stage = stage_of(classes, gpt__own_share=1.0, gpt__own_passes=3)
    begun(stage)
    stage.gpt.eval()
    batch = max(itertools.islice(stage.batches(0, 0, 1), 5), key=lambda batch: batch.tokens.shape[1])
    read = []
    forward = stage.gpt.forward
    monkeypatch.setattr(stage.gpt, "forward", lambda tokens, *rest: read.append(tokens) or forward(tokens, *rest))
    with torch.no_grad():
        loss, terms = stage.loss("gpt", batch, 0, torch.Generator().manual_seed(0))
    monkeypatch.undo()
    long_ones = 0
    errors = []
    for tokens, is_token, inputs in zip(batch.tokens, batch.is_token, read[-1], strict=True):
        length = int(is_token.sum())
        rollout = TokenRollout(stage.gpt, lambda number: number)
        own = [tokens[:1]]
        for position in range(1, min(4, length - 1)):  # the first, and one for each pass
            own.append(rollout(own[-1]))
            torch.testing.assert_close(inputs[position], own[-1][0])
            assert (inputs[position] - tokens[position]).abs().max() > 0.01
            long_ones += position == 3
        with torch.no_grad():
            predicted = stage.gpt(inputs[None, : length - 1])[0]
        errors.append(torch.nn.functional.smooth_l1_loss(predicted, tokens[1:length], reduction="none"))
    assert long_ones
    torch.testing.assert_close(loss, torch.cat(errors).mean())
    # repeating is judged by the video's tokens all the same
    assert (
        terms["train/loss_repeat"] == stage_of(classes).loss("gpt", batch, 0, torch.Generator())[1]["train/loss_repeat"]
    )


def test_the_share_of_sequences_with_own_predictions(classes, monkeypatch):
    stage = stage_of(classes, gpt__own_share=0.3, gpt__batch_size=64)
    begun(stage)
    rng = torch.Generator().manual_seed(0)
    changed_rows = []
    for batch in itertools.islice(stage.batches(0, 0, 1), 10):
        tokens = stage._with_own(batch, rng)
        assert torch.equal(tokens[:, 0], batch.tokens[:, 0])
        assert torch.equal(tokens[~batch.is_token], batch.tokens[~batch.is_token])
        changed_rows.append((tokens != batch.tokens).flatten(1).any(dim=1))
    assert torch.cat(changed_rows).float().mean().item() == pytest.approx(0.3, abs=0.06)  # 640 draws: 0.3 +- 0.018


def test_gaps_lie_behind_the_first_token_alone():
    rng = np.random.default_rng(0)
    sequence = TokenSequence(torch.arange(10.0)[:, None], label=1)
    seen, gap_free = set(), 0
    for _ in range(2000):
        cut = leave_gap(sequence, 5, rng)
        numbers = cut.tokens[:, 0].int().tolist()
        assert 2 <= len(numbers) <= 5
        assert cut.label == 1
        assert np.all(np.diff(numbers[1:]) == 1)
        assert cut.has_gap == (numbers[1] - numbers[0] > 1)
        gap_free += not cut.has_gap
        seen.add((numbers[0], numbers[1]))
    assert 0.45 < gap_free / 2000 < 0.55
    # without a gap five of ten tokens begin at 0 to 5; with one there are two tokens behind it
    gaps = {(first, second) for first in range(7) for second in range(first + 2, 9)}
    assert seen == {(first, first + 1) for first in range(6)} | gaps
    for length in (2, 3):
        short = TokenSequence(sequence.tokens[:length], label=1)
        assert all(leave_gap(short, 5, rng).tokens.equal(short.tokens) for _ in range(20))


def test_what_follows_a_gap_is_read_but_not_predicted(classes):
    stage = stage_of(classes, gpt__keep_first=True, gpt__batch_size=16, gpt__max_tokens=4)
    begun(stage)
    stage.gpt.eval()
    batch = next(stage.batches(0, 0, 1))
    has_gap = ~batch.is_target[:, 1]
    assert 0 < has_gap.sum() < 16
    assert torch.equal(batch.is_target[~has_gap], batch.is_token[~has_gap])
    assert torch.equal(batch.is_target[:, 2:], batch.is_token[:, 2:])
    with torch.no_grad():
        loss, _ = stage.loss("gpt", batch, 0, torch.Generator())
        predicted = stage.gpt(batch.tokens[:, :-1])
    errors = torch.nn.functional.smooth_l1_loss(predicted, batch.tokens[:, 1:], reduction="none").mean(dim=2)
    counted = batch.is_token[:, 1:].clone()
    counted[has_gap, 0] = False
    torch.testing.assert_close(loss, errors[counted].mean())
    # and no prediction takes its place
    own = stage_of(classes, gpt__keep_first=True, gpt__own_share=1.0)
    own.gpt.eval()
    replaced = own._with_own(batch, torch.Generator().manual_seed(0))
    assert torch.equal(replaced[has_gap, :2], batch.tokens[has_gap, :2])
    assert (replaced[~has_gap, 1] != batch.tokens[~has_gap, 1]).any()


def test_every_epoch_has_every_video_once(stage):
    known = [sequence.tokens for sequence in stage.sequences]

    def number_of(tokens):
        return next(
            n for n, one in enumerate(known) if torch.equal(one, tokens[: len(one)]) and not tokens[len(one) :].any()
        )

    batches = stage.batches(0, 0, 1)
    drawn = [number_of(row) for _ in range(5) for row in next(batches).tokens]
    assert [sorted(drawn[first : first + 5]) for first in (0, 5, 10)] == [list(range(5))] * 3
    later, ranks = next(stage.batches(2, 0, 1)), [next(stage.batches(0, rank, 2)) for rank in range(2)]
    assert [number_of(row) for row in later.tokens] == drawn[6:9]
    assert [number_of(row) for batch in ranks for row in batch.tokens] == drawn[:6]


@pytest.mark.parametrize(("layout", "extra"), [("paired", 0), ("labelled", 3)])
def test_layouts_with_an_example_of_the_same_class(classes, layout, extra):
    stage = stage_of(classes, gpt__layout=layout, gpt__max_tokens=2 * 3 + extra)
    begun(stage)
    assert stage.gpt.longest == 3
    by_class = {label: [one.tokens for one in stage.sequences if one.label == label] for label in (0, 1)}
    batches, has_other = stage.batches(0, 0, 1), 0
    for _ in range(4):
        batch = next(batches)
        for tokens, symbols, is_token in zip(batch.tokens, batch.symbols, batch.is_token, strict=True):
            parts = tokens[is_token]
            label = next(
                label for label, known in by_class.items() if any((one == parts[0]).all(1).any() for one in known)
            )
            homes = [n for part in parts for n, one in enumerate(by_class[label]) if (one == part).all(1).any()]
            assert len(homes) == len(parts)
            has_other += len(set(homes)) == 2
            if layout == "labelled":
                first = int(symbols[1]) - 1
                assert int(symbols[0]) == label
                second = int(symbols[2 + first]) - 1
                assert first + second == len(parts)
                assert sum(symbols >= 0) == 3
    assert has_other == 12
    loss, _ = stage.loss("gpt", batch, 0, torch.Generator())
    assert torch.isfinite(loss)


def test_examples_are_sequences_of_training_videos(stage, classes):
    gpt = stage.gpt
    assert sorted(gpt.example_labels.tolist()) == [0, 0, 1, 1]
    firsts = {0: [], 1: []}
    for sequence in stage.sequences:
        firsts[sequence.label].append(sequence.tokens[:1])
    for number in range(4):
        tokens, label = gpt.example(number)
        assert any(torch.equal(tokens, first) for first in firsts[label])


def test_only_the_gpt_learns_and_it_does(classes):
    stage = stage_of(classes, gpt__batch_size=5, gpt__dropout=0.0, gpt__optimizer=OptimizerConfig(lr=3e-3))
    frozen = [value.clone() for part in stage.frozen().values() for value in part.state_dict().values()]
    trainer = begun(stage)
    batch = next(stage.batches(0, 0, 1))
    with torch.no_grad():
        before, terms = stage.loss("gpt", batch, 0, torch.Generator())
    take_steps(trainer, 60)
    with torch.no_grad():
        after, _ = stage.loss("gpt", batch, 0, torch.Generator())
    assert after < 0.3 * before
    assert after < 0.5 * terms["train/loss_repeat"]
    now = [value for part in stage.frozen().values() for value in part.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(frozen, now, strict=True))


def test_previews_begin_with_examples(stage):
    stage.gpt.eval()
    videos = stage.preview(torch.Generator())["samples"]
    assert videos.shape == (4, 8 * 17, 16, 16, 3)
    assert (videos[0] != videos[1]).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpt__max_tokens": 1}, "gpt.max_tokens is 1; layout 'padded' takes at least 2"),
        ({"gpt__layout": "labelled", "gpt__max_tokens": 6}, "layout 'labelled' takes at least 7"),
        ({"gpt__cached_variants": 0}, "must be at least 1"),
        ({"gpt__keep_first": True, "gpt__max_tokens": 2}, "gpt.max_tokens is 2; layout 'padded' takes at least 3"),
        ({"gpt__keep_first": True, "gpt__layout": "paired"}, "gpt.keep_first is for layout 'padded'"),
        ({"gpt__own_share": 1.5}, r"gpt\.own_share must be in \[0, 1\]"),
        ({"gpt__own_share": 0.5, "gpt__own_passes": 0}, r"gpt\.own_passes at least 1"),
    ],
)
def test_wrong_settings(classes, changes, message):
    with pytest.raises(UserError, match=message):
        check(changed(SMALL, **changes), classes)


def test_videos_without_classes_have_no_labelled_layout(index):
    with pytest.raises(UserError, match="not all videos have a class"):
        check(changed(SMALL, gpt__layout="labelled"), index)


def train(recipe, index, run, **options):
    """Both stages and the pipeline, as a whole run has it."""
    stages = {
        "gan": lambda _: GANStage(recipe, index),
        "gpt": lambda components: GPTStage.on(recipe, index, components.find("gan")),
    }
    train_stages(stages, RunFolder(run), **options)
    return export.pipeline(recipe, index, Components(run / "components"))


def test_resume_equals_straight_run_and_ends_in_a_pipeline(classes, tmp_path):
    recipe = changed(SMALL, gpt__checkpoint_every=2, gpt__ema_decay=0.9, gpt__augment__zoom=0.2)
    straight = train(recipe, classes, tmp_path / "straight")
    train(recipe, classes, tmp_path / "stopped", max_steps=3)
    stopped = train(recipe, classes, tmp_path / "stopped", resume=True)
    for name, value in straight.gpt.state_dict().items():
        assert torch.equal(stopped.gpt.state_dict()[name], value), name
    lines = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("straight", "stopped")
    ]
    losses = [
        [(line["step"], line["train/loss_repeat"]) for line in run if "train/loss_repeat" in line] for run in lines
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4

    config = straight.config
    assert (config.model, config.span, config.fps, config.classes) == ("r3", 16 + 6 * 8, 25.0, ["bend", "jump"])
    straight.save_pretrained(tmp_path / "model")
    loaded = RecallPipeline.from_pretrained(tmp_path / "model")
    frames = joined(loaded.stream(100, label="jump"))
    assert frames.shape == (100, 16, 16, 3)
    assert (frames == joined(straight.stream(100, label="jump"))).all()
    assert not (frames == joined(straight.stream(100, label="bend"))).all()
    # the first part of an R3 is an R2
    r2 = export.pipeline(changed(recipe, model="r2"), classes, Components(tmp_path / "straight" / "components"))
    assert (r2.config.model, r2.gpt, r2.config.span) == ("r2", None, 24)


@pytest.mark.parametrize(
    ("changes", "mode", "rate"),
    [
        ({}, "sample", 25),
        ({"sampling__latents": "mean"}, "mean", 25),
        ({"sampling__num_candidates": 20}, "vdrej", 25),
        ({"frames": "random_step", "steps": (2, 3)}, "sample", 10),
        # the median of 16 frames spread over videos of 16, 24, 30, 40, 50 and 70 frames
        ({"frames": "bins"}, "sample", 25 * (16 / 30 + 16 / 40) / 2),
    ],
)
def test_pipeline_settings_follow_the_recipe(classes, changes, mode, rate):
    recipe = changed(SMALL, **changes)
    assert export.mode(recipe) == mode
    assert export.frame_rate(recipe, classes) == pytest.approx(rate)
