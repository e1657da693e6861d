"""The grids of deep clustering: the paper's four tables, and a ladder of what came after it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxspk.data import AugmentConfig
from jaxspk.errors import ArgumentError
from jaxspk.systems._clustering_methods import CLUSTERING_METHODS, ClusteringMethod
from jaxspk.systems._separation_grid import EvaluationSet, Grid, GridCell
from jaxspk.systems._separation_training import SeparationTraining, StageConfig
from jaxspk.systems._speech import SpeechConfig

EMBEDDING_SIZES = (5, 10, 20, 40, 60)
"""Of the paper's second table."""

BEST_SIZE = 40
"""The one that it goes on with."""

# Of the steps and of the learning rate of a training from scratch, where a cell begins with another's weights.
_CONTINUED = 0.5


def table_grid(
    recipe: SeparationTraining,
    *,
    data: SpeechConfig | None = None,
    mixtures: int = 100,
    corpus: str | None = None,
) -> Grid:
    """Everything that the tables of Hershey et al. 2016 are made of.

    Two-speaker networks of five embedding sizes; a logistic one, and two on other training sets, which begin with
    the weights of the tanh network of the same size, as the paper's did; one of three speakers.

    Args:
      recipe: how every cell is trained but for what its name says.
      data: the speech.
      mixtures: of each set.
      corpus: score mixtures of this corpus only.
    """
    recipe = _with_mixtures(recipe, genders=())
    two, three = ("closed-2", "open-2"), ("closed-3", "open-3")
    whole = f"tanh-{BEST_SIZE}"
    cells = [
        GridCell(
            name=f"tanh-{size}",
            training=_with_network(recipe, dim=size, activation="tanh"),
            about=f"embeddings of {size} dimensions",
            sets=(*two, *three) if size == BEST_SIZE else two,
            methods=CLUSTERING_METHODS if size == BEST_SIZE else _MAIN,
        )
        # The best one first: others begin with it, and a grid cut short should have it.
        for size in sorted(EMBEDDING_SIZES, key=lambda size: size != BEST_SIZE)
    ]
    best = cells[0].training
    cells += [
        GridCell(
            name=f"logistic-{BEST_SIZE}",
            training=_continued(_with_network(best, activation="logistic")),
            about="logistic embeddings",
            starts_from=whole,
            sets=two,
            methods=CLUSTERING_METHODS,
        ),
        GridCell(
            name="balanced",
            training=_continued(_with_mixtures(best, genders=("FF", "FM", "MM"))),
            about="as many pairs of two women and of two men as mixed ones",
            starts_from=whole,
            sets=two,
            methods=_MAIN,
        ),
        GridCell(
            name="female",
            training=_continued(_with_mixtures(best, genders=("FF",))),
            about="pairs of women only",
            starts_from=whole,
            sets=two,
            methods=_MAIN,
        ),
        GridCell(
            name="three",
            training=_with_mixtures(best, speakers=3, genders=()),
            about="mixtures of three speakers",
            sets=three,
            methods=_MAIN,
        ),
    ]
    sets = (
        EvaluationSet(name="closed-2", who="closed", mixtures=mixtures, corpus=corpus),
        EvaluationSet(name="open-2", who="open", mixtures=mixtures, corpus=corpus),
        EvaluationSet(name="closed-3", who="closed", speakers=3, mixtures=mixtures, corpus=corpus),
        EvaluationSet(name="open-3", who="open", speakers=3, mixtures=mixtures, corpus=corpus),
    )
    return Grid(cells=tuple(cells), sets=sets, data=data or recipe.data)


