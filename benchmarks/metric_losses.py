"""Metric-learning losses and mining against the public training code's form and pytorch-metric-learning.

The sizes are those of the recipe: 400 speakers of two utterances, 512 dimensions, float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._frame import Case, Comparison, Figure, Peer, Run, best_seconds
from jaxspk import losses

_SPEAKERS, _DIM, _MARGIN, _SCALE, _BIAS = 400, 512, 0.2, 10.0, -5.0
_MANY, _CHUNK = 8192, 256


@functools.cache
def _voices(speakers: int = _SPEAKERS) -> np.ndarray:
    """Embeddings ``[speakers, 2, dim]`` around a centre for each speaker, so that some negatives are semi-hard."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(speakers, 1, _DIM))
    return (0.4 * centres + rng.normal(size=(speakers, 2, _DIM))).astype(np.float32)


@functools.cache
def _utterances() -> tuple[np.ndarray, np.ndarray]:
    """The same as ``[utterances, dim]`` with the speaker of each."""
    return _voices().reshape(-1, _DIM), np.repeat(np.arange(_SPEAKERS), 2)


def _cases() -> Sequence[Case]:
    return [
        Case(
            name="angular prototypical, loss and gradient",
            ours=_angular_run(losses.angular_prototypical_loss),
            peers=[
                Peer(name="the public training code's broadcasting form", prepare=_broadcasting_run, at_least=100),
                Peer(name="pytorch-metric-learning's NTXentLoss", prepare=_ntxent_run, at_least=1),
                Peer(
                    name="autodiff of angular_prototypical_loss_plain",
                    prepare=lambda: _angular_run(losses.angular_prototypical_loss_plain),
                ),
            ],
            check=_check_value_and_gradient,
        ),
        Case(
            name="semi-hard mining of 800 utterances",
            ours=_mining_run(),
            peers=[Peer(name="pytorch-metric-learning's TripletMarginMiner", prepare=_their_mining_run, at_least=20)],
            check=_check_mining,
        ),
        Case(
            name="batch semi-hard triplet of 800 utterances, mining, loss and gradient",
            ours=_semi_hard_run(),
            peers=[
                Peer(
                    name="pytorch-metric-learning's TripletMarginMiner and TripletMarginLoss",
                    prepare=_their_semi_hard_run,
                    at_least=20,
                ),
                Peer(
                    name="pytorch-metric-learning's BatchEasyHardMiner and TripletMarginLoss",
                    prepare=functools.partial(_their_semi_hard_run, nearest_only=True),
                ),
            ],
        ),
    ]


def _figures() -> Sequence[Figure]:
    matrix = 4 * _MANY**2

    def memory(chunk_size: int | None) -> float:
        return float(_compiled_angular(chunk_size).memory_analysis().temp_size_in_bytes) / matrix

    def slower() -> float:
        x = jnp.asarray(_voices(_MANY))
        chunked, whole = (
            best_seconds(functools.partial(_compiled_angular(size), x), turns=2) for size in (_CHUNK, None)
        )
        return chunked / whole

    unit = f"× the {_MANY} × {_MANY} matrix of cosines"
    return [
        Figure(name="temporary memory of the gradient, whole", measure=lambda: memory(None), unit=unit),
        Figure(
            name=f"temporary memory of the gradient, in chunks of {_CHUNK}",
            measure=lambda: memory(_CHUNK),
            unit=unit,
            at_most=0.5,
        ),
        Figure(name=f"time of the gradient in chunks of {_CHUNK} over whole", measure=slower, unit="×"),
    ]


# --- Ours. ---


def _angular_run(loss: Callable[..., jax.Array]) -> Run:
    x = jnp.asarray(_voices())
    step = jax.jit(jax.value_and_grad(lambda x, scale: jnp.mean(loss(x, scale, _BIAS)), (0, 1)))
    return functools.partial(step, x, jnp.float32(_SCALE))


@functools.cache
def _compiled_angular(chunk_size: int | None) -> Any:
    def mean(x: jax.Array) -> jax.Array:
        return jnp.mean(losses.angular_prototypical_loss(x, _SCALE, _BIAS, chunk_size=chunk_size))

    return jax.jit(jax.grad(mean)).lower(jax.eval_shape(lambda: jnp.zeros((_MANY, 2, _DIM)))).compile()


