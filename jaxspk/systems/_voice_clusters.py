r"""From windows of speech to voices: Ward's clustering, and how many voices the windows speak for."""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from jaxspk import _checks
from jaxspk.clustering import nearest_neighbour_eigengap
from jaxspk.errors import ArgumentError
from jaxspk.systems._voice_space import VoiceSpace

VoiceCount = int | tuple[int, int] | Literal["auto"]
"""A number of voices, a range of numbers (both ends included), or "auto": one to eight, as many as are heard."""

MOST_BY_ITSELF = 8

# The tree is built on no more windows than this, evenly spread; all others join the nearest voice.
_MOST_IN_TREE = 3000


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceConfig:
    """How windows speak for a number of voices; chosen on conversations of speakers that train."""

    directions: int = 90
    """Of the space, those in which voices differ most."""
    weight: float = 0.08
    """Of a window: neighbours say nearly the same."""
    most_windows: int = 300
    """More windows than so many say nothing new about the number: recordings of hours vary for reasons of their own."""

    def __post_init__(self) -> None:
        _checks.check_range("directions", self.directions, low=1)
        _checks.check_range("weight", self.weight, low=0.0, low_open=True, high=1.0)
        _checks.check_range("most_windows", self.most_windows, low=1)


class VoiceClusters(NamedTuple):
    """What :func:`cluster_windows` finds.

    Attributes:
      labels: voice of each window, from 0 on in order of first appearance.
      points: where each window lies, of unit length; turns are found by them.
      centres: of the voices, likewise.
      scores: how much speaks for each number of voices, where it was not given.
    """

    labels: Int[np.ndarray, " windows"]
    points: Float64[np.ndarray, "windows directions"]
    centres: Float64[np.ndarray, "voices directions"]
    scores: dict[int, float]


def voice_counts(speakers: VoiceCount) -> range:
    """The numbers that are asked for.

    Raises:
      ArgumentError: no such number or range.
    """
    if speakers == "auto":
        return range(1, MOST_BY_ITSELF + 1)
    if isinstance(speakers, int) and not isinstance(speakers, bool) and speakers >= 1:
        return range(speakers, speakers + 1)
    if isinstance(speakers, tuple) and len(speakers) == 2 and 1 <= speakers[0] <= speakers[1]:
        return range(speakers[0], speakers[1] + 1)
    raise ArgumentError(f"`speakers` must be a number from 1, a pair (fewest, most) or 'auto', got {speakers!r}.")


def cluster_windows(
    vectors: Float[np.ndarray, "windows dim"],
    follows: Bool[np.ndarray, " windows"],
    speakers: VoiceCount = "auto",
    *,
    space: VoiceSpace | None = None,
    evidence: EvidenceConfig | None = None,
    beside: Float[np.ndarray, "windows others"] | None = None,
) -> VoiceClusters:
    """Puts windows into voices.

    Each vector is averaged with those of the windows before and after it in the same stretch of speech, which share
    half of their samples with it and nearly always the voice.

    Args:
      vectors: of unit length, in order of time.
      follows: whether a window is in the same stretch of speech as the one before it.
      speakers: how many voices.
      space: in which voices are compared; without one, directions about the mean of all are, and the number of voices
        is that behind which the eigenvalues of the graph of nearest neighbours jump.
      evidence: how the number is found in a space.
      beside: vectors of another model; directions about their mean count as much as places in the space do.

    Raises:
      ArgumentError: there are no windows, or fewer than voices.
    """
    counts = voice_counts(speakers)
    if not len(vectors):
        raise ArgumentError("`vectors` must hold at least one window, got none.")
    if counts[0] > len(vectors):
        raise ArgumentError(f"`speakers` must be at most {len(vectors)}, one a window of speech, got {counts[0]}.")
    mean = with_neighbours(vectors, follows)
    if space is None:
        space = VoiceSpace(np.eye(vectors.shape[1]), np.zeros(vectors.shape[1]))
        config = None
    else:
        config = evidence or EvidenceConfig()
    placed = space.place(mean)
    smoothed, points = unit_rows(placed), unit_rows((vectors - mean.mean(0)) @ space.projection)
    if beside is not None:
        others = with_neighbours(beside, follows)
        smoothed = unit_rows(np.hstack([smoothed, unit_rows(others - others.mean(0))]))
        points = unit_rows(np.hstack([points, unit_rows(beside - others.mean(0))]))
    chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), _MOST_IN_TREE)).round().astype(int)
    cuts = _cuts(smoothed[chosen], range(counts[0], min(counts[-1], len(chosen)) + 1))
    scores: dict[int, float] = {}
    if len(cuts) > 1 and config is not None:
        scores = {count: _evidence(placed[chosen], labels, space, config) for count, labels in cuts.items()}
    elif len(cuts) > 1:
        scores = nearest_neighbour_eigengap(smoothed[chosen], fewest=min(cuts), most=max(cuts))
    best = max(scores, key=lambda count: scores[count]) if scores else min(cuts)
    labels = cuts[best]
    if len(chosen) < len(vectors):
        labels = (smoothed @ mean_directions(smoothed[chosen], labels).T).argmax(1)
    labels = _in_order(labels)
    return VoiceClusters(labels, points, mean_directions(points, labels), scores)


def mean_directions(
    points: Float[np.ndarray, "windows directions"], labels: Int[np.ndarray, " windows"]
) -> Float64[np.ndarray, "voices directions"]:
    """Of unit length, the mean of the points with each label."""
    sums = np.zeros((int(labels.max()) + 1, points.shape[1]))
    np.add.at(sums, labels, points)
    return unit_rows(sums)


def with_neighbours(
    vectors: Float[np.ndarray, "windows dim"], follows: Bool[np.ndarray, " windows"]
) -> Float64[np.ndarray, "windows dim"]:
    """Each vector averaged with those before and after it in the same stretch of speech, of unit length."""
    sums = vectors.astype(np.float64)
    after = np.flatnonzero(follows[1:]) + 1
    sums[after] += vectors[after - 1]
    sums[after - 1] += vectors[after]
    return unit_rows(sums)


def unit_rows(rows: Float[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    """Each row scaled to length 1; zeros stay."""
    wide = np.asarray(rows, np.float64)
    scaled: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return scaled


def _cuts(points: np.ndarray, counts: range) -> dict[int, np.ndarray]:
    """The windows cut into each number of clusters, by Ward's tree."""
    if len(points) == 1 or counts[-1] == 1:
        return {1: np.zeros(len(points), int)}
    from scipy.cluster.hierarchy import cut_tree, linkage

    tree = linkage(points, "ward")
    return {count: np.asarray(cut_tree(tree, [count]))[:, 0] for count in counts}


def _evidence(points: np.ndarray, labels: np.ndarray, space: VoiceSpace, config: EvidenceConfig) -> float:
    r"""How much likelier the windows are if those of each voice lie about a place of its own: a log-likelihood ratio.

    In a direction where voices vary by :math:`\varphi`, for windows whose weights add up to n and whose weighted places
    add up to s: :math:`\frac12 \bigl(\varphi s^2 / (1 + n \varphi) - \log(1 + n \varphi)\bigr)`.
    """
    weight = config.weight * min(1.0, config.most_windows / len(points))
    spreads, points = space.spreads[: config.directions], points[:, : config.directions]
    sizes = weight * np.bincount(labels)[:, None]
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, labels, weight * points)
    per_direction = spreads * sums**2 / (1 + sizes * spreads) - np.log1p(sizes * spreads)
    return float(per_direction.sum() / 2)


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Numbered anew in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ordered: np.ndarray = np.argsort(np.argsort(first))[inverse]
    return ordered
