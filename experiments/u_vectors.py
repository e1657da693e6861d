"""U-vectors: train on unlabelled recordings, cluster their segments, and see how well the clusters are the speakers.

One experiment, with a report:

    python -m experiments.u_vectors quick
    python -m experiments.u_vectors cpu --speech.data.path SPEECH --speech.data.corpus LibriSpeech
    python -m experiments.u_vectors paper --speech.data.path SPEECH

The paper's grid, and a ladder of gains; both go on where they stopped and gather what there is into tables:

    python -m experiments.u_vectors grid --data.path SPEECH --recipe cpu --speakers 25 50
    python -m experiments.u_vectors ladder --data.path SPEECH --seeds 0 1 2
    python -m experiments.u_vectors tables -o docs/results/u_vectors

`quick` takes a minute or two on two cores, `cpu` a few; `paper` and `released` (which uses speaker labels) want an
accelerator. Without speech named by a path or JAXSPK_DATA, synthetic voices are made. Killed, the same command goes on
where it was. Follows Mridha, Ohi et al. 2021. Figures of the last runs: docs/results/.
"""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import tyro

from experiments.u_vector_tables import GridConfig, LadderConfig, run_grid_tables, run_ladder_tables
from jaxspk import reports
from jaxspk.errors import JaxspkError
from jaxspk.systems import U_VECTOR_PRESETS, UVectorExperiment, UVectorOutcome, run_u_vectors
from jaxspk.training import may_change


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(UVectorExperiment):
    """An experiment, and where it is written."""

    workdir: Path = may_change(Path("runs/u_vectors/one"))
    """Run directory: config, metrics, checkpoints, model, results, report."""


def preset(name: str) -> Config:
    """The configuration of a preset."""
    made = U_VECTOR_PRESETS[name]()
    return Config(speech=made.speech, training=made.training, workdir=Path("runs/u_vectors") / name)


def main(config: Config, *, progress: bool = True) -> UVectorOutcome:
    """Trains, clusters, prints the scores, and writes the report."""
    asked = UVectorExperiment(speech=config.speech, training=config.training)
    outcome = run_u_vectors(asked, config.workdir, progress=progress, say=say)
    report = reports.write_u_vector_report(outcome)
    for note in outcome.notes:
        print(f"protocol: {note}")
    print(reports.u_vector_lines(outcome.scores))
    print(f"report: {report}")
    return outcome


def say(line: str) -> None:
    """What is being done, for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def command_line() -> Config | GridConfig | LadderConfig:
    """What was asked for on the command line."""
    choices: dict[str, tuple[str, Any]] = {
        name: (make.__doc__ or "", preset(name)) for name, make in U_VECTOR_PRESETS.items()
    }
    choices["grid"] = (inspect.getdoc(GridConfig) or "", GridConfig())
    choices["ladder"] = (inspect.getdoc(LadderConfig) or "", LadderConfig())
    choices["tables"] = (
        "Write the tables, figures and report of what the grid's folder holds; runs nothing.",
        GridConfig(gather_only=True),
    )
    chosen: Config | GridConfig | LadderConfig = tyro.extras.overridable_config_cli(
        choices, prog="python -m experiments.u_vectors", description=__doc__
    )
    return chosen


if __name__ == "__main__":
    try:
        asked = command_line()
        if isinstance(asked, GridConfig):
            run_grid_tables(asked, say=say)
        elif isinstance(asked, LadderConfig):
            run_ladder_tables(asked, say=say)
        else:
            main(asked)
    except JaxspkError as error:
        sys.exit(f"error: {error}")
