"""AudioSet-Drum end to end: pictures and the spectra of their sound."""

import wave

import numpy as np

from longtake.data.index import index_folder
from longtake.data.prepare import prepare
from longtake.data.sets.options import PrepareOptions
from longtake.data.sets.stft import SAMPLE_RATE, frame_spectra, read_spectra

FPS, NUM_FRAMES = 10, 12


def write_wav(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


def beats(*frames):
    """A loud tone while each of these frames is shown, silence else."""
    samples = np.zeros(NUM_FRAMES * SAMPLE_RATE // FPS, np.float32)
    for frame in frames:
        begin, end = (round(k * SAMPLE_RATE / FPS) for k in (frame, frame + 1))
        samples[begin:end] = 0.9 * np.sin(2 * np.pi * 12 / 88 * np.arange(end - begin))
    return samples


def make_set(root, make_video):
    top = root / "AudioSet_Dataset"
    for part, number, frames in (("train", "1", (3, 8)), ("train", "2", (0,)), ("test", "7", (11,))):
        make_video(top / part / "mp4" / f"{number}.mp4", NUM_FRAMES, fps=FPS)
        write_wav(top / part / "audio" / f"{number}.wav", beats(*frames))
    return root


def test_each_frame_has_the_spectrum_of_its_time(tmp_path, make_video, numbers_of):
    root = make_set(tmp_path / "drums", make_video)
    result = prepare("audioset-drum", root, tmp_path / "out")
    assert result.written == {"train": 2, "test": 1}
    train = index_folder(tmp_path / "out" / "train")
    assert [entry.path.name for entry in train.entries] == ["1.mp4", "2.mp4"]
    assert train.unreadable == ()  # the spectra are not taken for videos
    assert numbers_of(train.entries[0].path) == list(range(NUM_FRAMES))
    spectra = read_spectra(train.entries[0].path)
    assert spectra.shape == (NUM_FRAMES, 45, 17)
    loud = spectra[:, 12, 8]  # row of the tone, middle of the frame
    assert np.flatnonzero(loud > 0.9).tolist() == [3, 8]
    assert (loud[[0, 1, 5, 6, 11]] == 0).all()
    assert np.abs(spectra - frame_spectra(beats(3, 8), NUM_FRAMES, FPS)).max() < 0.05


def test_another_rate_has_as_many_spectra_as_frames(tmp_path, make_video):
    root = make_set(tmp_path / "drums", make_video)
    prepare("audioset-drum", root, tmp_path / "out", PrepareOptions(fps=5))
    entry = index_folder(tmp_path / "out" / "train").entries[0]
    spectra = read_spectra(entry.path)
    assert entry.info.num_frames == len(spectra) == 6
    loud = (spectra[:, 12, 1:16] > 0.9).any(axis=1)  # the outer columns are shared with the neighbours
    assert np.flatnonzero(loud).tolist() == [1, 4]  # frames 2-3 and 8-9


def test_a_video_without_sound_is_listed(tmp_path, make_video):
    root = make_set(tmp_path / "drums", make_video)
    (root / "AudioSet_Dataset" / "train" / "audio" / "2.wav").unlink()
    result = prepare("audioset-drum", root, tmp_path / "out")
    assert list(result.failed) == ["train/2"]
    assert "2.mp4: has no sound" in result.failed["train/2"]
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir()) == ["1.mp4", "1.stft.npz"]
