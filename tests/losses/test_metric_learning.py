"""What every classification and metric-learning loss keeps: its definition, its gradient, its transformations."""

import dataclasses
import functools
import inspect
import itertools
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
        return [n for n in self.positional if n not in SHARED]

    @property
    def shared(self) -> list[str]:
        return [n for n in self.positional if n in SHARED]

    @property
    def positional(self) -> list[str]:
        parameters = inspect.signature(self.entry.loss).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def differentiable(self) -> list[int]:
        return [self.positional.index(name) for name in self.entry.differentiable]

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
some_losses = pytest.mark.parametrize("case", FIRST[::3], ids=str)  # Where all go through the same lines.
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
    np.testing.assert_allclose(case.entry.loss(*arguments, **case.keywords), expected, rtol=1e-11, atol=1e-13)


@some_losses
def test_plain_form_has_the_same_value(x64, case):
    arguments = case.arguments()
    plain, wired = (form(*arguments, **case.keywords) for form in (case.entry.plain, case.entry.loss))
    np.testing.assert_allclose(plain, wired, rtol=1e-14, atol=1e-15)


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_gradient_by_hand_is_that_of_the_plain_form(x64, case, seed):
    arguments = case.arguments(seed=seed)
    cotangent = cotangent_of(case, arguments)
    by_hand, by_autodiff = (pulled_back(case, form)(cotangent, *arguments) for form in ("grad", "plain"))
    assert_trees_close(by_hand, by_autodiff, rtol=1e-10, atol=1e-12)


@every_loss
def test_gradient_by_hand_is_wired_in(x64, case):
    arguments = case.arguments()
    cotangent = cotangent_of(case, arguments)
    by_hand, wired = (pulled_back(case, form)(cotangent, *arguments) for form in ("grad", "loss"))
    assert_trees_close(wired, by_hand, rtol=1e-13, atol=1e-14)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda x: case.entry.loss(x, *arguments[1:], **case.keywords), arguments[:1], arguments[:1])


@every_case
def test_gradient_is_the_slope_of_the_definition(x64, case):
    arguments = case.arguments(seed=5)
    cotangent = cotangent_of(case, arguments)
    gradients = pulled_back(case, "grad")(cotangent, *arguments)
    rng = np.random.default_rng(6)
    for index, gradient in zip(case.differentiable, gradients, strict=True):
        direction = rng.normal(size=gradient.shape)

        def along(step, index=index, direction=direction):
            moved = [np.asarray(a) for a in arguments]
            moved[index] = moved[index] + step * direction
            return np.sum(np.asarray(cotangent) * case.entry.definition(*moved, **case.keywords))

        slopes = [(along(h) - along(-h)) / (2 * h) for h in (4e-4, 2e-4, 1e-4)]
        once = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(slopes)]
        extrapolated = (16 * once[1] - once[0]) / 15
        np.testing.assert_allclose(np.sum(gradient * direction), extrapolated, rtol=1e-8, atol=1e-9)


@some_losses
def test_no_cotangent_is_the_gradient_of_the_sum(x64, case):
    arguments = case.arguments()
    summed = as_tuple(case.entry.grad(*arguments, **case.keywords))
    ones = jnp.ones_like(cotangent_of(case, arguments))
    assert_trees_close(summed, pulled_back(case, "grad")(ones, *arguments), rtol=1e-12, atol=1e-14)


@every_loss
def test_leading_batch_axes_are_independent_examples(x64, case):
    batch = (2, 3)
    arguments = case.arguments(batch=batch)
    expected = case.entry.definition(*arguments, **case.keywords)
    np.testing.assert_allclose(case.entry.loss(*arguments, **case.keywords), expected, rtol=1e-11, atol=1e-13)
    cotangent = cotangent_of(case, arguments)
    gradients = pulled_back(case, "grad")(cotangent, *arguments)
    singles = {}
    for place in np.ndindex(batch):
        single = [a[place] if name in case.per_batch else a for name, a in zip(case.positional, arguments, strict=True)]
        singles[place] = pulled_back(case, "grad")(cotangent[place], *single)
    for number, (name, gradient) in enumerate(zip(case.entry.differentiable, gradients, strict=True)):
        if name in case.per_batch:
            for place, single in singles.items():
                np.testing.assert_allclose(gradient[place], single[number], rtol=1e-10, atol=1e-12)
        else:
            total = sum(single[number] for single in singles.values())
            np.testing.assert_allclose(gradient, total, rtol=1e-10, atol=1e-12)


