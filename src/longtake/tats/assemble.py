"""Parts in a folder -> a pipeline, as soon as everything that it needs is there; until then, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.tats.config import ROLES, Condition, ConditioningConfig, SamplingConfig
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.sound import SoundCondition
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import CLIP_SIZE, ClipVocabulary
from longtake.tats.vqgan import TatsVQGAN

# the checkpoints do not say; sound must keep step with AudioSet-Drum's frames
FPS, DRUM_FPS = 25.0, 30.0


def add_part(folder: Path, name: str, save: Callable[[Path], None]) -> str:
    """Let `save` write the part `name` of the pipeline in `folder`; return what is still missing, "" if nothing.

    Raises `UserError` if the part is there already.
    """
    if (folder / name).exists():
        raise UserError(f"{folder / name} exists already: choose another folder, or remove it")
    with atomic_path(folder / name) as partial:
        save(partial)
    needed = missing(folder)
    if not needed:
        write_index(folder)
    return needed


def missing(folder: Path) -> str:
    """Return what the parts in a folder lack to be a pipeline, with the command that adds it; "" if nothing."""
    if not (folder / "vqgan").is_dir():
        return f"its VQGAN (longtake convert tats-vqgan SRC {folder})"
    present = [role for role in ROLES if (folder / role).is_dir()]
    if not present:
        return f"a transformer (longtake convert tats-transformer SRC {folder})"
    if present in (["sparse"], ["interpolation"]):
        return f"the other transformer of the hierarchical pair (longtake convert tats-transformer SRC {folder})"
    match condition_of(TatsTransformer.from_pretrained(folder / present[0])):
        case "caption" if not (folder / "tokenizer").is_dir():
            return f"CLIP's tokenizer (longtake convert tats-tokenizer FOLDER {folder})"
        case "stft" if not (folder / "stft_vqgan").is_dir():
            return f"the VQGAN of spectrograms (longtake convert tats-stft-vqgan SRC {folder})"
    return ""


def write_index(folder: Path) -> None:
    """Make the folder a pipeline of the parts in it; a half of the hierarchical pair stays out."""
    present = [role for role in ROLES if (folder / role).is_dir()]
    if not {"sparse", "interpolation"} <= set(present):
        present = ["transformer"]
    transformers = {role: TatsTransformer.from_pretrained(folder / role) for role in present}
    vqgan, first = TatsVQGAN.from_pretrained(folder / "vqgan"), transformers[present[0]]
    condition, sampling = condition_of(first), SamplingConfig()
    window = min(model.config.num_latents for role, model in transformers.items() if role != "interpolation")
    rate, _ = vqgan.downsample
    pipeline = TatsPipeline(
        vqgan,
        **transformers,
        tokenizer=ClipVocabulary.from_folder(str(folder / "tokenizer")).tokenizer if condition == "caption" else None,
        stft_vqgan=TatsVQGAN.from_pretrained(folder / "stft_vqgan") if condition == "stft" else None,
        condition=condition,
        span=max(one.config.num_latents * one.config.latent_step for one in transformers.values()) * rate,
        fps=DRUM_FPS if condition == "stft" else FPS,
        # the checkpoints know their classes by number only
        classes=[str(label) for label in range(first.config.condition_vocabulary)] if condition == "label" else None,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        context=min(sampling.context_latents, window - 1),
    )
    with atomic_path(folder / TatsPipeline.config_name) as partial:
        partial.write_text(pipeline.to_json_string())


def condition_of(model: TatsTransformer) -> Condition:
    """Return what one of the authors' transformers is steered by: the ids it has for it tell."""
    if model.config.condition_vocabulary == 0:
        return "none"
    if model.config.condition_length == 1:
        return "label"
    return "caption" if model.config.condition_vocabulary == CLIP_SIZE else "stft"


def check_together(model: TatsTransformer, vqgan: TatsVQGAN, stft_vqgan: TatsVQGAN) -> None:
    """Raise `UserError` unless a transformer was trained on codes of spectrograms like those of `stft_vqgan`."""
    rate, _ = vqgan.downsample
    sound = SoundCondition(stft_vqgan, ConditioningConfig().stft_size)
    length = sound.length(model.config.num_latents * model.config.latent_step * rate)
    if (sound.vocabulary_size, length) != (model.config.condition_vocabulary, model.config.condition_length):
        raise UserError(
            f"the VQGAN of spectrograms does not go with the transformer: it gives {length} codes of "
            f"{sound.vocabulary_size}, the transformer takes {model.config.condition_length} of "
            f"{model.config.condition_vocabulary}"
        )
