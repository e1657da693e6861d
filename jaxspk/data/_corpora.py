"""Reading a corpus: every file looked at, every problem collected, held-out speakers kept apart."""

import dataclasses
import hashlib
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxspk import _checks
from jaxspk.audio import audio_info, check_sound, read_audio
from jaxspk.data._held_out import HeldOutLists
from jaxspk.data._layouts import LAYOUTS, matching_layouts
from jaxspk.data._listing import Listed, Problem
from jaxspk.data._manifest import HELD_OUT_SPLITS, Gender, Manifest, Utterance
from jaxspk.errors import AudioError, CorpusError

MIN_SECONDS = 0.25
"""Shorter recordings hold hardly a syllable and are passed over."""


class Scan(NamedTuple):
    """What was found in a corpus and what is wrong with it."""

    manifest: Manifest
    layout: str
    problems: tuple[Problem, ...]


def read_corpus(
    path: Path | str,
    layout: str = "auto",
    *,
    decode: bool = False,
    progress: Callable[[Sequence[Listed]], Iterable[Listed]] | None = None,
) -> Scan:
    """Reads a corpus into a manifest of its usable recordings.

    Layouts (:data:`LAYOUTS`): "csv", a table (``utterances.csv`` of a folder, or any ``.csv``) with the
    columns path and speaker and, if it has them, gender or sex, seconds, samples, text, session or chapter,
    corpus and split, with ``speakers.csv`` beside it; "kaldi", a data directory (or several in one folder), whose
    commands are understood where they only unpack a file and never run; "openslr", a ``utt_spk_text.tsv``; "voxceleb",
    1 and 2; "timit"; "wsj0"; "librispeech"; "folders", a folder per speaker.
    Unreadable, empty, silent and too short files, doubles, and contradictions between tables and files are
    collected, not raised.

    Speakers named in a ``HELD_OUT.txt`` (lines of ``[corpus] speaker``) in any folder above a recording, or
    with ``split`` "test" in the ``speakers.csv`` beside such a list, get ``split="test"`` whatever layout
    the corpus is read by, and :func:`split_speakers` keeps them out of training.

    Args:
      path: a folder or a table.
      layout: name of a layout, or "auto" for the first that fits.
      decode: also decode every recording, which finds silence, damage behind the header and files of the same
        content (about 2500 times faster than real time, against 100000 times for headers alone).
      progress: wraps the sequence of recordings while they are looked at, for instance
        ``rich.progress.track``.

    Raises:
      CorpusError: there is no such path, or no usable recording in it.
    """
    path = Path(path).expanduser()
    _checks.check_choice("layout", layout, ("auto", *LAYOUTS))
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder; give a folder of speech or a table of it.")
    name = next(matching_layouts(path), None) if layout == "auto" else layout
    if name is None:
        raise CorpusError(f"{path}: no corpus; {_expected()}.")
    recordings, problems = LAYOUTS[name].read(path)
    recordings, doubles = _once(recordings)
    usable, faults = _looked_at(recordings, decode, progress)
    lists = HeldOutLists()
    if LAYOUTS[name].implies_splits:
        usable = [dataclasses.replace(u, split=None) if lists.govern(u) else u for u in usable]
    speakers, conflicts = _one_of_each(usable, lists)
    found = problems + doubles + faults + conflicts
    if not speakers:
        reason = f"the first problem of {len(found)}: {found[0].path}: {found[0].message}" if found else _expected()
        raise CorpusError(f"{path}: no usable speech (read as {name!r}); {reason}.")
    return Scan(Manifest(tuple(speakers)), name, tuple(found))


def summarize(scan: Scan) -> dict[str, Any]:
    """What a scan found, as plain JSON: speakers by gender, seconds, corpora, splits, problems."""
    manifest = scan.manifest
    seconds = sorted(utterance.seconds for utterance in manifest)
    genders = Counter(manifest.genders.values())
    return {
        "layout": scan.layout,
        "speakers": len(manifest.speakers),
        "female": genders["F"],
        "male": genders["M"],
        "unknown": genders[None],
        "utterances": len(manifest),
        "minutes": round(manifest.seconds / 60, 1),
        "shortest": round(seconds[0], 2),
        "median": round(statistics.median(seconds), 2),
        "longest": round(seconds[-1], 2),
        "corpora": dict(sorted(Counter(utterance.corpus or "unnamed" for utterance in manifest).items())),
        "splits": dict(sorted(Counter(split or "free" for split in manifest.splits.values()).items())),
        "problems": [{"path": str(problem.path), "message": problem.message} for problem in scan.problems],
    }


