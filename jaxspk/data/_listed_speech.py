"""The recordings that a published list of mixtures names, wherever below a folder they lie and in whatever format."""

import dataclasses
import os
from pathlib import Path

from jaxspk.audio import audio_info
from jaxspk.data._held_out import HeldOutLists
from jaxspk.data._layouts_ldc import MICROPHONE_2
from jaxspk.data._layouts_librispeech import librispeech_speaker
from jaxspk.data._listing import recordings_below
from jaxspk.data._manifest import Utterance
from jaxspk.errors import AudioError, CorpusError

_FOLDERS = 2
"""A name and so many folders above it tell an utterance: si_tr_s/011/011c0201, 61/70968/61-70968-0000."""


class ListedSpeech:
    """Looks recordings up for a list.

    Args:
      table: the list, for messages.
      root: the folder that its paths are relative to, or one above or below.
    """

    def __init__(self, table: Path, root: Path) -> None:
        self._table = table
        self._root = root
        self._index: dict[tuple[str, ...], Path] | None = None
        self._seconds: dict[Path, float] = {}
        self._held_out = HeldOutLists()
        if not root.is_dir():
            raise CorpusError(
                f"{root}: no such folder; give the one that the paths in {table} are relative to as `root`."
            )

    def find(self, name: str, line: int) -> Path:
        """The recording of a path in the list: there, or of the same name and folders in another format or case.

        Raises:
          CorpusError: there is none; names list and line.
        """
        direct = self._root / name
        if os.path.isfile(direct):
            return direct
        if self._index is None:
            self._index = self._indexed()
        found = self._index.get(_key(Path(name)))
        if found is None:
            raise CorpusError(
                f"{self._table}, line {line}: {name} is not below {self._root}, in any format; "
                f"give the folder of the speech as `root`."
            )
        return found

    def complete(self, utterance: Utterance, line: int) -> Utterance:
        """An utterance with its duration, and kept for testing where a list of held-out speakers says so.

        Raises:
          CorpusError: the recording cannot be read; names list and line.
        """
        path = utterance.path
        if path not in self._seconds:
            try:
                self._seconds[path] = audio_info(path).seconds
            except AudioError as error:
                raise CorpusError(f"{self._table}, line {line}: {error}") from None
        split = utterance.split
        if self._held_out.govern(utterance):
            split = "test" if self._held_out.hold(utterance) else None
        return dataclasses.replace(utterance, seconds=self._seconds[path], split=split)

    def _indexed(self) -> dict[tuple[str, ...], Path]:
        index: dict[tuple[str, ...], Path] = {}
        # Of copies, the one nearest to the root.
        for file in sorted(recordings_below(self._root), key=lambda file: len(file.parts)):
            if file.suffix.lower() != MICROPHONE_2:
                index.setdefault(_key(file), file)
        return index


def _key(path: Path) -> tuple[str, ...]:
    folders = path.parent.parts[-_FOLDERS:]
    return tuple(part.casefold() for part in (*folders, path.stem))


def unique_name(name: str, line: int, lines: dict[str, int], table: Path) -> str:
    """The name, remembered with its line; CorpusError where it stands in the list already."""
    if lines.setdefault(name, line) != line:
        raise CorpusError(f"{table}, line {line}: mixture {name!r} stands in line {lines[name]} already.")
    return name


def speaker_by_name(path: Path) -> str:
    """The speaker of LibriSpeech that a file's name begins with, else the name of its folder."""
    return librispeech_speaker(path) or path.parent.name
