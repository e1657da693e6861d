"""Running a grid, and reading what came of it."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxspk.data import Mixture, MixtureSource
from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.systems._beside_weights import weights_sha256
from jaxspk.systems._clustering_methods import separate_by_methods
from jaxspk.systems._deep_clustering import DeepClusteringModel, load_deep_clustering, save_deep_clustering
from jaxspk.systems._method_scores import (
    MethodScore,
    read_method_scores,
    score_methods,
    write_method_scores,
)
from jaxspk.systems._oracle_nmf import separate_by_bases, train_speaker_bases
from jaxspk.systems._records import digest, read_record, write_record
from jaxspk.systems._separation_card import separation_card
from jaxspk.systems._separation_grid import (
    BASELINES,
    IDEAL_MASK,
    EvaluationSet,
    Grid,
    GridCell,
    GridSpeech,
    cell_folder,
    chosen_names,
    load_grid_speech,
)
from jaxspk.systems._separation_scores import ideal_separation
from jaxspk.systems._separation_training import SeparationTraining, TrainedSeparator, train_separator
from jaxspk.training import Run, config_to_dict

RECORD_FILE = "cell.json"
GRID_FILE = "grid.json"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class GridResult:
    """What came of a cell, or of a baseline.

    Attributes:
      name: of the cell or baseline.
      seed: of the training; of a baseline that of the grid.
      scores: rows by set.
      record: of a cell what :data:`RECORD_FILE` says: steps, minutes, parameters, and so on.
    """

    name: str
    seed: int
    scores: Mapping[str, Sequence[MethodScore]]
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CellConfig:
    """What a training of a cell depends on; its run refuses to go on with another."""

    training: SeparationTraining
    starts_from: str | None
    closed_utterances: int
    closed_of_at_least: int
    grid_seed: int
    seed: int


def run_grid(
    grid: Grid,
    folder: Path | str,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    progress: bool = True,
    say: Say = lambda line: None,
) -> None:
    """Trains and scores what is not done yet; :func:`read_grid` reads the results.

    Args:
      grid: what there is to do.
      folder: of the grid.
      only: names of cells and baselines to run; none runs all.
      seeds: of the trainings, one after the other.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      ArgumentError: a name is unknown, or a cell starts from one that was not trained yet and is not to be.
      CorpusError: as :func:`load_grid_speech`.
      CheckpointError: a cell's folder holds a training with other settings.
      TrainingError: the loss of a cell stays non-finite.
    """
    folder, names = Path(folder), chosen_names(grid, only)
    _check_starts(grid, folder, names, seeds)
    speech = load_grid_speech(grid)
    say(f"{speech.speech.describe()}; {len(speech.closed)} utterances of training speakers kept for closed sets")
    described = {"speech": speech.speech.describe(), "closed": len(speech.closed), "grid": config_to_dict(grid)}
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / GRID_FILE, described)
    needed = {name for cell in grid.cells if cell.name in names for name in cell.sets}
    every = any(name in BASELINES for name in names)
    sets = {w.name: (w, speech.mixtures(grid, w)) for w in grid.sets if every or w.name in needed}
    for name in names:
        if name in BASELINES:
            _run_baseline(name, grid, speech, sets, folder / name, say)
    for seed in seeds:
        for name in names:
            if name not in BASELINES:
                _run_cell(grid.cell(name), seed, grid, speech, sets, folder, progress, say)


def read_grid(folder: Path | str) -> list[GridResult]:
    """The results in a grid's folder, complete or not, in alphabetical order.

    Raises:
      CorpusError: a table of scores is damaged.
      CheckpointError: a record is damaged.
    """
    results = []
    for place in sorted(path for path in Path(folder).glob("*") if path.is_dir()):
        if place.name in BASELINES:
            results.append(GridResult(place.name, 0, _read_scores(place)))
        for record in sorted(place.glob(f"seed*/results/{RECORD_FILE}")):
            seed = int(record.parent.parent.name.removeprefix("seed"))
            results.append(GridResult(place.name, seed, _read_scores(record.parent), read_record(record)))
    return [result for result in results if result.scores]


# --- Cells. ---


def _run_cell(
    cell: GridCell,
    seed: int,
    grid: Grid,
    speech: GridSpeech,
    sets: Mapping[str, tuple[EvaluationSet, MixtureSource]],
    folder: Path,
    progress: bool,
    say: Say,
) -> None:
    place = cell_folder(folder, cell.name, seed)
    start = None if cell.starts_from is None else cell_folder(folder, cell.starts_from, seed) / "model"
    asked = dataclasses.replace(cell.training, data=grid.data, seed=seed, initial_model=start)
    config = _CellConfig(
        training=asked,
        starts_from=cell.starts_from,
        closed_utterances=grid.closed_utterances,
        closed_of_at_least=grid.closed_of_at_least,
        grid_seed=grid.seed,
        seed=seed,
    )
    title = f"{cell.name}, seed {seed}"
    with Run(place, config) as run:
        file = run.results / RECORD_FILE
        record = read_record(file) if file.is_file() else None
        start_weights = None if start is None else weights_sha256(start)
        if record is not None and record["start_weights"] != start_weights:
            raise CheckpointError(
                f"{place}: was trained from weights that {cell.starts_from!r} no longer has; remove this folder, "
                "and it is trained anew."
            )
        if record is None or not _is_complete(record, asked):
            say(f"{title}: training" + (f" ({cell.about})" if cell.about else ""))
            trained = train_separator(asked, speech.speech, run, progress=progress)
            record = _save(cell, asked, trained, speech, run, start_weights, record)
        _, model = load_deep_clustering(place / "model")
        for name in cell.sets:
            _score_set(cell, model, grid, *sets[name], run.results, record, say, title)
        if _is_complete(record, asked) and record["stopped"] != "time budget":
            # Nothing can go on from here any more, and a grid has many.
            shutil.rmtree(run.checkpoints, ignore_errors=True)


def _save(
    cell: GridCell,
    asked: SeparationTraining,
    trained: TrainedSeparator,
    speech: GridSpeech,
    run: Run,
    start_weights: str | None,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Writes the model, then the record that names it: killed between the two, the training is asked again."""
    model, stages = trained.separator.model, trained.stages
    card = separation_card(asked, speech.speech, stages, ())
    save_deep_clustering(run.folder / "model", asked.system, model, card=card)
    stopped = [stage.stopped for stage in stages]
    record: dict[str, Any] = {
        "about": cell.about,
        "starts_from": cell.starts_from,
        "start_weights": start_weights,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))),
        "steps": sum(stage.step for stage in stages),
        "minutes": sum(stage.seconds for stage in stages) / 60,
        "stopped": "time budget" if "time budget" in stopped else stopped[-1],
        "max_minutes": _minutes(asked),
        "best_step": stages[-1].best_step,
        "validation_loss": stages[-1].best_score,
        "skipped_steps": sum(stage.skipped for stage in stages),
        "weights": weights_sha256(run.folder / "model"),
        "scored": dict(before["scored"]) if before else {},
    }
    write_record(run.results / RECORD_FILE, record)
    return record


