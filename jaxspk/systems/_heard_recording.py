"""A recording of any length, heard once for its speech and once for its windows; its sound is never held as a whole."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from jaxspk import _checks, audio
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems._recording import checked_waveform
from jaxspk.systems._speech_activity import ActivityConfig, active_stretches, band_levels, level_outline
from jaxspk.systems._timeline import window_spans

RecordingSource = str | os.PathLike[str] | tuple[np.ndarray, int]
"""A file, or a waveform ``[samples]`` and its rate in Hz."""

OUTLINE_COLUMNS = 1600
"""Of the outline of a recording's loudness."""

_LEVEL = 0.05
"""Root mean square of a window as the model hears it: near and far voices, quiet and loud recordings alike."""
_WINDOWS_AT_ONCE = 256
_SHORTEST_SECONDS = 0.1
_BLOCK = 1 << 20


@runtime_checkable
class WindowModel(Protocol):
    """Makes vectors of windows of speech."""

    @property
    def sample_rate(self) -> int:
        """Of what it hears, in Hz."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed_windows(self, windows: Float32[np.ndarray, "windows samples"]) -> Float[np.ndarray, "windows dim"]:
        """A vector of each of some windows of one length; only directions are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How the speech of a recording is cut; chosen on conversations of speakers that train."""

    seconds: float = 1.41
    """Length of a window; shorter stretches of speech go round."""
    hop_seconds: float = 0.5
    """From one window to the next, at most."""
    activity: ActivityConfig = dataclasses.field(default_factory=ActivityConfig)
    """What is speech."""

    def __post_init__(self) -> None:
        _checks.check_range("seconds", self.seconds, low=0.1, high=30.0)
        _checks.check_range("hop_seconds", self.hop_seconds, low=0.05, high=self.seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class HeardRecording:
    """What is kept of a recording: where there is speech, and a vector of every window of it.

    Attributes:
      source: the recording.
      name: of it, for messages and results.
      seconds: its length.
      sample_rate: of the numbers of samples here, in Hz.
      stretches: first sample, and the one after the last, of each stretch of speech.
      spans: likewise of each window.
      vectors: of the windows, of unit length.
      outline: how loud it is from the beginning to the end.
    """

    source: RecordingSource
    name: str
    seconds: float
    sample_rate: int
    stretches: Int[np.ndarray, "stretches 2"]
    spans: Int[np.ndarray, "windows 2"]
    vectors: Float32[np.ndarray, "windows dim"]
    outline: Float32[np.ndarray, " columns"]

    @property
    def spoken_seconds(self) -> float:
        """Of speech."""
        return float(np.diff(self.stretches).sum()) / self.sample_rate

    @property
    def follows(self) -> Bool[np.ndarray, " windows"]:
        """Whether a window is in the same stretch of speech as the one before it."""
        stretch = np.searchsorted(self.stretches[:, 0], self.spans[:, 0], side="right")
        same: np.ndarray = np.append(False, np.diff(stretch) == 0)[: len(stretch)]
        return same


def hear_recording(
    source: RecordingSource,
    model: WindowModel,
    config: WindowConfig | None = None,
    *,
    channel: int | Literal["mean"] = "mean",
    progress: Callable[[float], None] = lambda share: None,
) -> HeardRecording:
    """Finds the speech of a recording and embeds it window by window; memory is that of a minute or so of sound.

    Args:
      source: a file, or a waveform and its rate.
      model: what embeds.
      config: how it is cut.
      channel: of a file with several: one of them, or their mean.
      progress: told the share of the work that is done.

    Raises:
      AudioError: the file cannot be decoded, or nobody speaks in it.
      ArgumentError: the waveform is none.
    """
    config = config or WindowConfig()
    rate, name = model.sample_rate, source_name(source)
    with open_blocks(source, rate, channel=channel) as blocks:
        levels = band_levels(blocks, rate)
    stretches = active_stretches(levels, config.activity)
    seconds = levels.samples / rate
    if not len(stretches):
        raise AudioError(f"{name}: no speech in its {seconds:.1f} s; nothing rises above the background.")
    progress(0.2)
    window = round(config.seconds * rate)
    spans = window_spans(stretches, window, round(config.hop_seconds * rate))
    vectors: list[np.ndarray] = []
    with open_blocks(source, rate, channel=channel) as blocks:
        for group in _grouped(cut_pieces(blocks, spans), _WINDOWS_AT_ONCE):
            # np.resize goes round where a stretch is shorter than a window.
            windows = np.stack([_at_level(np.resize(piece, window)) for piece in group])
            made = np.asarray(model.embed_windows(windows), np.float32)
            vectors.append(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12))
            progress(0.2 + 0.8 * sum(map(len, vectors)) / len(spans))
    outline = level_outline(levels, OUTLINE_COLUMNS)
    return HeardRecording(source, name, seconds, rate, stretches, spans, np.concatenate(vectors), outline)


@contextlib.contextmanager
def open_blocks(
    source: RecordingSource, sample_rate: int, *, channel: int | Literal["mean"] = "mean"
) -> Iterator[Iterator[np.ndarray]]:
    """Blocks of a recording at a rate, from its beginning to its end."""
    if isinstance(source, tuple):
        waveform = checked_waveform(*source, _SHORTEST_SECONDS)
        blocks = (waveform[first : first + _BLOCK] for first in range(0, len(waveform), _BLOCK))
        yield audio.resample_blocks(blocks, source[1], sample_rate)
        return
    with audio.open_audio(source, channel=channel) as stream:
        yield audio.resample_blocks(stream.blocks, stream.sample_rate, sample_rate)


def cut_pieces(blocks: Iterable[np.ndarray], spans: Int[np.ndarray, "pieces 2"]) -> Iterator[np.ndarray]:
    """The pieces of a recording that comes in blocks; those that begin first come first, and may overlap.

    What a recording lacks of its last pieces, for a resampler rounds, is silence.
    """
    waiting, first, number = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        waiting = np.concatenate([waiting, block.astype(np.float32, copy=False)])
        while number < len(spans) and spans[number, 1] <= first + len(waiting):
            yield waiting[spans[number, 0] - first : spans[number, 1] - first].copy()
            number += 1
        if number == len(spans):
            return
        done = int(min(spans[number, 0] - first, len(waiting)))
        waiting, first = waiting[max(done, 0) :], first + max(done, 0)
    for start, end in spans[number:].tolist():
        piece = waiting[max(start - first, 0) : max(end - first, 0)]
        yield np.pad(piece, (0, end - start - len(piece)))


def source_name(source: RecordingSource) -> str:
    """What to call a recording."""
    if isinstance(source, tuple):
        if len(source) != 2:
            raise ArgumentError(f"a recording must be a path or (waveform, rate), got {len(source)} values.")
        return "recording"
    return os.fspath(source)


def _at_level(window: np.ndarray) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
    scaled: np.ndarray = window * np.float32(_LEVEL / max(level, 1e-9))
    return scaled


def _grouped(pieces: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    group: list[np.ndarray] = []
    for piece in pieces:
        group.append(piece)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
