"""Long video generation: three families of published methods behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(name_or_path: str, **kwargs: Any) -> DiffusionPipeline:  # noqa: ANN401
    """Load a pipeline by a shipped model's name, a folder, a run folder or a hub id: see `longtake.models.load`."""
    from longtake import models  # torch and diffusers take seconds to import, so `import longtake` does not

    return models.load(name_or_path, **kwargs)