def _score_set(
    cell: GridCell,
    model: DeepClusteringModel,
    grid: Grid,
    which: EvaluationSet,
    mixtures: MixtureSource,
    results: Path,
    record: dict[str, Any],
    say: Say,
    title: str,
) -> None:
    depends_on = digest(
        record["weights"], mixtures.fingerprint, len(mixtures), list(cell.methods), config_to_dict(grid.how)
    )
    file = results / f"{which.name}.csv"
    if file.is_file() and record["scored"].get(which.name) == depends_on:
        say(f"{title}: {which.name} was scored")
        return
    say(f"{title}: scoring {len(mixtures)} mixtures of {which.name}")

    def separate(mixture: Mixture) -> Mapping[str, np.ndarray]:
        found = separate_by_methods(cell.training.system, model, mixture, cell.methods, how=grid.how, seed=grid.seed)
        return {str(method): voices for method, voices in found.items()}

    write_method_scores(file, list(score_methods(separate, mixtures)))
    record["scored"][which.name] = depends_on
    write_record(results / RECORD_FILE, record)


def _is_complete(record: Mapping[str, Any], asked: SeparationTraining) -> bool:
    """Whether there is nothing left to train: by its steps or patience, or there is no more time than it had."""
    if record["stopped"] != "time budget":
        return True
    now, then = _minutes(asked), record["max_minutes"]
    return now is not None and then is not None and now <= then


def _minutes(asked: SeparationTraining) -> float | None:
    budgets = [stage.fit.max_minutes for stage in asked.stages]
    return None if None in budgets else float(sum(budget for budget in budgets if budget is not None))


def _check_starts(grid: Grid, folder: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    for name in names:
        start = None if name in BASELINES else grid.cell(name).starts_from
        if start is None or start in names:
            continue
        for seed in seeds:
            if not (cell_folder(folder, start, seed) / "results" / RECORD_FILE).is_file():
                raise ArgumentError(
                    f"cell {name!r} starts from {start!r}, which was not trained in {folder} with seed {seed}; "
                    f"run {start!r} first, or both: --only {start} {name}."
                )


# --- Baselines. ---


def _run_baseline(
    name: str,
    grid: Grid,
    speech: GridSpeech,
    sets: Mapping[str, tuple[EvaluationSet, MixtureSource]],
    place: Path,
    say: Say,
) -> None:
    features = grid.cells[0].training.system.features
    bases: dict[str, np.ndarray] = {}
    for which, mixtures in sets.values():
        # Bases are learnt from a speaker's other utterances: of a test speaker nothing may be learnt.
        if name != IDEAL_MASK and which.who != "closed":
            continue
        settings = config_to_dict(features) | (config_to_dict(grid.nmf) if name != IDEAL_MASK else {})
        depends_on = digest(mixtures.fingerprint, len(mixtures), settings)
        file, record = place / f"{which.name}.csv", place / f"{which.name}.json"
        if file.is_file() and record.is_file() and read_record(record).get("scored") == depends_on:
            say(f"{name}: {which.name} was scored")
            continue
        say(f"{name}: scoring {len(mixtures)} mixtures of {which.name}")
        if name == IDEAL_MASK:
            scored = score_methods(lambda mixture: {name: ideal_separation(mixture, features)}, mixtures)
        else:
            speakers = {u.speaker for i in range(len(mixtures)) for u in mixtures.plan(i).utterances}
            new = train_speaker_bases(
                speech.speech.train,
                sorted(speakers - bases.keys()),
                features,
                grid.nmf,
                recordings=speech.recordings,
                seed=grid.seed,
                progress=lambda people: _told(people, f"{name}: bases of speaker", say),
            )
            bases.update(new)
            scored = score_methods(
                lambda mixture: {name: separate_by_bases(mixture, bases, features, grid.nmf)}, mixtures
            )
        place.mkdir(parents=True, exist_ok=True)
        write_method_scores(file, list(scored))
        write_record(record, {"scored": depends_on})


def _told(people: Sequence[str], what: str, say: Say) -> Iterator[str]:
    for number, person in enumerate(people, 1):
        if number == 1 or number % 10 == 0:
            say(f"{what} {number} of {len(people)}")
        yield person


# --- Records. ---


def _read_scores(folder: Path) -> dict[str, list[MethodScore]]:
    return {file.stem: read_method_scores(file) for file in sorted(folder.glob("*.csv"))}
