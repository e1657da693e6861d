r"""Softmax, AM-softmax and AAM-softmax over the training speakers. Read in order: losses, wiring, maths.

Each value is the cross entropy of one embedding, :math:`-s_t + \log \sum_k e^{s_k}` with target class
:math:`t`; the three differ in their logits :math:`s`. Derivations: :doc:`/gradients/metric_learning`.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxspk import _checks
from jaxspk.losses._geometry import inner, largest_safe, matmul, unit_vectors, unit_vectors_pullback
from jaxspk.losses._rows import is_column, log_one_plus_sum_exp
from jaxspk.losses._rule import Rule, accumulation_dtype, check_hyperparameter, check_integer, scalar


def softmax_loss(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    r"""Cross entropy of a linear classifier, :math:`s_k = w_k^\top x + b_k`; nothing is normalized.

    Args:
      embeddings: one vector per utterance, any scale.
      class_weights: one row per training speaker.
      class_bias: one number per training speaker.
      labels: class of each embedding, 0 to ``classes - 1``; any other label makes its loss NaN.

    Returns:
      One loss per embedding in nats, at least float32, not reduced; infinite where it exceeds the dtype's
      range.

    Raises:
      ArgumentTypeError: an argument is not floating.
      ArgumentError: shapes disagree.

    Note:
      Differentiable in all but ``labels``. Reverse mode; for ``jax.jvp`` take :func:`softmax_loss_plain`.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = softmax_loss(jnp.zeros((2, 3)), jnp.ones((4, 3)), jnp.zeros(4), jnp.array([0, 1]))
      >>> [round(float(value), 4) for value in loss]  # log 4: nothing is known
      [1.3863, 1.3863]

    References:
      Chung et al., `In defence of metric learning for speaker recognition
      <https://arxiv.org/abs/2003.11982>`_, Interspeech 2020.
    """
    return SOFTMAX.loss(None, prepare_softmax(embeddings, class_weights, class_bias, labels))


def softmax_loss_plain(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The value of :func:`softmax_loss` with no custom rule."""
    return SOFTMAX.plain(None, prepare_softmax(embeddings, class_weights, class_bias, labels))


def softmax_loss_grad(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    class_bias: Float[Array, " classes"],
    labels: Int[Array, "*batch"],
    *,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "classes dim"], Float[Array, " classes"]]:
    r"""Gradient of :func:`softmax_loss` in embeddings, class weights and class bias.

    With :math:`G_k = p_k - [k = t]`, they are :math:`W^\top G`, :math:`\sum G x^\top` and :math:`\sum G`.
    """
    arrays = prepare_softmax(embeddings, class_weights, class_bias, labels)
    of_x, of_w, of_b = SOFTMAX.grad(None, arrays, cotangent, (embeddings, class_weights, class_bias))
    return of_x, of_w, of_b


