"""Which frames a container file holds and where its decoder can start: one demuxing pass, remembered per file.

The truth that all of this must agree with is decoding the file from its beginning: frame `k` is the k-th frame that
comes out. For most codecs every packet gives one frame, so the sorted presentation stamps of the packets are that list,
at a hundredth of the cost of decoding. Where this does not hold the file is decoded once instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from longtake.core.wording import counted
from longtake.video.info import UNKNOWN_FPS, VideoError, VideoInfo, open_failure
from longtake.video.oddities import describe_contents, find_file_oddities, find_frame_oddities
from longtake.video.orientation import Orientation, orientation_of

# One packet, one frame. Not here: VP8 (hidden reference frames have packets), MPEG-1/2 (field packets), old codecs.
_ONE_FRAME_PER_PACKET = frozenset(
    ("h264", "hevc", "vp9", "av1", "mpeg4", "gif", "mjpeg", "png", "ffv1", "prores", "huffyuv", "rawvideo", "qtrle")
)
# An MPEG-4 part 2 packet of so few bytes may be a "not coded" marker that gives no frame (packed B-frames, drops).
_MPEG4_MARKER_BYTES = 24
# GIF frames after the first are patches on the ones before, whatever the demuxer says of keyframes.
_NEVER_SEEK = frozenset({"gif"})
# Only real containers: a text file renamed to .mp4 must not be followed as a playlist to other files.
_DEMUXERS = "mov,matroska,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg"
# Their duration is the time at which they end, though they may begin late (cut out of a recording, B-frames).
_DURATION_FROM_ZERO = frozenset({"matroska,webm", "flv"})
# What FFmpeg and mkvmerge write of each stream of a Matroska.
_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
# A whole data set, so that training does not scan its files anew for every clip; 2 kB for a video of some seconds.
_REMEMBERED_FILES = 2**14
_RATE_TOLERANCE = 0.03
_SINGLE_THREAD_PIXELS = 640 * 480
_MAX_THREADS = 4


@dataclass(frozen=True)
class Keyframe:
    """A packet at which decoding can start."""

    packet: int
    """Its position among the packets of the stream, in file order."""
    pts: int
    dts: int | None
    place: int | None
    """Where it lies in the file, in bytes, as far as the demuxer says."""
    frame: int
    """The first frame (in presentation order) that is complete when decoding starts here."""


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The frames of a file in presentation order."""

    info: VideoInfo
    orientation: Orientation
    """How the decoded pictures are turned and mirrored for display."""
    stamps: np.ndarray | None
    """Presentation stamp of every frame, increasing; None where the file's are missing, repeated or unordered."""
    keyframes: tuple[Keyframe, ...]
    """Where decoding may start, in the order of `frame`. Empty: only at the beginning of the file."""


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    place: int | None
    size: int
    is_keyframe: bool
    is_discard: bool


@dataclass(frozen=True)
class _Decoded:
    pts: int | None
    height: int
    width: int
    orientation: Orientation

    @classmethod
    def of(cls, frame: av.VideoFrame) -> _Decoded:
        return cls(frame.pts, frame.height, frame.width, orientation_of(frame))


