"""The passes over one recording of any length that its separation takes, in memory that its length does not change.

1. *Hear*: decode it, resample it to the network's rate, and put it aside (on disk, where it comes from a file).
2. *Survey*: the loudest bin of each piece, and with it which bins are active, are known before anything is embedded.
3. *Sample*: embed piece by piece and keep a sample of all active bins, which one k-means clusters.
4. *Voices*: embed again, apply the masks of the centres, join the pieces, go back to the recording's own rate.

Embedding twice is cheaper than keeping: an hour of 20-dimensional embeddings takes 2.3 GB in half precision, and
reading that back takes about as long as computing it. A recording of a few pieces keeps them in memory, and is embedded
once.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxspk import audio
from jaxspk.systems._recording import check_usable
from jaxspk.systems._separation_pieces import Pieces, cut, joined
from jaxspk.systems._separation_steps import Embedded, MaskKind, Steps, active_bins

# Frames that a piece has beyond what is taken of it, and frames in which neighbours are exchanged: at 8 ms a frame,
# one second and a quarter. The network forgets faster than that (docs/how-to/separate.md has the figures).
_CONTEXT_FRAMES, _FADE_FRAMES = 128, 32

# As many points as k-means looks at anyway.
_SAMPLED = 131_072
# Numbers in the embeddings of all pieces, up to which they are kept: 512 MiB.
_LARGEST_KEPT = 2**27

# Of many pieces the loudest twentieth does not say what is loud: one slammed door must not silence hours of speech.
_LOUD_QUANTILE = 0.95

# Samples that are resampled at once, at the network's rate.
_BLOCK = 1 << 16
_IN_MEMORY = 1 << 26
_QUIETEST = float(np.finfo(np.float32).tiny)
_SHARING_SECONDS = 0.032

# Share of the whole work that is done before each pass, about.
_HEARD, _SURVEYED, _GATHERED = 0.1, 0.15, 0.55


class Sample(NamedTuple):
    """Time-frequency bins for the clustering: all of a single piece, else a sample of the active ones.

    Attributes:
      points: their embeddings.
      active: 1 for bins that shape the clusters, 0 for others.
      magnitudes: of the active bins, relative to what counts as loudest in their piece; 0 for others.
    """

    points: Float[Array, "points dim"]
    active: Float[np.ndarray, " points"]
    magnitudes: Float[np.ndarray, " points"]


class Passes:
    """One recording on its way to its voices; use as ``with Passes(...) as passes``.

    Args:
      steps: of the network.
      open_blocks: begins to read the recording anew, ``[samples]`` after ``[samples]``.
      sample_rate: of the recording, in Hz.
      folder: where a long recording is put aside; without one it stays in memory.
      progress: told the share of the work that is done, from 0 to 1.

    Raises:
      ArgumentError: the recording is silent or too short.
    """

    def __init__(
        self,
        steps: Steps,
        open_blocks: Callable[[], Iterable[np.ndarray]],
        sample_rate: int,
        *,
        shortest_seconds: float,
        folder: Path | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self._steps = steps
        self._open_blocks = open_blocks
        self.sample_rate = sample_rate
        self._progress = progress
        self._heard = _Heard(folder)
        try:
            self._heard.fill(open_blocks(), sample_rate, steps.config.features.sample_rate)
            check_usable(self.samples, sample_rate, self._heard.peak, shortest_seconds)
            progress(_HEARD)
        except BaseException:
            self._heard.close()
            raise
        hop = steps.config.features.hop_length
        self.pieces: Pieces = cut(
            self._heard.length,
            longest=steps.most_samples,
            hop=hop,
            context=_CONTEXT_FRAMES * hop,
            fade=_FADE_FRAMES * hop,
        )
        self._kept: dict[int, Embedded] = {}

    def __enter__(self) -> "Passes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heard.close()

    @property
    def samples(self) -> int:
        """Of the recording, at its own rate."""
        return self._heard.samples

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return self._heard.peak

    def sample(self, seed: int) -> Sample:
        """What the clusters are found in.

        Of several pieces it is spread evenly over the active bins of the whole recording, in their order, one drawn by
        the seed from each of as many equal stretches.
        """
        loudest = self._survey()
        if len(self.pieces) == 1:
            embedded = self._embedded(0)
            magnitudes = self._active_magnitudes(embedded, loudest[0])
            self._progress(_GATHERED)
            return Sample(embedded.embeddings, (magnitudes > 0).astype(np.float32), magnitudes)
        counts = [self._steps.num_active(self._piece(index), peak) for index, peak in enumerate(loudest)]
        self._progress(_SURVEYED)
        chosen = _spread(sum(counts), _SAMPLED, np.random.default_rng(seed))
        points = np.zeros((_SAMPLED, self._steps.config.network.dim), np.float32)
        magnitudes = np.zeros(_SAMPLED, np.float32)
        for index, (first, count) in enumerate(zip(_before(counts), counts, strict=True)):
            begin, end = np.searchsorted(chosen, (first, first + count))
            if begin < end:
                embedded = self._embedded(index)
                of_piece = self._active_magnitudes(embedded, loudest[index])
                rows = np.flatnonzero(of_piece)[chosen[begin:end] - first]
                points[begin:end] = np.asarray(embedded.embeddings)[rows]
                magnitudes[begin:end] = of_piece[rows]
            self._progress(_SURVEYED + (_GATHERED - _SURVEYED) * (index + 1) / len(self.pieces))
        return Sample(jnp.asarray(points), (magnitudes > 0).astype(np.float32), magnitudes)

    def voices(self, centers: Float[Array, "speakers dim"], masks: MaskKind) -> Iterator[np.ndarray]:
        """Blocks ``[speakers, samples]`` at the recording's own rate, which add up to it, from first to last."""
        if len(centers) == 1:
            # A single voice is the recording itself.
            yield from (block[None].astype(np.float32) for block in self._open_blocks())
            self._progress(1.0)
            return
        rates = self._steps.config.features.sample_rate, self.sample_rate
        estimates = audio.resample_blocks(self.estimates(centers, masks), *rates)
        mixture = (block / self._heard.peak for block in self._open_blocks())
        for voices in _with_rest(_aligned(estimates, mixture, len(centers)), self.sample_rate):
            yield (self._heard.peak * voices).astype(np.float32)
        self._progress(1.0)

    def estimates(self, centers: Float[Array, "speakers dim"], masks: MaskKind) -> Iterator[np.ndarray]:
        """Blocks ``[speakers, samples]`` at the network's rate, which add up to what it hears at a peak of 1."""
        for block in joined(self.pieces, self._voices_of_pieces(centers, masks)):
            for start in range(0, block.shape[1], _BLOCK):
                yield block[:, start : start + _BLOCK]

    def _voices_of_pieces(self, centers: Array, masks: MaskKind) -> Iterator[np.ndarray]:
        for index in range(len(self.pieces)):
            yield self._steps.voices(self._embedded(index), centers, masks)
            self._progress(_GATHERED + (1 - _GATHERED) * (index + 1) / len(self.pieces) * 0.999)

    def _active_magnitudes(self, embedded: Embedded, loudest: float) -> Float[np.ndarray, " points"]:
        active = active_bins(embedded.mixture, loudest, self._steps.config)
        relative = jnp.abs(embedded.mixture) / max(loudest, _QUIETEST)
        return np.asarray(jnp.where(active, relative, jnp.zeros_like(relative)).reshape(-1))

    def _survey(self) -> list[float]:
        """Of each piece the magnitude that counts as its loudest."""
        peaks = [self._steps.loudest(self._piece(index)) for index in range(len(self.pieces))]
        usual = float(np.quantile(peaks, _LOUD_QUANTILE, method="higher"))
        return [max(peak, usual) for peak in peaks]

    def _piece(self, index: int) -> np.ndarray:
        return self._heard.read(*self.pieces.span(index))

    def _embedded(self, index: int) -> Embedded:
        if index in self._kept:
            return self._kept[index]
        embedded = self._steps.embed(self._piece(index))
        if len(self.pieces) * embedded.embeddings.size <= _LARGEST_KEPT:
            self._kept[index] = embedded
        return embedded


