"""From recordings to segments of a second and their frames of 0.2 s, with no word about who speaks."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from jaxspk import _checks, audio
from jaxspk.data._listing import Problem
from jaxspk.data._recordings import Recordings
from jaxspk.errors import ArgumentError, AudioError, CorpusError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How recordings are split at pauses and cut; the defaults are the paper's."""

    sample_rate: int = 16_000
    """Hz; recordings are resampled to it."""
    threshold_db: float = 16.0
    """What lies further below the loudest of its recording is a pause."""
    window_seconds: float = 0.2
    """Length of the stretches whose power is compared."""
    hop_seconds: float = 0.1
    """From one such stretch to the next."""
    frame_seconds: float = 0.2
    """Length of a frame."""
    frames: int = 5
    """Frames in a segment; they follow each other and do not overlap."""
    keep_exact: bool = True
    """Whether a stretch of speech that whole segments fill exactly keeps its last one. The code published with the
    paper loses it: it keeps a piece while that ends before the stretch does."""

    def __post_init__(self) -> None:
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        _checks.check_range("threshold_db", self.threshold_db, low=0.0, low_open=True)
        for name in ("window_seconds", "hop_seconds", "frame_seconds"):
            _checks.check_range(name, getattr(self, name), low=1 / self.sample_rate, high=60.0)
        _checks.check_range("frames", self.frames, low=1)

    @property
    def frame_samples(self) -> int:
        """Samples in a frame."""
        return round(self.frame_seconds * self.sample_rate)

    @property
    def segment_samples(self) -> int:
        """Samples in a segment."""
        return self.frames * self.frame_samples


class IntervalStatistics(NamedTuple):
    """What the split found, as a row of the paper's Table 2, and what was cut of it.

    Attributes:
      recordings: how many were split.
      intervals: stretches between pauses.
      mean_seconds: of their durations; 0 where there is none, and so are the next two.
      median_seconds: likewise.
      std_seconds: likewise, over all (not one less).
      speech_seconds: all of them together.
      segment_seconds: what is in whole segments.
      dropped_seconds: remainders shorter than a segment.
      dropped: how many intervals left a remainder.
    """

    recordings: int
    intervals: int
    mean_seconds: float
    median_seconds: float
    std_seconds: float
    speech_seconds: float
    segment_seconds: float
    dropped_seconds: float
    dropped: int


@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """Segments of recordings, each believed to hold one speaker, cut into frames.

    Attributes:
      frames: their sound.
      recordings: the number in ``paths`` of what each segment is cut from.
      starts: its first sample there, at the rate of ``config``.
      paths: the recordings, those too that have no segment.
      config: how they were cut.
      statistics: of the split.
      problems: recordings that could not be used, and why.
    """

    frames: Float32[np.ndarray, "segments frames samples"]
    recordings: Int[np.ndarray, " segments"]
    starts: Int[np.ndarray, " segments"]
    paths: tuple[Path, ...]
    config: SegmentConfig
    statistics: IntervalStatistics
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, chosen: Int[np.ndarray, " chosen"]) -> "Segments":
        """Some of the segments, in the order given; statistics stay those of all that was split."""
        return dataclasses.replace(
            self, frames=self.frames[chosen], recordings=self.recordings[chosen], starts=self.starts[chosen]
        )

    def overlapping(self, hop: int) -> "Segments":
        """The same sound in more frames, of the same length, ``hop`` samples from one to the next.

        A segment of five frames has seventeen that begin a quarter of a frame apart.
        """
        _checks.check_range("hop", hop, low=1)
        count, each, samples = self.frames.shape
        windows = np.lib.stride_tricks.sliding_window_view(self.frames.reshape(count, each * samples), samples, axis=1)
        return dataclasses.replace(self, frames=np.ascontiguousarray(windows[:, ::hop]))


def speech_intervals(
    waveform: Float32[np.ndarray, " samples"], config: SegmentConfig | None = None
) -> Int[np.ndarray, "intervals 2"]:
    """First sample, and the one after the last, of each stretch between pauses, as ``librosa.effects.split`` has it.

    The reference is the loudest stretch of the recording; a silent recording has no interval.

    Args:
      waveform: at the rate of ``config``.
      config: how to split.
    """
    config = config or SegmentConfig()
    return audio.active_intervals(
        waveform,
        threshold_db=config.threshold_db,
        frame_length=round(config.window_seconds * config.sample_rate),
        hop_length=round(config.hop_seconds * config.sample_rate),
    )


def segment_starts(intervals: Int[np.ndarray, "intervals 2"], samples: int) -> Int[np.ndarray, " segments"]:
    """First sample of every whole piece of ``samples`` in the intervals, one behind the other from each start.

    Example:
      >>> segment_starts(np.array([[100, 350], [400, 499], [500, 600]]), 100).tolist()
      [100, 200, 500]
    """
    _checks.check_range("samples", samples, low=1)
    counts = (intervals[:, 1] - intervals[:, 0]) // samples
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts: np.ndarray = np.repeat(intervals[:, 0], counts) + within * samples
    return starts


