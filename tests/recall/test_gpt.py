"""R3's GPT: its size, what sees what, its cache, its sliding window, and the layouts of sequences."""

from __future__ import annotations

import pytest
import torch
from toy_sampling import TOKEN, gpt

from longtake.recall import recipes
from longtake.recall.gpt import RecallGPT, TokenRollout, longest_sequence, positions_for


def tokens(count, seed=0):
    return torch.randn(count, TOKEN, generator=torch.Generator().manual_seed(seed))


def test_parameter_count_of_the_thesis():
    recipe = recipes.r3_taichi_128()
    with torch.device("meta"):
        model = RecallGPT(depth=recipe.gpt.depth, num_heads=recipe.gpt.num_heads, num_positions=128)
    core = sum(parameter.numel() for part in (model.core.blocks, model.core.norm) for parameter in part.parameters())
    assert core == 1_359_916_032
    assert core + sum(parameter.numel() for parameter in model.head.parameters()) == 1_362_275_328
    assert sum(p.numel() for p in model.parameters()) == 1_362_275_328 + 128 * 1536


@pytest.mark.parametrize("width", [None, 8])
@torch.no_grad()
def test_cached_equals_uncached(width):
    model, sequence = gpt(width=width), tokens(6)
    expected = model(sequence[None])[0]
    rollout = TokenRollout(model, lambda number: number)
    found = torch.cat([rollout(token[None]) for token in sequence])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected[1:] - expected[:-1]).abs().max() > 0.1


@pytest.mark.parametrize("num_positions", [1, 2, 6])
@torch.no_grad()
def test_long_sequences_pass_through_a_window(num_positions):
    model, sequence = gpt(num_positions=num_positions), tokens(15)
    rollout = TokenRollout(model, lambda number: number)
    for last in range(15):
        window = sequence[max(0, last + 1 - num_positions) : last + 1]
        torch.testing.assert_close(rollout(sequence[last][None]), model(window[None])[:, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_positions", [2, 6])
@torch.no_grad()
def test_a_window_may_keep_the_first_token(num_positions):
    model, sequence = gpt(num_positions=num_positions, keep_first=True), tokens(15)
    rollout = TokenRollout(model, lambda number: number)
    for last in range(15):
        newest = sequence[max(1, last + 2 - num_positions) : last + 1]
        window = torch.cat([sequence[:1], newest])[None]
        torch.testing.assert_close(rollout(sequence[last][None]), model(window)[:, -1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padding_is_not_seen():
    model, sequence = gpt(), tokens(6)
    zeros, noise = sequence.clone(), sequence.clone()
    zeros[4:], noise[4:] = 0, 100
    assert torch.equal(model(zeros[None])[:, :4], model(noise[None])[:, :4])
    torch.testing.assert_close(model(zeros[None])[0, :4], model(sequence[None, :4])[0], rtol=1e-4, atol=1e-5)


def test_sequences_fill_the_positions():
    assert [positions_for(layout, 5) for layout in ("padded", "paired", "labelled")] == [5, 10, 13]
    for layout in ("padded", "paired", "labelled"):
        for length in range(1, 9):
            assert longest_sequence(layout, positions_for(layout, length)) == length


@torch.no_grad()
def test_class_and_length_stand_before_the_tokens():
    """[class, length of the example, example, length of what comes, ...] (Sec. 5.3, layout 5.7)."""
    model, example, sequence = gpt(layout="labelled", num_positions=13, num_classes=2), tokens(3), tokens(5, seed=1)
    context, symbols = model.context(example, 1, 5)
    # classes 0 and 1, then lengths 1, 2, ...
    assert symbols.tolist() == [1, 2 + 3 - 1, -1, -1, -1, 2 + 5 - 1]
    assert torch.equal(context[2:5], example)
    assert not context[[0, 1, 5]].any()
    rows = [model.symbols.weight[1], model.symbols.weight[4], *example, model.symbols.weight[6], *sequence]
    expected = model.head(model.core(torch.stack(rows)[None]))
    marks = torch.cat([symbols, torch.full((5,), -1)])
    assert torch.equal(model(torch.cat([context, sequence])[None], marks[None]), expected)


@pytest.mark.parametrize("layout", ["paired", "labelled"])
@torch.no_grad()
def test_full_sequences_begin_anew_after_the_next_example(layout):
    model, sequence = gpt(layout=layout, num_positions=9, num_classes=2), tokens(8)
    assert model.example_lengths.tolist()[:3] == [1, 2, 3]
    rollout = TokenRollout(model, lambda number: (1, 2, 0, 0, 0, 0)[number])
    # example 1 has two tokens, so two fit behind it; the third begins the sequence behind example 2; and so on
    for last, (number, first) in enumerate([(1, 0), (1, 0), (2, 2), (2, 2), (2, 2), (0, 5), (0, 6), (0, 7)]):
        example, label = model.example(number)
        context, symbols = model.context(example, label, len(example))
        window = torch.cat([context, sequence[first : last + 1]])[None]
        marks = torch.cat([symbols, torch.full((last + 1 - first,), -1)])[None]
        torch.testing.assert_close(
            rollout(sequence[last][None]), model(window, marks)[:, -1], rtol=1e-4, atol=1e-4, msg=str(last)
        )


@torch.no_grad()
def test_saved_and_loaded_gpt_keeps_its_examples(tmp_path):
    model = gpt(layout="labelled", num_positions=9, num_classes=2)
    model.save_pretrained(tmp_path)
    loaded = RecallGPT.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.example(2)[0], model.example(2)[0])
    assert torch.equal(loaded(tokens(4)[None]), model(tokens(4)[None]))
