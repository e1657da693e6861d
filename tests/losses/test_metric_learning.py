"""What every classification and metric-learning loss keeps: its definition, its gradient, its transformations."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError

pytestmark = pytest.mark.usefixtures("strict_promotion")

SPEAKERS, UTTERANCES, DIM, CLASSES = 4, 3, 5, 6


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss with options, and how to draw its arguments: embeddings [*batch, ...], then what is shared."""

    loss: str
    draw: Callable[..., tuple[tuple[Any, ...], tuple[Any, ...]]]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def entry(self) -> losses.LossEntry:
        return losses.LOSSES[self.loss]

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(self.options)

    @property
    def chunked(self) -> bool:
        return "chunk_size" in inspect.signature(self.entry.loss).parameters

    def arguments(self, batch: tuple[int, ...] = (), seed: int = 0, dtype: Any = np.float64) -> list[Any]:
        """All arguments in the order of the signature."""
        drawn, shared = self.draw(np.random.default_rng(seed), batch)
        named = dict(zip(self.per_batch, drawn, strict=True)) | dict(zip(self.shared, shared, strict=True))
        order = [name for name in inspect.signature(self.entry.loss).parameters if name in named]
        arrays = [jnp.asarray(named[name]) for name in order]
        return [a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in arrays]

    @property
    def per_batch(self) -> list[str]:
        return [n for n in self._positional if n not in SHARED]

    @property
    def shared(self) -> list[str]:
        return [n for n in self._positional if n in SHARED]

    @property
    def _positional(self) -> list[str]:
        parameters = inspect.signature(self.entry.loss).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def differentiable(self) -> list[int]:
        return [self._positional.index(name) for name in self.entry.differentiable]

    def __str__(self) -> str:
        return self.loss + "".join(f"-{name}={value}" for name, value in self.options)


SHARED = ("class_weights", "class_bias", "scale", "bias")


def linear(rng, batch):
    x, y = rng.normal(size=(*batch, 7, DIM)), rng.integers(0, CLASSES, (*batch, 7))
    return (x, y), (rng.normal(size=(CLASSES, DIM)), rng.normal(size=CLASSES))


def cosine(rng, batch):
    (x, y), (w, _) = linear(rng, batch)
    return (x, y), (w,)


def pair(rng, batch):
    return (*rng.normal(size=(2, *batch, 7, DIM)), rng.random((*batch, 7)) < 0.5), ()


def triplet(rng, batch):
    return tuple(rng.normal(size=(3, *batch, 7, DIM))), ()


def labelled(rng, batch):
    return (rng.normal(size=(*batch, 12, DIM)), rng.integers(0, 3, (*batch, 12))), ()


def speakers(rng, batch):
    return (rng.normal(size=(*batch, SPEAKERS, UTTERANCES, DIM)),), ()


def scaled_speakers(rng, batch):
    return speakers(rng, batch)[0], (np.float64(3.0), np.float64(-0.7))


def classified_speakers(rng, batch):
    x, y = rng.normal(size=(*batch, SPEAKERS, 2, DIM)), rng.integers(0, CLASSES, (*batch, SPEAKERS))
    shared = rng.normal(size=(CLASSES, DIM)), rng.normal(size=CLASSES), np.float64(3.0), np.float64(-0.7)
    return (x, y), shared


