"""How many pictures of a file are damaged, as far as its decoder notices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import av
import av.logging

from longtake.video.info import CONTAINER_SUFFIXES
from longtake.video.packet_index import open_container, packets_of

# Their decoders neither mark a damaged picture nor refuse it: they only write a line into FFmpeg's log. Those of other
# codecs also log what does no harm.
_ONLY_LOGGED = frozenset({"ffv1", "gif", "mjpeg"})


def count_damaged(path: Path) -> tuple[int, int]:
    """Decode a container file to its end; return how many pictures are damaged, and how many there are.

    Damaged are pictures that the decoder marks as corrupt, packets that it rejects, and (FFV1, GIF, MJPEG) packets on
    which it logs an error. Not every decoder notices: those of VP8 and VP9, and mostly that of HEVC, make pictures of
    anything. Other kinds of video give `(0, 0)`: reading them fails where they are damaged. Raises `VideoError` if the
    file cannot be opened. FFmpeg's log, one for the process, is turned on meanwhile (for those three codecs alone).
    """
    if path.is_dir() or path.suffix.lower() not in CONTAINER_SUFFIXES:
        return 0, 0
    num_damaged = num_pictures = 0
    with open_container(path) as (container, stream), _errors_logged_by(stream) as errors:
        for packet in chain(packets_of(container, stream), (None,)):
            num_errors = len(errors)
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                num_damaged, num_pictures = num_damaged + 1, num_pictures + 1
                continue
            num_pictures += len(frames)
            num_corrupt = sum(frame.is_corrupt for frame in frames)
            num_damaged += max(num_corrupt, int(len(errors) > num_errors))
    return num_damaged, num_pictures


@contextmanager
def _errors_logged_by(stream: av.VideoStream) -> Iterator[Sequence[object]]:
    """Collect the errors that FFmpeg logs in this thread, if the codec is one that reports damage in no other way."""
    if stream.codec_context.codec.canonical_name not in _ONLY_LOGGED:
        yield ()
        return
    stream.codec_context.thread_count = 1  # what threads of the decoder log would not be collected
    level, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the same error in the next picture counts again
    try:
        with av.logging.Capture() as errors:
            yield errors
    finally:
        av.logging.set_skip_repeated(skips_repeated)
        av.logging.set_level(level)
