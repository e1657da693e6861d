"""metrics.jsonl: one JSON object a line, the same after kills and resumptions but for its times."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxspk.errors import CheckpointError
from jaxspk.training._files import writing

TIMES = "times"


@dataclasses.dataclass(frozen=True)
class LogPosition:
    """A place in the log.

    Attributes:
      lines: before it.
      sha256: of these lines, without their times.
    """

    lines: int
    sha256: str


class MetricsLog:
    """The log of a run, with a place in it: what a run has written, or, resumed, found already written.

    A resumed run goes through the same lines again. A line that equals the one found there but for its times is
    left as it is; at the first that differs, the rest of the old log goes.

    Args:
      path: the file; made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes() if path.is_file() else b""
        # A kill or a full disk may have cut the last line; it is no line, and goes with the next write.
        self._lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
        self._at = 0
        self._hash = hashlib.sha256()

    @property
    def position(self) -> LogPosition:
        """The place reached."""
        return LogPosition(self._at, self._hash.hexdigest())

    def holds(self, position: LogPosition) -> bool:
        """Whether the lines before a place are what they were when the place was noted."""
        before = self._lines[: position.lines]
        return len(before) == position.lines and _hash(before).hexdigest() == position.sha256

    def seek(self, position: LogPosition) -> None:
        """Goes to a place noted earlier; what was written after it stays for now.

        Args:
          position: the place.

        Raises:
          CheckpointError: the log before it is not what it was.
        """
        if not self.holds(position):
            raise CheckpointError(f"{self.path}: its first {position.lines} lines are not as they were written.")
        self._at = position.lines
        self._hash = _hash(self._lines[: self._at])

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line, or passes over the same line if it stands there already.

        Args:
          line: JSON values; numbers that are not finite become null. What is under ``times`` may differ.

        Raises:
          CheckpointError: the file system refuses.
        """
        encoded = (json.dumps(_plain(line), allow_nan=False) + "\n").encode()
        timeless = _timeless(encoded)
        if self._at == len(self._lines) or _timeless(self._lines[self._at]) != timeless:
            self.truncate()
            with writing(self.path.parent), self.path.open("ab", buffering=0) as file:
                # One write a line: a kill leaves it whole or absent, a full disk cuts it, newline and all.
                if file.write(encoded) != len(encoded):
                    raise OSError("only a part of a line could be written")
            self._lines.append(encoded)
        self._at += 1
        self._hash.update(timeless)

    def truncate(self) -> None:
        """Removes what an earlier process wrote after the place reached."""
        del self._lines[self._at :]
        size = sum(map(len, self._lines))
        if self.path.is_file() and self.path.stat().st_size > size:
            with writing(self.path.parent):
                os.truncate(self.path, size)

    def sync(self) -> None:
        """Makes what was written survive a loss of power."""
        if self.path.is_file():
            with writing(self.path.parent), self.path.open("ab") as file:
                os.fsync(file.fileno())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl.

    Args:
      folder: the run's.

    Returns:
      One dictionary a line, in the order written: ``step``, ``split``, ``stage`` where the run has stages,
      the metrics (None where not finite), and ``times``.

    Raises:
      CheckpointError: there is no such file, or a line of it is no JSON.
    """
    path = Path(folder) / "metrics.jsonl"
    try:
        content = path.read_text()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); is this the folder of a run?") from None
    lines = []
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise CheckpointError(f"{path}: line {number} is no JSON.") from None
    return lines


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _timeless(line: bytes) -> bytes:
    """A line of the file without its times; a damaged one equals no other."""
    try:
        values = json.loads(line)
        return json.dumps({key: value for key, value in values.items() if key != TIMES}).encode()
    except (ValueError, AttributeError):
        return b"damaged: " + line


def _hash(lines: list[bytes]) -> Any:
    return hashlib.sha256(b"".join(map(_timeless, lines)))
