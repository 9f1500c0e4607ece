"""What sampling costs: wall and CPU seconds of sampling alone, and the most memory its process held."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Frames = UInt8[np.ndarray, "t h w 3"]

CHUNK = 16  # frames that `stream` makes at once unless told otherwise
STATUS = Path("/proc/self/status")


@dataclass
class VideoCost:
    """What one video took, as far as it is made.

    Attributes:
        frames: how many there are.
        seconds: wall time of sampling: neither loading the model nor writing the file is in it.
        cpu_seconds: processor time of the same work, summed over the threads of the process.
        first_seconds: wall time until the first chunk of frames was there.
    """

    frames: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    first_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it with the seconds to a tenth of a millisecond."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def metered(stream: Callable[[], Iterator[Frames]], cost: VideoCost) -> Iterator[Frames]:
    """Yield the chunks of the stream that `stream` opens, and add what making each took to `cost`.

    What the caller does between two chunks is not counted. Chunks are arrays on the CPU, so that a GPU has finished
    them when they are there.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    for chunk in stream():
        cost.seconds += time.perf_counter() - wall
        cost.cpu_seconds += time.process_time() - cpu
        if cost.frames == 0:
            cost.first_seconds = cost.seconds
        cost.frames += len(chunk)
        yield chunk
        wall, cpu = time.perf_counter(), time.process_time()


def warm_up(pipe: DiffusionPipeline, num_frames: int, options: Mapping[str, Any]) -> None:
    """Make the first chunk of a video and drop it: what is set up at the first use is no video's time.

    It is a part of the video that is measured, and no other one: other shapes would take memory of their own.
    """
    for _ in pipe.stream(num_frames, stop=min(CHUNK, num_frames), **options):
        pass
    if pipe.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(pipe.device)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Return the most bytes that were held at once: `process`, and on a GPU `cuda`.

    `process` is everything since this process began: Python, the libraries, the model as it was loaded, and sampling.
    `cuda` is what torch's tensors took since the peak was last reset, the model's weights included.
    """
    peaks = {"process": peak_resident_bytes()}
    if device.type == "cuda":
        peaks["cuda"] = torch.cuda.max_memory_allocated(device)
    return peaks


def highest_peaks(videos: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the highest of each peak in the `memory_bytes` of several videos."""
    peaks: dict[str, int] = {}
    for video in videos:
        for name, num_bytes in video["memory_bytes"].items():
            peaks[name] = max(num_bytes, peaks.get(name, 0))
    return peaks


def counting_peak(memory: Mapping[str, int]) -> int:
    """Return the peak that says whether a model fits: the GPU's where there is one, else the process's."""
    return memory.get("cuda", memory["process"])


def peak_resident_bytes() -> int:
    """Return the most memory that this process ever held.

    From Linux's VmHWM where there is one: `ru_maxrss` of a process begins at what its parent had held when it started
    it, so that a small child of a large parent looks large.
    """
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
