"""Decoded recordings kept in memory: training draws the same utterances again and again."""

import dataclasses
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from jaxspk import audio
from jaxspk.errors import AudioError

Levels = Literal["active", "active_above_200_hz", "recorded"]
"""What gains are relative to: the active level of a recording (ITU-T P.56), that of its part above 200 Hz (wsj0-mix),
or the recording as it is (LibriMix)."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """A decoded utterance and how loud its speech is.

    Args:
      waveform: mono, at the rate it was asked for.
      level: root mean square amplitude of the active part (ITU-T P.56), positive.
    """

    waveform: Float32[np.ndarray, " samples"]
    level: float


class Recordings:
    """Utterances at one rate, decoded when first asked for; the least recently used are dropped past a bound.

    Safe to share between threads and between sets of mixtures.

    Args:
      sample_rate: rate to resample to, in Hz.
      max_bytes: bound on the samples held (four bytes each); one hour at 8 kHz takes 115 MB.
    """

    def __init__(self, sample_rate: int, *, max_bytes: int = 2**30) -> None:
        self.sample_rate = sample_rate
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Path, Float32[np.ndarray, " samples"]] = OrderedDict()
        self._unusable: dict[Path, str] = {}
        self._active_levels: dict[Path, float] = {}
        self._levels_above: dict[Path, float] = {}
        self._lock = threading.Lock()

    def get(self, path: Path) -> Recording:
        """The recording in a file.

        Raises:
          AudioError: the file cannot be decoded or holds no active speech.
        """
        waveform = self.waveform(path)
        if path not in self._active_levels:
            # Never 0: the recording is not silent.
            self._active_levels[path] = float(audio.active_level(waveform, self.sample_rate))
        return Recording(waveform, self._active_levels[path])

    def waveform(self, path: Path) -> Float32[np.ndarray, " samples"]:
        """The samples in a file; four times as fast as measuring their level too, where they are first asked for.

        Raises:
          AudioError: the file cannot be decoded or holds no active speech.
        """
        with self._lock:
            kept = self._kept.get(path)
            if kept is not None:
                self._kept.move_to_end(path)
                return kept
            if path in self._unusable:
                raise AudioError(self._unusable[path])
        # Decoding outside the lock: two threads may decode one file twice, none waits for another's file.
        try:
            waveform = _decode(path, self.sample_rate)
        except AudioError as error:
            with self._lock:
                self._unusable[path] = str(error)
            raise
        self._keep(path, waveform)
        return waveform

    def level(self, path: Path, levels: Levels) -> float:
        """What a gain multiplies a recording by is divided by this.

        Raises:
          AudioError: the file cannot be decoded or holds no active speech.
        """
        if levels == "recorded":
            return 1.0
        recording = self.get(path)
        if levels == "active":
            return recording.level
        if path not in self._levels_above:
            # Never 0: no filter turns what is audible to exact silence.
            level = audio.active_level(recording.waveform, self.sample_rate, high_pass_hz=200)
            self._levels_above[path] = float(level)
        return self._levels_above[path]

    @property
    def unusable(self) -> dict[Path, str]:
        """Files that were asked for and could not be used, with the reason."""
        with self._lock:
            return dict(self._unusable)

    def _keep(self, path: Path, waveform: Float32[np.ndarray, " samples"]) -> None:
        with self._lock:
            if path not in self._kept:
                self._kept[path] = waveform
                self._bytes += waveform.nbytes
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes


def _decode(path: Path, sample_rate: int) -> Float32[np.ndarray, " samples"]:
    waveform, _ = audio.read_audio(path, sample_rate=sample_rate)
    if not waveform.any():
        raise AudioError(f"{path}: holds no active speech; remove it from the corpus.")
    # Shared by every mixture that is made of it: nobody may write into it.
    waveform.flags.writeable = False
    return waveform
