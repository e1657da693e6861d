"""Noises and rooms for augmentation and tests: which may be trained with, and which are for tests only.

A folder of noises holds ``noise.csv`` (path, kind, licence), one of rooms ``rir.csv`` (path, licence), with paths
relative to the folder above; ``docs/data.md`` names what the project's figures were made with.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks, audio
from jaxspk.data._tables import read_table
from jaxspk.errors import CorpusError

TEST_NOISES = ("coffee-shop", "train", "rain", "dog-bark", "clock-tick")
"""Kinds of noise that are for tests only."""
TEST_ROOMS = ("Basement", "SpokaneWomansClub")
"""Rooms that are for tests only."""

Part = Literal["training", "test"]


@dataclasses.dataclass(frozen=True, eq=False)
class Sound:
    """A noise or the impulse response of a room.

    Args:
      name: the file's, without its ending.
      kind: of a noise; the name of a room.
      waveform: mono.
    """

    name: str
    kind: str
    waveform: Float32[np.ndarray, " samples"]


def read_noises(folder: Path | str, part: Part, sample_rate: int) -> tuple[Sound, ...]:
    """The noises of a folder that are for training, or those that are for tests (:data:`TEST_NOISES`).

    Args:
      folder: holds ``noise.csv``.
      part: which.
      sample_rate: to resample to, in Hz.

    Raises:
      CorpusError: there is no such folder, or no noise of this part in it.
      AudioError: a file cannot be decoded.
    """
    return _read(Path(folder), "noise.csv", "kind", TEST_NOISES, part, sample_rate)


def read_rooms(
    folder: Path | str, part: Part, sample_rate: int, *, without_licences: Sequence[str] = ()
) -> tuple[Sound, ...]:
    """The rooms of a folder that are for training, or those that are for tests (:data:`TEST_ROOMS`).

    Args:
      folder: holds ``rir.csv``.
      part: which.
      sample_rate: to resample to, in Hz.
      without_licences: leaves out what is licensed so, ``"CC BY-SA"`` where share-alike is unwanted.

    Raises:
      CorpusError: there is no such folder, or no room of this part in it.
      AudioError: a file cannot be decoded.
    """
    return _read(Path(folder), "rir.csv", None, TEST_ROOMS, part, sample_rate, tuple(without_licences))


def read_sounds(folder: Path | str, part: Part, sample_rate: int, *, seconds: float | None = None) -> tuple[Sound, ...]:
    """The recordings in any folder, as music, noises or rooms to augment with; no table is needed.

    The kind of a sound is the name of the folder it lies in. What is for tests only (:data:`TEST_NOISES` by the folder,
    :data:`TEST_ROOMS` by the file) is for tests here too.

    Args:
      folder: walked to its depths.
      part: which.
      sample_rate: to resample to, in Hz.
      seconds: keeps no more of each, from its middle: all sounds stay in memory, an hour at 16 kHz takes 230 MB.

    Raises:
      AudioError: there is no such folder, no recording in it, or one that cannot be decoded.
      CorpusError: nothing in it is of this part.
    """
    _checks.check_choice("part", part, ("training", "test"))
    if seconds is not None:
        _checks.check_range("seconds", seconds, low=0.0, low_open=True)
    sounds = []
    for path in audio.find_recordings(folder):
        for_tests = path.parent.name in TEST_NOISES or path.stem in TEST_ROOMS
        if for_tests == (part == "test"):
            waveform = _waveform(path, sample_rate)
            if seconds is not None:
                waveform = _middle(waveform, round(seconds * sample_rate))
            sounds.append(Sound(path.stem, path.parent.name, waveform))
    if not sounds:
        raise CorpusError(f"{folder}: holds nothing for {part}; for tests are {', '.join(TEST_NOISES + TEST_ROOMS)}.")
    return tuple(sounds)


def _read(
    folder: Path,
    table: str,
    kind_column: str | None,
    for_tests: Sequence[str],
    part: Part,
    sample_rate: int,
    without_licences: Sequence[str] = (),
) -> tuple[Sound, ...]:
    _checks.check_choice("part", part, ("training", "test"))
    file = folder / table
    if not file.is_file():
        raise CorpusError(f"{folder}: holds no {table}; give the folder of the sounds (docs/data.md says where from).")
    required = ("path", "licence") if kind_column is None else ("path", "licence", kind_column)
    sounds = []
    for row in read_table(file, required=required):
        path = folder.parent / row.cells["path"]
        kind = path.stem if kind_column is None else row.cells[kind_column]
        if (kind in for_tests) == (part == "test") and row.cells["licence"] not in without_licences:
            sounds.append(Sound(path.stem, kind, _waveform(path, sample_rate)))
    if not sounds:
        raise CorpusError(f"{file}: lists nothing for {part}; kinds for tests are {', '.join(for_tests)}.")
    return tuple(sounds)


def _middle(waveform: Float32[np.ndarray, " samples"], samples: int) -> Float32[np.ndarray, " kept"]:
    """A copy, so that what is cut off does not stay in memory."""
    start = max(0, len(waveform) - samples) // 2
    kept = waveform[start : start + samples].copy()
    kept.flags.writeable = False
    return kept


@functools.lru_cache(maxsize=256)
def _waveform(path: Path, sample_rate: int) -> Float32[np.ndarray, " samples"]:
    waveform, _ = audio.read_audio(path, sample_rate=sample_rate)
    # Shared by all that is made of it.
    waveform.flags.writeable = False
    return waveform
