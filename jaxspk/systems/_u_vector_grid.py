"""Grids of u-vector experiments: named cells, run in any order and any part, each trained and scored once.

::

    FOLDER/<cell>/seed<k>/                       the run directory of a cell, see :func:`run_u_vectors`
    FOLDER/<cell>/seed<k>/results/cell.json      what was done, and on what
    FOLDER/grid.json                             what the cells have in common, and the corpus' statistics
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from jaxspk import _checks
from jaxspk.data import corpus_statistics
from jaxspk.errors import ArgumentError
from jaxspk.systems._records import digest, read_record, write_record
from jaxspk.systems._separation_grid import cell_folder
from jaxspk.systems._u_vector_experiment import (
    SCORES_FILE,
    CurvePoint,
    UVectorExperiment,
    UVectorOutcome,
    read_curves_of,
    run_u_vectors,
)
from jaxspk.systems._u_vector_presets import TWINS, paper_steps, with_twin, with_u_vector_budget
from jaxspk.systems._u_vector_scores import UVectorScore, read_u_vector_scores
from jaxspk.systems._u_vector_speech import SpeakerSegments, read_speaker_segments, speech_part
from jaxspk.training import config_to_dict

CELL_FILE, GRID_FILE = "cell.json", "grid.json"

PAPER_SPEAKERS, PAPER_IMPURITIES = (25, 50, 100, 150), (0.0, 0.05, 0.1)

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UVectorCell:
    """An experiment with a name."""

    name: str
    experiment: UVectorExperiment
    about: str = ""
    """What is special about it, in a few words."""
    twin: str = ""
    """Key of :data:`TWINS`, where the cell is one of the paper's grid."""
    against: str = ""
    """Name of the cell from which it differs by one change, in a ladder."""
    beyond: bool = False
    """Whether it knows or hears more than the paper's method does, and stands apart for that."""
    baselines: bool = True
    """Score what needs no training too; other cells on the same speech need not."""


@dataclasses.dataclass(frozen=True)
class UVectorResult:
    """What came of a cell.

    Attributes:
      name: of the cell.
      seed: of its training and of the draw of its speakers.
      record: all that :data:`CELL_FILE` says.
      scores: every score.
      curves: scores at the validations.
    """

    name: str
    seed: int
    record: Mapping[str, Any]
    scores: Sequence[UVectorScore]
    curves: Sequence[CurvePoint]


def paper_cells(
    recipe: UVectorExperiment,
    *,
    speakers: Sequence[int] = PAPER_SPEAKERS,
    impurities: Sequence[float] = PAPER_IMPURITIES,
    twins: Sequence[str] = ("pairwise", "triplet"),
    epochs: int | None = None,
) -> tuple[UVectorCell, ...]:
    """The paper's grid: numbers of speakers, impurities, losses.

    Args:
      recipe: network, features, protocol, budget.
      speakers: how many, one after the other.
      impurities: of the pseudo-labels.
      twins: keys of :data:`TWINS`.
      epochs: give every cell as many steps as so many of the published code's epochs of its speakers take; None
        leaves the recipe's steps.
    """
    cells = []
    for count in speakers:
        for impurity in impurities:
            for twin in twins:
                _checks.check_choice("twins", twin, TWINS)
                speech = dataclasses.replace(recipe.speech, speakers=count, impurity=impurity)
                made = with_twin(dataclasses.replace(recipe, speech=speech), twin)
                if epochs is not None:
                    made = with_u_vector_budget(made, steps=paper_steps(count, epochs=epochs))
                marks = (speech.protocol == "as_released") * "-released" + speech.held_out * "-test"
                cells.append(
                    UVectorCell(
                        name=f"{twin}-{count}-{impurity:g}{marks}",
                        experiment=_fitting(made),
                        about=f"{count} speakers, impurity {impurity:g}, {TWINS[twin]}",
                        twin=twin,
                        baselines=impurity == impurities[0] and twin == twins[0],
                    )
                )
    return tuple(cells)


