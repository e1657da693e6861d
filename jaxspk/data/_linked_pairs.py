r"""Batches for learning from pseudo-labels: pairs that must or cannot link, and classes of several frames.

Noise is added as the paper's Eq. 5 has it, a plain mix with a small share that ignores how loud the two are:

.. math:: x' = (1 - \rho)\, x + \rho\, n, \qquad \rho \sim U[0, 0.07]
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from jaxspk import _checks
from jaxspk.data._mixtures import digest
from jaxspk.data._pipeline import Batch, Batches, batches, shard_of
from jaxspk.data._pseudo_labels import PseudoLabelled
from jaxspk.data._sounds import Sound
from jaxspk.errors import ArgumentError, CorpusError

# More than anybody trains; the sources are numbered and endless.
_ENDLESS = 2**40

# What a stream of random numbers is for.
_ORDER, _BATCH, _NOISE = range(3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """How frames are varied; half of each side of the pairs of a batch is, and half of the frames of a class batch."""

    share: float = 0.5
    """Of the frames that get noise; exactly so many, rounded down."""
    most: float = 0.07
    """The largest share that the noise has in a frame."""
    matched: bool = False
    """Give the noise the power of the frame before it is mixed in; the paper says nothing of levels."""

    def __post_init__(self) -> None:
        _checks.check_range("share", self.share, low=0.0, high=1.0)
        _checks.check_range("most", self.most, low=0.0, high=1.0)


class Pairs(NamedTuple):
    """Numbers of frames in pairs.

    Attributes:
      first: one side.
      second: the other.
      cannot_link: whether the two are of different pseudo-classes.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    cannot_link: Bool[np.ndarray, " pairs"]


