"""Kaldi's data directories. Commands in them are understood where they only unpack a file; none is ever run."""

import math
import os
import re
import shlex
from pathlib import Path

from jaxspk.audio import audio_info
from jaxspk.data._listing import Listed, Listing, Problem, read_lines, whole_path
from jaxspk.data._manifest import Gender, Utterance, parse_gender
from jaxspk.errors import AudioError, CorpusError

INDEX_NAME = "wav.scp"

_SPLITS = {"train": "train", "dev": "validation", "valid": "validation", "test": "test", "eval": "test"}
_PART = re.compile(rf"({'|'.join(_SPLITS)})")
_IN_ARCHIVE = re.compile(r".+\.ark:\d+(\[.*\])?")
_FLAC_OPTION = re.compile(r"-[cds]+|--(stdout|decode|silent|totally-silent)")
_SHOWN = 60


def is_kaldi(path: Path) -> bool:
    """Whether a path is a data directory, or holds some."""
    return bool(_folders(path))


def read_kaldi(path: Path) -> Listing:
    """``wav.scp`` and ``utt2spk`` (or ``spk2utt``), and where there are any ``spk2gender`` and ``text``.

    Paths that are not absolute are looked for from the data directory, from each of three folders above it (Kaldi's own
    are relative to the recipe's), and from where the program runs. The split is that of a directory's name: ``train*``,
    ``dev*`` and ``valid*``, ``test*`` and ``eval*``. A directory with ``segments`` is not read: an utterance is a whole
    file.
    """
    listing = Listing([], [])
    folders = _folders(path)
    if not folders:
        listing.problems.append(Problem(path / INDEX_NAME, "there is no such file"))
    for folder in folders:
        _read_folder(folder, listing)
    return listing


def _folders(path: Path) -> list[Path]:
    """The data directory itself, or those right below."""
    if path.name == INDEX_NAME and path.is_file():
        return [path.parent]
    if (path / INDEX_NAME).is_file():
        return [path]
    return [table.parent for table in sorted(path.glob(f"*/{INDEX_NAME}"))] if path.is_dir() else []


def _read_folder(folder: Path, listing: Listing) -> None:
    problems = listing.problems
    if (folder / "segments").is_file():
        message = "cuts recordings into utterances, which is not read: write each to a file of its own, and name it in"
        problems.append(Problem(folder / "segments", f"{message} {INDEX_NAME}"))
        return
    speakers = _speakers(folder, problems)
    genders = _genders(folder, problems)
    texts = _pairs(folder / "text", problems, may_be_empty=True)
    part = _PART.match(whole_path(folder).name.lower())
    entries = _pairs(folder / INDEX_NAME, problems)
    for name, entry in entries.items():
        if name not in speakers:
            problems.append(Problem(folder / INDEX_NAME, f"nobody is named as the speaker of {name!r}: passed over"))
            continue
        try:
            file = _recording(entry, folder)
        except CorpusError as error:
            problems.append(Problem(folder / INDEX_NAME, f"{name!r}: {error}"))
            continue
        utterance = Utterance(
            path=file,
            speaker=speakers[name],
            seconds=math.nan,
            gender=genders.get(speakers[name]),
            text=texts.get(name) or None,
            split=_SPLITS[part[1]] if part else None,
        )
        listing.recordings.append(Listed(utterance))
    silent = [name for name in speakers if name not in entries]
    if silent:
        message = f"{len(silent):,} utterances have a speaker and no recording; the first is {silent[0]!r}"
        problems.append(Problem(folder / INDEX_NAME, message))


# --- Tables -----------------------------------------------------------------------------------------------


def _pairs(table: Path, problems: list[Problem], *, may_be_empty: bool = False) -> dict[str, str]:
    """What follows the first word of each line, by that word; nothing where there is no such file."""
    pairs: dict[str, str] = {}
    for number, line in read_lines(table) if table.is_file() else ():
        name, _, rest = line.strip().replace("\t", " ").partition(" ")
        if name in pairs:
            problems.append(Problem(table, f"line {number}: {name!r} a second time: passed over"))
        elif not rest.strip() and not may_be_empty:
            problems.append(Problem(table, f"line {number}: nothing but {name!r}"))
        else:
            pairs[name] = rest.strip()
    return pairs


def _speakers(folder: Path, problems: list[Problem]) -> dict[str, str]:
    table, turned = folder / "utt2spk", folder / "spk2utt"
    if table.is_file():
        return _pairs(table, problems)
    if turned.is_file():
        return {name: speaker for speaker, names in _pairs(turned, problems).items() for name in names.split()}
    problems.append(Problem(table, "there is no such file: whose voices are these?"))
    return {}


def _genders(folder: Path, problems: list[Problem]) -> dict[str, Gender | None]:
    genders: dict[str, Gender | None] = {}
    for speaker, text in _pairs(folder / "spk2gender", problems).items():
        try:
            genders[speaker] = parse_gender(text)
        except CorpusError as error:
            problems.append(Problem(folder / "spk2gender", f"{speaker!r}: {error}"))
    return genders


# --- Recordings -------------------------------------------------------------------------------------------


def _recording(entry: str, folder: Path) -> Path:
    """The file that an entry of ``wav.scp`` means.

    Raises:
      CorpusError: it is a command that does more than unpack a file, or a place in an archive.
    """
    if not entry.endswith("|"):
        if _IN_ARCHIVE.fullmatch(entry):
            raise CorpusError(f"{entry!r} is a place in an archive; write the recording to a file and name that")
        return _found(entry, folder)
    name, channel = _unpacked_file(entry[:-1])
    file = _found(name, folder)
    if channel is not None and not _is_whole(file, channel):
        raise CorpusError(f"channel {channel} of a recording of several; write it to a file and name that")
    return file


def _is_whole(file: Path, channel: str) -> bool:
    """Whether the first channel is all there is; what cannot be read is told of later."""
    try:
        return channel == "1" and audio_info(file).channels == 1
    except AudioError:
        return True


def _found(name: str, folder: Path) -> Path:
    place = whole_path(folder)
    bases = (place, *list(place.parents)[:3], Path.cwd())
    return next((base / name for base in bases if os.path.isfile(base / name)), folder / name)


def _unpacked_file(command: str) -> tuple[str, str | None]:
    """The file that a command writes to its output as it is, and the channel where it names one.

    Understood: ``sph2pipe [-f wav] [-p] [-c 1] FILE``, ``flac -c -d -s FILE``, ``sox FILE -t wav -``, ``cat FILE``.
    """
    try:
        program, *words = shlex.split(command)
    except ValueError:
        program, words = "", []
    channel = None
    match Path(program).name:
        case "sph2pipe":
            words, channel = _without_options(words)
        case "flac":
            words = [word for word in words if not _FLAC_OPTION.fullmatch(word)]
        case "sox":
            words = words[:1] if words[1:] == ["-t", "wav", "-"] else []
        case "cat":
            pass
        case _:
            words = []
    if len(words) != 1 or words[0].startswith("-"):
        shown = command.strip()[:_SHOWN]
        raise CorpusError(f"the command {shown!r} is not run; write what it puts out to a file and name that")
    return words[0], channel


def _without_options(words: list[str]) -> tuple[list[str], str | None]:
    """Arguments of sph2pipe without those that change nothing of a recording; ``-c`` apart."""
    left, channel = [], None
    rest = iter(words)
    for word in rest:
        if word == "-p":
            continue
        if word == "-f":
            if next(rest, "") not in ("wav", "rif"):
                return [], None
        elif word == "-c":
            channel = next(rest, "")
        else:
            left.append(word)
    return left, channel
