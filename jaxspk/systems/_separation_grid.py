"""A grid of separators: named trainings, some of which begin with another's weights, each scored on the same sets.

A grid is data: cells, sets of mixtures, and who is held out. Run again, it repeats nothing: a cell whose training is
complete is only scored, a set that was scored with these very weights is passed over, a killed training goes on.

::

    FOLDER/<cell>/seed<k>/     the run directory of a training, with model/ and results/<set>.csv
    FOLDER/<cell>/seed<k>/results/cell.json    what was trained, how far, and what was scored
    FOLDER/<baseline>/<set>.csv                what needs no training
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jaxspk import _checks
from jaxspk.data import Manifest, MixtureConfig, MixtureSource, Recordings
from jaxspk.errors import ArgumentError, CorpusError
from jaxspk.systems._clustering_methods import ClusteringMethod, MethodConfig
from jaxspk.systems._oracle_nmf import OracleNmfConfig
from jaxspk.systems._separation_training import SeparationTraining
from jaxspk.systems._speech import Speech, SpeechConfig, load_speech

Who = Literal["closed", "validation", "open"]

IDEAL_MASK, ORACLE_NMF = "ideal-mask", "oracle-nmf"
"""Names of the baselines, which need no training and are run like cells."""

BASELINES = (IDEAL_MASK, ORACLE_NMF)

_BETWEEN_VALIDATIONS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """Mixtures that cells are scored on."""

    name: str
    who: Who
    """"closed": speakers of the training, in utterances kept from it; "validation": the speakers that choose the
    best model of a training; "open": the test speakers."""
    speakers: int = 2
    mixtures: int = 100
    corpus: str | None = None
    """Only speakers of this corpus, where there are several."""

    def __post_init__(self) -> None:
        _checks.check_choice("who", self.who, ("closed", "validation", "open"))
        _checks.check_range("speakers", self.speakers, low=2)
        _checks.check_range("mixtures", self.mixtures, low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridCell:
    """One training of a grid."""

    name: str
    training: SeparationTraining
    about: str = ""
    """What is special about it, in a few words."""
    starts_from: str | None = None
    """Name of the cell whose weights it begins with."""
    sets: tuple[str, ...]
    """Names of the sets it is scored on."""
    methods: tuple[ClusteringMethod, ...] = ("oracle k-means", "global k-means")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Cells and what they are scored on.

    Raises:
      ArgumentError: two names are the same, or a name is none of a cell or set.
    """

    cells: tuple[GridCell, ...]
    """In an order in which none comes before the one it starts from."""
    sets: tuple[EvaluationSet, ...]
    data: SpeechConfig = dataclasses.field(default_factory=SpeechConfig)
    """The speech of all cells."""
    closed_utterances: int = 1
    """Kept from the training of every training speaker who has enough of them, for the closed sets."""
    closed_of_at_least: int = 4
    """How many are enough."""
    how: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    nmf: OracleNmfConfig = dataclasses.field(default_factory=OracleNmfConfig)
    seed: int = 0
    """Of the sets and of the utterances kept, not of the trainings."""
    recipe: str = ""
    """What its trainings have in common, in a word or two; written beside the results."""

    def __post_init__(self) -> None:
        _checks.check_range("closed_utterances", self.closed_utterances, low=1)
        _checks.check_range("closed_of_at_least", self.closed_of_at_least, low=self.closed_utterances + 1)
        names = [cell.name for cell in self.cells]
        if len({*names, *BASELINES}) != len(names) + len(BASELINES):
            raise ArgumentError(f"`cells` must have different names, none of {', '.join(BASELINES)}; got {names}.")
        for number, cell in enumerate(self.cells):
            if cell.starts_from is not None:
                _checks.check_choice(f"starts_from of cell {cell.name!r}", cell.starts_from, names[:number])
            for name in cell.sets:
                _checks.check_choice(f"a set of cell {cell.name!r}", name, [s.name for s in self.sets])

    @property
    def names(self) -> tuple[str, ...]:
        """Of baselines and cells, in the order they are run in."""
        return (*BASELINES, *(cell.name for cell in self.cells))

    def cell(self, name: str) -> GridCell:
        """The cell of this name."""
        return next(cell for cell in self.cells if cell.name == name)


def describe_grid(grid: Grid) -> list[str]:
    """A line for every baseline and cell, under a line of headings."""
    lines = [f"{'name':<16}{'network':<22}{'steps × batch × frames':<36}{'begins with':<14}what is special"]
    lines += [f"{name:<16}{'none':<22}{'':<36}{'':<14}baseline" for name in BASELINES]
    for cell in grid.cells:
        network = cell.training.system.network
        size = f"{network.layers} × {network.units}, {network.dim} {network.activation}"
        stages = " + ".join(f"{s.fit.steps} × {s.batch_size} × {s.frames}" for s in cell.training.stages)
        lines.append(f"{cell.name:<16}{size:<22}{stages:<36}{cell.starts_from or '-':<14}{cell.about}")
    return lines


