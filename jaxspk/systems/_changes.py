"""When the speaker changes: peaks of a distance between before and after, or one statistical test after the other.

Any vectors will do that tell of short stretches of speech: cepstra, codes, embeddings.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.systems._change_curves import (
    GAUSSIAN_DISTANCES,
    MEAN_DISTANCES,
    Distance,
    Growth,
    Spread,
    between_gaussians,
    criterion_of,
    growing_windows,
    sliding_curve,
    sum_cells,
)

ChangeMethod = Literal["distance", "bic"]
ChangeDistance = Literal["mean", "cosine", "trace", "kullback_leibler", "bhattacharyya", "bic"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangeConfig:
    """How changes are found."""

    method: ChangeMethod = "distance"
    """Peaks of a distance between adjacent windows, or the Bayesian information criterion in windows that grow until it
    finds a change (Chen and Gopalakrishnan)."""
    distance: ChangeDistance = "bhattacharyya"
    """Of Gaussians, or of the means alone ("mean", "cosine"); "bic" is the criterion itself, in sliding windows."""
    window_seconds: float = 2.0
    """Speech in each of the two windows; of growing windows, in the first one."""
    step_seconds: float = 0.1
    """Between the moments at which a change may be."""
    threshold: float = 1.0
    """How far a peak must stand out, in units of the distance."""
    penalty: float = 1.0
    """Of the criterion: the larger, the fewer changes."""
    covariance: Literal["full", "diagonal"] = "full"
    """Of Gaussians; diagonal takes units for independent, as hundreds of them need. The criterion's is always full."""
    shrinkage: float = 0.0
    """Share of the mean variance in covariances; positive where a window has few frames for its units."""
    apart_seconds: float = 0.5
    """Of changes nearer to each other the stronger stays; the least speech on either side in a growing window."""
    growth_seconds: float = 0.5
    """By which windows grow."""
    longest_seconds: float = 20.0
    """Up to which they grow; then they slide."""

    def __post_init__(self) -> None:
        _checks.check_choice("method", self.method, ("distance", "bic"))
        _checks.check_choice("distance", self.distance, (*MEAN_DISTANCES, *GAUSSIAN_DISTANCES, "bic"))
        _checks.check_choice("covariance", self.covariance, ("full", "diagonal"))
        _checks.check_range("step_seconds", self.step_seconds, low=0.001, high=10.0)
        _checks.check_range("window_seconds", self.window_seconds, low=2 * self.step_seconds, high=60.0)
        for name in ("apart_seconds", "growth_seconds", "threshold"):
            _checks.check_range(name, getattr(self, name), low=0.0, high=1e9)
        _checks.check_range("longest_seconds", self.longest_seconds, low=self.window_seconds, high=3600.0)
        _checks.check_range("penalty", self.penalty, low=0.0, high=1e6)
        _checks.check_range("shrinkage", self.shrinkage, low=0.0, high=1.0)

    @property
    def spread(self) -> Spread:
        """What has to be known of frames besides their mean."""
        if self.method == "bic" or self.distance == "bic":
            return "full"
        return "none" if self.distance in MEAN_DISTANCES else self.covariance

    def with_sensitivity(self, sensitivity: float) -> "ChangeConfig":
        """More than 1 finds weaker changes, less than 1 only stronger ones."""
        _checks.check_range("sensitivity", sensitivity, low=0.0, low_open=True, high=1e6)
        return dataclasses.replace(self, threshold=self.threshold / sensitivity, penalty=self.penalty / sensitivity)


class Changes(NamedTuple):
    """The changes of speaker in a recording, in order of time.

    Attributes:
      times: in seconds.
      strengths: how far the peak of the distance stands out, or the criterion; positive, above the threshold.
      moments: of the curve, in seconds.
      curve: at each moment the distance between before and after, or the largest value that the criterion had in any
        window; finite.
    """

    times: Float64[np.ndarray, " changes"]
    strengths: Float64[np.ndarray, " changes"]
    moments: Float64[np.ndarray, " moments"]
    curve: Float64[np.ndarray, " moments"]


