r"""Generalized end-to-end losses: every utterance is a query, left out of its own speaker's centroid.

Read in order: losses, wiring, maths. Derivations: :doc:`/gradients/metric_learning`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk.losses._cosine_rows import ContrastRows, SoftmaxRows
from jaxspk.losses._geometry import inner, matmul, unit_vectors, unit_vectors_pullback
from jaxspk.losses._prototypes import Centroid, prepare_speaker_batch
from jaxspk.losses._rows import pull_back_rows, run_rows
from jaxspk.losses._rule import Rule, check_at_least, scalar


def ge2e_softmax_loss(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers utterances"]:
    r"""Cross entropy of every utterance over scaled cosines with the centroids of all speakers.

    .. math::
        \ell_{ji} = -s_{ji,j} + \log \sum_k e^{s_{ji,k}}, \qquad
        s_{ji,k} = \begin{cases}
          w \cos(x_{ji}, c_j^{(-i)}) + b & k = j\\ w \cos(x_{ji}, c_k) + b & k \ne j
        \end{cases}

    where :math:`c_k` is the mean of all utterances of speaker k and :math:`c_j^{(-i)}` that of speaker j's without
    utterance i.

    Args:
      embeddings: at least two utterances of each speaker. The cosine with a zero vector is 0.
      scale: :math:`w`, learned; the source starts at 10. Nothing keeps it positive.
      bias: :math:`b`, learned; the source starts at -5. It cancels: value and gradient do not depend on it.
      centroid: ``"raw"`` averages the embeddings as they are (the public code today), ``"normalized"`` their unit
        vectors (Wan et al., and the code of the paper's time).
      cosine_floor: ``1e-6`` repeats the public training code, where smaller cosines count as the floor and get no
        gradient (at equality they do); ``None`` is the paper's formula.
      chunk_size: utterances at once. The same value and gradient with memory ``chunk_size * speakers`` instead of
        ``utterances * speakers ** 2``; the gradient then computes each chunk a second time.

    Returns:
      One loss per utterance in nats, at least float32, not reduced.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating.
      ArgumentError: a speaker has a single utterance, or an option is none of the above.

    Note:
      Differentiable in embeddings, scale and bias. Reverse mode; for ``jax.jvp`` take
      :func:`ge2e_softmax_loss_plain`.

    References:
      Wan et al., `Generalized end-to-end loss for speaker verification <https://arxiv.org/abs/1710.10467>`_, ICASSP
      2018, eq. (6), (8) and (9).
    """
    return _SOFTMAX.loss(*_prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size))


def ge2e_softmax_loss_plain(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers utterances"]:
    """The value of :func:`ge2e_softmax_loss` with no custom rule."""
    return _SOFTMAX.plain(*_prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size))


def ge2e_softmax_loss_grad(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch speakers utterances"] | None = None,
) -> tuple[Float[Array, "*batch speakers utterances dim"], Float[Array, ""], Float[Array, ""]]:
    r"""Gradient of :func:`ge2e_softmax_loss` in embeddings, scale and bias.

    With the probabilities :math:`p` and :math:`G_{ji,k} = p_{ji,k} - [j = k]`, an embedding is moved as a query, by
    :math:`w \sum_k G_{ji,k} \hat c_k` in its unit vector; as a part of the centroid that other speakers' queries see;
    and as a part of the centroids of its own speaker's other utterances. The bias has gradient 0.
    """
    arrays = _prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size)
    of_x, of_scale, of_bias = _SOFTMAX.grad(*arrays, cotangent, (embeddings, scale, bias))
    return of_x, of_scale, of_bias


def ge2e_contrast_loss(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers utterances"]:
    r"""Every utterance is drawn to its own centroid and pushed from the most similar other one.

    .. math::
        \ell_{ji} = 1 - \sigma(s_{ji,j}) + \max_{k \ne j} \sigma(s_{ji,k}), \qquad \sigma(s) = \frac{1}{1 + e^{-s}},

    with the similarities :math:`s` of :func:`ge2e_softmax_loss`. The maximum over no other speaker is 0.

    Args:
      embeddings: at least two utterances of each speaker. The cosine with a zero vector is 0.
      scale: :math:`w`, learned; the source starts at 10. Nothing keeps it positive.
      bias: :math:`b`, learned; the source starts at -5. Unlike in the softmax form, it matters.
      centroid: as in :func:`ge2e_softmax_loss`.
      cosine_floor: as in :func:`ge2e_softmax_loss`.
      chunk_size: as in :func:`ge2e_softmax_loss`.

    Returns:
      One loss per utterance, in [0, 2], at least float32, not reduced.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating.
      ArgumentError: a speaker has a single utterance, or an option is none of the above.

    Note:
      Where several other centroids tie for the most similar, they share its gradient equally. Differentiable in
      embeddings, scale and bias. Reverse mode; for ``jax.jvp`` take :func:`ge2e_contrast_loss_plain`.

    References:
      Wan et al., `Generalized end-to-end loss for speaker verification <https://arxiv.org/abs/1710.10467>`_, ICASSP
      2018, eq. (7), (8) and (9).
    """
    return _CONTRAST.loss(*_prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size))


def ge2e_contrast_loss_plain(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*batch speakers utterances"]:
    """The value of :func:`ge2e_contrast_loss` with no custom rule."""
    return _CONTRAST.plain(*_prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size))


def ge2e_contrast_loss_grad(
    embeddings: Float[Array, "*batch speakers utterances dim"],
    scale: float | Float[Array, ""],
    bias: float | Float[Array, ""],
    *,
    centroid: Centroid = "raw",
    cosine_floor: float | None = None,
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch speakers utterances"] | None = None,
) -> tuple[Float[Array, "*batch speakers utterances dim"], Float[Array, ""], Float[Array, ""]]:
    r"""Gradient of :func:`ge2e_contrast_loss` in embeddings, scale and bias.

    In the similarities it is :math:`-\sigma'(s_{ji,j})` for the own and :math:`\sigma'(s_{ji,k})` for the most similar
    other centroid; from there on as in :func:`ge2e_softmax_loss_grad`.
    """
    arrays = _prepare(embeddings, scale, bias, centroid, cosine_floor, chunk_size)
    of_x, of_scale, of_bias = _CONTRAST.grad(*arrays, cotangent, (embeddings, scale, bias))
    return of_x, of_scale, of_bias


# --- Checks. ---


class _Options(NamedTuple):
    normalized: bool
    floor: float | None
    chunk_size: int | None


def _prepare(
    embeddings: Any, scale: Any, bias: Any, centroid: str, floor: float | None, chunk_size: int | None
) -> tuple[_Options, tuple[Array, Array, Array]]:
    _checks.check_choice("centroid", centroid, ("raw", "normalized"))
    check_at_least("chunk_size", chunk_size, 1)
    x = prepare_speaker_batch(embeddings)
    arrays = x, scalar("scale", scale, x.dtype), scalar("bias", bias, x.dtype)
    return _Options(centroid == "normalized", floor, chunk_size), arrays


# --- Maths: x embeddings, u their directions, y what is averaged, c centroids of all, e without the query. ---


class _Saved(NamedTuple):
    u: Array
    u_norm: Array
    c: Array
    c_norm: Array
    e: Array
    e_norm: Array
    own: Array
    scale: Array
    bias: Array
    rows: Any


def _rule(kind: type[SoftmaxRows] | type[ContrastRows]) -> Rule:
    """The loss whose rows are of this ``kind``."""

    def forward(options: _Options, x: Array, scale: Array, bias: Array) -> tuple[Array, _Saved]:
        u, u_norm = unit_vectors(x)
        y = u if options.normalized else x
        c, c_norm = unit_vectors(jnp.mean(y, axis=-2))
        e, e_norm = unit_vectors(matmul(_leave_one_out(y), y))
        own = inner(u, e)
        rows = kind(c, scale, bias, options.floor)
        values, saved = run_rows(rows.forward, _rows_of(u, own), options.chunk_size)
        value = values.reshape(x.shape[:-1])
        return value, _Saved(u, u_norm, c, c_norm, e, e_norm, own, scale, bias, saved)

    def backward(options: _Options, saved: _Saved, cotangent: Array) -> tuple[Array, Array, Array]:
        u, u_norm, c, c_norm, e, e_norm, own, scale, bias, saved_rows = saved
        rows = kind(c, scale, bias, options.floor)
        column = cotangent.reshape(*cotangent.shape[:-2], -1, 1)
        (of_queries, of_own), (of_c, of_scale, of_bias) = pull_back_rows(
            rows.forward, rows.backward, _rows_of(u, own), saved_rows, column, options.chunk_size
        )
        of_own = of_own.reshape(own.shape)
        of_u = of_queries.reshape(u.shape) + of_own * e
        of_means = unit_vectors_pullback(c, c_norm, of_c)[..., None, :] / u.shape[-2]
        of_others = unit_vectors_pullback(e, e_norm, of_own * u)
        of_y = of_means + matmul(_leave_one_out(u), of_others)
        if options.normalized:
            return unit_vectors_pullback(u, u_norm, of_u + of_y), of_scale, of_bias
        return unit_vectors_pullback(u, u_norm, of_u) + of_y, of_scale, of_bias

    return Rule(forward, backward)


def _leave_one_out(y: Array) -> Array:
    """The symmetric matrix that turns utterances into means of the others.

    A product, not the sum minus one: no cancellation where one utterance is far longer than the others.
    """
    utterances = y.shape[-2]
    return (1 - jnp.eye(utterances, dtype=y.dtype)) / (utterances - 1)


def _rows_of(u: Array, own: Array) -> tuple[Array, Array, Array]:
    """Queries, own cosines and targets, one row an utterance."""
    *batch, speakers, utterances, dim = u.shape
    targets = jnp.repeat(jnp.arange(speakers, dtype=jnp.int32), utterances)[:, None]
    return u.reshape(*batch, -1, dim), own.reshape(*batch, -1, 1), targets


_SOFTMAX = _rule(SoftmaxRows)
_CONTRAST = _rule(ContrastRows)
