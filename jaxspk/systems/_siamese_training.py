"""Training a regularized siamese network: layer by layer without labels, then the whole on pairs of segments."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from flax import nnx

from jaxspk import _checks, data, metrics, training
from jaxspk.data import Manifest, SegmentPairConfig, SegmentPairSource, SpokenRecording
from jaxspk.errors import TrainingError
from jaxspk.systems._regularized_siamese import SiameseConfig, SiameseEncoder, SiameseModel
from jaxspk.systems._siamese_distances import PairDistances, pair_distances
from jaxspk.systems._siamese_objective import (
    GradientRule,
    LayerLearner,
    SiameseLearner,
    Tolerances,
    layer_objective,
    siamese_objective,
)
from jaxspk.systems._siamese_speech import PreparedSpeech, measure_inputs, measure_vectors
from jaxspk.systems._speech import Speech, SpeechConfig
from jaxspk.training import FitConfig, FitResult, OptimizerConfig, Run, may_change

# Batches whose pairs set the tolerances, and those drawn for pictures of distances.
_TOLERANCE_BATCHES = 16
# Training recordings that vectors are mapped by while the training goes on; all of them afterwards.
_STANDARD_RECORDINGS = 400
# Below this deviation of a unit's mean between recordings the codes are one point, and nothing pulls them apart.
_COLLAPSED = 1e-3
# Seeds of streams that must differ from that of the training.
_LAYER_STREAM, _TOLERANCE_STREAM, _PICTURE_STREAM = 101, 202, 303


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """Greedy, layer by layer, each to take noise out of what the layer below gives; no label is used."""

    steps: int = 200
    """Of each layer; 0 leaves pre-training out."""
    corruption: float = 0.5
    """Deviation of the Gaussian noise on the inputs, whose own deviation is 1."""
    masking: float = 0.2
    """Share of a higher layer's inputs that is set to 0."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))
    """Of each layer."""

    def __post_init__(self) -> None:
        _checks.check_range("steps", self.steps, low=0)
        _checks.check_range("corruption", self.corruption, low=0.0)
        _checks.check_range("masking", self.masking, low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseTraining:
    """Everything that decides what comes of a training."""

    data: SpeechConfig = dataclasses.field(default_factory=SpeechConfig)
    """The speech, and who is kept for what."""
    system: SiameseConfig = dataclasses.field(default_factory=SiameseConfig)
    """Features, network and loss."""
    pairs: int = 64
    """Pairs of segments in a batch, half of them of one speaker."""
    comparisons: int = 8
    """Segments that each first one of a pair is compared with: its partner, and partners of other pairs. 1 takes the
    drawn pairs alone."""
    single_recording: bool = True
    """Whether speakers of one recording make pairs of one speaker too, of two segments of it."""
    filter_deviation: float = 0.0
    """Each segment is heard through a filter of its own; see :class:`jaxspk.data.SegmentPairConfig`."""
    speeds: tuple[float, ...] = ()
    """Every speaker played at each of these speeds is one more speaker."""
    pretraining: PretrainingConfig = dataclasses.field(default_factory=PretrainingConfig)
    """What goes before."""
    gradient: GradientRule = "closed_form"
    """Of the contrastive loss at the code layer: the paper's Eq. A.1 to A.3, or autodiff."""
    lambda_factor: float = 2.0
    """A λ that is not given is so many times the mean distance of training pairs of two speakers before joint training.
    The push on a pair is largest at D = λ / 2."""
    fit: FitConfig = dataclasses.field(
        default_factory=lambda: FitConfig(
            steps=1000, score="eer", validate_every=100, checkpoint_every=200, log_every=20
        )
    )
    """Joint training: how long, and with which optimiser; the best model has the lowest equal error rate of validation
    speakers."""
    workers: int = may_change(2)
    """Threads that make batches; the batches do not depend on it."""
    seed: int = 0
    """Everything random in the run derives from this."""

    def __post_init__(self) -> None:
        _checks.check_range("comparisons", self.comparisons, low=1, high=self.pairs)
        _checks.check_choice("gradient", self.gradient, ("closed_form", "autodiff"))
        _checks.check_range("lambda_factor", self.lambda_factor, low=0.0, low_open=True)
        for index, speed in enumerate(self.speeds):
            _checks.check_range(f"speeds[{index}]", speed, low=0.5, high=2.0)

    @property
    def segments(self) -> SegmentPairConfig:
        """How pairs are drawn."""
        return SegmentPairConfig(
            pairs=self.pairs,
            frames=self.system.segment_frames,
            context=self.system.features.context,
            single_recording="apart" if self.single_recording else "skip",
            filter_deviation=self.filter_deviation,
        )


@dataclasses.dataclass(frozen=True)
class TrainedSiamese:
    """What comes of a training.

    Attributes:
      encoder: with the best weights; the tolerances that were found stand in its configuration.
      untrained: before any step.
      pretrained: before joint training.
      tolerances: of the whole loss.
      distances: of the same pairs with each of "untrained", "pretrained" and "trained".
      result: how joint training went.
    """

    encoder: SiameseEncoder
    untrained: SiameseEncoder
    pretrained: SiameseEncoder
    tolerances: Tolerances
    distances: Mapping[str, PairDistances]
    result: FitResult[SiameseLearner]


def train_siamese(
    config: SiameseTraining, speech: Speech, run: Run, *, prepared: PreparedSpeech | None = None, progress: bool = True
) -> TrainedSiamese:
    """Trains a regularized siamese network; goes on where a killed run stopped.

    Args:
      config: everything but the folder.
      speech: whose training speakers are learned; trials of validation speakers choose the best model.
      run: receives checkpoints and metrics of every stage.
      prepared: the speech as the front end sees it, where it is there already.
      progress: show a bar on a terminal, lines elsewhere.

    Raises:
      CorpusError: too few speakers, or a held-out one among those to train on.
      TrainingError: the loss stays non-finite, or all codes have become the same.
    """
    prepared = prepared or PreparedSpeech.of(speech, config.system.features, speeds=config.speeds)
    known, unchanged, new = prepared.train, prepared.unchanged, prepared.validation
    model = SiameseModel(config.system, rngs=nnx.Rngs(config.seed))
    measure_inputs(model, known, config.system.features.context)
    untrained = _with_vectors(config.system, model, unchanged)
    _pretrain(config, model, known, run, progress=progress)
    pretrained = _with_vectors(config.system, model, unchanged)
    tolerances = find_tolerances(config, model, known)
    learner = SiameseLearner(model, tolerances)
    objective = siamese_objective(config.system, gradient=config.gradient, comparisons=config.comparisons)
    with data.segment_pair_batches(
        SegmentPairSource(known, config.segments, seed=config.seed), workers=config.workers
    ) as batches:
        result = training.fit(
            learner,
            objective,
            batches,
            config.fit,
            key=jax.random.key(config.seed),
            run=run,
            validate=_validation(config, speech.validation, unchanged, new),
            stage="joint",
            progress=progress,
        )
    units = config.system.compared_units
    found = dataclasses.replace(
        config.system, lambda_mean=tolerances.mean / units, lambda_cov=tolerances.covariance / units**2
    )
    trained = _with_vectors(found, result.model.model, unchanged)
    pictures = SegmentPairSource(new, dataclasses.replace(config.segments, filter_deviation=0.0), seed=_PICTURE_STREAM)
    encoders = {"untrained": untrained, "pretrained": pretrained, "trained": trained}
    distances = {name: pair_distances(encoder, pictures) for name, encoder in encoders.items()}
    return TrainedSiamese(trained, untrained, pretrained, tolerances, distances, result)


def find_tolerances(config: SiameseTraining, model: SiameseModel, recordings: Sequence[SpokenRecording]) -> Tolerances:
    """λ_m and λ_S: those given by the unit, else from the distances of training pairs as the model is."""
    system, units = config.system, config.system.compared_units
    given = (
        None if system.lambda_mean is None else system.lambda_mean * units,
        None if system.lambda_cov is None else system.lambda_cov * units**2,
    )
    if None not in given:
        return Tolerances(*(float(value or math.nan) for value in given))
    source = SegmentPairSource(recordings, config.segments, seed=config.seed + _TOLERANCE_STREAM)
    measured = pair_distances(SiameseEncoder(system, model), source, batches=_TOLERANCE_BATCHES)
    apart = ~measured.same_speaker
    found = [config.lambda_factor * float(d[apart].mean()) for d in (measured.mean, measured.covariance)]
    if min(found) <= 0:
        raise TrainingError("the codes of all training segments are the same; begin with another `seed`.")
    return Tolerances(*(value if value is not None else new for value, new in zip(given, found, strict=True)))


# --- Stages. ---


def _pretrain(
    config: SiameseTraining, model: SiameseModel, recordings: Sequence[SpokenRecording], run: Run, *, progress: bool
) -> None:
    """One layer after the other, from below."""
    settings = config.pretraining
    if not settings.steps:
        return
    fit = FitConfig(
        steps=settings.steps,
        optimizer=settings.optimizer,
        log_every=config.fit.log_every,
        checkpoint_every=config.fit.checkpoint_every,
    )
    for place in range(len(config.system.units)):
        source = SegmentPairSource(recordings, config.segments, seed=config.seed + _LAYER_STREAM + place)
        with data.segment_pair_batches(source, workers=config.workers) as batches:
            result = training.fit(
                LayerLearner(model, place),
                layer_objective(corruption=settings.corruption, masking=settings.masking),
                batches,
                fit,
                key=jax.random.fold_in(jax.random.key(config.seed), place),
                run=run,
                stage=f"layer{place + 1}",
                progress=progress,
            )
        result.last.put_into(model.network)


def _validation(
    config: SiameseTraining,
    speakers: Manifest,
    known: Sequence[SpokenRecording],
    new: Sequence[SpokenRecording],
) -> Callable[[SiameseLearner], Mapping[str, float]]:
    """A function of the model alone: its errors on all trials of the validation speakers' recordings."""
    trials = data.make_trials(speakers, sessions="any")
    standard = known[:: max(1, -(-len(known) // _STANDARD_RECORDINGS))]

    def validate(learner: SiameseLearner) -> Mapping[str, float]:
        encoder = SiameseEncoder(config.system, learner.model)
        units = config.system.speaker_units
        codes = [encoder.codes_of(one.frames) for one in new]
        means = np.stack([one[:, :units].mean(0) for one in codes])
        spread = float(np.sqrt(means.var(0).mean()))
        if not spread > _COLLAPSED:
            raise TrainingError(collapse_advice(spread, config))
        measure_vectors(encoder, standard)
        vectors = np.stack([encoder.vector_of(one) for one in codes])
        scores = np.sum(vectors[trials.enrol] * vectors[trials.test], axis=-1)
        return {
            "eer": metrics.equal_error_rate(scores, trials.labels).eer,
            "min_dcf": metrics.min_dcf(scores, trials.labels, p_target=0.05),
            "spread": spread,
        }

    return validate


def collapse_advice(spread: float, config: SiameseTraining) -> str:
    """What to do where the codes of all recordings have become the same, in a line."""
    alpha = config.system.alpha
    return (
        f"the speaker codes of all validation recordings have become the same (deviation {spread:.1e}), where "
        "different speakers have no gradient any more; begin anew with "
        + (f"`alpha` above {alpha:g}" if alpha < 0.2 else "a lower `learning_rate`")
        + ", with pre-training, or with a smaller `lambda_factor`."
    )


def _with_vectors(config: SiameseConfig, model: SiameseModel, recordings: Sequence[SpokenRecording]) -> SiameseEncoder:
    """An encoder of the model as it is now, its vectors standardised by the recordings."""
    encoder = SiameseEncoder(config, nnx.clone(model))
    measure_vectors(encoder, recordings)
    # The parts that run were split off before.
    return SiameseEncoder(config, encoder.model)
