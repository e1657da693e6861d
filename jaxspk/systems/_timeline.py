"""Who speaks when in a recording: speech, windows, embeddings, clusters, turns. Any embedding will do.

A recording is divided into speech and pauses by its energy, the speech into overlapping windows; each window becomes a
vector, the vectors become clusters, and every tenth of a second goes to the cluster that the windows over it vote for.
Overlapped speech is given to one speaker.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from jaxspk import _checks
from jaxspk.clustering import ClusterMethod, CountMethod, cluster_embeddings
from jaxspk.data import Turn
from jaxspk.errors import AudioError

WindowEmbedder = Callable[[Float32[np.ndarray, "windows samples"]], Float[np.ndarray, "windows dim"]]
"""Makes a vector of each of some windows of one length."""

_POWER_SECONDS = 0.025
_STEP_SECONDS = 0.01
_CELL_SECONDS = 0.1
_WINDOWS_AT_ONCE = 256

# Between the level of the background and that of the voices: speech is above this share of the way.
_BETWEEN = 0.35
# Voices and background are nearer than this: nobody speaks, or nobody ever pauses.
_LEAST_CONTRAST_DB = 6.0
_MOST_CONTRAST_DB = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimelineConfig:
    """How turns are found."""

    window_seconds: float = 1.5
    """Length of the windows that are embedded; shorter stretches of speech go round."""
    hop_seconds: float = 0.5
    """From one window to the next, at most."""
    bridge_seconds: float = 0.3
    """Pauses up to this length are part of the speech around them."""
    shortest_speech_seconds: float = 0.2
    """Shorter stretches of sound are no speech."""
    shortest_turn_seconds: float = 0.3
    """Shorter turns within speech go to the speaker before or after."""
    least_speech_seconds: float = 2.0
    """With less speech in all there is nothing to cluster."""
    method: ClusterMethod = "agglomerative"
    """How windows are put into a known number of clusters."""
    count: CountMethod = "eigengap"
    """How the number is estimated."""
    fewest: int = 1
    """Speakers, where the number is estimated."""
    most: int = 8
    """Likewise."""
    seed: int = 0
    """Of what is random."""

    def __post_init__(self) -> None:
        _checks.check_range("window_seconds", self.window_seconds, low=0.1, high=30.0)
        _checks.check_range("hop_seconds", self.hop_seconds, low=0.05, high=self.window_seconds)
        for name in ("bridge_seconds", "shortest_speech_seconds", "shortest_turn_seconds", "least_speech_seconds"):
            _checks.check_range(name, getattr(self, name), low=0.0, high=60.0)
        _checks.check_range("fewest", self.fewest, low=1)
        _checks.check_range("most", self.most, low=self.fewest)


def find_turns(
    waveform: Float32[np.ndarray, " samples"],
    sample_rate: int,
    embed: WindowEmbedder,
    *,
    speakers: int | Literal["auto"] = "auto",
    config: TimelineConfig | None = None,
) -> tuple[Turn, ...]:
    """Who speaks when; speakers are called "1", "2", ... in order of their first turn.

    Args:
      waveform: of any length; windows are embedded some hundred at once.
      sample_rate: Hz.
      embed: makes a vector of each window. Directions are compared, not lengths.
      speakers: how many, or "auto" to estimate it.
      config: how.

    Returns:
      Turns in order of time, none over another.

    Raises:
      AudioError: there is too little speech.
      ArgumentError: more speakers are asked for than there are windows.
    """
    config = config or TimelineConfig()
    speech = find_speech(waveform, sample_rate, config)
    spoken = float(np.diff(speech).sum()) / sample_rate
    if spoken < max(config.least_speech_seconds, 1e-9):
        raise AudioError(
            f"{spoken:.1f} s of speech in {len(waveform) / sample_rate:.1f} s of sound, at least "
            f"{config.least_speech_seconds:g} s are needed to tell speakers apart; give a longer recording."
        )
    spans = window_spans(speech, round(config.window_seconds * sample_rate), round(config.hop_seconds * sample_rate))
    found = cluster_embeddings(
        _embedded(waveform, spans, round(config.window_seconds * sample_rate), embed),
        speakers,
        method=config.method,
        count=config.count,
        fewest=min(config.fewest, len(spans)),
        most=max(min(config.most, len(spans)), min(config.fewest, len(spans))),
        distance="cosine",
        seed=config.seed,
    )
    turns: list[tuple[int, int, int]] = []
    shortest = round(config.shortest_turn_seconds * sample_rate)
    for first, last in speech.tolist():
        inside = (spans[:, 0] < last) & (spans[:, 1] > first)
        turns += _voted(first, last, spans[inside], found.labels[inside], round(_CELL_SECONDS * sample_rate), shortest)
    return _named(turns, sample_rate)


def find_speech(
    waveform: Float32[np.ndarray, " samples"], sample_rate: int, config: TimelineConfig | None = None
) -> Int[np.ndarray, "stretches 2"]:
    """First sample, and the one after the last, of each stretch of speech, by energy.

    The threshold lies between the level of the background (the 10th percentile of the power of 25 ms, in decibels) and
    that of the voices (the 95th), so that neither the level of the recording nor steady noise matters.

    Args:
      waveform: of any level.
      sample_rate: Hz.
      config: which stretches are bridged and which dropped.
    """
    config = config or TimelineConfig()
    length, step = round(_POWER_SECONDS * sample_rate), round(_STEP_SECONDS * sample_rate)
    if len(waveform) < length or not waveform.any():
        return np.zeros((0, 2), int)
    # Sums of squares by differences of running sums: no matrix of windows, for recordings may be hours long.
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform) - length + 1, step)
    power = (energy[starts + length] - energy[starts]) / length
    level = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-_MOST_CONTRAST_DB / 10)))
    background, voices = np.percentile(level, [10, 95])
    contrast = voices - background
    threshold = background + _BETWEEN * contrast if contrast > _LEAST_CONTRAST_DB else voices - _LEAST_CONTRAST_DB
    edges = np.flatnonzero(np.diff(level > threshold, prepend=False, append=False)).reshape(-1, 2) * step
    stretches = np.stack([edges[:, 0], np.minimum(edges[:, 1] - step + length, len(waveform))], axis=1)
    bridged = _bridged(stretches, round(config.bridge_seconds * sample_rate))
    long: np.ndarray = bridged[np.diff(bridged)[:, 0] >= config.shortest_speech_seconds * sample_rate]
    return long


def window_spans(speech: Int[np.ndarray, "stretches 2"], window: int, hop: int) -> Int[np.ndarray, "windows 2"]:
    """First sample, and the one after the last, of windows that cover each stretch evenly; a short stretch is one.

    Example:
      >>> window_spans(np.array([[0, 10], [50, 53]]), 4, 3).tolist()
      [[0, 4], [3, 7], [6, 10], [50, 53]]
    """
    spans = []
    for first, last in speech.tolist():
        room = max(last - first - window, 0)
        starts = first + np.linspace(0, room, 1 + -(-room // hop)).round().astype(int)
        spans.append(np.stack([starts, np.minimum(starts + window, last)], axis=1))
    return np.concatenate([np.zeros((0, 2), int), *spans])


def _embedded(
    waveform: np.ndarray, spans: Int[np.ndarray, "windows 2"], window: int, embed: WindowEmbedder
) -> Float[np.ndarray, "windows dim"]:
    def windows(some: np.ndarray) -> np.ndarray:
        # np.resize goes round where a stretch is shorter than a window.
        return np.stack([np.resize(waveform[first:last], window) for first, last in some])

    blocks = range(0, len(spans), _WINDOWS_AT_ONCE)
    return np.concatenate([np.asarray(embed(windows(spans[block : block + _WINDOWS_AT_ONCE]))) for block in blocks])


def _voted(
    first: int, last: int, spans: np.ndarray, labels: np.ndarray, cell: int, shortest: int
) -> list[tuple[int, int, int]]:
    """Turns of a stretch of speech: each cell goes to the cluster with the most votes, near windows counting more."""
    edges = np.append(np.arange(first, last, cell), last)
    middles = (edges[:-1] + edges[1:]) / 2
    centres, half = spans.mean(1), max(float(np.diff(spans).max()) / 2, 1.0)
    weights = np.maximum(1 - np.abs(middles[:, None] - centres) / half, 1e-3)
    clusters = np.unique(labels)
    votes = np.stack([weights[:, labels == cluster].sum(1) for cluster in clusters])
    chosen = clusters[votes.argmax(0)]
    changes = np.flatnonzero(np.diff(chosen)) + 1
    turns = [
        (int(edges[begin]), int(edges[end]), int(chosen[begin]))
        for begin, end in zip([0, *changes], [*changes, len(chosen)], strict=True)
    ]
    return _without_scraps(turns, shortest)


def _without_scraps(turns: list[tuple[int, int, int]], shortest: int) -> list[tuple[int, int, int]]:
    """Turns that follow each other, the shortest given to the longer of its neighbours until all are long enough."""
    while len(turns) > 1:
        lengths = [end - start for start, end, _ in turns]
        place = int(np.argmin(lengths))
        if lengths[place] >= shortest:
            break
        beside = [other for other in (place - 1, place + 1) if 0 <= other < len(turns)]
        heir = max(beside, key=lambda other: lengths[other])
        turns[place] = (*turns[place][:2], turns[heir][2])
        turns = _joined(turns)
    return turns


def _joined(turns: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Neighbours of one cluster as one turn."""
    joined = turns[:1]
    for start, end, cluster in turns[1:]:
        if cluster == joined[-1][2] and start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end, cluster)
        else:
            joined.append((start, end, cluster))
    return joined


def _bridged(stretches: Int[np.ndarray, "stretches 2"], pause: int) -> Int[np.ndarray, "bridged 2"]:
    if not len(stretches):
        return stretches
    apart = np.flatnonzero(stretches[1:, 0] - stretches[:-1, 1] > pause)
    starts = stretches[np.concatenate([[0], apart + 1]), 0]
    return np.stack([starts, stretches[np.concatenate([apart, [len(stretches) - 1]]), 1]], axis=1)


def _named(turns: list[tuple[int, int, int]], sample_rate: int) -> tuple[Turn, ...]:
    order = list(dict.fromkeys(cluster for _, _, cluster in turns))
    return tuple(
        Turn(start / sample_rate, end / sample_rate, str(1 + order.index(cluster))) for start, end, cluster in turns
    )
