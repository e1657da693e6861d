"""TIMIT and WSJ0 as the Linguistic Data Consortium ships them: NIST SPHERE, names in capitals or not."""

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxspk.data._listing import (
    Listed,
    Listing,
    Problem,
    at_and_above,
    files_in,
    folders_below,
    read_lines,
    recordings_below,
    subfolders,
    whole_path,
)
from jaxspk.data._manifest import Gender, Utterance, parse_gender

# --- TIMIT ------------------------------------------------------------------------------------------------

_DIALECT = re.compile(r"DR[1-8]", re.IGNORECASE)
_TIMIT_SPEAKER = re.compile(r"[FM][A-Z]{3}\d", re.IGNORECASE)
_TIMIT_SPLITS = {"train": "train", "test": "test"}


def is_timit(path: Path) -> bool:
    """Whether some folder is named like a dialect and holds one named like a speaker."""
    return path.is_dir() and any(
        _DIALECT.fullmatch(whole_path(folder).name)
        and any(_TIMIT_SPEAKER.fullmatch(inner.name) for inner in subfolders(folder))
        for folder in (path, *folders_below(path, 3))
    )


def read_timit(path: Path) -> Listing:
    """``TRAIN|TEST/<dialect>/<speaker>/<sentence>.WAV``; the first letter of a speaker is the sex.

    The text is that of the ``.TXT`` beside a recording, or the words of its ``.WRD``. Where a sentence stands there
    twice, as ``SA1.WAV`` and a converted ``SA1.WAV.wav``, one of them is taken.
    """
    listing = Listing([], [])
    for file in _one_of_each(recordings_below(path), _first_name, lambda file: 0):
        folder = whole_path(file).parent
        speaker = folder.name.upper()
        if not _TIMIT_SPEAKER.fullmatch(speaker):
            listing.problems.append(Problem(file, "not in a speaker's folder, as DR1/FCJF0: passed over"))
            continue
        part = folder.parents[1].name.lower() if len(folder.parents) > 1 else ""
        utterance = Utterance(
            path=file,
            speaker=speaker,
            seconds=math.nan,
            gender=parse_gender(speaker[0]),
            text=_timit_text(file, listing.problems),
            corpus="TIMIT",
            split=_TIMIT_SPLITS.get(part),
        )
        listing.recordings.append(Listed(utterance))
    return listing


def _first_name(file: Path) -> str:
    """The sentence that a file holds, whatever endings its name has."""
    return file.name.partition(".")[0].lower()


def _timit_text(file: Path, problems: list[Problem]) -> str | None:
    """What follows the two sample numbers of the first line of ``.TXT``, or of each line of ``.WRD``."""
    beside = {other.name.lower(): other for other in files_in(file.parent)}
    for suffix in (".txt", ".wrd"):
        table = beside.get(_first_name(file) + suffix)
        if table is None:
            continue
        rows = [line.split(maxsplit=2) for _, line in read_lines(table, strict=False)]
        if rows and all(len(row) == 3 and row[0].isdigit() and row[1].isdigit() for row in rows):
            return " ".join(row[2] for row in rows)
        problems.append(Problem(table, "not a transcript of TIMIT (first sample, last sample, text)"))
    return None


# --- WSJ0 -------------------------------------------------------------------------------------------------

_SUBSET = re.compile(r"(?P<kind>si|sd)_(?P<part>tr|dt|et)_\w+", re.IGNORECASE)
_WSJ_UTTERANCE = re.compile(r"(?P<speaker>[0-9a-z]{3})[a-z](?P<session>[0-9a-z]{2})[0-9a-z]{2}", re.IGNORECASE)
_WSJ_SPLITS = {"tr": "train", "dt": "test", "et": "test"}
MICROPHONE_2 = ".wv2"
_PREFERENCES = {".wv1": 1, MICROPHONE_2: 2}
"""What is converted (0) reads faster, and the second microphone stood far away."""
_SPEAKER_TABLE = re.compile(r".*spkrinfo\.txt", re.IGNORECASE)


