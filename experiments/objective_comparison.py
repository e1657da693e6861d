"""Every objective of speaker training side by side; run by `python -m experiments.metric_learning compare`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk import data, reports
from jaxspk.errors import CorpusError
from jaxspk.systems import (
    COMPARED,
    COMPARISON_PRESETS,
    SpeakerTraining,
    SpeechConfig,
    read_comparison,
    run_comparison,
    with_training_budget,
)

PUBLISHED = Path(__file__).parent / "papers" / "metric_learning_results.csv"
"""Equal error rates that others report, with their sources."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """Train and test every objective on one network and one budget, then gather what there is into tables.

    Everything that is done already is passed over; a training that was killed, or stopped by its time, goes on. All
    objectives get the same crops in the same order. Baselines: statistics of MFCCs, and the untrained network.
    """

    data: SpeechConfig = SpeechConfig(validation=0.08)
    """The speech. Trials: every recording of the test speakers against every other one."""
    recipe: Literal["quick", "two-cores", "paper", "modern"] = "two-cores"
    """Network and budget; quick is to see it work, two-cores takes two to three CPU minutes an objective and seed. The
    others want an accelerator: paper is Fast ResNet-34 as published, modern the later recipe."""
    only: tuple[str, ...] = ()
    """Objectives and baselines to run; all by default. Their names: --list."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each objective is trained once with each; the tables show the spread over them."""
    steps: int | None = None
    """Steps of every training, instead of the recipe's."""
    minutes: float | None = None
    """Stop every training after so many minutes, with the best model so far; with more, it goes on."""
    utterances: int = 2
    """Of each speaker in a batch, where an objective can choose; the number of crops in a batch stays."""
    workdir: Path = Path("runs/metric_learning_objectives")
    """Folder of the comparison: a run directory for every objective and seed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the tables, no ending: OUTPUT.md and a CSV file beside it; by default WORKDIR/tables."""
    list: bool = False
    """Print the names and stop."""
    gather_only: bool = False
    """Run nothing, write the tables of what there is."""


def common_training(config: ComparisonConfig) -> SpeakerTraining:
    """What all objectives share."""
    training = COMPARISON_PRESETS[config.recipe]()
    crops = training.batches.speakers * training.batches.utterances
    batches = dataclasses.replace(
        training.batches, speakers=max(1, crops // config.utterances), utterances=config.utterances
    )
    training = dataclasses.replace(training, data=config.data, batches=batches)
    return with_training_budget(training, steps=config.steps, minutes=config.minutes)


def run_objectives(config: ComparisonConfig, *, say: Callable[[str], None], progress: bool = True) -> Path | None:
    """Runs the comparison and writes its tables; returns the page."""
    if config.list:
        print("\n".join(COMPARED))
        return None
    if not config.gather_only:
        training = common_training(config)
        run_comparison(training, config.workdir, only=config.only, seeds=config.seeds, progress=progress, say=say)
    page = write_tables(config)
    print(reports.comparison_lines(read_comparison(config.workdir)))
    print(f"tables: {page}")
    return page


def write_tables(config: ComparisonConfig) -> Path:
    """Gathers all results of the comparison's folder, of earlier runs too.

    Raises:
      CorpusError: there is none.
    """
    results = read_comparison(config.workdir)
    if not results:
        raise CorpusError(f"{config.workdir}: holds no results of a comparison; run it without --gather-only.")
    output = config.output or config.workdir / "tables"
    table = output.with_name(f"{output.name}.csv")
    reports.write_csv(table, *reports.comparison_rows(results))
    return reports.write_results_markdown(
        output.with_name(f"{output.name}.md"),
        "Objectives of speaker training",
        reports.comparison_tables(results, read_published()),
        reports.provenance(),
        introduction=_introduction(config, table.name),
    )


def read_published(path: Path = PUBLISHED) -> list[dict[str, str]]:
    """The figures of others, row by row."""
    return [dict(row.cells) for row in data.read_table(path, required=("source", "objective", "EER_percent"))]


def _introduction(config: ComparisonConfig, name: str) -> str:
    described = json.loads((config.workdir / "comparison.json").read_text(encoding="utf-8"))
    training = described["training"]
    encoder, batches = training["system"]["encoder"], training["batches"]
    return (
        f"{described['speech']}. Nobody is in two of these groups; the validation speakers chose the step of each "
        f"training and calibrated its scores. One network for all ({encoder['network']}, width {encoder['width']}, "
        f"{encoder['dim']} dimensions, {encoder['pooling'].upper()}), one budget: {training['fit']['steps']} steps of "
        f"{batches['speakers'] * batches['utterances']} crops of {batches['seconds']:g} s. Trials: every recording of "
        "the test speakers against every other one, but for two of one session of a speaker, by the cosine of whole "
        f"recordings. Every objective and seed: [{name}]({name})."
    )