@contextmanager
def open_container(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open `path` and its first video stream for decoding; every failure is a `VideoError`."""
    reason = open_failure(path)
    if reason:
        raise VideoError(f"{path}: {reason}")
    try:
        container = av.open(os.fspath(path.absolute()), container_options={"format_whitelist": _DEMUXERS})
    except (av.FFmpegError, UnicodeError, ValueError) as error:
        contents = describe_contents(path)
        reason = f"not a readable video but {contents}" if contents else f"not a readable video ({_describe(error)})"
        raise VideoError(f"{path}: {reason}") from error
    with container:
        streams = video_streams(container)
        if not streams:
            cover = ", only a cover picture" if container.streams.video else ""
            raise VideoError(f"{path}: no video stream that can be decoded{cover}")
        stream = streams[0]
        context = stream.codec_context
        if context.width * context.height <= _SINGLE_THREAD_PIXELS:
            context.thread_count = 1
        else:
            context.thread_type = "AUTO"
            context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        yield container, stream


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the video streams that can be decoded; the cover picture of a sound file is none."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]


def packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the whole packets of `stream`, from where the container stands to its end or to where demuxing fails."""
    try:
        for packet in container.demux(stream):
            # The packet that a truncated file breaks off in is marked corrupt: it decodes to rubbish or not at all.
            if packet.size and not packet.is_corrupt:
                yield packet
    except av.FFmpegError:
        return


def decode_packet(stream: av.VideoStream, packet: av.Packet | None) -> list[av.VideoFrame]:
    """Decode one packet (None: flush), counting a packet that the decoder rejects as giving no frame."""
    try:
        return stream.codec_context.decode(packet)
    except av.FFmpegError:
        return []


def packet_index(path: Path, *, decode: bool = False) -> PacketIndex:
    """Return the index of `path`, remembered until the file changes.

    With `decode` the frames are counted by decoding all of them. Raises `VideoError` if there is nothing to decode.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise VideoError(f"{path}: {open_failure(path) or error.strerror}") from error
    return _remembered_index(path, decode, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=_REMEMBERED_FILES)
def _remembered_index(path: Path, decode: bool, size: int, mtime_ns: int) -> PacketIndex:
    with open_container(path) as (container, stream):
        num_indexed = len(stream.index_entries)  # as the file has it: demuxing adds to it
        packets, decoded = _scan(container, stream, decode=decode)
        if not decoded:
            raise VideoError(
                f"{path}: no frame could be decoded ({counted(len(packets), 'packet')} of {_codec(stream)})"
            )
        first = decoded[0]
        if decode:
            stamps = _increasing([frame.pts for frame in decoded])
            num_frames = len(decoded)
        else:
            stamps = _stamps_of_packets(_codec(stream), packets, first.pts)
            if stamps is None:
                return _remembered_index(path, True, size, mtime_ns)
            num_frames = len(stamps)
        sides = (first.width, first.height) if first.orientation.is_transposed else (first.height, first.width)
        announced = _announced(container, stream, packets)
        info = VideoInfo(
            path=path,
            num_frames=num_frames,
            fps=_rate(stream, stamps),
            height=sides[0],
            width=sides[1],
            codec=_codec(stream),
            has_audio=bool(container.streams.audio),
            announced_frames=announced,
            oddities=(
                *find_file_oddities(path, container.format.name, len(video_streams(container))),
                *find_frame_oddities(
                    num_frames=num_frames,
                    announced_frames=announced,
                    stamps=stamps,
                    tick=stream.time_base,
                    is_ordered=_is_ordered(packets, decoded),
                    is_oriented=first.orientation.is_exact,
                ),
            ),
        )
        may_seek = _may_seek(container, stream, num_indexed, len(packets))
    return PacketIndex(info, first.orientation, stamps, _keyframes(packets, stamps) if may_seek else ())


def _may_seek(
    container: av.container.InputContainer, stream: av.VideoStream, num_indexed: int, num_packets: int
) -> bool:
    """Whether what the demuxer calls a keyframe is one, and decodes without what comes before it."""
    if _codec(stream) in _NEVER_SEEK:
        return False
    # The palette comes with the first packet that is read, and with no other.
    if stream.codec_context.pix_fmt == "pal8":
        return False
    # What the index at the end of an AVI does not list (it is cut, or files were put together) is called a keyframe.
    return container.format.name != "avi" or num_indexed >= num_packets


def _scan(
    container: av.container.InputContainer, stream: av.VideoStream, *, decode: bool
) -> tuple[list[_Packet], list[_Decoded]]:
    """Walk the whole stream; decode all of it, or only until the first frame is out."""
    packets: list[_Packet] = []
    decoded: list[_Decoded] = []
    for packet in packets_of(container, stream):
        flags = bool(packet.is_keyframe), bool(packet.is_discard)
        packets.append(_Packet(packet.pts, packet.dts, packet.pos, packet.size, *flags))
        if decode or not decoded:
            decoded.extend(map(_Decoded.of, decode_packet(stream, packet)))
    if decode or not decoded:
        decoded.extend(map(_Decoded.of, decode_packet(stream, None)))
    return packets, decoded


def _codec(stream: av.VideoStream) -> str:
    """Return the name of the format, not of the decoder (av1, not libdav1d)."""
    return str(stream.codec_context.codec.canonical_name)


def _stamps_of_packets(codec: str, packets: list[_Packet], first: int | None) -> np.ndarray | None:
    """Return the stamps of the frames as far as packets can tell, or None if the file has to be decoded to know."""
    if codec not in _ONE_FRAME_PER_PACKET or first is None:
        return None
    if codec == "mpeg4" and any(packet.size <= _MPEG4_MARKER_BYTES for packet in packets):
        return None
    shown = [packet.pts for packet in packets if not packet.is_discard]
    if any(pts is None for pts in shown):
        return None
    # Packets before the first frame that comes out lean on frames that the file does not hold (cut from a longer one).
    return _increasing(sorted(pts for pts in shown if pts is not None and pts >= first))


def _increasing(stamps: Sequence[int | None]) -> np.ndarray | None:
    if any(pts is None for pts in stamps):
        return None
    array = np.array(stamps, dtype=np.int64)
    return array if np.all(np.diff(array) > 0) else None


def _is_ordered(packets: list[_Packet], decoded: list[_Decoded]) -> bool:
    """Whether time never runs backwards: neither for the decoder nor in the frames that have come out of it."""
    fed = [packet.dts for packet in packets if packet.dts is not None]
    shown = [frame.pts for frame in decoded if frame.pts is not None]
    return fed == sorted(fed) and shown == sorted(set(shown))


def _keyframes(packets: list[_Packet], stamps: np.ndarray | None) -> tuple[Keyframe, ...]:
    if stamps is None:
        return ()
    found = [
        Keyframe(position, packet.pts, packet.dts, packet.place, int(np.searchsorted(stamps, packet.pts)))
        for position, packet in enumerate(packets)
        if packet.is_keyframe and packet.pts is not None
    ]
    return tuple(sorted(found, key=lambda keyframe: (keyframe.frame, keyframe.packet)))


def _rate(stream: av.VideoStream, stamps: np.ndarray | None) -> float:
    nominal = float(stream.average_rate or stream.guessed_rate or 0)
    measured = 0.0
    if stamps is not None and len(stamps) > 1 and stream.time_base:
        measured = float((len(stamps) - 1) / (Fraction(int(stamps[-1] - stamps[0])) * stream.time_base))
    # The header's rate is exact where it holds (30000/1001), but a nominal one may say nothing about a variable rate.
    if measured and not abs(nominal / measured - 1) < _RATE_TOLERANCE:
        return measured
    return nominal or UNKNOWN_FPS


def _announced(container: av.container.InputContainer, stream: av.VideoStream, packets: list[_Packet]) -> int | None:
    """Return the header's number of frames; for Matroska and WebM, which only hold a duration, duration times rate."""
    if stream.frames > 0:
        hidden = sum(packet.is_discard for packet in packets)
        shown = len(packets) - hidden
        return shown if _is_cut_by_edits(stream, shown) else int(stream.frames) - hidden
    stamps = _increasing(sorted(packet.pts for packet in packets if packet.pts is not None))
    duration = _announced_seconds(container, stream)
    if duration is None or not stream.average_rate or stamps is None or len(stamps) < 2 or not stream.time_base:
        return None
    if container.format.name in _DURATION_FROM_ZERO:
        duration -= max(0.0, float(stamps[0] * stream.time_base))
    steps = np.diff(stamps) * float(stream.time_base * stream.average_rate)
    # Stamps are rounded to milliseconds there; a variable rate makes the product meaningless.
    if np.any(np.abs(steps - 1) > 0.1):
        return None
    return round(duration * float(stream.average_rate))


def _announced_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Return the header's duration of the pictures; None if it only has that of a file whose sound may be longer."""
    tag = _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is not None:
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
    if container.duration is None or len(container.streams) > 1:
        return None
    return container.duration / av.time_base


def _is_cut_by_edits(stream: av.VideoStream, shown: int) -> bool:
    """Whether `shown` frames are all that the edit list of an mp4 or mov leaves, though its tables count more.

    The demuxer takes groups of pictures that are skipped whole out of its index and shortens the duration to match. A
    damaged table makes the index short as well, but not the duration.
    """
    if shown == stream.frames or stream.duration is None:
        return False
    kept = [entry.timestamp for entry in stream.index_entries if not entry.is_discard]
    if len(kept) != shown or shown < 2:
        return False
    gap = max(later - earlier for earlier, later in pairwise(kept))
    return bool(kept[-1] - kept[0] + 1.5 * gap > stream.duration)


def _describe(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
