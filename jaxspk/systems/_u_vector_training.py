"""Training of u-vectors on pseudo-labels: AutoEmbedder's pairs, or any loss that compares the frames of a batch.

Nothing here can see who speaks: it gets :class:`jaxspk.data.PseudoLabelled`, and chooses by held-out frames of the
same pseudo-classes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxspk import _checks, data, losses, metrics, training
from jaxspk.data import ClassSource, LinkTable, NoiseConfig, PairSource, PseudoLabelled, Sound
from jaxspk.errors import ArgumentError
from jaxspk.systems._speaker_objectives import (
    Objective,
    ObjectiveConfig,
    StepCount,
    check_utterances,
    mean_distances,
)
from jaxspk.systems._u_vectors import UVectorConfig, UVectorModel
from jaxspk.training import FitConfig, FitResult, OptimizerConfig, Run, may_change

Batch = Mapping[str, Array]

_VALIDATION_PAIRS = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairwiseConfig:
    """AutoEmbedder's loss on pairs."""

    pairs: int = 128
    """In a batch, half must-links."""
    alpha: float = 100.0
    """Cap of the distance, and its target for cannot-links; the published code's."""
    clip_must_link: bool = True
    """Cap the distance of must-links too, as the paper does: those beyond are never pulled together."""
    branches: Literal["apart", "joint"] = "apart"
    """Whether batch norm takes its statistics from each side of the pairs by itself, as two passes through one network
    do, or from both together."""

    def __post_init__(self) -> None:
        _checks.check_range("alpha", self.alpha, low=0.0, low_open=True)
        _checks.check_choice("branches", self.branches, ("apart", "joint"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClasswiseConfig:
    """Any other loss, on several frames of each of several pseudo-classes."""

    classes: int = 32
    """Pseudo-classes in a batch."""
    frames: int = 4
    """Frames of each."""
    objective: ObjectiveConfig = dataclasses.field(
        default_factory=lambda: ObjectiveConfig(loss="semi_hard_triplet", margin=0.2)
    )
    """The loss; the paper's twin is the semi-hard triplet loss, whose margin it does not tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UVectorTraining:
    """Everything that decides what comes of a training, but for the sounds."""

    system: UVectorConfig = dataclasses.field(default_factory=UVectorConfig)
    """Segments, features and network."""
    twin: Literal["pairwise", "classwise"] = "pairwise"
    """Which of the next two is used."""
    pairwise: PairwiseConfig = dataclasses.field(default_factory=PairwiseConfig)
    """AutoEmbedder."""
    classwise: ClasswiseConfig = dataclasses.field(default_factory=ClasswiseConfig)
    """Its twin."""
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    """How frames are varied."""
    fit: FitConfig = dataclasses.field(
        default_factory=lambda: FitConfig(
            optimizer=OptimizerConfig(learning_rate=5e-4), score="link_error", validate_every=100, checkpoint_every=500
        )
    )
    """How long; the best model has the lowest ``link_error``, which no label goes into."""
    workers: int = may_change(2)
    """Threads that make batches; the batches do not depend on it."""
    seed: int = 0
    """Everything random in the run derives from this."""

    def __post_init__(self) -> None:
        _checks.check_choice("twin", self.twin, ("pairwise", "classwise"))
        check_utterances(self.classwise.objective, self.classwise.frames)


@dataclasses.dataclass(frozen=True)
class TrainedUVectors:
    """What comes of a training."""

    model: UVectorModel
    """With the best weights by ``link_error``, or the last where nothing was held out."""
    protocol: str
    """How the pseudo-labels were made."""
    uses_labels: bool
    """Whether names of speakers went into them; to be said wherever results are shown."""
    result: FitResult["UVectorLearner"]


class UVectorLearner(nnx.Module):
    """The network, and for classwise training the objective with its own parameters.

    Attributes:
      model: the network.
      objective: None for AutoEmbedder.
      steps: done so far.
    """

    def __init__(self, config: UVectorTraining, *, classes: int, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.model = UVectorModel(config.system, rngs=rngs)
        self.objective = nnx.data(None)
        if config.twin == "classwise":
            self.objective = nnx.data(
                Objective(config.classwise.objective, classes=classes, dim=config.system.network.dim, rngs=rngs)
            )
        self.steps = StepCount(jnp.int32(0))


def u_vector_objective(
    config: UVectorTraining,
) -> Callable[[UVectorLearner, Batch, Array], tuple[Array, dict[str, Array]]]:
    """The training loss, for :func:`jaxspk.training.fit`, on the batches of :func:`u_vector_batches`."""
    twin = _pairwise(config.pairwise) if config.twin == "pairwise" else _classwise

    def counted(learner: UVectorLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        learner.steps[...] = learner.steps[...] + 1
        return twin(learner, batch, key)

    return counted


def u_vector_batches(config: UVectorTraining, labelled: PseudoLabelled, noises: Sequence[Sound] = ()) -> data.Batches:
    """Pairs or classes of frames, as the twin wants them.

    Args:
      config: which twin, and how much noise.
      labelled: frames to draw from.
      noises: to mix in; needed where ``config.noise`` asks for it.
    """
    who = training.processes()
    if config.twin == "pairwise":
        pairs = PairSource(labelled, config.pairwise.pairs, seed=config.seed, noise=config.noise, noises=noises)
        return data.pair_batches(pairs, workers=config.workers, shard_index=who.index, shard_count=who.count)
    size = config.classwise
    classes = ClassSource(labelled, size.classes, size.frames, seed=config.seed, noise=config.noise, noises=noises)
    return data.class_batches(classes, workers=config.workers, shard_index=who.index, shard_count=who.count)


def train_u_vectors(
    config: UVectorTraining,
    labelled: PseudoLabelled,
    run: Run,
    *,
    held_out: PseudoLabelled | None = None,
    noises: Sequence[Sound] = (),
    watch: Callable[[int, UVectorModel], None] | None = None,
    progress: bool = True,
) -> TrainedUVectors:
    """Trains u-vectors; goes on where a killed run stopped. No name of a speaker is seen or asked for.

    Args:
      config: how.
      labelled: frames to train on.
      run: receives checkpoints and metrics.
      held_out: frames that are not trained on, by whose ``link_error`` the best model is chosen; None takes the last.
      noises: to mix in.
      watch: given the step and the model at every validation, to keep what curves are to be drawn of. Nothing comes
        back from it, so that whoever watches may know the speakers.
      progress: show a bar on a terminal, lines elsewhere.

    Raises:
      ArgumentError: frames of another length than the configuration's, or noise is asked for and there is none.
      CorpusError: too few frames or pseudo-classes.
      TrainingError: the loss stays non-finite.
    """
    samples = config.system.segments.frame_samples
    if labelled.frames.shape[1] != samples:
        raise ArgumentError(f"`labelled` must have frames of {samples} samples, got {labelled.frames.shape[1]}.")
    learner = UVectorLearner(config, classes=labelled.classes, rngs=nnx.Rngs(config.seed))
    validates = held_out is not None or watch is not None
    with u_vector_batches(config, labelled, noises) as batches:
        result = training.fit(
            learner,
            u_vector_objective(config),
            batches,
            config.fit,
            key=jax.random.key(config.seed),
            run=run,
            validate=_validation(config, labelled if held_out is None else held_out, watch) if validates else None,
            progress=progress,
        )
    model = (result.last if held_out is None else result.model).model
    return TrainedUVectors(model, labelled.protocol, labelled.uses_labels, result)


def link_error(
    embeddings: Float[np.ndarray, "frames dim"], labelled: PseudoLabelled, *, cosine: bool = False, seed: int = 0
) -> float:
    """Equal error rate of telling must-links from cannot-links by distance: a criterion without anybody's name.

    Some cannot-links are of one speaker, so that it does not reach 0.

    Args:
      embeddings: of the frames of ``labelled``.
      labelled: its pseudo-labels.
      cosine: compare directions instead of places.
      seed: of the pairs, twenty thousand of each kind.
    """
    links, rng = LinkTable(labelled), np.random.default_rng(seed)
    anchors = rng.integers(len(labelled), size=_VALIDATION_PAIRS)
    points = np.asarray(embeddings, np.float64)
    if cosine:
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    distances = [
        np.linalg.norm(points[anchors] - points[draw(anchors, rng)], axis=1) for draw in (links.must, links.cannot)
    ]
    return metrics.equal_error_rate(-np.concatenate(distances), np.arange(2 * len(anchors)) < len(anchors)).eer


def hold_out_frames(
    labelled: PseudoLabelled, frames: int = 2
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held"]]:
    """Numbers of the frames to train on, and of the last so many of each pseudo-class to choose by.

    Raises:
      ArgumentError: fewer than two would be left of a class.
    """
    _checks.check_range("frames", frames, low=2)
    order = np.argsort(labelled.labels, kind="stable")
    sizes = np.bincount(labelled.labels, minlength=labelled.classes)
    if sizes.min() < frames + 2:
        raise ArgumentError(
            f"`frames` must leave two of each pseudo-class to train on, got {frames} of {int(sizes.min())}."
        )
    labels = labelled.labels[order]
    from_end = np.searchsorted(labels, labels, side="right") - 1 - np.arange(len(order))
    return np.sort(order[from_end >= frames]), np.sort(order[from_end < frames])


def _pairwise(config: PairwiseConfig) -> Callable[[UVectorLearner, Batch, Array], tuple[Array, dict[str, Array]]]:
    def objective(learner: UVectorLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        frames = jnp.concatenate([batch["frames_1"], batch["frames_2"]])
        branches = 2 if config.branches == "apart" else 1
        first, second = jnp.split(learner.model(frames, deterministic=False, branches=branches), 2)
        apart = batch["cannot_link"]
        values = losses.autoembedder_loss(
            first, second, apart, alpha=config.alpha, clip_must_link=config.clip_must_link
        )
        # For the log alone: the root has no gradient at 0.
        gaps = jnp.linalg.norm(jax.lax.stop_gradient(first - second), axis=-1)
        return jnp.mean(values), {
            "must_link_distance": jnp.mean(gaps, where=~apart),
            "cannot_link_distance": jnp.mean(gaps, where=apart),
            # Of pairs beyond the cap there is no gradient.
            "capped": jnp.mean((gaps >= config.alpha).astype(jnp.float32)),
        }

    return objective


def _classwise(learner: UVectorLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
    frames = batch["frames"]
    classes, count, samples = frames.shape
    embeddings = learner.model(frames.reshape(classes * count, samples), deterministic=False)
    embeddings = embeddings.reshape(classes, count, -1)
    assert learner.objective is not None, "an AutoEmbedder has none"
    value, numbers = learner.objective(embeddings, batch["label"], key)
    within, between = mean_distances(embeddings)
    return value, {**numbers, "within": within, "between": between}


def _validation(
    config: UVectorTraining, judged: PseudoLabelled, watch: Callable[[int, UVectorModel], None] | None
) -> Callable[[UVectorLearner], Mapping[str, float]]:
    def validate(learner: UVectorLearner) -> Mapping[str, float]:
        if watch is not None:
            watch(int(learner.steps[...]), learner.model)
        embeddings = learner.model.embed(judged.frames)
        error = link_error(embeddings, judged, cosine=config.twin == "classwise")
        return {"link_error": error, "spread": float(embeddings.std())}

    return validate