@every_loss
def test_goes_through_vmap_scan_and_remat(x64, case):
    """All at once: the first batch axis is mapped, the second scanned, and each step recomputes its forward pass."""
    arguments = case.arguments(batch=(2, 3))
    loss = functools.partial(case.entry.loss, **case.keywords)
    shared = {name: a for name, a in zip(case.positional, arguments, strict=True) if name in case.shared}
    batched = {name: a for name, a in zip(case.positional, arguments, strict=True) if name in case.per_batch}

    def slope(_, example):
        first, *rest = [{**example, **shared}[name] for name in case.positional]
        return None, jax.grad(lambda x: jax.checkpoint(loss)(x, *rest).sum())(first)

    gradients = jax.jit(jax.vmap(lambda examples: jax.lax.scan(slope, None, examples)[1]))(batched)
    expected = as_tuple(case.entry.grad(*arguments, **case.keywords))[0]
    np.testing.assert_allclose(gradients, expected, rtol=1e-11, atol=1e-13)


@every_loss
def test_second_derivatives_are_the_slopes_of_the_gradient(x64, case):
    arguments = case.arguments(seed=2)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=arguments[0].shape))

    @jax.jit
    def product(x):
        def along(x):
            return jnp.sum(jax.grad(lambda x: case.entry.loss(x, *arguments[1:], **case.keywords).sum())(x) * direction)

        return jax.grad(along)(x)

    def gradient(step):
        moved = arguments[0] + step * direction
        return as_tuple(case.entry.grad(moved, *arguments[1:], **case.keywords))[0]

    differences = [(gradient(h) - gradient(-h)) / (2 * h) for h in (2e-4, 1e-4)]
    np.testing.assert_allclose(product(arguments[0]), (4 * differences[1] - differences[0]) / 3, rtol=1e-6, atol=1e-7)


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


@some_losses
def test_forward_mode_works_on_the_plain_form(x64, case):
    arguments = case.arguments()
    plain = functools.partial(case.entry.plain, **case.keywords)
    direction = jnp.ones_like(arguments[0])
    _, slope = jax.jvp(lambda x: plain(x, *arguments[1:]), (arguments[0],), (direction,))
    gradient = as_tuple(case.entry.grad(*arguments, **case.keywords))[0]
    np.testing.assert_allclose(slope.sum(), jnp.sum(gradient * direction), rtol=1e-10, atol=1e-12)


@every_chunked_loss
def test_chunks_change_neither_value_nor_gradient(x64, case):
    arguments = case.arguments()
    value = case.entry.loss(*arguments, **case.keywords)
    chunk_size = 3 if value.size == SPEAKERS else 5  # neither divides the rows: some are left over
    chunked = case.entry.loss(*arguments, **case.keywords, chunk_size=chunk_size)
    np.testing.assert_allclose(chunked, value, rtol=1e-13, atol=1e-14)
    cotangent = cotangent_of(case, arguments)
    expected = pulled_back(case, "grad")(cotangent, *arguments)
    actual = pulled_back(case, "grad", chunk_size)(cotangent, *arguments)
    assert_trees_close(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", ["angular_prototypical_loss", "semi_hard_triplet_loss"])
def test_memory_of_a_chunked_gradient_grows_with_the_chunk(loss):
    """Temporary memory of the compiled gradient: without chunks quadratic in the batch, with them far below."""
    count, number = 1024, jax.ShapeDtypeStruct((), jnp.float32)
    if loss == "semi_hard_triplet_loss":
        vectors, labels = jax.ShapeDtypeStruct((count, 8), jnp.float32), jax.ShapeDtypeStruct((count,), jnp.int32)
        arguments, keywords = (vectors, labels), {"margin": 0.2}
    else:
        arguments, keywords = (jax.ShapeDtypeStruct((count, 2, 8), jnp.float32), number, number), {}

    def temporary_bytes(chunk_size):
        grad = functools.partial(losses.LOSSES[loss].grad, **keywords, chunk_size=chunk_size)
        return jax.jit(grad).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    matrix = 4 * count**2
    assert temporary_bytes(None) > matrix
    assert temporary_bytes(32) < matrix / 2


# --- What fails, and how it says so. ---


def test_every_classification_and_metric_learning_loss_has_a_case():
    expected = {name for name, entry in losses.LOSSES.items() if entry.family == "metric_learning"}
    assert {case.loss for case in CASES} == expected


@every_loss
def test_nan_stays_nan(case):
    arguments = case.arguments(dtype=np.float32)
    for index in case.differentiable:
        spoiled = list(arguments)
        spoiled[index] = spoiled[index].at[(0,) * spoiled[index].ndim].set(jnp.nan)
        assert jnp.isnan(case.entry.loss(*spoiled, **case.keywords).reshape(-1)[0])
        gradients = as_tuple(case.entry.grad(*spoiled, **case.keywords))
        assert any(jnp.isnan(gradient).any() for gradient in gradients)


@every_loss
def test_integers_are_refused(as_a_user, case):
    arguments = case.arguments(dtype=np.float32)
    arguments[0] = arguments[0].astype(jnp.int32)
    with pytest.raises(ArgumentTypeError, match=f"`{case.positional[0]}` must be floating"):
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
