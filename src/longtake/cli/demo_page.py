"""The page that `longtake demo` writes: one file beside the videos, which works when it is opened from the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from longtake.core.files import atomic_path
from longtake.core.wording import counted


@dataclass(frozen=True)
class Scene:
    """One video on the page; paths are relative to it."""

    model: str
    caption: str
    video: str
    sheet: str
    label: str | None
    seed: int
    num_frames: int
    fps: float
    took: str


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>longtake demo</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.6rem; margin-bottom: 0; }}
  h2 {{ font-size: 1.2rem; margin: 2rem 0 .5rem; }}
  .scenes {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.5rem; }}
  figure {{ margin: 0; }}
  video, img {{ width: 100%; display: block; border-radius: 6px; background: #8883; image-rendering: pixelated; }}
  img {{ margin-top: .5rem; }}
  figcaption {{ margin-top: .5rem; }}
  small {{ opacity: .75; }}
</style>
<h1>longtake demo</h1>
<p>Sampled from the models that ship with the package; nothing here was recorded.</p>
{models}
</html>
"""

MODEL = """<h2>{model}</h2>
<div class="scenes">
{figures}
</div>"""

FIGURE = """<figure>
  <video src="{video}" controls loop muted autoplay playsinline></video>
  <a href="{sheet}"><img src="{sheet}" alt="Frames of the video, evenly spaced"></a>
  <figcaption>{caption}<br><small>{facts}</small></figcaption>
</figure>"""


def write_page(path: Path, scenes: Sequence[Scene]) -> Path:
    """Write the page, a section per model; returns `path`."""
    models = dict.fromkeys(scene.model for scene in scenes)
    sections = [
        MODEL.format(model=escape(model), figures="\n".join(figure(scene) for scene in scenes if scene.model == model))
        for model in models
    ]
    with atomic_path(path) as partial:
        partial.write_text(PAGE.format(models="\n".join(sections)))
    return path


def figure(scene: Scene) -> str:
    """Return one video with its contact sheet and facts as HTML."""
    facts = [
        *([f"label {scene.label}"] if scene.label is not None else []),
        f"seed {scene.seed}",
        counted(scene.num_frames, "frame"),
        f"{scene.num_frames / scene.fps:.1f} s at {scene.fps:g} fps",
        f"made in {scene.took}",
    ]
    return FIGURE.format(
        video=escape(scene.video),
        sheet=escape(scene.sheet),
        caption=escape(scene.caption),
        facts=escape(" · ".join(facts)),
    )
