"""What every encoder of voices does alike: from waveforms and files to one vector of unit length a recording."""

import abc
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32

from jaxspk import audio, data
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems._recording import checked_waveform


class RecordingEncoder(abc.ABC):
    """Says who speaks: one vector of unit length a recording, near for one speaker and far for two.

    The similarity of two recordings is the cosine of the angle between their vectors, which is their inner product.
    """

    @property
    @abc.abstractmethod
    def sample_rate(self) -> int:
        """In Hz, of what the network hears; recordings are resampled to it."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Length of a vector."""

    @abc.abstractmethod
    def _vectors(self, recordings: list[np.ndarray]) -> Float32[np.ndarray, "recordings dim"]:
        """Unit vectors of recordings at the network's rate."""

    @property
    def shortest_seconds(self) -> float:
        """Shortest recording that can be embedded; a useful one is ten times as long."""
        return 0.1

    def embed(
        self, waveform: np.ndarray | Sequence[np.ndarray], sample_rate: int
    ) -> Float32[np.ndarray, "*recordings dim"]:
        """Who speaks in a recording, or in each of several.

        Args:
          waveform: ``[samples]``, floating, any level and length; or a list of such.
          sample_rate: of all of them, in Hz.

        Returns:
          ``[dim]`` for one recording, ``[recordings, dim]`` for a list; each vector of unit length.

        Raises:
          ArgumentError: a wrong shape, or a recording that is silent, too short, or holds values that are not finite.
        """
        if isinstance(waveform, np.ndarray):
            alone: np.ndarray = self._vectors([self._heard(waveform, sample_rate)])[0]
            return alone
        return self._vectors([self._heard(recording, sample_rate) for recording in waveform])

    def embed_crops(
        self, waveform: np.ndarray, sample_rate: int, *, seconds: float = 4.0, count: int = 10
    ) -> Float32[np.ndarray, "count dim"]:
        """Vectors of evenly spaced crops of a recording, the protocol of C20; a short one wraps round.

        Args:
          waveform: ``[samples]``, floating.
          sample_rate: in Hz.
          seconds: length of a crop.
          count: how many.
        """
        heard = self._heard(waveform, sample_rate)
        return self._vectors(list(data.evenly_spaced_crops(heard, round(seconds * self.sample_rate), count)))

    def embed_file(
        self, path: str | os.PathLike[str], *, channel: int | Literal["mean"] = "mean"
    ) -> Float32[np.ndarray, " dim"]:
        """Who speaks in a file of any format, rate and number of channels; of many: :func:`embed_recordings`.

        Raises:
          AudioError: the file cannot be decoded, or is no recording that can be embedded.
        """
        waveform, _ = audio.read_audio(path, sample_rate=self.sample_rate, channel=channel)
        try:
            return self.embed(waveform, self.sample_rate)
        except ArgumentError as error:
            raise AudioError(f"{os.fspath(path)}: {error}") from None

    def _heard(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """The recording at the network's rate."""
        waveform = checked_waveform(waveform, sample_rate, self.shortest_seconds)
        return audio.resample(waveform, sample_rate, self.sample_rate)
