"""Pieces of one length out of recordings of any length: at random for training, evenly spaced for tests."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Int

from jaxspk import _checks
from jaxspk.errors import ArgumentError

CROP_TRIES = 10
_FLOOR = 10 ** (-10 / 10)
"""A crop whose power lies more than 10 dB below the level of the speech is mostly a pause."""


def wrap(waveform: Float32[np.ndarray, " samples"], samples: int) -> Float32[np.ndarray, " wrapped"]:
    """The recording, gone round from its start as often as it takes to have ``samples``; a longer one as it is.

    Args:
      waveform: at least one sample.
      samples: wanted at least.

    Raises:
      ArgumentError: the recording is empty.

    Example:
      >>> wrap(np.array([1, 2, 3], np.float32), 5).tolist()
      [1.0, 2.0, 3.0, 1.0, 2.0]
    """
    if not len(waveform):
        raise ArgumentError("`waveform` must hold at least one sample, got none.")
    return waveform if len(waveform) >= samples else np.resize(waveform, samples)


def crop(
    waveform: Float32[np.ndarray, " samples"], samples: int, rng: np.random.Generator
) -> Float32[np.ndarray, " cropped"]:
    """``samples`` of a recording from a random start, each possible one equally likely; a short one wraps round.

    Args:
      waveform: at least one sample.
      samples: in the crop, positive.
      rng: decides where; one number is drawn, whatever the recording.

    Raises:
      ArgumentError: the recording is empty or ``samples`` is not positive.
    """
    _checks.check_range("samples", samples, low=1)
    (start,) = draw_starts(len(waveform), samples, 1, rng)
    return wrap(waveform, samples)[start : start + samples]


def evenly_spaced_crops(
    waveform: Float32[np.ndarray, " samples"], samples: int, count: int = 10
) -> Float32[np.ndarray, "count cropped"]:
    """Crops from the recording's start to its end, their starts evenly spaced and rounded down: a test's protocol.

    A recording shorter than a crop wraps round, so that all crops are the same.

    Args:
      waveform: at least one sample.
      samples: in a crop, positive.
      count: how many crops, positive; a single one starts where the recording does.

    Raises:
      ArgumentError: the recording is empty, or a number is not positive.

    References:
      Chung et al., *In defence of metric learning for speaker recognition*, Interspeech 2020: ten crops of 4 s.
    """
    _checks.check_range("samples", samples, low=1)
    _checks.check_range("count", count, low=1)
    wrapped = wrap(waveform, samples)
    starts = np.linspace(0, len(wrapped) - samples, count).astype(int)
    return np.stack([wrapped[start : start + samples] for start in starts])


def draw_starts(
    length: int, samples: int, count: int, rng: np.random.Generator, *, apart: bool = False
) -> Int[np.ndarray, " count"]:
    """Where ``count`` crops of a recording of ``length`` samples begin, in random order.

    Each start is uniform over the possible ones; with ``apart`` the crops do not overlap where the recording is long
    enough for that, and else lie as far from each other as they can.
    """
    room = max(0, length - samples)
    step = min(samples, room // (count - 1)) if apart and count > 1 else 0
    free = room - step * (count - 1)
    starts = (rng.random(count) * (free + 1)).astype(int)
    # Sorted and moved apart, uniform draws stay uniform over all arrangements that are at least a step apart.
    spread = np.sort(starts) + step * np.arange(count)
    return np.asarray(rng.permutation(spread) if step else starts)


def first_in_speech(
    waveform: Float32[np.ndarray, " samples"],
    level: float,
    candidates: Iterable[Int[np.ndarray, " count"]],
    samples: int,
) -> Int[np.ndarray, " count"]:
    """The first of some sets of starts whose crops all hold speech; if there is none, that whose softest is loudest.

    Args:
      waveform: at least ``samples`` long.
      level: root mean square amplitude of its speech.
      candidates: at least one; no more are asked for than it takes.
      samples: in a crop.
    """
    best, loudest = None, -1.0
    for starts in candidates:
        pieces = [waveform[start : start + samples] for start in starts]
        softest = min(float(np.dot(piece, piece)) for piece in pieces) / samples
        if softest > loudest:
            best, loudest = starts, softest
        if softest >= _FLOOR * level**2:
            break
    assert best is not None, "no candidates"
    return best
