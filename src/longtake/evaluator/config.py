"""Settings of an evaluator's run. Plain dataclasses: importing this loads neither torch nor diffusers."""

from __future__ import annotations

from dataclasses import dataclass, field

from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig, ShortVideos
from longtake.training.config import StageConfig


@dataclass(frozen=True)
class ClassifierConfig(StageConfig):
    """The one stage: a small 3D convolutional network that learns the videos' classes."""

    channels: tuple[int, ...] = (24, 32, 64, 96)
    """Channels of the stem and of each level; the last is the number of features."""
    dropout: float = 0.3
    """Part of the features that is left out while training."""
    label_smoothing: float = 0.1
    """Probability that the target leaves to the other classes, all together."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes of the training clips."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be in [0, 1)")


@dataclass(frozen=True)
class EvaluatorRecipe:
    """A run that trains an evaluator on a folder with one sub-folder of videos per class."""

    size: int = 64
    """Height and width in pixels of what the network sees."""
    span: int = 16
    """Frames of a clip."""
    short_videos: ShortVideos = "leave_out"
    """Videos shorter than a clip: leave them out, or let them run on backwards from their last frame."""
    held_out: str = ""
    """File names, such as "subject8*", of videos that are not trained on; the accuracy is measured on them at the end.
    Empty: train on all, and measure nothing."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """The stage."""
