"""Turns on disk, for whoever reads them next: a table, RTTM for programs, subtitles for players."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxspk import data
from jaxspk._files import write_whole
from jaxspk.data import Turn
from jaxspk.errors import AudioError
from jaxspk.systems._clusterer import ClusteredRecording, Clustering

# Subtitles stay on the screen no longer, so that a lecture is not one of them.
_LONGEST_SUBTITLE = 6.0


class TurnFiles(NamedTuple):
    """What :func:`write_turns` wrote."""

    csv: Path
    rttm: Path
    srt: Path
    vtt: Path


def write_turns(place: Path, recording: ClusteredRecording, clustering: Clustering) -> TurnFiles:
    """Writes who speaks when, each file whole or not at all.

    ``.csv``: start, end (seconds), cluster, name (empty for somebody unknown). ``.rttm``: the same for programs.
    ``.srt`` and ``.vtt``: subtitles that say who speaks.

    Args:
      place: where, without the endings; missing folders are made.
      recording: whose turns.
      clustering: that it is of, which knows the names.

    Raises:
      AudioError: a file cannot be written.
    """
    names = {speaker.cluster: speaker.name or "" for speaker in clustering.speakers}
    labels = {speaker.cluster: speaker.label for speaker in clustering.speakers}
    files = TurnFiles(*(place.with_name(f"{place.name}.{ending}") for ending in TurnFiles._fields))
    contents = {
        files.csv: _table(recording.turns, names),
        files.srt: _subtitles(recording.turns, labels, head="", clock=_srt_time, numbered=True),
        files.vtt: _subtitles(recording.turns, labels, head="WEBVTT\n\n", clock=_vtt_time, numbered=False),
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for path, text in contents.items():
            write_whole(path, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise AudioError(f"{place}: its results cannot be written ({error.strerror}).") from None
    turns = [(turn.start, turn.end, labels[turn.speaker]) for turn in recording.turns]
    data.write_rttm(files.rttm, {Path(recording.recording).stem or "recording": turns})
    return files


def _table(turns: Sequence[Turn], names: dict[str, str]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["start", "end", "cluster", "name"])
    for turn in turns:
        writer.writerow([f"{turn.start:.3f}", f"{turn.end:.3f}", turn.speaker, names[turn.speaker]])
    return file.getvalue()


def _subtitles(
    turns: Sequence[Turn], labels: dict[str, str], *, head: str, clock: Callable[[float], str], numbered: bool
) -> str:
    blocks: list[str] = []
    for turn in turns:
        parts = max(1, -int(-(turn.end - turn.start) // _LONGEST_SUBTITLE))
        for part in range(parts):
            start, end = (turn.start + (turn.end - turn.start) * edge / parts for edge in (part, part + 1))
            number = f"{len(blocks) + 1}\n" if numbered else ""
            blocks.append(f"{number}{clock(start)} --> {clock(end)}\n{_plain(labels[turn.speaker])}\n\n")
    return head + "".join(blocks)


def _plain(text: str) -> str:
    """Without what subtitles would take for marks."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _srt_time(seconds: float) -> str:
    return _vtt_time(seconds).replace(".", ",")


def _vtt_time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
