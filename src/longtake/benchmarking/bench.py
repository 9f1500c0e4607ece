"""`bench`: how fast models sample and how much memory that takes, on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from longtake import models
from longtake.benchmarking.contestant import Contestant, can_go_on, find_contestants, num_parameters
from longtake.benchmarking.cost import (
    VideoCost,
    counting_peak,
    metered,
    peak_memory,
    peak_resident_bytes,
    warm_up,
)
from longtake.benchmarking.machine import describe_machine, machine_facts, what_is_measured
from longtake.benchmarking.own_process import Tell, in_own_process
from longtake.benchmarking.table import NOTHING, Cell, Table, megabytes, millions, short, time_cells
from longtake.core.device import choose_device
from longtake.metrics.evaluation.evaluation import no_progress
from longtake.metrics.evaluation.report import versions
from longtake.metrics.evaluation.videos import Progress

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SHORT = 64  # frames whose peak memory that of longer videos is compared with


def bench(
    given: Sequence[str],
    lengths: Sequence[int],
    *,
    seed: int = 0,
    device: str | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Sample one video of each length from every model, each in a process of its own, and return the figures.

    Args:
        given: models, as `longtake.load` takes them; none: those that ship with the package.
        lengths: frames of the videos, real time; a model of a fixed span is stretched beyond it.
        seed: what the videos are drawn from.
        device: where; None: the best there is.
        progress: called with (what, how much is done, of how much).

    Raises `UserError` for a model that is not there, damaged, or samples nothing without a first clip or sound.
    """
    contestants = find_contestants(list(given) or [model.name for model in models.available_models()])
    target = choose_device(device)
    known = []
    for done, contestant in enumerate(contestants):
        progress("checking the models", done, len(contestants))
        pipe = contestant.load("cpu")
        contestant.check(pipe, seed, num_videos=1, num_frames=1)
        known.append((num_parameters(pipe), hasattr(pipe, "codes")))
        del pipe  # they need not fit into memory together
    figures = []
    for contestant, (parameters, draws_tokens) in zip(contestants, known, strict=True):
        facts = {"name": contestant.name, "model": contestant.model, "family": contestant.family}
        measured = measure_model(contestant, sorted(set(lengths)), seed, str(target), progress)
        if draws_tokens:
            progress(f"{contestant.name}: tokens", 0, 1)
            measured["tokens"] = in_own_process(measure_tokens, contestant, seed, str(target), hear=lambda _: None)
        figures.append({**facts, "parameters": parameters, **measured})
    return {"seed": seed, "machine": machine_facts(target), "versions": versions(), "models": figures}


def measure_model(
    contestant: Contestant, lengths: Sequence[int], seed: int, device: str, progress: Progress
) -> dict[str, Any]:
    """Return what one video of each length took, and how memory grows from a short one to the longest."""
    done = 0

    def hear(num_frames: int) -> None:
        nonlocal done
        done += num_frames
        progress(f"{contestant.name}: frames", done, sum(lengths))

    videos = [in_own_process(measure_length, contestant, length, seed, device, hear=hear) for length in lengths]
    return {"videos": videos, "memory_growth": memory_growth(videos)}


def measure_length(tell: Tell, contestant: Contestant, num_frames: int, seed: int, device: str) -> dict[str, Any]:
    """Load a model, sample one video and return what it took; tells how many frames each chunk brought."""
    pipe = contestant.load(device)
    loaded = peak_resident_bytes()
    figures = measure_video(pipe, num_frames, contestant.options(seed, 0), tell)
    figures["memory_bytes"]["loaded"] = loaded
    return figures


def measure_video(pipe: DiffusionPipeline, num_frames: int, options: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Sample one video after a warm-up, drop its frames, and return what it took, with this process's peaks so far."""
    stretch = {"stretch": True} if num_frames > pipe.config.span and not can_go_on(pipe) else {}
    options = {**options, **stretch}
    warm_up(pipe, num_frames, options)
    cost = VideoCost()
    for chunk in metered(partial(pipe.stream, num_frames, **options), cost):
        tell(len(chunk))
    return {**cost.to_json(), **stretch, "memory_bytes": peak_memory(pipe.device)}


def measure_tokens(_tell: Tell, contestant: Contestant, seed: int, device: str) -> dict[str, Any]:
    """Load a TATS and return how fast it draws the tokens of one video, without decoding them."""
    pipe = contestant.load(device)
    options = contestant.options(seed, 0)
    next(pipe.codes(pipe.config.span, **options))  # what is set up at the first use
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = [latent.cpu() for latent in pipe.codes(pipe.config.span, **options)]
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "count": sum(latent.numel() for latent in tokens),
        "seconds": round(seconds, 4),
        "cpu_seconds": round(cpu_seconds, 4),
    }


def memory_growth(videos: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the longest video's peak over that of 64 frames; None unless both were measured."""
    peaks = {video["frames"]: counting_peak(video["memory_bytes"]) for video in videos}
    longest = max(peaks)
    return peaks[longest] / peaks[SHORT] if SHORT in peaks and longest > SHORT else None


def bench_table(figures: Mapping[str, Any]) -> Table:
    """Return the figures as a table: a row per model and length."""
    rows: list[list[Cell]] = []
    lines = []
    for model in figures["models"]:
        for place, video in enumerate(model["videos"]):
            name = (model["name"], f"{model['family']}, {millions(model['parameters'])}") if place == 0 else NOTHING
            rows.append([name, *video_cells(video)])
        if model["memory_growth"] is not None:
            longest = model["videos"][-1]["frames"]
            growth = f"{longest} frames peak at {model['memory_growth']:.2f} x the memory of {SHORT}"
            lines.append(f"{model['name']}: {growth}")
        if "tokens" in model:
            tokens = model["tokens"]
            rates = [short(tokens["count"] / tokens[clock]) for clock in ("seconds", "cpu_seconds")]
            lines.append(f"{model['name']}: {rates[0]} tokens/s ({rates[1]} per CPU s), not decoded")
    lines.append(f"on {describe_machine(figures['machine'])}; {what_is_measured(figures['machine'])}")
    columns = [
        ("frames", ""),
        ("to the first", "s"),
        ("seconds", "of CPU"),
        ("frames/s", "per CPU s"),
        ("peak memory", ""),
    ]
    return Table([("model", "family, weights"), *columns], rows, lines)


def video_cells(video: Mapping[str, Any]) -> list[Cell]:
    """Return a row without the model's name."""
    return [
        (str(video["frames"]), "stretched" if video.get("stretch") else ""),
        (short(video["first_seconds"]), ""),
        *time_cells(video["frames"], video["seconds"], video["cpu_seconds"]),
        (megabytes(counting_peak(video["memory_bytes"])), ""),
    ]
