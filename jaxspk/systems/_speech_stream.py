"""A recording's speech from end to end without its pauses, in memory that its length hardly changes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float64, Int

from jaxspk import audio
from jaxspk.systems._timeline import TimelineConfig, find_speech

# Speech is found in an envelope of about this rate: its mean power over 25 ms, every 10 ms, is that of the waveform.
_ENVELOPE_RATE = 200
# Windows hold so little speech that short pauses in them matter, and changes are put into pauses.
_PAUSE_SECONDS = 0.1

Blocks = Callable[[], Iterable[np.ndarray]]
"""Begins to read a recording anew, ``[samples]`` after ``[samples]``."""


@dataclasses.dataclass(frozen=True)
class SpeechStream:
    """Where there is speech in a recording, and the speech itself; made by :func:`hear_speech`.

    Attributes:
      stretches: first sample, and the one after the last, of each stretch of speech, at ``sample_rate``.
      samples: of the recording, at that rate.
      sample_rate: in Hz.
    """

    stretches: Int[np.ndarray, "stretches 2"]
    samples: int
    sample_rate: int
    _open: Blocks
    _from_rate: int

    @property
    def seconds(self) -> float:
        """Of the recording."""
        return self.samples / self.sample_rate

    @property
    def spoken(self) -> int:
        """Samples of speech."""
        return int(np.diff(self.stretches).sum())

    @property
    def joints(self) -> Int[np.ndarray, " joints"]:
        """Samples of speech before each pause that is left out."""
        before: np.ndarray = np.cumsum(np.diff(self.stretches)[:, 0])[:-1]
        return before

    def blocks(self, samples: int, step: int) -> Iterator[np.ndarray]:
        """The speech in blocks of so many samples, each ``step`` after the one before; the last is shorter.

        A block that would bring nothing beyond the one before is left out.
        """
        kept = np.zeros(0, np.float32)
        fresh = 0
        for part in self._speech():
            kept = np.concatenate([kept, part])
            fresh += len(part)
            while len(kept) >= samples:
                yield kept[:samples]
                kept = kept[step:]
                fresh = len(kept) - (samples - step)
        if fresh > 0:
            yield kept

    def times(self, positions: Float64[np.ndarray, " positions"]) -> Float64[np.ndarray, " positions"]:
        """When something is heard, in seconds of the recording, that comes after so many samples of speech.

        What comes right after the end of a stretch is in the middle of the pause that follows.
        """
        if not len(self.stretches):
            return np.zeros(len(positions))
        lengths = np.diff(self.stretches)[:, 0]
        begins = np.cumsum(lengths) - lengths
        which = np.clip(np.searchsorted(begins, positions, side="right") - 1, 0, len(begins) - 1)
        moments = self.stretches[which, 0] + (positions - begins[which])
        pauses = (which > 0) & (positions == begins[which])
        moments[pauses] = (self.stretches[which[pauses] - 1, 1] + self.stretches[which[pauses], 0]) / 2
        in_seconds: np.ndarray = np.minimum(moments, self.samples) / self.sample_rate
        return in_seconds

    def _speech(self) -> Iterator[np.ndarray]:
        """The stretches, in pieces."""
        position, next_one = 0, 0
        for block in audio.resample_blocks(self._open(), self._from_rate, self.sample_rate):
            end = position + len(block)
            while next_one < len(self.stretches) and self.stretches[next_one, 0] < end:
                first, last = self.stretches[next_one]
                yield block[max(first - position, 0) : last - position].astype(np.float32, copy=False)
                if last > end:
                    break
                next_one += 1
            position = end


def hear_speech(
    open_blocks: Blocks,
    from_rate: int,
    sample_rate: int,
    config: TimelineConfig | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> SpeechStream:
    """Finds the speech of a recording by its energy, as :func:`find_speech` does.

    Args:
      open_blocks: begins to read the recording anew.
      from_rate: of the recording, in Hz.
      sample_rate: to resample to.
      config: what is a pause and what is too short to be speech; None takes pauses from a tenth of a second on.
      progress: told the seconds that were heard.
    """
    config = config or TimelineConfig(bridge_seconds=_PAUSE_SECONDS)
    cell = max(1, round(sample_rate / _ENVELOPE_RATE))
    envelope: list[np.ndarray] = []
    rest = np.zeros(0, np.float32)
    samples = 0
    for block in audio.resample_blocks(open_blocks(), from_rate, sample_rate):
        samples += len(block)
        rest = np.concatenate([rest, block])
        whole = len(rest) // cell * cell
        power = np.square(rest[:whole], dtype=np.float64).reshape(-1, cell).mean(1)
        envelope.append(np.sqrt(power).astype(np.float32))
        rest = rest[whole:]
        progress(samples / sample_rate)
    heard = np.concatenate(envelope) if envelope else np.zeros(0, np.float32)
    found = find_speech(heard, round(sample_rate / cell), config)
    return SpeechStream(np.minimum(found * cell, samples), samples, sample_rate, open_blocks, from_rate)
