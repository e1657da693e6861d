"""Small JSON files that hold what was fitted to a model's weights, and are worth nothing with other weights."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxspk._files import write_whole
from jaxspk.errors import ModelError
from jaxspk.systems._storage import WEIGHTS_FILE

_LARGEST = 1 << 22


def weights_sha256(folder: str | Path) -> str:
    """The hash by which the weights of a model directory are known.

    Raises:
      ModelError: the folder holds no weights.
    """
    path = Path(folder) / WEIGHTS_FILE
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None


def save_fitted(path: Path, content: Mapping[str, Any], *, kind: str, version: int, weights: str) -> None:
    """Writes what was fitted to weights of this hash.

    Raises:
      ModelError: the file cannot be written.
    """
    described = {"format": kind, "format_version": version, "weights_sha256": weights, **content}
    try:
        write_whole(path, (json.dumps(described, indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}).") from None


def load_fitted(path: Path, *, kind: str, version: int, weights: str) -> dict[str, Any] | None:
    """What :func:`save_fitted` wrote for these weights, None where there is no such file.

    Raises:
      ModelError: the file is damaged, of another kind or version, or was fitted to other weights.
    """
    try:
        size = path.stat().st_size
        described = json.loads(path.read_text(encoding="utf-8")) if size <= _LARGEST else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise ModelError(f"{path}: is not valid JSON; remove it, or fit it anew.") from None
    if size > _LARGEST:
        raise ModelError(f"{path}: is {size} bytes; no such file of ours is. Remove it, or fit it anew.")
    if not isinstance(described, dict) or described.get("format") != kind:
        raise ModelError(f'{path}: lacks "format": "{kind}"; it was not written by jaxspk.')
    if described.get("format_version") != version:
        raise ModelError(
            f"{path}: has format version {described.get('format_version')!r}, this jaxspk reads {version}."
        )
    if described.get("weights_sha256") != weights:
        raise ModelError(f"{path}: was fitted to other weights than these; remove it, or fit it anew.")
    return {key: value for key, value in described.items() if key not in ("format", "format_version", "weights_sha256")}
