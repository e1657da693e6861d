"""What reading a layout yields, and what the readers of layouts share."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxspk.audio import find_recordings
from jaxspk.data._manifest import Utterance
from jaxspk.errors import AudioError, CorpusError


class Problem(NamedTuple):
    """One thing that is wrong with a corpus; reading goes on past it."""

    path: Path
    message: str


@dataclasses.dataclass(frozen=True)
class Listed:
    """A recording as its corpus lists it, before its file is looked at (``seconds`` is NaN if not stated)."""

    utterance: Utterance
    samples: int | None = None


class Listing(NamedTuple):
    """All that a layout says about a folder."""

    recordings: list[Listed]
    problems: list[Problem]


class Layout(NamedTuple):
    """One way of laying a corpus out."""

    description: str
    """What it looks like, for messages."""
    matches: Callable[[Path], bool]
    """Whether a path looks like it."""
    read: Callable[[Path], Listing]
    implies_splits: bool = False
    """Whether splits are guessed from names of folders; a list of held-out speakers then replaces them all."""


def recordings_below(folder: Path) -> list[Path]:
    """The recordings in a folder and the folders in it, sorted; none where there are none."""
    try:
        return find_recordings(folder)
    except AudioError:
        return []


def folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders in a folder, then those in them, and so on, each level sorted."""
    level = [folder]
    for _ in range(depth):
        level = [inner for outer in level for inner in subfolders(outer)]
        yield from level


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; links to folders too."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []


def files_in(folder: Path) -> list[Path]:
    """The files in a folder, sorted; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_file())
    except OSError:
        return []


def whole_path(path: Path) -> Path:
    """The path from the root on, with the names of its folders as they were given (links are left alone)."""
    return Path(os.path.abspath(path))


def at_and_above(path: Path, levels: int) -> list[Path]:
    """A path and so many of the folders above it."""
    path = whole_path(path)
    return [path, *list(path.parents)[:levels]]


def named_apart(recordings: list[Listed]) -> list[Listed]:
    """Speakers of two corpora that share a name get the corpus before it: two people, two names."""
    corpora: dict[str, set[str | None]] = {}
    for listed in recordings:
        corpora.setdefault(listed.utterance.speaker, set()).add(listed.utterance.corpus)

    def renamed(utterance: Utterance) -> Utterance:
        if len(corpora[utterance.speaker]) == 1:
            return utterance
        return dataclasses.replace(utterance, speaker=f"{utterance.corpus or 'other'}/{utterance.speaker}")

    return [dataclasses.replace(listed, utterance=renamed(listed.utterance)) for listed in recordings]


def read_lines(path: Path, *, strict: bool = True) -> list[tuple[int, str]]:
    """The lines of a text with their numbers, from 1; blank ones are left out.

    Args:
      path: the file.
      strict: False replaces what is not UTF-8, as it may stand in the notes of old corpora.

    Raises:
      CorpusError: the file cannot be read, or not as UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="strict" if strict else "replace")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}).") from None
    # Not splitlines: transcripts may hold characters that it takes for ends of lines.
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.rstrip("\r")) for number, line in lines if line.strip()]
