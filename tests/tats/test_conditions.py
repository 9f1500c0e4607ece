"""Conditions as tokens: vocabularies, sound, and how they move along with the window."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toy_clip import write_clip_tokenizer
from toy_sound import write_tone
from toy_transformers import transformer, vqgan

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.data.sets.stft import spectra_path, write_spectra
from longtake.tats.condition import (
    LabelCondition,
    NoCondition,
    TextCondition,
    side_by_side,
)
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.sound import SoundCondition, read_sound, read_spectrograms
from longtake.tats.vocabulary import BytePairs, ClipVocabulary


def clips(**changes) -> VideoBatch:
    fields = {
        "video": torch.zeros(2, 3, 4, 8, 8),
        "label": torch.tensor([2, 0]),
        "text": ["a cat", "ü"],
        "fps": torch.ones(2),
        "path": ["x/0.mp4", "x/1.mp4"],
        "start": torch.tensor([0, 3]),
    }
    return VideoBatch(**{**fields, **changes})


def decode(vocabulary: BytePairs, ids: list[int]) -> str:
    """Undo the merges, the last learned first."""
    for number in reversed(range(len(vocabulary.merges))):
        ids = [part for token in ids for part in (vocabulary.merges[number] if token == 256 + number else (token,))]
    return bytes(ids).decode()


def test_byte_pairs_by_hand():
    vocabulary = BytePairs.learn(["abab", "abc", "xyab"], num_merges=2)
    assert vocabulary.merges == ((ord("a"), ord("b")),)  # no other pair comes twice once ab is one
    assert vocabulary.ids("cabab", 9) == [ord("c"), 256, 256]
    assert (vocabulary.size, vocabulary.padding) == (258, 257)


def test_byte_pairs_shorten_captions_and_lose_nothing():
    texts = ["a square goes to the right", "a square falls", "a circle goes to the left", "ein Würfel fällt 🎲"]
    vocabulary = BytePairs.learn(texts, num_merges=40)
    for text in [*texts, "something else, größer", ""]:
        assert decode(vocabulary, vocabulary.ids(text, 99)) == text
    assert len(vocabulary.ids(texts[0], 99)) < len(texts[0]) / 2
    assert BytePairs(json.loads(json.dumps(vocabulary.merges))).ids(texts[0], 99) == vocabulary.ids(texts[0], 99)


def test_text_is_cut_off_and_filled_up():
    condition = TextCondition(BytePairs(), num_tokens=3)
    assert condition.tokens(clips(), 16).tolist() == [[97, 32, 99], [195, 188, 256]]
    assert condition.vocabulary_size == 257


def test_clip_vocabulary_must_have_its_ids(tmp_path):
    with pytest.raises(UserError, match=r"no CLIP tokenizer in .*nowhere"):
        ClipVocabulary.from_folder(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"has \d+ ids; it must have 49408"):
        ClipVocabulary.from_folder(str(tmp_path))  # an empty folder


def test_clip_tokens_are_those_of_the_authors(tmp_path):
    """Worked out by hand from their tokenizer: 256 bytes, 256 bytes that end a word, the merges, the two marks."""
    vocabulary = ClipVocabulary.from_folder(str(write_clip_tokenizer(tmp_path)))
    condition = TextCondition(vocabulary, num_tokens=8)
    assert condition.vocabulary_size == 49408
    # printable bytes come first, from "!" on; the same again as ends of words; "ca" and "cat" are the merges
    a_end, c, t_end, cat_end = 256 + ord("a") - 33, ord("c") - 33, 256 + ord("t") - 33, 513
    assert condition.encode("A  Cat").tolist() == [49406, a_end, cat_end, 49407, 0, 0, 0, 0]
    assert condition.encode("cct").tolist() == [49406, c, c, t_end, 49407, 0, 0, 0]
    assert condition.encode("").tolist() == [49406, 49407] + [0] * 6
    assert condition.encode("a a a a a a a a a").tolist() == [49406] + [a_end] * 6 + [49407]


def test_codes_come_after_clips_ids(tmp_path):
    folder = write_clip_tokenizer(tmp_path / "clip")
    condition = TextCondition(ClipVocabulary.from_folder(str(folder)), num_tokens=8)
    model = transformer(condition_vocabulary=condition.vocabulary_size, condition_length=8)
    assert model.tokens(torch.tensor([[[[0, 3], [11, 1]]]])).tolist() == [[49408, 49411, 49419, 49409]]
    pipe = TatsPipeline(vqgan(), model, tokenizer=condition.vocabulary.tokenizer, condition="caption")
    pipe.save_pretrained(tmp_path / "model")
    loaded = TatsPipeline.from_pretrained(tmp_path / "model")
    assert loaded.condition.encode("a cat").tolist() == condition.encode("a cat").tolist()
    assert (loaded(8, prompt="a cat").frames == pipe(8, prompt="a cat").frames).all()


def test_labels_and_start_token():
    assert LabelCondition(3).tokens(clips(), 16).tolist() == [[2], [0]]
    assert NoCondition().tokens(clips(), 16).tolist() == [[0], [0]]
    with pytest.raises(UserError, match=r"x/1.mp4 has no class"):
        LabelCondition(3).tokens(clips(label=torch.tensor([2, -1])), 16)


def test_story_changes_with_the_first_whole_latent_frame():
    condition = TextCondition(BytePairs(), num_tokens=1)
    course = condition.course([(0, "a"), (5, "b"), (8, "c")], rate=4, num_frames=16)
    tokens = [chr(course(max(0, newest - 3), newest).item()) for newest in range(4)]
    assert tokens == ["a", "a", "c", "c"]  # frames 5 to 7 are not a whole latent frame
    both = side_by_side([course, condition.course([(0, "z")], 4, 16)])
    assert both(0, 2).tolist() == [[ord("c")], [ord("z")]]


def test_story_of_classes():
    course = LabelCondition(3).course([(0, 2), (4, 1)], rate=4, num_frames=16)
    assert [course(0, newest).tolist() for newest in range(3)] == [[2], [1], [1]]


@pytest.fixture
def sound(tmp_path):
    """A clip's sound as a file: 10 spectra."""
    spectra = np.random.default_rng(0).random((10, 45, 17), dtype=np.float32)
    write_spectra(spectra_path(tmp_path / "clip.mp4"), spectra)
    return tmp_path / "clip.mp4", spectra


