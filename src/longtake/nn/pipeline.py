"""What every family's pipeline has in common: how it is written to a folder and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline
from huggingface_hub import snapshot_download
from torch import nn

from longtake.nn.stream_options import StreamOptions, stream_options

ALIGNMENT = 64  # bytes: what torch's own memory begins at


class PretrainedPipeline(DiffusionPipeline):
    """A diffusers pipeline whose components are this package's own classes.

    diffusers finds them by the module path in model_index.json, provided that module is imported: so a family's
    pipeline module imports the module of every component it may have, and no remote code is ever trusted.
    """

    stream: Callable[..., Iterator[np.ndarray]]  # each family's own

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> Self:  # noqa: ANN401
        """Load a pipeline folder or hub id, in float32 unless `dtype` says otherwise (shipped weights are float16)."""
        kwargs.setdefault("dtype", kwargs.pop("torch_dtype", None) or torch.float32)
        pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        for component in pipeline.components.values():
            if isinstance(component, nn.Module):
                own_memory(component)
        return pipeline

    @classmethod
    def stream_options(cls, index: Mapping[str, Any]) -> StreamOptions:
        """Return what can be asked of the videos of a model, from its model_index.json alone: nothing is loaded.

        A family leaves out what a model of it lacks the parts for.
        """
        options = stream_options(cls.stream)
        if index.get("classes"):
            options["label"] = tuple(index["classes"])
        else:
            options.pop("label", None)
        return options

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:  # noqa: ANN401
        """Fetch the configurations and safetensors of a hub repository and return their folder.

        diffusers' own `download` refuses components whose classes live in another library, though loading them works.
        """
        accepted = ("cache_dir", "force_download", "local_files_only", "token", "revision")
        options = {name: kwargs[name] for name in accepted if kwargs.get(name) is not None}
        return snapshot_download(pretrained_model_name, allow_patterns=["*.json", "*.safetensors", "*.txt"], **options)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # noqa: ANN401
        """Write the pipeline to a folder, without the paths of the folders its parts were loaded from."""
        for part in (self, *self.components.values()):
            if isinstance(part, ConfigMixin) and "_name_or_path" in part.config:
                part.register_to_config(_name_or_path="")
        super().save_pretrained(save_directory, **kwargs)


def own_memory(network: nn.Module) -> None:
    """Move weights out of the mapped file into memory of their own.

    There they begin at any address, and kernels for CPUs round differently where it is no multiple of 64: a model that
    was loaded would not make the same videos bit for bit as the one that was saved.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