CASES = [
    Case("softmax_loss", linear),
    Case("am_softmax_loss", cosine, (("margin", 0.3), ("scale", 5.0))),
    Case("aam_softmax_loss", cosine, (("margin", 0.3), ("scale", 5.0))),
    Case("aam_softmax_loss", cosine, (("margin", 1.0), ("scale", 5.0), ("easy_margin", True))),
    Case("contrastive_loss", pair, (("margin", 1.5),)),
    Case("contrastive_loss", pair, (("margin", 2.5), ("normalize", False))),
    Case("triplet_loss", triplet, (("margin", 0.3),)),
    Case("triplet_loss", triplet, (("margin", 0.3), ("normalize", False))),
    Case("semi_hard_triplet_loss", labelled, (("margin", 0.5),)),
    Case("prototypical_loss", speakers),
    Case("prototypical_loss", speakers, (("include_query", True),)),
    Case("angular_prototypical_loss", scaled_speakers),
    Case("angular_prototypical_loss", scaled_speakers, (("centroid", "normalized"), ("include_query", True))),
    Case("ge2e_softmax_loss", scaled_speakers),
    Case("ge2e_softmax_loss", scaled_speakers, (("centroid", "normalized"), ("cosine_floor", 1e-6))),
    Case("ge2e_contrast_loss", scaled_speakers),
    Case("ge2e_contrast_loss", scaled_speakers, (("centroid", "normalized"), ("cosine_floor", 1e-6))),
    Case("softmax_prototypical_loss", classified_speakers),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
# Where options make no difference: one case a loss, since each compiles several functions.
FIRST = list({case.loss: case for case in reversed(CASES)}.values())[::-1]
every_loss = pytest.mark.parametrize("case", FIRST, ids=str)
every_chunked_loss = pytest.mark.parametrize("case", [case for case in FIRST if case.chunked], ids=str)


def as_tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


@functools.cache
def pulled_back(case: Case, form: str, chunk_size: int | None = None) -> Callable[..., tuple[jax.Array, ...]]:
    """(cotangent, *arguments) -> gradients, by autodiff of ``loss`` or ``plain``, or by ``grad``; compiled once."""
    keywords = case.keywords | ({} if chunk_size is None else {"chunk_size": chunk_size})
    function = functools.partial(getattr(case.entry, form), **keywords)

    def by_autodiff(cotangent, *arguments):
        def differentiable(*chosen):
            full = list(arguments)
            for index, array in zip(case.differentiable, chosen, strict=True):
                full[index] = array
            return function(*full)

        return jax.vjp(differentiable, *(arguments[i] for i in case.differentiable))[1](cotangent)

    def by_hand(cotangent, *arguments):
        return as_tuple(function(*arguments, cotangent=cotangent))

    return by_hand if form == "grad" else jax.jit(by_autodiff)


def cotangent_of(case: Case, arguments: list[Any]) -> jax.Array:
    shape = jax.eval_shape(functools.partial(case.entry.loss, **case.keywords), *arguments)
    return jnp.asarray(np.random.default_rng(9).normal(size=shape.shape)).astype(shape.dtype)


def assert_trees_close(actual, expected, **tolerance):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **tolerance)


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_value_is_the_definition(x64, case, seed):
    arguments = case.arguments(seed=seed)
    expected = case.entry.definition(*arguments, **case.keywords)
    for form in (case.entry.loss, case.entry.plain):
        np.testing.assert_allclose(form(*arguments, **case.keywords), expected, rtol=1e-11, atol=1e-13)


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_gradient_by_hand_is_that_of_the_plain_form_and_is_wired_in(x64, case, seed):
    arguments = case.arguments(seed=seed)
    cotangent = cotangent_of(case, arguments)
    by_hand = pulled_back(case, "grad")(cotangent, *arguments)
    for form in ("plain", "loss"):
        assert_trees_close(
            by_hand, pulled_back(case, form)(cotangent, *arguments), rtol=1e-10, atol=1e-12
        )


@every_case
def test_gradient_is_the_slope_of_the_definition(x64, case):
    arguments = case.arguments(seed=5)
    cotangent = np.asarray(cotangent_of(case, arguments))
    gradients = pulled_back(case, "grad")(cotangent, *arguments)
    rng = np.random.default_rng(6)
    for index, gradient in zip(case.differentiable, gradients, strict=True):
        direction = rng.normal(size=gradient.shape)

        def along(step, index=index, direction=direction):
            moved = [np.asarray(a) for a in arguments]
            moved[index] = moved[index] + step * direction
            return np.sum(cotangent * case.entry.definition(*moved, **case.keywords))

        slopes = [(along(h) - along(-h)) / (2 * h) for h in (2e-3, 1e-3, 5e-4)]
        once = [(4 * fine - coarse) / 3 for coarse, fine in zip(slopes, slopes[1:], strict=False)]
        extrapolated = (16 * once[1] - once[0]) / 15
        np.testing.assert_allclose(np.sum(gradient * direction), extrapolated, rtol=1e-8, atol=1e-9)


