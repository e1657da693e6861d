"""Deep clustering's loss and its gradient, forward and backward, against PyTorch and against JAX's own gradient.

The size is that of training on 400 frames: 8 segments, 129 frequencies, 40 dimensions, 2 speakers.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._frame import Case, Comparison, Figure, Peer, Run, best_seconds
from jaxspk.losses import deep_clustering_loss, deep_clustering_loss_plain

_BATCH, _FRAMES, _FREQUENCIES, _DIM, _SOURCES = 8, 400, 129, 40, 2
_BINS = _FRAMES * _FREQUENCIES
_BYTES = 4 * _BATCH * _BINS * _DIM
"""Of the embeddings, V."""

_ACTIVE = _BINS // 2
"""Bins of each segment that are loud enough to count."""

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@functools.cache
def _inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit embeddings, the loudest source of each bin, and which bins count."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(_BATCH, _BINS, _DIM)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    active = rng.permuted(np.tile(np.arange(_BINS) < _ACTIVE, (_BATCH, 1)), axis=-1)
    return embeddings, rng.integers(_SOURCES, size=(_BATCH, _BINS)), active.astype(np.float32)


def _cases() -> Sequence[Case]:
    return [
        Case(
            name="loss and gradient, two cores",
            ours=_jax_run(deep_clustering_loss),
            peers=[
                Peer(name="asteroid's form in PyTorch", prepare=_pytorch_run, at_least=4),
                Peer(name="autodiff of the three Gram matrices", prepare=lambda: _jax_run(_gram_form), at_least=1.4),
                Peer(
                    name="autodiff of deep_clustering_loss_plain",
                    prepare=lambda: _jax_run(deep_clustering_loss_plain),
                    at_least=1.4,
                ),
            ],
            check=_check,
        )
    ]


def _figures() -> Sequence[Figure]:
    return [
        Figure(name="memory at the peak, V and its gradient included", measure=_peak, unit="× V", at_most=2.5),
        Figure(name="memory bandwidth, reading and writing V", measure=lambda: _bandwidth() / 1e9, unit="GB/s"),
        Figure(name="time over one read of V and one write", measure=_passes, unit="×"),
    ]


def _compiled(loss: Loss) -> tuple[Any, tuple[jax.Array, ...]]:
    embeddings, labels, active = _inputs()
    one_hot = jax.nn.one_hot(labels, _SOURCES, dtype=jnp.float32)
    arguments = jnp.asarray(embeddings), one_hot, jnp.asarray(active)
    step = jax.jit(jax.value_and_grad(lambda v, y, w: jnp.sum(loss(v, y, w))))
    return step.lower(*arguments).compile(), arguments


def _jax_run(loss: Loss) -> Run:
    compiled, arguments = _compiled(loss)
    return functools.partial(compiled, *arguments)


def _gram_form(v: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
    """The textbook's three products over bins, without a rule of its own."""
    weighted_v, weighted_y = w[..., None] * v, w[..., None] * y
    products = v.mT @ weighted_v, v.mT @ weighted_y, y.mT @ weighted_y
    inner, cross, ideal = (jnp.sum(jnp.square(product), axis=(-2, -1)) for product in products)
    return inner - 2 * cross + ideal


def _pytorch_run() -> Run:
    """As asteroid's users run it: labels are made one-hot at every step, and the sum is divided by active bins."""
    import torch

    embeddings, labels, loud = _inputs()
    v, active = torch.tensor(embeddings, requires_grad=True), torch.tensor(loud)[..., None]
    source: Any = torch.tensor(labels)

    def run() -> tuple[Any, Any]:
        one_hot = torch.zeros(_BATCH, _BINS, len(source.unique())).scatter_(2, source[..., None], 1)
        masked, ideal = active * v, active * one_hot
        inner, cross, own = (
            torch.einsum("bnk,bnl->bkl", first, second).square().sum((1, 2))
            for first, second in ((masked, masked), (masked, ideal), (ideal, ideal))
        )
        loss = ((inner - 2 * cross + own) / active.sum((1, 2))).mean()
        return loss.detach(), torch.autograd.grad(loss, v)[0]

    return run


def _check(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    (value, gradient), (other, other_gradient) = ([np.asarray(part) for part in side] for side in (ours, theirs))
    # PyTorch's is divided by active bins and by the batch.
    scale = value / other
    assert np.isclose(scale, 1, rtol=1e-3) or np.isclose(scale, _ACTIVE * _BATCH, rtol=1e-3), scale
    np.testing.assert_allclose(gradient, scale * other_gradient, rtol=0, atol=1e-3 * np.abs(gradient).max())


def _peak() -> float:
    compiled, _ = _compiled(deep_clustering_loss)
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return float(held - memory.alias_size_in_bytes) / _BYTES


def _bandwidth() -> float:
    """Bytes a second of reading V and writing as much, the best of several."""
    v = jnp.asarray(_inputs()[0])
    return 2 * _BYTES / best_seconds(functools.partial(jax.jit(lambda v: 2 * v), v))


def _passes() -> float:
    return best_seconds(_jax_run(deep_clustering_loss)) * _bandwidth() / (2 * _BYTES)


COMPARISON = Comparison(
    title="Deep clustering loss, forward and backward, B=8, T=400, F=129, D=40, C=2",
    cases=_cases,
    figures=_figures,
    threads=2,
)
