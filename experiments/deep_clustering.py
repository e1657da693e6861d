"""Deep clustering: train on mixtures made on the fly, then SDR improvement on speakers kept apart.

One separator:

    python -m experiments.deep_clustering quick
    python -m experiments.deep_clustering small --data.path ~/LibriSpeech --workdir runs/libri
    python -m experiments.deep_clustering modern --data.path ~/LibriSpeech

A grid of them, which goes on where it stopped and gathers what there is into tables:

    python -m experiments.deep_clustering paper --data.path ~/LibriSpeech
    python -m experiments.deep_clustering paper --recipe two-cores --only tanh-40 logistic-40 --steps 2000
    python -m experiments.deep_clustering ladder --recipe two-cores --minutes 20

`quick` takes minutes on two cores, `small` about an hour, `modern` wants an accelerator; `paper` and `ladder` take what
their recipe and budget say. Without speech named by `--data.path` or JAXSPK_DATA, synthetic voices are made. Killed,
the same command goes on where it was. Follows Hershey et al. 2016 and Isik et al. 2016. Figures of the last runs:
docs/results/.
"""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from experiments.separation_tables import GridConfig, run_tables
from jaxspk import reports, systems
from jaxspk.errors import JaxspkError
from jaxspk.systems import PRESETS, SeparationOutcome, SeparationTraining, run_separation
from jaxspk.training import may_change

SOURCES = """\
Weights in half precision. The speech is licensed CC BY 4.0: LibriSpeech (c) 2014 by Vassil Panayotov,
https://www.openslr.org/12 (V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015), and speechocean762,
https://www.openslr.org/101 (J. Zhang et al., Interspeech 2021). `docs/data.md` names every utterance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SeparationTraining):
    """A training, its test, and where both are written."""

    workdir: Path = may_change(Path("runs/deep_clustering"))
    """Run directory: config, metrics, checkpoints, model, results, report."""
    package: Path | None = may_change(None)
    """Also write the model, in half precision, as the model directory that comes with the package."""


def preset(name: str) -> Config:
    """The configuration of a preset."""
    training = PRESETS[name]()
    return Config(**{field.name: getattr(training, field.name) for field in dataclasses.fields(training)})


def main(config: Config) -> SeparationOutcome:
    """Trains, tests, prints the table, and writes the report."""
    outcome = run_separation(config, config.workdir, say=say)
    report = reports.write_separation_report(outcome)
    if config.package is not None:
        stages = outcome.trained.stages
        card = systems.separation_card(config, outcome.speech, stages, outcome.scores, sources=SOURCES)
        model = outcome.trained.separator.model
        systems.save_deep_clustering(config.package, config.system, model, card=card, dtype=np.float16)
    print(reports.separation_summary(outcome.scores))
    print(f"report: {report}")
    return outcome


def say(line: str) -> None:
    """What is being done, for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def command_line() -> Config | GridConfig:
    """What was asked for on the command line."""
    choices: dict[str, tuple[str, Any]] = {name: (make.__doc__ or "", preset(name)) for name, make in PRESETS.items()}
    about_grids = inspect.getdoc(GridConfig) or ""
    choices |= {
        "paper": (
            "The four tables of Hershey et al. 2016, the paper's figures beside ours.\n\n" + about_grids,
            GridConfig(grid="paper"),
        ),
        "ladder": (
            "What came after the paper, one change a row at the same budget.\n\n" + about_grids,
            GridConfig(grid="ladder", recipe="two-cores", workdir=Path("runs/deep_clustering_ladder")),
        ),
    }
    chosen: Config | GridConfig = tyro.extras.overridable_config_cli(
        choices, prog="python -m experiments.deep_clustering", description=__doc__
    )
    return chosen


if __name__ == "__main__":
    try:
        asked = command_line()
        if isinstance(asked, GridConfig):
            run_tables(asked, say=say)
        else:
            main(asked)
    except JaxspkError as error:
        sys.exit(f"error: {error}")
