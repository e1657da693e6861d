"""Files written beside and renamed into place."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jaxspk.errors import CheckpointError

# What a killed process leaves under such a name was never put in place and may be removed.
_UNFINISHED = ".unfinished-"


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that at any moment it holds either what it held before or all of ``content``."""
    with writing(path.parent):
        name = path.with_name(f"{unfinished_name(path.name)}-{os.getpid()}")
        try:
            with name.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                name.unlink()
            raise
        sync_folder(path.parent)


def unfinished_name(name: str) -> str:
    """The name under which something called ``name`` is made before it is renamed."""
    return f"{_UNFINISHED}{name}"


def is_unfinished(path: Path) -> bool:
    """Whether a killed process left this behind before it was complete."""
    return path.name.startswith(_UNFINISHED)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns the system's refusal to write into one line with the way out."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot write there ({error.strerror or error}); make room or take another folder, "
            "and give the same command again: the run goes on from its last checkpoint."
        ) from None


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power, not only of the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
