"""Checkpoints by name: a folder, or a hub id at a pinned revision; found without loading torch."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from autogaze.errors import InputError

PINNED_REVISIONS = {
    "nvidia/AutoGaze": "5100fae739ec1bf3f875914fa1b703846a18943a",
    "bfshi/VideoMAE_AutoGaze": "34001937344859e687d336cd44ec8962018ae46b",
    "facebook/vit-mae-large": "142cb8c25e1b1bc1769997a919aa1b5a2345a6b8",
    "facebook/dinov2-with-registers-base": "a1d738ccfa7ae170945f210395d99dde8adb1805",
    "google/siglip2-base-patch16-224": "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
}
"""The revision of each published checkpoint that is used unless another one is named."""


def resolve(source: str | os.PathLike[str], revision: str | None, files: Sequence[str]) -> Path:
    """Return the folder that holds a checkpoint.

    ``source`` is a folder, or a hub id (``owner/name``) of which those of ``files`` that exist are
    downloaded, at ``revision`` or else at the pinned one. Raises ``InputError`` where neither can be had.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"checkpoint {source} is a file; name the folder that holds it")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", os.fspath(source)) or os.fspath(source).startswith("."):
        raise InputError(
            f"checkpoint folder {source} does not exist; name a folder, or a hub id such as nvidia/AutoGaze"
        )
    return _download(os.fspath(source), revision or PINNED_REVISIONS.get(os.fspath(source)), files)


def _download(hub_id: str, revision: str | None, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"checkpoint {hub_id} at revision {revision or 'main'} is neither a folder here nor on the hub "
            f"({type(error).__name__}); check name, revision and network, or name a downloaded folder"
        ) from error