class _Heard:
    """A recording at the network's rate, for reading anywhere in it; scaled to a peak of 1.

    Args:
      folder: holds it, nameless, once it is longer than a few minutes; without one it stays in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        # A file without a name is gone when this process is, however it ends.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY if folder else 0, dir=str(folder) if folder else None)
        self.samples = self.length = 0
        self.peak = 0.0

    def fill(self, blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> None:
        for block in audio.resample_blocks(map(self._noted, blocks), from_rate, to_rate):
            self.length += len(block)
            self._file.write(block.astype(np.float32, copy=False).tobytes())

    def read(self, start: int, stop: int) -> Float[np.ndarray, " samples"]:
        self._file.seek(4 * start)
        return np.frombuffer(self._file.read(4 * (stop - start)), np.float32) / np.float32(self.peak)

    def close(self) -> None:
        self._file.close()

    def _noted(self, block: np.ndarray) -> np.ndarray:
        self.samples += len(block)
        self.peak = max(self.peak, float(np.max(np.abs(block), initial=0.0)))
        return block


def _spread(available: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Of so many, one from each of ``size`` equal stretches, ascending; all where there are no more than that."""
    if available <= size:
        return np.arange(available)
    drawn = np.floor((np.arange(size) + rng.random(size)) * (available / size)).astype(np.int64)
    return np.minimum(drawn, available - 1)


