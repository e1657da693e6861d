"""Softmax over the training speakers plus angular prototypical over the batch. Derivation: that of its two parts."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.losses._classification import SOFTMAX, prepare_softmax
from jaxspk.losses._prototypes import ANGULAR, PrototypeOptions, prepare_angular
from jaxspk.losses._rule import Rule


def softmax_prototypical_loss(
    embeddings: Float[Array, "*batch speakers 2 dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch speakers"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    r"""Mean softmax loss of a speaker's two utterances plus the speaker's angular prototypical loss.

    Both with weight one, as in the public code of Chung et al.'s later papers, whose value is the mean of ours over
    the speakers.

    Args:
      embeddings: exactly two utterances of each speaker; the first is the query of the prototypical part.
      class_weights: as in :func:`softmax_loss`.
      class_bias: as in :func:`softmax_loss`.
      labels: class of each speaker, 0 to ``classes - 1``; any other label makes the speaker's loss NaN.
      scale: as in :func:`angular_prototypical_loss`.
      bias: as in :func:`angular_prototypical_loss`.
      chunk_size: as in :func:`angular_prototypical_loss`; the softmax part takes no notice of it.

    Returns:
      One loss per speaker in nats, at least float32, not reduced.

    Raises:
      ArgumentTypeError: an argument is not floating.
      ArgumentError: shapes disagree, or there are not two utterances of each speaker.

    Note:
      Differentiable in all but ``labels``. Reverse mode; for ``jax.jvp`` take
      :func:`softmax_prototypical_loss_plain`.

    References:
      Heo et al., `Clova baseline system for the VoxCeleb speaker recognition challenge 2020
      <https://arxiv.org/abs/2009.14153>`_.
    """
    options, arrays = _prepare(embeddings, class_weights, class_bias, labels, scale, bias, chunk_size)
    return _SOFTMAX_PROTOTYPICAL.loss(options, arrays)


def softmax_prototypical_loss_plain(
    embeddings: Float[Array, "*batch speakers 2 dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch speakers"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    """The value of :func:`softmax_prototypical_loss` with no custom rule."""
    options, arrays = _prepare(embeddings, class_weights, class_bias, labels, scale, bias, chunk_size)
    return _SOFTMAX_PROTOTYPICAL.plain(options, arrays)


def softmax_prototypical_loss_grad(
    embeddings: Float[Array, "*batch speakers 2 dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch speakers"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch speakers"] | None = None,
) -> tuple[
    Float[Array, "*batch speakers 2 dim"],
    Float[Array, "classes dim"],
    Float[Array, " classes"],
    Float[Array, ""],
    Float[Array, ""],
]:
    """Gradient of :func:`softmax_prototypical_loss` in embeddings, class weights, class bias, scale and bias."""
    options, arrays = _prepare(embeddings, class_weights, class_bias, labels, scale, bias, chunk_size)
    given = (embeddings, class_weights, class_bias, scale, bias)
    of_x, of_w, of_b, of_scale, of_bias = _SOFTMAX_PROTOTYPICAL.grad(options, arrays, cotangent, given)
    return of_x, of_w, of_b, of_scale, of_bias


# --- Checks. ---


def _prepare(
    embeddings: Any, class_weights: Any, class_bias: Any, labels: Any, scale: Any, bias: Any, chunk_size: int | None
) -> tuple[PrototypeOptions, tuple[Array, ...]]:
    options, (x, scale, bias) = prepare_angular(embeddings, scale, bias, "raw", False, chunk_size)
    if x.shape[-2] != 2:
        raise ArgumentError(
            f"`embeddings` must be [*batch, speakers, 2, dim], exactly two utterances a speaker, got shape {x.shape}."
        )
    _checks.check_shape("labels", labels, x.shape[:-2], "one a speaker")
    both = jnp.broadcast_to(jnp.asarray(labels)[..., None], x.shape[:-1])
    x, w, b, both = prepare_softmax(x, class_weights, class_bias, both)
    return options, (x, w, b, scale.astype(x.dtype), bias.astype(x.dtype), both)


# --- Maths: the sum of two losses has the sum of their gradients. ---


def _forward(
    options: PrototypeOptions, x: Array, w: Array, b: Array, scale: Array, bias: Array, labels: Array
) -> tuple[Array, tuple[Any, Any]]:
    classified, saved_softmax = SOFTMAX.forward(None, x, w, b, labels)
    told_apart, saved_angular = ANGULAR.forward(options, x, scale, bias)
    return jnp.mean(classified, axis=-1) + told_apart, (saved_softmax, saved_angular)


def _backward(options: PrototypeOptions, residuals: tuple[Any, Any], cotangent: Array) -> tuple[Array, ...]:
    halves = jnp.broadcast_to(cotangent[..., None] / 2, (*cotangent.shape, 2))
    of_classified, of_w, of_b = SOFTMAX.backward(None, residuals[0], halves)
    of_told_apart, of_scale, of_bias = ANGULAR.backward(options, residuals[1], cotangent)
    return of_classified + of_told_apart, of_w, of_b, of_scale, of_bias


_SOFTMAX_PROTOTYPICAL = Rule(_forward, _backward, data=1)
