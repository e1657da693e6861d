"""Presets of the speaker-encoder training: functions that return a configuration."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxspk.audio import MelConfig
from jaxspk.data import SpeakerBatchConfig, SpeechAugmentConfig, one_of_five_augment
from jaxspk.systems._speaker_model import BackEndConfig, BandConfig, EncoderConfig, SpeakerConfig
from jaxspk.systems._speaker_objectives import ObjectiveConfig
from jaxspk.systems._speaker_training import SpeakerTraining, SpecAugmentConfig
from jaxspk.systems._speech import SpeechConfig
from jaxspk.training import FitConfig, OptimizerConfig


def quick() -> SpeakerTraining:
    """Minutes on two cores: a small time-delay network and short crops; synthetic voices unless speech is named."""
    return SpeakerTraining(
        system=SpeakerConfig(
            features=BandConfig(normalize="recording"),
            encoder=EncoderConfig(network="tdnn", dim=64, pooling="asp", width=64),
            back_end=BackEndConfig(),
        ),
        data=SpeechConfig(validation=0.15),
        batches=SpeakerBatchConfig(speakers=20, utterances=2, seconds=1.5),
        fit=_fit(steps=300, learning_rate=2e-3, every=50),
    )


def small() -> SpeakerTraining:
    """Under an hour on two cores with real speech: how the packaged weights were trained.

    Bands are normalised together, not one by one as in C20: on a few minutes of speech a speaker, what a voice sounds
    like on the average is the best cue there is. `--system.features.normalize bands` shows the other way.
    """
    return SpeakerTraining(
        data=SpeechConfig(validation=0.08),
        system=SpeakerConfig(
            features=BandConfig(mel=MelConfig(num_mels=64), normalize="recording"),
            encoder=EncoderConfig(network="tdnn", dim=192, pooling="asp", width=192),
            back_end=BackEndConfig(),
        ),
        batches=SpeakerBatchConfig(speakers=40, utterances=2, seconds=2.0),
        augment=SpeechAugmentConfig(
            room_share=0.1, noise_share=0.1, speeds=(0.9, 1.1), tail_db=(-10.0, 0.0), noise_snr_db=(8.0, 25.0)
        ),
        spec_augment=SpecAugmentConfig(time_masks=1, time_width=10, band_masks=1, band_width=6),
        fit=_fit(steps=1400, learning_rate=2e-3, every=100),
    )


def two_cores() -> SpeakerTraining:
    """A few minutes of two cores an objective, to compare many: a time-delay network, short crops, nothing varied."""
    return SpeakerTraining(
        system=SpeakerConfig(
            features=BandConfig(normalize="recording"),
            encoder=EncoderConfig(network="tdnn", dim=128, pooling="asp", width=128),
        ),
        data=SpeechConfig(validation=0.08),
        batches=SpeakerBatchConfig(speakers=32, utterances=2, seconds=1.5),
        fit=_fit(steps=360, learning_rate=2e-3, every=90),
    )


def paper() -> SpeakerTraining:
    """C20 for an accelerator: Fast ResNet-34 with angular prototypical loss, 400 x 2 crops of 2 s, no augmentation.

    The rate falls by 5 % every ten epochs, over 500 epochs of VoxCeleb2 with 100 utterances of each of 5,994 speakers.
    """
    # 599,400 utterances, 800 a step.
    steps = 500 * 749
    optimizer = OptimizerConfig(learning_rate=1e-3, schedule="exponential", final_fraction=0.95**50)
    return SpeakerTraining(
        batches=SpeakerBatchConfig(speakers=400, utterances=2, utterance_cap=100, seconds=32240 / 16000),
        fit=FitConfig(steps=steps, optimizer=optimizer, score="eer", validate_every=7490, checkpoint_every=7490),
    )


def modern() -> SpeakerTraining:
    """The recipe after C20, for an accelerator: half ResNet-34, 64 bands, softmax + prototypical, augmented."""
    optimizer = OptimizerConfig(
        name="adam", learning_rate=1e-3, schedule="exponential", final_fraction=0.01, weight_decay=5e-5
    )
    return dataclasses.replace(
        small(),
        system=SpeakerConfig(
            features=BandConfig(mel=MelConfig(num_mels=64), pre_emphasis=0.97),
            encoder=EncoderConfig(network="half_resnet34", dim=512, pooling="asp"),
        ),
        objective=ObjectiveConfig(loss="softmax_prototypical"),
        augment=one_of_five_augment(music=False),
        batches=SpeakerBatchConfig(speakers=200, utterances=2, utterance_cap=500, seconds=2.0),
        fit=FitConfig(steps=100_000, optimizer=optimizer, score="eer", validate_every=2000, checkpoint_every=2000),
    )


SPEAKER_PRESETS: Mapping[str, Callable[[], SpeakerTraining]] = {
    "quick": quick, "small": small, "paper": paper, "modern": modern,
}  # fmt: skip
"""Trainings of one encoder."""

COMPARISON_PRESETS: Mapping[str, Callable[[], SpeakerTraining]] = {
    "quick": quick, "two-cores": two_cores, "paper": paper, "modern": modern,
}  # fmt: skip
"""Network and budget of a comparison of objectives."""


def with_training_budget(
    training: SpeakerTraining, *, steps: int | None = None, minutes: float | None = None
) -> SpeakerTraining:
    """The same training with another budget.

    Args:
      training: to change.
      steps: how many; validations, checkpoints and warm-up keep their share of them.
      minutes: after which it stops, with the best model so far.
    """
    fit = training.fit
    if steps is not None:
        share = steps / fit.steps
        every = max(1, min(steps, round(fit.validate_every * share)))
        fit = dataclasses.replace(
            fit,
            steps=steps,
            validate_every=every,
            checkpoint_every=every,
            log_every=min(fit.log_every, every),
            optimizer=dataclasses.replace(fit.optimizer, warmup_steps=round(fit.optimizer.warmup_steps * share)),
        )
    if minutes is not None:
        fit = dataclasses.replace(fit, max_minutes=minutes)
    return dataclasses.replace(training, fit=fit)


def _fit(*, steps: int, learning_rate: float, every: int) -> FitConfig:
    optimizer = OptimizerConfig(
        name="adamw", learning_rate=learning_rate, schedule="cosine", warmup_steps=min(50, steps // 4), clip_norm=5.0,
        weight_decay=1e-2,
    )  # fmt: skip
    return FitConfig(
        steps=steps, optimizer=optimizer, score="eer", log_every=20, validate_every=every, checkpoint_every=every
    )
