"""Small JSON records beside the results of a grid of trainings: what a part was made of, and what came of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxspk._files import write_whole
from jaxspk.errors import CheckpointError, CorpusError


def read_record(path: Path) -> dict[str, Any]:
    """The content of a record.

    Raises:
      CheckpointError: the file is damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("no object")
    except (OSError, ValueError):
        raise CheckpointError(f"{path}: damaged; remove it, and its cell is gone through again.") from None
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record, whole or not at all; missing folders are made.

    Raises:
      CorpusError: the file system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(record, indent=2) + "\n").encode())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}).") from None


def digest(*parts: Any) -> str:
    """Sixteen letters that differ where any of the JSON values does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
