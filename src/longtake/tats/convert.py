"""The authors' VQGAN checkpoints (Lightning) -> ours; CLIP's tokenizer. Transformers: `convert_transformer.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longtake.core.checkpoint_files import load_official, official_form, read_checkpoint
from longtake.core.errors import UserError
from longtake.tats.assemble import add_part, check_together
from longtake.tats.config import ROLES
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import ClipVocabulary
from longtake.tats.vqgan import TatsVQGAN

# parts of a released checkpoint that only training needs
TRAINING_ONLY = ("perceptual_model.", "image_discriminator.", "video_discriminator.")
OFFICIAL_NORM_GROUPS = 32

RESIDUAL = {"norm1": "norm1", "norm2": "norm2", "conv1.conv": "conv1.conv", "conv2.conv": "conv2.conv"}


def convert_vqgan(source: Path, destination: Path) -> str:
    """Write the VQGAN of a released checkpoint to `destination`/vqgan, the folder of a pipeline to be.

    Returns what the pipeline still needs (see `assemble.missing`). Raises `UserError` as `read_vqgan` does, if it is a
    VQGAN of spectrograms, and if there already is a `destination`/vqgan.
    """
    model = read_vqgan(source)
    if model.config.in_channels == 1:
        raise UserError(f"{source} is a VQGAN of spectrograms: convert it as tats-stft-vqgan")
    return add_part(destination, "vqgan", model.save_pretrained)


def convert_stft_vqgan(source: Path, destination: Path) -> str:
    """Write a released VQGAN of spectrograms to `destination`/stft_vqgan; otherwise as `convert_vqgan`.

    Raises `UserError` also if a transformer in the folder was trained on others' codes.
    """
    model = read_vqgan(source)
    if model.config.in_channels != 1:
        raise UserError(f"{source} is a VQGAN of videos: convert it as tats-vqgan")
    for role in ROLES:
        if (destination / role).is_dir():
            vqgan = TatsVQGAN.from_pretrained(destination / "vqgan")
            check_together(TatsTransformer.from_pretrained(destination / role), vqgan, model)
    return add_part(destination, "stft_vqgan", model.save_pretrained)


def convert_tokenizer(source: Path, destination: Path) -> str:
    """Copy CLIP's tokenizer from a transformers folder to `destination`/tokenizer; otherwise as `convert_vqgan`.

    Raises `UserError` if the folder holds no tokenizer of CLIP's size.
    """
    tokenizer = ClipVocabulary.from_folder(str(source)).tokenizer
    return add_part(destination, "tokenizer", tokenizer.save_pretrained)


def read_vqgan(path: Path) -> TatsVQGAN:
    """Return the VQGAN of a released checkpoint, in eval mode; all sizes are the checkpoint's own.

    Raises `UserError` if the file is refused or damaged (see `read_checkpoint`), holds no VQGAN, or is not as the
    settings in it say.
    """
    contents = read_checkpoint(path)
    state, args = contents.get("state_dict"), settings(contents)
    if not isinstance(state, dict) or "codebook.embeddings" not in state or "n_hiddens" not in args:
        raise UserError(f"{path} is not a TATS VQGAN: it has no codebook, or no settings of one")
    padding = args.get("padding_type", "replicate")
    if padding != "replicate":
        # the official option reaches some layers only, so no mode of ours computes the same
        raise UserError(f"{path} was trained with padding {padding!r}; only 'replicate' can be converted")
    with official_form(path, "a TATS VQGAN"):
        num_codes, code_dim = state["codebook.embeddings"].shape
        base_channels, in_channels = state["encoder.conv_first.conv.weight"].shape[:2]
        model = TatsVQGAN(
            in_channels=in_channels,
            base_channels=base_channels,
            downsample=tuple(args["downsample"]),
            num_codes=num_codes,
            code_dim=code_dim,
            norm=args.get("norm_type", "group"),
            norm_groups=OFFICIAL_NORM_GROUPS,
        )
        kept = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
        load_official(model, kept, rules(len(model.encoder.blocks)), keep=("codebook.is_initialized",))
    model.codebook.is_initialized.fill_(True)
    return model.eval()


def settings(contents: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a Lightning checkpoint, from the `argparse.Namespace` in it; empty if there is none."""
    hyper_parameters = contents.get("hyper_parameters")
    if not isinstance(hyper_parameters, dict):
        return {}
    args = hyper_parameters.get("args")
    return dict(vars(args)) if hasattr(args, "__dict__") else dict(hyper_parameters)


def rules(num_blocks: int) -> dict[str, str]:
    """Return official name -> ours, of every module and buffer."""
    found = {
        "encoder.conv_first.conv": "encoder.conv_in.conv",
        "encoder.final_block.0": "encoder.norm_out",
        "pre_vq_conv.conv": "pre_vq",
        "codebook.embeddings": "codebook.embeddings",
        "codebook.N": "codebook.counts",
        "codebook.z_avg": "codebook.sums",
        "post_vq_conv.conv": "post_vq",
        "decoder.final_block.0": "decoder.norm_in",
        "decoder.conv_last.conv": "decoder.conv_out.conv",
    }
    for block in range(num_blocks):
        encoder, decoder = f"encoder.conv_blocks.{block}", f"decoder.conv_blocks.{block}"
        found[f"{encoder}.down.conv"] = f"encoder.blocks.{block}.0.conv"
        found[f"{decoder}.up.convt"] = f"decoder.blocks.{block}.0.conv"
        residuals = {
            f"{encoder}.res": f"encoder.blocks.{block}.1",
            f"{decoder}.res1": f"decoder.blocks.{block}.1",
            f"{decoder}.res2": f"decoder.blocks.{block}.2",
        }
        for theirs, ours in residuals.items():
            found |= {f"{theirs}.{a}": f"{ours}.{b}" for a, b in RESIDUAL.items()}
    return found
