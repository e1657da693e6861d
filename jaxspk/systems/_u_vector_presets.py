"""Presets of u-vector experiments: functions that return a configuration."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from jaxspk.audio import FrameFeatureConfig
from jaxspk.systems._speaker_objectives import ObjectiveConfig
from jaxspk.systems._speech import SpeechConfig
from jaxspk.systems._u_vector_experiment import UVectorExperiment
from jaxspk.systems._u_vector_speech import UVectorSpeech
from jaxspk.systems._u_vector_training import ClasswiseConfig, PairwiseConfig, UVectorTraining
from jaxspk.systems._u_vectors import FrameNetworkConfig, UVectorConfig, paper_u_vectors, released_u_vectors
from jaxspk.training import FitConfig, OptimizerConfig

Twin = Literal["pairwise", "triplet", "prototypical"]

TWINS: Mapping[str, str] = {
    "pairwise": "AutoEmbedder's loss on pairs",
    "triplet": "semi-hard triplet loss",
    "prototypical": "angular prototypical loss, not in the paper",
}
"""Losses that stand in for each other, by name."""

_PAPER_EPOCHS = 1200


def quick() -> UVectorExperiment:
    """A minute or two on two cores: eight synthetic voices of six segments each, unless speech is named."""
    made = cpu()
    speech = UVectorSpeech(speakers=8, segments=6, hop_seconds=0.1, data=SpeechConfig(synthetic=True))
    training = dataclasses.replace(made.training, classwise=_classes(48, 4))
    return with_u_vector_budget(dataclasses.replace(made, speech=speech, training=training), steps=100)


def cpu() -> UVectorExperiment:
    """A few minutes on one core: statistics of the bands and one hidden layer; what the ladder of gains came to.

    For the paper's twins on the same network, `--training.twin pairwise` or `grid --recipe cpu`.
    """
    return UVectorExperiment(
        speech=UVectorSpeech(hop_seconds=0.05),
        training=UVectorTraining(
            system=UVectorConfig(
                features=FrameFeatureConfig(scale="htk"),
                network=FrameNetworkConfig(network="statistics", dim=64, units=256),
            ),
            twin="classwise",
            pairwise=PairwiseConfig(pairs=512, alpha=10.0, clip_must_link=False),
            classwise=_classes(240, 4),
            fit=_fit(steps=600, learning_rate=2e-3, every=60),
        ),
    )


def paper() -> UVectorExperiment:
    """What the paper describes, for an accelerator: DenseNet121 from random weights, 100 mels, pairs, 1200 epochs.

    The number of epochs is the published code's, for the paper tells none; α is the code's too.
    """
    return UVectorExperiment(training=_densenet(paper_u_vectors()))


def released() -> UVectorExperiment:
    """What the published code does, for an accelerator. IT USES LABELS: groups are dealt from a speaker's frames."""
    return UVectorExperiment(speech=UVectorSpeech(protocol="as_released"), training=_densenet(released_u_vectors()))


U_VECTOR_PRESETS: Mapping[str, Callable[[], UVectorExperiment]] = {
    "quick": quick, "cpu": cpu, "paper": paper, "released": released,
}  # fmt: skip
"""Experiments by name."""


def with_twin(experiment: UVectorExperiment, twin: str) -> UVectorExperiment:
    """The experiment with another of :data:`TWINS`, all else being equal."""
    training = experiment.training
    if twin == "pairwise":
        return dataclasses.replace(experiment, training=dataclasses.replace(training, twin="pairwise"))
    loss: Literal["semi_hard_triplet", "angular_prototypical"]
    loss = "semi_hard_triplet" if twin == "triplet" else "angular_prototypical"
    objective = dataclasses.replace(training.classwise.objective, loss=loss, margin=None)
    classwise = dataclasses.replace(training.classwise, objective=objective)
    return dataclasses.replace(
        experiment, training=dataclasses.replace(training, twin="classwise", classwise=classwise)
    )


def with_u_vector_budget(
    experiment: UVectorExperiment, *, steps: int | None = None, minutes: float | None = None
) -> UVectorExperiment:
    """The same with another budget.

    Args:
      experiment: to change.
      steps: how many; validations, checkpoints and warm-up keep their share of them.
      minutes: after which training stops, to go on when there are more.
    """
    fit = experiment.training.fit
    if steps is not None:
        share = steps / fit.steps
        every = max(1, min(steps, round(fit.validate_every * share)))
        warmup = round(fit.optimizer.warmup_steps * share)
        fit = dataclasses.replace(
            fit,
            steps=steps,
            validate_every=every,
            checkpoint_every=max(every, min(steps, round(fit.checkpoint_every * share))),
            log_every=min(fit.log_every, every),
            optimizer=dataclasses.replace(fit.optimizer, warmup_steps=warmup),
        )
    if minutes is not None:
        fit = dataclasses.replace(fit, max_minutes=minutes)
    return dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, fit=fit))


def paper_steps(speakers: int, *, epochs: int = _PAPER_EPOCHS, frames: int = 50, pairs: int = 128) -> int:
    """Steps of so many epochs of the published code: each goes through the frames of all speakers once.

    Example:
      >>> paper_steps(25), paper_steps(150)
      (10800, 69600)
    """
    return epochs * max(1, frames * speakers // pairs)


def _densenet(system: UVectorConfig) -> UVectorTraining:
    steps = paper_steps(25)
    fit = FitConfig(
        steps=steps,
        optimizer=OptimizerConfig(learning_rate=5e-4),
        score="link_error",
        # Every twenty epochs.
        validate_every=steps // 60,
        checkpoint_every=steps // 12,
    )
    return UVectorTraining(system=system, pairwise=PairwiseConfig(pairs=128, alpha=100.0), fit=fit)


def _classes(classes: int, frames: int) -> ClasswiseConfig:
    return ClasswiseConfig(classes=classes, frames=frames, objective=ObjectiveConfig(loss="angular_prototypical"))


def _fit(*, steps: int, learning_rate: float, every: int) -> FitConfig:
    optimizer = OptimizerConfig(name="adamw", learning_rate=learning_rate, schedule="cosine", weight_decay=1e-2)
    return FitConfig(
        steps=steps, optimizer=optimizer, score="link_error", log_every=every // 4, validate_every=every,
        checkpoint_every=every * 5,
    )  # fmt: skip
