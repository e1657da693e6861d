"""The embedding network of deep clustering: bidirectional LSTM, dense layer, one unit vector per bin."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jaxspk import _checks, _numerics
from jaxspk.errors import ArgumentError
from jaxspk.models._recurrence import Recurrence, recurrence

Activation = Literal["tanh", "logistic"]

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "logistic": jax.nn.sigmoid}

# A pre-activation at which the logistic function is exactly 0 in every floating dtype.
_CLOSED = -1e30


class BidirectionalLSTM(nnx.Module):
    r"""One LSTM layer that reads its input in both directions.

    With :math:`(i, f, g, o)` the four parts of :math:`W x_t + U h_{t-1} + b`, in this order,

    .. math::
        c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g), \qquad h_t = \sigma(o) \odot \tanh(c_t),

    one bias per gate, no peepholes. The second direction runs from the last valid frame to the first.

    Attributes:
      input_kernel: :math:`W^\top` of both directions, ``[2, inputs, 4 * units]``.
      recurrent_kernel: :math:`U^\top` of both directions, ``[2, units, 4 * units]``.
      bias: ``[2, 4 * units]``; that of the forget gate starts at 1.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        initial_std: float | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the weights.

        Args:
          inputs: features per frame.
          units: cells **per direction**; the output has twice as many.
          initial_std: standard deviation of normal initial weights, as in CURRENNT; ``None`` takes
            Glorot-uniform input weights and orthogonal recurrent ones.
          dtype: what to compute in; ``None`` follows the input and the weights. Cell states are float32 at
            least.
          rngs: source of the stream ``params``.
        """
        for_input, for_recurrence = _initializers(initial_std)
        self.units = units
        self.dtype = dtype
        self.input_kernel = nnx.Param(jnp.stack([_per_gate(for_input, rngs.params(), inputs, units) for _ in range(2)]))
        self.recurrent_kernel = nnx.Param(
            jnp.stack([_per_gate(for_recurrence, rngs.params(), units, units) for _ in range(2)])
        )
        # An open forget gate lets gradients pass through time from the first step on.
        self.bias = nnx.Param(jnp.zeros((2, 4, units), jnp.float32).at[:, 1].set(1.0).reshape(2, 4 * units))

    def __call__(
        self,
        inputs: Float[Array, "batch frames inputs"],
        *,
        frames_mask: Bool[Array, "batch frames"] | None = None,
        recurrence: Recurrence = recurrence,
    ) -> Float[Array, "batch frames outputs"]:
        """Hidden states of both directions side by side, forward ones first.

        Args:
          inputs: one vector per frame.
          frames_mask: False for padding, which stands at the end of a sequence. No valid frame depends on it;
            what comes out at padded frames is finite and means nothing.
          recurrence: the loop over time; :func:`recurrence_plain` where forward mode is wanted.
        """
        dtype = self.dtype or jnp.promote_types(inputs.dtype, self.bias.dtype)
        inputs, input_kernel, recurrent_kernel, bias = (
            x.astype(dtype) for x in (inputs, self.input_kernel[...], self.recurrent_kernel[...], self.bias[...])
        )
        if frames_mask is not None:
            # 0 * nan would be nan: padding must be numbers before anything is multiplied by 0.
            inputs = jnp.where(frames_mask[..., None], inputs, jnp.zeros_like(inputs))
        by_time = jnp.swapaxes(inputs, 0, 1)
        forward = by_time @ input_kernel[0] + bias[0]
        backward = by_time @ input_kernel[1] + bias[1]
        if frames_mask is not None:
            # Reading backwards, the padding comes first. With the input gate shut the cell and its output
            # stay exactly 0 until the last valid frame, which is where an unpadded sequence starts.
            padded = ~frames_mask.T[..., None]
            in_input_gate = jnp.arange(4 * self.units) < self.units
            backward = jnp.where(padded & in_input_gate, jnp.asarray(_CLOSED, dtype), backward)
        hidden = recurrence(jnp.stack([forward, jnp.flip(backward, 0)], 1), recurrent_kernel)
        hidden = jnp.concatenate([hidden[:, 0], jnp.flip(hidden[:, 1], 0)], axis=-1)
        return jnp.swapaxes(hidden, 0, 1)


class EmbeddingNetwork(nnx.Module):
    r"""One unit vector per time-frequency bin, by stacked bidirectional LSTM layers and a dense layer.

    .. math:: v_{tf} = z_{tf} / \lVert z_{tf} \rVert, \qquad z = \phi(\mathrm{BLSTM}(x) W + b)

    References:
      Hershey et al., `Deep clustering <https://arxiv.org/abs/1508.04306>`_, ICASSP 2016 (2 layers of 600
      units, 40 dimensions, tanh); Isik et al., `Single-channel multi-speaker separation using deep clustering
      <https://arxiv.org/abs/1607.02173>`_, Interspeech 2016 (4 layers of 300 units, dropout).
    """

    def __init__(
        self,
        bins: int,
        *,
        layers: int = 2,
        units: int = 600,
        dim: int = 40,
        activation: Activation = "tanh",
        dropout: float = 0.0,
        initial_std: float | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the weights.

        Args:
          bins: frequency bins per frame.
          layers: bidirectional LSTM layers.
          units: cells **per direction** and layer. Toolkits differ: in CURRENNT, which Hershey et al. used,
            the size of a bidirectional layer is the total of both directions, so that their "600" may be
            ``units=300``.
          dim: length of an embedding; at least the number of sources for the loss to reach 0.
          activation: "tanh", or "logistic", with which all affinities are non-negative. Logistic embeddings
            start out nearly equal (about 0.5 everywhere): start from a network trained with "tanh".
          dropout: share of the inputs of every LSTM layer but the first that is set to 0 in training.
          initial_std: standard deviation of normal initial weights, as CURRENNT counts its 0.1 (the
            "variance" in notes on the paper); ``None`` takes Glorot-uniform input weights and orthogonal
            recurrent ones.
          dtype: what to compute in, and the dtype of the embeddings; ``None`` follows the features and the
            weights. Weights are float32.
          rngs: source of the stream ``params``.

        Raises:
          ArgumentError: a size is not positive, or another argument is outside its range.
        """
        for name, size in (("bins", bins), ("layers", layers), ("units", units), ("dim", dim)):
            _checks.check_range(name, size, low=1)
        _checks.check_choice("activation", activation, _ACTIVATIONS)
        _checks.check_range("dropout", dropout, low=0.0, high=0.999)
        if initial_std is not None:
            _checks.check_range("initial_std", initial_std, low=0.0, low_open=True)
        self.bins = bins
        self.dim = dim
        self.activation = activation
        self.dropout = dropout
        self.dtype = dtype
        self.layers = nnx.List(
            [
                BidirectionalLSTM(
                    bins if layer == 0 else 2 * units, units, initial_std=initial_std, dtype=dtype, rngs=rngs
                )
                for layer in range(layers)
            ]
        )
        for_input, _ = _initializers(initial_std)
        self.kernel = nnx.Param(for_input(rngs.params(), (2 * units, bins * dim), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(bins * dim, jnp.float32))

    def __call__(
        self,
        features: Float[Array, "*batch frames bins"],
        *,
        frames_mask: Bool[Array, "*batch frames"] | None = None,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "*batch frames*bins dim"]:
        """Embeddings of all bins, in the order of ``x.reshape(*batch, frames * bins)``.

        Args:
          features: log magnitudes, normalised.
          frames_mask: False for padding at the end of an utterance. Embeddings of valid frames are those of
            the unpadded utterance; embeddings of padded frames are finite and mean nothing.
          deterministic: False in training, for dropout.
          rngs: source of the stream ``dropout``; needed when ``deterministic`` is False and there is dropout.

        Returns:
          Vectors of unit length (of length 0 where all activations are exactly 0).

        Raises:
          ArgumentError: wrong shapes, or dropout without ``rngs``.
        """
        _checks.check_floating("features", features)
        _checks.check_rank("features", features, 2, "frames, bins")
        *batch, frames, bins = features.shape
        _checks.check_shape("features", features, (*batch, frames, self.bins), f"{self.bins} bins per frame")
        if frames_mask is not None:
            _checks.check_shape("frames_mask", frames_mask, (*batch, frames), "one per frame of `features`")
            frames_mask = frames_mask.reshape(-1, frames)
        dropping = not deterministic and self.dropout > 0
        if dropping and rngs is None:
            raise ArgumentError("`rngs` is needed for dropout: pass `rngs=nnx.Rngs(dropout=key)`.")

        hidden = features.reshape(-1, frames, bins)
        for index, layer in enumerate(self.layers):
            if index > 0 and dropping and rngs is not None:
                hidden = _drop(hidden, self.dropout, rngs.dropout())
            hidden = layer(hidden, frames_mask=frames_mask)
        kernel, bias = self.kernel[...].astype(hidden.dtype), self.bias[...].astype(hidden.dtype)
        activations = _ACTIVATIONS[self.activation](hidden @ kernel + bias)
        return _unit_length(activations.reshape(*batch, frames * bins, self.dim))


def _unit_length(activations: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
    """Vectors of unit length; zero vectors stay zero.

    Activations are at most 1, so their squares need none of ``_numerics.normalize``'s guard against overflow,
    which takes three times as long here, on the largest array of the network.
    """
    wide = activations.astype(_numerics.at_least_float32(activations.dtype))
    squared = jnp.sum(jnp.square(wide), axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(jnp.where(squared == 0, jnp.ones_like(squared), squared))).astype(activations.dtype)


def _drop(values: Array, rate: float, key: Array) -> Array:
    """Sets a share of the values to 0 and scales the rest up, so that the expectation stays."""
    kept = jax.random.bernoulli(key, 1 - rate, values.shape)
    return jnp.where(kept, values / jnp.asarray(1 - rate, values.dtype), jnp.zeros_like(values))


Initializer = Callable[[Array, tuple[int, ...], DTypeLike], Array]


def _initializers(initial_std: float | None) -> tuple[Initializer, Initializer]:
    """Initialisers of weights on inputs and on recurrent connections."""
    if initial_std is None:
        return nnx.initializers.glorot_uniform(), nnx.initializers.orthogonal()
    normal = nnx.initializers.normal(initial_std)
    return normal, normal


def _per_gate(initializer: Initializer, key: Array, inputs: int, units: int) -> Float[Array, "inputs gates"]:
    """The four gates' weights side by side, each drawn with its own fan-in and fan-out."""
    keys = jax.random.split(key, 4)
    return jnp.concatenate([initializer(k, (inputs, units), jnp.float32) for k in keys], axis=-1)