def _mining_run() -> Run:
    x, labels = map(jnp.asarray, _utterances())
    positives = x.reshape(_SPEAKERS, 2, _DIM)[:, ::-1].reshape(x.shape)
    mine = jax.jit(functools.partial(losses.semi_hard_candidates, margin=_MARGIN))
    return functools.partial(mine, x, positives, x, labels, labels)


def _semi_hard_run() -> Run:
    x, labels = map(jnp.asarray, _utterances())
    step = jax.jit(jax.value_and_grad(lambda x: jnp.mean(losses.semi_hard_triplet_loss(x, labels, margin=_MARGIN))))
    return functools.partial(step, x)


# --- Theirs. ---


def _torch_run(loss: Callable[[Any, Any], Any]) -> Run:
    """Value and gradients in the embeddings and the scale."""
    import torch

    x, scale = torch.tensor(_voices(), requires_grad=True), torch.tensor(_SCALE, requires_grad=True)

    def run() -> tuple[Any, tuple[Any, ...]]:
        value = loss(x, scale)
        return value.detach(), torch.autograd.grad(value, (x, scale))

    return run


def _broadcasting_run() -> Run:
    import torch

    labels = torch.arange(_SPEAKERS)

    def loss(x: Any, scale: Any) -> Any:
        # [speakers, dim, 1] against [1, dim, speakers]: every pair of vectors side by side in memory.
        queries, centroids = x[:, 0, :, None], x[:, 1:].mean(1)[:, :, None].transpose(0, 2)
        cosines = torch.nn.functional.cosine_similarity(queries, centroids, dim=1)
        return torch.nn.functional.cross_entropy(scale * cosines + _BIAS, labels)

    return _torch_run(loss)


def _ntxent_run() -> Run:
    import torch
    from pytorch_metric_learning.losses import NTXentLoss

    labels = torch.arange(_SPEAKERS)
    reference_labels = labels.clone()
    # Its temperature is a constant: the gradient in the scale is left out, to its advantage.
    criterion = NTXentLoss(temperature=1 / _SCALE)
    x = torch.tensor(_voices(), requires_grad=True)

    def run() -> tuple[Any, tuple[Any, ...]]:
        value = criterion(x[:, 0], labels, ref_emb=x[:, 1:].mean(1), ref_labels=reference_labels)
        return value.detach(), torch.autograd.grad(value, (x,))

    return run


def _their_mining_run() -> Run:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import TripletMarginMiner

    miner = TripletMarginMiner(margin=_MARGIN, type_of_triplets="semihard", distance=LpDistance(power=2))
    return functools.partial(miner, *map(torch.tensor, _utterances()))


def _their_semi_hard_run(nearest_only: bool = False) -> Run:
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchEasyHardMiner, TripletMarginMiner

    squared = LpDistance(power=2)
    miner = (
        BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard", distance=squared)
        if nearest_only
        else TripletMarginMiner(margin=_MARGIN, type_of_triplets="semihard", distance=squared)
    )
    criterion = TripletMarginLoss(margin=_MARGIN, distance=squared)
    voices, speakers = _utterances()
    x, labels = torch.tensor(voices, requires_grad=True), torch.tensor(speakers)

    def run() -> tuple[Any, Any]:
        value = criterion(x, labels, miner(x, labels))
        return value.detach(), torch.autograd.grad(value, x)[0]

    return run


# --- The same answers. ---


def _check_value_and_gradient(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    (value, (gradient, *_)), (other, (other_gradient, *_)) = ours, theirs
    np.testing.assert_allclose(value, other, rtol=1e-4)
    gradient, other_gradient = np.asarray(gradient), np.asarray(other_gradient)
    np.testing.assert_allclose(gradient, other_gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


def _check_mining(ours: Any, theirs: Any) -> None:
    anchors, _, negatives = theirs[:3]
    expected = np.zeros_like(np.asarray(ours))
    expected[np.asarray(anchors), np.asarray(negatives)] = True
    # Distances at the very edge round to either side.
    assert np.mean(np.asarray(ours) != expected) < 1e-4


COMPARISON = Comparison(
    title=f"Metric-learning losses and mining, {_SPEAKERS} speakers, two utterances, {_DIM} dimensions",
    cases=_cases,
    figures=_figures,
    threads=2,
)
