"""Corpora that a user wrote down: a table of recordings, or a folder per speaker."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jaxspk.data._listing import Listed, Listing, Problem, named_apart, recordings_below
from jaxspk.data._manifest import Gender, Utterance, parse_gender
from jaxspk.data._tables import Row, read_table
from jaxspk.errors import CorpusError

TABLE_NAME = "utterances.csv"
SPEAKERS_NAME = "speakers.csv"

_LIBRISPEECH_NAME = re.compile(r"\d+-(?P<chapter>\d+)-\d+")

# --- Tables -----------------------------------------------------------------------------------------------


def is_table(path: Path) -> bool:
    """Whether a path is a table or a folder that holds one."""
    return path.suffix.lower() == ".csv" if path.is_file() else (path / TABLE_NAME).is_file()


def read_csv(path: Path) -> Listing:
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
    return Listing(named_apart(listing.recordings), listing.problems)


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


# --- A folder per speaker ---------------------------------------------------------------------------------


def read_folders(path: Path) -> Listing:
    """``<speaker>/**/<file>``: the first folder names the speaker, folders below it the session."""
    known = read_speakers(path)
    listing = Listing([], [])
    for file in recordings_below(path):
        speaker, *below = file.relative_to(path).parts
        if not below:
            listing.problems.append(Problem(file, "lies beside the speakers' folders: whose voice is it?"))
            continue
        session = "/".join(below[:-1]) or None
        utterance = Utterance(path=file, speaker=speaker, seconds=math.nan, session=session)
        listing.recordings.append(Listed(_completed(utterance, known.get(utterance))))
    return listing
