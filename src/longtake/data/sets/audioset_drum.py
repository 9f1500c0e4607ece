"""AudioSet-Drum: clips of 90 frames of people drumming, with sound (Sound2Sight, ECCV 2020; used by CCVS and TATS).

    AudioSet_Dataset/train/mp4/<number>.mp4, AudioSet_Dataset/test/mp4/<number>.mp4 (the first folder may be left out,
                                              and mp4/ may be called video/)
    .../train/audio/<number>.wav, ...         the sound of videos that have none inside (also mp3, m4a, flac)

becomes train/<number> and test/<number>, each with sound features beside it (see `stft`). Published stft_pickle
folders are not read: unpickling runs what the file says, and how those features were made is not public.
"""

from __future__ import annotations

from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_folder
from longtake.video import is_video

SOUND_SUFFIXES = (".wav", ".mp3", ".m4a", ".flac")


def _find(root: Path, split: str) -> list[Item]:
    top = find_folder(root, "AudioSet_Dataset", "")
    items = []
    for part in ("train", "test"):
        folder = find_folder(find_folder(top, part), "mp4", "video")
        videos = sorted(path for path in folder.iterdir() if is_video(path))
        if not videos:
            raise UserError(f"{folder} has no videos")
        items += [Item(video, part, video.stem, sound=_sound_of(video)) for video in videos]
    return items


def _sound_of(video: Path) -> Path:
    audio = video.parent.parent / "audio"
    beside = (audio / f"{video.stem}{suffix}" for suffix in SOUND_SUFFIXES)
    return next((file for file in beside if file.is_file()), video)


AUDIOSET_DRUM = DataSet(_find, splits=("published",))