def describe_cells(cells: Sequence[UVectorCell]) -> list[str]:
    """A line for every cell, under a line of headings."""
    lines = [f"{'name':<28}{'network':<20}{'steps':>7}  what is special"]
    for cell in cells:
        made = cell.experiment.training
        lines.append(f"{cell.name:<28}{made.system.network.network:<20}{made.fit.steps:>7}  {cell.about}")
    return lines


def run_u_vector_cells(
    cells: Sequence[UVectorCell],
    folder: Path | str,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    progress: bool = True,
    say: Say = lambda line: None,
) -> None:
    """Trains and scores what is not done yet; :func:`read_u_vector_cells` reads the results.

    Args:
      cells: what there is to do.
      folder: of the grid.
      only: names of the cells to run; none runs all.
      seeds: of draws of speakers and trainings. All cells are run with the first before any is with the second.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      ArgumentError: a name is unknown, or stands twice.
      CheckpointError: a cell's folder holds an experiment with other settings.
      JaxspkError: as for :func:`run_u_vectors`.
    """
    names = [cell.name for cell in cells]
    if len(set(names)) != len(names):
        raise ArgumentError(f"`cells` must have different names, got {names}.")
    for name in only:
        _checks.check_choice("only", name, names)
    wanted = [cell for cell in cells if not only or cell.name in only]
    folder, library = Path(folder), _Library()
    for seed in dict.fromkeys(seeds):
        for cell in wanted:
            _run_cell(cell, seed, cell_folder(folder, cell.name, seed), library, progress, say)
    if wanted:
        _describe_corpus(wanted[0].experiment, folder, say)


def read_u_vector_cells(folder: Path | str) -> list[UVectorResult]:
    """The results in a grid's folder, complete or not, in alphabetical order, then of seeds.

    Raises:
      CorpusError: a table is damaged.
      CheckpointError: a record is damaged.
    """
    results = []
    for file in sorted(Path(folder).glob(f"*/seed*/results/{CELL_FILE}")):
        place = file.parent.parent
        results.append(
            UVectorResult(
                place.parent.name,
                int(place.name.removeprefix("seed")),
                read_record(file),
                read_u_vector_scores(file.parent / SCORES_FILE),
                read_curves_of(place),
            )
        )
    return sorted(results, key=lambda result: (result.name, result.seed))


def read_u_vector_grid(folder: Path | str) -> dict[str, Any] | None:
    """What a grid's folder says of its corpus: durations between pauses, words; None where it says nothing."""
    file = Path(folder) / GRID_FILE
    return read_record(file) if file.is_file() else None


class _Library:
    """Speech that was read and cut, by what it was cut from; experiments on the same need not read it again."""

    def __init__(self) -> None:
        self._kept: dict[str, SpeakerSegments] = {}

    def get(self, experiment: UVectorExperiment) -> SpeakerSegments:
        speech, cut = experiment.speech, experiment.training.system.segments
        key = digest(config_to_dict(speech.data), speech.held_out, speech.segments, config_to_dict(cut))
        if key not in self._kept:
            # One at a time: a corpus may be large.
            self._kept = {key: read_speaker_segments(speech, cut)}
        return self._kept[key]


def _run_cell(cell: UVectorCell, seed: int, place: Path, library: _Library, progress: bool, say: Say) -> None:
    experiment = dataclasses.replace(
        cell.experiment,
        speech=dataclasses.replace(cell.experiment.speech, seed=seed),
        training=dataclasses.replace(cell.experiment.training, seed=seed),
    )
    file = place / "results" / CELL_FILE
    title, asked = f"{cell.name}, seed {seed}", digest(_asked(experiment))
    if file.is_file() and (record := read_record(file)).get("asked") == asked and _is_complete(record, experiment):
        say(f"{title}: done")
        return
    say(f"{title}: {cell.about}" if cell.about else title)
    outcome = run_u_vectors(
        experiment, place, there=library.get(experiment), baselines=cell.baselines, progress=progress, say=say
    )
    named = {name: getattr(cell, name) for name in ("about", "twin", "against", "beyond")}
    write_record(file, {"asked": asked, **u_vector_record(outcome), **named})
    if outcome.trained.result.stopped != "time budget":
        # Nothing can go on from here any more, and a grid has many.
        shutil.rmtree(place / "checkpoints", ignore_errors=True)