def is_wsj0(path: Path) -> bool:
    """Whether some folder is named like a subset."""
    return path.is_dir() and any(
        _SUBSET.fullmatch(whole_path(folder).name) for folder in (path, *folders_below(path, 3))
    )


def read_wsj0(path: Path) -> Listing:
    """``<subset>/<speaker>/<utterance>.wv1`` (or converted); sexes from ``spkrinfo.txt``, here, above or below.

    The speaker-independent subsets make the splits, ``si_tr_*`` that to train on, ``si_dt_*`` and ``si_et_*`` that to
    test on: the lists of wsj0-2mix take the open speakers of their test from both. An utterance is taken once:
    as converted, else from the first microphone (``.wv1``), else from the second.
    """
    genders = wsj0_genders(path)
    listing = Listing([], [])
    if not genders:
        listing.problems.append(Problem(path, "no table of speakers (doc/spkrinfo.txt) about: genders are not known"))
    for file in _one_of_each(recordings_below(path), lambda file: file.stem.lower(), _preference):
        name = _WSJ_UTTERANCE.fullmatch(file.stem)
        if name is None or _subset(whole_path(file)) is None:
            listing.problems.append(Problem(file, "not in <subset>/<speaker>/, as si_tr_s/011/011c0201: passed over"))
            continue
        speaker = name["speaker"].lower()
        if genders and speaker not in genders:
            listing.problems.append(Problem(file, f"speaker {speaker} is in no table of speakers"))
        utterance = Utterance(
            path=file,
            speaker=speaker,
            seconds=math.nan,
            gender=genders.get(speaker),
            session=name["session"].lower(),
            corpus="WSJ0",
            split=wsj0_split(whole_path(file)),
        )
        listing.recordings.append(Listed(utterance))
    return listing


def wsj0_speaker(file: Path) -> str | None:
    """The speaker that the name of an utterance begins with, where it is one of WSJ0."""
    name = _WSJ_UTTERANCE.fullmatch(file.stem)
    return name["speaker"].lower() if name and _subset(file) else None


def wsj0_split(file: Path) -> str | None:
    """What the subset says, where it is one of different speakers for training and testing."""
    subset = _subset(file)
    return _WSJ_SPLITS[subset["part"].lower()] if subset and subset["kind"].lower() == "si" else None


def _subset(file: Path) -> re.Match[str] | None:
    matches = (_SUBSET.fullmatch(folder.name) for folder in file.parents)
    return next((match for match in matches if match), None)


def wsj0_genders(*places: Path) -> dict[str, Gender | None]:
    """Sexes by speaker, from every ``*spkrinfo.txt`` in folders, in their ``doc``, and a little above and below."""
    bases = {base for place in places for base in at_and_above(place, 3) if base != base.parent}
    inner = [folder for base in bases for folder in subfolders(base)]
    inner += [folder for place in places for folder in folders_below(place, 3)]
    folders = bases | {whole_path(folder) for folder in inner if folder.name.lower() == "doc"}
    tables = {file for folder in folders for file in files_in(folder) if _SPEAKER_TABLE.fullmatch(file.name)}
    lines = (line for table in sorted(tables) for _, line in read_lines(table, strict=False))
    rows = [line.split() for line in lines if not line.startswith(";")]
    # Rules and headings stand between the rows.
    return {row[0].lower(): parse_gender(row[1]) for row in rows if len(row) > 1 and row[1].lower() in ("f", "m")}


def _preference(file: Path) -> int:
    return _PREFERENCES.get(file.suffix.lower(), 0)


def _one_of_each(
    files: Iterable[Path], utterance: Callable[[Path], str], preference: Callable[[Path], int]
) -> list[Path]:
    """Of the files of a folder that hold the same utterance, the one with the lowest number."""
    best: dict[tuple[Path, str], Path] = {}
    for file in files:
        key = (file.parent, utterance(file))
        if key not in best or preference(file) < preference(best[key]):
            best[key] = file
    return sorted(best.values())