def _before(counts: list[int]) -> list[int]:
    """How many come before each."""
    return list(itertools.accumulate(counts, initial=0))[:-1]


def _aligned(
    estimates: Iterable[np.ndarray], mixture: Iterable[np.ndarray], speakers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both in blocks of equal lengths, as long as the mixture: resampling there and back may differ by samples."""
    blocks = iter(mixture)
    waiting = np.zeros(0, np.float32)
    for estimate in estimates:
        while len(waiting) < estimate.shape[1]:
            block = next(blocks, None)
            if block is None:
                break
            waiting = np.concatenate([waiting, block])
        taken = min(len(waiting), estimate.shape[1])
        yield estimate[:, :taken], waiting[:taken]
        waiting = waiting[taken:]
    for rest in itertools.chain([waiting], blocks):
        yield np.zeros((speakers, len(rest)), np.float32), rest


def _with_rest(blocks: Iterable[tuple[np.ndarray, np.ndarray]], sample_rate: int) -> Iterator[np.ndarray]:
    """Shares what the estimates lack of the mixture between them, in proportion to their momentary power."""
    window = max(1, round(_SHARING_SECONDS * sample_rate))
    estimates = mixture = None
    done = 0  # Samples at the front that are out already, and stay for the window's sake.
    for estimate, mixed in blocks:
        estimates = estimate if estimates is None else np.concatenate([estimates, estimate], axis=1)
        mixture = mixed if mixture is None else np.concatenate([mixture, mixed])
        ready = len(mixture) - window
        if ready > done:
            yield _completed(estimates, mixture, window)[:, done:ready]
            kept = max(0, ready - window)
            estimates, mixture, done = estimates[:, kept:], mixture[kept:], ready - kept
    if estimates is not None and mixture is not None:
        yield _completed(estimates, mixture, window)[:, done:]


def _completed(estimates: np.ndarray, mixture: np.ndarray, window: int) -> np.ndarray:
    """Estimates that add up to the mixture; exact but for a window at those ends that are not the recording's."""
    from scipy.ndimage import uniform_filter1d

    power = uniform_filter1d(np.square(estimates, dtype=np.float64), window, axis=-1, mode="constant")
    power = np.maximum(power, 0) + 1e-12
    completed: np.ndarray = estimates + power / power.sum(0) * (mixture - estimates.sum(0))
    return completed
