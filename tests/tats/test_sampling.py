"""Cached sampling against full recomputation with the same seed, and the draws against slow obvious ones."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from toy_transformers import CLASSES, NUM_CODES, S, interpolation, random_codes, transformer

from longtake.core.randomness import generator
from longtake.tats.interpolation import fill_between
from longtake.tats.sampling import CodeSampler, keep_likely, slide, slide_sparsely

LABELS = torch.tensor([[0], [2]])
OFFSET = len(CLASSES)


def sampler(*videos: int, **settings) -> CodeSampler:
    return CodeSampler([generator(7, video) for video in videos], **{"top_k": 9, "top_p": 0.95, **settings})


def always(condition: torch.Tensor):
    return lambda first, newest: condition


def take(latents, count: int) -> torch.Tensor:
    """The first latent frames as codes "b t s"."""
    return torch.stack(list(islice(latents, count)), dim=1)


@torch.no_grad()
def slide_uncached(model, conditions, draw, context: int, count: int, given=()) -> torch.Tensor:
    """Every code from a full forward pass over its window."""
    frames = list(given)
    for number in range(len(frames), count):
        window = frames[max(0, number - context) :]
        first = number - len(window)
        tokens = torch.cat([conditions(first, number), *(codes + OFFSET for codes in window)], dim=1)
        codes = []
        for _ in range(S):
            codes.append(draw(model.gpt(tokens)[:, -1, OFFSET:]))
            tokens = torch.cat([tokens, codes[-1][:, None] + OFFSET], dim=1)
        frames.append(torch.stack(codes, dim=1))
    return torch.stack(frames[len(given) :], dim=1)


@torch.no_grad()
def fill_uncached(model, condition, first, last, draw) -> torch.Tensor:
    """Every code from a full pass under the training mask; what is not known yet is filled with zeros."""
    codes = torch.zeros(len(first), 5 * S, dtype=torch.long)
    codes[:, :S], codes[:, -S:] = first, last
    for number in range(3 * S):
        logits = model(condition, codes.view(-1, 5, 2, 2))[:, number, OFFSET:]
        codes[:, S + number] = draw(logits)
    return codes[:, S:-S].view(-1, 3, S)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_cached_sliding_window_equals_full_recomputation(context):
    model, conditions = transformer(), always(LABELS)
    cached = take(slide(model, conditions, sampler(0, 1), context=context), 9)
    assert torch.equal(cached, slide_uncached(model, conditions, sampler(0, 1), context, 9))
    assert len(cached.unique()) > 3


def test_cached_window_equals_full_recomputation_when_conditions_change():
    """Two tokens of condition that change at frames 2 and 5, and frames that the video begins with."""
    model = transformer(condition_length=2)

    def conditions(first: int, newest: int) -> torch.Tensor:
        stage = (newest >= 2) + (newest >= 5)
        return torch.tensor([[stage, first % 3], [0, 2 - stage]])

    given = random_codes(2, 2, S).unbind()
    cached = take(slide(model, conditions, sampler(0, 1), context=3, given=given), 8)
    assert torch.equal(cached, slide_uncached(model, conditions, sampler(0, 1), 3, 10, given))


def test_context_limits_what_a_new_latent_frame_sees():
    """With a context of 1 the frame before the last has no influence, with 2 it has."""
    model, last = transformer(), random_codes(1, S)

    def first_logits(older: int, context: int) -> torch.Tensor:
        seen = []

        def draw(logits: torch.Tensor) -> torch.Tensor:
            seen.append(logits)
            return torch.zeros(1, dtype=torch.long)

        take(slide(model, always(LABELS[:1]), draw, context=context, given=(torch.full((1, S), older), last)), 1)
        return seen[0]

    assert torch.equal(first_logits(0, context=1), first_logits(5, context=1))
    assert (first_logits(0, context=2) - first_logits(5, context=2)).abs().max() > 1e-3


@torch.no_grad()
def test_step_by_step_logits_equal_the_training_forward():
    model, codes = transformer(), random_codes(2, 4, 2, 2)
    true, logits = iter(codes.flatten(1).T), []

    def follow(step: torch.Tensor) -> torch.Tensor:
        logits.append(step)
        return next(true)

    take(slide(model, always(LABELS), follow, context=3), 4)
    forward = model(LABELS, codes)[..., OFFSET:]
    assert (torch.stack(logits, dim=1) - forward).abs().max() <= 1e-5 * forward.abs().max()


@torch.no_grad()
def test_interpolation_step_by_step_logits_equal_its_training_forward():
    model, codes = interpolation(), random_codes(2, 5, 2, 2)
    flat = codes.flatten(2)
    true, logits = iter(codes[:, 1:-1].flatten(1).T), []

    def follow(step: torch.Tensor) -> torch.Tensor:
        logits.append(step)
        return next(true)

    between = fill_between(model, model.new_cache(), LABELS, flat[:, 0], flat[:, -1], follow)
    assert torch.equal(between, flat[:, 1:-1])
    forward = model(LABELS, codes)[..., OFFSET:]
    assert forward.shape[1] == 3 * S
    assert (torch.stack(logits, dim=1) - forward).abs().max() <= 1e-5 * forward.abs().max()


def test_cached_interpolation_equals_full_recomputation():
    model, first, last = interpolation(), random_codes(2, S), random_codes(2, S, seed=1)
    cached = fill_between(model, model.new_cache(), LABELS, first, last, sampler(0, 1))
    assert torch.equal(cached, fill_uncached(model, LABELS, first, last, sampler(0, 1)))


def test_interpolation_mask():
    """Ends see both ends; each token between sees both ends, those before it and itself."""
    mask = interpolation().mask()
    begin, end = range(1 + S), range(1 + 4 * S, 5 * S)
    assert mask.shape == (5 * S, 5 * S)
    for row in range(5 * S):
        is_end = row in begin or row in end
        seen = {*begin, *end} | (set() if is_end else set(range(1 + S, row + 1)))
        assert set(mask[row].nonzero().flatten().tolist()) == seen


@torch.no_grad()
def test_interpolation_forward_does_not_see_what_it_predicts():
    model, codes = interpolation(), random_codes(1, 5, 2, 2)
    changed = codes.clone()
    changed[:, 2, 1, 0] = (changed[:, 2, 1, 0] + 1) % NUM_CODES  # number S + 2 of those between
    before, after = model(LABELS[:1], codes), model(LABELS[:1], changed)
    assert torch.equal(before[:, : S + 3], after[:, : S + 3])
    assert not torch.allclose(before[:, S + 3], after[:, S + 3])


@torch.no_grad()
def test_compat_interpolation_is_the_official_path():
    """The authors' sampling, without a cache: order [begin, end, between], which the end's tokens see causally."""
    model, first, last = interpolation(), random_codes(2, S), random_codes(2, S, seed=1)
    draw, codes = sampler(0, 1), []
    positions = torch.tensor([*range(1 + S), *range(4 * S, 5 * S), *range(1 + S, 4 * S)])
    tokens = torch.cat([LABELS, first + OFFSET, last + OFFSET], dim=1)
    for _ in range(3 * S):
        length = tokens.shape[1]
        mask = torch.ones(length, length).tril().bool()
        mask[:, : 1 + S] = True
        codes.append(draw(model.gpt(tokens, positions=positions[:length], mask=mask)[:, -1, OFFSET:]))
        tokens = torch.cat([tokens, codes[-1][:, None] + OFFSET], dim=1)
    expected = torch.stack(codes, dim=1).view(2, 3, S)
    compat = fill_between(model, model.new_cache(), LABELS, first, last, sampler(0, 1), compat=True)
    assert torch.equal(compat, expected)
    fixed = fill_between(model, model.new_cache(), LABELS, first, last, sampler(0, 1))
    assert not torch.equal(compat, fixed)


def test_hierarchical_pair_fills_between_sparse_frames():
    """Every fourth latent frame is the sparse model's, the three between follow from its neighbours: 272 frames."""
    sparse_model, model, conditions = transformer(latent_step=4), interpolation(), always(LABELS)
    sparse = take(slide(sparse_model, conditions, sampler(0, 1), context=3), 17)
    latents = take(slide_sparsely(iter(sparse.unbind(1)), model, conditions, sampler(2, 3)), 65)
    assert torch.equal(latents[:, ::4], sparse)
    draw = sampler(2, 3)
    for number in range(16):
        expected = fill_uncached(model, LABELS, sparse[:, number], sparse[:, number + 1], draw)
        assert torch.equal(latents[:, 4 * number + 1 : 4 * number + 4], expected)


