"""Training and testing a separator, from speech to scores; what experiments and ``jaxspk train`` run."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxspk import data, training
from jaxspk.data import MixtureConfig, Mixtures
from jaxspk.systems._deep_clustering import (
    DeepClusteringConfig,
    DeepClusteringModel,
    deep_clustering_cost,
    deep_clustering_objective,
    fit_statistics,
    load_deep_clustering,
)
from jaxspk.systems._separator import Separator
from jaxspk.systems._speech import Speech, SpeechConfig
from jaxspk.training import FitConfig, FitResult, Run, may_change

# Enough never to come round in a training: a mixture costs nothing until it is drawn.
_ENDLESS = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One part of a curriculum."""

    frames: int = 100
    """Length of the segments (H16: 100; I16 goes on with 400)."""
    batch_size: int = 16
    """Mixtures in a batch."""
    fit: FitConfig = FitConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationTraining:
    """Everything that decides a training of deep clustering and its test."""

    data: SpeechConfig = SpeechConfig()
    mixtures: MixtureConfig = MixtureConfig()
    """How mixtures are made; their rate must be the spectrum's. The length of training segments is a stage's."""
    system: DeepClusteringConfig = DeepClusteringConfig()
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    """One after another, each beginning with the best model of the one before."""
    initial_model: Path | None = None
    """A model directory whose weights to begin with, as the paper's logistic networks begin with tanh ones."""
    validation_mixtures: int = 64
    """Fixed segments of validation speakers; their mean loss decides which model is kept."""
    test_mixtures: int = 60
    """Whole mixtures of test speakers."""
    test_list: Path | None = may_change(None)
    """Table of test mixtures to use instead, as written by an earlier run."""
    workers: int = may_change(2)
    """Threads that make batches; the batches do not depend on it."""
    seed: int = 0
    """Everything random in the run derives from this."""


@dataclasses.dataclass(frozen=True)
class TrainedSeparator:
    """What comes of a training."""

    separator: Separator
    """With the best weights of the last stage."""
    stages: tuple[FitResult[DeepClusteringModel], ...]


def train_separator(config: SeparationTraining, speech: Speech, run: Run, *, progress: bool = True) -> TrainedSeparator:
    """Trains deep clustering on mixtures made on the fly; goes on where a killed run stopped.

    Args:
      config: everything but the folder.
      speech: whose training speakers are mixed; validation speakers choose the best model.
      run: receives checkpoints and metrics.
      progress: show a bar on a terminal, lines elsewhere.

    Raises:
      CorpusError: too few speakers, or a held-out one among those to train on.
      TrainingError: the loss stays non-finite.
    """
    seeds = _Seeds(config.seed)
    recordings = data.Recordings(config.mixtures.sample_rate)
    model = _initial_model(config, speech, recordings, seeds)
    results: list[FitResult[DeepClusteringModel]] = []
    for number, stage in enumerate(config.stages):
        segments = _segments(config, stage)
        source = data.MixtureSource(
            speech.train, segments, seed=seeds.stage(number), size=_ENDLESS, recordings=recordings
        )
        held = data.MixtureSource(
            speech.validation,
            segments,
            seed=seeds.validation,
            size=config.validation_mixtures,
            recordings=recordings,
        )
        with data.mixture_batches(
            source,
            batch_size=stage.batch_size,
            seed=seeds.stage(number),
            shuffle=False,
            workers=config.workers,
        ) as batches:
            result = training.fit(
                model,
                deep_clustering_objective(config.system),
                batches,
                stage.fit,
                key=jax.random.key(seeds.stage(number)),
                run=run,
                validate=_validation(config.system, held, stage.batch_size),
                stage=f"stage{number + 1}" if len(config.stages) > 1 else "",
                progress=progress,
            )
        results.append(result)
        model = result.model
    return TrainedSeparator(Separator(config.system, model), tuple(results))


def draw_test_mixtures(config: SeparationTraining, speech: Speech) -> Mixtures:
    """The mixtures of test speakers: the list that is named, or whole utterances drawn by the seed."""
    if config.test_list is not None:
        root = config.data.path
        return data.read_mixture_list(config.test_list, root=root)
    whole = dataclasses.replace(config.mixtures, seconds=None)
    return data.MixtureSource(speech.test, whole, seed=_Seeds(config.seed).test, size=config.test_mixtures)


@dataclasses.dataclass(frozen=True)
class _Seeds:
    """Independent seeds for everything that draws."""

    seed: int

    @property
    def initial(self) -> int:
        return self._draw(0)

    @property
    def validation(self) -> int:
        return self._draw(1)

    @property
    def test(self) -> int:
        return self._draw(2)

    def stage(self, number: int) -> int:
        return self._draw(3 + number)

    def _draw(self, index: int) -> int:
        return int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0])


def _segments(config: SeparationTraining, stage: StageConfig) -> MixtureConfig:
    features = config.system.features
    return dataclasses.replace(config.mixtures, seconds=features.samples(stage.frames) / features.sample_rate)


def _initial_model(
    config: SeparationTraining, speech: Speech, recordings: data.Recordings, seeds: _Seeds
) -> DeepClusteringModel:
    statistics = None
    if config.system.features.normalization == "corpus":
        source = data.MixtureSource(
            speech.train,
            _segments(config, config.stages[0]),
            seed=seeds.initial,
            size=1000,
            recordings=recordings,
        )
        statistics = fit_statistics(source, config.system)
    model = DeepClusteringModel(config.system, rngs=nnx.Rngs(seeds.initial), statistics=statistics)
    if config.initial_model is not None:
        _, trained = load_deep_clustering(config.initial_model)
        nnx.update(model.network, nnx.state(trained.network, nnx.Param))
    return model


def _validation(
    config: DeepClusteringConfig, mixtures: Mixtures, batch_size: int
) -> Callable[[DeepClusteringModel], Mapping[str, float]]:
    """A function of the model alone: its mean loss over fixed mixtures."""
    batches: list[Mapping[str, np.ndarray]] = [
        data.stack_mixtures([mixtures[index] for index in range(start, min(start + batch_size, len(mixtures)))])
        for start in range(0, len(mixtures), batch_size)
    ]

    @functools.partial(jax.jit, static_argnums=0)
    def costs(
        graph: nnx.GraphDef[DeepClusteringModel], state: nnx.State[Any, Any], batch: Mapping[str, Array]
    ) -> Array:
        return deep_clustering_cost(nnx.merge(graph, state), batch, config)

    def validate(model: DeepClusteringModel) -> Mapping[str, float]:
        graph, state = nnx.split(model)
        return {"loss": float(jnp.mean(jnp.concatenate([costs(graph, state, batch) for batch in batches])))}

    return validate
