"""Training a speaker encoder: any objective on batches of speakers, the best model by trials of validation speakers."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxspk import _checks, audio, data, metrics, training
from jaxspk.data import Manifest, Recordings, SpeakerBatchConfig, SpeechAugmentConfig
from jaxspk.errors import ModelError, TrainingError
from jaxspk.systems._back_end import fit_back_end
from jaxspk.systems._speaker_encoder import SpeakerEncoder
from jaxspk.systems._speaker_model import SpeakerConfig, SpeakerModel, load_speaker_model
from jaxspk.systems._speaker_objectives import Objective, ObjectiveConfig, check_utterances
from jaxspk.systems._speech import Speech, SpeechConfig, sounds_folder
from jaxspk.training import FitConfig, FitResult, Run, may_change

Batch = Mapping[str, Array]

# Below this mean cosine distance between speakers the embeddings are one point, and no gradient pulls them apart.
_COLLAPSED = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """Stretches of time and bands that are blotted out of the features in training."""

    time_masks: int = 0
    """Stretches of frames."""
    time_width: int = 20
    """Frames in one at most."""
    band_masks: int = 0
    """Stretches of bands."""
    band_width: int = 6
    """Bands in one at most."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _checks.check_range(field.name, getattr(self, field.name), low=0)

    def __call__(self, features: Array, key: Array) -> Array:
        """Features with stretches blotted out."""
        if not (self.time_masks or self.band_masks):
            return features
        return audio.spec_augment(
            features,
            key,
            time_masks=self.time_masks,
            time_width=self.time_width,
            band_masks=self.band_masks,
            band_width=self.band_width,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerTraining:
    """Everything that decides what comes of a training."""

    data: SpeechConfig = SpeechConfig()
    """The speech, and who is kept for what."""
    system: SpeakerConfig = SpeakerConfig()
    """Features and network."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is minimised."""
    batches: SpeakerBatchConfig = SpeakerBatchConfig()
    """Speakers and utterances in a batch."""
    augment: SpeechAugmentConfig = SpeechAugmentConfig()
    """How recordings are varied, in the input pipeline."""
    spec_augment: SpecAugmentConfig = SpecAugmentConfig()
    """How features are, on the device."""
    fit: FitConfig = dataclasses.field(
        default_factory=lambda: FitConfig(score="eer", validate_every=200, checkpoint_every=200)
    )
    """How long, and with which optimiser; the best model has the lowest equal error rate of validation speakers."""
    initial_model: Path | None = None
    """A model directory whose weights to begin with."""
    sounds: Path | None = may_change(None)
    """Folder that holds `noise`, `rir` and perhaps `music`, for `augment`; None takes the folder of the speech."""
    workers: int = may_change(2)
    """Threads that make batches; the batches do not depend on it."""
    seed: int = 0
    """Everything random in the run derives from this."""


@dataclasses.dataclass(frozen=True)
class TrainedEncoder:
    """What comes of a training."""

    encoder: SpeakerEncoder
    """With the best weights."""
    classes: tuple[str, ...]
    """The training speakers, in the order of their labels."""
    result: FitResult["SpeakerLearner"]


class SpeakerLearner(nnx.Module):
    """A speaker network and the objective that trains it.

    Attributes:
      model: the network.
      objective: with its own learned parameters.
    """

    def __init__(self, config: SpeakerTraining, *, classes: int, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        # The back end is fitted when the network is trained.
        self.model = SpeakerModel(dataclasses.replace(config.system, back_end=None), rngs=rngs)
        self.objective = Objective(config.objective, classes=classes, dim=config.system.encoder.dim, rngs=rngs)


def speaker_objective(
    config: SpeakerTraining,
) -> Callable[[SpeakerLearner, Batch, Array], tuple[Array, dict[str, Array]]]:
    """The training loss, for :func:`jaxspk.training.fit`.

    A batch has "waveform" ``[speakers, utterances, samples]`` and "speaker" ``[speakers]``. All utterances go through
    the network together, so batch norm's statistics are those of the whole batch.
    """

    def objective(learner: SpeakerLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        mask_key, negative_key = jax.random.split(key)
        waveform = batch["waveform"]
        speakers, utterances, samples = waveform.shape
        embeddings = learner.model(
            waveform.reshape(speakers * utterances, samples),
            deterministic=False,
            transform=lambda features: config.spec_augment(features, mask_key),
        )
        return learner.objective(embeddings.reshape(speakers, utterances, -1), batch["speaker"], negative_key)

    return objective


def train_speaker_encoder(
    config: SpeakerTraining, speech: Speech, run: Run, *, progress: bool = True
) -> TrainedEncoder:
    """Trains a speaker encoder; goes on where a killed run stopped.

    Args:
      config: everything but the folder.
      speech: whose training speakers are learned; trials of validation speakers choose the best model.
      run: receives checkpoints and metrics.
      progress: show a bar on a terminal, lines elsewhere.

    Raises:
      ArgumentError: the batch does not fit the objective.
      CorpusError: too few speakers, or a held-out one among those to train on.
      TrainingError: the loss stays non-finite, or all embeddings have become the same.
    """
    check_utterances(config.objective, config.batches.utterances)
    network_alone = dataclasses.replace(config.system, back_end=None)
    recordings = Recordings(config.system.features.mel.sample_rate)
    classes = data.speaker_classes(speech.train, config.batches, config.augment)
    learner = SpeakerLearner(config, classes=len(classes), rngs=nnx.Rngs(config.seed))
    if config.initial_model is not None:
        _begin_with(learner.model, config.initial_model)
    with _training_batches(config, speech, recordings) as batches:
        result = training.fit(
            learner,
            speaker_objective(config),
            batches,
            config.fit,
            key=jax.random.key(config.seed),
            run=run,
            validate=_validation(network_alone, speech.validation, recordings),
            progress=progress,
        )
    encoder = SpeakerEncoder(network_alone, result.model.model)
    if config.system.back_end is not None:
        encoder = fit_back_end(encoder, speech.train, config.system.back_end, recordings=recordings)
    return TrainedEncoder(encoder, tuple(one.name for one in classes), result)


def _training_batches(config: SpeakerTraining, speech: Speech, recordings: Recordings) -> data.Batches:
    augment, rate = config.augment, recordings.sample_rate
    needs = augment.noise_share or augment.room_share or augment.music_share
    folder = sounds_folder(config.data, config.sounds) if needs else Path()
    return data.speaker_batches(
        speech.train,
        config.batches,
        augment=augment,
        seed=config.seed,
        sample_rate=rate,
        noises=data.read_noises(folder / "noise", "training", rate) if augment.noise_share else (),
        music=data.read_sounds(folder / "music", "training", rate, seconds=30.0) if augment.music_share else (),
        rooms=data.read_rooms(folder / "rir", "training", rate) if augment.room_share else (),
        recordings=recordings,
        workers=config.workers,
        shard_index=training.processes().index,
        shard_count=training.processes().count,
    )


def _begin_with(model: SpeakerModel, folder: Path) -> None:
    """Gives a network the weights of a model directory.

    Raises:
      ModelError: the directory holds a network of another shape.
    """
    _, trained = load_speaker_model(folder)
    given, wanted = (
        {path: variable.get_value().shape for path, variable in nnx.to_flat_state(nnx.state(whole.network))}
        for whole in (trained, model)
    )
    if given != wanted:
        raise ModelError(f"{folder}: holds another network than is trained; begin with a model of the same network.")
    nnx.update(model.network, nnx.state(trained.network))


def _validation(
    config: SpeakerConfig, speakers: Manifest, recordings: Recordings
) -> Callable[[SpeakerLearner], Mapping[str, float]]:
    """A function of the model alone: its errors on all trials of the validation speakers' recordings."""
    trials = data.make_trials(speakers, sessions="any")
    heard = [recordings.waveform(utterance.path) for utterance in speakers]

    def validate(learner: SpeakerLearner) -> Mapping[str, float]:
        encoder = SpeakerEncoder(config, learner.model)
        embeddings = encoder.embed(heard, recordings.sample_rate)
        between = 1 - float(jnp.mean(jnp.asarray(embeddings @ embeddings.mean(0))))
        if between < _COLLAPSED:
            raise TrainingError(
                f"the embeddings of all validation speakers have become the same (mean cosine distance {between:.1e}); "
                f"begin anew with a lower `learning_rate`, more speakers in a batch, or easier `negatives`."
            )
        scores = np.sum(embeddings[trials.enrol] * embeddings[trials.test], axis=-1)
        rate = metrics.equal_error_rate(scores, trials.labels).eer
        return {
            "eer": rate,
            "min_dcf": metrics.min_dcf(scores, trials.labels, p_target=0.05),
            "min_cllr": metrics.min_cllr(scores, trials.labels),
            "spread": between,
        }

    return validate
