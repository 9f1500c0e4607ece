"""What the page says of a run, as HTML."""

from __future__ import annotations

import base64
import time
from html import escape

from longtake.studio.curves import curve_svg
from longtake.studio.preview import duration
from longtake.studio.runs import Preview, RunState, StageState

SILENT_S = 120
MOST_CHECKPOINTS = 6


def status(state: RunState) -> str:
    """Return how far the run is, stage by stage, and its newest checkpoints."""
    rows = "".join(_stage_row(stage) for stage in state.stages)
    table = f"<table><tr><th>Stage</th><th>Step</th><th></th><th>Left</th></tr>{rows}</table>" if rows else ""
    saved = ", ".join(
        f"{escape(checkpoint.stage)} {checkpoint.step} ({_clock(checkpoint.written)})"
        for checkpoint in state.checkpoints[:MOST_CHECKPOINTS]
    )
    return (
        f'<div class="run"><p>{escape(state.recipe)} on {escape(state.data)}: <b>{_life(state)}</b></p>{table}'
        f'<p class="quiet">Checkpoints: {saved or "none yet"}</p></div>'
    )


def _life(state: RunState) -> str:
    if state.is_finished:
        return "finished, its model can be used"
    if state.quiet_s is None:
        return "nothing recorded yet"
    ago = f"last record {duration(state.quiet_s)} ago"
    return f"training ({ago})" if state.quiet_s < SILENT_S else f"quiet: stopped, or at a long step ({ago})"


def _stage_row(stage: StageState) -> str:
    if stage.steps is None:
        return f"<tr><td>{escape(stage.name)}</td><td>{stage.step}</td><td></td><td></td></tr>"
    percent = 100 * stage.step / max(1, stage.steps)
    left = "done" if stage.step >= stage.steps else "" if stage.seconds_left is None else duration(stage.seconds_left)
    return (
        f"<tr><td>{escape(stage.name)}</td><td>{stage.step} of {stage.steps}</td>"
        f'<td class="wide"><div class="bar"><b style="width:{min(100, percent):.1f}%"></b></div></td>'
        f"<td>{left}</td></tr>"
    )


def curves(state: RunState, *, everything: bool = False) -> str:
    """Return the losses of each stage, the one at work first; with `everything` also rates and gradient norms."""
    sections = []
    for stage in reversed(state.stages):
        chosen = {name: points for name, points in stage.curves.items() if everything or "loss" in name}
        figures = "".join(curve_svg(name.removeprefix("train/"), points) for name, points in chosen.items())
        sections.append(f'<h3>{escape(stage.name)}</h3><div class="grid">{figures}</div>')
    return f'<div class="run">{"".join(sections)}</div>'


def previews(state: RunState) -> str:
    """Return the newest previews, with the videos themselves in the text: a run may lie anywhere."""
    figures = "".join(_figure(preview) for preview in state.previews)
    return f'<div class="run"><h3>Newest previews</h3><div class="grid">{figures}</div></div>' if figures else ""


def _figure(preview: Preview) -> str:
    try:
        video, sheet = (base64.b64encode(file.read_bytes()).decode() for file in (preview.video, preview.sheet))
    except FileNotFoundError:  # the next one is on its way
        return ""
    title = " ".join(part for part in (preview.stage, preview.name) if part)
    return (
        f"<figure><figcaption><span>{escape(title)}</span><b>step {preview.step}</b></figcaption>"
        f'<video src="data:video/mp4;base64,{video}" autoplay loop muted playsinline controls></video>'
        f'<img src="data:image/png;base64,{sheet}" alt="Frames over time"></figure>'
    )


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S" if time.time() - moment < 86400 else "%Y-%m-%d", time.localtime(moment))
