"""One video that somebody asked for, and how to make it again without the page."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.nn.stream_options import flag

if TYPE_CHECKING:
    import numpy as np
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Request:
    """A video: a model, a length, a part of it, a seed, and what else `stream` takes.

    Attributes:
        model: what `longtake.load` takes.
        num_frames: frames of the whole video.
        start: first frame to make.
        stop: one past the last frame to make.
        seed: the same seed gives the same video.
        options: further arguments of `stream`, without those left to the model. A `first_clip` is its file.
        device: what the model is loaded onto; None is the best there is.
    """

    model: str
    num_frames: int
    start: int
    stop: int
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None

    @property
    def length(self) -> int:
        """Frames to make."""
        return self.stop - self.start

    @property
    def file_name(self) -> str:
        """A name for the video's file that says what it shows."""
        about = self.options.get("label") or self.options.get("prompt") or ""
        part = "" if self.length == self.num_frames else f"{self.start}-{self.stop}"
        words = [Path(self.model).name, str(about)[:40], f"seed{self.seed}", part]
        return "-".join(re.sub(r"[^\w.-]+", "-", word).strip("-") for word in words if word) + ".mp4"

    def shortened(self, num_frames: int) -> Request:
        """Return the request for no more than the first frames of what this one asks for."""
        return dataclasses.replace(self, stop=self.start + num_frames)

    def stream(self, pipe: DiffusionPipeline) -> Iterator[np.ndarray]:
        """Return the video in chunks of uint8 "t h w 3"; raises `UserError` for what the model does not take."""
        from longtake.video import read_video

        options = dict(self.options)
        if "first_clip" in options:
            options["first_clip"] = read_video(Path(options["first_clip"]))
        return pipe.stream(self.num_frames, start=self.start, stop=self.stop, seed=self.seed, **options)

    def command(self) -> str:
        """Return the `longtake sample` command that writes the same file, bit for bit."""
        words = ["longtake", "sample", self.model, "--frames", str(self.num_frames)]
        if self.length < self.num_frames:
            words += ["--start", str(self.start), "--stop", str(self.stop)]
        for name, value in {"seed": self.seed, **self._shown_options()}.items():
            if isinstance(value, bool):
                words.append(flag(name))
            elif name == "story":
                for frame, text in value:
                    words += [flag(name), f"{frame}:{text}"]
            elif str(value).startswith("-"):
                words.append(f"{flag(name)}={value}")
            else:
                words += [flag(name), str(value)]
        if self.device is not None:
            words += ["--device", self.device]
        return shlex.join([*words, "--out", self.file_name])

    def python(self) -> str:
        """Return the lines of Python that do."""
        part = f", start={self.start}, stop={self.stop}" if self.length < self.num_frames else ""
        options = self._shown_options()
        clip = options.pop("first_clip", None)
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        given += f", first_clip=read_video(Path({clip!r}))" if clip else ""
        device = f", device={self.device!r}" if self.device is not None else ""
        return f"""\
from pathlib import Path

import longtake
from longtake.video import open_writer{", read_video" if clip else ""}

pipe = longtake.load({self.model!r}{device})
with open_writer(Path({self.file_name!r}), pipe.config.fps) as writer:
    for chunk in pipe.stream({self.num_frames}{part}, seed={self.seed}{given}):
        writer.write(chunk)  # uint8 (t, h, w, 3)
"""

    def _shown_options(self) -> dict[str, Any]:
        """Options as they are shown: of a file that was brought to the page, the name it has at its owner's."""
        files = ("first_clip", "audio")
        return {name: Path(value).name if name in files else value for name, value in self.options.items()}
