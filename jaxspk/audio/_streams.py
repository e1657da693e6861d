"""Recordings of any length, block by block: resampled without a seam, written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import soxr
from jaxtyping import Float

from jaxspk import _checks
from jaxspk._files import UnfinishedFile
from jaxspk.audio._files import SAMPLE_RATES, check_floating, printable, resampled_length
from jaxspk.audio._writing import quantized, sample_bytes, wav_frame
from jaxspk.errors import ArgumentError, AudioError


def resample_blocks(
    blocks: Iterable[Float[np.ndarray, "*batch _"]], from_rate: int, to_rate: int
) -> Iterator[Float[np.ndarray, "*batch _"]]:
    """:func:`resample` of one long waveform that comes in blocks along its last axis.

    Args:
      blocks: one after another, of any lengths, alike on all other axes and in dtype.
      from_rate: Hz.
      to_rate: Hz.

    Yields:
      Blocks of other lengths, which put together have as many samples as :func:`resample` gives, and its samples
      to within rounding.

    Raises:
      ArgumentError: a rate is out of range, or the blocks hold no sample.
      ArgumentTypeError: a block is not floating.
    """
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        _checks.check_range(name, rate, low=SAMPLE_RATES[0], high=SAMPLE_RATES[1])
    return _resample_blocks(blocks, from_rate, to_rate)


def _resample_blocks(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    stream: soxr.ResampleStream | None = None
    rows = np.zeros((1, 0), np.float32)
    batch: tuple[int, ...] = ()
    taken = made = 0
    for block in blocks:
        check_floating("blocks", block)
        block = block.astype(np.promote_types(block.dtype, np.float32), copy=False)
        batch = block.shape[:-1]
        taken += block.shape[-1]
        if from_rate == to_rate:
            yield block
            continue
        rows = block.reshape(-1, block.shape[-1])
        if stream is None:
            stream = soxr.ResampleStream(from_rate, to_rate, len(rows), dtype=block.dtype)
        part = stream.resample_chunk(np.ascontiguousarray(rows.T))
        made += len(part)
        yield _rows(part, batch)
    if taken == 0:
        raise ArgumentError("`blocks` must hold at least one sample to resample, got none.")
    if stream is not None:
        rest = stream.resample_chunk(np.ascontiguousarray(rows[:, :0].T), last=True)
        # The resampler's own idea of the length may differ from the rounded one by a sample.
        wanted = resampled_length(taken, from_rate, to_rate) - made
        yield _rows(np.pad(rest, ((0, max(0, wanted - len(rest))), (0, 0)))[:wanted], batch)


def _rows(part: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(part.T).reshape(*batch, len(part))


class AudioWriter:
    """Writes one channel to a WAV file block by block; the file appears when it is finished, whole.

    Until then it grows beside its place under another name. Whoever leaves the ``with`` without :meth:`finish`, by
    an error or an interruption, leaves nothing. The bytes are those of :func:`write_audio`; beyond 4 GiB the
    container is RF64.

    Args:
      path: ends in ``.wav``; its folder exists.
      sample_rate: Hz.
      samples: how many will be written.
      subtype: as in :func:`write_audio`.

    Attributes:
      clipped: samples outside [-1, 1] that were clipped so far; 0 for ``FLOAT``.

    Raises:
      AudioError: the name or folder will not do, or the disk has no room for so many samples.
      ArgumentError: no sensible rate, number of samples or subtype.

    Example:
      >>> with AudioWriter("copy.wav", 8000, 16000) as writer:  # doctest: +SKIP
      ...     for block in blocks:
      ...         writer.write(block)
      ...     writer.finish()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        samples: int,
        *,
        subtype: Literal["FLOAT", "PCM_16", "PCM_24"] = "FLOAT",
    ) -> None:
        self._path = _wav_path(path)
        _checks.check_choice("subtype", subtype, ("FLOAT", "PCM_16", "PCM_24"))
        _checks.check_range("sample_rate", sample_rate, low=SAMPLE_RATES[0], high=SAMPLE_RATES[1])
        _checks.check_range("samples", samples, low=1)
        self._name = printable(self._path)
        self._subtype = subtype
        self._samples, self._written = samples, 0
        self.clipped = 0
        before, self._after = wav_frame(samples, 1, sample_rate, subtype, self._name)
        width = len(sample_bytes(quantized(np.zeros((1, 1)), subtype)[0], subtype))
        with self._refusals():
            room = shutil.disk_usage(self._path.parent).free
        if samples * width > room:
            raise AudioError(
                f"{self._name}: not written: it takes {samples * width / 1e6:,.0f} MB, the disk has "
                f"{room / 1e6:,.0f} MB left."
            )
        with self._refusals():
            self._file = UnfinishedFile(self._path)
            self._file.stream.write(before)

    def __enter__(self) -> "AudioWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def write(self, block: Float[np.ndarray, " samples"]) -> None:
        """Adds samples.

        Raises:
          AudioError: they are not finite, more than were announced, or cannot be written.
          ArgumentTypeError: they are not floating.
        """
        check_floating("block", block)
        if not np.isfinite(block).all():
            raise AudioError(f"{self._name}: not written: the waveform holds values that are not finite.")
        self._written += len(block)
        if self._written > self._samples:
            raise self._wrong_length()
        samples, clipped = quantized(block[:, None], self._subtype)
        self.clipped += clipped
        with self._refusals():
            self._file.stream.write(sample_bytes(samples, self._subtype))

    def finish(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Puts the file in its place.

        Args:
          path: another name than was given first, in the same folder.

        Returns:
          The path.

        Raises:
          AudioError: fewer samples came than were announced, or the file cannot be put there.
        """
        place = self._path if path is None else _wav_path(path)
        if self._written != self._samples:
            raise self._wrong_length()
        with self._refusals():
            self._file.stream.write(self._after)
            self._file.finish(place)
        return place

    def _wrong_length(self) -> AudioError:
        return AudioError(
            f"{self._name}: not written: {self._samples:,} samples were announced, {self._written:,} came."
        )

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the system refuses, as our own error."""
        try:
            yield
        except OSError as error:
            raise AudioError(f"{self._name}: cannot be written: {error.strerror}.") from None


def _wav_path(path: str | os.PathLike[str]) -> Path:
    if Path(path).suffix.lower() != ".wav":
        raise AudioError(f"{printable(path)}: not written: recordings are written block by block as .wav only.")
    return Path(path)
