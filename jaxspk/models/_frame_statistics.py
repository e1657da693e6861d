"""An embedding of a small picture from what its bands are like over time: their means, spreads and restlessness.

The colour of a voice and of its microphone lies in these statistics; which sound is spoken, which order the sounds
have, does not. A network that is given nothing else needs few recordings and next to no time.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.models._densenet import BranchNorm

_STATISTICS = 3


class StatisticsNetwork(nnx.Module):
    r"""Statistics over time of each band, one hidden layer, an embedding.

    Of the picture :math:`p_{tf}`, whose own mean is taken away first, so that loudness says nothing:

    .. math::

        \mu_f = \operatorname*{mean}_t p_{tf}, \qquad \sigma_f = \operatorname*{std}_t p_{tf}, \qquad
        \delta_f = \operatorname*{std}_t\,(p_{t+1,f} - p_{tf})

    each scaled by its mean and deviation over the batch, a dense layer, batch norm, a rectifier, a dense layer.

    Attributes:
      shape: frames (rows) and bands of what it reads.
      dim: length of an embedding.
      statistics_norm: of the three statistics of each band.
      hidden: the first dense layer; None where ``units`` is 0, which leaves a linear map of the statistics.
      hidden_norm: after it, likewise.
      embedding: the last dense layer.

    References:
      Snyder et al., "Deep neural network embeddings for text-independent speaker verification", Interspeech 2017
      (pooling of means and deviations over time).
    """

    def __init__(
        self,
        shape: tuple[int, int] = (40, 64),
        *,
        dim: int = 64,
        units: int = 256,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the weights.

        Args:
          shape: frames and bands of what it reads, at least two frames.
          dim: length of an embedding.
          units: of the hidden layer; 0 has none.
          dtype: what to compute in after the statistics; None follows features and weights.
          rngs: source of the stream ``params``.

        Raises:
          ArgumentError: a size is not positive.
        """
        _checks.check_range("shape[0]", shape[0], low=2)
        for name, number in (("shape[1]", shape[1]), ("dim", dim)):
            _checks.check_range(name, number, low=1)
        _checks.check_range("units", units, low=0)
        self.shape, self.dim, self.dtype = tuple(shape), dim, dtype
        inputs = _STATISTICS * shape[1]
        self.statistics_norm = BranchNorm(inputs)
        self.hidden = nnx.data(None)
        self.hidden_norm = nnx.data(None)
        if units:
            self.hidden = nnx.data(
                nnx.Linear(inputs, units, use_bias=False, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
            )
            self.hidden_norm = nnx.data(BranchNorm(units))
        self.embedding = nnx.Linear(units or inputs, dim, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)

    def __call__(
        self, features: Float[Array, "*batch frames bands"], *, deterministic: bool = True, branches: int = 1
    ) -> Float[Array, "*batch dim"]:
        """One embedding a picture, not scaled to any length; the arguments are those of :class:`DenseNet121`."""
        _checks.check_floating("features", features)
        _checks.check_rank("features", features, 2, "frames, bands")
        batch = features.shape[:-2]
        _checks.check_shape("features", features, (*batch, *self.shape), "what the network was made for")
        dtype = self.dtype or jnp.promote_types(features.dtype, self.embedding.kernel[...].dtype)
        statistics = band_statistics(features).reshape(-1, _STATISTICS * self.shape[1]).astype(dtype)
        hidden = _normed(self.statistics_norm, statistics, deterministic, branches)
        if self.hidden is not None and self.hidden_norm is not None:
            hidden = jax.nn.relu(_normed(self.hidden_norm, self.hidden(hidden), deterministic, branches))
        embeddings: Array = self.embedding(hidden)
        return embeddings.reshape(*batch, self.dim)


def band_statistics(features: Float[Array, "*batch frames bands"]) -> Float[Array, "*batch statistics"]:
    """Mean, deviation and deviation of the differences over time of each band, one kind behind the other.

    The mean of the whole picture is taken away first; in at least float32.

    Example:
      >>> band_statistics(jnp.array([[1.0, 3.0], [1.0, 5.0]])).round(2).tolist()
      [-1.5, 1.5, 0.0, 1.0, 0.0, 0.0]
    """
    wide = features.astype(at_least_float32(features.dtype))
    centred = wide - jnp.mean(wide, axis=(-2, -1), keepdims=True)
    return jnp.concatenate(
        [jnp.mean(centred, axis=-2), _deviation(centred), _deviation(jnp.diff(centred, axis=-2))], axis=-1
    )


def _deviation(values: Float[Array, "*batch frames bands"]) -> Float[Array, "*batch bands"]:
    variance = jnp.var(values, axis=-2)
    # The root of zero has no finite gradient.
    silent = variance == 0
    deviation: Array = jnp.where(silent, 0, jnp.sqrt(jnp.where(silent, 1, variance)))
    return deviation


def _normed(norm: BranchNorm, rows: Float[Array, "items units"], deterministic: bool, branches: int) -> Array:
    normed: Array = norm(rows[:, None, None, :], deterministic=deterministic, branches=branches).reshape(rows.shape)
    return normed
