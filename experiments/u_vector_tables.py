"""The paper's grid of u-vectors, a ladder of gains, their tables; run by `python -m experiments.u_vectors`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxspk import data, reports
from jaxspk._files import write_whole
from jaxspk.errors import CorpusError
from jaxspk.reports import Figure, Report, Section, Text
from jaxspk.systems import (
    U_VECTOR_PRESETS,
    ClusteredSegments,
    SpeechConfig,
    UVectorCell,
    UVectorResult,
    UVectorSpeech,
    describe_cells,
    held_out_cell,
    paper_cells,
    read_u_vector_cells,
    read_u_vector_grid,
    run_u_vector_cells,
    u_vector_ladder,
    with_u_vector_budget,
)

PAPERS = Path(__file__).parent / "papers"
"""Figures as the paper prints them."""

FIGURES = {25: 3, 50: 4, 100: 5, 150: 6}
"""Number of the paper's figure by number of speakers; 146 stand in for 150."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Train and score the paper's grid, then gather what there is into Tables 2 to 5 and Figures 3 to 6.

    Everything that is done already is passed over; a training that was killed, or stopped by its time, goes on. Any
    part can be run at any time. Names of the cells: --list.
    """

    data: SpeechConfig = SpeechConfig()
    """The speech."""
    recipe: Literal["quick", "cpu", "paper", "released"] = "cpu"
    """Network, features and budget; cpu takes about a minute a cell. The last two want an accelerator; released uses
    speaker labels."""
    speakers: tuple[int, ...] = (25, 50, 100, 150)
    """How many, one after the other; the paper has 146 of LibriSpeech."""
    impurities: tuple[float, ...] = (0.0, 0.05, 0.1)
    """Of the pseudo-labels."""
    twins: tuple[Literal["pairwise", "triplet", "prototypical"], ...] = ("pairwise", "triplet")
    """Losses."""
    segments: int = 10
    """Of each speaker, a second each."""
    fewest: int | None = None
    """Also take speakers with fewer segments, but at least so many: to be said wherever results are shown."""
    protocol: Literal["as_described", "as_released"] | None = None
    """Instead of the recipe's."""
    epochs: int | None = None
    """Steps of each cell, in the published code's epochs of its speakers (it has 1200), instead of the recipe's."""
    steps: int | None = None
    """The same in steps."""
    minutes: float | None = None
    """Stop every training after so many minutes; with more, it goes on."""
    only: tuple[str, ...] = ()
    """Names of the cells to run; all by default."""
    seeds: tuple[int, ...] = (0,)
    """Of draws of speakers and trainings; the tables show the spread over them."""
    workdir: Path = Path("runs/u_vectors/grid")
    """Folder of the grid: a run directory for every cell and seed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the tables, no ending: OUTPUT.md, OUTPUT.csv, OUTPUT.html, a picture a figure; by default
    WORKDIR/tables."""
    list: bool = False
    """Print the cells and stop."""
    gather_only: bool = False
    """Run nothing, write the tables of what there is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LadderConfig:
    """Train and score a ladder of gains, one change a row, then gather what there is into a table.

    Choose by it on the speakers that may be trained on; --held-out then runs the chosen row on those kept for testing.
    Everything that is done already is passed over.
    """

    data: SpeechConfig = SpeechConfig()
    """The speech."""
    speakers: int = 25
    """How many, drawn from those who have enough segments."""
    segments: int = 10
    """Of each speaker, a second each."""
    held_out: bool = False
    """Run the chosen row on all speakers that are kept for testing and have half the segments or more. Once."""
    only: tuple[str, ...] = ()
    """Names of the rows to run; all by default."""
    seeds: tuple[int, ...] = (0,)
    """Of draws of speakers and trainings; the table shows the spread over them."""
    steps: int | None = None
    """Steps of every row: to see it work."""
    workdir: Path = Path("runs/u_vectors/ladder")
    """Folder of the ladder: a run directory for every row and seed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the table, no ending: OUTPUT.md and OUTPUT.csv; by default WORKDIR/tables."""
    list: bool = False
    """Print the rows and stop."""
    gather_only: bool = False
    """Run nothing, write the table of what there is."""


def grid_cells(config: GridConfig) -> tuple[UVectorCell, ...]:
    """The cells that a configuration names."""
    recipe = U_VECTOR_PRESETS[config.recipe]()
    speech = dataclasses.replace(recipe.speech, data=config.data, segments=config.segments, fewest=config.fewest)
    if config.protocol is not None:
        # Whole frames are dealt into groups.
        hop = None if config.protocol == "as_released" else speech.hop_seconds
        speech = dataclasses.replace(speech, protocol=config.protocol, hop_seconds=hop)
    recipe = dataclasses.replace(recipe, speech=speech)
    recipe = with_u_vector_budget(recipe, steps=config.steps, minutes=config.minutes)
    return paper_cells(
        recipe, speakers=config.speakers, impurities=config.impurities, twins=config.twins, epochs=config.epochs
    )


def run_grid_tables(config: GridConfig, *, say: Say, progress: bool = True) -> Path | None:
    """Runs the grid and writes its tables; returns the page."""
    cells = grid_cells(config)
    if config.list:
        print("\n".join(describe_cells(cells)))
        return None
    if not config.gather_only:
        run_u_vector_cells(cells, config.workdir, only=config.only, seeds=config.seeds, progress=progress, say=say)
    page = write_grid_tables(config.workdir, config.output or config.workdir / "tables")
    print(f"tables: {page}")
    return page


def ladder_cells(config: LadderConfig) -> tuple[UVectorCell, ...]:
    """The rows that a configuration names, the held-out one last."""
    speech = UVectorSpeech(data=config.data, speakers=config.speakers, segments=config.segments)
    cells = (*u_vector_ladder(speech), held_out_cell(speech))
    if config.steps is None:
        return cells
    return tuple(
        dataclasses.replace(cell, experiment=with_u_vector_budget(cell.experiment, steps=config.steps))
        for cell in cells
    )


def run_ladder_tables(config: LadderConfig, *, say: Say, progress: bool = True) -> Path | None:
    """Runs the ladder and writes its table; returns the page."""
    cells = ladder_cells(config)
    *rows, held_out = cells
    if config.list:
        print("\n".join(describe_cells(cells)))
        return None
    if not config.gather_only:
        run_u_vector_cells(
            [held_out] if config.held_out else rows,
            config.workdir,
            only=() if config.held_out else config.only,
            seeds=config.seeds,
            progress=progress,
            say=say,
        )
    page = write_ladder_table(cells, config.workdir, config.output or config.workdir / "tables")
    print(f"table: {page}")
    return page


def write_grid_tables(workdir: Path, output: Path) -> Path:
    """Gathers all results of a grid's folder, of earlier runs too, into a page, a table, figures and a report.

    Raises:
      CorpusError: there is none.
    """
    results = _results(workdir)
    described = read_u_vector_grid(workdir)
    tables = [
        *([reports.duration_table(described, read_durations())] if described else []),
        *reports.u_vector_tables(results, read_figures()),
    ]
    reports.write_csv(output.with_name(f"{output.name}.csv"), *reports.u_vector_rows(results))
    figures = grid_figures(results)
    links = []
    for number, figure in figures.items():
        picture = output.with_name(f"{output.name}_figure{number}.svg")
        write_whole(picture, figure.image)
        links.append(f"![Figure {number}: {figure.alt}]({picture.name})\n\n*As Figure {number}: {figure.caption}*")
    origin = reports.provenance()
    introduction = "\n\n".join([_introduction(results), reports.reached(results, read_figures()), *links])
    page = reports.write_results_markdown(
        output.with_name(f"{output.name}.md"), "U-vectors: the paper's tables", tables, origin,
        introduction=f"{introduction}\n\nEvery score: [{output.name}.csv]({output.name}.csv).",
    )  # fmt: skip
    sections = [
        Section("Tables", [Text(_introduction(results), note=True), *tables]),
        *([Section("Figures 3 to 6", list(figures.values()))] if figures else []),
        *_maps(workdir, results),
    ]
    report = Report("U-vectors", sections, "The paper's grid, ours beside the paper's.", provenance=origin)
    reports.write_report(output.with_name(f"{output.name}.html"), report)
    return page


def write_ladder_table(cells: Sequence[UVectorCell], workdir: Path, output: Path) -> Path:
    """Gathers all results of a ladder's folder into a page and a table.

    Raises:
      CorpusError: there is none.
    """
    results = _results(workdir)
    reports.write_csv(output.with_name(f"{output.name}.csv"), *reports.u_vector_rows(results))
    return reports.write_results_markdown(
        output.with_name(f"{output.name}.md"),
        "U-vectors: a ladder of gains",
        [reports.u_vector_ladder_table(results, cells)],
        reports.provenance(),
        introduction=f"{_introduction(results)}\n\nEvery score: [{output.name}.csv]({output.name}.csv).",
    )


def grid_figures(results: Sequence[UVectorResult]) -> dict[int, Figure]:
    """Figures 3 to 6, as far as there is something to draw, by their number in the paper."""
    figures = {}
    for speakers in sorted({int(result.record["speakers"]) for result in results}):
        number = FIGURES.get(150 if speakers == 146 else speakers)
        figure = reports.grid_curves(results, speakers=speakers)
        if number is not None and figure is not None:
            figures[number] = figure
    return figures


def read_figures(folder: Path = PAPERS) -> dict[tuple[str, int, str, float], dict[str, float]]:
    """The figures of Tables 3 to 5, by data set, speakers, labels and impurity."""
    required = ("dataset", "speakers", "labels", "impurity", "ACC", "NMI", "ARI")
    return {
        (row.cells["dataset"], int(row.cells["speakers"]), row.cells["labels"], float(row.cells["impurity"])): {
            name: float(row.cells[name]) for name in ("ACC", "NMI", "ARI")
        }
        for number in (3, 4, 5)
        for row in data.read_table(folder / f"u_vectors_table{number}.csv", required=required)
    }


def read_durations(folder: Path = PAPERS) -> list[Mapping[str, str]]:
    """The rows of Table 2."""
    return [row.cells for row in data.read_table(folder / "u_vectors_table2.csv", required=("dataset",))]


def _results(workdir: Path) -> list[UVectorResult]:
    results = read_u_vector_cells(workdir)
    if not results:
        raise CorpusError(f"{workdir}: holds no results; run it without --gather-only.")
    return results


def _introduction(results: Sequence[UVectorResult]) -> str:
    corpora = ", ".join(sorted({str(result.record["corpus"]) for result in results}))
    networks = ", ".join(sorted({str(result.record["network"]) for result in results}))
    said = [
        f"Speech: {corpora}; networks: {networks}. A network is trained on unlabelled segments of a second and "
        "clusters these very ones, as in the paper; who speaks is looked at for scores alone: no step is chosen by it."
    ]
    if any(result.record["uses_labels"] for result in results):
        said.append("Cells of the published code's protocol USE SPEAKER LABELS in training and say so.")
    if any(result.record["transductive"] for result in results):
        said.append(
            "Cells marked transductive are of speakers kept for testing, whose recordings were trained on without "
            "labels; nothing was chosen by them."
        )
    return " ".join(said)


def _maps(workdir: Path, results: Sequence[UVectorResult]) -> list[Section]:
    """Maps of the segments of every cell without impurity, of its first seed."""
    sections = []
    for name in dict.fromkeys(result.name for result in results if result.record["impurity"] == 0):
        first = next(result for result in results if result.name == name)
        file = workdir / name / f"seed{first.seed}" / "results" / "embeddings.npz"
        if not file.is_file():
            continue
        with np.load(file) as kept:
            arrays: dict[str, Any] = dict(kept)
        clustered = ClusteredSegments(**{key: arrays[key] for key in ClusteredSegments._fields})
        names = [f"speaker {number}" for number in range(1 + int(clustered.speakers.max()))]
        sections.append(Section(f"Segments of {name}", reports.segment_maps(clustered, names)[:2]))
    return sections
