"""Speaker codes: train a regularized siamese network, then its errors on speakers kept apart, beside baselines.

One network, with a report:

    python -m experiments.regularized_siamese quick
    python -m experiments.regularized_siamese small --data.path ~/LibriSpeech --workdir runs/codes

One thing changed at a time, which goes on where it stopped and gathers what there is into a table:

    python -m experiments.regularized_siamese compare --data.path ~/LibriSpeech
    python -m experiments.regularized_siamese compare --data.path ~/LibriSpeech --only chosen alpha-0.5

`quick` takes a minute or two on two cores, `small` some minutes. Without speech named by `--data.path` or JAXSPK_DATA,
synthetic voices are made. Killed, the same command goes on where it was. Follows Chen and Salman 2011, of which the
appendix alone could be read. Figures of the last runs: docs/results/speaker_codes.md. Speaker changes in conversations
are found by the same codes: `python -m experiments.score_changes`.
"""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.siamese_variants import VariantsConfig, run_variants
from jaxspk import reports
from jaxspk.errors import JaxspkError
from jaxspk.reports import Table
from jaxspk.systems import (
    SIAMESE_PRESETS,
    BaselineConfig,
    ProbeConfig,
    SiameseOutcome,
    SiameseTraining,
    read_siamese_variants,
    run_siamese,
)
from jaxspk.training import may_change


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SiameseTraining):
    """A training, its test beside baselines, and where both are written."""

    baselines: BaselineConfig = dataclasses.field(default_factory=BaselineConfig)
    """Of MFCCs without a network."""
    probe: ProbeConfig = dataclasses.field(default_factory=ProbeConfig)
    """Of what the parts of the code carry."""
    workdir: Path = may_change(Path("runs/regularized_siamese"))
    """Run directory: config, metrics, checkpoints, model, results, report."""
    variants: Path | None = may_change(None)
    """Folder of `compare`, whose table is to stand beside this run's."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = may_change(None)
    """Also write the tables as OUTPUT.md and OUTPUT.csv, without the ending: for the docs."""


def preset(name: str) -> Config:
    """The configuration of a preset."""
    training = SIAMESE_PRESETS[name]()
    return Config(**{field.name: getattr(training, field.name) for field in dataclasses.fields(training)})


def main(config: Config, *, progress: bool = True) -> SiameseOutcome:
    """Trains, tests, prints the errors, and writes the report."""
    outcome = run_siamese(
        config, config.workdir, baselines=config.baselines, probe=config.probe, progress=progress, say=say
    )
    results = [] if config.variants is None else read_siamese_variants(config.variants)
    ablations = [reports.variants_table(results)] if results else []
    report = reports.write_siamese_report(
        outcome, more=[reports.Section("One thing changed", ablations)] if ablations else []
    )
    if config.output is not None:
        write_page(outcome, config.output, ablations)
    print(reports.compared_lines(outcome.compared))
    print(f"report: {report}")
    return outcome


def write_page(outcome: SiameseOutcome, output: Path, ablations: list[Table]) -> Path:
    """The tables for the docs."""
    csv = output.with_name(f"{output.name}.csv")
    table = reports.siamese_rows(outcome.compared)
    reports.write_csv(csv, table.columns, table.rows)
    return reports.write_results_markdown(
        output.with_name(f"{output.name}.md"),
        "Speaker codes",
        [reports.compared_table(outcome.compared), reports.probe_table(outcome.probes), *ablations],
        reports.provenance(seed=outcome.config.seed),
        introduction=reports.siamese_introduction(outcome, csv.name),
    )


def say(line: str) -> None:
    """What is being done, for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def command_line() -> Config | VariantsConfig:
    """What was asked for on the command line."""
    choices: dict[str, tuple[str, Any]] = {
        name: (make.__doc__ or "", preset(name)) for name, make in SIAMESE_PRESETS.items()
    }
    choices["compare"] = (inspect.getdoc(VariantsConfig) or "", VariantsConfig())
    chosen: Config | VariantsConfig = tyro.extras.overridable_config_cli(
        choices, prog="python -m experiments.regularized_siamese", description=__doc__
    )
    return chosen


if __name__ == "__main__":
    try:
        asked = command_line()
        if isinstance(asked, VariantsConfig):
            run_variants(asked, say=say)
        else:
            main(asked)
    except JaxspkError as error:
        sys.exit(f"error: {error}")
