"""Layers over feature maps of recordings of different lengths: convolution, batch norm, pooling of neighbours.

A batch of feature maps carries the number of valid frames of each recording. Every layer keeps one promise: given
maps whose padding is zero, its valid frames are those that the unpadded recording would give, and its batch norm
leaves zeros in the padding, as the border of an unpadded map is zero to the next convolution.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxspk._numerics import at_least_float32

Pair = tuple[int, int]
"""One number for the frames, one for the bands."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Maps:
    """Feature maps of a batch of recordings, padding at the end.

    Attributes:
      values: ``[batch, frames, bands, channels]``.
      lengths: valid frames of each; None where all frames of all are valid.
    """

    values: Float[Array, "batch frames bands channels"]
    lengths: Int[Array, " batch"] | None = None

    def map(self, function: Callable[[Array], Array]) -> "Maps":
        """The same recordings after an elementwise function."""
        return Maps(function(self.values), self.lengths)

    def valid(self) -> Bool[Array, "batch frames 1 1"] | None:
        """True at valid frames; None where all are."""
        if self.lengths is None:
            return None
        return (jnp.arange(self.values.shape[1]) < self.lengths[:, None])[:, :, None, None]

    def without_padding(self) -> "Maps":
        """The same with zeros in the padding, whatever stood there."""
        valid = self.valid()
        return self if valid is None else self.map(lambda values: jnp.where(valid, values, jnp.zeros_like(values)))

    def mean(self) -> Float[Array, "batch channels"]:
        """Over the frames and bands of each recording, whose padding must be zero; in at least float32."""
        _, frames, bands, _ = self.values.shape
        total = jnp.sum(self.values, axis=(1, 2), dtype=at_least_float32(self.values.dtype))
        lengths = frames if self.lengths is None else jnp.maximum(self.lengths, 1).astype(total.dtype)[:, None]
        return total / (lengths * bands)