def find_changes(
    features: Float[np.ndarray, "frames units"] | Iterable[Float[np.ndarray, "_ units"]],
    *,
    frame_seconds: float,
    span_seconds: float | None = None,
    config: ChangeConfig | None = None,
) -> Changes:
    """When what frames tell of changes; whose frames follow each other without the pauses.

    Mean and covariance of windows come from running sums, so that an hour takes seconds; of frames that come in blocks
    only some are kept.

    Args:
      features: frames in order, or an iterable of blocks of them: codes, cepstra, embeddings.
      frame_seconds: from the beginning of one frame to that of the next.
      span_seconds: how much sound a frame tells of, where that is a window much longer than the step, as embeddings
        have it: what reaches over a moment counts on neither side of it. None is ``frame_seconds``.
      config: how.

    Returns:
      The changes; times in seconds from the beginning of the first frame.

    Raises:
      ArgumentError: there are too few frames for two windows, too few in a window for their covariance, values that are
        not finite, or steps shorter than a frame.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> frames = np.concatenate([rng.normal(0, 1, (500, 4)), rng.normal(2, 1, (500, 4))])
      >>> find_changes(frames, frame_seconds=0.01).times.round(1).tolist()
      [5.0]

    References:
      Chen and Gopalakrishnan, *Speaker, environment and channel change detection and clustering via the Bayesian
      information criterion*, DARPA workshop 1998.
    """
    config = config or ChangeConfig()
    _checks.check_range("frame_seconds", frame_seconds, low=1e-6)
    _checks.check_range("step_seconds", config.step_seconds, low=frame_seconds * (1 - 1e-6))
    span = frame_seconds if span_seconds is None else span_seconds
    _checks.check_range("span_seconds", span, low=frame_seconds * (1 - 1e-6))
    frames_per_cell = max(1, round(config.step_seconds / frame_seconds))
    cell_seconds = frames_per_cell * frame_seconds

    def cells(seconds: float, least: int = 1) -> int:
        return max(least, round(seconds / cell_seconds))

    # What reaches over an edge by less than half a cell is forgiven.
    gap = max(0, round((span - frame_seconds) / cell_seconds))
    window = cells(config.window_seconds, 2)
    if window <= gap:
        raise ArgumentError(
            f"`window_seconds` must be at least `span_seconds`, {span:g} s, got {config.window_seconds:g}."
        )
    blocks = [features] if isinstance(features, np.ndarray) else features
    frames = _checked(blocks, config, (window - gap) * frames_per_cell)
    summed = sum_cells(frames, frames_per_cell, spread=config.spread)
    apart = cells(config.apart_seconds)
    if config.method == "bic":
        growth = Growth(apart, max(window, 2 * apart), cells(config.growth_seconds), cells(config.longest_seconds))
        edges, strengths, curve = growing_windows(summed, growth, config.penalty)
    else:
        curve = sliding_curve(summed, _distance(config), window=window, gap=gap)
        edges, strengths = _peaks(curve, config, apart)
    asked = np.flatnonzero(np.isfinite(curve))
    if not len(asked):
        raise ArgumentError(
            f"`features` hold {max(len(curve) - 1, 0) * cell_seconds:.1f} s of frames, too few to compare what comes "
            f"before a moment with what comes after; give more, or windows shorter than {config.window_seconds:g} s."
        )
    # Frames that overlap a little tell of an edge in the middle of what they share.
    offset = (span - frame_seconds - gap * cell_seconds) / 2
    return Changes(
        edges * cell_seconds + offset, strengths, asked * cell_seconds + offset, curve[asked].astype(np.float64)
    )


def _checked(
    blocks: Iterable[Float[np.ndarray, "_ units"]], config: ChangeConfig, in_window: int
) -> Iterator[Float[np.ndarray, "_ units"]]:
    for block in blocks:
        if block.ndim != 2 or not block.shape[1]:
            raise ArgumentError(f"`features` must be [frames, units], got shape {block.shape}.")
        if not np.isfinite(block).all():
            raise ArgumentError("`features` must be finite.")
        units = block.shape[1]
        if config.spread == "full" and not config.shrinkage and in_window <= 2 * units:
            raise ArgumentError(
                f"a window of {in_window} frames is too short for the covariance of {units} units; take longer "
                "windows, fewer units, `shrinkage`, a diagonal covariance, or a distance of means."
            )
        yield block


def _distance(config: ChangeConfig) -> Distance:
    if config.distance == "bic":
        return criterion_of(config.penalty)
    if config.distance in MEAN_DISTANCES:
        return MEAN_DISTANCES[config.distance]
    return between_gaussians(config.distance, config.shrinkage)


def _peaks(
    curve: Float64[np.ndarray, " edges"], config: ChangeConfig, apart: int
) -> tuple[Int[np.ndarray, " changes"], Float64[np.ndarray, " changes"]]:
    """Peaks that stand out, and by how much."""
    from scipy.signal import find_peaks

    asked = np.flatnonzero(np.isfinite(curve))
    if not len(asked):
        return np.zeros(0, int), np.zeros(0)
    values = curve[asked]
    # A peak may lie at an end: what lies beyond counts as no difference at all.
    around = np.concatenate([[values.min()], values, [values.min()]])
    least = 0.0 if config.distance == "bic" else None
    peaks, facts = find_peaks(around, prominence=max(config.threshold, 1e-12), distance=apart, height=least)
    peaks = peaks - 1
    return asked[peaks], facts["prominences"]
