"""Frames out of a folder of png or jpg images, in the natural order of the number that ends each name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from longtake.video.info import FRAME_SUFFIXES, UNKNOWN_FPS, VideoError, VideoInfo

_EXIF_ORIENTATION = 0x0112
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)


class FrameFolderSource:
    """Reads frames of one folder; `frame2.png` comes before `frame10.png`, names without a number come last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.files = sorted((file for file in path.iterdir() if _is_frame(file)), key=_natural_order)
        except OSError as error:
            raise VideoError(f"{path}: {(error.strerror or type(error).__name__).lower()}") from error
        if not self.files:
            raise VideoError(f"{path}: the folder holds no frames ({', '.join(FRAME_SUFFIXES)})")
        height, width = self._size(self.files[0])
        self.info = VideoInfo(
            path=path,
            num_frames=len(self.files),
            fps=UNKNOWN_FPS,
            height=height,
            width=width,
            codec="images",
            has_audio=False,
            announced_frames=None,
        )

    def check_sizes(self) -> None:
        """Raise `VideoError` if an image cannot be opened or has another size than the first; reads headers only."""
        for file in self.files:
            self._check_size(file, self._size(file))

    def read(self, wanted: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the frames of the increasing numbers `wanted`."""
        for number in wanted:
            file = self.files[number]
            try:
                with Image.open(file) as image:
                    frame = _as_rgb(ImageOps.exif_transpose(image))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise VideoError(f"{self.path}: frame {file.name} cannot be read ({error})") from error
            self._check_size(file, frame.shape[:2])
            yield frame

    def close(self) -> None:
        """Nothing is kept open."""

    def _size(self, file: Path) -> tuple[int, int]:
        try:
            with Image.open(file) as image:
                width, height = image.size
                turned = image.getexif().get(_EXIF_ORIENTATION) in _TURNED_BY_A_QUARTER
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(f"{self.path}: frame {file.name} cannot be read ({error})") from error
        return (width, height) if turned else (height, width)

    def _check_size(self, file: Path, size: tuple[int, ...]) -> None:
        if size != (self.info.height, self.info.width):
            raise VideoError(
                f"{self.path}: frame {file.name} is {size[1]}x{size[0]}, "
                f"the first one {self.info.width}x{self.info.height}"
            )


def _is_frame(file: Path) -> bool:
    return file.suffix.lower() in FRAME_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _natural_order(file: Path) -> tuple[bool, int, str]:
    number = re.search(r"(\d+)$", file.stem)
    return (number is None, int(number.group(1)) if number else 0, file.name)


def _as_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    # Pillow clips 16-bit grey to 255 instead of scaling it.
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64) >> 8
        return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    return np.array(image.convert("RGB"))
