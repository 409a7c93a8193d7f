"""The folder behind the name of an HMM: on disk, or fetched from the hub of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from ctrlg.errors import CheckpointError
from ctrlg.files.folders import restore_folder


def fetch_checkpoint(name: str | Path, options: Mapping[str, Any] | None = None) -> Path:
    """The folder of a checkpoint: `name` itself where it is a folder, else the hub's snapshot of it.

    options: `revision`, `cache_dir`, `force_download`, `token`, `local_files_only` of huggingface_hub.
    Raises CheckpointError where neither exists.
    """
    from huggingface_hub import snapshot_download

    restore_folder(name)
    if Path(name).is_dir():
        return Path(name)
    known = ("revision", "cache_dir", "force_download", "token", "local_files_only")
    arguments = {key: value for key, value in (options or {}).items() if key in known and value is not None}
    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.md"], **arguments))
    except HFValidationError as error:  # a path, not the name of a repository
        raise CheckpointError(f"no checkpoint folder {str(name)!r}", hint="check the path") from error
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise CheckpointError(
            f"no checkpoint {str(name)!r}: neither a folder nor a repository that can be fetched ({error})",
            hint="check the path, or the name and the connection",
        ) from error
