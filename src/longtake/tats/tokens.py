"""Clips as codes: encoded anew for every step, once and kept in memory, or beforehand and read from disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.data.clips import FrameIndices, clip_at, last_start, shortest_video
from longtake.data.config import ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedStore, key_of, weights_sha256
from longtake.data.encoded_index import Encoding
from longtake.data.index import VideoIndex, usable, video_name
from longtake.data.known_clips import KnownClips
from longtake.data.transforms import SquareFrames, to_video
from longtake.data.variants import vary
from longtake.tats import build
from longtake.tats.config import ROLES, TatsRecipe
from longtake.tats.vqgan import TatsVQGAN

MAX_CODES = 2**15  # kept as 16-bit integers

Codes = Int[Tensor, "t h w"]


@dataclass(frozen=True)
class TokenBatch:
    """Clips of codes. The other fields are those of `VideoBatch`.

    Attributes:
        codes: the latent frames of each clip that are in the transformer's window, "b t h w".
    """

    codes: Int[Tensor, "b t h w"]
    label: Int[Tensor, " b"]
    text: list[str]
    path: list[str]
    start: Int[Tensor, " b"]

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch with its tensors on `device`."""
        return replace(self, codes=self.codes.to(device), label=self.label.to(device), start=self.start.to(device))


@torch.no_grad()
def window_codes(batch: VideoBatch | TokenBatch, vqgan: TatsVQGAN, latent_step: int) -> Int[Tensor, "b t h w"]:
    """Return every `latent_step`-th latent frame of clips, encoded here unless they come as codes.

    A clip is encoded whole first, so that a latent frame holds what it does in a video; and in the precision of the
    weights, whatever a stage trains in, so that its codes are those that are kept or read from disk.
    """
    if isinstance(batch, TokenBatch):
        return batch.codes
    with torch.autocast(batch.video.device.type, enabled=False):
        return vqgan.encode(batch.video)[:, ::latent_step]


@torch.no_grad()
def clip_codes(vqgan: TatsVQGAN, frames: SquareFrames, latent_step: int) -> Codes:
    """Return every `latent_step`-th latent frame of one clip, encoded alone, as 16-bit integers on the CPU.

    Raises `UserError` if these cannot hold the VQGAN's codes.
    """
    if vqgan.num_codes > MAX_CODES:
        raise UserError(
            f"the VQGAN has {vqgan.num_codes} codes; only up to {MAX_CODES} are kept: train without cached_variants "
            "and encoded"
        )
    video = to_video(frames)[None].to(vqgan.device)
    return vqgan.encode(video)[0, ::latent_step].short().cpu()


def codes_of_all_clips(
    vqgan: TatsVQGAN, frames: SquareFrames, clip: ClipConfig, latent_step: int
) -> Int[Tensor, "s t h w"]:
    """Return the codes of the clips that start at frame 0, 1, ... of a video, as far as one fits.

    Every clip is encoded alone. Cutting its codes out of those of the whole video would save most of the work, but they
    are others: a latent frame depends on more of the video before and after it than a training clip has (eight latent
    frames' worth for the authors' sizes), and the transformer has to learn codes that see the clip's edges.
    """
    starts = range(last_start(len(frames), clip) + 1)
    return torch.stack([clip_codes(vqgan, frames[clip_at(len(frames), clip, start)], latent_step) for start in starts])


def content(clip: ClipConfig, latent_step: int) -> str:
    """Return what a store of the codes of such clips is said to hold."""
    return f"codes of {clip.num_frames} frames with sample_step {clip.step}, latent_step {latent_step}"


def code_encoding(vqgan: TatsVQGAN, dataset: ClipDataset, latent_step: int) -> Encoding:
    """Return what makes the codes of the variants of `dataset`."""
    settings = [vqgan.config[name] for name in ("downsample", "norm", "norm_groups", "padding")]
    weights = weights_sha256(vqgan.state_dict(), settings)
    return Encoding(
        "tats", content(dataset.clip, latent_step), weights, dataset.clip.size, dataset.augment, dataset.seed
    )


def check_stores(recipe: TatsRecipe, index: VideoIndex, stages: Collection[str]) -> None:
    """Raise `UserError` if what `stages` are to read from disk does not suit recipe and data, before any is trained.

    All but the VQGAN's weights is compared, which may not be there yet.
    """
    for role in ROLES:
        config = getattr(recipe, role)
        if role in stages and config is not None and config.encoded:
            clip = build.clip(recipe, build.window_frames(recipe, role))
            store = EncodedStore(Path(config.encoded) / role)
            expected = replace(
                store.encoding,
                family="tats",
                content=content(clip, config.latent_step),
                size=recipe.size,
                augment=config.augment,
            )
            fitting, _ = usable(index, shortest_video(clip))
            store.require(expected, fitting, config.cached_variants)


class TokenClips:
    """Clips of a data set as codes, every video in `num_variants` variants, each augmented anew.

    A clip (a video, a variant, a first frame) is encoded when it first comes up, alone, and kept as 16-bit integers; or
    it is read from `store`, a folder that `longtake data encode` has written for clips like these. Which clip stands at
    which position is `ClipDataset`'s choice, so a run is as repeatable as without either. Raises `UserError` if the
    store is not one of these clips and this VQGAN.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        vqgan: TatsVQGAN,
        latent_step: int,
        num_variants: int = 0,
        store: Path | None = None,
    ) -> None:
        assert num_variants or store, "nothing says how many variants there are"
        self.dataset = dataset
        self.vqgan = vqgan
        self.latent_step = latent_step
        self.store: EncodedStore | None = None
        if store is not None:
            self.store = EncodedStore(store)
            self.store.require(code_encoding(vqgan, dataset, latent_step), dataset.index, num_variants)
            num_variants = num_variants or self.store.num_variants
        self.num_variants = num_variants
        self._known = KnownClips()

    def batches(self, batch_size: int, first_batch: int, rank: int, world_size: int) -> Iterator[TokenBatch]:
        """Yield the endless batches of one rank; positions as in `data.loading.clip_batches`."""
        batch = first_batch
        while True:
            first = (batch * world_size + rank) * batch_size
            yield self._batch(range(first, first + batch_size))
            batch += 1

    def _batch(self, positions: range) -> TokenBatch:
        codes, entries, starts = [], [], []
        for position in positions:
            video, indices, rng = self.dataset.choose(position)
            codes.append(self._codes(video, int(rng.integers(self.num_variants)), indices).long())
            entries.append(self.dataset.entries[video])
            starts.append(int(indices[0]))
        return TokenBatch(
            torch.stack(codes),
            torch.tensor([entry.label for entry in entries]),
            [entry.text for entry in entries],
            [str(entry.path) for entry in entries],
            torch.tensor(starts),
        )

    def _codes(self, video: int, variant: int, indices: FrameIndices) -> Codes:
        start = int(indices[0])
        if self.store is not None:
            name = video_name(self.dataset.index.root, self.dataset.entries[video].path)
            return self.store[key_of(name, variant)][start]
        clip = video, variant, start
        if clip not in self._known:
            frames = vary(self.dataset.video(video), self.dataset, video, variant)
            self._known.add(clip, clip_codes(self.vqgan, frames[indices], self.latent_step))
        return self._known.stack([clip])[0]
