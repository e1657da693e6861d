"""From a configuration to everything that comes of it: model, scores and tables, in one run directory."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxspk import data, training
from jaxspk.data import Mixtures
from jaxspk.systems._deep_clustering import save_deep_clustering
from jaxspk.systems._separation_card import separation_card
from jaxspk.systems._separation_scores import (
    MEASURES,
    SeparationScore,
    evaluate_separator,
    summarize_separation,
)
from jaxspk.systems._separation_training import (
    SeparationTraining,
    TrainedSeparator,
    draw_test_mixtures,
    train_separator,
)
from jaxspk.systems._speech import Speech, load_speech
from jaxspk.training import Run

MIXTURES_FILE = "mixtures.csv"
SUMMARY_FILE = "summary.csv"
LIST_FILE = "test_mixtures.csv"


@dataclasses.dataclass(frozen=True)
class SeparationOutcome:
    """Everything that came of a run; reports are made of it.

    Attributes:
      folder: the run directory.
      config: what was asked for.
      speech: who was trained on, validated and tested with.
      trained: the separator and how its training went.
      mixtures: what was tested on.
      scores: one row a test mixture, in their order.
      metrics: the lines of ``metrics.jsonl``.
    """

    folder: Path
    config: SeparationTraining
    speech: Speech
    trained: TrainedSeparator
    mixtures: Mixtures
    scores: tuple[SeparationScore, ...]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def model_folder(self) -> Path:
        """The model directory."""
        return self.folder / "model"


def run_separation(
    config: SeparationTraining,
    workdir: Path | str,
    *,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> SeparationOutcome:
    """Trains, tests and saves; goes on where a killed run stopped, and repeats nothing that is done.

    Writes into ``workdir``: the files of :class:`jaxspk.training.Run`, the model directory ``model/``, and in
    ``results/`` one row a mixture (``mixtures.csv``), their means (``summary.csv``) and the list of the test mixtures
    (``test_mixtures.csv``).

    Args:
      config: what to do.
      workdir: the run directory; a new one, or that of a run with the same configuration.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      JaxspkError: see :func:`load_speech`, :class:`jaxspk.training.Run` and :func:`train_separator`.
    """
    with Run(workdir, config) as run:
        speech = load_speech(config.data)
        say(speech.describe())
        trained = train_separator(config, speech, run, progress=progress)
        mixtures = draw_test_mixtures(config, speech)
        say(f"scoring {len(mixtures)} mixtures of test speakers")
        scores = tuple(evaluate_separator(trained.separator, mixtures))
        metrics = tuple(training.read_metrics(run.folder))
        outcome = SeparationOutcome(run.folder, config, speech, trained, mixtures, scores, metrics)
        save_deep_clustering(
            outcome.model_folder,
            config.system,
            trained.separator.model,
            card=separation_card(outcome.config, speech, trained.stages, scores),
        )
        _write_tables(outcome, run.results)
    return outcome


def _write_tables(outcome: SeparationOutcome, results: Path) -> None:
    rows = [score.row() for score in outcome.scores]
    data.write_table(results / MIXTURES_FILE, list(rows[0]), rows)
    summary = [
        {"measure": measure, **dataclasses.asdict(group)}
        for measure in MEASURES
        for group in summarize_separation(outcome.scores, measure)
    ]
    data.write_table(results / SUMMARY_FILE, list(summary[0]), summary)
    data.write_mixture_list(results / LIST_FILE, outcome.mixtures, root=outcome.config.data.path)
