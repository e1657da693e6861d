"""The speaker encoder: a training step against the same network in PyTorch, and embeddings against real time.

Fast ResNet-34 with angular prototypical loss and Adam, 100 speakers of two utterances of two seconds (202 frames of 40
mels). Both sides start at the same weights and must find the same loss and gradient norm in their first step.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks._frame import Case, Comparison, Figure, Peer, Run, best_seconds
from jaxspk import audio, losses, models

_SPEAKERS, _FRAMES, _BANDS, _DIM = 100, 202, 40, 512
_SCALE, _BIAS, _LEARNING_RATE = 10.0, -5.0, 1e-3
_SAMPLE_RATE = 16_000


@functools.cache
def _features() -> np.ndarray:
    """``[speakers, 2, frames, bands]``, as after normalisation."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(_SPEAKERS, 2, _FRAMES, _BANDS)).astype(np.float32)


@functools.cache
def _model() -> models.FastResNet34:
    return models.FastResNet34(_BANDS, dim=_DIM, rngs=nnx.Rngs(0))


# --- Ours. ---


def _step() -> Run:
    """One training step after the other, from the first; each gives loss and gradient norm."""
    step, first = _compiled_step()
    features = jnp.asarray(_features())
    # A copy, for a step takes its state's memory.
    state = jax.tree.map(jnp.copy, first)

    def run() -> Any:
        nonlocal state
        state, measured = step(state, features)
        return measured

    return run


@functools.cache
def _compiled_step() -> tuple[Any, Any]:
    """``step(state, features) -> (state, (loss, gradient norm))`` and its first state."""
    parts: Any = nnx.split(_model(), nnx.Param, ...)
    graph, network, statistics = parts
    params = (network, jnp.float32(_SCALE), jnp.float32(_BIAS))
    optimizer = optax.adam(_LEARNING_RATE)

    def objective(params: Any, statistics: Any, features: jax.Array) -> tuple[jax.Array, Any]:
        network, scale, bias = params
        model = nnx.merge(graph, network, statistics, copy=True)
        embeddings = model(features, deterministic=False)
        loss = jnp.mean(losses.angular_prototypical_loss(embeddings, scale, bias))
        rest: Any = nnx.split(model, nnx.Param, ...)
        return loss, rest[2]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, features: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        params, statistics, moments = state
        (loss, statistics), gradient = jax.value_and_grad(objective, has_aux=True)(params, statistics, features)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), statistics, moments), (loss, optax.tree.norm(gradient))

    return step, (params, statistics, optimizer.init(params))


def _embed(recordings: int, seconds: float) -> Run:
    """Waveforms to embeddings, features included."""
    graph, state = nnx.split(_model())

    @jax.jit
    def embed(state: Any, waveforms: jax.Array) -> jax.Array:
        features = audio.normalize_bands(audio.log_mel(waveforms))
        return nnx.merge(graph, state)(features)

    rng = np.random.default_rng(0)
    waveforms = jnp.asarray(0.1 * rng.normal(size=(recordings, round(seconds * _SAMPLE_RATE))), jnp.float32)
    return functools.partial(embed, state, waveforms)


# --- Theirs. ---


