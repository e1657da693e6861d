"""Presets of the regularized siamese network: functions that return a configuration."""

from collections.abc import Callable, Mapping

from jaxspk.audio import CepstraConfig
from jaxspk.systems._regularized_siamese import SiameseConfig
from jaxspk.systems._siamese_training import PretrainingConfig, SiameseTraining
from jaxspk.systems._speech import SpeechConfig
from jaxspk.training import FitConfig, OptimizerConfig


def quick_siamese() -> SiameseTraining:
    """A minute or two on two cores: small, segments of half a second; synthetic voices unless speech is named."""
    return SiameseTraining(
        data=SpeechConfig(validation=0.2),
        system=SiameseConfig(
            features=CepstraConfig(context=1), segment_frames=50, hidden=(64,), code_units=64, speaker_units=32
        ),
        pairs=32,
        pretraining=PretrainingConfig(steps=40),
        lambda_factor=0.3,
        fit=_fit(steps=120, every=40),
    )


def small_siamese() -> SiameseTraining:
    """Some minutes on two cores with real speech: the settings behind the published table, chosen by validation."""
    return SiameseTraining(
        data=SpeechConfig(validation=0.1),
        system=SiameseConfig(
            features=CepstraConfig(first=0, context=2),
            segment_frames=100,
            hidden=(256,),
            code_units=384,
            speaker_units=256,
            contrast_units=64,
        ),
        pairs=64,
        comparisons=64,
        pretraining=PretrainingConfig(steps=40),
        lambda_factor=0.3,
        fit=_fit(steps=150, every=50),
    )


SIAMESE_PRESETS: Mapping[str, Callable[[], SiameseTraining]] = {"quick": quick_siamese, "small": small_siamese}
"""Presets by name."""


def _fit(*, steps: int, every: int) -> FitConfig:
    return FitConfig(
        steps=steps,
        optimizer=OptimizerConfig(learning_rate=2e-3, schedule="cosine"),
        score="eer",
        validate_every=every,
        checkpoint_every=every,
        log_every=10,
    )
