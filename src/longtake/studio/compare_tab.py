"""The tab where models make the same video side by side."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from longtake.core.errors import UserError
from longtake.studio import form, preview
from longtake.studio.generation import Made, Workshop
from longtake.studio.make_tab import ROLL, StopSigns
from longtake.studio.request import Request


class CompareTab:
    """Builds the tab, and makes one video after the other."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.shelf = workshop.shelf
        self.stop_signs = StopSigns()

    def build(self) -> None:
        """Lay out the tab in the blocks that are open."""
        found = self.shelf.models()
        names = list(found)
        classes = dict.fromkeys(label for model in found.values() for label in model.index.get("classes") or ())
        models = gr.CheckboxGroup(names, value=names[:2], label="Models")
        with gr.Row():
            what = gr.Dropdown(
                [form.ANY_LABEL, *classes], value=form.ANY_LABEL, label="What they show", allow_custom_value=True,
                info="A class, or a prompt for models that take one", min_width=200,
            )  # fmt: skip
            frames = gr.Number(64, label="Frames", info="Of each", precision=0, min_width=120)
            seed = gr.Number(0, label="Seed", info="Of all of them", precision=0, min_width=120)
        with gr.Row():
            start = gr.Button("Make the videos", variant="primary", scale=3, min_width=160)
            roll = gr.Button("⚄ Another seed", scale=1, min_width=140)
            stop = gr.Button("Stop", scale=1, min_width=100, interactive=False)
        screen = gr.HTML(padding=False)
        roll.click(None, None, seed, js=ROLL, api_visibility="private")
        made = start.click(
            self.make,
            [models, what, frames, seed],
            [screen, start, stop],
            show_progress="hidden",
            concurrency_limit=None,
            api_name="compare",
        )
        made.then(
            lambda: (gr.update(interactive=True), gr.update(interactive=False)), None, [start, stop],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        stop.click(self.ask_to_stop, None, stop, queue=False, api_visibility="private")

    def make(
        self, caller: gr.Request, names: list[str], what: str | None, frames: float | None, seed: float | None
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Make the video of each model in turn; a mistake in one does not keep the others from theirs."""
        stopped = self.stop_signs.of(caller)
        stopped.clear()
        cells = dict.fromkeys(names, "<i></i>")
        if not names:
            yield preview.mistake("choose at least one model"), gr.skip(), gr.skip()
            return
        yield grid(cells), gr.update(interactive=False), gr.update(interactive=True)
        for name in names:
            try:
                request = self._request(name, {"frames": frames, "seed": seed}, what)
                for news in self.workshop.make(request, stopped.is_set):
                    cells[name] = made_html(news) if isinstance(news, Made) else preview.bar(news)
                    yield grid(cells), gr.skip(), gr.skip()
            except UserError as error:
                cells[name] = preview.mistake(str(error))
                yield grid(cells), gr.skip(), gr.skip()
            if stopped.is_set():
                return

    def _request(self, name: str, values: dict[str, Any], what: str | None) -> Request:
        model = self.shelf.model(name)
        subject = "prompt" if "prompt" in form.fields(model) else "label"
        return form.read(model, {**values, subject: None if what == form.ANY_LABEL else what}, self.shelf.device)

    def ask_to_stop(self, caller: gr.Request) -> dict[str, Any]:
        """Stop what this page compares."""
        self.stop_signs.of(caller).set()
        return gr.update(interactive=False)


def grid(cells: dict[str, str]) -> str:
    """Return a cell for each model, side by side as far as there is room."""
    figures = "".join(
        f"<figure><figcaption><b>{escape(name)}</b></figcaption>{cell}</figure>" for name, cell in cells.items()
    )
    return f'<div class="grid">{figures}</div>'


def made_html(made: Made) -> str:
    """Return a video with its facts; those of a grid begin together, since the grid is shown anew with each."""
    return (
        f'<video src="{file_url(made.video)}" autoplay loop muted playsinline controls></video>{preview.summary(made)}'
    )


def file_url(path: Path) -> str:
    """Return where the page has one of its own files."""
    return f"gradio_api/file={quote(str(path))}"
