"""The recurrent layers of deep clustering, forward and backward, against torch's LSTM.

Two bidirectional layers of 600 units per direction on 32 segments of 100 frames of 129 bins. Both sides start at the
same weights and must find the same output and gradient. Beside the times stands the rate of the multiplications and
additions that the layers cannot do without, as a share of that of a large matrix product on the same machine.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._frame import Case, Comparison, Figure, Peer, Run, best_seconds
from jaxspk.models import BidirectionalLSTM, recurrence_plain

_BATCH, _FRAMES, _BINS, _UNITS = 32, 100, 129, 600
_MATRIX = 2048


@functools.cache
def _features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(_BATCH, _FRAMES, _BINS)).astype(np.float32)


@functools.cache
def _layers() -> tuple[BidirectionalLSTM, BidirectionalLSTM]:
    rngs = nnx.Rngs(0)
    return BidirectionalLSTM(_BINS, _UNITS, rngs=rngs), BidirectionalLSTM(2 * _UNITS, _UNITS, rngs=rngs)


def _ours(*, plain: bool = False) -> Run:
    graph, state = nnx.split(_layers())

    def objective(state: Any, features: jax.Array) -> jax.Array:
        hidden = features
        for layer in nnx.merge(graph, state):
            hidden = layer(hidden, recurrence=recurrence_plain) if plain else layer(hidden)
        return jnp.sum(jnp.square(hidden))

    return functools.partial(jax.jit(jax.value_and_grad(objective)), state, jnp.asarray(_features()))


def _torch() -> Run:
    import torch

    network = torch.nn.LSTM(_BINS, _UNITS, num_layers=2, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for index, layer in enumerate(_layers()):
            for direction, suffix in enumerate(("", "_reverse")):
                for name, values in (
                    ("weight_ih", layer.input_kernel[direction].T),
                    ("weight_hh", layer.recurrent_kernel[direction].T),
                    ("bias_ih", layer.bias[direction]),
                    # One bias does the work of torch's two.
                    ("bias_hh", jnp.zeros_like(layer.bias[direction])),
                ):
                    getattr(network, f"{name}_l{index}{suffix}").copy_(torch.tensor(np.array(values)))
    features = torch.tensor(_features())

    def run() -> tuple[Any, list[Any]]:
        network.zero_grad()
        value = network(features)[0].square().sum()
        value.backward()
        return value.detach(), [parameter.grad for parameter in network.parameters()]

    return run


def _check(ours: tuple[Any, Any], theirs: tuple[Any, Sequence[Any]]) -> None:
    value, gradient = ours
    np.testing.assert_allclose(float(value), float(theirs[0]), rtol=1e-5)
    kernels = [layer["recurrent_kernel"][...] for layer in gradient.values()]
    for index, ours_both in enumerate(kernels):
        for direction in range(2):
            # Per layer: forward weights, then backward ones; the second of each four belongs to the state.
            expected = theirs[1][8 * index + 4 * direction + 1].numpy().T
            np.testing.assert_allclose(ours_both[direction], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def _check_plain(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(other))))


def _cases() -> Sequence[Case]:
    plain = Peer(name="autodiff of the same loop", prepare=functools.partial(_ours, plain=True), at_least=1)
    return [
        Case(
            name="forward and backward",
            ours=_ours(),
            peers=[Peer(name="torch.nn.LSTM", prepare=_torch, at_least=1)],
            check=_check,
        ),
        Case(name="forward and backward", ours=_ours(), peers=[plain], check=_check_plain),
    ]


def _share_of_products() -> float:
    """Floating-point operations a second in the matrix products of the layers, over those of one large product."""
    inputs = (_BINS, 2 * _UNITS)
    # Forward; gradients of states or inputs; gradients of weights. The first layer's input needs no gradient.
    multiplied = sum(2 * 4 * _UNITS * (3 * (_UNITS + size) - (size if size == _BINS else 0)) for size in inputs)
    layers = 2 * _BATCH * _FRAMES * multiplied / best_seconds(_ours(), turns=3)
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    product = jax.jit(jnp.matmul)
    return layers / (2 * _MATRIX**3 / best_seconds(functools.partial(product, matrix, matrix), turns=5))


def _figures() -> Sequence[Figure]:
    return [
        Figure(
            name="rate of the layers' matrix products, elementwise work included",
            measure=_share_of_products,
            unit="× that of a product of two 2048 × 2048 matrices",
        ),
    ]


COMPARISON = Comparison(
    title=f"Two bidirectional LSTM layers of {_UNITS}, {_BATCH} × {_FRAMES} frames × {_BINS}",
    cases=_cases,
    figures=_figures,
    threads=2,
)