def _expected() -> str:
    return "expected " + ", or ".join(layout.description for layout in LAYOUTS.values())


# --- Files ------------------------------------------------------------------------------------------------


def _once(recordings: list[Listed]) -> tuple[list[Listed], list[Problem]]:
    """Each file once, whatever links lead to it."""
    first: dict[str, Listed] = {}
    problems = []
    for listed in recordings:
        try:
            file = os.path.realpath(listed.utterance.path)
        except ValueError:  # No possible name, as reading it will say.
            file = str(listed.utterance.path)
        if file in first:
            problems.append(
                Problem(listed.utterance.path, f"the same file as {first[file].utterance.path}: passed over")
            )
        else:
            first[file] = listed
    return list(first.values()), problems


def _looked_at(
    recordings: list[Listed],
    decode: bool,
    progress: Callable[[Sequence[Listed]], Iterable[Listed]] | None,
) -> tuple[list[Utterance], list[Problem]]:
    """Utterances with their true durations, and what speaks against others."""
    usable, problems = [], []
    contents: dict[bytes, Path] = {}
    for listed in progress(recordings) if progress else recordings:
        path = listed.utterance.path
        try:
            info = audio_info(path)
            if info.seconds < MIN_SECONDS:
                raise AudioError(f"lasts {info.seconds:.2f} s, less than {MIN_SECONDS} s")
            if decode:
                _check_content(path, contents)
        except AudioError as error:
            problems.append(Problem(path, _without_name(error, path)))
            continue
        stated = listed.utterance.seconds
        if listed.samples not in (None, info.samples):
            problems.append(Problem(path, f"holds {info.samples} samples, the table says {listed.samples}"))
        elif not math.isnan(stated) and abs(stated - info.seconds) > 0.05:
            problems.append(Problem(path, f"lasts {info.seconds:.2f} s, the table says {stated:.2f} s"))
        usable.append(dataclasses.replace(listed.utterance, seconds=info.seconds))
    return usable, problems


def _check_content(path: Path, contents: dict[bytes, Path]) -> None:
    """Raises AudioError for silence and for the samples of an earlier file; remembers these."""
    waveform, sample_rate = read_audio(path)
    check_sound(waveform, sample_rate, name=path)
    digest = hashlib.sha256(waveform.tobytes()).digest()
    earlier = contents.setdefault(digest, path)
    if earlier != path:
        raise AudioError(f"the same sound as {earlier}")


def _without_name(error: AudioError, path: Path) -> str:
    """The message alone: a problem names its file already."""
    return str(error).removeprefix(f"{path}: ").rstrip(".")


# --- Speakers ---------------------------------------------------------------------------------------------


def _one_of_each(utterances: list[Utterance], lists: HeldOutLists) -> tuple[list[Utterance], list[Problem]]:
    """One gender and one split per speaker; where a corpus contradicts itself, holding out wins."""
    problems = []
    held_out = {utterance.speaker for utterance in utterances if lists.hold(utterance)}
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    gender: dict[str, Gender | None] = {}
    split: dict[str, str | None] = {}
    for speaker, group in by_speaker.items():
        genders = {utterance.gender for utterance in group} - {None}
        if len(genders) > 1:
            problems.append(Problem(group[0].path, f"speaker {speaker!r} is both F and M: gender left unknown"))
        gender[speaker] = genders.pop() if len(genders) == 1 else None
        splits = {utterance.split for utterance in group}
        if speaker in held_out:
            # Saying nothing of a speaker does not contradict the list.
            splits = splits - {None} | {"test"}
        split[speaker] = next((name for name in HELD_OUT_SPLITS if name in splits), min(splits, key=str))
        if len(splits) > 1:
            names = ", ".join(sorted(map(str, splits)))
            problems.append(
                Problem(
                    group[0].path,
                    f"speaker {speaker!r} is in several splits ({names}): now all in {split[speaker]}",
                )
            )
    return [
        dataclasses.replace(utterance, gender=gender[utterance.speaker], split=split[utterance.speaker])
        for utterance in utterances
    ], problems
