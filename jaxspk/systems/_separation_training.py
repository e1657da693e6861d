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
from jaxspk.data import AugmentConfig, MixtureConfig, Mixtures, Recordings
from jaxspk.errors import ModelError
from jaxspk.systems._deep_clustering import (
    DeepClusteringConfig,
    DeepClusteringModel,
    deep_clustering_cost,
    deep_clustering_objective,
    fit_statistics,
    load_deep_clustering,
)
from jaxspk.systems._separator import Separator
from jaxspk.systems._speech import Speech, SpeechConfig, sounds_folder
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
    training_mixtures: int | None = None
    """How many different mixtures to train on, round after round (H16: a fixed set); None never repeats one."""
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    """How training mixtures are varied; validation and test mixtures are not."""
    sounds: Path | None = may_change(None)
    """Folder that holds `noise` and `rir`, for `augment`; None takes the folder of the speech."""
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
        source = _training_source(config, speech, segments, seeds.stage(number), recordings)
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
            shard_index=training.processes().index,
            shard_count=training.processes().count,
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


def _training_source(
    config: SeparationTraining, speech: Speech, segments: MixtureConfig, seed: int, recordings: Recordings
) -> Mixtures:
    """What a stage trains on: mixtures of its own seed, varied where that is asked for."""
    size = config.training_mixtures or _ENDLESS
    augment, rate = config.augment, segments.sample_rate
    if augment == AugmentConfig():
        return data.MixtureSource(speech.train, segments, seed=seed, size=size, recordings=recordings)
    folder = sounds_folder(config.data, config.sounds) if augment.noise_share or augment.room_share else Path()
    noises = data.read_noises(folder / "noise", "training", rate) if augment.noise_share else ()
    rooms = data.read_rooms(folder / "rir", "training", rate) if augment.room_share else ()
    return data.augmented_source(
        speech.train, segments, augment, seed=seed, size=size, noises=noises, rooms=rooms, recordings=recordings
    )


def _segments(config: SeparationTraining, stage: StageConfig) -> MixtureConfig:
    features = config.system.features
    return dataclasses.replace(config.mixtures, seconds=features.samples(stage.frames) / features.sample_rate)


def _initial_model(
    config: SeparationTraining, speech: Speech, recordings: Recordings, seeds: _Seeds
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
        _take_weights(model, trained, config.initial_model)
    return model


def _take_weights(model: DeepClusteringModel, trained: DeepClusteringModel, folder: Path) -> None:
    """Gives a model the weights of another of the same shapes."""
    given, wanted = (
        {".".join(map(str, path)): variable.get_value().shape for path, variable in nnx.to_flat_state(state)}
        for state in (nnx.state(trained.network, nnx.Param), nnx.state(model.network, nnx.Param))
    )
    for name in sorted(given.keys() | wanted.keys()):
        if given.get(name) != wanted.get(name):
            raise ModelError(
                f"{folder}: its {name} has shape {given.get(name)}, the network to train needs {wanted.get(name)}; "
                f"begin with a model of the same layers, units and dim."
            )
    nnx.update(model.network, nnx.state(trained.network, nnx.Param))


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