class LinkTable:
    """Who must and who cannot link, laid out so that partners of many frames are drawn at once.

    Args:
      data: frames with pseudo-labels.

    Raises:
      CorpusError: a pseudo-class of a single frame, or only one group to be kept apart.
    """

    def __init__(self, data: PseudoLabelled) -> None:
        sizes = np.bincount(data.labels, minlength=data.classes)
        if sizes.min(initial=2) < 2:
            raise CorpusError(
                f"pseudo-class {int(sizes.argmin())} has {int(sizes.min())} frame(s), a must-link needs two; "
                f"leave it out."
            )
        _, groups = np.unique(data.apart[data.labels], return_inverse=True)
        if not len(groups) or groups.max() == 0:
            raise CorpusError("there is nothing to keep apart: all frames may be one speaker's; add recordings.")
        # Sorted by group, then class, each class and each group is one stretch.
        self.order: Int[np.ndarray, " frames"] = np.lexsort((data.labels, groups))
        self._place = np.empty_like(self.order)
        self._place[self.order] = np.arange(len(self.order))
        self._class = _Stretches(data.labels[self.order])
        self._group = _Stretches(groups[self.order])

    def must(self, frames: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """Another frame of the same pseudo-class for each, uniformly; never itself."""
        place = self._place[frames]
        start, size = self._class.start[place], self._class.size[place]
        further = 1 + _below(size - 1, rng)
        partners: np.ndarray = self.order[start + (place - start + further) % size]
        return partners

    def cannot(self, frames: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """A frame of another group for each, uniformly over all such frames."""
        place = self._place[frames]
        start, size = self._group.start[place], self._group.size[place]
        drawn = _below(len(self.order) - size, rng)
        partners: np.ndarray = self.order[drawn + np.where(drawn < start, 0, size)]
        return partners

    def members(
        self, labels: Int[np.ndarray, " n"], frames: int, rng: np.random.Generator
    ) -> Int[np.ndarray, "n frames"]:
        """So many different frames of each class named, which must have them."""
        start, size = self._class.first[labels], self._class.count[labels]
        keys = rng.random((len(labels), int(size.max())))
        # Places beyond a class come last.
        keys[np.arange(keys.shape[1]) >= size[:, None]] = 2
        chosen: np.ndarray = self.order[start[:, None] + np.argsort(keys, axis=1)[:, :frames]]
        return chosen

    @property
    def class_sizes(self) -> Int[np.ndarray, " classes"]:
        """Frames of each pseudo-class."""
        return self._class.count


class FrameNoise:
    """Noise for frames: pieces as long as they are.

    Args:
      config: how much.
      noises: to cut the pieces from, one behind the other; shorter sounds are left out.
      samples: in a frame.

    Raises:
      ArgumentError: noise is asked for and there is none long enough.
    """

    def __init__(self, config: NoiseConfig, noises: Sequence[Sound], samples: int) -> None:
        pieces = [noise.waveform[: noise.waveform.size // samples * samples].reshape(-1, samples) for noise in noises]
        self.config = config
        self.pieces: np.ndarray = np.concatenate([np.zeros((0, samples), np.float32), *pieces])
        if self.active and not len(self.pieces):
            raise ArgumentError(
                f"`noises` must hold a sound of at least {samples} samples where noise is mixed in; "
                f"read some, take generated_noises(...), or set `share` to 0."
            )

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.config.share > 0 and self.config.most > 0

    @property
    def fingerprint(self) -> str:
        """Changes when what is mixed in does."""
        return digest(self.config, self.pieces.shape, zlib.crc32(self.pieces.data))

    def __call__(
        self, frames: Float32[np.ndarray, "frames samples"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "frames samples"]:
        """The frames, noise mixed into the share of them that the configuration says."""
        if not self.active:
            return frames
        count = int(self.config.share * len(frames))
        chosen = rng.permutation(len(frames))[:count]
        share = rng.uniform(0.0, self.config.most, (count, 1)).astype(np.float32)
        noise = self.pieces[rng.integers(len(self.pieces), size=count)]
        voice = frames[chosen]
        if self.config.matched:
            powers = np.mean(np.square(voice), 1), np.mean(np.square(noise), 1)
            noise = noise * np.sqrt(powers[0] / np.maximum(powers[1], 1e-12))[:, None]
        frames = frames.copy()
        frames[chosen] = (1 - share) * voice + share * noise
        return frames


class PairSource:
    """Batches of pairs by number (the paper's Algorithm 1): ``source[i]`` is always the same, from any thread.

    An epoch goes through the frames in a random order, as anchors, once each; the frames that do not fill a batch wait
    for the next. Of each batch the first half of the anchors gets must-link partners, the second half cannot-link ones,
    exactly.

    Args:
      data: frames with pseudo-labels.
      pairs: in a batch, even.
      seed: of everything random.
      noise: how much.
      noises: to mix in.

    Raises:
      ArgumentError: an odd batch, or noise is asked for and there is none.
      CorpusError: fewer frames than a batch, or as for :class:`LinkTable`.
    """

    def __init__(
        self,
        data: PseudoLabelled,
        pairs: int = 128,
        *,
        seed: int,
        noise: NoiseConfig | None = None,
        noises: Sequence[Sound] = (),
    ) -> None:
        _checks.check_range("pairs", pairs, low=2)
        if pairs % 2:
            raise ArgumentError(f"`pairs` must be even, half of them must-links, got {pairs}.")
        if len(data) < pairs:
            raise CorpusError(f"a batch of {pairs} pairs needs as many frames, here are {len(data)}; take fewer.")
        self.data, self.pairs, self.seed = data, pairs, seed
        self.links = LinkTable(data)
        self._noise = FrameNoise(noise or NoiseConfig(), noises, data.frames.shape[1])
        self.batches_per_epoch = len(data) // pairs

    @property
    def fingerprint(self) -> str:
        """Changes when a batch changes."""
        return digest(
            "pairs", self.data.fingerprint, self.pairs, self.seed, self._noise.config, self._noise.pieces.shape
        )

    def __len__(self) -> int:
        return _ENDLESS

    def plan(self, index: int) -> Pairs:
        """Which frames meet in batch ``index``."""
        anchors = _anchors(len(self.data), self.pairs, self.seed, index)
        rng = _generator(self.seed, _BATCH, index)
        half = self.pairs // 2
        partners = np.concatenate([self.links.must(anchors[:half], rng), self.links.cannot(anchors[half:], rng)])
        return Pairs(anchors, partners, np.arange(self.pairs) >= half)

    def __getitem__(self, index: int) -> Batch:
        """Makes batch ``index``; :func:`pair_batches` says what is in it."""
        plan = self.plan(index)
        rng = _generator(self.seed, _NOISE, index)
        return {
            "frames_1": self._noise(self.data.frames[plan.first], rng),
            "frames_2": self._noise(self.data.frames[plan.second], rng),
            "cannot_link": plan.cannot_link,
        }


class ClassSource:
    """Batches of P pseudo-classes with K frames each, by number, for losses that look at a whole batch.

    An epoch goes through the classes in a random order; those that do not fill a batch wait for the next.

    Args:
      data: frames with pseudo-labels.
      classes: P.
      frames: K.
      seed: of everything random.
      noise: how much.
      noises: to mix in.

    Raises:
      ArgumentError: noise is asked for and there is none.
      CorpusError: too few classes, or one of fewer frames.
    """

    def __init__(
        self,
        data: PseudoLabelled,
        classes: int = 32,
        frames: int = 4,
        *,
        seed: int,
        noise: NoiseConfig | None = None,
        noises: Sequence[Sound] = (),
    ) -> None:
        _checks.check_range("classes", classes, low=2)
        _checks.check_range("frames", frames, low=2)
        self.data, self.classes, self.frames, self.seed = data, classes, frames, seed
        self.links = LinkTable(data)
        smallest = int(self.links.class_sizes.min())
        if data.classes < classes or smallest < frames:
            raise CorpusError(
                f"a batch needs {classes} pseudo-classes of {frames} frames, here are {data.classes} of at least "
                f"{smallest}; take fewer."
            )
        self._noise = FrameNoise(noise or NoiseConfig(), noises, data.frames.shape[1])
        self.batches_per_epoch = data.classes // classes

    @property
    def fingerprint(self) -> str:
        """Changes when a batch changes."""
        return digest("classes", self.data.fingerprint, self.classes, self.frames, self.seed, self._noise.fingerprint)

    def __len__(self) -> int:
        return _ENDLESS

    def plan(self, index: int) -> tuple[Int[np.ndarray, " classes"], Int[np.ndarray, "classes frames"]]:
        """Which classes are in batch ``index``, and which of their frames."""
        labels = _anchors(self.data.classes, self.classes, self.seed, index)
        rng = _generator(self.seed, _BATCH, index)
        return labels, self.links.members(labels, self.frames, rng)

    def __getitem__(self, index: int) -> Batch:
        """Makes batch ``index``; :func:`class_batches` says what is in it."""
        labels, members = self.plan(index)
        rng = _generator(self.seed, _NOISE, index)
        frames = self._noise(self.data.frames[members.reshape(-1)], rng)
        return {"frames": frames.reshape(self.classes, self.frames, -1), "label": labels.astype(np.int32)}


def pair_batches(
    source: PairSource,
    *,
    workers: int = 2,
    prefetch: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Batches:
    """Batches of pairs without end, made ahead of time and resumed exactly; the stream does not depend on ``workers``.

    Of several shards each gives its rows of every batch (:func:`jaxspk.data.batches`).

    Returns:
      An iterator over {"frames_1": float32 [pairs, samples], "frames_2": likewise, "cannot_link": bool [pairs]}.
    """
    take = _part(shard_of(source.pairs, shard_index, shard_count, "pairs"))
    made = batches(source, take, batch_size=1, seed=source.seed, shuffle=False, workers=workers, prefetch=prefetch)
    made.shard_count = shard_count
    return made


def class_batches(
    source: ClassSource,
    *,
    workers: int = 2,
    prefetch: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Batches:
    """Batches of classes without end, made ahead of time and resumed exactly.

    Of several shards each gives its rows of every batch (:func:`jaxspk.data.batches`).

    Returns:
      An iterator over {"frames": float32 [classes, frames, samples], "label": int32 [classes]}.
    """
    take = _part(shard_of(source.classes, shard_index, shard_count, "classes"))
    made = batches(source, take, batch_size=1, seed=source.seed, shuffle=False, workers=workers, prefetch=prefetch)
    made.shard_count = shard_count
    return made


def generated_noises(count: int, sample_rate: int, *, seed: int, seconds: float = 5.0) -> tuple[Sound, ...]:
    r"""Noises whose power falls with the frequency as :math:`f^{-\beta}`, β from 0 (white) to 2 (brown), peak 0.5.

    For augmentation where there is no folder of noises.

    Args:
      count: how many; sound i does not depend on it.
      sample_rate: Hz.
      seed: of all.
      seconds: length of each.
    """
    _checks.check_range("count", count, low=1)
    _checks.check_range("seconds", seconds, low=0.01, high=600.0)
    samples = round(seconds * sample_rate)
    made = []
    for number in range(count):
        rng = _generator(seed, number)
        slope = rng.uniform(0.0, 2.0)
        spectrum = np.fft.rfft(rng.standard_normal(samples))
        # Flat below 50 Hz, where microphones end.
        frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), 50.0)
        waveform = np.fft.irfft(spectrum * frequencies ** (-slope / 2), samples)
        made.append(Sound(f"generated-{number}", "generated", _to_peak(waveform)))
    return tuple(made)


class _Stretches:
    """Runs of equal numbers 0, 1, ... in an array: where the run of each place starts, and how long it is."""

    def __init__(self, numbers: Int[np.ndarray, " n"]) -> None:
        _, first, inverse, count = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
        self.first, self.count = first, count
        self.start, self.size = first[inverse], count[inverse]


def _anchors(items: int, size: int, seed: int, index: int) -> Int[np.ndarray, " size"]:
    """The items of a batch: the next ones in their epoch's order."""
    epoch, step = divmod(index, items // size)
    # Drawn anew for every batch, for a few thousand items: that takes no time, and nothing is to be kept and locked.
    return _generator(seed, _ORDER, epoch).permutation(items)[step * size : (step + 1) * size]


def _below(limits: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A number from 0 up to each limit, which it does not reach."""
    drawn: np.ndarray = rng.integers(0, limits)
    return drawn


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    # Not (seed, *numbers) as entropy: that would not tell numbers from the same with a 0 behind.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=numbers))


def _to_peak(waveform: np.ndarray) -> Float32[np.ndarray, " samples"]:
    peaked: np.ndarray = (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)
    peaked.flags.writeable = False
    return peaked


def _part(mine: slice) -> Callable[[Sequence[Batch]], Batch]:
    """Takes a shard's rows of the one batch there is."""

    def take(made: Sequence[Batch]) -> Batch:
        (batch,) = made
        return {name: rows[mine] for name, rows in batch.items()}

    return take
