"""How far the autoencoder sees in time, by interval arithmetic over its layers.

A latent frame stands for a fixed number of frames (the product of the strides). What lies further away than the
bounds here has no influence at all, so that a part of a video computed with that much around it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from longtake.tats.blocks import same_padding

RESAMPLING_KERNEL = 4


def decoder_context(strides: Sequence[int]) -> tuple[int, int]:
    """Return how many latent frames before and after a latent frame the frames decoded from it depend on.

    `strides` are the temporal ones of the decoder's blocks, in order. Layers: per block a transposed convolution of
    width 4 and two residual blocks (four convolutions of width 3), at the end one convolution of width 3.
    """
    num_frames = 1
    for stride in strides:
        num_frames *= stride
    first, last = -1, num_frames
    for stride in reversed(strides):
        first, last = first - 4, last + 4
        # output o of the transposed convolution reads the inputs from ceil(o / s) to floor((o + 3) / s), less padding
        before, _ = same_padding(RESAMPLING_KERNEL, stride)
        first, last = -(-first // stride) - before, (last + RESAMPLING_KERNEL - 1) // stride - before
    return -first, last


def encoder_context(strides: Sequence[int]) -> tuple[int, int]:
    """Return how many latent frames' worth of video before and after its own frames a latent frame depends on.

    `strides` are the temporal ones of the encoder's blocks, in order. Layers: a convolution of width 3, then per block
    a convolution of width 4 and a residual block (two convolutions of width 3).
    """
    first = last = 0
    num_frames = 1
    for stride in reversed(strides):
        num_frames *= stride
        first, last = first - 2, last + 2
        before, _ = same_padding(RESAMPLING_KERNEL, stride)
        first, last = first * stride - before, last * stride + RESAMPLING_KERNEL - 1 - before
    first, last = first - 1, last + 1
    return -(first // num_frames), last // num_frames
