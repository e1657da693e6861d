"""The regularized siamese network's reconstruction loss and whole loss. Read in order: losses, checks.

Derivation: :doc:`/gradients/regularized_siamese`.
"""

from typing import Any

from jaxtyping import Array, Bool, Float, Num

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.losses import _siamese_maths as maths
from jaxspk.losses._rule import Rule, accumulation_dtype, check_hyperparameter, scalar
from jaxspk.losses._siamese import Hyperparameter, frames_mask, prepare_pair


def reconstruction_loss(
    inputs: Float[Array, "*batch frames dim"],
    reconstructions: Float[Array, "*batch frames dim"],
    *,
    where: Bool[Array, "*batch frames"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Mean squared error over frames and dimensions.

    .. math:: L_R = \frac{1}{T d} \sum_t \lVert x_t - \hat x_t \rVert^2

    The form is this project's choice: the readable part of the paper does not print :math:`L_R`.

    Args:
      inputs: what was to be reconstructed; data, with gradient zero.
      reconstructions: the decoder's output.
      where: False for padded frames, which then count nowhere.

    Returns:
      One loss per segment, at least float32, infinite where the true value exceeds the dtype's range.

    Raises:
      ArgumentTypeError: an array is not floating.
      ArgumentError: the shapes differ, or there is nothing to average over.

    Note:
      Differentiable in ``reconstructions``. Reverse mode; for ``jax.jvp`` take
      :func:`reconstruction_loss_plain`.
    """
    return _RECONSTRUCTION.loss(None, _prepare_reconstruction(inputs, reconstructions, where))


def reconstruction_loss_plain(
    inputs: Float[Array, "*batch frames dim"],
    reconstructions: Float[Array, "*batch frames dim"],
    *,
    where: Bool[Array, "*batch frames"] | None = None,
) -> Float[Array, "*batch"]:
    """The value of :func:`reconstruction_loss` with no custom rule."""
    return _RECONSTRUCTION.plain(None, _prepare_reconstruction(inputs, reconstructions, where))


def reconstruction_loss_grad(
    inputs: Float[Array, "*batch frames dim"],
    reconstructions: Float[Array, "*batch frames dim"],
    *,
    where: Bool[Array, "*batch frames"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> Float[Array, "*batch frames dim"]:
    r"""Gradient of :func:`reconstruction_loss` in the reconstructions, :math:`\frac{2}{T d} (\hat x_t - x_t)`."""
    arrays = _prepare_reconstruction(inputs, reconstructions, where)
    return _RECONSTRUCTION.grad(None, arrays, cotangent, (reconstructions,))[0]


def regularized_siamese_loss(
    inputs_1: Float[Array, "*batch frames_1 dim"],
    inputs_2: Float[Array, "*batch frames_2 dim"],
    reconstructions_1: Float[Array, "*batch frames_1 dim"],
    reconstructions_2: Float[Array, "*batch frames_2 dim"],
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: Hyperparameter,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The whole loss of a pair, :math:`L = \alpha\,[L_R(X_1) + L_R(X_2)] + (1 - \alpha)\, L_D(X_1, X_2)`.

    Args:
      inputs_1: features of the first segment; data, with gradient zero.
      inputs_2: features of the second.
      reconstructions_1: the decoder's output for the first segment.
      reconstructions_2: the decoder's output for the second.
      codes_1: speaker-specific codes of the first segment.
      codes_2: speaker-specific codes of the second.
      same_speaker: as for :func:`siamese_discrimination_loss`.
      alpha: between 0 (no regularization: codes may collapse) and 1 (an autoencoder). A number or a scalar
        array.
      lambda_mean: as for :func:`siamese_discrimination_loss`.
      lambda_cov: as for :func:`siamese_discrimination_loss`.
      where_1: False for padded frames of the first segment.
      where_2: the same for the second.

    Returns:
      One loss per pair, at least float32.

    Raises:
      ArgumentTypeError: an array is not floating.
      ArgumentError: shapes do not fit together, or a hyperparameter is outside its range.

    Note:
      Differentiable in reconstructions and codes. Reverse mode; for ``jax.jvp`` take
      :func:`regularized_siamese_loss_plain`.

    References:
      Chen and Salman 2011; :math:`L_R` as in :func:`reconstruction_loss`.
    """
    arrays = _prepare_all(
        (inputs_1, inputs_2), (reconstructions_1, reconstructions_2), (codes_1, codes_2), same_speaker,
        alpha, lambda_mean, lambda_cov, (where_1, where_2),
    )  # fmt: skip
    return _REGULARIZED.loss(None, arrays)


def regularized_siamese_loss_plain(
    inputs_1: Float[Array, "*batch frames_1 dim"],
    inputs_2: Float[Array, "*batch frames_2 dim"],
    reconstructions_1: Float[Array, "*batch frames_1 dim"],
    reconstructions_2: Float[Array, "*batch frames_2 dim"],
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: Hyperparameter,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
) -> Float[Array, "*batch"]:
    """The value of :func:`regularized_siamese_loss` with no custom rule."""
    arrays = _prepare_all(
        (inputs_1, inputs_2), (reconstructions_1, reconstructions_2), (codes_1, codes_2), same_speaker,
        alpha, lambda_mean, lambda_cov, (where_1, where_2),
    )  # fmt: skip
    return _REGULARIZED.plain(None, arrays)


def regularized_siamese_loss_grad(
    inputs_1: Float[Array, "*batch frames_1 dim"],
    inputs_2: Float[Array, "*batch frames_2 dim"],
    reconstructions_1: Float[Array, "*batch frames_1 dim"],
    reconstructions_2: Float[Array, "*batch frames_2 dim"],
    codes_1: Float[Array, "*batch frames_1 units"],
    codes_2: Float[Array, "*batch frames_2 units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: Hyperparameter,
    lambda_mean: Hyperparameter,
    lambda_cov: Hyperparameter,
    where_1: Bool[Array, "*batch frames_1"] | None = None,
    where_2: Bool[Array, "*batch frames_2"] | None = None,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[
    Float[Array, "*batch frames_1 dim"],
    Float[Array, "*batch frames_2 dim"],
    Float[Array, "*batch frames_1 units"],
    Float[Array, "*batch frames_2 units"],
]:
    """Gradient of :func:`regularized_siamese_loss` in both reconstructions and both codes."""
    arrays = _prepare_all(
        (inputs_1, inputs_2), (reconstructions_1, reconstructions_2), (codes_1, codes_2), same_speaker,
        alpha, lambda_mean, lambda_cov, (where_1, where_2),
    )  # fmt: skip
    given = (reconstructions_1, reconstructions_2, codes_1, codes_2)
    of_1, of_2, of_codes_1, of_codes_2 = _REGULARIZED.grad(None, arrays, cotangent, given)
    return of_1, of_2, of_codes_1, of_codes_2


_RECONSTRUCTION = Rule(maths.reconstruction_forward, maths.reconstruction_backward, data=2)
_REGULARIZED = Rule(maths.regularized_forward, maths.regularized_backward, data=8)


# --- Checks and casts: differentiable arrays first, data last. ---


def _prepare_reconstruction(inputs: Any, reconstructions: Any, where: Any, suffix: str = "") -> tuple[Array, ...]:
    """The reconstruction, the input, and the mask as numbers."""
    names = f"inputs{suffix}", f"reconstructions{suffix}"
    for name, array in zip(names, (inputs, reconstructions), strict=True):
        _checks.check_floating(name, array)
        _checks.check_rank(name, array, 2, "frames, dim")
    _checks.check_same_shape(names[0], inputs, names[1], reconstructions)
    if 0 in inputs.shape[-2:]:
        raise ArgumentError(f"`{names[0]}` must have frames and dimensions, got shape {tuple(inputs.shape)}.")
    dtype = accumulation_dtype(inputs, reconstructions)
    if where is not None:
        _checks.check_shape(f"where{suffix}", where, inputs.shape[:-1], f"one a frame of `{names[0]}`")
    return reconstructions.astype(dtype), inputs.astype(dtype), frames_mask(inputs, where, dtype)


def _prepare_all(
    inputs: tuple[Any, Any], reconstructions: tuple[Any, Any], codes: tuple[Any, Any], same: Any,
    alpha: Any, lambda_mean: Any, lambda_cov: Any, masks: tuple[Any, Any],
) -> tuple[Array, ...]:  # fmt: skip
    for i in (0, 1):
        expected = (*inputs[i].shape[:-1], codes[i].shape[-1])
        _checks.check_shape(f"codes_{i + 1}", codes[i], expected, f"frames as in `inputs_{i + 1}`")
    check_hyperparameter("alpha", alpha, low=0.0, high=1.0)
    c1, c2, same, lambda_m, lambda_s, mask_1, mask_2 = prepare_pair(*codes, same, lambda_mean, lambda_cov, *masks)
    dtype = accumulation_dtype(*inputs, *reconstructions, *codes)
    r1, x1, _ = _prepare_reconstruction(inputs[0], reconstructions[0], masks[0], "_1")
    r2, x2, _ = _prepare_reconstruction(inputs[1], reconstructions[1], masks[1], "_2")
    arrays = (r1, r2, c1, c2, x1, x2, same, scalar("alpha", alpha, dtype), lambda_m, lambda_s, mask_1, mask_2)
    return tuple(array.astype(dtype) for array in arrays)
