"""LibriSpeech: subset, speaker and chapter are folders, and stand in the names of the files too."""

import math
import re
from pathlib import Path

from jaxspk.data._listing import Listed, Listing, Problem, recordings_below
from jaxspk.data._manifest import Gender, Utterance, parse_gender
from jaxspk.errors import CorpusError

_NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d+")
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def is_librispeech(path: Path) -> bool:
    """Whether any recording is named as there."""
    return path.is_dir() and any(_NAME.fullmatch(file.stem) for file in recordings_below(path))


def read_librispeech(path: Path) -> Listing:
    """``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>``; sexes from SPEAKERS.TXT.

    The session is the chapter, the text that of the chapter's transcript, the split that of the subset.
    """
    genders = librispeech_genders(path)
    transcripts: dict[Path, dict[str, str]] = {}
    listing = Listing([], [])
    for file in recordings_below(path):
        name = _NAME.fullmatch(file.stem)
        if name is None:
            listing.problems.append(Problem(file, "not named <speaker>-<chapter>-<utterance>: passed over"))
            continue
        speaker = name["speaker"]
        if genders and speaker not in genders:
            listing.problems.append(Problem(file, f"speaker {speaker} is not in SPEAKERS.TXT"))
        if file.parent not in transcripts:
            transcripts[file.parent] = _texts(file.parent)
        utterance = Utterance(
            path=file,
            speaker=speaker,
            seconds=math.nan,
            gender=genders.get(speaker),
            text=transcripts[file.parent].get(file.stem),
            session=name["chapter"],
            corpus="LibriSpeech",
            split=librispeech_split(file),
        )
        listing.recordings.append(Listed(utterance))
    return listing


def librispeech_genders(path: Path) -> dict[str, Gender | None]:
    """Sexes by speaker, from the SPEAKERS.TXT of a folder or of one of the two above it; empty without one."""
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


def librispeech_speaker(file: Path) -> str | None:
    """The speaker that the name of an utterance begins with, where it is one of LibriSpeech."""
    name = _NAME.fullmatch(file.stem)
    return name["speaker"] if name else None


def librispeech_split(file: Path) -> str | None:
    """What the name of a subset says: ``<subset>/<speaker>/<chapter>/<file>``."""
    subset = file.parents[2].name if len(file.parents) > 2 else ""
    return _SPLITS.get(subset.split("-")[0])


def _texts(folder: Path) -> dict[str, str]:
    texts = {}
    for file in folder.glob("*.trans.txt"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts
