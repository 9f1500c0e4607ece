"""`compare`: models and a folder of real videos in; one table of quality, speed and memory out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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

    Raises `UserError` for models that are not there, damaged, or cannot make these videos, for real videos that are
    too few or too short, for missing weights of the feature network, and for an `out` that holds other videos.
    """
    config = config or EvaluationConfig()
    contestants = find_contestants(given)
    num_frames = min(each.span for each in contestants) if num_frames is None else num_frames
    check_length(num_frames, config)
    device = choose_device(config.device)
    real_videos = RealVideos.open(Path(real), config, progress)
    config = replace(config, count=real_videos.check_count(config.count))
    assert config.count is not None

    network = load_network(config)  # says what is missing in a moment; loading the models takes longer
    settings = SampleSettings("", num_frames, config.seed, str(device), longtake.__version__)
    samples, parameters, rates = [], [], []
    for done, contestant in enumerate(contestants):
        progress("checking the models", done, len(contestants))
        pipe = contestant.load("cpu")
        contestant.check(pipe, config.seed, config.count, num_frames)
        parameters.append(num_parameters(pipe))
        rates.append(pipe.config.fps)
        own = replace(settings, model_sha256=contestant.sha256())
        samples.append(Samples.open(Path(out) / contestant.name, own))
        del pipe  # they need not fit into memory together
    floor, notes = real_videos.floor(config, network, progress)

    for number, contestant in enumerate(contestants):
        samples[number] = sample(contestant, samples[number], config.count, progress)
    rows = []
    for number, contestant in enumerate(contestants):
        infos = samples[number].infos(config.count)
        fake = VideoFolder(samples[number].folder, infos, ())
        report = evaluate(real_videos.folder, fake, config, network=network, progress=progress)
        rows.append(Row(contestant.name, report, contestant, parameters[number], rates[number], samples[number]))
    rows += [Row(FLOOR, floor)] if floor is not None else []
    notes = [*class_notes(contestants, config.count), *notes, *shared_notes(rows)]
    comparison = Comparison(Path(out), real_videos, config, num_frames, rows, notes, machine_facts(device))
    return comparison, write_files(comparison)


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


def sample(contestant: Contestant, samples: Samples, count: int, progress: Progress) -> Samples:
    """Complete a model's videos, with the frames as progress."""
    total = samples.settings.frames * count
    done = total - samples.settings.frames * len(samples.missing(count))

    def hear(num_new: int) -> None:
        nonlocal done
        done += num_new
        progress(f"{contestant.name}: sampling", done, total)

    return complete(contestant, samples, count, hear)