def u_vector_record(outcome: UVectorOutcome) -> dict[str, Any]:
    """What a table says of an outcome beside its scores."""
    made, result, asked = outcome.made, outcome.trained.result, outcome.config.training
    return {
        "corpus": made.name,
        "speech": made.describe(),
        "notes": list(outcome.notes),
        "protocol": made.labelled.protocol,
        "uses_labels": made.labelled.uses_labels,
        "transductive": made.transductive,
        "speakers": len(made.truth.speakers),
        "segments": len(made.segments),
        "pseudo_classes": made.labelled.classes,
        "impurity": made.labelled.impurity,
        "network": asked.system.network.network,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(outcome.trained.model, nnx.Param))),
        "steps": result.step,
        "minutes": result.seconds / 60,
        "best_step": result.best_step if made.held_out_frames is not None else result.step,
        "chosen_by": "link error of held-out frames" if made.held_out_frames is not None else "last step",
        "stopped": result.stopped,
        "max_minutes": asked.fit.max_minutes,
        "link_error": result.best_score,
        "data_wait_share": result.data_wait_share,
    }


def _describe_corpus(experiment: UVectorExperiment, folder: Path, say: Say) -> None:
    """Writes the statistics of the split of the whole part, as in the paper's Table 2."""
    name, manifest = speech_part(experiment.speech)
    cut = experiment.training.system.segments
    key = digest(config_to_dict(cut), len(manifest), manifest.seconds)
    file = folder / GRID_FILE
    if file.is_file() and read_record(file).get("key") == key:
        return
    say(f"durations of speech between pauses in {len(manifest)} recordings")
    statistics = corpus_statistics(manifest, cut)
    words = [len(utterance.text.split()) for utterance in manifest if utterance.text]
    write_record(
        file,
        {"key": key, "corpus": name, "speakers": len(manifest.speakers), **statistics._asdict(), "words": words},
    )


def _asked(experiment: UVectorExperiment) -> dict[str, Any]:
    """What an experiment's numbers depend on: neither where its files lie nor how fast it may be."""
    described = config_to_dict(experiment)
    path = described["speech"]["data"].pop("path")
    described["speech"]["data"]["name"] = None if path is None else os.path.basename(path)
    described["speech"].pop("noises")
    described["training"].pop("workers")
    described["training"]["fit"].pop("max_minutes")
    return described


def _is_complete(record: Mapping[str, Any], asked: UVectorExperiment) -> bool:
    """Whether there is nothing left to train: by its steps or patience, or there is no more time than it had."""
    if record["stopped"] != "time budget":
        return True
    now, then = asked.training.fit.max_minutes, record["max_minutes"]
    return now is not None and then is not None and now <= then


def _fitting(experiment: UVectorExperiment) -> UVectorExperiment:
    """No more pairs or classes in a batch than there are."""
    speech, made = experiment.speech, experiment.training
    if speech.speakers is None:
        return experiment
    fewest = speech.speakers * (speech.fewest or speech.segments)
    frames = made.system.segments.frames - speech.hold_out
    pairs = min(made.pairwise.pairs, fewest * frames // 2 * 2)
    size = made.classwise
    each = size.frames if speech.hop_seconds is not None else min(size.frames, frames)
    return dataclasses.replace(
        experiment,
        training=dataclasses.replace(
            made,
            pairwise=dataclasses.replace(made.pairwise, pairs=pairs),
            classwise=dataclasses.replace(size, classes=min(size.classes, fewest), frames=each),
        ),
    )
