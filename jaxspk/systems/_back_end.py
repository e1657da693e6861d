"""What follows a trained speaker network: its vectors, freed of the directions in which one speaker's differ."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Float64, Shaped

from jaxspk import _checks, data
from jaxspk.data import Manifest, Recordings
from jaxspk.errors import ArgumentError
from jaxspk.systems._speaker_encoder import SpeakerEncoder
from jaxspk.systems._speaker_model import BackEndConfig, SpeakerModel

_CROPS_OF_EACH = 3


def fit_back_end(
    encoder: SpeakerEncoder, speakers: Manifest, config: BackEndConfig, *, recordings: Recordings | None = None
) -> SpeakerEncoder:
    """An encoder with a back end, fitted to recordings of its training speakers and crops of them.

    Some hundred speakers are too few to teach a network which differences between two recordings are the room's, the
    microphone's or the sentence's; they are enough to measure them. Speakers with recordings of several sessions tell
    most; the others still say how crops vary, and what another microphone would change.

    Args:
      encoder: without a back end, or with one that is replaced.
      speakers: on whom it was trained.
      config: how.
      recordings: what was read already.

    Raises:
      ArgumentError: there is but one speaker.
      AudioError: a recording cannot be read.
    """
    recordings = recordings or Recordings(encoder.sample_rate)
    system = dataclasses.replace(encoder.config, back_end=config)
    model = SpeakerModel(system, rngs=nnx.Rngs(0))
    model.network = encoder.model.network
    plain = SpeakerEncoder(system, model)
    rng = np.random.default_rng(config.seed)
    vectors, names = [], []
    for utterance in speakers:
        heard = recordings.waveform(utterance.path)
        pieces = [heard]
        for _ in range(config.equalized):
            pieces.append(data.equalize_randomly(heard, rng, config.equalizer_db, encoder.sample_rate))
        for seconds in config.crop_seconds:
            pieces += list(data.evenly_spaced_crops(heard, system.features.samples(seconds), _CROPS_OF_EACH))
        vectors.append(plain.embed(pieces, encoder.sample_rate))
        names += [utterance.speaker] * len(pieces)
    centre, projection = within_class_whitening(np.concatenate(vectors), np.array(names), shrinkage=config.shrinkage)
    if model.back_end is not None:
        model.back_end.centre[...] = jnp.asarray(centre, jnp.float32)
        model.back_end.projection[...] = jnp.asarray(projection, jnp.float32)
    # A new encoder, for one keeps the weights that it has seen first.
    return SpeakerEncoder(system, model)


def without_back_end(encoder: SpeakerEncoder) -> SpeakerEncoder:
    """The encoder as it was trained, to compare with."""
    system = dataclasses.replace(encoder.config, back_end=None)
    model = SpeakerModel(system, rngs=nnx.Rngs(0))
    model.network = encoder.model.network
    return SpeakerEncoder(system, model)


def within_class_whitening(
    vectors: Float[np.ndarray, "items dim"], classes: Shaped[np.ndarray, " items"], *, shrinkage: float = 0.1
) -> tuple[Float64[np.ndarray, " dim"], Float64[np.ndarray, "dim dim"]]:
    r"""The map :math:`y = (x - m) P` after which each class varies equally in all directions, on the average.

    .. math::
        W = \frac{1}{n - C} \sum_c \sum_{i \in c} (x_i - m_c)(x_i - m_c)^\top, \qquad
        P P^\top = \Bigl(W + \lambda \frac{\operatorname{tr} W}{d} I\Bigr)^{-1},

    :math:`m` the mean of all vectors, :math:`m_c` that of a class.

    Args:
      vectors: one a row.
      classes: of each.
      shrinkage: :math:`\lambda`, positive.

    Returns:
      :math:`m` and :math:`P`, lower triangular.

    Raises:
      ArgumentError: there are fewer than two classes, or no class varies.

    References:
      Hatch, Kajarekar, Stolcke, "Within-class covariance normalization for SVM-based speaker recognition",
      Interspeech 2006.
    """
    _checks.check_shape("classes", classes, (len(vectors),), "one a row of `vectors`")
    _checks.check_range("shrinkage", shrinkage, low=0.0, low_open=True)
    points = vectors.astype(np.float64)
    names, numbers = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ArgumentError(f"`classes` must name at least two, got {len(names)}.")
    means = np.zeros((len(names), points.shape[1]))
    np.add.at(means, numbers, points)
    means /= np.bincount(numbers)[:, None]
    apart = points - means[numbers]
    within = apart.T @ apart / max(len(points) - len(names), 1)
    spread = float(np.trace(within)) / len(within)
    if not spread > 0:
        raise ArgumentError("`vectors` must differ within a class, but each class is one point.")
    shrunk = within + shrinkage * spread * np.eye(len(within))
    return points.mean(0), np.linalg.cholesky(np.linalg.inv(shrunk))
