"""Features of zero mean and unit variance: per utterance, or by statistics that travel with a model."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.errors import ArgumentError

# What torch's InstanceNorm1d adds to the variance.
_INSTANCE_EPSILON = 1e-5


def normalize_utterance(
    features: Float[Array, "*batch frames bins"], where: Bool[Array, "*batch frames"] | None = None
) -> Float[Array, "*batch frames bins"]:
    r"""Zero mean and unit variance over the frames and bins of each utterance.

    .. math:: y = (x - \mu) / \sigma, \qquad \mu = \mathrm{mean}_{tk}\, x_{tk},
        \quad \sigma^2 = \mathrm{mean}_{tk}\, (x_{tk} - \mu)^2

    Args:
      features: for instance of :func:`log_magnitude`.
      where: the frames that belong to the utterance; None is all.

    Returns:
      The same shape, at least float32. Frames outside ``where`` are zero and count nowhere; constant features
      become zero.
    """
    features, inside = _checked(features, where)
    count = jnp.maximum(jnp.sum(inside, axis=(-2, -1), keepdims=True) * features.shape[-1], 1).astype(features.dtype)

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(inside, values, 0), axis=(-2, -1), keepdims=True) / count

    average = mean(features)
    centred = features - average
    centred = jnp.where(inside, centred - mean(centred), 0)  # Twice, for the first mean is rounded.
    variance = mean(jnp.square(centred))
    # What rounding leaves of a constant is no signal.
    constant = variance <= jnp.square(average * float(np.finfo(features.dtype).eps))
    return jnp.where(constant, 0, centred / jnp.sqrt(jnp.where(constant, 1, variance)))


def normalize_bands(
    features: Float[Array, "*batch frames bands"], where: Bool[Array, "*batch frames"] | None = None
) -> Float[Array, "*batch frames bands"]:
    r"""Zero mean and unit variance over the frames of each utterance, band by band (instance normalisation).

    .. math:: y_{tk} = (x_{tk} - \mu_k) / \sqrt{\sigma_k^2 + 10^{-5}}, \qquad \mu_k = \mathrm{mean}_t\, x_{tk},
        \quad \sigma_k^2 = \mathrm{mean}_t\, (x_{tk} - \mu_k)^2

    Args:
      features: for instance of :func:`log_mel`.
      where: the frames that belong to the utterance; None is all.

    Returns:
      The same shape, at least float32. Frames outside ``where`` are zero and count nowhere.

    Note:
      The constant matters: linear powers far below it, as quiet recordings have in high bands, stay small.
    """
    features, inside = _checked(features, where)
    count = jnp.maximum(jnp.sum(inside, axis=-2, keepdims=True), 1).astype(features.dtype)

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(inside, values, 0), axis=-2, keepdims=True) / count

    centred = jnp.where(inside, features - mean(features), 0)
    return centred * jax.lax.rsqrt(mean(jnp.square(centred)) + _INSTANCE_EPSILON)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """Mean and standard deviation of each feature, taken from training data and kept with the model.

    Attributes:
      mean: ``[bins]``.
      std: ``[bins]``, positive; 1 for a feature that never changed.

    Example:
      >>> import jax.numpy as jnp
      >>> statistics = Normalization.fit(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> statistics.apply(jnp.array([[3.0, 6.0]])).tolist()
      [[1.0, 1.0]]
    """

    mean: Float[Array, " bins"] | Float[np.ndarray, " bins"]
    std: Float[Array, " bins"] | Float[np.ndarray, " bins"]

    @classmethod
    def fit(
        cls,
        features: Float[Array, "*batch frames bins"]
        | Float[np.ndarray, "*batch frames bins"]
        | Iterable[Float[Array, "*_ bins"] | Float[np.ndarray, "*_ bins"]],
    ) -> "Normalization":
        """Statistics over all axes but the last, accumulated in float64 on the host.

        Args:
          features: one array, or several of any lengths, for instance an utterance each; read once, one at a
            time.

        Raises:
          ArgumentError: no frame at all, different numbers of bins, or values that are not finite.
        """
        arrays = [features] if hasattr(features, "ndim") else features
        count, mean, squares = 0, np.zeros(0), np.zeros(0)
        for array in arrays:
            frames = np.asarray(array, np.float64)
            frames = frames.reshape(-1, frames.shape[-1])
            if not np.isfinite(frames).all():
                raise ArgumentError("`features` must be finite, got NaN or infinity.")
            if len(frames) == 0:
                continue
            if count == 0:
                mean, squares = np.zeros(frames.shape[-1]), np.zeros(frames.shape[-1])
            _checks.check_shape("features", frames, (len(frames), len(mean)), "as many bins in each")
            # Chan, Golub and LeVeque's pairwise update: exact where sums of squares would cancel.
            total = count + len(frames)
            centre = frames.mean(0)
            squares += np.square(frames - centre).sum(0) + np.square(centre - mean) * (count * len(frames) / total)
            mean = mean + (centre - mean) * (len(frames) / total)
            count = total
        if count == 0:
            raise ArgumentError("`features` must hold at least one frame, got none.")
        std = np.sqrt(squares / count)
        std = np.where(std > 1e-12 * np.abs(mean), std, 1.0)
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))

    def apply(self, features: Float[Array, "*batch frames bins"]) -> Float[Array, "*batch frames bins"]:
        """``(features - mean) / std``, in the dtype of ``features``, computed in at least float32."""
        _checks.check_floating("features", features)
        _checks.check_shape("features", features, (*features.shape[:-1], *self.mean.shape), "the fitted bins")
        wide = at_least_float32(features.dtype)
        normalized = (features.astype(wide) - jnp.asarray(self.mean, wide)) / jnp.asarray(self.std, wide)
        return normalized.astype(features.dtype)

    def to_dict(self) -> dict[str, list[float]]:
        """As JSON may hold it, exactly."""
        return {"mean": np.asarray(self.mean).tolist(), "std": np.asarray(self.std).tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Normalization":
        """From :meth:`to_dict`.

        Raises:
          ArgumentError: other keys, lengths that differ, or values that are no statistics.
        """
        if set(values) != {"mean", "std"}:
            raise ArgumentError(f"a normalization has the keys mean and std, got {sorted(values)}.")
        try:
            mean, std = (np.asarray(values[key], np.float32) for key in ("mean", "std"))
        except (TypeError, ValueError):
            raise ArgumentError("a normalization's mean and std must be lists of numbers.") from None
        if mean.ndim != 1 or mean.shape != std.shape or not mean.size:
            raise ArgumentError(
                f"`mean` and `std` must be lists of one length, got shapes {mean.shape} and {std.shape}."
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ArgumentError("`mean` must be finite and `std` finite and positive.")
        return cls(jnp.asarray(mean), jnp.asarray(std))


def _checked(features: Array, where: Array | None) -> tuple[Array, Array]:
    """Features in at least float32, and which of their frames are valid, ``[*batch, frames, 1]``."""
    _checks.check_floating("features", features)
    _checks.check_rank("features", features, 2, "frames, bins")
    if where is None:
        where = jnp.ones(features.shape[:-1], bool)
    _checks.check_shape("where", where, features.shape[:-1], "the frames of `features`")
    return features.astype(at_least_float32(features.dtype)), where[..., None]
