"""Files that are whole or not there at all: written beside and renamed into place."""

import os
import secrets
from pathlib import Path

# What a killed process leaves under such a name was never put in place and may be removed.
_UNFINISHED = ".unfinished-"


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file so that at any moment its place holds what it held before, or all of ``content``.

    Args:
      path: its folder exists.
      content: all of it.
      durable: also survive a loss of power, which costs a wait for the disk.

    Raises:
      OSError: as the system says it; nothing is left beside.
    """
    beside = path.with_name(unfinished_name(f"{path.name[-40:]}-{secrets.token_hex(4)}"))
    try:
        with beside.open("xb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def unfinished_name(name: str) -> str:
    """The name under which something called ``name`` is made before it is renamed."""
    return f"{_UNFINISHED}{name}"


def is_unfinished(path: Path) -> bool:
    """Whether a killed process left this behind before it was complete."""
    return path.name.startswith(_UNFINISHED)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power, not only of the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
