"""The regularized siamese network: a training step against the same network and loss in PyTorch.

64 pairs of 100 frames of 100 inputs, layers of 128 logistic units, 64 of the code for the speaker, Adam. Both sides
start at the same weights and must find the same loss and gradient norm in their first step.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks._frame import Case, Comparison, Peer, Run
from jaxspk.audio import CepstraConfig
from jaxspk.systems import SiameseConfig, SiameseLearner, SiameseModel, Tolerances, siamese_objective

_PAIRS, _FRAMES, _LEARNING_RATE = 64, 100, 1e-3
_TOLERANCES = Tolerances(2.0, 0.5)
_CONFIG = SiameseConfig(
    features=CepstraConfig(context=2), segment_frames=_FRAMES, hidden=(128,), code_units=128, speaker_units=64
)


@functools.cache
def _batch() -> dict[str, np.ndarray]:
    """Frames as after standardisation, half of the pairs of one speaker."""
    rng = np.random.default_rng(0)
    shape = (_PAIRS, _FRAMES, _CONFIG.features.inputs)
    frames = {f"frames_{side}": rng.normal(size=shape).astype(np.float32) for side in (1, 2)}
    numbers = np.arange(_PAIRS, dtype=np.int32)
    same = numbers < _PAIRS // 2
    return {
        **frames,
        "same_speaker": same,
        "speaker_1": numbers,
        "speaker_2": np.where(same, numbers, numbers + _PAIRS),
    }


@functools.cache
def _model() -> SiameseModel:
    return SiameseModel(_CONFIG, rngs=nnx.Rngs(0))


def _step(gradient: Any) -> Run:
    """One training step after the other, from the first; each gives loss and gradient norm."""
    parts: Any = nnx.split(SiameseLearner(_model(), _TOLERANCES), nnx.Param, ...)
    graph, first, rest = parts
    optimizer = optax.adam(_LEARNING_RATE)
    objective = siamese_objective(_CONFIG, gradient=gradient)
    batch = {name: jnp.asarray(value) for name, value in _batch().items()}

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Any) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        params, moments = state

        def loss(params: Any) -> jax.Array:
            return objective(nnx.merge(graph, params, rest), batch, jax.random.key(0))[0]

        value, gradients = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments), (value, optax.tree.norm(gradients))

    # A copy, for a step takes its state's memory.
    state = jax.tree.map(jnp.copy, (first, optimizer.init(first)))

    def run() -> Any:
        nonlocal state
        state, measured = step(state, batch)
        return measured

    return run


def _torch_step() -> Run:
    """The same step as one would write it in torch."""
    import torch

    network = _model().network

    def stack(layers: Any, last: Sequence[Any]) -> Any:
        made: list[Any] = []
        for layer in layers:
            linear = torch.nn.Linear(*layer.kernel[...].shape)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(np.asarray(layer.kernel[...]).T))
                linear.bias.copy_(torch.tensor(np.asarray(layer.bias[...])))
            made += [linear, torch.nn.Sigmoid()]
        return torch.nn.Sequential(*made[:-1], *last)

    encoder, decoder = stack(network.encoder, [torch.nn.Sigmoid()]), stack(network.decoder, [])
    params = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(params, lr=_LEARNING_RATE)
    inputs = torch.tensor(np.stack([_batch()["frames_1"], _batch()["frames_2"]]))
    same = torch.tensor(_batch()["same_speaker"]).float()

    def contrast(distance: Any, tolerance: float) -> Any:
        return same * distance + (1 - same) * torch.exp(-distance / tolerance)

    def run() -> tuple[Any, Any]:
        optimizer.zero_grad()
        codes = encoder(inputs)
        reconstruction = (decoder(codes) - inputs).square().mean((-2, -1)).sum(0).mean()
        speaker = codes[..., : _CONFIG.speaker_units]
        means = speaker.mean(-2)
        centred = speaker - means[..., None, :]
        covariances = centred.transpose(-2, -1) @ centred / (_FRAMES - 1)
        discrimination = contrast((means[0] - means[1]).square().sum(-1), _TOLERANCES.mean) + contrast(
            (covariances[0] - covariances[1]).square().sum((-2, -1)), _TOLERANCES.covariance
        )
        loss = _CONFIG.alpha * reconstruction + (1 - _CONFIG.alpha) * discrimination.mean()
        loss.backward()
        norm = torch.nn.utils.get_total_norm([param.grad for param in params])
        optimizer.step()
        return loss.detach(), norm

    return run


def _check(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours), [float(number) for number in theirs], rtol=1e-4)


def _cases() -> Sequence[Case]:
    return [
        Case(
            name="training step, 64 pairs of 100 frames",
            ours=_step("closed_form"),
            peers=[
                Peer(name="the same network and loss in PyTorch", prepare=_torch_step, at_least=1),
            ],
            check=_check,
        ),
        Case(
            name="the same with the paper's closed form at the code layer",
            ours=_step("closed_form"),
            peers=[Peer(name="autodiff at the code layer", prepare=functools.partial(_step, "autodiff"))],
            check=_check,
        ),
    ]


COMPARISON = Comparison(title="Regularized siamese network", cases=_cases)
