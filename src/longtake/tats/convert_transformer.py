"""The authors' transformer checkpoints (Lightning) -> ours, beside the VQGAN that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtake.core.checkpoint_files import State, load_official, official_form, read_checkpoint
from longtake.core.errors import UserError, choose_one_of
from longtake.tats.assemble import add_part, check_together, condition_of
from longtake.tats.config import ROLES
from longtake.tats.convert import settings
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vqgan import TatsVQGAN

PREFIX = "transformer."
MASK = ".attn.mask"
NEEDED = {"n_layer", "n_head", "sequence_length", "resolution", "unconditional"}
CONDITIONS = {"label": "label", "text": "caption", "stft": "stft"}

BLOCK = {
    "ln1": "norm1",
    "ln2": "norm2",
    "attn.query": "attention.query",
    "attn.key": "attention.key",
    "attn.value": "attention.value",
    "attn.proj": "attention.proj",
    "mlp.0": "mlp.0",
    "mlp.2": "mlp.2",
}


def convert_transformer(source: Path, destination: Path) -> str:
    """Write a released transformer into `destination`, the folder with its converted VQGAN.

    It becomes the pipeline's transformer, sparse or interpolation transformer, whichever its settings say. Returns what
    the pipeline still needs (see `assemble.missing`).

    Raises `UserError` as `read_transformer` does, if there is no VQGAN, if the transformer is there already, or if it
    does not go with the other parts.
    """
    if not (destination / "vqgan").is_dir():
        raise UserError(
            f"no VQGAN in {destination}: convert that first (longtake convert tats-vqgan SRC {destination})"
        )
    vqgan = TatsVQGAN.from_pretrained(destination / "vqgan")
    model = read_transformer(source, vqgan)
    for role in ROLES:
        if (destination / role).is_dir():
            other = condition_of(TatsTransformer.from_pretrained(destination / role))
            if other != condition_of(model):
                raise UserError(f"{source} has condition {condition_of(model)!r}, but {destination / role} {other!r}")
    if condition_of(model) == "stft" and (destination / "stft_vqgan").is_dir():
        check_together(model, vqgan, TatsVQGAN.from_pretrained(destination / "stft_vqgan"))
    return add_part(destination, role_of(model), model.save_pretrained)


def role_of(model: TatsTransformer) -> str:
    """Return which part of a pipeline a transformer is."""
    if model.config.interpolates:
        return "interpolation"
    return "sparse" if model.config.latent_step > 1 else "transformer"


def read_transformer(path: Path, vqgan: TatsVQGAN) -> TatsTransformer:
    """Return the transformer of a released checkpoint, in eval mode; all sizes are the checkpoint's own.

    Raises `UserError` if the file is refused or damaged (see `read_checkpoint`), holds no transformer, has positions of
    another kind, or was not trained on codes like those of `vqgan`.
    """
    contents = read_checkpoint(path)
    args, state = settings(contents), contents.get("state_dict")
    if not isinstance(state, dict) or f"{PREFIX}tok_emb.weight" not in state or not args.keys() >= NEEDED:
        raise UserError(f"{path} is not a TATS transformer: it has no token embedding, or no settings of one")
    with official_form(path, "a TATS transformer"):
        # masks are computed here; other prefixes are the networks that it was trained on
        own = {
            key.removeprefix(PREFIX): value
            for key, value in state.items()
            if key.startswith(PREFIX) and not key.endswith(MASK)
        }
        model = build(path, args, own, vqgan)
        load_official(model.gpt, own, rules(model.config.depth))
    return model.eval()


def build(path: Path, args: Mapping[str, Any], own: State, vqgan: TatsVQGAN) -> TatsTransformer:
    """Return a network of the sizes in a checkpoint's settings and tensors.

    Raises `UserError` if it lacks blocks, or was not trained on codes like those of `vqgan`.
    """
    depth = len({key.split(".")[1] for key in own if key.startswith("blocks.")})
    if depth != args["n_layer"]:
        raise UserError(f"{path} has {depth} blocks, but its settings say {args['n_layer']}")
    condition = (
        "none"
        if args["unconditional"]
        else CONDITIONS[choose_one_of("condition", str(args.get("cond_stage_key")), CONDITIONS)]
    )
    time, height, width = vqgan.config.downsample
    latent_step = args.get("sample_every_n_latent_frames") or 1
    num_latents = args["sequence_length"] // time // latent_step
    latent_size = (args["resolution"] // height, args["resolution"] // width)
    num_video_tokens = num_latents * latent_size[0] * latent_size[1]
    (num_ids, hidden_size), block_size = own["tok_emb.weight"].shape, own["pos_emb"].shape[1]
    # one token takes the place of the start token; of more, the authors reserve a position for each
    condition_length = 1 if condition in ("none", "label") else block_size - num_video_tokens
    num_condition_ids = num_ids - vqgan.num_codes
    fits = num_video_tokens > 0 and block_size >= condition_length + num_video_tokens - 1
    if num_condition_ids < 0 or condition_length < 1 or not fits:
        raise UserError(
            f"{path} does not go with this VQGAN: it has {num_ids} ids and {block_size} positions, "
            f"but there are {vqgan.num_codes} codes, {num_video_tokens} in {args['sequence_length']} frames"
        )
    return TatsTransformer(
        num_codes=vqgan.num_codes,
        latent_size=latent_size,
        num_latents=num_latents,
        latent_step=latent_step,
        condition_vocabulary=num_condition_ids,
        condition_length=condition_length,
        interpolates=bool(args.get("n_unmasked")),
        num_positions=block_size,
        hidden_size=hidden_size,
        depth=depth,
        num_heads=args["n_head"],
    )


def rules(depth: int) -> dict[str, str]:
    """Return official name -> ours, of every module and parameter."""
    found = {"tok_emb": "token_embedding", "pos_emb": "core.positions", "ln_f": "core.norm", "head": "head"}
    for block in range(depth):
        found |= {f"blocks.{block}.{theirs}": f"core.blocks.{block}.{ours}" for theirs, ours in BLOCK.items()}
    return found
