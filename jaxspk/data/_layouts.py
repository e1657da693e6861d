"""The layouts of corpora that can be read, in one table: who speaks in which file."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxspk.audio import find_recordings
from jaxspk.data._manifest import Gender, Utterance, parse_gender
from jaxspk.data._tables import Row, read_table
from jaxspk.errors import AudioError, CorpusError

TABLE_NAME = "utterances.csv"
SPEAKERS_NAME = "speakers.csv"

_LIBRISPEECH_NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d+")
_LIBRISPEECH_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


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


def _recordings_below(folder: Path) -> list[Path]:
    try:
        return find_recordings(folder)
    except AudioError:  # There are none.
        return []


# --- Tables -----------------------------------------------------------------------------------------------


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv" if path.is_file() else (path / TABLE_NAME).is_file()


def _read_csv(path: Path) -> Listing:
    """A table of path and speaker, and what else it knows; ``speakers.csv`` beside it adds to it."""
    table = path if path.is_file() else path / TABLE_NAME
    if not table.is_file():
        raise CorpusError(f"{path}: no table; expected {TABLE_NAME} in the folder, or the path of a .csv file.")
    known = read_speakers(table.parent)
    listing = Listing([], [])
    for row in read_table(table, required=("path", "speaker")):
        try:
            listed = _from_row(row, table.parent)
        except CorpusError as error:
            listing.problems.append(Problem(table, f"line {row.line}: {error}"))
            continue
        utterance, about = listed.utterance, known.get(listed.utterance)
        if about is None and known.people:
            listing.problems.append(Problem(utterance.path, f"speaker {utterance.speaker!r} is not in {SPEAKERS_NAME}"))
        listing.recordings.append(dataclasses.replace(listed, utterance=_completed(utterance, about)))
    return Listing(_named_apart(listing.recordings), listing.problems)


def _from_row(row: Row, folder: Path) -> Listed:
    cells = row.cells
    for name in ("path", "speaker"):
        if not cells[name]:
            raise CorpusError(f"no {name}")
    path = folder / cells["path"]
    librispeech = _LIBRISPEECH_NAME.fullmatch(path.stem)
    chapter = librispeech["chapter"] if librispeech else None
    utterance = Utterance(
        path=path,
        speaker=cells["speaker"],
        seconds=_number(cells, "seconds", math.nan),
        gender=parse_gender(cells.get("gender") or cells.get("sex") or ""),
        text=cells.get("text") or None,
        session=cells.get("session") or cells.get("chapter") or chapter,
        corpus=cells.get("corpus") or None,
        split=cells.get("split") or None,
    )
    samples = _number(cells, "samples", math.nan)
    return Listed(utterance, None if math.isnan(samples) else int(samples))


def _number(cells: Mapping[str, str], name: str, default: float) -> float:
    text = cells.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if number < 0 or math.isinf(number):
        raise CorpusError(f"{name} is {text!r}, expected a number of {name}")
    return number


def _named_apart(recordings: list[Listed]) -> list[Listed]:
    """Speakers of two corpora that share a name get the corpus before it: two people, two names."""
    corpora: dict[str, set[str | None]] = {}
    for listed in recordings:
        corpora.setdefault(listed.utterance.speaker, set()).add(listed.utterance.corpus)

    def renamed(utterance: Utterance) -> Utterance:
        if len(corpora[utterance.speaker]) == 1:
            return utterance
        return dataclasses.replace(utterance, speaker=f"{utterance.corpus or 'other'}/{utterance.speaker}")

    return [dataclasses.replace(listed, utterance=renamed(listed.utterance)) for listed in recordings]


# --- Speakers ---------------------------------------------------------------------------------------------


class Person(NamedTuple):
    """What a table of speakers says about one of them."""

    gender: Gender | None
    split: str | None


class Speakers(NamedTuple):
    """People by (corpus, speaker); the corpus is None where the table has no such column."""

    people: dict[tuple[str | None, str], Person]

    def get(self, utterance: Utterance) -> Person | None:
        """What is known about an utterance's speaker, if anything."""
        named = self.people.get((utterance.corpus, utterance.speaker))
        return named or self.people.get((None, utterance.speaker))