@every_loss
def test_no_cotangent_is_the_gradient_of_the_sum(x64, case):
    arguments = case.arguments()
    summed = as_tuple(case.entry.grad(*arguments, **case.keywords))
    ones = jnp.ones_like(cotangent_of(case, arguments))
    assert_trees_close(summed, pulled_back(case, "grad")(ones, *arguments), rtol=1e-12, atol=1e-14)


@every_loss
def test_leading_batch_axes_are_independent_examples(x64, case):
    arguments = case.arguments(batch=(2, 3))
    batched = case.entry.loss(*arguments, **case.keywords)
    position = [case._positional.index(name) for name in case.per_batch]
    for i in range(2):
        for j in range(3):
            single = [a[i, j] if k in position else a for k, a in enumerate(arguments)]
            np.testing.assert_allclose(batched[i, j], case.entry.loss(*single, **case.keywords), rtol=1e-12, atol=1e-13)
    cotangent = cotangent_of(case, arguments)
    assert_trees_close(
        pulled_back(case, "grad")(cotangent, *arguments),
        pulled_back(case, "plain")(cotangent, *arguments),
        rtol=1e-10,
        atol=1e-12,
    )


@every_loss
def test_goes_through_vmap_scan_and_remat(x64, case):
    arguments = case.arguments(batch=(2,))
    position = [case._positional.index(name) for name in case.per_batch]
    loss = functools.partial(case.entry.loss, **case.keywords)

    def slope(*single):
        return jax.grad(lambda x: jax.checkpoint(loss)(x, *single[1:]).sum())(single[0])

    def scanned(_, chosen):
        full = list(arguments)
        for index, array in zip(position, chosen, strict=True):
            full[index] = array
        return None, slope(*full)

    mapped = jax.jit(jax.vmap(slope, in_axes=[0 if i in position else None for i in range(len(arguments))]))
    by_scan = jax.jit(lambda chosen: jax.lax.scan(scanned, None, chosen)[1])
    expected = as_tuple(case.entry.grad(*arguments, **case.keywords))[0]
    np.testing.assert_allclose(mapped(*arguments), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(by_scan([arguments[i] for i in position]), expected, rtol=1e-11, atol=1e-13)


@every_loss
def test_second_derivatives_are_those_of_the_plain_form(x64, case):
    arguments = case.arguments(seed=2)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=arguments[0].shape))

    @functools.partial(jax.jit, static_argnums=0)
    def product(form, *arguments):
        def slope(x):
            total = jax.grad(lambda x: jnp.sum(form(x, *arguments[1:], **case.keywords) ** 2))
            return jnp.sum(total(x) * direction)

        return jax.grad(slope)(arguments[0])

    np.testing.assert_allclose(
        product(case.entry.loss, *arguments), product(case.entry.plain, *arguments), rtol=1e-9, atol=1e-11
    )


@every_loss
def test_narrow_inputs_accumulate_in_float32(case):
    narrow = case.arguments(dtype=jnp.bfloat16)
    wide = [a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in narrow]
    value = case.entry.loss(*narrow, **case.keywords)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, case.entry.loss(*wide, **case.keywords))
    gradients = as_tuple(case.entry.grad(*narrow, **case.keywords))
    expected = as_tuple(case.entry.grad(*wide, **case.keywords))
    for gradient, wide_gradient, index in zip(gradients, expected, case.differentiable, strict=True):
        assert gradient.dtype == narrow[index].dtype
        np.testing.assert_array_equal(gradient, wide_gradient.astype(gradient.dtype))


