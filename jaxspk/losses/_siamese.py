"""Distances of two segments' codes, and the siamese loss on them. Read in order: losses, checks; maths beside it.

Derivation: :doc:`/gradients/regularized_siamese`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Num

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.losses import _siamese_maths as maths
from jaxspk.losses._rule import Rule, accumulation_dtype, scalar

Hyperparameter = float | Float[Array, ""]


def mean_distance(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared distance of two segments' mean codes, :math:`D_m = \lVert \mu^{(1)} - \mu^{(2)} \rVert^2`.

    Args:
      codes_1: the speaker-specific codes of the first segment, one vector a frame; give the subset that is to
        be compared, ``codes[..., :units]``.
      codes_2: those of the second; it may have another number of frames (an extension of the paper).
      where_1: False for padded frames of the first segment, which then count nowhere.
      where_2: the same for the second.

    Returns:
      One number per pair, at least float32, infinite where the true value exceeds the dtype's range.

    Raises:
      ArgumentTypeError: codes are not floating.
      ArgumentError: shapes do not fit together, or a segment has no frames.

    Note:
      Differentiable in both codes. Reverse mode; for ``jax.jvp`` take :func:`mean_distance_plain`.

    References:
      Chen and Salman, *Extracting speaker-specific information with a regularized siamese deep network*, NIPS
      2011, appendix.
    """
    return _MEAN.loss(None, prepare_codes(codes_1, codes_2, where_1, where_2, least=1))


