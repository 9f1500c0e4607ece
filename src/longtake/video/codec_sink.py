"""Frames into coded files: mp4 (H.264), webm (VP9), gif."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from jaxtyping import UInt8

_TO_YUV = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
_BT601 = 6  # AVCOL_SPC_SMPTE170M, the matrix that swscale uses for RGB unless told otherwise
_SINGLE_THREAD_PIXELS = 256 * 256
_MAX_THREADS = 8


class _YuvSink:
    """Encodes frames as 4:2:0 YUV with the colour matrix written into the file."""

    def __init__(self, path: Path, fps: float, codec: str, *, options: Mapping[str, str], even: bool) -> None:
        self._path = path
        self._rate = Fraction(fps).limit_denominator(1001)
        self._codec = codec
        self._options = dict(options)
        self._even = even
        self._num_frames = 0
        self._to_yuv = VideoReformatter()
        self._stream: av.VideoStream | None = None
        container_options = {"movflags": "+faststart"} if path.suffix.lower() == ".mp4" else {}
        self._container = av.open(os.fspath(path), "w", options=container_options)

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode the next frame."""
        if self._even:
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._start(height=frame.shape[0], width=frame.shape[1])
        picture = self._to_yuv.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
            interpolation=_TO_YUV,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts = self._num_frames
        picture.time_base = 1 / self._rate
        self._num_frames += 1
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Flush the encoder and complete the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._container.close()

    def _start(self, height: int, width: int) -> av.VideoStream:
        stream = self._container.add_stream(self._codec, rate=self._rate, options=self._options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.colorspace, context.color_range = _BT601, int(ColorRange.MPEG)
        small = height * width <= _SINGLE_THREAD_PIXELS
        context.thread_count = 1 if small else min(_MAX_THREADS, os.cpu_count() or 1)
        return stream


class Mp4Sink(_YuvSink):
    """H.264 in mp4, the index in front; odd sizes are made even by repeating the last row and column."""

    def __init__(self, path: Path, fps: float) -> None:
        # x264's AVX-512 code for macroblock trees gives other bytes each time, and pixels that differ by up to 40: the
        # same frames are to be the same file.
        options = {"crf": "17", "preset": "medium", "x264-params": "mbtree=0"}
        super().__init__(path, fps, "libx264", options=options, even=True)


class WebmSink(_YuvSink):
    """VP9 in webm."""

    def __init__(self, path: Path, fps: float) -> None:
        options = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"}
        super().__init__(path, fps, "libvpx-vp9", options=options, even=False)


class GifSink:
    """GIF with the best 256 colours of each frame, so that nothing has to wait for the last frame."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._rate = Fraction(fps).limit_denominator(1001)
        self._num_frames = 0
        self._stream: av.VideoStream | None = None
        self._graph = av.filter.Graph()
        self._container = av.open(os.fspath(path), "w")

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode the next frame."""
        if self._stream is None:
            self._stream = self._start(height=frame.shape[0], width=frame.shape[1])
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = self._num_frames
        picture.time_base = 1 / self._rate
        self._num_frames += 1
        self._graph.push(picture)
        self._pull()

    def finish(self) -> None:
        """Flush the filters and the encoder and complete the file."""
        if self._stream is not None:
            self._graph.push(None)
            self._pull()
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._container.close()

    def _pull(self) -> None:
        assert self._stream is not None
        while True:
            try:
                picture = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self._container.mux(self._stream.encode(picture))

    def _start(self, height: int, width: int) -> av.VideoStream:
        source = self._graph.add_buffer(width=width, height=height, format="rgb24", time_base=1 / self._rate)
        split = self._graph.add("split")
        palette = self._graph.add("palettegen", "stats_mode=single")
        use = self._graph.add("paletteuse", "new=1:dither=sierra2_4a")
        sink = self._graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        self._graph.configure()
        stream = self._container.add_stream("gif", rate=self._rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        stream.codec_context.time_base = 1 / self._rate
        return stream
