import itertools

import pytest
import torch

from longtake.core.randomness import derive_seed, frame_noise, generator


def test_seeds_are_63_bit_integers_and_repeat():
    for key in ((), (0,), (2**64 - 1, 5), (1, 2, 3, 4)):
        seed = derive_seed(*key)
        assert isinstance(seed, int)
        assert 0 <= seed < 2**63
        assert seed == derive_seed(*key)


def test_different_keys_give_different_seeds():
    keys = [key for length in range(4) for key in itertools.product((0, 1, 2, 2**32, 2**64 - 1), repeat=length)]
    assert len({derive_seed(*key) for key in keys}) == len(keys) == 1 + 5 + 25 + 125


def test_order_length_and_both_halves_of_a_number_count():
    assert derive_seed(1, 2) != derive_seed(2, 1)
    assert derive_seed(1) != derive_seed(1, 0) != derive_seed(0, 1)
    assert derive_seed(1 + 2**32) != derive_seed(1)
    assert derive_seed(2**32) != derive_seed(0, 1)  # the same words, were the length left out


def test_neighbouring_keys_give_unrelated_seeds():
    seeds = [derive_seed(0, number) for number in range(2000)]
    for bit in range(63):
        assert 0.45 < sum(seed >> bit & 1 for seed in seeds) / len(seeds) < 0.55


def test_generator_draws_from_its_key_alone():
    torch.manual_seed(0)
    first = torch.rand(4, generator=generator(3, 4))
    torch.rand(7)
    assert torch.equal(first, torch.rand(4, generator=generator(3, 4)))
    assert not torch.equal(first, torch.rand(4, generator=generator(4, 3)))


@pytest.mark.parametrize("frames", [[0], [7, 3], range(2, 9), [5, 5], [2**40]])
def test_frame_noise_of_any_frames_is_that_of_each_alone(frames):
    noise = frame_noise((4, 3, 5), 11, 2, frames)
    assert noise.shape == (len(frames), 4, 3, 5)
    for row, frame in zip(noise, frames, strict=True):
        assert torch.equal(row, frame_noise((4, 3, 5), 11, 2, [frame])[0])


def test_frame_noise_depends_on_seed_video_and_frame():
    keys = list(itertools.product(range(3), repeat=3))
    rows = [frame_noise((6,), seed, video, [frame])[0] for seed, video, frame in keys]
    assert len({tuple(row.tolist()) for row in rows}) == len(keys)


def test_frame_noise_is_standard_normal_and_independent_between_frames():
    noise = frame_noise((40, 40), 0, 0, range(25)).flatten(1)
    assert noise.mean().abs() < 0.02
    assert abs(noise.std() - 1) < 0.02
    correlations = torch.corrcoef(noise) - torch.eye(25)
    assert correlations.abs().max() < 0.12  # 1600 samples each: a standard deviation of 0.025
