"""G3AN's published weights -> ours; of the thesis' own models, which share these networks, none were released.

Every function renames a whole state dict, with or without the prefix that training on several GPUs leaves: an unknown
or missing key and a wrong shape raise `UserError`, and the model is then unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from longtake.core.checkpoint_files import State, load_official
from longtake.recall.discriminators import RecallImageDiscriminator, RecallVideoDiscriminator
from longtake.recall.generator import RecallGenerator

Rules = Sequence[tuple[str, str]]

PARALLEL = "module."
# the older of torch's two forms of spectral norm -> the newer
SPECTRAL_NORM: Rules = (
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_u$", ".parametrizations.weight.0._u"),
    (r"\.weight_v$", ".parametrizations.weight.0._v"),
)
GENERATOR: Rules = (
    *((rf"^block{number}\.", f"blocks.{number - 1}.") for number in range(1, 6)),
    (r"\.conv_v\.", ".video."),
    (r"\.conv_s\.", ".spatial."),
    (r"\.conv_t\.", ".temporal."),
    (r"^fsa\.tsa\.", "attention.temporal."),
    (r"^fsa\.ssa\.", "attention.spatial."),
    (r"\.q_conv\.", ".query."),
    (r"\.k_conv\.", ".key."),
    (r"\.v_conv\.", ".value."),
    (r"^to_rgb\.0\.", "to_rgb."),
)
DISCRIMINATOR: Rules = ((r"^net\.", "layers."),)


def load_generator(model: RecallGenerator, official: State) -> None:
    """Fill `model` from an official `Generator`; for what it was trained to do, build it with `legacy_fsa=True`."""
    load_official(model, official, places(official, GENERATOR))


def load_discriminator(model: RecallVideoDiscriminator | RecallImageDiscriminator, official: State) -> None:
    """Fill `model` from an official `VideoDiscriminator` or `ImageDiscriminator`."""
    load_official(model, official, places(official, DISCRIMINATOR))


def places(official: State, rules: Rules) -> dict[str, str]:
    """Return official key -> ours, by renaming with one rule after the other."""
    renamed = {}
    for key in official:
        name = key.removeprefix(PARALLEL)
        for pattern, replacement in (*rules, *SPECTRAL_NORM):
            name = re.sub(pattern, replacement, name)
        renamed[key] = name
    return renamed
