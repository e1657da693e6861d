"""From one vector a frame to one a recording: averages and weighted statistics over valid frames."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.models._convolution import BatchNorm, Maps

PoolingName = Literal["tap", "sap", "asp"]

POOLINGS: Mapping[str, str] = {
    "tap": "temporal average",
    "sap": "self-attentive: a weighted average",
    "asp": "attentive statistics: weighted average and standard deviation",
}
"""The poolings by name."""

# The smallest variance of which a root is taken.
_FLOOR = 1e-5

# Below any logit, and finite: a recording may have no valid frame.
_LOWEST = -1e30


class ScalarAttention(nnx.Module):
    r"""One weight a frame, :math:`\alpha_t = \mathrm{softmax}_t\, u^\top \tanh(A x_t + a)`.

    References:
      Cai, Chen, Li, "Exploring the encoding layer and loss function in end-to-end speaker and language
      recognition system", Odyssey 2018, as in Chung et al., "In defence of metric learning for speaker
      recognition", Interspeech 2020.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.hidden = dense(channels, channels, rngs=rngs)
        self.context = nnx.Param(nnx.initializers.glorot_normal()(rngs.params(), (channels, 1), jnp.float32))

    def __call__(
        self,
        frames: Float[Array, "batch frames channels"],
        frames_mask: Bool[Array, "batch frames"],
        *,
        deterministic: bool,
    ) -> Float[Array, "batch frames 1"]:
        """Weights that sum to one over the valid frames and are zero elsewhere."""
        hidden = jnp.tanh(self.hidden(frames))
        return _softmax_over_frames(hidden @ self.context[...].astype(hidden.dtype), frames_mask)


class ChannelAttention(nnx.Module):
    r"""One weight a frame and channel.

    .. math:: \alpha_t = \mathrm{softmax}_t\bigl(B\, \mathrm{BN}(\mathrm{relu}(A x_t + a)) + b\bigr)

    References:
      Kwon, Heo, Lee, Chung, "The ins and outs of speaker recognition", ICASSP 2021.
    """

    def __init__(self, channels: int, *, units: int = 128, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.hidden = dense(channels, units, rngs=rngs)
        self.norm = BatchNorm(units)
        self.logits = dense(units, channels, rngs=rngs)

    def __call__(
        self,
        frames: Float[Array, "batch frames channels"],
        frames_mask: Bool[Array, "batch frames"],
        *,
        deterministic: bool,
    ) -> Float[Array, "batch frames channels"]:
        """Weights that sum to one over the valid frames and are zero elsewhere."""
        hidden = jax.nn.relu(self.hidden(frames))[:, :, None]
        lengths = jnp.sum(frames_mask, axis=-1, dtype=jnp.int32)
        hidden = self.norm(Maps(hidden, lengths), deterministic=deterministic).values[:, :, 0]
        return _softmax_over_frames(self.logits(hidden), frames_mask)


class TemporalPooling(nnx.Module):
    r"""Statistics of a recording's frames: "tap", "sap" or "asp".

    .. math::
        \mu = \sum_t \alpha_t \odot x_t, \qquad
        \sigma = \sqrt{\max\bigl(\textstyle\sum_t \alpha_t \odot (x_t - \mu)^2,\, 10^{-5}\bigr)}

    TAP is :math:`\mu` with equal weights, SAP :math:`\mu` with weights from an attention, ASP
    :math:`[\mu; \sigma]` with these weights. The gradient of :math:`\sigma` is zero at its floor.

    References:
      SAP as :class:`ScalarAttention`; ASP: Okabe, Koshinaka, Shinoda, `Attentive statistics pooling for deep
      speaker embedding <https://arxiv.org/abs/1803.10963>`_, Interspeech 2018.
    """

    def __init__(self, channels: int, pooling: PoolingName, *, per_channel: bool = False, rngs: nnx.Rngs) -> None:
        """Draws the weights.

        Args:
          channels: of a frame.
          pooling: one of :data:`POOLINGS`.
          per_channel: a weight a frame and channel instead of one a frame.
          rngs: source of the stream ``params``.

        Raises:
          ArgumentError: ``pooling`` is none of them.
        """
        _checks.check_choice("pooling", pooling, POOLINGS)
        attention = ChannelAttention if per_channel else ScalarAttention
        self.attention = None if pooling == "tap" else attention(channels, rngs=rngs)
        self.deviation = pooling == "asp"
        self.outputs = channels * (1 + self.deviation)

    def __call__(
        self,
        frames: Float[Array, "batch frames channels"],
        *,
        frames_mask: Bool[Array, "batch frames"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "batch outputs"]:
        """One vector a recording; of a recording without a valid frame, finite and of no meaning.

        Args:
          frames: a vector a frame; what stands at padded frames counts nowhere.
          frames_mask: True at valid frames, which come first; None is all.
          deterministic: False in training, for the batch norm of a channel-wise attention.
        """
        if frames_mask is None:
            frames_mask = jnp.ones(frames.shape[:2], bool)
        inside = frames_mask[..., None]
        frames = jnp.where(inside, frames, jnp.zeros_like(frames))
        if self.attention is None:
            weights = inside / jnp.maximum(jnp.sum(inside, axis=1, keepdims=True), 1)
        else:
            weights = self.attention(frames, frames_mask, deterministic=deterministic)
        wide = at_least_float32(frames.dtype)
        weights, values = weights.astype(wide), frames.astype(wide)
        mean = jnp.sum(weights * values, axis=1)
        if not self.deviation:
            return mean.astype(frames.dtype)
        variance = jnp.sum(weights * jnp.square(values - mean[:, None]), axis=1)
        floored = jnp.where(variance > _FLOOR, variance, jnp.asarray(_FLOOR, wide))
        return jnp.concatenate([mean, jnp.sqrt(floored)], axis=-1).astype(frames.dtype)


def dense(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer whose weights and biases are uniform within one over the root of ``inputs``."""
    limit = float(inputs) ** -0.5

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return nnx.Linear(inputs, outputs, kernel_init=uniform, bias_init=uniform, rngs=rngs)


def _softmax_over_frames(
    logits: Float[Array, "batch frames channels"], frames_mask: Bool[Array, "batch frames"]
) -> Float[Array, "batch frames channels"]:
    """Zero at frames that are not valid, in at least float32."""
    logits = logits.astype(at_least_float32(logits.dtype))
    inside = frames_mask[..., None]
    highest = jnp.max(logits, axis=1, keepdims=True, where=inside, initial=_LOWEST)
    powers = jnp.where(inside, jnp.exp(jnp.where(inside, logits - lax.stop_gradient(highest), 0)), 0)
    total = jnp.sum(powers, axis=1, keepdims=True)
    return powers / jnp.where(total > 0, total, 1)
