"""Video files to uint8 frames and back: the only code that touches PyAV."""

from longtake.video.contact_sheet import contact_sheet, write_contact_sheet
from longtake.video.damage import count_damaged
from longtake.video.info import UNKNOWN_FPS, VIDEO_SUFFIXES, VideoError, VideoInfo, is_video
from longtake.video.reader import VideoReader, probe, read_video
from longtake.video.sheet_rows import SheetRows
from longtake.video.writer import WRITABLE_SUFFIXES, VideoWriter, check_rate, open_writer, write_video

__all__ = [
    "UNKNOWN_FPS",
    "VIDEO_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "SheetRows",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "check_rate",
    "contact_sheet",
    "count_damaged",
    "is_video",
    "open_writer",
    "probe",
    "read_video",
    "write_contact_sheet",
    "write_video",
]
