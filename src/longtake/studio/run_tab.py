"""The tab where a training is watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from longtake.core.errors import UserError
from longtake.studio import preview, run_page, runs
from longtake.studio.shelf import Shelf

EVERY_S = 3


class RunTab:
    """Builds the tab, and reads the run every few seconds while the tab is open."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def build(self, tab: gr.Tab, other_tabs: list[gr.Tab]) -> None:
        """Lay out the tab in the blocks that are open; it rests while one of the others is looked at."""
        choices = self.shelf.runs
        with gr.Row():
            run = gr.Dropdown(
                choices,
                value=choices[0] if choices else None,
                label="Run folder",
                info="One that the page was started with, or any path",
                allow_custom_value=True,
                scale=4,
            )
            everything = gr.Checkbox(label="Rates and gradient norms too", scale=2, min_width=220)
        status = gr.HTML(padding=False)
        pictures = gr.HTML(padding=False)
        curves = gr.HTML(padding=False)
        seen = gr.State(())
        timer = gr.Timer(EVERY_S, active=False)
        look: dict[str, Any] = {
            "fn": self.look,
            "inputs": [run, everything, seen],
            "outputs": [status, pictures, curves, seen],
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        gr.on([run.change, everything.change, tab.select, timer.tick], **look)
        tab.select(lambda: gr.Timer(active=True), None, timer, show_progress="hidden", api_visibility="private")
        for other in other_tabs:
            other.select(lambda: gr.Timer(active=False), None, timer, show_progress="hidden", api_visibility="private")

    def look(self, folder: str | None, everything: bool, seen: tuple[Any, ...]) -> tuple[Any, Any, Any, Any]:
        """Read the run; what looks as before is left as it is, so that its videos go on."""
        if not folder:
            return preview.quiet("Choose a run folder, or type its path."), "", "", ()
        try:
            state = runs.read_run(Path(folder))
        except (UserError, OSError) as error:
            return preview.mistake(str(error)), "", "", ()
        shown = (
            [(item.video, item.step) for item in state.previews],
            [(stage.name, stage.step) for stage in state.stages],
        )
        now = (folder, everything, *shown)
        old_pictures, old_curves = (seen[0], seen[2]) if seen else None, (seen[0], seen[1], seen[3]) if seen else None
        return (
            run_page.status(state),
            gr.skip() if old_pictures == (now[0], now[2]) else run_page.previews(state),
            gr.skip() if old_curves == (now[0], now[1], now[3]) else run_page.curves(state, everything=everything),
            now,
        )
