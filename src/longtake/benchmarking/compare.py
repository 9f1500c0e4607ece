"""`compare`: models and a folder of real videos in; one table of quality, speed and memory out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import longtake
from longtake.benchmarking.comparison import FLOOR, Comparison, Row, class_notes, shared_notes
from longtake.benchmarking.comparison_files import write_files
from longtake.benchmarking.contestant import Contestant, find_contestants, num_parameters
from longtake.benchmarking.machine import machine_facts
from longtake.benchmarking.real_videos import RealVideos
from longtake.benchmarking.samples import Samples, SampleSettings, complete
from longtake.core.device import choose_device
from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import device_of_process, evaluate, no_progress
from longtake.metrics.evaluation.videos import Progress, VideoFolder
from longtake.metrics.evaluation.work_group import work_group
from longtake.metrics.networks.features import FeatureNetwork, load_features


def compare(
    given: Sequence[str],
    real: Path,
    out: Path,
    config: EvaluationConfig | None = None,
    *,
    num_frames: int | None = None,
    progress: Progress = no_progress,
) -> tuple[Comparison, list[Path]]:
    """Sample the same number of videos of one length from every model and measure them against the same real clips.

    Args:
        given: models, as `longtake.load` takes them.
        real: folder of real videos.
        out: folder that keeps the videos, in a folder per model, beside comparison.json, comparison.md and a contact
            sheet. Whole videos of an earlier call with the same settings are taken up.
        config: how they are measured. Its `count` is how many videos each model makes (None: see
            `RealVideos.default_count`), its seed and device are those of sampling too.
        num_frames: frames of each video of real time; None: the shortest span that one of the models was trained on.
        progress: called with (what, how much is done, of how much).

    Returns the comparison and the files that were written. Each model samples in a process of its own (see
    `in_own_process`), so that its memory is its own; all that can be checked is checked before the first one does.
    Under `torchrun` the processes share the videos, the features and the reading; the first writes the files, and all
    return the same.

    Raises `UserError` for models that are not there, damaged, or cannot make these videos, for real videos that are
    too few or too short, for missing weights of the feature network, and for an `out` that holds other videos or lies
    among the real ones.
    """
    config = config or EvaluationConfig()
    out, real = Path(out), Path(real)
    check_apart(out, real)
    contestants = find_contestants(given)
    num_frames = min(each.span for each in contestants) if num_frames is None else num_frames
    check_length(num_frames, config)
    device = choose_device(config.device)
    with work_group() as workers:
        real_videos = RealVideos.open(real, config, progress)
        count = real_videos.check_count(config.count)
        config = replace(config, count=count)
        network = load_network(config)  # says what is missing in a moment; loading the models takes longer
        settings = SampleSettings("", num_frames, config.seed, str(device), longtake.__version__)
        entrants = workers.on_first(lambda: enter(contestants, out, settings, count, progress))
        real_videos = real_videos.checked(config, network, progress)
        floor, notes = real_videos.floor(config, network, progress)

        samples = [
            complete(contestant, entrant.samples, count, workers, progress)
            for contestant, entrant in zip(contestants, entrants, strict=True)
        ]
        rows = []
        for contestant, entrant, made in zip(contestants, entrants, samples, strict=True):
            fake = VideoFolder(made.folder, made.infos(count), ())
            report = evaluate(real_videos.folder, fake, config, network=network, progress=progress)
            rows.append(Row(contestant.name, report, contestant, entrant.parameters, entrant.fps, made))
        rows += [Row(FLOOR, floor)] if floor is not None else []
        notes = [*class_notes(contestants, count), *notes, *shared_notes(rows)]
        machine = machine_facts(device, workers.size)
        comparison = Comparison(out, real_videos, config, num_frames, rows, notes, machine)
        return comparison, workers.on_first(lambda: write_files(comparison))


@dataclass(frozen=True)
class Entrant:
    """What is found of a model that can make the videos, before it does.

    Attributes:
        parameters: weights of all networks in its pipeline.
        fps: frames per second of its videos.
        samples: its videos, those of an earlier call.
    """

    parameters: int
    fps: float
    samples: Samples


def enter(
    contestants: Sequence[Contestant], out: Path, settings: SampleSettings, count: int, progress: Progress
) -> list[Entrant]:
    """Load every model and check that it can make the videos, and that its folder is free for them."""
    entrants = []
    for done, contestant in enumerate(contestants):
        progress("checking the models", done, len(contestants))
        pipe = contestant.load("cpu")
        contestant.check(pipe, settings.seed, count, settings.frames)
        own = replace(settings, model_sha256=contestant.sha256())
        samples = Samples.open(out / contestant.name, own)
        entrants.append(Entrant(num_parameters(pipe), pipe.config.fps, samples))
        del pipe  # they need not fit into memory together
    return entrants


def check_apart(out: Path, real: Path) -> None:
    """Raise `UserError` if the videos would be written among the real ones, and be taken for such ever after."""
    if out.resolve().is_relative_to(real.resolve()):
        raise UserError(f"{out} lies in the folder of real videos, {real}: choose another --out")


def check_length(num_frames: int, config: EvaluationConfig) -> None:
    """Raise `UserError` unless a clip fits into each sampled video."""
    protocol = config.resolved_protocol()
    span = (protocol.frames - 1) * protocol.fake_stride + 1
    if num_frames < span:
        raise UserError(
            f"videos of {counted(num_frames, 'frame')} are too short for clips of {protocol.frames} at stride "
            f"{protocol.fake_stride}, which span {span}: give --frames {span} or more"
        )


def load_network(config: EvaluationConfig) -> FeatureNetwork:
    """Load the feature network once for all. Raises `UserError` for missing weights."""
    return load_features(
        config.features or config.resolved_protocol().features,
        weights=config.weights,
        trust=config.trust,
        device=device_of_process(config.device),
    )