class Convolution(nnx.Module):
    """Cross-correlation over frames and bands, with zeros beyond the borders.

    Attributes:
      kernel: ``[frames, bands, inputs, outputs]``, drawn as He et al. do for rectifiers, by the fan-out.
      bias: ``[outputs]``, or None.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: Pair = (3, 3),
        strides: Pair = (1, 1),
        padding: Pair = (1, 1),
        bias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        """Draws the weights; each pair is (frames, bands)."""
        self.size, self.strides, self.padding = size, strides, padding
        fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
        self.kernel = nnx.Param(fan_out(rngs.params(), (*size, inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32)) if bias else None

    def __call__(self, maps: Maps) -> Maps:
        """Maps whose padding must be zero, to maps whose padding means nothing."""
        values = convolve(maps.values, self.kernel[...].astype(maps.values.dtype), self.strides, self.padding)
        if self.bias is not None:
            values = values + self.bias[...].astype(values.dtype)
        return Maps(values, _windows(maps.lengths, self.size[0], self.strides[0], self.padding[0]))


class BatchNorm(nnx.Module):
    """Batch normalisation of each channel over the valid frames and all bands of a batch.

    Running statistics follow a batch's by a tenth, with the unbiased variance, as torch keeps them.

    Attributes:
      scale: ``[channels]``, 1 at first.
      bias: ``[channels]``, 0 at first.
      mean: running mean.
      var: running variance.
    """

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def __call__(self, maps: Maps, *, deterministic: bool) -> Maps:
        """Maps with zeros in the padding.

        Args:
          maps: their padding may hold anything finite.
          deterministic: True takes the running statistics; False takes the batch's and moves the running ones.
        """
        if not deterministic:
            values, mean, var, count = _normalize(maps.values, self.scale[...], self.bias[...], maps.valid())
            self._follow(mean, var * (count / jnp.maximum(count - 1, 1)))
            return Maps(values, maps.lengths)
        wide = at_least_float32(maps.values.dtype)
        slope = lax.rsqrt(self.var[...].astype(wide) + _EPSILON) * self.scale[...].astype(wide)
        offset = self.bias[...].astype(wide) - self.mean[...].astype(wide) * slope
        return maps.map(lambda values: (values * slope + offset).astype(values.dtype)).without_padding()

    def _follow(self, mean: Float[Array, " channels"], var: Float[Array, " channels"]) -> None:
        for statistic, new in ((self.mean, mean), (self.var, var)):
            old = statistic[...]
            statistic[...] = old + _MOMENTUM * (new.astype(old.dtype) - old)


def max_pool(maps: Maps, *, size: Pair, strides: Pair, padding: Pair = (0, 0)) -> Maps:
    """The largest value of each window; the maps must be non-negative, for padding counts as zero."""
    values = lax.reduce_window(
        maps.values,
        -jnp.inf,
        lax.max,
        (1, *size, 1),
        (1, *strides, 1),
        ((0, 0), *((side, side) for side in padding), (0, 0)),
    )
    return Maps(values, _windows(maps.lengths, size[0], strides[0], padding[0])).without_padding()


def windows(length: int, size: int, stride: int, padding: int) -> int:
    """How many windows fit in an axis with padding on both sides; 0 or less where none does."""
    return (length + 2 * padding - size) // stride + 1


_EPSILON, _MOMENTUM = 1e-5, 0.1


def _windows(lengths: Int[Array, " batch"] | None, size: int, stride: int, padding: int) -> Int[Array, " batch"] | None:
    if lengths is None:
        return None
    # An empty recording stays empty though its zeros could fill windows.
    return jnp.where(lengths > 0, jnp.maximum((lengths + 2 * padding - size) // stride + 1, 0), 0)


# --- Convolution, with a reverse-mode rule that keeps XLA's fusions out of the kernel's gradient. ---


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    inputs: Float[Array, "batch frames bands inputs"],
    kernel: Float[Array, "kernel_frames kernel_bands inputs outputs"],
    strides: Pair,
    padding: Pair,
) -> Float[Array, "batch new_frames new_bands outputs"]:
    """Cross-correlation with as many zeros on both sides of an axis as ``padding`` says."""
    return _correlate(inputs, kernel, strides, padding)


def _correlate(inputs: Array, kernel: Array, strides: Pair, padding: Pair) -> Array:
    return lax.conv_general_dilated(
        inputs,
        kernel,
        strides,
        tuple((side, side) for side in padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _convolve_forward(inputs: Array, kernel: Array, strides: Pair, padding: Pair) -> tuple[Array, tuple[Array, Array]]:
    return _correlate(inputs, kernel, strides, padding), (inputs, kernel)


def _convolve_backward(
    strides: Pair, padding: Pair, residuals: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    inputs, kernel = residuals
    _, to_inputs = jax.vjp(lambda inputs: _correlate(inputs, kernel, strides, padding), inputs)
    in_memory = lax.platform_dependent(inputs, cpu=_in_memory, default=lambda values: values)
    _, to_kernel = jax.vjp(lambda kernel: _correlate(in_memory, kernel, strides, padding), kernel)
    return to_inputs(cotangent)[0], to_kernel(cotangent)[0]


def _in_memory(values: Float[Array, "batch frames bands channels"]) -> Float[Array, "batch frames bands channels"]:
    """The same values, through a product with the identity, into which XLA fuses nothing.

    The kernel's gradient reads its inputs transposed, channels first and recordings last. XLA on CPU would compute all
    that led to them anew inside that transposition, in an order that misses every cache (and it removes an
    ``optimization_barrier`` before it fuses): a quarter of a training step of 80 recordings.
    """
    return values @ jnp.eye(values.shape[-1], dtype=values.dtype)


convolve.defvjp(_convolve_forward, _convolve_backward)


# --- Batch norm of a batch, with its reverse-mode rule: autodiff keeps and passes over more arrays of this size. ---


@jax.custom_vjp
def _normalize(
    values: Float[Array, "batch frames bands channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    valid: Bool[Array, "batch frames 1 1"] | None,
) -> tuple[Array, Float[Array, " channels"], Float[Array, " channels"], Float[Array, ""]]:
    """Normalised values, zero in the padding; mean, biased variance and number of the values they are of.

    The last three are for running statistics and pass no gradient.
    """
    return _normalize_forward(values, scale, bias, valid)[0]


def _normalize_forward(
    values: Array, scale: Array, bias: Array, valid: Array | None
) -> tuple[tuple[Array, Array, Array, Array], tuple[Any, ...]]:
    x = _inside(values, valid)
    batch, frames, bands, _ = values.shape
    count = jnp.asarray((batch * frames if valid is None else jnp.sum(valid)) * bands, x.dtype)
    share = 1 / jnp.maximum(count, 1)
    mean = jnp.sum(x, axis=_OVER) * share
    var = jnp.sum(jnp.square(_inside(x - mean, valid)), axis=_OVER) * share
    inverse = lax.rsqrt(var + _EPSILON)
    slope = inverse * scale.astype(x.dtype)
    normalized = _inside(x * slope + (bias.astype(x.dtype) - mean * slope), valid).astype(values.dtype)
    return (normalized, mean, var, count), (values, scale, bias, valid, mean, inverse, share)


def _normalize_backward(
    residuals: tuple[Any, ...], cotangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array, Array, None]:
    r"""With :math:`\hat x` normalised: :math:`\gamma (g - \overline{g} - \hat x\, \overline{g \hat x}) / \sigma`."""
    values, scale, bias, valid, mean, inverse, share = residuals
    x, g = values.astype(mean.dtype), _inside(cotangents[0], valid)
    for_bias = jnp.sum(g, axis=_OVER)
    for_scale = jnp.sum(g * (x - mean), axis=_OVER) * inverse
    slope = inverse * scale.astype(mean.dtype)
    along_x = slope * inverse * share * for_scale
    for_values = g * slope - x * along_x + (mean * along_x - slope * share * for_bias)
    return (
        _inside(for_values, valid).astype(values.dtype),
        for_scale.astype(scale.dtype),
        for_bias.astype(bias.dtype),
        None,
    )


_normalize.defvjp(_normalize_forward, _normalize_backward)


_OVER = (0, 1, 2)


def _inside(values: Array, valid: Array | None) -> Array:
    """In at least float32, zero in the padding."""
    wide = values.astype(at_least_float32(values.dtype))
    return wide if valid is None else jnp.where(valid, wide, jnp.zeros_like(wide))