def test_video_does_not_depend_on_its_batch():
    model = transformer()
    together = take(slide(model, always(LABELS), sampler(0, 1), context=3), 6)
    for row in range(2):
        alone = take(slide(model, always(LABELS[row : row + 1]), sampler(row), context=3), 6)
        assert torch.equal(alone[0], together[row])


def test_condition_ids_are_never_drawn():
    model = transformer()
    model.gpt.head.weight.data[:OFFSET] *= 100
    codes = take(slide(model, always(LABELS), sampler(0, 1, temperature=50.0, top_k=None, top_p=None), context=3), 12)
    assert codes.min() >= 0
    assert set(codes.unique().tolist()) == set(range(NUM_CODES))


def slow_keep(logits: list[float], top_k: int | None, top_p: float | None) -> set[int]:
    order = sorted(range(len(logits)), key=lambda code: -logits[code])[: top_k or len(logits)]
    if top_p is None:
        return set(order)
    weights = torch.tensor([logits[code] for code in order], dtype=torch.float64).softmax(0).tolist()
    kept, mass = set(), 0.0
    for code, weight in zip(order, weights, strict=True):
        kept.add(code)  # the one that crosses the line stays
        mass += weight
        if mass > top_p:
            break
    return kept


@pytest.mark.parametrize("top_k", [None, 1, 5, 40, 100])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.5, 0.92, 1.0])
def test_keep_likely_equals_a_slow_filter_and_changes_nothing_else(top_k, top_p):
    logits = 3 * torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    kept = keep_likely(logits, top_k, top_p)
    assert torch.equal(logits, before)
    for row, result in zip(logits, kept, strict=True):
        expected = slow_keep(row.tolist(), top_k, top_p)
        assert set(result.isfinite().nonzero().flatten().tolist()) == expected
        assert torch.equal(result[result.isfinite()], row[result.isfinite()])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]])
    draw = sampler(0, temperature=temperature, top_k=4, top_p=None)
    count = 4000
    drawn = torch.cat([draw(logits) for _ in range(count)]).bincount(minlength=5) / count
    expected = torch.cat([(logits[0, :4] / temperature).softmax(0), torch.zeros(1)])
    assert drawn[4] == 0
    assert (drawn - expected).abs().max() < 4 * (0.25 / count) ** 0.5
