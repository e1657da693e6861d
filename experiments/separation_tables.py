"""Grids of separators and the tables that come of them; run by `python -m experiments.deep_clustering paper|ladder`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk import data, reports
from jaxspk.errors import CorpusError
from jaxspk.reports import Table
from jaxspk.systems import (
    GRIDS,
    RECIPES,
    Grid,
    GridResult,
    SpeechConfig,
    describe_grid,
    read_grid,
    run_grid,
    with_budget,
)

PAPERS = Path(__file__).parent / "papers"
"""Figures as the papers print them."""

_COLUMNS_OF_NAMES = {1: ("method",), 2: ("embedding_dim", "activation"), 3: ("method", "training_set"), 4: ("method",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Train and score a grid of separators, then gather what there is into tables.

    Everything that is done already is passed over: a cell that was trained, a set that it was scored on. A training
    that was killed, or stopped by its time, goes on. Names of the cells: --list.
    """

    grid: tyro.conf.Suppress[Literal["paper", "ladder"]] = "paper"
    data: SpeechConfig = SpeechConfig()
    """The speech. Closed: speakers of the training, in utterances kept from it. Open: the test speakers."""
    recipe: Literal["paper", "modern", "two-cores", "quick"] = "paper"
    """How cells are trained, but for what their names say; two-cores takes minutes each, quick is to see it work.
    The others want an accelerator: paper is 2 layers of 600 cells, modern the later recipe."""
    only: tuple[str, ...] = ()
    """Names of the cells and baselines to run; all by default."""
    seeds: tuple[int, ...] = (0,)
    """Each cell is trained once with each; the tables then show the spread over them."""
    steps: int | None = None
    """Steps of a training from scratch, instead of the recipe's; cells that begin with weights take half of it."""
    minutes: float | None = None
    """Stop a training from scratch after so many minutes, with the best model so far; with more, it goes on."""
    mixtures: int = 100
    """Of each set that is scored."""
    corpus: str | None = None
    """Score mixtures of this corpus only, where the speech has several; two channels at once are easier to part."""
    workdir: Path = Path("runs/deep_clustering_tables")
    """Folder of the grid: a run directory for every cell and seed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the tables, no ending: OUTPUT.md, two CSV files beside it; by default WORKDIR/tables."""
    list: bool = False
    """Print the cells and stop."""
    gather_only: bool = False
    """Run nothing, write the tables of what there is."""


def make_grid(config: GridConfig) -> Grid:
    """The grid that a configuration names."""
    grid = GRIDS[config.grid](
        RECIPES[config.recipe](), data=config.data, mixtures=config.mixtures, corpus=config.corpus
    )
    return with_budget(dataclasses.replace(grid, recipe=config.recipe), steps=config.steps, minutes=config.minutes)


def run_tables(config: GridConfig, *, say: Callable[[str], None], progress: bool = True) -> Path | None:
    """Runs the grid and writes its tables; returns the page."""
    grid = make_grid(config)
    if config.list:
        for line in describe_grid(grid):
            print(line)
        return None
    if not config.gather_only:
        run_grid(grid, config.workdir, only=config.only, seeds=config.seeds, progress=progress, say=say)
    page = write_tables(config, grid)
    print(f"tables: {page}")
    return page


def write_tables(config: GridConfig, grid: Grid) -> Path:
    """Gathers all results of the grid's folder, of earlier runs too.

    Raises:
      CorpusError: there is none.
    """
    results = read_grid(config.workdir)
    if not results:
        raise CorpusError(f"{config.workdir}: holds no results of a grid; run it without --gather-only.")
    order = [cell.name for cell in grid.cells]
    output = config.output or config.workdir / "tables"
    columns, rows = reports.score_rows(results)
    reports.write_csv(output.with_name(f"{output.name}_mixtures.csv"), columns, rows)
    trainings = reports.trainings_table(results, order)
    reports.write_csv(output.with_name(f"{output.name}_trainings.csv"), trainings.columns, trainings.rows)
    return reports.write_results_markdown(
        output.with_suffix(".md"),
        _TITLES[config.grid],
        [*_tables(config, results, order), trainings],
        reports.provenance(seed=grid.seed),
        introduction=_introduction(config, output.name),
    )


def read_figures(folder: Path = PAPERS) -> dict[tuple[int, str, str], float]:
    """The figures of Hershey et al. 2016, by table, row and column."""
    figures: dict[tuple[int, str, str], float] = {}
    for number, names in _COLUMNS_OF_NAMES.items():
        for row in data.read_table(folder / f"deep_clustering_table{number}.csv", required=names):
            label = "/".join(row.cells[name] for name in names)
            figures |= {
                (number, label, column): float(text)
                for column, text in row.cells.items()
                if column not in names and text
            }
    return figures


_TITLES = {"paper": "Deep clustering: the paper's tables", "ladder": "Deep clustering: a ladder of gains"}


def _tables(config: GridConfig, results: list[GridResult], order: list[str]) -> list[Table]:
    if config.grid == "ladder":
        return [reports.ladder_table(results, order)]
    return reports.paper_tables(results, read_figures())


def _introduction(config: GridConfig, name: str) -> str:
    described = json.loads((config.workdir / "grid.json").read_text(encoding="utf-8"))
    recipe = described["grid"]["recipe"]
    return (
        f"{described['speech']}. Nobody is in two of these groups, and nothing was chosen by the test speakers. "
        f"Closed sets: {described['closed']} utterances of training speakers, which no training heard. "
        f"Trained by the recipe “{recipe}”; the paper's networks had 600 cells a layer and 30 hours of WSJ0, so "
        f"that its figures say where ours should tend, not what they should be. One row a mixture: "
        f"[{name}_mixtures.csv]({name}_mixtures.csv)."
    )