def interval_statistics(
    intervals: Sequence[Int[np.ndarray, "_ 2"]], config: SegmentConfig | None = None
) -> IntervalStatistics:
    """Durations of the intervals of some recordings, and what whole segments leave of them.

    Args:
      intervals: of each recording.
      config: at whose rate they were found, and how long a segment is.
    """
    config = config or SegmentConfig()
    lengths = np.concatenate([np.zeros(0, int), *(found[:, 1] - found[:, 0] for found in intervals)])
    seconds = lengths / config.sample_rate
    kept = (lengths - (not config.keep_exact)) // config.segment_samples * config.segment_samples
    rest = lengths - kept
    some = len(lengths) > 0
    return IntervalStatistics(
        recordings=len(intervals),
        intervals=len(lengths),
        mean_seconds=float(seconds.mean()) if some else 0.0,
        median_seconds=float(np.median(seconds)) if some else 0.0,
        std_seconds=float(seconds.std()) if some else 0.0,
        speech_seconds=float(seconds.sum()),
        segment_seconds=float(kept.sum() / config.sample_rate),
        dropped_seconds=float(rest.sum() / config.sample_rate),
        dropped=int(np.count_nonzero(rest)),
    )


def cut_segments(
    paths: Iterable[Path | str],
    config: SegmentConfig | None = None,
    *,
    recordings: Recordings | None = None,
    max_segments: int | None = None,
) -> Segments:
    """Splits recordings at their pauses and cuts what lies between into segments; remainders are dropped.

    A recording that cannot be used is passed over and listed in ``problems``.

    Args:
      paths: recordings, each believed to hold speech.
      config: how to cut.
      recordings: where samples come from.
      max_segments: of one recording, from its start on; None takes all.

    Raises:
      CorpusError: no recording has a whole segment.
      ArgumentError: ``recordings`` are at another rate.
    """
    config = config or SegmentConfig()
    segments = cut_any_segments(paths, config, recordings=recordings, max_segments=max_segments)
    if not len(segments):
        raise CorpusError(
            f"none of {len(segments.paths)} recordings has {config.frames * config.frame_seconds:g} s between two "
            f"pauses; give longer ones, or raise `threshold_db`."
        )
    return segments


def cut_any_segments(
    paths: Iterable[Path | str],
    config: SegmentConfig | None = None,
    *,
    recordings: Recordings | None = None,
    max_segments: int | None = None,
) -> Segments:
    """As :func:`cut_segments`, but finding none is no error."""
    config = config or SegmentConfig()
    recordings = recordings or Recordings(config.sample_rate)
    _checks.check_choice("recordings.sample_rate", recordings.sample_rate, (config.sample_rate,))
    if max_segments is not None:
        _checks.check_range("max_segments", max_segments, low=1)
    listed = tuple(Path(path) for path in paths)
    found, problems = [], []
    cut = [np.zeros((0, config.segment_samples), np.float32)]
    sources = [(np.zeros(0, int), np.zeros(0, int))]
    for number, path in enumerate(listed):
        try:
            waveform = recordings.waveform(path)
        except AudioError as error:
            problems.append(Problem(path, str(error)))
            continue
        intervals = speech_intervals(waveform, config)
        found.append(intervals)
        whole = intervals if config.keep_exact else intervals - np.array([0, 1])
        starts = segment_starts(whole, config.segment_samples)[:max_segments]
        # A copy: views would keep the whole recording in memory.
        cut.append(waveform[starts[:, None] + np.arange(config.segment_samples)])
        sources.append((np.full(len(starts), number), starts))
    return Segments(
        frames=np.concatenate(cut).reshape(-1, config.frames, config.frame_samples),
        recordings=np.concatenate([number for number, _ in sources]),
        starts=np.concatenate([start for _, start in sources]),
        paths=listed,
        config=config,
        statistics=interval_statistics(found, config),
        problems=tuple(problems),
    )


def join_segments(parts: Sequence[Segments]) -> Segments:
    """Segments of several cuts of the same configuration, one behind the other; their statistics are left out.

    Raises:
      ArgumentError: there is no part, or two were cut differently.
    """
    if len({(part.config, part.frames.shape[1:]) for part in parts}) != 1:
        raise ArgumentError("`parts` must be segments cut by one configuration, at least one of them.")
    before = np.cumsum([0, *(len(part.paths) for part in parts)])
    return Segments(
        frames=np.concatenate([part.frames for part in parts]),
        recordings=np.concatenate([part.recordings + first for part, first in zip(parts, before, strict=False)]),
        starts=np.concatenate([part.starts for part in parts]),
        paths=tuple(path for part in parts for path in part.paths),
        config=parts[0].config,
        statistics=interval_statistics([], parts[0].config),
        problems=tuple(problem for part in parts for problem in part.problems),
    )