def read_speakers(folder: Path) -> Speakers:
    """The speakers' table of a folder: speaker, and corpus, gender (or sex) and split where it has them."""
    table = folder / SPEAKERS_NAME
    people: dict[tuple[str | None, str], Person] = {}
    for row in read_table(table, required=("speaker",)) if table.is_file() else ():
        try:
            gender = parse_gender(row.cells.get("gender") or row.cells.get("sex") or "")
        except CorpusError as error:
            raise CorpusError(f"{table}, line {row.line}: {error}.") from None
        person = Person(gender, row.cells.get("split") or None)
        people[row.cells.get("corpus") or None, row.cells["speaker"]] = person
    return Speakers(people)


def _completed(utterance: Utterance, about: Person | None) -> Utterance:
    if about is None:
        return utterance
    gender, split = utterance.gender or about.gender, utterance.split or about.split
    return dataclasses.replace(utterance, gender=gender, split=split)


# --- LibriSpeech ------------------------------------------------------------------------------------------


def _is_librispeech(path: Path) -> bool:
    return path.is_dir() and any(_LIBRISPEECH_NAME.fullmatch(file.stem) for file in _recordings_below(path))


def _read_librispeech(path: Path) -> Listing:
    """``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>``; sexes from SPEAKERS.TXT.

    The session is the chapter, the text that of the chapter's transcript, the split that of the subset.
    """
    genders = _librispeech_genders(path)
    transcripts: dict[Path, dict[str, str]] = {}
    listing = Listing([], [])
    for file in _recordings_below(path):
        name = _LIBRISPEECH_NAME.fullmatch(file.stem)
        if name is None:
            listing.problems.append(Problem(file, "not named <speaker>-<chapter>-<utterance>: passed over"))
            continue
        speaker = name["speaker"]
        if genders and speaker not in genders:
            listing.problems.append(Problem(file, f"speaker {speaker} is not in SPEAKERS.TXT"))
        if file.parent not in transcripts:
            transcripts[file.parent] = _librispeech_texts(file.parent)
        # .../<subset>/<speaker>/<chapter>/<file>
        subset = file.parents[2].name if len(file.parents) > 2 else ""
        utterance = Utterance(
            path=file,
            speaker=speaker,
            seconds=math.nan,
            gender=genders.get(speaker),
            text=transcripts[file.parent].get(file.stem),
            session=name["chapter"],
            corpus="LibriSpeech",
            split=_LIBRISPEECH_SPLITS.get(subset.split("-")[0]),
        )
        listing.recordings.append(Listed(utterance))
    return listing


def _librispeech_genders(path: Path) -> dict[str, Gender | None]:
    folder = path.resolve()
    tables = (base / "SPEAKERS.TXT" for base in (folder / "LibriSpeech", folder, *list(folder.parents)[:2]))
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        return {}
    # The names hold bars and letters outside ASCII, hence the limit and the lenient decoding.
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    fields = (line.split("|", 4) for line in lines if line.strip() and not line.startswith(";"))
    try:
        return {cells[0].strip(): parse_gender(cells[1]) for cells in fields}
    except (IndexError, CorpusError):
        raise CorpusError(f"{table}: not LibriSpeech's table of speakers (ID | SEX | ...).") from None


def _librispeech_texts(folder: Path) -> dict[str, str]:
    texts = {}
    for file in folder.glob("*.trans.txt"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts


# --- A folder per speaker ---------------------------------------------------------------------------------


def _read_folders(path: Path) -> Listing:
    """``<speaker>/**/<file>``: the first folder names the speaker, folders below it the session."""
    known = read_speakers(path)
    listing = Listing([], [])
    for file in _recordings_below(path):
        speaker, *below = file.relative_to(path).parts
        if not below:
            listing.problems.append(Problem(file, "lies beside the speakers' folders: whose voice is it?"))
            continue
        session = "/".join(below[:-1]) or None
        utterance = Utterance(path=file, speaker=speaker, seconds=math.nan, session=session)
        listing.recordings.append(Listed(_completed(utterance, known.get(utterance))))
    return listing


LAYOUTS: Mapping[str, Layout] = {
    "csv": Layout(f"a table with the columns path and speaker ({TABLE_NAME})", _is_table, _read_csv),
    "librispeech": Layout(
        "LibriSpeech's folders (subset/speaker/chapter/speaker-chapter-utterance.flac)",
        _is_librispeech,
        _read_librispeech,
        implies_splits=True,
    ),
    "folders": Layout("a folder per speaker (speaker/recording.wav)", Path.is_dir, _read_folders),
}
"""Every layout, in the order in which ``layout="auto"`` tries them."""


def matching_layouts(path: Path) -> Iterator[str]:
    """Names of the layouts that a path looks like, best first."""
    return (name for name, layout in LAYOUTS.items() if layout.matches(path))
