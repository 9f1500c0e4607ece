"""How published numbers were made: one row per protocol, and what we do otherwise on purpose.

Plain dataclasses: importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from longtake.metrics.frechet import DDOF_BY_PROTOCOL

Start = Literal["random", "first", "centre"]

NOT_SORTED = (
    "the original takes the first 2048 real folders in sorted order, on UCF-101 about 15 of 101 classes; "
    "here real videos are drawn with a seed"
)
TRUNCATED = (
    "the original truncates generated floats to bytes, half a grey level darker than rounding; "
    "here videos are read as they were stored"
)
NO_MIRROR = "the original's --mirror 1 has no effect on its number, and is left out"


@dataclass(frozen=True)
class Protocol:
    """Everything besides the videos and the feature network that a Frechet distance depends on."""

    source: str
    """Whose number it is."""
    features: str = "i3d"
    """The feature network that the protocol means."""
    frames: int = 16
    """Frames that the network sees of one clip."""
    real_stride: int = 1
    """Distance in the file between two frames of a real clip."""
    fake_stride: int = 1
    """The same for a fake clip."""
    resize: Literal["squash", "crop"] = "squash"
    """How frames become square: stretched, or shorter side first and then the centre."""
    rounding: Literal["round", "truncate"] = "round"
    """How the original turns generated floats into bytes. Files hold bytes already, so this is stated, not done."""
    ddof: int = 1
    """1: covariance over n - 1; 0: over n."""
    count: int | None = 2048
    """Clips per set, one per video; None: as many as there are. Fewer are used, and said so, where there are fewer."""
    real_start: Start = "random"
    """Where in a real video its clip begins: drawn from the seed, at the first frame, or in the middle."""
    fake_start: Start = "first"
    """The same for a fake video."""
    trials: int = 1
    """How often clips are drawn anew; the number is the mean over the trials."""
    size: int | None = None
    """Height and width of the videos that the protocol measures; None: any. Others are measured, and it is said."""
    inception_score: str = "tats"
    """Which of `INCEPTION_SCORE_PROTOCOLS` the inception score follows."""
    deviations: tuple[str, ...] = ()
    """What this differs in from the original code, and why."""


STYLEGANV = Protocol(
    source="StyleGAN-V fvd2048_16f (Skorokhodov et al. 2022)",
    ddof=DDOF_BY_PROTOCOL["styleganv"],
    inception_score="styleganv",
    deviations=(NOT_SORTED,),
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "longtake": Protocol(source="all videos, one seeded clip of each", count=None, fake_start="random"),
        "tats": Protocol(
            source="TATS (Ge et al. 2022); --stride is its sample_every_n_frames, 4 for TaiChi-HD",
            rounding="truncate",
            ddof=DDOF_BY_PROTOCOL["tats"],
            deviations=(TRUNCATED,),
        ),
        "digan": Protocol(
            source="DIGAN (Yu et al. 2022): mean and deviation of 10 trials",
            resize="crop",
            rounding="truncate",
            ddof=DDOF_BY_PROTOCOL["digan"],
            trials=10,
            deviations=(
                TRUNCATED,
                "the original generates new fakes for each trial; here they are drawn from the folder",
            ),
        ),
        "styleganv": STYLEGANV,
        "styleganv-128": replace(STYLEGANV, source="StyleGAN-V fvd2048_128f (Skorokhodov et al. 2022)", frames=128),
        "styleganv-subsample8": replace(
            STYLEGANV,
            source="StyleGAN-V fvd2048_16f_subsample8f (Skorokhodov et al. 2022)",
            real_stride=8,
            fake_stride=8,
        ),
        "latte": replace(STYLEGANV, source="Latte (Ma et al. 2024): StyleGAN-V, but real stride 3", real_stride=3),
        "glober": replace(
            STYLEGANV,
            source="GLOBER (Sun et al. 2023): StyleGAN-V's tool at 256 x 256",
            size=256,
            deviations=(NOT_SORTED, NO_MIRROR),
        ),
        "g3an": Protocol(
            source="G3AN video FID (Wang et al. 2020): 5000 fakes, 16 frames from the middle",
            features="resnext3d",
            ddof=DDOF_BY_PROTOCOL["g3an"],
            count=5000,
            real_start="centre",
            fake_start="centre",
        ),
    }
)
"""By the name that `--protocol` takes."""
