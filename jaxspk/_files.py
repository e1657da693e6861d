"""Files that are whole or not there at all: written beside and renamed into place."""

import contextlib
import os
import secrets
from pathlib import Path
from types import TracebackType

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
    with UnfinishedFile(path) as file:
        file.stream.write(content)
        file.finish(path, durable=durable)


class UnfinishedFile:
    """A file that grows beside its place, for contents that come bit by bit; renamed into place when finished.

    Whoever leaves the ``with`` without :meth:`finish`, by an error or an interruption, leaves nothing behind.

    Args:
      path: where it shall stand, about: :meth:`finish` may choose another name in the same folder, which exists.

    Attributes:
      stream: to write to.

    Raises:
      OSError: as the system says it.
    """

    def __init__(self, path: Path) -> None:
        self._beside = path.with_name(unfinished_name(f"{path.name[-40:]}-{secrets.token_hex(4)}"))
        self.stream = self._beside.open("xb")

    def __enter__(self) -> "UnfinishedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A full disk refuses what is still to be flushed, of a file that is thrown away.
        with contextlib.suppress(OSError):
            self.stream.close()
        self._beside.unlink(missing_ok=True)

    def finish(self, place: Path, *, durable: bool = False) -> None:
        """Puts the file in its place, where it replaces what was there; nothing can be written after.

        Args:
          place: in the folder it was made in.
          durable: also survive a loss of power, which costs a wait for the disk.
        """
        if durable:
            self.stream.flush()
            os.fsync(self.stream.fileno())
        self.stream.close()
        os.replace(self._beside, place)
        if durable:
            sync_folder(place.parent)


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
