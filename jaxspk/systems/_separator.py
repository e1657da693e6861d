"""Separator: a trained deep-clustering network, from a recording to one recording per voice."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from jaxspk import audio, clustering
from jaxspk.clustering import ClusterCount, CountingRule
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems._deep_clustering import (
    SYSTEM,
    DeepClusteringConfig,
    DeepClusteringModel,
    load_deep_clustering,
)
from jaxspk.systems._packaged import packaged_model
from jaxspk.systems._recording import checked_waveform
from jaxspk.systems._separation_passes import Passes, Sample
from jaxspk.systems._separation_steps import MaskKind, Steps, active_bins
from jaxspk.systems._speaker_counting import Speakers, load_counting_rule, possible_counts


@dataclasses.dataclass(frozen=True)
class Separator:
    """Separates the voices of a one-microphone recording by deep clustering.

    The recording's time-frequency bins are embedded by the network, the embeddings of the bins within 40 dB of the
    loudest are clustered by k-means, every bin is assigned to the clusters, and the masks that follow are applied
    to the mixture (Hershey et al. 2016, one global clustering for the recording).

    A recording that is longer than what is embedded at once (three quarters of a minute with the packaged network) is
    embedded in overlapping pieces, each normalised by itself as if it were the recording, and a sample of the
    embeddings of all of them is clustered once, so that a voice is the same voice from beginning to end.

    Attributes:
      config: the configuration that the network was trained with.
      model: the network.
      counting: tells the number of voices from embeddings of this network; ``None`` leaves it to their eigenvalues.

    Example:
      >>> import jaxspk
      >>> separator = jaxspk.Separator.load()  # doctest: +SKIP
      >>> voices = separator.separate(waveform, sample_rate, speakers=2)  # doctest: +SKIP
    """

    config: DeepClusteringConfig
    model: DeepClusteringModel
    counting: CountingRule | None = None

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Separator":
        """Reads a model directory; without a path, the weights that come with the package.

        Raises:
          ModelError: the directory is missing, damaged or holds another system's model.
        """
        folder = packaged_model(SYSTEM) if path is None else path
        config, model = load_deep_clustering(folder)
        return cls(config, model, load_counting_rule(folder))

    @property
    def shortest_seconds(self) -> float:
        """Shortest recording that can be separated: ten frames of the network's spectrogram."""
        features = self.config.features
        return (features.n_fft + 9 * features.hop_length) / features.sample_rate

    def separate(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        speakers: Speakers = 2,
        *,
        masks: MaskKind = "soft",
        seed: int = 0,
    ) -> np.ndarray:
        """One waveform per voice, at the recording's own rate and length; they add up to the recording.

        The network hears the recording at its training rate. What lies above (half of) that rate, and the
        resampler's rounding, is shared between the voices in proportion to their momentary power.

        Args:
          waveform: ``[samples]``, floating, any level.
          sample_rate: in Hz.
          speakers: number of voices, at least 2; may differ from the number trained with. Or the fewest and the most
            there may be, or ``"auto"``: see :meth:`count_speakers`, which also tells how sure that is.
          masks: ``"soft"`` shares every bin by its distance to the cluster centres; ``"binary"`` gives each bin to
            one voice, as the paper does.
          seed: of the k-means starts, and of the sample of a long recording; the same seed gives the same result.

        Returns:
          ``[speakers, samples]``, float32, ordered from the voice with most energy to the one with least.

        Raises:
          ArgumentError: a wrong shape, a number of speakers below 2, a recording that is silent, holds values that
            are not finite, or is shorter than :attr:`shortest_seconds`.
        """
        waveform = checked_waveform(waveform, sample_rate, self.shortest_seconds)
        with self._passes(lambda: [waveform], sample_rate) as passes:
            centers, _ = self._centers(passes, possible_counts(speakers, self.counting), seed)
            voices = np.concatenate(list(passes.voices(centers, _checked_masks(masks))), axis=1)
        ordered: np.ndarray = voices[_by_energy(np.square(voices, dtype=np.float64).sum(1))]
        return ordered

    def separate_file(
        self,
        path: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        *,
        speakers: Speakers = 2,
        name: str | None = None,
        channel: int | Literal["mean"] = "mean",
        masks: MaskKind = "soft",
        subtype: Literal["FLOAT", "PCM_16", "PCM_24"] = "FLOAT",
        seed: int = 0,
        progress: Callable[[float], None] = lambda share: None,
    ) -> "SeparatedFile":
        """:meth:`separate` from file to files, in memory that does not grow with the recording.

        The files appear when all of them are whole. While it works, the folder holds unfinished ones under hidden
        names, and for recordings of more than half an hour a file without a name.

        Args:
          path: a recording of any length, rate and number of channels.
          folder: receives ``NAME-voice1.wav``, ``NAME-voice2.wav``, ...; made where it does not exist.
          speakers: as in :meth:`separate`. Where one voice is found, one file is written: the recording.
          name: of the results; by default that of the recording, without its ending.
          channel: ``"mean"`` of all channels, or the number of one, from 0.
          masks: as in :meth:`separate`.
          subtype: of the files, as in :func:`jaxspk.audio.write_audio`.
          seed: as in :meth:`separate`.
          progress: told the share of the work that is done, from 0 to 1.

        Raises:
          AudioError: the recording cannot be read or separated, or the results not be written; names the file.
          ArgumentError: a wrong number of speakers, kind of masks or channel.
        """
        counts, masks = possible_counts(speakers, self.counting), _checked_masks(masks)
        stem = Path(folder) / (Path(path).stem if name is None else name)
        with contextlib.ExitStack() as stack:
            with _refusals(path, folder):
                with audio.open_audio(path, channel=channel) as stream:
                    sample_rate = stream.sample_rate
                stem.parent.mkdir(parents=True, exist_ok=True)
                blocks = functools.partial(_blocks, path, channel)
                passes = stack.enter_context(self._passes(blocks, sample_rate, stem.parent, progress))
                centers, count = self._centers(passes, counts, seed)
            writers = [
                stack.enter_context(
                    audio.AudioWriter(_voice_file(stem, number), sample_rate, passes.samples, subtype=subtype)
                )
                for number in range(1, len(centers) + 1)
            ]
            energies = np.zeros(len(writers))
            for block in passes.voices(centers, masks):
                energies += np.square(block, dtype=np.float64).sum(1)
                for writer, voice in zip(writers, block, strict=True):
                    writer.write(voice)
            files = [
                writers[index].finish(_voice_file(stem, number))
                for number, index in enumerate(_by_energy(energies), start=1)
            ]
            clipped = sum(writer.clipped for writer in writers)
            return SeparatedFile(tuple(files), sample_rate, passes.samples / sample_rate, count, clipped)

    def count_speakers(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        speakers: tuple[int, int] | Literal["auto"] = "auto",
        *,
        seed: int = 0,
    ) -> ClusterCount:
        """How many voices a recording holds, and how sure that is.

        By the rule that was fitted to this network, whose confidence is a probability among the numbers asked for, or
        without one by the eigenvalues of the affinities; :func:`jaxspk.clustering.count_clusters` has both.

        Args:
          waveform: as in :meth:`separate`.
          sample_rate: in Hz.
          speakers: the fewest and the most there may be; ``"auto"`` is one to three.
          seed: of the samples.

        Raises:
          ArgumentError: as :meth:`separate`, or a range that cannot be told.
        """
        waveform = checked_waveform(waveform, sample_rate, self.shortest_seconds)
        with self._passes(lambda: [waveform], sample_rate) as passes:
            return self._count(passes.sample(seed), possible_counts(speakers, self.counting), seed)

    def speaker_statistics(self, waveform: np.ndarray, sample_rate: int, *, seed: int = 0) -> np.ndarray:
        """What the rules of :meth:`count_speakers` look at, :data:`jaxspk.clustering.STATISTICS` of the recording."""
        waveform = checked_waveform(waveform, sample_rate, self.shortest_seconds)
        with self._passes(lambda: [waveform], sample_rate) as passes:
            return _statistics(passes.sample(seed), seed)

    def separate_at_model_rate(
        self, waveform: np.ndarray, speakers: int, *, masks: MaskKind = "soft", seed: int = 0
    ) -> np.ndarray:
        """The bare method at the network's own rate, ``[samples]`` to ``[speakers, samples]``: no sharing, no order."""
        with self._passes(lambda: [waveform], self.config.features.sample_rate) as passes:
            centers, _ = self._centers(passes, (speakers,), seed)
            voices = np.concatenate(list(passes.estimates(centers, masks)), axis=1)
            return voices * np.float32(passes.peak)

    def analyze(
        self, waveform: np.ndarray, speakers: int, *, masks: MaskKind = "soft", seed: int = 0
    ) -> "SeparationAnalysis":
        """Everything between recording and voices: spectrum, embeddings, clusters and masks, in one piece.

        Args:
          waveform: ``[samples]`` at the network's rate; minutes at most, for all of it is embedded at once.
          speakers: number of clusters.
          masks: as in :meth:`separate`.
          seed: of the k-means starts.
        """
        steps, features = self._steps, self.config.features
        embedded = steps.embed(waveform)
        active = active_bins(embedded.mixture, jnp.max(jnp.abs(embedded.mixture)), self.config)
        centers = _cluster(embedded.embeddings, active.reshape(-1), speakers, seed)
        frames = audio.num_frames(len(waveform), **features.stft)
        return SeparationAnalysis(
            embedded.mixture[:frames],
            embedded.embeddings[: frames * features.bins],
            active[:frames],
            centers,
            steps.masks(embedded, centers, masks)[:, :frames],
        )

    @property
    def _steps(self) -> Steps:
        return Steps(self.config, self.model)

    def _passes(
        self,
        open_blocks: Callable[[], Iterator[np.ndarray] | list[np.ndarray]],
        sample_rate: int,
        folder: Path | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Passes:
        return Passes(
            self._steps,
            open_blocks,
            sample_rate,
            shortest_seconds=self.shortest_seconds,
            folder=folder,
            progress=progress,
        )

    def _centers(
        self, passes: Passes, counts: tuple[int, ...], seed: int
    ) -> tuple[Float[Array, "speakers dim"], ClusterCount | None]:
        """The cluster centres, and how their number was found where it was not given."""
        sample = passes.sample(seed)
        count = None if len(counts) == 1 else self._count(sample, counts, seed)
        clusters = counts[0] if count is None else count.clusters
        return _cluster(sample.points, sample.active, clusters, seed), count

    def _count(self, sample: Sample, counts: tuple[int, ...], seed: int) -> ClusterCount:
        return clustering.count_clusters(_statistics(sample, seed), counts, self.counting)


@dataclasses.dataclass(frozen=True)
class SeparatedFile:
    """What :meth:`Separator.separate_file` did.

    Attributes:
      voices: the files, from the voice with most energy to the one with least.
      sample_rate: of the recording and of the files, in Hz.
      seconds: the recording's duration.
      count: how sure the number of voices is; ``None`` where it was given.
      clipped: samples of all files that were outside [-1, 1] and were clipped; 0 for float files.
    """

    voices: tuple[Path, ...]
    sample_rate: int
    seconds: float
    count: ClusterCount | None
    clipped: int


@dataclasses.dataclass(frozen=True)
class SeparationAnalysis:
    """How a separation came about.

    Attributes:
      mixture: its spectrum.
      embeddings: one unit vector per time-frequency bin, row-major.
      active: bins that shaped the clusters.
      centers: of the clusters.
      masks: one per voice; they sum to one in every bin.
    """

    mixture: Complex[Array, "frames bins"]
    embeddings: Float[Array, "points dim"]
    active: Bool[Array, "frames bins"]
    centers: Float[Array, "speakers dim"]
    masks: Float[Array, "speakers frames bins"]


def _statistics(sample: Sample, seed: int) -> np.ndarray:
    """What tells the number of voices: of bins drawn by their magnitude, which are voices' rather than noise's."""
    return clustering.cluster_statistics(sample.points, weights=sample.magnitudes, seed=seed)


def _cluster(
    points: Float[Array, "points dim"] | Float[np.ndarray, "points dim"],
    weights: Array | np.ndarray,
    clusters: int,
    seed: int,
) -> Float[Array, "clusters dim"]:
    points = jnp.asarray(points)
    found = clustering.kmeans(
        points, clusters=clusters, key=jax.random.key(seed), weights=jnp.asarray(weights, points.dtype)
    )
    return found.centers


def _by_energy(energies: np.ndarray) -> np.ndarray:
    """The order from most to least."""
    return np.argsort(-energies, kind="stable")


def _blocks(path: str | os.PathLike[str], channel: int | Literal["mean"]) -> Iterator[np.ndarray]:
    with audio.open_audio(path, channel=channel) as stream:
        yield from stream.blocks


def _voice_file(stem: Path, number: int) -> Path:
    return stem.with_name(f"{stem.name}-voice{number}.wav")


@contextlib.contextmanager
def _refusals(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Iterator[None]:
    """What is wrong with the recording or its folder, with its name."""
    try:
        yield
    except AudioError:
        raise
    except ArgumentError as error:
        raise AudioError(f"{os.fspath(path)}: {error}") from None
    except OSError as error:
        raise AudioError(f"{os.fspath(folder)}: cannot be written to ({error.strerror}).") from None


def _checked_masks(masks: MaskKind) -> MaskKind:
    if masks not in ("soft", "binary"):
        raise ArgumentError(f'`masks` must be "soft" or "binary", got {masks!r}.')
    return masks
