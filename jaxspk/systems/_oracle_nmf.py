"""The oracle baseline: sparse NMF with bases learnt from the very speakers that are mixed.

Magnitude spectra with a context of eight frames are factorised into 256 bases a speaker (speaker dependent: other
utterances of the same speaker); a mixture is explained by the bases of its speakers side by side, and each gets its
share of every bin. Sparsity, divergence and what is done with the context are ours: Hershey et al. 2016 does not say.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxspk import _checks, audio, models
from jaxspk.data import Manifest, Mixture, Recordings, Utterance
from jaxspk.errors import CorpusError
from jaxspk.systems._deep_clustering import SpectrumConfig

_BLOCK = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class OracleNmfConfig:
    """The baseline's settings."""

    bases: int = 256
    """Of a speaker."""
    context: int = 8
    """Frames side by side in one column."""
    sparsity: float = 5.0
    """Weight of the activations' sum, as :func:`jaxspk.models.sparse_nmf` counts it."""
    stride: int = 4
    """Frames from one column to the next in training; neighbours share nearly all their frames."""
    columns: int = 1000
    """To learn from, drawn from those of a speaker, again where there are fewer; one number for all compiles once."""
    training_iterations: int = 80
    iterations: int = 40
    """Updates of the activations of a mixture."""

    def __post_init__(self) -> None:
        for name in ("bases", "context", "stride", "columns", "training_iterations", "iterations"):
            _checks.check_range(name, getattr(self, name), low=1)
        _checks.check_range("sparsity", self.sparsity, low=0)


def train_speaker_bases(
    training: Manifest,
    speakers: Sequence[str],
    features: SpectrumConfig,
    config: OracleNmfConfig,
    *,
    recordings: Recordings,
    seed: int = 0,
    progress: Callable[[Sequence[str]], Iterable[str]] = lambda speakers: speakers,
) -> dict[str, np.ndarray]:
    """Bases of each speaker, ``[context * bins, bases]``.

    Args:
      training: utterances to learn from; none may be in the mixtures that are scored.
      speakers: whose bases to learn.
      features: the spectrum.
      config: of the factorisation.
      recordings: where samples come from.
      seed: of the starts; bases of a speaker do not depend on who else is learnt.
      progress: wraps the speakers while they are worked on.

    Raises:
      CorpusError: a speaker has no utterance to learn from.
    """
    utterances = training.by_speaker()
    for speaker in speakers:
        if not utterances.get(speaker):
            raise CorpusError(f"speaker {speaker!r}: no utterance to learn bases from; leave the speaker out.")
    bases = {}
    for speaker in progress(list(speakers)):
        matrix = _columns(utterances[speaker], features, config, recordings)
        rng = np.random.default_rng((seed, *speaker.encode()))
        chosen = rng.choice(matrix.shape[1], config.columns, replace=matrix.shape[1] < config.columns)
        found = models.sparse_nmf(
            jnp.asarray(matrix[:, chosen]),
            bases=config.bases,
            key=jax.random.key(int(rng.integers(2**31))),
            sparsity=config.sparsity,
            iterations=config.training_iterations,
        )
        bases[speaker] = np.asarray(found.bases)
    return bases


def separate_by_bases(
    mixture: Mixture, bases: Mapping[str, np.ndarray], features: SpectrumConfig, config: OracleNmfConfig
) -> np.ndarray:
    """The voices of a mixture, ``[speakers, samples]``, in the order of its sources.

    Args:
      mixture: at the spectrum's rate.
      bases: of the mixture's speakers at least.
      features: the spectrum.
      config: as the bases were learnt with.

    Raises:
      CorpusError: a speaker of the mixture has no bases.
    """
    missing = [u.speaker for u in mixture.utterances if u.speaker not in bases]
    if missing:
        raise CorpusError(f"mixture {mixture.name}: no bases for speaker {missing[0]!r}; learn them first.")
    side_by_side = np.stack([bases[utterance.speaker] for utterance in mixture.utterances])
    samples = mixture.mixture.size
    separated = _separate(_padded(mixture.mixture), jnp.asarray(side_by_side), features, config)
    return np.asarray(separated)[:, :samples]


def with_context(magnitudes: Float[Array, "frames bins"], context: int) -> Float[Array, "features frames"]:
    """Each frame above the ``context - 1`` before it, oldest first; before the first frame is silence."""
    frames = magnitudes.shape[0]
    padded = jnp.pad(magnitudes, ((context - 1, 0), (0, 0)))
    return jnp.concatenate([padded[begin : begin + frames] for begin in range(context)], axis=1).T


def without_context(stacked: Float[Array, "features frames"], context: int) -> Float[Array, "frames bins"]:
    """The mean of what the columns say of each frame: the inverse of :func:`with_context`."""
    frames = stacked.shape[1]
    parts = jnp.split(stacked.T, context, axis=1)
    # Part `begin` of a column is the frame `context - 1 - begin` before its own.
    later = range(context - 1, -1, -1)
    shifted = [
        jnp.pad(part, ((0, shift), (0, 0)))[shift : shift + frames] for shift, part in zip(later, parts, strict=True)
    ]
    told = jnp.minimum(jnp.arange(frames)[::-1] + 1, context)[:, None]
    return functools.reduce(jnp.add, shifted) / told


def _columns(
    utterances: Sequence[Utterance], features: SpectrumConfig, config: OracleNmfConfig, recordings: Recordings
) -> np.ndarray:
    """Columns of all of a speaker's utterances, each utterance at the level of its speech."""
    matrices = []
    for utterance in utterances:
        recording = recordings.get(utterance.path)
        waveform = recording.waveform / np.float32(recording.level)
        stacked = np.asarray(_stacked(_padded(waveform), features, config.context))
        frames = audio.num_frames(len(waveform), **features.stft)
        matrices.append(stacked[:, : frames : config.stride])
    return np.concatenate(matrices, axis=1)


def _padded(waveform: np.ndarray) -> Float[Array, " padded"]:
    """Zeros up to the next quarter of a second or so, so that few lengths are compiled."""
    missing = -len(waveform) % _BLOCK
    return jnp.asarray(np.pad(np.asarray(waveform, np.float32), (0, missing)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _stacked(
    waveform: Float[Array, " samples"], features: SpectrumConfig, context: int
) -> Float[Array, "features frames"]:
    return with_context(jnp.abs(audio.stft(waveform, **features.stft)), context)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _separate(
    waveform: Float[Array, " samples"],
    bases: Float[Array, "speakers features bases"],
    features: SpectrumConfig,
    config: OracleNmfConfig,
) -> Float[Array, "speakers samples"]:
    speakers, _, count = bases.shape
    spectrum = audio.stft(waveform, **features.stft)
    stacked = with_context(jnp.abs(spectrum), config.context)
    activations, _ = models.nmf_activations(
        stacked, jnp.concatenate(list(bases), axis=1), sparsity=config.sparsity, iterations=config.iterations
    )
    parts = [
        without_context(bases[k] @ activations[k * count : (k + 1) * count], config.context) for k in range(speakers)
    ]
    power = jnp.stack(parts) + 1e-12
    return audio.istft(audio.apply_masks(spectrum, power / power.sum(0)), **features.stft, length=waveform.shape[0])