def am_softmax_loss(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    r"""Additive-margin softmax (CosFace), :math:`s_k = S (\cos\theta_k - m [k = t])`.

    Args:
      embeddings: one vector per utterance; its length does not matter. The cosine with a zero vector is 0.
      class_weights: one row per training speaker; its length does not matter.
      labels: class of each embedding, 0 to ``classes - 1``; any other label makes its loss NaN.
      margin: :math:`m \ge 0`, taken off the target's cosine. A number, or a scalar array that may change from
        step to step without compiling anew; its own gradient is zero.
      scale: :math:`S \ge 0`; likewise.

    Returns:
      One loss per embedding in nats, at least float32, not reduced.

    Raises:
      ArgumentTypeError: ``embeddings`` or ``class_weights`` is not floating.
      ArgumentError: shapes disagree, or ``margin`` or ``scale`` is negative.

    Note:
      Differentiable in embeddings and class weights. Reverse mode; for ``jax.jvp`` take
      :func:`am_softmax_loss_plain`.

    References:
      Wang et al., `Additive margin softmax for face verification <https://arxiv.org/abs/1801.05599>`_, 2018.
    """
    return _MARGIN.loss("cosine", _prepare_margin(embeddings, class_weights, labels, margin, scale))


def am_softmax_loss_plain(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """The value of :func:`am_softmax_loss` with no custom rule."""
    return _MARGIN.plain("cosine", _prepare_margin(embeddings, class_weights, labels, margin, scale))


def am_softmax_loss_grad(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "classes dim"]]:
    r"""Gradient of :func:`am_softmax_loss` in embeddings and class weights.

    In the unit vectors :math:`u, v_k` it is :math:`S \sum_k G_k v_k` and :math:`S \sum G_k u` with
    :math:`G_k = p_k - [k = t]`; each then loses its radial part and is divided by the vector's length.
    """
    arrays = _prepare_margin(embeddings, class_weights, labels, margin, scale)
    of_x, of_w = _MARGIN.grad("cosine", arrays, cotangent, (embeddings, class_weights))
    return of_x, of_w


def aam_softmax_loss(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
    easy_margin: bool = False,
) -> Float[Array, "*batch"]:
    r"""Additive-angular-margin softmax (ArcFace): the target's logit is :math:`S \varphi(\theta_t)`.

    .. math::
        \varphi(\theta) = \begin{cases}
          \cos(\theta + m) & \cos\theta > \cos(\pi - m)\\
          \cos\theta - m \sin m & \text{otherwise}
        \end{cases}
        \qquad\text{with } \texttt{easy\_margin}:\
        \varphi(\theta) = \begin{cases} \cos(\theta + m) & \cos\theta > 0\\ \cos\theta &
        \text{otherwise}\end{cases}

    The other logits are :math:`S \cos\theta_k`. Both forms jump where they change over (the first from
    :math:`-1` to :math:`-\cos m - m \sin m`); the gradient is that of the branch taken.

    Args:
      embeddings: one vector per utterance; its length does not matter. The cosine with a zero vector is 0.
      class_weights: one row per training speaker; its length does not matter.
      labels: class of each embedding, 0 to ``classes - 1``; any other label makes its loss NaN.
      margin: :math:`m` in radians, from 0 to pi. A number, or a scalar array that may change from step to
        step without compiling anew; its own gradient is zero.
      scale: :math:`S \ge 0`; likewise.
      easy_margin: which of the two forms.

    Returns:
      One loss per embedding in nats, at least float32, not reduced.

    Raises:
      ArgumentTypeError: ``embeddings`` or ``class_weights`` is not floating.
      ArgumentError: shapes disagree, or ``margin`` or ``scale`` is out of range.

    Note:
      :math:`\cos(\theta + m)` has a kink, a cone, at :math:`\theta = 0` and :math:`\theta = \pi`: every
      direction away from it has the same slope. The centre of these slopes, 0, is taken there, where the
      public training code divides by zero. Differentiable in embeddings and class weights. Reverse mode; for
      ``jax.jvp`` take :func:`aam_softmax_loss_plain`.

    References:
      Deng et al., `ArcFace <https://arxiv.org/abs/1801.07698>`_, CVPR 2019.
    """
    arrays = _prepare_margin(embeddings, class_weights, labels, margin, scale, largest_margin=math.pi)
    return _MARGIN.loss("easy angle" if easy_margin else "angle", arrays)


def aam_softmax_loss_plain(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
    easy_margin: bool = False,
) -> Float[Array, "*batch"]:
    """The value of :func:`aam_softmax_loss` with no custom rule."""
    arrays = _prepare_margin(embeddings, class_weights, labels, margin, scale, largest_margin=math.pi)
    return _MARGIN.plain("easy angle" if easy_margin else "angle", arrays)


def aam_softmax_loss_grad(
    embeddings: Float[Array, "*batch dim"],
    class_weights: Float[Array, "classes dim"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    scale: float | Float[Array, ""],
    easy_margin: bool = False,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "classes dim"]]:
    r"""Gradient of :func:`aam_softmax_loss` in embeddings and class weights.

    As :func:`am_softmax_loss_grad`, but the target's row is
    :math:`\cos m\, \nabla\cos\theta - \sin m\, \nabla\sin\theta`, with
    :math:`\sin\theta = \tfrac12 \lVert u - v\rVert \lVert u + v\rVert`, whose slopes stay bounded.
    """
    arrays = _prepare_margin(embeddings, class_weights, labels, margin, scale, largest_margin=math.pi)
    branch = "easy angle" if easy_margin else "angle"
    of_x, of_w = _MARGIN.grad(branch, arrays, cotangent, (embeddings, class_weights))
    return of_x, of_w


# --- Checks. ---

_Margin = Literal["cosine", "angle", "easy angle"]


def prepare_softmax(
    embeddings: Any, class_weights: Any, class_bias: Any, labels: Any
) -> tuple[Array, Array, Array, Array]:
    x, w, labels = _prepare_classifier(embeddings, class_weights, labels, class_bias)
    _checks.check_floating("class_bias", class_bias)
    _checks.check_shape("class_bias", class_bias, w.shape[:1], "one a row of `class_weights`")
    return x, w, jnp.asarray(class_bias).astype(x.dtype), labels


def _prepare_margin(
    embeddings: Any, class_weights: Any, labels: Any, margin: Any, scale: Any, largest_margin: float = math.inf
) -> tuple[Array, Array, Array, Array, Array]:
    check_hyperparameter("margin", margin, low=0.0, high=largest_margin)
    check_hyperparameter("scale", scale, low=0.0)
    x, w, labels = _prepare_classifier(embeddings, class_weights, labels)
    return x, w, labels, scalar("margin", margin, x.dtype), scalar("scale", scale, x.dtype)


def _prepare_classifier(embeddings: Any, class_weights: Any, labels: Any, *others: Any) -> tuple[Array, Array, Array]:
    _checks.check_floating("embeddings", embeddings)
    _checks.check_floating("class_weights", class_weights)
    _checks.check_rank("embeddings", embeddings, 1, "dim")
    dim = embeddings.shape[-1]
    classes = class_weights.shape[0] if class_weights.ndim else 0
    _checks.check_shape("class_weights", class_weights, (classes, dim), "[classes, dim of `embeddings`]")
    check_integer("labels", labels)
    _checks.check_shape("labels", labels, embeddings.shape[:-1], "one an embedding")
    dtype = accumulation_dtype(embeddings, class_weights, *others)
    x, w = jnp.asarray(embeddings).astype(dtype), jnp.asarray(class_weights).astype(dtype)
    return x, w, jnp.asarray(labels).astype(jnp.int32)


# --- Maths, in the papers' letters: x embeddings, W class weights, b bias, m margin, S scale. ---


class _LinearSaved(NamedTuple):
    rows: Array
    w: Array
    is_target: Array
    p: Array


def _softmax_forward(options: None, x: Array, w: Array, b: Array, labels: Array) -> tuple[Array, _LinearSaved]:
    rows, targets = x.reshape(-1, x.shape[-1]), labels.reshape(-1, 1)
    stretch = _stretch(rows, w, b)
    logits = matmul(rows / stretch / stretch, w.T) + b / stretch / stretch
    is_target = is_column(targets, w.shape[0])
    value, p = log_one_plus_sum_exp(logits - _at(logits, targets), is_target, stretch)
    return value.reshape(labels.shape), _LinearSaved(rows, w, is_target, p)


def _softmax_backward(options: None, saved: _LinearSaved, cotangent: Array) -> tuple[Array, Array, Array]:
    g = _logit_gradient(saved.p, saved.is_target, cotangent.reshape(-1, 1))
    of_x = matmul(g, saved.w).reshape(*cotangent.shape, saved.rows.shape[-1])
    return of_x, matmul(g.T, saved.rows), jnp.sum(g, axis=0)


SOFTMAX = Rule(_softmax_forward, _softmax_backward, data=1)


def _stretch(rows: Array, w: Array, b: Array) -> Array:
    """One in all ordinary cases; else the root of what the logits must be divided by to be representable."""
    limit = largest_safe(rows.dtype, rows.shape[-1])
    of_rows, of_weights, of_biases = (
        jnp.sqrt(jnp.max(jnp.abs(array), axis=axis, keepdims=True, initial=0.0))
        for array, axis in ((rows, -1), (w, None), (b, None))
    )
    stretch = jnp.maximum(of_rows * (of_weights / limit), of_biases / limit)
    return jax.lax.stop_gradient(jnp.maximum(stretch, 1.0))


def _at(matrix: Array, columns: Array) -> Array:
    """One entry of each row, NaN where there is no such column."""
    outside = jnp.where(columns < 0, matrix.shape[-1], columns)
    return jnp.take_along_axis(matrix, outside, axis=-1, mode="fill")


def _logit_gradient(p: Array, is_target: Array, cotangent: Array) -> Array:
    """Gradient in the logits: the probabilities, and for the target minus their sum."""
    g = cotangent * p
    return jnp.where(is_target, -jnp.sum(g, axis=-1, keepdims=True), g)


class _MarginSaved(NamedTuple):
    targets: Array
    scale: Array
    u: Array
    u_norm: Array
    v: Array
    v_norm: Array
    is_target: Array
    p: Array
    of_cosine: Array
    """d phi / d cos"""
    of_sine: Array
    """d phi / d sin"""


def _margin_forward(
    kind: _Margin, x: Array, w: Array, labels: Array, margin: Array, scale: Array
) -> tuple[Array, _MarginSaved]:
    rows, targets = x.reshape(-1, x.shape[-1]), labels.reshape(-1, 1)
    margin, scale = jax.lax.stop_gradient((margin, scale))
    (u, u_norm), (v, v_norm) = unit_vectors(rows), unit_vectors(w)
    cosines = matmul(u, v.T)
    cosine = _at(cosines, targets)
    if kind == "cosine":
        target, of_cosine, of_sine = cosine - margin, jnp.ones_like(cosine), jnp.zeros_like(cosine)
    else:
        sine = _sine(u, _row(v, targets))
        shifted = cosine * jnp.cos(margin) - sine * jnp.sin(margin)
        past = cosine if kind == "easy angle" else cosine - margin * jnp.sin(margin)
        before = cosine > (0 if kind == "easy angle" else -jnp.cos(margin))
        target = jnp.where(before, shifted, past)
        of_cosine, of_sine = jnp.where(before, jnp.cos(margin), 1.0), jnp.where(before, -jnp.sin(margin), 0.0)
    is_target = is_column(targets, w.shape[0])
    value, p = log_one_plus_sum_exp(scale * (cosines - target), is_target)
    saved = _MarginSaved(targets, scale, u, u_norm, v, v_norm, is_target, p, of_cosine, of_sine)
    return value.reshape(labels.shape), saved


def _margin_backward(kind: _Margin, saved: _MarginSaved, cotangent: Array) -> tuple[Array, Array]:
    targets, scale, u, u_norm, v, v_norm, is_target, p, of_cosine, of_sine = saved
    g = scale * _logit_gradient(p, is_target, cotangent.reshape(-1, 1))
    of_cosines = jnp.where(is_target, of_cosine * g, g)
    of_u, of_v = matmul(of_cosines, v), matmul(of_cosines.T, u)
    if kind != "cosine":
        through_u, through_v = _sine_gradient(u, _row(v, targets))
        through_sine = of_sine * _at(g, targets)
        of_u += through_sine * through_u
        of_v = of_v.at[targets[:, 0]].add(through_sine * through_v, mode="drop", wrap_negative_indices=False)
    of_x = unit_vectors_pullback(u, u_norm, of_u).reshape(*cotangent.shape, u.shape[-1])
    return of_x, unit_vectors_pullback(v, v_norm, of_v)


_MARGIN = Rule(_margin_forward, _margin_backward, data=3)


def _row(matrix: Array, indices: Array) -> Array:
    """Rows of a matrix, NaN where there is no such row."""
    outside = jnp.where(indices < 0, matrix.shape[0], indices)
    return jnp.take(matrix, outside[:, 0], axis=0, mode="fill")


def _sine(u: Array, v: Array) -> Array:
    """Sine of the angle between unit vectors, where sqrt(1 - cos^2) would cancel; 1 with a zero vector."""
    (_, difference), (_, total) = unit_vectors(u - v), unit_vectors(u + v)
    return jnp.where(_both_unit(u, v), difference * total / 2, 1.0)


def _sine_gradient(u: Array, v: Array) -> tuple[Array, Array]:
    """Gradients of :func:`_sine`, bounded by one; 0 where the vectors are parallel up to rounding."""
    (away, difference), (along, total) = unit_vectors(u - v), unit_vectors(u + v)
    # What rounding leaves of a difference has no direction, and under `jit` not even one length.
    rounding = 8 * float(np.finfo(u.dtype).eps)
    away, along = jnp.where(difference > rounding, away, 0.0), jnp.where(total > rounding, along, 0.0)
    with_u = jnp.where(_both_unit(u, v), total * away / 2, 0.0)
    with_v = jnp.where(_both_unit(u, v), difference * along / 2, 0.0)
    return with_u + with_v, with_v - with_u


def _both_unit(u: Array, v: Array) -> Array:
    return (inner(u, u) != 0) & (inner(v, v) != 0)