def mean_distance_plain(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    """The value of :func:`mean_distance` with no custom rule."""
    return _MEAN.plain(None, prepare_codes(codes_1, codes_2, where_1, where_2, least=1))


def mean_distance_grad(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch frames_1 units"], Float[Array, "*batch frames_2 units"]]:
    r"""Gradient of :func:`mean_distance`: :math:`\pm\frac{2}{T_i} (\mu^{(1)} - \mu^{(2)})` for every frame."""
    arrays = prepare_codes(codes_1, codes_2, where_1, where_2, least=1)
    of_1, of_2 = _MEAN.grad(None, arrays, cotangent, (codes_1, codes_2))
    return of_1, of_2


def covariance_distance(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared distance of two segments' covariances of codes.

    .. math::
        D_S = \lVert \Sigma^{(1)} - \Sigma^{(2)} \rVert_F^2, \qquad
        \Sigma^{(i)} = \frac{1}{T_i - 1} \sum_t (c_{it} - \mu^{(i)}) (c_{it} - \mu^{(i)})^\top

    Computed from the covariances, or, where codes have more units than both segments have frames, from inner
    products of frames: no array of units × units is made then.

    Args:
      codes_1: the speaker-specific codes of the first segment, two frames at least.
      codes_2: those of the second; it may have another number of frames (an extension of the paper).
      where_1: False for padded frames of the first segment, which then count nowhere. A segment left with a
        single frame has covariance 0.
      where_2: the same for the second.

    Returns:
      One number per pair, at least float32, never negative, infinite where the true value exceeds the dtype's
      range.

    Raises:
      ArgumentTypeError: codes are not floating.
      ArgumentError: shapes do not fit together, or a segment has fewer than two frames.

    Note:
      Expect a floor: two segments of one speaker differ by about :math:`2 M^2 v^2 / (T - 1)` for M
      independent units of variance v. Differentiable in both codes. Reverse mode; for ``jax.jvp`` take
      :func:`covariance_distance_plain`.

    References:
      Chen and Salman 2011, appendix.
    """
    return _COVARIANCE.loss(None, prepare_codes(codes_1, codes_2, where_1, where_2, least=2))


def covariance_distance_plain(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    """The value of :func:`covariance_distance` with no custom rule."""
    return _COVARIANCE.plain(None, prepare_codes(codes_1, codes_2, where_1, where_2, least=2))


def covariance_distance_grad(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    *,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch frames_1 units"], Float[Array, "*batch frames_2 units"]]:
    r"""Gradient of :func:`covariance_distance`.

    .. math:: \pm\frac{4}{T_i - 1} (\Sigma^{(1)} - \Sigma^{(2)}) (c_{it} - \mu^{(i)})
    """
    arrays = prepare_codes(codes_1, codes_2, where_1, where_2, least=2)
    of_1, of_2 = _COVARIANCE.grad(None, arrays, cotangent, (codes_1, codes_2))
    return of_1, of_2


def siamese_discrimination_loss(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Contrastive loss on the statistics of two segments' codes, :math:`L_D = L_m + L_S`.

    .. math::
        L_m = I D_m + (1 - I)\, e^{-D_m / \lambda_m}, \qquad L_S = I D_S + (1 - I)\, e^{-D_S / \lambda_S}

    Args:
      codes_1: the speaker-specific codes of the first segment, two frames at least.
      codes_2: those of the second.
      same_speaker: :math:`I`, one a pair: 1 or true where one speaker said both, else 0.
      lambda_mean: :math:`\lambda_m > 0`. Set it from measured :func:`mean_distance`: the push on a pair is
        largest at :math:`D = \lambda / 2` and gone for :math:`D \gg \lambda`. A number or a scalar array.
      lambda_cov: :math:`\lambda_S > 0`, from measured :func:`covariance_distance`, which is of another size.
      where_1: False for padded frames of the first segment.
      where_2: the same for the second.

    Returns:
      One loss per pair, at least float32.

    Raises:
      ArgumentTypeError: codes are not floating.
      ArgumentError: shapes do not fit together, a segment has fewer than two frames, or a lambda is not
      positive.

    Note:
      Equal statistics have gradient 0, also for different speakers: collapsed codes stay collapsed.
      Differentiable in both codes. Reverse mode; for ``jax.jvp`` take
      :func:`siamese_discrimination_loss_plain`.

    References:
      Chen and Salman 2011, appendix (the derivation of Eq. 5).
    """
    arrays = prepare_pair(codes_1, codes_2, same_speaker, lambda_mean, lambda_cov, where_1, where_2)
    return _DISCRIMINATION.loss(None, arrays)


def siamese_discrimination_loss_plain(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    """The value of :func:`siamese_discrimination_loss` with no custom rule."""
    arrays = prepare_pair(codes_1, codes_2, same_speaker, lambda_mean, lambda_cov, where_1, where_2)
    return _DISCRIMINATION.plain(None, arrays)


def siamese_discrimination_loss_grad(
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch frames_1 units"], Float[Array, "*batch frames_2 units"]]:
    r"""Gradient of :func:`siamese_discrimination_loss`: :math:`\kappa_m p + \kappa_S q`, in the space of codes.

    :math:`p` and :math:`q` are the gradients of :math:`D_m` and :math:`D_S`, and
    :math:`\kappa = I - \lambda^{-1} (1 - I)\, e^{-D / \lambda}`.
    """
    arrays = prepare_pair(codes_1, codes_2, same_speaker, lambda_mean, lambda_cov, where_1, where_2)
    of_1, of_2 = _DISCRIMINATION.grad(None, arrays, cotangent, (codes_1, codes_2))
    return of_1, of_2


def siamese_preactivation_grad(
    preactivations_1: Float[Array, "*batch frames_1 all_units"],
    preactivations_2: Float[Array, "*batch frames_2 all_units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    units: int,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch frames_1 all_units"], Float[Array, "*batch frames_2 all_units"]]:
    r"""Gradient of :math:`L_D` with respect to the total input of the code layer, Eq. A.1 to A.3 whole.

    .. math::
        \frac{\partial L_D}{\partial u_K(x_{it})} =
        \bigl(\kappa_m \psi_j + \kappa_S \xi_j\bigr)_{j \le M},\ \bigl(0\bigr)_{j > M},
        \qquad \psi = p \odot c (1 - c),\quad \xi = q \odot c (1 - c)

    where the codes :math:`c = \sigma(u_K)` of the first :math:`M` units alone enter the loss. The weight
    :math:`1 - \alpha` of the whole loss is not part of it.

    Args:
      preactivations_1: total inputs :math:`u_K` of all units of the code layer, first segment.
      preactivations_2: those of the second.
      same_speaker: as for :func:`siamese_discrimination_loss`.
      units: :math:`M`, how many of the first units are speaker-specific.
      lambda_mean: as for the loss.
      lambda_cov: as for the loss.
      where_1: as for the loss.
      where_2: as for the loss.
      cotangent: one factor per pair; ``None`` is ones.

    Returns:
      Two arrays like the inputs, 0 for the units beyond ``units``.

    Raises:
      ArgumentError: ``units`` is not between 1 and the number of units, or as for the loss.
    """
    _checks.check_range("units", units, low=1, high=preactivations_1.shape[-1])
    dtype = accumulation_dtype(preactivations_1, preactivations_2)
    subsets = [u[..., :units].astype(dtype) for u in (preactivations_1, preactivations_2)]
    codes_1, codes_2 = map(jax.nn.sigmoid, subsets)
    of_codes = siamese_discrimination_loss_grad(
        codes_1,
        codes_2,
        same_speaker,
        lambda_mean=lambda_mean,
        lambda_cov=lambda_cov,
        where_1=where_1,
        where_2=where_2,
        cotangent=cotangent,
    )
    of_1, of_2 = (
        maths.through_sigmoid(u, subset, gradient)
        for u, subset, gradient in zip((preactivations_1, preactivations_2), subsets, of_codes, strict=True)
    )
    return of_1, of_2


_MEAN = Rule(maths.mean_forward, maths.mean_backward, data=2)
_COVARIANCE = Rule(maths.covariance_forward, maths.covariance_backward, data=2)
_DISCRIMINATION = Rule(maths.discrimination_forward, maths.discrimination_backward, data=5)


# --- Checks and casts: differentiable arrays first, data last. ---


def prepare_codes(codes_1: Any, codes_2: Any, where_1: Any, where_2: Any, *, least: int) -> tuple[Array, ...]:
    for name, codes, mask_name, mask in (
        ("codes_1", codes_1, "where_1", where_1),
        ("codes_2", codes_2, "where_2", where_2),
    ):
        _checks.check_floating(name, codes)
        _checks.check_rank(name, codes, 2, "frames, units")
        if codes.shape[-2] < least:
            raise ArgumentError(
                f"`{name}` must have at least {least} frames, got shape {tuple(codes.shape)}; "
                "its axes are [*batch, frames, units]."
            )
        if mask is not None:
            _checks.check_shape(mask_name, mask, codes.shape[:-1], f"one a frame of `{name}`")
    expected = (*codes_1.shape[:-2], codes_2.shape[-2], codes_1.shape[-1])
    _checks.check_shape("codes_2", codes_2, expected, "batch and units as in `codes_1`")
    dtype = accumulation_dtype(codes_1, codes_2)
    masks = frames_mask(codes_1, where_1, dtype), frames_mask(codes_2, where_2, dtype)
    return codes_1.astype(dtype), codes_2.astype(dtype), *masks


def frames_mask(frames: Any, where: Any, dtype: DTypeLike) -> Array:
    """1 for each frame that counts."""
    return jnp.ones(frames.shape[-2], dtype) if where is None else where.astype(dtype)


def prepare_pair(
    codes_1: Any, codes_2: Any, same: Any, lambda_mean: Any, lambda_cov: Any, where_1: Any, where_2: Any
) -> tuple[Array, ...]:
    c1, c2, mask_1, mask_2 = prepare_codes(codes_1, codes_2, where_1, where_2, least=2)
    _checks.check_shape("same_speaker", same, c1.shape[:-2], "one a pair of segments")
    lambdas = []
    for name, value in (("lambda_mean", lambda_mean), ("lambda_cov", lambda_cov)):
        if isinstance(value, (int, float)):
            _checks.check_range(name, value, low=0.0, low_open=True)
        lambdas.append(scalar(name, value, c1.dtype))
    return c1, c2, jnp.asarray(same).astype(c1.dtype), *lambdas, mask_1, mask_2
