"""A large collection in parts: which recordings of it this command does, and which were done before."""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxspk.errors import ArgumentError, AudioError

# As `jaxspk launch` sets them.
_COUNT, _INDEX = "JAXSPK_PROCESS_COUNT", "JAXSPK_PROCESS_INDEX"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of several equal parts of a collection.

    Attributes:
      number: from 1.
      count: of all parts.
    """

    number: int = 1
    count: int = 1

    def of(self, recordings: Sequence[Path]) -> list[Path]:
        """Every so manieth, so that long and short folders are shared evenly."""
        return list(recordings[self.number - 1 :: self.count])

    def place(self, path: Path) -> Path:
        """Where this part's file goes: NAME-2-of-8.SUFFIX; of a whole collection the path as it is."""
        if self.count == 1:
            return path
        return path.with_name(f"{path.stem}-{self.number}-of-{self.count}{path.suffix}")


def all_places(path: Path) -> list[Path]:
    """The files of the whole collection and of any parts of it that are there."""
    named = re.compile(re.escape(path.stem) + r"(-\d+-of-\d+)?" + re.escape(path.suffix))
    with contextlib.suppress(OSError):
        return sorted(found for found in path.parent.iterdir() if named.fullmatch(found.name))
    return []


def choose(shard: str | None) -> Shard:
    """The part that is named, as 2/8, or that a process of `jaxspk launch` has to do.

    Raises:
      ArgumentError: it is no part.
    """
    if shard is None:
        count, index = os.environ.get(_COUNT, ""), os.environ.get(_INDEX, "")
        return Shard(int(index) + 1, int(count)) if count.isdecimal() and index.isdecimal() else Shard()
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ArgumentError(f"--shard must be a part such as 2/8, from 1/8 to 8/8, got {shard!r}.")
    return Shard(int(match[1]), int(match[2]))


def stamp(recording: Path) -> str:
    """What changes when a file does: its size and the time it was written."""
    try:
        found = recording.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


class Journal:
    """What is done, a line a recording, so that an interrupted command can go on.

    Args:
      path: grows by a line whenever a recording is done; other parts' journals beside it are read, too.
      settings: what the results depend on; a line with others does not count.
      whole: the journal of the whole collection, by whose name those of its parts are found.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, whole: Path) -> None:
        self._path, self._settings = path, json.dumps(settings, sort_keys=True)
        self._done: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._begun = not path.exists()
        for file in all_places(whole):
            for line in file.read_bytes().splitlines():
                # A kill may have cut the last line.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["settings"] == self._settings:
                        self._done[entry["recording"]] = entry["stamp"], entry["facts"]

    def facts(self, recording: Path) -> Mapping[str, Any] | None:
        """What was noted of a recording, if it has not changed since."""
        before, facts = self._done.get(str(recording), ("", {}))
        return facts if before and before == stamp(recording) else None

    def note(self, recording: Path, facts: Mapping[str, Any]) -> None:
        """Notes that a recording is done.

        Raises:
          AudioError: the file system refuses.
        """
        entry = {"recording": str(recording), "stamp": stamp(recording), "settings": self._settings, "facts": facts}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                # An empty line first: a kill may have left the last one without its end.
                file.write(("\n" * (not self._begun) + json.dumps(entry) + "\n").encode())
            self._begun = True
        except OSError as error:
            raise AudioError(f"{self._path}: cannot be written ({error.strerror}).") from None
