"""A running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningMean:
    """Exponential moving average of parameters; buffers are copied.

    The decay warms up, min(decay, (1 + step) / (10 + step)), so that the first weights are soon forgotten.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self._parameters = _named(modules, "named_parameters")
        self._buffers = _named(modules, "named_buffers")
        self._mean = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._copies = {name: value.detach().clone() for name, value in self._buffers.items()}
        self._is_swapped = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 0)."""
        assert not self._is_swapped, "the running mean is in place of the weights"
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._mean:
            torch._foreach_lerp_(list(self._mean.values()), list(self._parameters.values()), 1 - decay)
        self.copy_buffers()

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Copy the buffers as they are now."""
        for name, value in self._buffers.items():
            self._copies[name].copy_(value)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the running mean in place of the weights and buffers within the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """Return the running mean by "<module>.<parameter>"."""
        return {**self._mean, **self._copies}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over an earlier `state`. Raises `KeyError` if a name is missing, `RuntimeError` on another shape."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def _swap(self) -> None:
        for live, kept in ((self._parameters, self._mean), (self._buffers, self._copies)):
            for name, value in live.items():
                value.data, kept[name] = kept[name], value.data
        self._is_swapped = not self._is_swapped


def _named(modules: Mapping[str, nn.Module], which: str) -> dict[str, Tensor]:
    named = {
        id(value): (f"{module_name}.{name}", value)
        for module_name, module in modules.items()
        for name, value in getattr(module, which)()
    }
    # by identity, since a network that two modules share has one mean
    return dict(named.values())
