"""OpenSLR's crowd-sourced corpora (SLR35, 36, 52 to 54: Javanese, Sundanese, Sinhala, Bengali, Nepali)."""

import math
from pathlib import Path

from jaxspk.data._listing import Listed, Listing, Problem, named_apart, read_lines, recordings_below, whole_path
from jaxspk.data._manifest import Utterance

INDEX_NAME = "utt_spk_text.tsv"
_SHOWN = 40


def is_openslr(path: Path) -> bool:
    """Whether a path is such a table, or a folder that holds one or whose folders do."""
    return bool(_tables(path))


def read_openslr(path: Path) -> Listing:
    """``utt_spk_text.tsv``: utterance, speaker and text; recordings in ``data/<first two letters>/<utterance>.flac``.

    The corpus is named by the folder of the table. The downloads come in sixteen parts; what is listed and not there is
    one problem for all, and so is what is there and not listed.
    """
    tables = _tables(path)
    listing = Listing([], [])
    if not tables:
        listing.problems.append(Problem(path / INDEX_NAME, "there is no such file"))
    for table in tables:
        found = _read_table(table)
        listing.recordings.extend(found.recordings)
        listing.problems.extend(found.problems)
    return Listing(named_apart(listing.recordings), listing.problems)


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == INDEX_NAME else []
    own = path / INDEX_NAME
    return [own] if own.is_file() else sorted(path.glob(f"*/{INDEX_NAME}"))


def _read_table(table: Path) -> Listing:
    folder = whole_path(table).parent
    files = {file.stem: file for file in recordings_below(table.parent)}
    listing = Listing([], [])
    lines: dict[str, int] = {}
    lost = []
    for number, line in read_lines(table):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 3 or not cells[0] or not cells[1]:
            message = f"line {number}: {line[:_SHOWN]!r} is not utterance, speaker and text between tabs"
            listing.problems.append(Problem(table, message))
            continue
        name, speaker, text = cells
        if lines.setdefault(name, number) != number:
            message = f"line {number}: utterance {name!r} stands in line {lines[name]} already: passed over"
            listing.problems.append(Problem(table, message))
            continue
        if name not in files:
            lost.append(name)
            continue
        utterance = Utterance(
            path=files[name], speaker=speaker, seconds=math.nan, text=text or None, corpus=folder.name
        )
        listing.recordings.append(Listed(utterance))
    if lost:
        message = (
            f"{len(lost):,} of {len(lines):,} utterances have no recording below this folder; the first is {lost[0]!r}"
        )
        listing.problems.append(Problem(table, f"{message}; unpack the other parts of the download here"))
    unlisted = sorted(files.keys() - lines.keys())
    if unlisted:
        message = f"{len(unlisted):,} recordings are not in the table; the first is {unlisted[0]!r}: passed over"
        listing.problems.append(Problem(table, message))
    return listing