@every_loss
def test_forward_mode_works_on_the_plain_form(x64, case):
    arguments = case.arguments()
    plain = functools.partial(case.entry.plain, **case.keywords)
    direction = jnp.ones_like(arguments[0])
    _, slope = jax.jvp(lambda x: plain(x, *arguments[1:]), (arguments[0],), (direction,))
    gradient = as_tuple(case.entry.grad(*arguments, **case.keywords))[0]
    np.testing.assert_allclose(slope.sum(), jnp.sum(gradient * direction), rtol=1e-10, atol=1e-12)


@every_chunked_loss
@pytest.mark.parametrize("chunk_size", [1, 3, 5])
def test_chunks_change_neither_value_nor_gradient(x64, case, chunk_size):
    arguments = case.arguments()
    value = case.entry.loss(*arguments, **case.keywords)
    chunked = case.entry.loss(*arguments, **case.keywords, chunk_size=chunk_size)
    np.testing.assert_allclose(chunked, value, rtol=1e-13, atol=1e-14)
    cotangent = cotangent_of(case, arguments)
    expected = pulled_back(case, "grad")(cotangent, *arguments)
    actual = pulled_back(case, "grad", chunk_size)(cotangent, *arguments)
    assert_trees_close(actual, expected, rtol=1e-12, atol=1e-13)


@every_chunked_loss
def test_memory_of_a_chunked_gradient_grows_with_the_chunk(case):
    """Compiled temporary memory: without chunks quadratic in the batch, with them a small multiple of chunk x batch."""

    def temporary_bytes(count, chunk_size):
        x = jax.ShapeDtypeStruct((count, 2, 8), jnp.float32)
        labels = jax.ShapeDtypeStruct((count,), jnp.int32)
        number, classes = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((3, 8), jnp.float32)
        known = {"embeddings": x, "labels": labels, "scale": number, "bias": number, "class_weights": classes}
        known["class_bias"] = jax.ShapeDtypeStruct((3,), jnp.float32)
        if case.loss == "semi_hard_triplet_loss":
            known["embeddings"] = jax.ShapeDtypeStruct((count, 8), jnp.float32)
        arguments = [known[name] for name in case._positional]
        grad = functools.partial(case.entry.grad, **case.keywords, chunk_size=chunk_size)
        return jax.jit(grad).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    count = 1024
    assert temporary_bytes(count, None) > 4 * count**2
    assert temporary_bytes(count, 32) < 4 * count**2


# --- What fails, and how it says so. ---


def test_every_classification_and_metric_learning_loss_has_a_case():
    expected = {name for name, entry in losses.LOSSES.items() if entry.family == "metric_learning"}
    assert {case.loss for case in CASES} == expected


@every_loss
def test_nan_stays_nan(case):
    arguments = case.arguments(dtype=np.float32)
    first = case.differentiable[0]
    for index in case.differentiable:
        spoiled = list(arguments)
        spoiled[index] = spoiled[index].at[(0,) * spoiled[index].ndim].set(jnp.nan)
        value = case.entry.loss(*spoiled, **case.keywords)
        assert jnp.isnan(value.reshape(-1)[0])
        cotangent = jnp.ones_like(value)
        assert jnp.isnan(pulled_back(case, "grad")(cotangent, *spoiled)[case.differentiable.index(first)]).any()


@every_loss
def test_integers_are_refused(as_a_user, case):
    arguments = case.arguments(dtype=np.float32)
    arguments[0] = arguments[0].astype(jnp.int32)
    with pytest.raises(ArgumentTypeError, match=f"`{case._positional[0]}` must be floating"):
        case.entry.loss(*arguments, **case.keywords)


@every_loss
def test_a_cotangent_of_another_shape_is_refused(as_a_user, case):
    arguments = case.arguments(dtype=np.float32)
    with pytest.raises(ArgumentError, match="`cotangent` must have shape"):
        case.entry.grad(*arguments, **case.keywords, cotangent=jnp.ones(99))


@every_chunked_loss
def test_a_chunk_of_nothing_is_refused(as_a_user, case):
    with pytest.raises(ArgumentError, match="`chunk_size` must be at least 1"):
        case.entry.loss(*case.arguments(dtype=np.float32), **case.keywords, chunk_size=0)
