"""A toy training: linear regression on batches that are a function of their number."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.training import FitConfig, FitResult, OptimizerConfig, Run, fit

WEIGHTS = np.linspace(-1, 1, 4, dtype=np.float32)


class Batches:
    """Inputs and targets; ``change`` may alter a batch, given its number from 1 on."""

    def __init__(self, change: Callable[[int, dict[str, np.ndarray]], None] = lambda number, batch: None) -> None:
        self.number, self.change = 0, change

    def __next__(self) -> Mapping[str, np.ndarray]:
        self.number += 1
        inputs = np.random.default_rng(self.number).normal(size=(8, 4)).astype(np.float32)
        batch = {"inputs": inputs, "targets": inputs @ WEIGHTS}
        self.change(self.number, batch)
        return batch

    def get_state(self) -> dict[str, Any]:
        return {"number": self.number}

    def set_state(self, state: dict[str, Any]) -> None:
        self.number = state["number"]


class Linear(nnx.Module):
    """One weight an input, and a count of the calls that follows the steps."""

    def __init__(self) -> None:
        self.weights = nnx.Param(jnp.zeros(4))
        self.calls = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        self.calls[...] += 1
        return inputs @ self.weights[...]


def squared_error(model: Linear, batch: Mapping[str, jax.Array], key: jax.Array) -> Any:
    error = model(batch["inputs"]) - batch["targets"]
    return jnp.mean(jnp.square(error)), {"largest": jnp.max(jnp.abs(error))}


def distance(model: Linear) -> dict[str, float]:
    return {"loss": float(jnp.sum(jnp.square(model.weights[...] - WEIGHTS)))}


@dataclasses.dataclass
class Toy:
    """The parts of the training, and the training of them in a folder."""

    Batches = Batches
    Linear = Linear
    WEIGHTS = WEIGHTS
    loss = staticmethod(squared_error)
    distance = staticmethod(distance)

    config = FitConfig(
        steps=12,
        optimizer=OptimizerConfig(name="sgd", learning_rate=0.05, momentum=0.5),
        log_every=2,
        validate_every=4,
        checkpoint_every=3,
    )

    def fit(self, folder: Any, config: FitConfig | None = None, **changes: Any) -> FitResult[Linear]:
        config = config or self.config
        arguments = {
            "model": Linear(),
            "loss": squared_error,
            "batches": Batches(),
            "key": jax.random.key(0),
            "validate": distance,
            "progress": False,
        } | changes
        with Run(folder, config) as run:
            return fit(config=config, run=run, **arguments)


@pytest.fixture
def toy(compiled: None, monkeypatch: pytest.MonkeyPatch) -> Toy:
    # Nobody pulls the plug on a test.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Toy()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache on disk of compiled code: the many trainings of the toy differ in little."""
    from jax.experimental.compilation_cache import compilation_cache

    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
