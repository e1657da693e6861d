"""Speakers a corpus keeps for testing, found from any file of it, however the corpus is read."""

import dataclasses
import os
from pathlib import Path

from jaxspk.data._layouts_tables import SPEAKERS_NAME, TABLE_NAME, read_speakers
from jaxspk.data._manifest import Utterance
from jaxspk.data._tables import read_table
from jaxspk.errors import CorpusError

HELD_OUT_NAME = "HELD_OUT.txt"


@dataclasses.dataclass(frozen=True)
class HeldOutList:
    """One ``HELD_OUT.txt``: names of speakers, and their files where a table beside the list knows them."""

    names: frozenset[str]
    """Speakers as ``speaker`` or ``corpus speaker``, case folded."""
    files: frozenset[str]

    def holds(self, utterance: Utterance) -> bool:
        """Whether the list means this utterance's speaker; in doubt it does."""
        speaker = utterance.speaker.rpartition("/")[2].casefold()
        corpus = (utterance.corpus or "").casefold()
        if speaker in self.names or f"{corpus} {speaker}" in self.names:
            return True
        nameless = not corpus and any(name.endswith(f" {speaker}") for name in self.names)
        return nameless or os.path.realpath(utterance.path) in self.files


def read_held_out(folder: Path) -> HeldOutList | None:
    """The list of one folder, or None: ``HELD_OUT.txt``, with the "test" rows of ``speakers.csv`` beside."""
    file = folder / HELD_OUT_NAME
    if not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        # Going on without the list would train on speakers kept for testing.
        raise CorpusError(f"{file}: cannot be read as UTF-8 text; it names the speakers to hold out.") from None
    names = {" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")}
    if (folder / SPEAKERS_NAME).is_file():
        people = read_speakers(folder).people
        names |= {f"{corpus or ''} {name}".strip() for (corpus, name), who in people.items() if who.split == "test"}
    folded = frozenset(name.casefold() for name in names)
    return HeldOutList(folded, frozenset(_files_of(folder / TABLE_NAME, folded)))


def _files_of(table: Path, names: frozenset[str]) -> set[str]:
    if not table.is_file():
        return set()
    rows = (row.cells for row in read_table(table, required=("path", "speaker")))
    return {
        os.path.realpath(table.parent / cells["path"])
        for cells in rows
        if {cells["speaker"].casefold(), f"{cells.get('corpus', '')} {cells['speaker']}".casefold()} & names
    }


class HeldOutLists:
    """The lists in all folders above recordings; each folder is looked at once."""

    def __init__(self) -> None:
        self._above: dict[Path, tuple[HeldOutList, ...]] = {}

    def hold(self, utterance: Utterance) -> bool:
        """Whether any list above the utterance's file names its speaker."""
        folder = Path(os.path.realpath(utterance.path)).parent
        return any(held_out.holds(utterance) for held_out in self._lists_above(folder))

    def govern(self, utterance: Utterance) -> bool:
        """Whether there is any list above the utterance's file."""
        return bool(self._lists_above(Path(os.path.realpath(utterance.path)).parent))

    def _lists_above(self, folder: Path) -> tuple[HeldOutList, ...]:
        if folder not in self._above:
            own = read_held_out(folder)
            above = () if folder.parent == folder else self._lists_above(folder.parent)
            self._above[folder] = above if own is None else (own, *above)
        return self._above[folder]
