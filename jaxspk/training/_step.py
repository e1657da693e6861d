"""One training step as a pure function of (state, batch)."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Int, PyTree

from jaxspk._numerics import at_least_float32
from jaxspk.errors import ArgumentError, TrainingError
from jaxspk.training._state import TrainState, add_weight_noise

Batch = Mapping[str, Any]
Loss = Callable[[Any, Any, Any], tuple[Any, Any]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Int[Array, ""]]]

RESERVED = frozenset({"loss", "grad_norm", "learning_rate", "skipped", "step", "split", "stage", "times"})
"""Names in a line of the log that are not for a loss's own metrics."""


@runtime_checkable
class BatchIterator(Protocol):
    """An endless source of batches that can be stopped and gone on with at any of them."""

    def __next__(self) -> Mapping[str, np.ndarray]:
        """The next batch: arrays by name, of the same shapes each time."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Where it stands, as JSON can hold it."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to where :meth:`get_state` was called; the same batches follow."""
        ...


def split_model(model: nnx.Module) -> tuple[Any, PyTree, PyTree]:
    """A model as (structure, parameters, all its other variables)."""
    parts: Any = nnx.split(model, nnx.Param, ...)
    graph, params, rest = parts
    return graph, params, rest


def make_objective(
    graph: Any, loss: Loss, compute_dtype: DTypeLike | None
) -> Callable[..., tuple[Any, tuple[Any, PyTree]]]:
    """The loss as a function of the parameters, with metrics and the new other variables beside it."""

    def objective(params: PyTree, rest: PyTree, batch: Batch, key: Any) -> tuple[Any, tuple[Any, PyTree]]:
        # Merged inside, so that the model's variables belong to this trace.
        model = nnx.merge(graph, _cast_floating(params, compute_dtype), rest, copy=True)
        returned = loss(model, batch, key)
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)):
            raise ArgumentError("`loss` must return a scalar and a dictionary of metrics.")
        value, metrics = returned
        for name, scalar in {"loss": value, **metrics}.items():
            if jnp.shape(scalar) != ():
                raise ArgumentError(f"`loss` must return scalars, got {name} of shape {jnp.shape(scalar)}.")
        if clash := RESERVED & set(metrics):
            raise ArgumentError(f"`loss` must not return a metric named {min(clash)!r}: the loop has its own.")
        return _at_least_float32(value), (
            {name: _at_least_float32(metric) for name, metric in metrics.items()},
            _like(rest, split_model(model)[2]),
        )

    return objective


def metric_shapes(objective: Callable[..., Any], params: PyTree, rest: PyTree, batch: Batch, key: Any) -> Any:
    """Names and dtypes of what a step reports, without computing anything."""
    value, (metrics, _) = jax.eval_shape(objective, params, rest, batch, key)
    return {"loss": value, "grad_norm": value, **metrics}


def make_step(
    objective: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    weight_noise: float,
    parts: int = 1,
    gathered: Callable[[PyTree], PyTree] = lambda params: params,
) -> Step:
    """The step: gradient, update, and, where loss or gradient norm is not finite, neither.

    Args:
      objective: from :func:`make_objective`.
      optimizer: from :func:`jaxspk.training.make_optimizer`.
      weight_noise: standard deviation of the noise on the parameters where the gradient is taken; 0 for none.
      parts: pieces of a batch whose gradients are averaged, one piece in memory at a time.
      gathered: makes parameters whole on each device.

    Returns:
      A pure function of (state, batch), to be jitted with the state donated. Beside the new state it returns
      the number of steps in a row that were not finite, in memory of its own.
    """
    gradient = jax.value_and_grad(objective, has_aux=True) if parts == 1 else _mean_gradient(objective, parts)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Int[Array, ""]]:
        loss_key, noise_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        at = add_weight_noise(state.params, weight_noise, noise_key) if weight_noise else state.params
        (value, (metrics, rest)), grads = gradient(gathered(at), state.rest, batch, loss_key)
        norm = optax.tree.norm(grads)
        good = jnp.isfinite(value) & jnp.isfinite(norm)
        updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
        updates = jax.tree.map(lambda update: update * state.rate_scale.astype(update.dtype), updates)
        params = optax.apply_updates(state.params, updates)

        def where_good(new: PyTree, old: PyTree) -> PyTree:
            return jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)

        measured = {"loss": value, "grad_norm": norm.astype(value.dtype), **metrics}
        sums = jax.tree.map(lambda total, metric: total + metric, state.sums, measured)
        bad_run = jnp.where(good, 0, state.bad_run + 1)
        new_state = TrainState(
            params=where_good(params, state.params),
            rest=where_good(rest, state.rest),
            optimizer=where_good(optimizer_state, state.optimizer),
            key=state.key,
            step=state.step + 1,
            skipped=state.skipped + (1 - good.astype(state.skipped.dtype)),
            bad_run=bad_run,
            rate_scale=state.rate_scale,
            sums=where_good(sums, state.sums),
            summed=state.summed + good.astype(state.summed.dtype),
        )
        return new_state, jnp.copy(bad_run)

    return step


def _mean_gradient(objective: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """``jax.value_and_grad`` of an objective, as the mean over parts of a batch, taken one after another.

    Part k holds rows k, k + parts, ...: each device finds its share of every part among the rows it has. The other
    variables of the model follow from part to part.
    """
    of_part = jax.value_and_grad(objective, has_aux=True)

    def mean_gradient(params: PyTree, rest: PyTree, batch: Batch, key: Any) -> Any:
        pieces = {
            name: jnp.moveaxis(rows.reshape(-1, parts, *rows.shape[1:]), 1, 0) for name, rows in dict(batch).items()
        }
        keys = jax.random.split(key, parts)
        first = {name: rows[0] for name, rows in pieces.items()}
        (value, (metrics, _)), grads = jax.eval_shape(of_part, params, rest, first, keys[0])
        shapes = value, metrics, grads
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, at_least_float32(shape.dtype)), shapes)

        def add(carried: tuple[PyTree, PyTree], part: tuple[Batch, Any]) -> tuple[tuple[PyTree, PyTree], None]:
            rest, totals = carried
            (value, (metrics, rest)), grads = of_part(params, rest, *part)
            new = jax.tree.map(lambda total, one: total + one.astype(total.dtype), totals, (value, metrics, grads))
            return (rest, new), None

        (rest, totals), _ = jax.lax.scan(add, (rest, zeros), (pieces, keys))
        means = jax.tree.map(lambda total, shape: (total / parts).astype(shape.dtype), totals, shapes)
        value, metrics, grads = means
        return (value, (metrics, rest)), grads

    return mean_gradient


def _cast_floating(tree: PyTree, dtype: DTypeLike | None) -> PyTree:
    """The floating arrays of a tree in another dtype; None leaves them."""
    if dtype is None:
        return tree
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def _at_least_float32(scalar: Any) -> Any:
    scalar = jnp.asarray(scalar)
    return scalar.astype(jnp.promote_types(scalar.dtype, jnp.float32))


def _like(before: PyTree, after: PyTree) -> PyTree:
    """The variables after a step, in the dtypes that they had before it."""
    structures: list[Any] = [jax.tree.structure(before), jax.tree.structure(after)]
    if structures[0] != structures[1]:
        raise TrainingError("`loss` added or removed variables of the model; it may change their values only.")
    return jax.tree.map(lambda new, old: new if new.dtype == old.dtype else new.astype(old.dtype), after, before)
