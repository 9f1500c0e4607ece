"""The tab where a video is made: a model, its form, the frames as they come, and the video."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import gradio as gr

from longtake.core.errors import UserError
from longtake.studio import controls, form, model_card, preview
from longtake.studio.form import CONTROLS
from longtake.studio.generation import Made, Progress, Workshop
from longtake.studio.shelf import Shelf

SHOWN_EVERY_S = 0.3
WELCOME = "The frames appear here as they are made; stop whenever you have seen enough."
ROLL = "() => Math.floor(Math.random() * 1000000)"


class StopSigns:
    """Which of the open pages asked for a stop."""

    def __init__(self) -> None:
        self._signs: defaultdict[str | None, threading.Event] = defaultdict(threading.Event)

    def of(self, request: gr.Request) -> threading.Event:
        """Return the sign of the page that a call comes from."""
        return self._signs[request.session_hash]


class MakeTab:
    """Builds the tab, and does what its controls ask for."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.shelf: Shelf = workshop.shelf
        self.stop_signs = StopSigns()

    def build(self, page: gr.Blocks) -> None:
        """Lay out the tab in the blocks that are open."""
        names = list(self.shelf.models())
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                self.model = gr.Dropdown(names, value=names[0] if names else None, label="Model", filterable=False)
                self.card = gr.HTML(padding=False)
                with gr.Accordion("About this model", open=False):
                    self.readme = gr.Markdown(elem_classes="readme")
                main = controls.build(is_main=True)
                self.frames = gr.Number(64, label="Frames", info=" ", precision=0)
                self.seed = gr.Number(0, label="Seed", info="The same seed gives the same video", precision=0)
                roll = gr.Button("⚄ Another seed", size="sm")
                self.is_part = gr.Checkbox(label="Only a part of it", info="The same frames as in the whole")
                with gr.Group(visible=False) as part:
                    self.start = gr.Slider(0, 63, 0, step=1, precision=0, label="From frame")
                    self.stop = gr.Slider(1, 64, 64, step=1, precision=0, label="Up to, but without, frame")
                with gr.Accordion("How it is sampled", open=False):
                    others = controls.build(is_main=False)
                self.controls = {control.name: (main | others)[control.name] for control in CONTROLS}
            with gr.Column(scale=7, min_width=320, elem_classes="stays"):
                with gr.Row():
                    self.make_button = gr.Button("Make the video", variant="primary", scale=3, min_width=160)
                    self.stop_button = gr.Button("Stop", interactive=False, scale=1, min_width=100)
                self.screen = gr.HTML(preview.quiet(WELCOME), padding=False)
                with gr.Column(visible=False) as self.result:
                    self.video = gr.Video(
                        autoplay=True, loop=True, show_label=False, interactive=False, elem_classes="pixels", buttons=[]
                    )
                    self.download = gr.DownloadButton("Download the video")
                    self.sheet = gr.Image(label="Contact sheet", interactive=False, buttons=["download", "fullscreen"])
                    self.command = gr.Code(
                        label="The same video from the command line", language="shell", lines=1, wrap_lines=True,
                        show_line_numbers=False, interactive=False,
                    )  # fmt: skip
                    self.python = gr.Code(
                        label="and from Python", language="python", lines=1, wrap_lines=True, show_line_numbers=False,
                        interactive=False,
                    )  # fmt: skip
        chosen: dict[str, Any] = {
            "inputs": self.model,
            "outputs": self._model_outputs(),
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        page.load(lambda: gr.update(choices=list(self.shelf.models())), None, self.model, api_visibility="private")
        page.load(self.choose, **chosen)
        self.model.change(self.choose, **chosen)
        self.frames.change(
            self.measure,
            [self.model, self.frames, self.start, self.stop],
            [self.frames, self.start, self.stop],
            show_progress="hidden",
            api_visibility="private",
        )
        self.is_part.change(
            lambda yes: gr.update(visible=yes), self.is_part, part, show_progress="hidden", api_visibility="private"
        )
        roll.click(None, None, self.seed, js=ROLL, api_visibility="private")
        made = self.make_button.click(
            self.make,
            [self.model, self.frames, self.seed, self.is_part, self.start, self.stop, *self.controls.values()],
            self._make_outputs(),
            show_progress="hidden",
            concurrency_limit=None,  # the workshop makes one at a time, and says that another waits
            api_name="make",
        )
        self.stop_button.click(self.ask_to_stop, None, self.stop_button, queue=False, api_name="stop")
        buttons = [self.make_button, self.stop_button]
        made.then(  # whatever happened
            lambda: (gr.update(interactive=True), gr.update(interactive=False)),
            None,
            buttons,
            show_progress="hidden",
            api_visibility="private",
        )

    def choose(self, name: str) -> dict[Any, Any]:
        """Show a model and its form."""
        try:
            model = self.shelf.model(name)
            fields = form.fields(model)
        except UserError as error:
            return {self.card: preview.mistake(str(error))}
        return {
            self.card: model_card.card(model),
            self.readme: model_card.readme(model),
            self.frames: gr.update(value=model.span, info=length_text(model.span, model.fps)),
            self.start: gr.update(value=0, maximum=max(1, model.span - 1)),
            self.stop: gr.update(value=model.span, maximum=max(2, model.span)),
            **{self.controls[control.name]: controls.update(control, fields.get(control.name)) for control in CONTROLS},
        }

    def measure(self, name: str, frames: float | None, start: float, stop: float) -> tuple[Any, Any, Any]:
        """Say how long a number of frames lasts, and let a part of it be chosen."""
        if not frames or frames < 1:
            return gr.update(info="at least 1"), gr.skip(), gr.skip()
        most = int(frames)
        return (
            gr.update(info=length_text(most, self.shelf.model(name).fps)),
            gr.update(maximum=max(1, most - 1), value=min(start, most - 1)),
            gr.update(maximum=max(2, most), value=min(stop, most)),  # no slider has a single value
        )

    def make(
        self,
        caller: gr.Request,
        name: str,
        frames: float | None,
        seed: float | None,
        is_part: bool,
        start: float,
        stop: float,
        *values: Any,  # noqa: ANN401 (of the controls, in order)
    ) -> Iterator[dict[Any, Any]]:
        """Make a video and show it as it comes."""
        stopped = self.stop_signs.of(caller)
        stopped.clear()
        try:
            model = self.shelf.model(name)
            given = {"frames": frames, "seed": seed, **dict(zip(self.controls, values, strict=True))}
            if is_part:
                given |= {"start": start, "stop": stop}
            request = form.read(model, given, self.shelf.device)
            shown = preview.Preview(request.length, model.fps)
            yield {
                self.screen: shown.html(Progress("waiting", 0, request.length)),
                self.result: gr.update(visible=False),
                self.make_button: gr.update(interactive=False),
                self.stop_button: gr.update(interactive=True),
            }
            last = 0.0
            for news in self.workshop.make(request, stopped.is_set):
                if isinstance(news, Made):
                    yield self._result(news)
                    return
                if news.chunk is not None:
                    shown.add(news.chunk)
                if time.monotonic() - last >= SHOWN_EVERY_S:
                    last = time.monotonic()
                    yield {self.screen: shown.html(news)}
            yield {self.screen: preview.quiet("Stopped before the first frame.")}
        except (UserError, OSError) as error:
            yield {self.screen: preview.mistake(str(error)), self.result: gr.update(visible=False)}

    def ask_to_stop(self, caller: gr.Request) -> dict[str, Any]:
        """Stop what this page makes."""
        self.stop_signs.of(caller).set()
        return gr.update(interactive=False)

    def _result(self, made: Made) -> dict[Any, Any]:
        return {
            self.screen: preview.summary(made),
            self.result: gr.update(visible=True),
            self.video: str(made.video),
            self.download: gr.update(value=str(made.video), label=f"Download {made.video.name}"),
            self.sheet: str(made.sheet),
            self.command: made.request.command(),
            self.python: made.request.python(),
        }

    def _model_outputs(self) -> list[gr.components.Component]:
        return [self.card, self.readme, self.frames, self.start, self.stop, *self.controls.values()]

    def _make_outputs(self) -> list[gr.blocks.Block]:
        result = [self.screen, self.result, self.video, self.download, self.sheet, self.command, self.python]
        return [*result, self.make_button, self.stop_button]


def length_text(num_frames: int, fps: float) -> str:
    """Return how long so many frames last."""
    return f"{num_frames / fps:.1f} s at {fps:g} fps"
