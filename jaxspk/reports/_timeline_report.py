"""The report of who speaks when: who said how much, and a timeline a recording that plays what is clicked."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jaxspk import audio
from jaxspk.reports._blocks import Fact, Facts, Text
from jaxspk.reports._html import write_report
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Block, Report, Section
from jaxspk.reports._tables import Cell, Table
from jaxspk.reports._timelines import CompressedSound, Lane, Timeline, time_of_day
from jaxspk.systems import ClusteredRecording, ClusteredSpeaker, Clustering, open_blocks

MOST_SECONDS = 45 * 60.0
"""Of sound in a page, about 11 MB."""
_MOST_TIMELINES = 100
_MOST_LISTED = 2000
_PEAK = 0.89


def write_timeline_report(
    path: Path | str,
    clusterings: Sequence[Clustering],
    *,
    sound_seconds: float = MOST_SECONDS,
    channel: int | Literal["mean"] = "mean",
    transductive: bool = False,
) -> Path:
    """Writes the page: one file that opens offline.

    Args:
      path: of the page.
      clusterings: one of all recordings, or one of each.
      sound_seconds: recordings are put into the page one after another as long as so much sound suffices; for others
        the page offers to open the file.
      channel: of files with several.
      transductive: whether the model learned from these recordings, to be said.

    Returns:
      The page.

    Raises:
      MissingExtraError: the extra ``reports`` is not installed.
      AudioError: a recording is no longer what it was.
    """
    recordings = [recording for clustering in clusterings for recording in clustering.recordings]
    return write_report(
        path,
        Report(
            title="Who speaks when",
            subtitle=_subtitle(clusterings, recordings, transductive),
            facts=_facts(clusterings, recordings),
            sections=(
                Section("Timelines", list(_timelines(clusterings, sound_seconds, channel))),
                Section("Speakers", [_speakers_table(clusterings)]),
                Section("All turns", list(_turn_tables(clusterings))),
                Section("How to read this", _notes(clusterings, transductive)),
            ),
            provenance=provenance(),
        ),
    )


def _subtitle(clusterings: Sequence[Clustering], recordings: Sequence[ClusteredRecording], transductive: bool) -> str:
    seconds = time_of_day(sum(recording.seconds for recording in recordings))
    what = f"{Path(recordings[0].recording).name}, {seconds}" if len(recordings) == 1 else (
        f"{len(recordings)} recordings, {seconds} in all, "
        + ("clustered together" if len(clusterings) == 1 else "each by itself")
    )  # fmt: skip
    count = "their number estimated" if any(one.estimated for one in clusterings) else "their number given"
    learned = "; learned from these recordings themselves (transductive)" if transductive else ""
    return f"{what}. Speakers found without any label, {count}{learned}."


def _facts(clusterings: Sequence[Clustering], recordings: Sequence[ClusteredRecording]) -> Facts:
    speakers = [speaker for clustering in clusterings for speaker in clustering.speakers]
    seconds = sum(recording.seconds for recording in recordings)
    spoken = sum(speaker.seconds for speaker in speakers)
    turns = [turn for recording in recordings for turn in recording.turns]
    named = sum(speaker.name is not None for speaker in speakers)
    median = float(np.median([turn.end - turn.start for turn in turns])) if turns else 0.0
    return Facts(
        [
            Fact("Speakers", len(speakers), "", f"{named} known by name" if named else "none known by name"),
            Fact("Speech", spoken / 60, "min", f"{spoken / seconds:.0%} of {time_of_day(seconds)}", ".1f"),
            Fact("Turns", len(turns), "", f"half of them shorter than {median:.1f} s"),
        ]
    )


def _timelines(clusterings: Sequence[Clustering], sound_seconds: float, channel: int | Literal["mean"]) -> list[Block]:
    blocks: list[Block] = []
    pairs = [(clustering, recording) for clustering in clusterings for recording in clustering.recordings]
    left = sound_seconds
    silent = 0
    for clustering, recording in pairs[:_MOST_TIMELINES]:
        sound = None
        if recording.seconds <= left:
            left -= recording.seconds
            sound = _sound(recording, channel)
        silent += sound is None
        blocks.append(_timeline(clustering, recording, sound))
    if silent:
        size = sound_seconds * audio.COMPRESSED_BYTES * 4 / 3 / 1e6
        which = "This recording is" if len(pairs) == 1 else f"{silent} of the recordings are"
        note = (
            f"{which} too long to be part of the page, which holds {sound_seconds / 60:.0f} minutes of sound at most "
            f"(about {size:.0f} MB). Open the file beside its timeline to listen: it is played from where it lies and "
            "goes nowhere."
        )
        blocks.insert(0, Text(note, note=True))
    if len(pairs) > _MOST_TIMELINES:
        blocks.append(
            Text(f"{len(pairs) - _MOST_TIMELINES} more recordings have their turns in files of their own.", True)
        )
    return blocks


def _timeline(clustering: Clustering, recording: ClusteredRecording, sound: CompressedSound | None) -> Timeline:
    lanes = []
    for number, speaker in enumerate(clustering.speakers):
        turns = [turn for turn in recording.turns if turn.speaker == speaker.cluster]
        if turns:
            spoken = sum(turn.end - turn.start for turn in turns)
            stretches = [(min(turn.start, recording.seconds), min(turn.end, recording.seconds)) for turn in turns]
            detail = f"{time_of_day(spoken)}, {_turns(len(turns))}"
            lanes.append(Lane(speaker.label, detail, number, stretches))
    name = Path(recording.recording).name
    return Timeline(name, recording.seconds, lanes, levels=recording.outline.astype(np.float64), sound=sound)


def _sound(recording: ClusteredRecording, channel: int | Literal["mean"]) -> CompressedSound:
    rate = audio.COMPRESSED_RATE
    with open_blocks(recording.source, rate, channel=channel) as blocks:
        peak = max((float(np.abs(block).max(initial=0.0)) for block in blocks), default=0.0)
    with open_blocks(recording.source, rate, channel=channel) as blocks:
        return CompressedSound(audio.compressed(blocks, gain=_PEAK / max(peak, 1e-9)), "audio/mpeg")


def _speakers_table(clusterings: Sequence[Clustering]) -> Table:
    several = len(clusterings) > 1
    named = any(speaker.name is not None for clustering in clusterings for speaker in clustering.speakers)
    rows: list[list[Cell]] = []
    for clustering in clusterings:
        spoken = sum(speaker.seconds for speaker in clustering.speakers)
        for speaker in clustering.speakers:
            first: list[Cell] = [Path(clustering.recordings[0].recording).name] if several else []
            last: list[Cell] = [speaker.probability] if named else []
            rows.append([*first, *_speaker_cells(speaker, spoken), *last])
    about_names = (
        " A name is that of an enrolled person whose voice fits; its probability takes half of all voices for enrolled "
        "people's."
    )
    return Table(
        [
            *(["Recording"] if several else []),
            *("Speaker", "Speaking", "Share (%)", "Turns", "Mean turn (s)"),
            *(["Probability of the name"] if named else []),
        ],
        rows,
        f"Who said how much.{about_names if named else ''}",
        formats={"Share (%)": ".0f", "Mean turn (s)": ".1f"},
    )


def _speaker_cells(speaker: ClusteredSpeaker, spoken: float) -> list[Cell]:
    return [
        speaker.label,
        time_of_day(speaker.seconds),
        100 * speaker.seconds / max(spoken, 1e-9),
        speaker.turns,
        speaker.seconds / max(speaker.turns, 1),
    ]


def _turn_tables(clusterings: Sequence[Clustering]) -> list[Block]:
    blocks: list[Block] = []
    pairs = ((clustering, recording) for clustering in clusterings for recording in clustering.recordings)
    for clustering, recording in itertools.islice(pairs, _MOST_TIMELINES):
        rows: list[list[Cell]] = [
            [_clock(turn.start), _clock(turn.end), turn.end - turn.start, clustering.label(turn.speaker)]
            for turn in recording.turns[:_MOST_LISTED]
        ]
        more = len(recording.turns) - len(rows)
        rest = f"; {more} more are in the files beside" if more > 0 else ""
        caption = f"{Path(recording.recording).name}: {_turns(len(recording.turns))}{rest}"
        blocks.append(
            Table(["Start", "End", "Seconds", "Speaker"], rows, caption, formats={"Seconds": ".1f"}, folded=True)
        )
    return blocks


def _notes(clusterings: Sequence[Clustering], transductive: bool) -> list[Block]:
    notes = [
        "Numbers of speakers mean nothing beyond this page: Speaker 1 is who is heard first. Where two speak at once, "
        "one of them is shown. Pauses of up to 0.3 s belong to the speech around them; very short answers may be given "
        "to the speaker before or after.",
    ]
    if any(clustering.estimated for clustering in clusterings):
        notes.append(
            "The number of speakers was estimated, which is the least certain part of all: where you know it, say so "
            "with --speakers, and the rest becomes better, too."
        )
    if transductive:
        notes.append(
            "The model was trained, without labels, on these very recordings (--adapt): it knows nothing of others."
        )
    return [Text("\n\n".join(notes))]


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{count} turns"


def _clock(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{time_of_day(tenths // 10)}.{tenths % 10}"
