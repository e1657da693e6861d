"""Who speaks when, on disk: RTTM (rich transcription time marked), one turn a line."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxspk._files import write_whole
from jaxspk.errors import ArgumentError, CorpusError


class Turn(NamedTuple):
    """A stretch of time in which somebody speaks.

    Attributes:
      start: in seconds.
      end: in seconds.
      speaker: who, or the name of a cluster.
    """

    start: float
    end: float
    speaker: str


def read_rttm(path: Path | str) -> dict[str, tuple[Turn, ...]]:
    """Reads the turns of each recording in a file, in order of time; other lines than SPEAKER are passed over.

    Args:
      path: a file of lines ``SPEAKER recording channel start duration <NA> <NA> speaker <NA> <NA>``.

    Returns:
      The recording's name to its turns; names in order of appearance. Channels are not told apart.

    Raises:
      CorpusError: the file cannot be read, or a line of it cannot be right, named by its number.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8.") from None
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            found.setdefault(_field(path, number, fields, 1), []).append(_turn(path, number, fields))
    return {recording: tuple(sorted(turns)) for recording, turns in found.items()}


def write_rttm(path: Path | str, turns: Mapping[str, Sequence[tuple[float | int, float | int, str]]]) -> None:
    """Writes turns as RTTM, to the thousandth of a second, recording by recording and in order of time.

    Args:
      path: written whole or not at all.
      turns: start, end and speaker of each turn, by the name of the recording. Spaces in names, which RTTM does not
        know, become underscores.

    Raises:
      ArgumentError: a turn ends before it starts or before 0, or a name is empty.
      CorpusError: the file cannot be written.
    """
    lines = []
    for recording, of_recording in turns.items():
        for start, end, speaker in sorted(of_recording):
            if not 0 <= start <= end < math.inf:
                raise ArgumentError(f"a turn must end after it starts, got {start:g} to {end:g} s of {speaker!r}.")
            # Rounded ends, so that what touches still does.
            first, last = round(start, 3), round(end, 3)
            lines.append(
                f"SPEAKER {_word(recording)} 1 {first:.3f} {last - first:.3f} <NA> <NA> {_word(speaker)} <NA> <NA>\n"
            )
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(lines).encode())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}).") from None


def _turn(path: Path, number: int, fields: Sequence[str]) -> Turn:
    start, duration = (_seconds(path, number, _field(path, number, fields, place)) for place in (3, 4))
    # Sums of decimal fractions: what touches on paper touches here.
    return Turn(start, round(start + duration, 6), _field(path, number, fields, 7))


def _field(path: Path, number: int, fields: Sequence[str], place: int) -> str:
    if len(fields) <= place:
        raise CorpusError(
            f"{path}, line {number}: {len(fields)} fields where a SPEAKER line of RTTM has ten; "
            f"write `SPEAKER recording 1 start duration <NA> <NA> speaker <NA> <NA>`."
        )
    return fields[place]


def _seconds(path: Path, number: int, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise CorpusError(f"{path}, line {number}: {text!r} is no time in seconds; RTTM has start and duration there.")
    return seconds


def _word(name: str) -> str:
    """A name without the spaces that would end it."""
    words = name.split()
    if not words:
        raise ArgumentError("names of recordings and speakers must not be empty in RTTM.")
    return "_".join(words)
