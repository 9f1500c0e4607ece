"""What to evaluate and how. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from longtake.core.errors import UserError, choose_one_of
from longtake.metrics.evaluation.protocols import PROTOCOLS, Protocol
from longtake.metrics.samples import check_seed


@dataclass(frozen=True)
class EvaluationConfig:
    """What to measure, under which protocol, on which clips."""

    protocol: str = "longtake"
    """Name in `PROTOCOLS`."""
    features: str | None = None
    """Feature network as `load_features` names it; None: the protocol's own."""
    weights: Path | None = None
    """File with the network's weights; None: where `find_weights` looks."""
    trust: bool = False
    """Run the code in a TorchScript file whose checksum is not the known one."""
    metrics: tuple[str, ...] = ()
    """Names in `MEASURES`; none: all that the data allow and that are worth their time."""
    frames: int | None = None
    """Frames of a clip; None: the protocol's."""
    stride: int | None = None
    """Distance in the file between two frames of a clip, real and fake; None: the protocol's."""
    count: int | None = None
    """Clips per set; None: the protocol's, or all if there are fewer."""
    seed: int = 0
    """Draws the clips, the subsets and the resamples; 0 to 2^32 - 1."""
    resamples: int = 200
    """Resamples of the videos for the intervals; 0: no intervals."""
    allow_unequal: bool = False
    """Compare sets of different size all the same."""
    batch_size: int = 16
    """Clips that the network sees at once."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; None: the best there is."""

    def __post_init__(self) -> None:
        choose_one_of("protocol", self.protocol, PROTOCOLS)
        for name, smallest in (("frames", 1), ("stride", 1), ("count", 2), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UserError(f"{name} must be at least {smallest}, not {value}")
        check_seed(self.seed)
        if self.resamples < 0 or self.resamples == 1:
            raise UserError(f"resamples must be 0 (no intervals) or at least 2, not {self.resamples}")

    def resolved_protocol(self) -> Protocol:
        """Return the protocol with what was set besides it."""
        protocol = PROTOCOLS[self.protocol]
        if self.features is not None:
            protocol = replace(protocol, features=self.features)
        if self.frames is not None:
            protocol = replace(protocol, frames=self.frames)
        if self.stride is not None:
            protocol = replace(protocol, real_stride=self.stride, fake_stride=self.stride)
        if self.count is not None:
            protocol = replace(protocol, count=self.count)
        return protocol

    def notes(self) -> list[str]:
        """Say what differs from the published protocol: by nature, and because it was set."""
        published, resolved = PROTOCOLS[self.protocol], self.resolved_protocol()
        changed = [
            f"{name.replace('_', ' ')} is {getattr(resolved, name)}; in protocol {self.protocol} it is "
            f"{getattr(published, name)}"
            for name in ("frames", "real_stride", "fake_stride", "count")
            if getattr(resolved, name) != getattr(published, name) and getattr(published, name) is not None
        ]
        return [*published.deviations, *changed]