def ladder_grid(
    recipe: SeparationTraining,
    *,
    data: SpeechConfig | None = None,
    mixtures: int = 100,
    corpus: str | None = None,
    fixed_mixtures: int = 4000,
) -> Grid:
    """A ladder of gains: each rung is the one before it with one change, of the same budget.

    Every rung hears the same number of frames. Choose by the column of the validation speakers; the test speakers
    are there to report.

    Args:
      recipe: of the first rung; with two layers, without dropout, one stage, bins that are active counting alike.
      data: the speech.
      mixtures: of each set.
      corpus: score mixtures of this corpus only.
      fixed_mixtures: that the first rung is trained on, again and again.
    """
    if len(recipe.stages) != 1:
        raise ArgumentError(
            f"`recipe` must have one stage, got {len(recipe.stages)}: the curriculum is a rung of the ladder."
        )
    changes: tuple[tuple[str, str, Callable[[SeparationTraining], SeparationTraining]], ...] = (
        ("plain", f"{fixed_mixtures} fixed mixtures", lambda t: _changed(t, training_mixtures=fixed_mixtures)),
        ("more-mixtures", "no mixture twice", lambda t: _changed(t, training_mixtures=None)),
        ("magnitude-ratio", "bins weighted by magnitude", lambda t: _with_loss(t, weights="magnitude")),
        ("augmentation", "speed 0.85 to 1.18, level ± 3 dB", lambda t: _changed(t, augment=_SPEED_AND_LEVEL)),
        ("dropout", "dropout 0.2", lambda t: _with_network(t, dropout=0.2)),
        ("deeper", "one layer more", lambda t: _with_network(t, layers=t.system.network.layers + 1)),
        ("curriculum", "then segments four times as long", _curriculum),
    )
    cells, rung = [], _with_mixtures(recipe, genders=())
    for name, about, change in changes:
        rung = change(rung)
        cells.append(
            GridCell(name=name, training=rung, about=about, sets=("validation-2", "open-2"), methods=_MAIN[::-1])
        )
    sets = (
        EvaluationSet(name="validation-2", who="validation", mixtures=mixtures, corpus=corpus),
        EvaluationSet(name="open-2", who="open", mixtures=mixtures, corpus=corpus),
    )
    return Grid(cells=tuple(cells), sets=sets, data=data or recipe.data)


GRIDS: Mapping[str, Callable[..., Grid]] = {"paper": table_grid, "ladder": ladder_grid}
"""By the name that `python -m experiments.deep_clustering` knows them by."""

_MAIN: tuple[ClusteringMethod, ...] = ("oracle k-means", "global k-means")

_SPEED_AND_LEVEL = AugmentConfig(speed=(0.85, 1.18), level_db=3.0)


def _changed(training: SeparationTraining, **fields: Any) -> SeparationTraining:
    return dataclasses.replace(training, **fields)


def _with_mixtures(training: SeparationTraining, **fields: Any) -> SeparationTraining:
    return _changed(training, mixtures=dataclasses.replace(training.mixtures, **fields))


def _with_network(training: SeparationTraining, **fields: Any) -> SeparationTraining:
    system = training.system
    return _changed(training, system=dataclasses.replace(system, network=dataclasses.replace(system.network, **fields)))


def _with_loss(training: SeparationTraining, **fields: Any) -> SeparationTraining:
    system = training.system
    return _changed(training, system=dataclasses.replace(system, loss=dataclasses.replace(system.loss, **fields)))


def _continued(training: SeparationTraining) -> SeparationTraining:
    """A training that begins with weights: fewer and smaller steps."""
    return _changed(training, stages=tuple(_part(stage, _CONTINUED, _CONTINUED) for stage in training.stages))


def _curriculum(training: SeparationTraining) -> SeparationTraining:
    """Three quarters of the steps on short segments, the rest on fewer, longer ones of as many frames in all."""
    (stage,) = training.stages
    longer = dataclasses.replace(stage, frames=4 * stage.frames, batch_size=max(1, stage.batch_size // 4))
    return _changed(training, stages=(_part(stage, 0.75), _part(longer, 0.25, 0.5)))


def _part(stage: StageConfig, share: float, rate: float = 1.0) -> StageConfig:
    fit = stage.fit
    optimizer = dataclasses.replace(fit.optimizer, learning_rate=fit.optimizer.learning_rate * rate)
    return dataclasses.replace(
        stage, fit=dataclasses.replace(fit, steps=max(1, round(fit.steps * share)), optimizer=optimizer)
    )
