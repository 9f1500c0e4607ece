"""Exact frames out of a container file (mp4, mkv, webm, avi, mov, gif)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from jaxtyping import UInt8

from longtake.core.wording import counted
from longtake.video.info import VideoError, VideoInfo
from longtake.video.packet_index import PacketIndex, decode_packet, open_container, packet_index, packets_of

# Starting over at a keyframe costs about as much as decoding this many frames.
_SEEK_WORTH_FRAMES = 4
# Small frames are used pixel by pixel: their chroma is interpolated by cubics (up to 9 dB nearer to the original than
# repeating it). Large ones are scaled down before use: linear interpolation will do, at 60 % of the time. Both without
# swscale's shortcuts, which are faster still (eight times, 320x240) but make 4:2:0 pictures 1.2 grey levels darker.
_SMALL_PIXELS = 256 * 256
_ACCURATE = Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
_FOR_SMALL = Interpolation.BICUBIC | _ACCURATE
_FOR_LARGE = Interpolation.BILINEAR | _ACCURATE


class _IndexMismatchError(Exception):
    """The decoder gives other frames than the index says."""


class ContainerSource:
    """Reads frames of one file; keeps its decoder where the last read ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = packet_index(path)
        self._counted_by_decoding = False
        self._may_seek = True
        self._pass: _DecodingPass | None = None

    @property
    def info(self) -> VideoInfo:
        """The facts of the file; `num_frames` falls if decoding shows that packets give no frames."""
        return self._index.info

    def read(self, wanted: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the frames of the increasing numbers `wanted`."""
        position = 0
        while position < len(wanted):
            try:
                if self._pass is None:
                    self._pass = _DecodingPass(self.path, self._index, may_seek=self._may_seek)
                frame = self._pass.frame(wanted[position])
            except _IndexMismatchError:
                self._distrust()
                continue
            if frame is None:
                raise VideoError(
                    f"{self.path}: frame {wanted[position]} is wanted, but only "
                    f"{counted(self.info.num_frames, 'frame')} can be decoded{self._promise()}"
                )
            yield frame
            position += 1

    def close(self) -> None:
        """Close the file."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _distrust(self) -> None:
        """Fall back one step: no seeking after a mismatch behind a seek, else count by decoding everything."""
        assert self._pass is not None
        sought = self._pass.has_sought
        self.close()
        if sought:
            self._may_seek = False
        elif not self._counted_by_decoding:
            self._counted_by_decoding = True
            self._index = packet_index(self.path, decode=True)
        else:
            raise VideoError(f"{self.path}: two decoding passes give different frames")

    def _promise(self) -> str:
        announced = self.info.announced_frames
        return f" (its header promises {announced})" if announced and announced > self.info.num_frames else ""


class _DecodingPass:
    """One decoder working its way forward through a file, with jumps to keyframes."""

    def __init__(self, path: Path, index: PacketIndex, *, may_seek: bool) -> None:
        self._path = path
        self._index = index
        self._keyframes = index.keyframes if may_seek else ()
        self._starts = [keyframe.frame for keyframe in self._keyframes]
        self._to_rgb = VideoReformatter()
        self._stack = ExitStack()
        self.has_sought = False
        self._rewind()

    def frame(self, number: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return frame `number`, or None if the file ends before it."""
        if number >= self._index.info.num_frames:
            return None
        self._approach(number)
        for frame in self._frames:
            self._check(frame)
            self._next += 1
            if self._next > number:
                return self._pixels(frame, number)
        # fewer frames than the index promised: only a full decode can tell how many there are
        raise _IndexMismatchError

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _approach(self, number: int) -> None:
        """Jump if that saves decoding: backwards always, forwards over a keyframe that is some way ahead."""
        place = bisect_right(self._starts, number) - 1
        start = self._starts[place] if place >= 0 else 0
        if self._next <= number and start < self._next + _SEEK_WORTH_FRAMES:
            return
        if place < 0 or self._keyframes[place].packet == 0:
            self._rewind()
        else:
            self._seek(place)

    def _rewind(self) -> None:
        self._stack.close()
        self._container, self._stream = self._stack.enter_context(open_container(self._path))
        self._next = 0
        self.has_sought = False
        self._frames = self._decode(packets_of(self._container, self._stream))

    def _seek(self, place: int) -> None:
        target = self._keyframes[place]
        packets = self._packets_from_seek(place)
        if packets is None:
            # the demuxer cannot seek there: walk the packets without decoding them
            self._rewind()
            packets = packets_of(self._container, self._stream)
            for _ in range(target.packet):
                next(packets, None)
        self._next = target.frame
        self.has_sought = True
        frames = self._decode(packets)
        # Frames shown before the keyframe but stored after it (open GOP) lean on the group before: useless from here.
        self._frames = (frame for frame in frames if frame.pts is None or frame.pts >= target.pts)

    def _packets_from_seek(self, place: int) -> Iterator[av.Packet] | None:
        """Seek the demuxer and return the packets from keyframe `place` on, or None if it lands elsewhere."""
        target = self._keyframes[place]
        try:
            self._container.seek(target.pts if target.dts is None else target.dts, stream=self._stream, backward=True)
        except av.FFmpegError:
            return None
        packets = packets_of(self._container, self._stream)
        for packet in packets:
            if packet.is_keyframe and packet.pts == target.pts:
                # a damaged table of contents may lead to other bytes with the same time stamp
                return _chain(packet, packets) if packet.pos == target.place else None
            # Landing a group early is fine; at a later keyframe, the wanted one has been passed.
            if packet.is_keyframe and packet.pts is not None and packet.pts > target.pts:
                return None
        return None

    def _decode(self, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            yield from decode_packet(self._stream, packet)
        yield from decode_packet(self._stream, None)

    def _check(self, frame: av.VideoFrame) -> None:
        """Raise if this is not the frame that the index has at this place."""
        stamps = self._index.stamps
        if stamps is None:
            return
        if self._next >= len(stamps) or frame.pts != stamps[self._next] or (self.has_sought and frame.is_corrupt):
            raise _IndexMismatchError

    def _pixels(self, frame: av.VideoFrame, number: int) -> UInt8[np.ndarray, "h w 3"]:
        # Untagged colours are BT.601, limited range, as in every FFmpeg based reader; alpha is dropped.
        is_small = frame.height * frame.width <= _SMALL_PIXELS
        try:
            rgb = self._to_rgb.reformat(
                frame,
                format="rgb24",
                interpolation=_FOR_SMALL if is_small else _FOR_LARGE,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            ).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"{self._path}: frame {number} cannot be turned into RGB ({error})") from error
        info = self._index.info
        turned = self._index.orientation.apply(rgb)
        if turned.shape != (info.height, info.width, 3):
            raise VideoError(
                f"{self._path}: frame {number} is {turned.shape[1]}x{turned.shape[0]}, "
                f"the first one {info.width}x{info.height}"
            )
        return turned


def _chain(first: av.Packet, rest: Iterator[av.Packet]) -> Iterator[av.Packet]:
    yield first
    yield from rest