def resized(spectra: np.ndarray) -> np.ndarray:
    """Bilinear to 8x4, as written out: each new sample lies between the two nearest old ones, their centres aligned."""

    def weights(new: int, old: int) -> np.ndarray:
        place = (np.arange(new) + 0.5) * old / new - 0.5
        left = np.floor(place).astype(int)
        matrix = np.zeros((new, old))
        matrix[np.arange(new), left.clip(0)] += 1 - (place - left)
        matrix[np.arange(new), (left + 1).clip(max=old - 1)] += place - left
        return matrix

    return 2 * weights(8, 45) @ spectra @ weights(4, 17).T - 1


@torch.no_grad()
def test_sound_tokens_are_the_codes_of_the_window(sound):
    path, spectra = sound
    network = vqgan(in_channels=1)
    condition = SoundCondition(network, (8, 4))

    def codes(window: np.ndarray) -> list[int]:
        # the authors' network sees spectrograms in [-1, 1]; ours halves what it is given
        video = 2 * torch.tensor(window).float()[None, None]
        return network.encode(video).flatten().tolist()

    pictures = resized(spectra)
    start_3 = [3, 4, 5, 6, 7, 8, 9, 8]  # reflected at the end, as short videos are
    tokens = condition.tokens(clips(path=[str(path)] * 2), num_frames=8)
    assert tokens.tolist() == [codes(pictures[:8]), codes(pictures[start_3])]
    assert len(set(tokens.flatten().tolist())) > 2
    assert tokens.shape[1] == condition.length(8)
    course = condition.course(read_spectrograms(str(path), (8, 4)), rate=4, num_frames=8)
    assert course(0, 1).tolist() == codes(pictures[:8])
    silence = np.full((2, 8, 4), -1.0)
    assert course(1, 2).tolist() == codes(np.concatenate([pictures[4:], silence]))
    assert course(5, 6).tolist() == codes(silence[[0] * 8])


def test_sound_is_read_from_any_file_that_has_some(sound, tmp_path):
    path, spectra = sound
    assert torch.equal(read_sound(spectra_path(path), (8, 4), 30), read_spectrograms(str(path), (8, 4)))
    np.testing.assert_allclose(read_sound(spectra_path(path), (8, 4), 30), resized(spectra), atol=1e-5)
    write_tone(tmp_path / "tone.wav", seconds=0.5, frequency=2205)
    tone = read_sound(tmp_path / "tone.wav", (45, 17), 30)
    assert tone.shape == (15, 45, 17)
    # 2205 Hz is 2 / 5 of the way up to half the sample rate, and row 44 is at the top
    assert (tone[1:-1].mean(dim=2).argmax(dim=1) == round(44 * 2 / 5)).all()


@pytest.mark.parametrize("name", ["none.npz", "none.wav", "other.npz", "array.npz", "text.wav"])
def test_files_without_sound_are_named(tmp_path, name):
    np.savez(tmp_path / "other.npz", stft=np.zeros((3, 4, 5)))
    np.save(tmp_path / "array", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "text.wav").write_text("la la la")
    with pytest.raises(UserError, match=name):
        read_sound(tmp_path / name, (64, 16), 25)
    with pytest.raises(UserError, match=r"clip.mp4: has no sound features beside it"):
        read_spectrograms(str(tmp_path / "clip.mp4"), (64, 16))
