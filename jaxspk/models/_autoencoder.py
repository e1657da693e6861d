"""The regularized siamese network's autoencoder: logistic layers to a code, and their mirror image back."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError


class SiameseNetwork(nnx.Module):
    r"""A deep autoencoder of frames; both twins of a siamese pair are this one network.

    .. math::
        h_0 = x, \quad u_k = h_{k-1} W_k + b_k, \quad h_k = \sigma(u_k), \quad k = 1 \dots K,

    where :math:`h_K` is the code. The decoder has the same sizes in reverse, logistic units but for its last layer,
    which is linear. Decoder, output and sizes are this project's choice: the readable part of the paper gives none.

    Attributes:
      encoder: K layers, the code layer last.
      decoder: K layers, from the code back to the input.

    References:
      Chen and Salman, *Extracting speaker-specific information with a regularized siamese deep network*, NIPS 2011,
      appendix (the code layer).
    """

    def __init__(
        self,
        inputs: int,
        units: Sequence[int],
        *,
        tied: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the weights.

        Args:
          inputs: numbers in a frame.
          units: of each encoder layer, the code layer last; at least one layer.
          tied: take the encoder's matrices, transposed, for the decoder, which then has biases alone.
          dtype: what to compute in; None follows frames and weights.
          rngs: source of the stream ``params``.

        Raises:
          ArgumentError: a size is not positive, or there is no layer.
        """
        if not units:
            raise ArgumentError("`units` must name the size of at least one layer, the code layer, got none.")
        for size in (inputs, *units):
            _checks.check_range("inputs and units", size, low=1)
        sizes = (inputs, *units)
        self.tied, self.dtype = tied, dtype
        self.encoder = nnx.List([LogisticLayer(*pair, rngs=rngs) for pair in itertools.pairwise(sizes)])
        back = sizes[::-1]
        self.decoder = nnx.List([LogisticLayer(*pair, shared=tied, rngs=rngs) for pair in itertools.pairwise(back)])

    @property
    def code_units(self) -> int:
        """Numbers in a code."""
        return int(self.encoder[-1].bias.shape[0])

    def preactivations(self, frames: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """Total inputs :math:`u_K` of the code layer."""
        hidden = frames if self.dtype is None else frames.astype(self.dtype)
        for layer in self.encoder[:-1]:
            hidden = logistic(layer(hidden))
        code: Array = self.encoder[-1](hidden)
        return code

    def encode(self, frames: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """Codes of frames, between 0 and 1."""
        return logistic(self.preactivations(frames))

    def decode(self, codes: Float[Array, "*batch units"]) -> Float[Array, "*batch inputs"]:
        """Frames that codes stand for."""
        hidden = codes
        for place, layer in enumerate(self.decoder):
            hidden = layer(hidden, self.mirrored_kernel(place))
            if place < len(self.decoder) - 1:
                hidden = logistic(hidden)
        return hidden

    def mirrored_kernel(self, place: int) -> Float[Array, "inputs outputs"] | None:
        """The matrix that a decoder layer shares with its encoder layer; None where it has its own."""
        if not self.tied:
            return None
        matrix: Array = self.encoder[-1 - place].kernel[...].T
        return matrix


class LogisticLayer(nnx.Module):
    """An affine map whose sum goes through the logistic function, which is left to the caller.

    Attributes:
      kernel: ``[inputs, outputs]``, None where it is another layer's.
      bias: ``[outputs]``.
    """

    def __init__(self, inputs: int, outputs: int, *, shared: bool = False, rngs: nnx.Rngs) -> None:
        """Draws the weights: uniform in four times Glorot's range, as suits the logistic function."""
        limit = 4.0 * (6.0 / (inputs + outputs)) ** 0.5
        drawn = None if shared else jax.random.uniform(rngs.params(), (inputs, outputs), jnp.float32, -limit, limit)
        self.kernel: Any = nnx.data(None if drawn is None else nnx.Param(drawn))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(
        self, inputs: Float[Array, "*batch inputs"], kernel: Float[Array, "inputs outputs"] | None = None
    ) -> Float[Array, "*batch outputs"]:
        """The sums; ``kernel`` stands for a shared one."""
        matrix: Array = self.kernel[...] if kernel is None else kernel
        return inputs @ matrix.astype(inputs.dtype) + self.bias[...].astype(inputs.dtype)


def logistic(sums: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logistic function; by the hyperbolic tangent, which XLA vectorizes on a CPU."""
    return 0.5 * jnp.tanh(0.5 * sums) + 0.5
