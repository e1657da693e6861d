"""VoxCeleb 1 and 2: speaker and video are folders; genders and sets stand in tables that are downloaded apart."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
from jaxspk.errors import CorpusError

_SPEAKER = re.compile(r"id\d{5}")
_SEGMENT = re.compile(r"\d{5}")
_TABLE = re.compile(r"(full_)?vox[12]_meta\.csv", re.IGNORECASE)
_PART = re.compile(r"(?:^|_)(dev|test)(?:_|$)")
_SPLITS = {"dev": "train", "test": "test"}
_AAC_SUFFIXES = (".m4a", ".aac")
_DEPTH = 4
"""A folder that holds both corpora has the speakers' folders so far below: voxceleb1/dev/wav/id10001."""


class _Person(NamedTuple):
    gender: Gender | None
    split: str | None


def is_voxceleb(path: Path) -> bool:
    """Whether some folder is named like a speaker and holds videos of numbered segments."""
    if not path.is_dir():
        return False
    return any(
        _SEGMENT.fullmatch(file.stem)
        for folder in (path, *folders_below(path, _DEPTH))
        if _SPEAKER.fullmatch(whole_path(folder).name)
        for video in subfolders(folder)
        for file in files_in(video)
    )


def read_voxceleb(path: Path) -> Listing:
    """``[dev|test/]wav/<speaker>/<video>/<segment>.wav``; the video is the session.

    Genders and splits come from ``vox1_meta.csv`` and ``vox2_meta.csv``, here, above or below; of a speaker they do not
    name, the split is that of a folder ``dev`` or ``test`` (or ``vox1_dev_wav``, say).
    """
    people, problems = _people(path)
    listing = Listing([], problems)
    recordings = recordings_below(path)
    for file in recordings:
        video = whole_path(file).parent
        speaker = video.parent.name
        if not _SPEAKER.fullmatch(speaker):
            listing.problems.append(Problem(file, "not in <speaker>/<video>/, as id10001/x1y2z3: passed over"))
            continue
        person = people.get(speaker)
        if people and person is None:
            listing.problems.append(Problem(file, f"speaker {speaker} is in no table of speakers"))
        utterance = Utterance(
            path=file,
            speaker=speaker,
            seconds=math.nan,
            gender=person.gender if person else None,
            session=video.name,
            corpus="VoxCeleb1" if speaker.startswith("id1") else "VoxCeleb2",
            split=person.split if person else _split_of_folders(video.parent),
        )
        listing.recordings.append(Listed(utterance))
    listing.problems.extend(_unconverted(path, {_segment(file) for file in recordings}))
    return listing


def _split_of_folders(speaker: Path) -> str | None:
    """What the nearest folder above with such a name says."""
    parts = (_PART.search(folder.name) for folder in list(speaker.parents)[:_DEPTH])
    return next((_SPLITS[part[1]] for part in parts if part), None)


def _segment(file: Path) -> tuple[str, ...]:
    """Speaker, video and number: converted files may lie in a tree of their own."""
    return (*whole_path(file).parent.parts[-2:], file.stem)


def _unconverted(path: Path, converted: set[tuple[str, ...]]) -> Iterator[Problem]:
    """One problem for all segments that are there only as the AAC that VoxCeleb 2 comes in."""
    lost = [
        Path(place, name)
        for place, _, names in os.walk(path, followlinks=True)
        for name in sorted(names)
        if name.lower().endswith(_AAC_SUFFIXES) and _segment(Path(place, name)) not in converted
    ]
    if lost:
        others = f", as are {len(lost) - 1:,} other recordings" if len(lost) > 1 else ""
        yield Problem(
            lost[0],
            f"is AAC{others}, which cannot be decoded here: convert each to a file of the same name and place, "
            f"for instance by ffmpeg -i NAME{lost[0].suffix} -ac 1 -ar 16000 NAME.flac",
        )


# --- Tables of speakers -----------------------------------------------------------------------------------


def _people(path: Path) -> tuple[dict[str, _Person], list[Problem]]:
    folders = (*at_and_above(path, 3), *folders_below(path, 2))
    tables = {file for folder in folders for file in files_in(folder) if _TABLE.fullmatch(file.name)}
    people: dict[str, _Person] = {}
    problems: list[Problem] = []
    for table in sorted(tables):
        people |= _read_people(table, problems)
    if not tables:
        problems.append(Problem(path, "no vox1_meta.csv or vox2_meta.csv here or above: genders are not known"))
    return people, problems


def _read_people(table: Path, problems: list[Problem]) -> dict[str, _Person]:
    """Separated by commas or tabs, with spaces about: the published tables differ in it."""
    lines = read_lines(table)
    separator = "\t" if lines and "\t" in lines[0][1] else ","
    header = [cell.strip().lower() for cell in lines[0][1].split(separator)] if lines else []
    if not header or not header[0].startswith("voxceleb") or "gender" not in header:
        raise CorpusError(f"{table}: not VoxCeleb's table of speakers; its columns are VoxCeleb1 ID (or 2) and Gender.")
    people = {}
    for number, line in lines[1:]:
        cells = dict(zip(header, (cell.strip() for cell in line.split(separator)), strict=False))
        try:
            gender = parse_gender(cells.get("gender", ""))
        except CorpusError as error:
            problems.append(Problem(table, f"line {number}: {error}"))
            continue
        people[cells[header[0]]] = _Person(gender, _SPLITS.get(cells.get("set", "").lower()))
    return people
