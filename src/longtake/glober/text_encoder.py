"""The paper's text encoder: CLIP, frozen, from a folder that transformers wrote; nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging

from longtake.core.errors import UserError
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.pretrained_folders import in_one_line, read_config, variant_of
from longtake.models import quiet

CLIP_MODELS = ("clip", "clip_text_model")  # whole, and its text half
VOCABULARIES = ("tokenizer.json", "vocab.json")
MAX_KNOWN_TEXTS = 2048  # 0.5 GB of states at the paper's size
PROMPTS_AT_ONCE = 16


class GloberClipEncoder(ModelMixin, ConfigMixin):
    """CLIP's text transformer with its vocabulary: text -> last hidden states, padded to full length as the authors do.

    The paper's is ViT-L/14: 77 tokens of 768 channels. "" is the null condition. States of texts that came up before
    are kept, so that a text is encoded once however often its clips come up.

    Args:
        text_config: settings of transformers' `CLIPTextConfig`.
    """

    tokenizer: CLIPTokenizer

    @register_to_config
    def __init__(self, text_config: dict[str, Any]) -> None:
        super().__init__()
        self.text_model = CLIPTextModel(CLIPTextConfig(**text_config)).requires_grad_(False)
        self._known: dict[str, Float[Tensor, "l d"]] = {}

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l d"]:
        """Return the states of texts; what goes beyond the last token is cut off."""
        states = []
        for text in texts:
            if text not in self._known:
                if len(self._known) >= MAX_KNOWN_TEXTS:
                    self._known.pop(next(iter(self._known)))
                # alone and in the weights' own precision: a state must not depend on when its text first came up
                with torch.autocast(self.device.type, enabled=False):
                    self._known[text] = self(self._tokens(text))[0].cpu()
            states.append(self._known[text])
        return torch.stack(states).to(self.device, self.dtype)

    def forward(self, tokens: Tensor) -> Float[Tensor, "b l d"]:
        """Return the last hidden states of tokens "b l"."""
        return self.text_model(input_ids=tokens).last_hidden_state

    def _tokens(self, text: str) -> Tensor:
        length = self.text_model.config.max_position_embeddings
        encoded = self.tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return encoded.input_ids.to(self.device)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # noqa: ANN401
        """Write weights, settings and vocabulary to a folder."""
        super().save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(Path(save_directory) / "tokenizer")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:  # noqa: ANN401
        """Read what `save_pretrained` wrote."""
        model: Self = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        folder = Path(pretrained_model_name_or_path) / "tokenizer"
        model.tokenizer = _read_tokenizer(folder, model.text_model.config.vocab_size)
        return model.requires_grad_(False)


ConditionEncoder: TypeAlias = GloberLabelEncoder | GloberTextEncoder | GloberClipEncoder


def check_clip(folder: str, dim: int) -> None:
    """Raise `UserError` unless `folder` holds a CLIP text encoder with states of `dim` channels and its vocabulary."""
    weights, vocabulary = _find(folder)
    config = _read_config(weights)
    if config.hidden_size != dim:
        raise UserError(f"the text encoder in {folder} has {config.hidden_size} channels, but condition_dim is {dim}")
    _read_tokenizer(vocabulary, config.vocab_size)


def read_clip(folder: str) -> GloberClipEncoder:
    """Load CLIP's text half from a transformers folder (of CLIP whole, or of its text half), or a diffusers pipeline's.

    Raises `UserError` if weights are missing or damaged, or the vocabulary is not the weights'.
    """
    weights, vocabulary = _find(folder)
    tokenizer = _read_tokenizer(vocabulary, _read_config(weights).vocab_size)
    variant = variant_of(weights, "text encoder")
    with in_one_line(f"cannot load the text encoder in {folder}"), _quiet_transformers():
        text_model, report = CLIPTextModel.from_pretrained(
            weights,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
            variant=variant,
            ignore_mismatched_sizes=True,  # refused below, in one line
        )
    for name in sorted(report["missing_keys"]):
        raise UserError(f"the text encoder in {folder} lacks {name}: it is not a CLIP text model")
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise UserError(
            f"the text encoder in {folder} has {name} of {tuple(found)}, but its config.json says {tuple(wanted)}"
        )
    with torch.device("meta"):
        model = GloberClipEncoder(text_model.config.to_diff_dict())
    model.text_model = text_model.requires_grad_(False)
    model.tokenizer = tokenizer
    return model.eval()


def prompt_table(clip: GloberClipEncoder, prompts: Sequence[str]) -> GloberLabelEncoder:
    """Encode prompts once and for all: label k -> states of prompt k, -1 -> those of ""; frozen, and without CLIP."""
    length, dim = clip.text_model.config.max_position_embeddings, clip.text_model.config.hidden_size
    table = GloberLabelEncoder(len(prompts), dim, num_tokens=length).requires_grad_(False)
    rows = [*prompts, ""]
    for first in range(0, len(rows), PROMPTS_AT_ONCE):
        states = clip.encode(rows[first : first + PROMPTS_AT_ONCE])
        table.embedding.weight[first : first + PROMPTS_AT_ONCE] = rearrange(states, "n l d -> n (l d)")
    return table


def _find(folder: str) -> tuple[Path, Path]:
    """Return where weights and vocabulary lie: side by side, or as in a diffusers pipeline."""
    root = Path(folder)
    weights = root / "text_encoder" if (root / "text_encoder").is_dir() else root
    if not (weights / "config.json").is_file():
        raise UserError(f"no text encoder in {folder}: give a transformers folder of CLIP with --text-encoder DIR")
    for place in (weights, weights / "tokenizer", weights.parent / "tokenizer"):
        if any((place / name).is_file() for name in VOCABULARIES):
            return weights, place
    raise UserError(f"no tokenizer in {folder}: it is {VOCABULARIES[0]}, or {VOCABULARIES[1]} with merges.txt")


def _read_config(weights: Path) -> CLIPTextConfig:
    kind = read_config(weights).get("model_type", CLIP_MODELS[0])
    if kind not in CLIP_MODELS:
        raise UserError(f"the text encoder in {weights} is a {kind!r}, not a CLIP (known: {', '.join(CLIP_MODELS)})")
    with in_one_line(f"cannot load the text encoder in {weights}"), _quiet_transformers():
        return CLIPTextConfig.from_pretrained(weights, local_files_only=True)


def _read_tokenizer(folder: Path, vocabulary: int) -> CLIPTokenizer:
    """Read a tokenizer; without its files transformers makes one of two tokens, which would encode every text alike."""
    with in_one_line(f"no tokenizer in {folder}"), _quiet_transformers():
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        largest = max(tokenizer.get_vocab().values())
    if len(tokenizer) != vocabulary:
        raise UserError(f"the tokenizer in {folder} has {len(tokenizer)} tokens, but the text encoder {vocabulary}")
    if largest >= vocabulary:
        raise UserError(f"the tokenizer in {folder} numbers a token {largest}, but the text encoder has {vocabulary}")
    return tokenizer


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence bars and warnings: that the half of CLIP that sees is not used is not worth a page."""
    with quiet(logging, logging.ERROR):
        yield