def _torch_step(memory_format: str) -> Run:
    """The same step in torch, each tensor of images in ``memory_format``."""
    import torch
    from torch.nn import functional

    layout = getattr(torch, memory_format)
    network = _torch_network().to(memory_format=layout)
    scale, bias = (torch.nn.Parameter(torch.tensor(value)) for value in (_SCALE, _BIAS))
    params = [*network.parameters(), scale, bias]
    optimizer = torch.optim.Adam(params, lr=_LEARNING_RATE)
    # [batch, 1, bands, frames], as the public training code has them.
    images = torch.tensor(_features()).reshape(-1, 1, _FRAMES, _BANDS).transpose(2, 3).contiguous(memory_format=layout)
    targets = torch.arange(_SPEAKERS)

    def run() -> tuple[Any, Any]:
        optimizer.zero_grad()
        embeddings = network(images).reshape(_SPEAKERS, 2, _DIM)
        queries, centroids = (functional.normalize(embeddings[:, index], dim=-1) for index in (0, 1))
        loss = functional.cross_entropy(scale * (queries @ centroids.T) + bias, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([param.grad for param in params])
        optimizer.step()
        return loss.detach(), norm

    return run


def _torch_network() -> Any:
    """Fast ResNet-34 with self-attentive pooling, of the weights of :func:`_model`."""
    import torch
    from torch import nn
    from torch.nn import functional

    def dense(layer: nnx.Linear) -> Any:
        return _filled(nn.Linear(layer.in_features, layer.out_features), weight=_array(layer.kernel).T, bias=layer.bias)

    def convolution(layer: Any) -> Any:
        # Ours are (frames, bands), theirs (bands, frames).
        weight = _array(layer.kernel).transpose(3, 2, 1, 0)
        outputs, inputs, bands, frames = weight.shape
        theirs = nn.Conv2d(
            inputs, outputs, (bands, frames), stride=layer.strides[::-1], padding=layer.padding[::-1], bias=False
        )
        return _filled(theirs, weight=weight)

    def norm(layer: Any) -> Any:
        return nn.BatchNorm2d(layer.scale.shape[0])

    class Block(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            self.first = nn.Sequential(convolution(block.first), nn.ReLU(inplace=True), norm(block.first_norm))
            self.second = nn.Sequential(convolution(block.second), norm(block.second_norm))
            self.squeeze, self.excite = dense(block.excitation.squeeze), dense(block.excitation.excite)
            self.shortcut: Any = nn.Identity()
            if block.shortcut is not None:
                self.shortcut = nn.Sequential(convolution(block.shortcut), norm(block.shortcut_norm))

        def forward(self, maps: Any) -> Any:
            hidden = self.second(self.first(maps))
            scale = torch.sigmoid(self.excite(functional.relu(self.squeeze(hidden.mean((2, 3))))))
            return functional.relu(hidden * scale[:, :, None, None] + self.shortcut(maps), inplace=True)

    class Network(nn.Module):
        def __init__(self, model: models.FastResNet34) -> None:
            super().__init__()
            blocks = [Block(block) for stage in model.stages for block in stage]
            self.maps = nn.Sequential(convolution(model.stem), norm(model.stem_norm), nn.ReLU(inplace=True), *blocks)
            attention: Any = model.pooling.attention
            self.hidden, self.embedding = dense(attention.hidden), dense(model.embedding)
            self.context = nn.Parameter(torch.tensor(_array(attention.context)))

        def forward(self, images: Any) -> Any:
            frames = self.maps(images).mean(2).transpose(1, 2)
            weights = torch.softmax(torch.tanh(self.hidden(frames)) @ self.context, dim=1)
            return self.embedding((weights * frames).sum(1))

    return Network(_model())


def _filled(module: Any, **weights: Any) -> Any:
    """The torch module with its parameters set."""
    import torch

    with torch.no_grad():
        for name, value in weights.items():
            getattr(module, name).copy_(torch.tensor(_array(value)))
    return module


def _array(parameter: Any) -> np.ndarray:
    return np.array(parameter[...])


# --- What is compared. ---


def _check(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Loss and gradient norm of the first step."""
    # The norm of a float32 gradient over 34 layers: 1.6e-3 apart was seen between layouts of the very same network.
    np.testing.assert_allclose([float(x) for x in ours], [float(x) for x in theirs], rtol=5e-3)


def _cases() -> Sequence[Case]:
    # The state of ours goes on from turn to turn, so that each case needs steps of its own.
    return [
        Case(
            name=f"training step, {_SPEAKERS} speakers × 2 utterances",
            ours=_step(),
            peers=[Peer(name=f"PyTorch, {name}", prepare=functools.partial(_torch_step, memory_format), at_least=1)],
            check=_check,
        )
        for name, memory_format in (("channels first", "contiguous_format"), ("channels last", "channels_last"))
    ]


def _figures() -> Sequence[Figure]:
    def real_times(recordings: int, seconds: float) -> float:
        return recordings * seconds / best_seconds(_embed(recordings, seconds), turns=5)

    return [
        Figure(
            name=f"embedding {recordings} × {seconds:g} s, from the waveform",
            measure=functools.partial(real_times, recordings, seconds),
            unit="× real time",
            at_least=60,
        )
        for recordings, seconds in ((1, 4.0), (1, 30.0), (16, 4.0))
    ]


COMPARISON = Comparison(
    title="Fast ResNet-34: training with angular prototypical loss, and embedding",
    cases=_cases,
    figures=_figures,
    threads=2,
)