def with_budget(grid: Grid, *, steps: int | None = None, minutes: float | None = None) -> Grid:
    """The grid with another budget for every training from scratch; others keep their share of it.

    Args:
      grid: to change.
      steps: of the longest training; the others and the stages of a curriculum keep their proportions.
      minutes: after which the longest training stops, with the best model so far; the others likewise.
    """
    longest = max((_steps(cell.training) for cell in grid.cells), default=1)
    cells = []
    for cell in grid.cells:
        stages = []
        for stage in cell.training.stages:
            fit, share = stage.fit, stage.fit.steps / longest
            if steps is not None:
                count = max(1, round(steps * share))
                # As often in all, but not so often that it takes longer than the steps between.
                every = min(count, max(_BETWEEN_VALIDATIONS, round(fit.validate_every * count / fit.steps)))
                warmup = round(fit.optimizer.warmup_steps * min(1.0, count / fit.steps))
                fit = dataclasses.replace(
                    fit,
                    steps=count,
                    validate_every=every,
                    checkpoint_every=every,
                    log_every=min(fit.log_every, every),
                    optimizer=dataclasses.replace(fit.optimizer, warmup_steps=warmup),
                )
            if minutes is not None:
                fit = dataclasses.replace(fit, max_minutes=minutes * share)
            stages.append(dataclasses.replace(stage, fit=fit))
        cells.append(dataclasses.replace(cell, training=dataclasses.replace(cell.training, stages=tuple(stages))))
    return dataclasses.replace(grid, cells=tuple(cells))


@dataclasses.dataclass(frozen=True)
class GridSpeech:
    """The speech of a grid: the three groups of speakers, and utterances of the first that nothing is trained on."""

    speech: Speech
    """Its training part lacks the utterances kept."""
    closed: Manifest
    """Utterances of training speakers, kept from training."""
    recordings: Recordings

    def mixtures(self, grid: Grid, which: EvaluationSet) -> MixtureSource:
        """The mixtures of a set.

        Raises:
          CorpusError: there are too few speakers.
        """
        parts = {"closed": self.closed, "validation": self.speech.validation, "open": self.speech.test}
        try:
            return MixtureSource(
                parts[which.who].where(corpus=which.corpus),
                MixtureConfig(speakers=which.speakers, sample_rate=self.recordings.sample_rate),
                seed=_set_seed(grid.seed, which.name),
                size=which.mixtures,
                recordings=self.recordings,
            )
        except CorpusError as error:
            raise CorpusError(f"set {which.name!r}: {error}") from None


def load_grid_speech(grid: Grid) -> GridSpeech:
    """Reads and divides the speech of a grid.

    Raises:
      CorpusError: as :func:`load_speech`.
    """
    speech = load_speech(grid.data)
    kept, aside = set_aside(
        speech.train, utterances=grid.closed_utterances, of_at_least=grid.closed_of_at_least, seed=grid.seed
    )
    rate = grid.cells[0].training.mixtures.sample_rate if grid.cells else MixtureConfig().sample_rate
    return GridSpeech(dataclasses.replace(speech, train=kept), aside, Recordings(rate))


def set_aside(manifest: Manifest, *, utterances: int, of_at_least: int, seed: int) -> tuple[Manifest, Manifest]:
    """Parts a manifest in two: some utterances of every speaker who has enough, and all others.

    Args:
      manifest: to part.
      utterances: how many of a speaker are put aside.
      of_at_least: of speakers with fewer none is.
      seed: decides which.

    Returns:
      What is kept, and what is put aside.
    """
    aside = set()
    for speaker, own in manifest.by_speaker().items():
        if len(own) >= of_at_least:
            # Of each speaker by himself: who else is there changes nothing.
            rng = np.random.default_rng((seed, *speaker.encode()))
            aside |= {own[index].path for index in rng.choice(len(own), utterances, replace=False)}
    return manifest.where(lambda u: u.path not in aside), manifest.where(lambda u: u.path in aside)


def chosen_names(grid: Grid, only: Sequence[str]) -> tuple[str, ...]:
    """The names to run, in the grid's order.

    Raises:
      ArgumentError: a name is none of the grid's.
    """
    for name in only:
        _checks.check_choice("only", name, grid.names)
    return tuple(name for name in grid.names if not only or name in only)


def cell_folder(folder: Path, name: str, seed: int) -> Path:
    """Where the training of a cell lives."""
    return folder / name / f"seed{seed}"


def _steps(training: SeparationTraining) -> int:
    return sum(stage.fit.steps for stage in training.stages)


def _set_seed(seed: int, name: str) -> int:
    return int(np.random.SeedSequence((seed, *name.encode())).generate_state(1)[0])
