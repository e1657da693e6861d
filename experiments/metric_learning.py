"""Speaker verification: train an encoder by any objective, then its errors on speakers kept apart.

One encoder, with a report:

    python -m experiments.metric_learning quick
    python -m experiments.metric_learning small --data.path ~/LibriSpeech --workdir runs/voices
    python -m experiments.metric_learning paper --data.path ~/VoxCeleb --objective.loss ge2e_softmax

Every objective on one network and one budget, which goes on where it stopped and gathers what there is into tables:

    python -m experiments.metric_learning compare --data.path ~/LibriSpeech
    python -m experiments.metric_learning compare --data.path ~/LibriSpeech --only softmax angular_prototypical
    python -m experiments.metric_learning compare --recipe paper --data.path ~/VoxCeleb

`quick` takes minutes on two cores, `small` about an hour; `paper` and `modern` want an accelerator. Without speech
named by `--data.path` or JAXSPK_DATA, synthetic voices are made. Killed, the same command goes on where it was.
Follows Chung et al. 2020. Figures of the last runs: docs/results/.
"""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from experiments.objective_comparison import ComparisonConfig, run_objectives
from jaxspk import reports, systems
from jaxspk.errors import JaxspkError
from jaxspk.systems import SPEAKER_PRESETS, SpeakerOutcome, SpeakerTraining, run_speaker_verification
from jaxspk.training import may_change

SOURCES = """\
Weights in half precision. The speech is licensed CC BY 4.0: LibriSpeech (c) 2014 by Vassil Panayotov,
https://www.openslr.org/12 (V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015), and speechocean762,
https://www.openslr.org/101 (J. Zhang et al., Interspeech 2021). `docs/data.md` names every utterance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SpeakerTraining):
    """A training, its test, and where both are written."""

    workdir: Path = may_change(Path("runs/metric_learning"))
    """Run directory: config, metrics, checkpoints, model, results, report."""
    package: Path | None = may_change(None)
    """Also write the model, in half precision, as the model directory that comes with the package."""


def preset(name: str) -> Config:
    """The configuration of a preset."""
    training = SPEAKER_PRESETS[name]()
    return Config(**{field.name: getattr(training, field.name) for field in dataclasses.fields(training)})


def main(config: Config, *, progress: bool = True) -> SpeakerOutcome:
    """Trains, tests, prints the errors, and writes the report."""
    outcome = run_speaker_verification(config, config.workdir, progress=progress, say=say)
    report = reports.write_speaker_report(outcome)
    if config.package is not None:
        systems.save_outcome_model(outcome, config.package, dtype=np.float16, sources=SOURCES)
    print(reports.verification_lines(outcome.scores))
    print(f"report: {report}")
    return outcome


def say(line: str) -> None:
    """What is being done, for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def command_line() -> Config | ComparisonConfig:
    """What was asked for on the command line."""
    choices: dict[str, tuple[str, Any]] = {
        name: (make.__doc__ or "", preset(name)) for name, make in SPEAKER_PRESETS.items()
    }
    choices["compare"] = (inspect.getdoc(ComparisonConfig) or "", ComparisonConfig())
    chosen: Config | ComparisonConfig = tyro.extras.overridable_config_cli(
        choices, prog="python -m experiments.metric_learning", description=__doc__
    )
    return chosen


if __name__ == "__main__":
    try:
        asked = command_line()
        if isinstance(asked, ComparisonConfig):
            run_objectives(asked, say=say)
        else:
            main(asked)
    except JaxspkError as error:
        sys.exit(f"error: {error}")
