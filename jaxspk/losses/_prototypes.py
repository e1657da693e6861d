r"""Prototypical losses: every utterance is told apart by its distance from the speakers' centroids.

Read in order: losses, wiring, maths. Derivations: :doc:`/gradients/metric_learning`. A batch is
``[*batch, speakers, utterances, dim]``; utterance 0 of each speaker is its query.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.losses._cosine_rows import SoftmaxRows
from jaxspk.losses._geometry import inner, largest_safe, matmul, unit_vectors, unit_vectors_pullback
from jaxspk.losses._rows import is_column, log_one_plus_sum_exp, pull_back_rows, run_rows
from jaxspk.losses._rule import Rule, accumulation_dtype, check_at_least, scalar

Centroid = Literal["raw", "normalized"]


def prototypical_loss(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    *,
    include_query: bool = False,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    r"""Cross entropy of each speaker's query over minus its squared distances from all centroids.

    .. math::
        \ell_j = -s_{j,j} + \log \sum_k e^{s_{j,k}}, \qquad s_{j,k} = -\lVert x_{j,0} - c_k \rVert^2, \qquad
        c_k = \frac{1}{M - 1} \sum_{i \ge 1} x_{k,i} .

    The source prints :math:`s` without the minus sign; its code has it. Nothing is normalized.

    Args:
      embeddings: utterance 0 of each speaker is the query, the others its centroid; at least two a speaker.
      include_query: whether the query counts in its own speaker's centroid, :math:`c_k = \frac1M \sum_i x_{k,i}`.
      chunk_size: queries at once. The same value and gradient with memory ``chunk_size * speakers`` instead of
        ``speakers ** 2``; the gradient then computes each chunk a second time.

    Returns:
      One loss per speaker in nats, at least float32, not reduced; infinite where it exceeds the dtype's range.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating.
      ArgumentError: there is no utterance beside the query, or ``chunk_size`` is below one.

    Note:
      Reverse mode; for ``jax.jvp`` take :func:`prototypical_loss_plain`.

    References:
      Snell et al., `Prototypical networks <https://arxiv.org/abs/1703.05175>`_, NeurIPS 2017; Chung et al. 2020.
    """
    options, arrays = _prepare_prototypical(embeddings, include_query, chunk_size)
    return _PROTOTYPICAL.loss(options, arrays)


def prototypical_loss_plain(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    *,
    include_query: bool = False,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    """The value of :func:`prototypical_loss` with no custom rule."""
    options, arrays = _prepare_prototypical(embeddings, include_query, chunk_size)
    return _PROTOTYPICAL.plain(options, arrays)


def prototypical_loss_grad(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    *,
    include_query: bool = False,
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch speakers"] | None = None,
) -> Float[Array, "*batch speakers utterances dim"]:
    r"""Gradient of :func:`prototypical_loss`.

    With the probabilities :math:`p_{jk}` and :math:`G_{jk} = p_{jk} - [j = k]`, it is
    :math:`2 \sum_k G_{jk} c_k` in the query :math:`x_{j,0}` and
    :math:`2 \sum_j G_{jk} (x_{j,0} - c_k)` in the centroid :math:`c_k`, shared by its utterances.
    """
    options, arrays = _prepare_prototypical(embeddings, include_query, chunk_size)
    (gradient,) = _PROTOTYPICAL.grad(options, arrays, cotangent, (embeddings,))
    return gradient


def angular_prototypical_loss(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    include_query: bool = False,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    r"""Cross entropy of each speaker's query over scaled cosines with all centroids.

    .. math::
        \ell_j = -s_{j,j} + \log \sum_k e^{s_{j,k}}, \qquad s_{j,k} = w \cos(x_{j,0}, c_k) + b, \qquad
        c_k = \frac{1}{M - 1} \sum_{i \ge 1} x_{k,i} .

    Args:
      embeddings: utterance 0 of each speaker is the query, the others its centroid; at least two a speaker. The
        cosine with a zero vector is 0.
      scale: :math:`w`, learned; the source starts at 10. Nothing keeps it positive, here or in the public code.
      bias: :math:`b`, learned; the source starts at -5. It cancels: value and gradient do not depend on it.
      centroid: ``"raw"`` averages the embeddings as they are (the public code today), ``"normalized"`` their unit
        vectors (the code of the paper's time). With two utterances a speaker and the query left out they agree.
      include_query: whether the query counts in its own speaker's centroid.
      chunk_size: queries at once. The same value and gradient with memory ``chunk_size * speakers`` instead of
        ``speakers ** 2``; the gradient then computes each chunk a second time.

    Returns:
      One loss per speaker in nats, at least float32, not reduced.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating.
      ArgumentError: there is no utterance beside the query, or an option is none of the above.

    Note:
      Differentiable in embeddings, scale and bias. Reverse mode; for ``jax.jvp`` take
      :func:`angular_prototypical_loss_plain`.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = angular_prototypical_loss(jnp.eye(3)[:, None, :].repeat(2, axis=1), 10.0, -5.0)
      >>> [round(1000 * float(value), 4) for value in loss]  # log(1 + 2 exp(-10)), in thousandths
      [0.0908, 0.0908, 0.0908]

    References:
      Chung et al., `In defence of metric learning for speaker recognition <https://arxiv.org/abs/2003.11982>`_,
      Interspeech 2020.
    """
    options, arrays = prepare_angular(embeddings, scale, bias, centroid, include_query, chunk_size)
    return ANGULAR.loss(options, arrays)


def angular_prototypical_loss_plain(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    include_query: bool = False,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers"]:
    """The value of :func:`angular_prototypical_loss` with no custom rule."""
    options, arrays = prepare_angular(embeddings, scale, bias, centroid, include_query, chunk_size)
    return ANGULAR.plain(options, arrays)


def angular_prototypical_loss_grad(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    include_query: bool = False,
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch speakers"] | None = None,
) -> tuple[Float[Array, "*batch speakers utterances dim"], Float[Array, ""], Float[Array, ""]]:
    r"""Gradient of :func:`angular_prototypical_loss` in embeddings, scale and bias.

    With :math:`G_{jk} = p_{jk} - [j = k]` it is :math:`w \sum_k G_{jk} \hat c_k` in the query's unit vector,
    :math:`w \sum_j G_{jk} \hat x_{j,0}` in the centroid's, :math:`\sum G_{jk} \cos_{jk}` in the scale and 0 in the
    bias.
    """
    options, arrays = prepare_angular(embeddings, scale, bias, centroid, include_query, chunk_size)
    of_x, of_scale, of_bias = ANGULAR.grad(options, arrays, cotangent, (embeddings, scale, bias))
    return of_x, of_scale, of_bias


# --- Checks. ---


class PrototypeOptions(NamedTuple):
    normalized: bool
    include_query: bool
    chunk_size: int | None


def prepare_speaker_batch(embeddings: Any, fewest_utterances: int = 2) -> Array:
    """The batch in the dtype of accumulation, after checks."""
    _checks.check_floating("embeddings", embeddings)
    _checks.check_rank("embeddings", embeddings, 3, "speakers, utterances, dim")
    if embeddings.shape[-2] < fewest_utterances:
        raise ArgumentError(
            f"`embeddings` must be [*batch, speakers, utterances, dim] with at least {fewest_utterances} utterances "
            f"a speaker, got shape {tuple(embeddings.shape)}; draw more utterances of each speaker."
        )
    return jnp.asarray(embeddings).astype(accumulation_dtype(embeddings))


def _prepare_prototypical(
    embeddings: Any, include_query: bool, chunk_size: int | None
) -> tuple[PrototypeOptions, tuple[Array]]:
    check_at_least("chunk_size", chunk_size, 1)
    return PrototypeOptions(False, include_query, chunk_size), (prepare_speaker_batch(embeddings),)


def prepare_angular(
    embeddings: Any, scale: Any, bias: Any, centroid: str, include_query: bool, chunk_size: int | None
) -> tuple[PrototypeOptions, tuple[Array, Array, Array]]:
    _checks.check_choice("centroid", centroid, ("raw", "normalized"))
    check_at_least("chunk_size", chunk_size, 1)
    x = prepare_speaker_batch(embeddings)
    arrays = x, scalar("scale", scale, x.dtype), scalar("bias", bias, x.dtype)
    return PrototypeOptions(centroid == "normalized", include_query, chunk_size), arrays


# --- Maths of both: x embeddings, q queries, c centroids. ---


def _mean_support(options: PrototypeOptions, y: Array) -> Array:
    return jnp.mean(y if options.include_query else y[..., 1:, :], axis=-2)


def _mean_support_pullback(options: PrototypeOptions, of_centroids: Array, utterances: int) -> Array:
    """Each utterance's share of its centroid's gradient, ``[*batch, speakers, utterances, dim]``."""
    counted = utterances if options.include_query else utterances - 1
    counts = jnp.arange(utterances) >= utterances - counted
    return jnp.where(counts[:, None], of_centroids[..., None, :] / counted, 0.0)


def _own(speakers: int) -> Array:
    """The target of each query, as a column."""
    return jnp.arange(speakers, dtype=jnp.int32)[:, None]


# --- Prototypical. Lengths are divided by `stretch`, logits by its square. ---


def _prototypical_forward(options: PrototypeOptions, x: Array) -> tuple[Array, tuple[Any, ...]]:
    stretch = _stretch(x)
    queries, centroids = x[..., 0, :] / stretch, _mean_support(options, x / stretch[..., None])
    # Squared distances do not change when all points move, and lose less to rounding near the middle.
    middle = jax.lax.stop_gradient(jnp.mean(centroids, axis=-2, keepdims=True))
    queries, centroids = queries - middle, centroids - middle
    values, saved = run_rows(
        SquaredRows(centroids, stretch).forward,
        (queries, centroids, _own(x.shape[-3])),
        options.chunk_size,
    )
    return values[..., 0], (x, queries, centroids, stretch, saved)


def _prototypical_backward(options: PrototypeOptions, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Array]:
    x, queries, centroids, stretch, saved = residuals
    (of_queries, of_own), (of_centroids,) = pull_back_rows(
        SquaredRows(centroids, stretch).forward,
        SquaredRows(centroids, stretch).backward,
        (queries, centroids, _own(x.shape[-3])),
        saved,
        cotangent[..., None],
        options.chunk_size,
    )
    of_x = _mean_support_pullback(options, stretch * (of_centroids + of_own), x.shape[-2])
    return (of_x.at[..., 0, :].add(stretch * of_queries),)


_PROTOTYPICAL = Rule(_prototypical_forward, _prototypical_backward)


class SquaredRows(NamedTuple):
    """Rows of the prototypical loss against all ``centroids``; gradients are over the square of ``stretch``."""

    centroids: Array
    stretch: Array

    def forward(self, queries: Array, own: Array, targets: Array) -> tuple[Array, Array]:
        """Values and probabilities; the squared length of the query cancels."""
        logits = 2 * matmul(queries, self.centroids.mT) - jnp.sum(jnp.square(self.centroids), axis=-1)[..., None, :]
        excess = logits - inner(2 * queries - own, own)
        return log_one_plus_sum_exp(excess, is_column(targets, excess.shape[-1]), self.stretch)

    def backward(
        self, cotangent: Array, p: Array, queries: Array, own: Array, targets: Array
    ) -> tuple[tuple[Array, Array], tuple[Array]]:
        """Gradients in queries and their own centroids, and the sum over rows of those in all centroids."""
        g = 2 * cotangent * p
        of_target = -jnp.sum(g, axis=-1, keepdims=True)
        of_queries = matmul(g, self.centroids) + of_target * own
        of_centroids = matmul(g.mT, queries) - jnp.sum(g, axis=-2)[..., None] * self.centroids
        return (of_queries, of_target * (queries - own)), (of_centroids,)


def _stretch(x: Array) -> Array:
    """One in all ordinary cases; else by what lengths must be divided so that their squares are representable."""
    limit = largest_safe(x.dtype, x.shape[-1])
    largest = jnp.max(jnp.abs(x), axis=(-3, -2, -1), initial=0.0)[..., None, None]
    return jax.lax.stop_gradient(jnp.maximum(largest / limit, 1.0))


# --- Angular prototypical. ---


def _angular_forward(options: PrototypeOptions, x: Array, scale: Array, bias: Array) -> tuple[Array, tuple[Any, ...]]:
    y, y_norm = unit_vectors(x) if options.normalized else (x, None)
    queries, query_norm = unit_vectors(x[..., 0, :])
    centroids, centroid_norm = unit_vectors(_mean_support(options, y))
    own = inner(queries, centroids)
    values, saved = run_rows(
        SoftmaxRows(centroids, scale, bias).forward, (queries, own, _own(x.shape[-3])), options.chunk_size
    )
    return values[..., 0], (y, y_norm, queries, query_norm, centroids, centroid_norm, own, scale, bias, saved)


def _angular_backward(
    options: PrototypeOptions, residuals: tuple[Any, ...], cotangent: Array
) -> tuple[Array, Array, Array]:
    y, y_norm, queries, query_norm, centroids, centroid_norm, own, scale, bias, saved = residuals
    rows = SoftmaxRows(centroids, scale, bias)
    (of_queries, of_own), (of_centroids, of_scale, of_bias) = pull_back_rows(
        rows.forward,
        rows.backward,
        (queries, own, _own(y.shape[-3])),
        saved,
        cotangent[..., None],
        options.chunk_size,
    )
    of_queries, of_centroids = of_queries + of_own * centroids, of_centroids + of_own * queries
    of_means = unit_vectors_pullback(centroids, centroid_norm, of_centroids)
    of_x = _mean_support_pullback(options, of_means, y.shape[-2])
    if options.normalized:
        of_x = unit_vectors_pullback(y, y_norm, of_x)
    of_x = of_x.at[..., 0, :].add(unit_vectors_pullback(queries, query_norm, of_queries))
    return of_x, of_scale, of_bias


ANGULAR = Rule(_angular_forward, _angular_backward)
