"""Conditions as tokens: vocabularies, sound, and how they move along with the window."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toy_transformers import vqgan

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.tats.condition import (
    LabelCondition,
    NoCondition,
    SoundCondition,
    TextCondition,
    read_spectrograms,
    side_by_side,
)
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
    assert vocabulary.ids("cabab") == [ord("c"), 256, 256]
    assert (vocabulary.size, vocabulary.padding) == (258, 257)


def test_byte_pairs_shorten_captions_and_lose_nothing():
    texts = ["a square goes to the right", "a square falls", "a circle goes to the left", "ein Würfel fällt 🎲"]
    vocabulary = BytePairs.learn(texts, num_merges=40)
    for text in [*texts, "something else, größer", ""]:
        assert decode(vocabulary, vocabulary.ids(text)) == text
    assert len(vocabulary.ids(texts[0])) < len(texts[0]) / 2
    assert BytePairs(json.loads(json.dumps(vocabulary.merges))).ids(texts[0]) == vocabulary.ids(texts[0])


def test_text_is_cut_off_and_filled_up():
    condition = TextCondition(BytePairs(), num_tokens=3)
    assert condition.tokens(clips(), 16).tolist() == [[97, 32, 99], [195, 188, 256]]
    assert condition.vocabulary_size == 257


def test_clip_vocabulary_must_have_its_ids(tmp_path):
    with pytest.raises(UserError, match=r"no CLIP tokenizer in .*nowhere"):
        ClipVocabulary.from_folder(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"has \d+ ids; it must have 49408"):
        ClipVocabulary.from_folder(str(tmp_path))  # an empty folder


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


@pytest.fixture
def sound(tmp_path):
    """A clip's sound as a file: 10 spectrograms."""
    stft = np.random.default_rng(0).random((10, 8, 4))
    np.savez(tmp_path / "clip.npz", stft=stft)
    return tmp_path / "clip.mp4", stft


@torch.no_grad()
def test_sound_tokens_are_the_codes_of_the_window(sound):
    path, stft = sound
    network = vqgan(in_channels=1)
    condition = SoundCondition(network, (8, 4))

    def codes(frames: list[int]) -> list[int]:
        video = torch.tensor(2 * stft[frames] - 1).float()[None, None]
        return network.encode(video).flatten().tolist()

    start_3 = [3, 4, 5, 6, 7, 8, 9, 8]  # reflected at the end, as short videos are
    tokens = condition.tokens(clips(path=[str(path)] * 2), num_frames=8)
    assert tokens.tolist() == [codes(list(range(8))), codes(start_3)]
    assert tokens.shape[1] == condition.length(8)
    course = condition.course(read_spectrograms(str(path), (8, 4)), rate=4, num_frames=8)
    assert course(0, 1).tolist() == codes(list(range(8)))
    assert course(1, 2).tolist() == codes([4, 5, 6, 7, 8, 9, 8, 7])


def test_sound_of_another_size_is_refused(sound):
    with pytest.raises(UserError, match=r"'stft' has shape \(10, 8, 4\), not \(frames, 64, 16\)"):
        read_spectrograms(str(sound[0]), (64, 16))
    with pytest.raises(UserError, match=r"no sound in .*other.npz"):
        read_spectrograms(str(sound[0].with_name("other.mp4")), (8, 4))
