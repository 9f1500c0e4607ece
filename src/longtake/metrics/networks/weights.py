"""Published weights: where they are looked for, and reading them without running anything that is in them."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor, nn

from longtake.core.errors import UserError

COUNTERS = "num_batches_tracked"  # BatchNorm's, of no use in eval mode and not in every published file

# what torch's reader raises on damaged, foreign and hostile files
READ_ERRORS = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, OverflowError, MemoryError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class PublishedWeights:
    """A file that others published, for the user to get.

    Attributes:
        variable: environment variable that may hold its path.
        files: its name, and others under which the cache may have it.
        source: where it is published.
    """

    variable: str
    files: tuple[str, ...]
    source: str


PUBLISHED = {
    "i3d": PublishedWeights(
        "LONGTAKE_I3D",
        ("i3d_pretrained_400.pt", "i3d_torchscript.pt"),
        "https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt "
        "(or i3d_torchscript.pt, https://huggingface.co/flateon/FVD-I3D-torchscript)",
    ),
    "resnext3d": PublishedWeights(
        "LONGTAKE_RESNEXT3D",
        ("resnext-101-kinetics.pth",),
        "the README of https://github.com/wyhsirius/g3an-project (evaluation)",
    ),
    "c3d": PublishedWeights(
        "LONGTAKE_C3D",
        ("conv3d_deepnetA_ucf.npz",),
        "https://github.com/rezoo/tgan2/releases/tag/v1.0, with mean2.npz from there beside it",
    ),
}
"""Network -> what to look for."""

WITHOUT_WEIGHTS = (
    "or do without: --features local:evaluator-weizmann (ships with the package; local:PATH takes one of your own), "
    ".npz files of features in place of folders, or --metrics flickering histogram_correlation psnr ssim, "
    "which need no network"
)


def cache_folder() -> Path:
    """Return where weights are looked for last: weights/ in $LONGTAKE_CACHE or ~/.cache/longtake."""
    return Path(os.environ.get("LONGTAKE_CACHE") or Path.home() / ".cache" / "longtake") / "weights"


def find_weights(network: str, explicit: Path | None = None) -> Path:
    """Return the file for `network`: `explicit`, else what its environment variable names, else what the cache has.

    Raises `UserError` if the first of these that is given is no file, or if none is there.
    """
    published = PUBLISHED[network]
    if explicit is not None:
        return _require_file(Path(explicit), f"weights for {network}")
    if value := os.environ.get(published.variable):
        return _require_file(Path(value), published.variable)
    for name in published.files:
        if (cache_folder() / name).is_file():
            return cache_folder() / name
    raise UserError(
        f"no weights for {network}: get {published.files[0]} from {published.source}; "
        f"then give its path with --weights, name it in {published.variable}, or put it into {cache_folder()}; "
        f"{WITHOUT_WEIGHTS}"
    )


def sha256_of(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: loading one runs code that is in it."""
    return any(fnmatch(name, "*/code/*") for name in archive_names(path))


def archive_names(path: Path) -> list[str]:
    """Return the names in a zip archive; none if it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights in a torch file, by name: unwrapped from "state_dict", without the prefix "module.".

    Only tensors and plain containers are read. Raises `UserError` for a file that holds anything else, is damaged, is
    a web page or is TorchScript.
    """
    refuse_web_page(path)
    if is_torchscript(path):
        raise UserError(f"{path} is TorchScript, which runs its own code; plain weights are needed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's doubts about other pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise UserError(f"cannot read weights {path}: {_reason(error)}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no weights: {type(content).__name__} instead of tensors by name")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def refuse_web_page(path: Path) -> None:
    """Raise `UserError` if the file is empty, or the page that a download link led to instead of the weights."""
    with path.open("rb") as stream:
        start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise UserError(f"cannot read weights {path}: the file is empty")
    if start.startswith(b"<"):
        raise UserError(f"{path} is a web page, not weights: its download link led to a page; get the file itself")


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path, ignored: Sequence[str] = ()) -> None:
    """Copy `weights` into `network`; all of it must be there with the right shape, and nothing else but `ignored`.

    Raises `UserError` naming the first difference; `path` is for its message.
    """
    expected = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTERS)}
    given = {name: value for name, value in weights.items() if not name.endswith(COUNTERS) and name not in ignored}
    for what, names in (("lacks", expected.keys() - given.keys()), ("has unknown", given.keys() - expected.keys())):
        if names:
            raise UserError(
                f"{path} holds other weights than {type(network).__name__}'s: it {what} {min(names)!r}"
                f" ({len(names)} of {len(expected)})"
            )
    for name, value in expected.items():
        found = given[name]
        if not isinstance(found, Tensor) or not found.is_floating_point():
            raise UserError(f"{path} holds other weights than {type(network).__name__}'s: {name!r} is no float tensor")
        if found.shape != value.shape:
            raise UserError(
                f"{path} holds other weights than {type(network).__name__}'s: {name!r} has shape {tuple(found.shape)},"
                f" not {tuple(value.shape)}"
            )
    network.load_state_dict(given, strict=False)


def _require_file(path: Path, what: str) -> Path:
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"{what}: {path} {problem}")
    if not os.access(path, os.R_OK):
        raise UserError(f"{what}: cannot read {path}: permission denied")
    return path


def _reason(error: BaseException) -> str:
    """Say on one short line what is wrong; torch's own messages run to paragraphs of advice."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something else than tensors, or is damaged; nothing in it was run"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"it is damaged or no torch file ({text if len(text) <= 120 else text[:117] + '...'})"
