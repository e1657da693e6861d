"""The suite: every row of the table of losses checked, planted with mistakes, and summed up."""

import dataclasses
import inspect
import math
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax

from jaxspk import losses
from jaxspk.testing._check import Gathered, restlessness, search
from jaxspk.testing._claims import value_of
from jaxspk.testing._definitions import by_name, entries_of, on_any_numbers
from jaxspk.testing._exact import exact_gradient
from jaxspk.testing._examples import Example, Layout, Vector, flat_arguments, layout_of
from jaxspk.testing._inputs import INPUTS, Inputs
from jaxspk.testing._kinds import kinds_for
from jaxspk.testing._misprints import formulas_for
from jaxspk.testing._more_rows import MORE_ROWS
from jaxspk.testing._mutants import Outcome, judge, plant_of_all_sizes, plant_whole
from jaxspk.testing._scenes import Scene
from jaxspk.testing._strategies import draw_many
from jaxspk.testing._subject import Subject, Trial, compare_with_definition, in_narrow_type, transformations_of

Row = losses.LossEntry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to do for one row.

    Attributes:
      examples: correct checks, over all cases of a row.
      mistakes: planted, over all cases of a row.
      definitions: inputs a case at which the definition testifies.
      narrow: inputs a case in float32 and bfloat16.
      exact: inputs without rounding.
      transformed: cases whose transformations are checked.
      every_kind: plant every kind of mistake in every case, instead of a part in each.
    """

    examples: int
    mistakes: int
    definitions: int = 2
    narrow: int = 4
    exact: int = 2
    transformed: int = 1
    every_kind: bool = False


SHORT = Effort(examples=30, mistakes=100, definitions=1)
LONG = Effort(examples=560, mistakes=1000, definitions=10, narrow=20, exact=50, transformed=9, every_kind=True)


@dataclasses.dataclass
class RowResult:
    """Everything found for one loss.

    Attributes:
      name: of the public function.
      family: the system it belongs to.
      reference: the source's equation.
      seed: of everything random.
      examples: correct checks made.
      errors: worst relative error against every witness.
      laws: worst violation of every law, relative to the terms that cancel.
      exact: inputs at which value and gradient equal the exact rational numbers.
      kinks: coordinates met on a kink.
      undecided: coordinates met that no witness could judge.
      coordinates: coordinates met in all.
      transformations: that were checked.
      precision: worst error in narrower types, relative to the largest entry.
      outcomes: what became of every planted mistake.
      problems: everything that is wrong.
      notes: what could not be checked.
      seconds: it took.
    """

    name: str
    family: str
    reference: str
    seed: int
    examples: int = 0
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    laws: dict[str, float] = dataclasses.field(default_factory=dict)
    exact: int = 0
    kinks: int = 0
    undecided: int = 0
    coordinates: int = 0
    transformations: list[str] = dataclasses.field(default_factory=list)
    precision: dict[str, float] = dataclasses.field(default_factory=dict)
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Nothing is wrong, and no mistake above the line survived."""
        return not self.problems and not self.survivors

    @property
    def survivors(self) -> list[Outcome]:
        """Mistakes that should have been caught."""
        return [outcome for outcome in self.outcomes if outcome.survived]

    def describe(self) -> str:
        """What is wrong, a line each."""
        survived = [f"survived: {o.kind}, size {o.size:.2g}, {o.dtype}" for o in self.survivors]
        return "\n".join([self.name, *self.problems, *survived])

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RowResult":
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "outcomes": [Outcome(**outcome) for outcome in data["outcomes"]]})

    def worst(self, table: dict[str, float], found: Mapping[str, float]) -> None:
        """Keeps the larger of two errors, entry by entry."""
        for name, error in found.items():
            table[name] = max(error, table.get(name, 0.0))


def subject_of(row: Row, inputs: Inputs) -> Subject:
    """A row of the table of losses, on trial; masks given by name come last among the arguments of its examples."""
    names = argument_names(row, inputs)
    adapted = [by_name(function, inputs.keywords) for function in (row.loss, row.grad, row.plain, row.definition)]
    return Subject(
        name=row.loss.__name__,
        function=adapted[0],
        gradient=adapted[1],
        reference=adapted[2],
        definition=adapted[3],
        argnums=tuple(names.index(name) for name in row.differentiable),
    )


def argument_names(row: Row, inputs: Inputs) -> list[str]:
    """Names of the arguments of an example, in order."""
    parameters = inspect.signature(row.loss).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] + list(inputs.keywords)


def missing_rows() -> list[str]:
    """Public losses without a row, and rows without inputs: names, each with what is missing."""
    found = []
    rows = {row.loss.__name__ for row in all_rows()}
    for name in dir(losses):
        is_loss = name.endswith(("_loss", "_distance")) and callable(getattr(losses, name))
        if is_loss and name not in rows:
            found.append(f"{name} has no row in jaxspk.losses.LOSSES")
    found += [f"{name} has no inputs in jaxspk.testing" for name in sorted(rows - set(INPUTS))]
    found += [f"{name} has inputs in jaxspk.testing and no row" for name in sorted(set(INPUTS) - rows)]
    return found


def run_row(row: Row, inputs: Inputs, effort: Effort, seed: int) -> RowResult:
    """Checks one loss with every witness and law, and plants mistakes in its gradient."""
    start = time.perf_counter()
    subject = subject_of(row, inputs)
    result = RowResult(row.loss.__name__, row.family, row.reference, seed)
    cases = len(inputs.cases)
    names = argument_names(row, inputs)
    seen: set[str] = set()
    with jax.enable_x64(True):
        for number, case in enumerate(inputs.cases):
            gathered = Gathered(subject, seed)
            share = math.ceil(effort.examples / cases)
            failing = search(gathered.try_one, case, share, seed + number)
            report = gathered.report(failing, [], [], {}, slopes=False)
            result.examples += report.examples
            result.kinks += report.kinks
            result.undecided += report.undecided
            result.worst(result.errors, report.errors)
            if failing is not None:
                result.problems.append(str(report))
                continue
            trials = gathered.trials
            result.coordinates += sum(len(t.evidence.scale) * len(t.comparisons) for t in trials)
            calm = sorted(trials, key=restlessness)
            _try_definition(subject, calm[: effort.definitions], result)
            scenes = [_scene(subject, trial) for trial in trials]
            _try_laws(inputs, scenes, result)
            if number < effort.transformed:
                _try_transformations(subject, calm[0], effort.every_kind, result)
            narrow = _try_narrow(
                subject, trials[:: max(1, len(trials) // effort.narrow)], effort.every_kind or number == 0, result
            )
            kinds = kinds_for(scenes[0], names, formulas_for(subject.name, () if effort.every_kind else seen))
            if not effort.every_kind:
                # Each kind once, in the first case where it shows.
                kinds = [kind for kind in kinds if kind.name not in seen]
            outcomes = judge(plant_whole(kinds), scenes, narrow)
            showing = {outcome.kind for outcome in outcomes if not outcome.equivalent}
            rest = math.ceil(effort.mistakes / cases) - len(showing)
            partly = plant_of_all_sizes([k for k in kinds if k.name in showing], scenes, rest, seed + number)
            result.outcomes += [*outcomes, *judge(partly, scenes, narrow)]
            seen |= {o.kind for o in result.outcomes if not o.equivalent}
        if inputs.exact is not None:
            _try_exact(subject, draw_many(inputs.exact, effort.exact, seed), result)
    # What changes nothing in one case and something in another is no mistake in the first.
    result.outcomes = [o for o in result.outcomes if not o.equivalent or o.kind not in seen]
    result.seconds = time.perf_counter() - start
    return result


def all_rows() -> list[Row]:
    """The table of losses, each system's own rows together, and the gradients that belong to no loss."""
    rows = [*losses.LOSSES.values(), *MORE_ROWS.values()]
    families = list(dict.fromkeys(row.family for row in rows))
    return sorted(rows, key=lambda row: families.index(row.family))


def loss_names(family: str | None = None) -> list[str]:
    """Names of all rows that have inputs; those of one system, if named."""
    return [r.loss.__name__ for r in all_rows() if r.loss.__name__ in INPUTS and family in (None, r.family)]


def run_named(name: str, effort: Effort, seed: int) -> RowResult:
    """:func:`run_row` by name, as a worker process calls it."""
    row = next(row for row in all_rows() if row.loss.__name__ == name)
    return run_row(row, INPUTS[name], effort, seed)


def _scene(subject: Subject, trial: Trial) -> Scene:
    name, layout = subject.claims[0], trial.evidence.layout

    def claim(example: Example, cotangent: Vector | None) -> Vector:
        return subject.ask(layout, example, cotangent)[1][name]

    return Scene(trial.evidence.example, trial.cotangent, trial.claims[name], trial.evidence, claim)


def _try_laws(inputs: Inputs, scenes: Sequence[Scene], result: RowResult) -> None:
    for law in inputs.laws:
        for scene in scenes:
            violation, broken = law.broken_by(scene)
            result.worst(result.laws, {law.name: violation})
            if broken:
                result.problems.append(f"{law.name} is broken by {violation:.2g} at {scene.example}")
                break


def _try_transformations(subject: Subject, trial: Trial, eager: bool, result: RowResult) -> None:
    found = transformations_of(subject, trial, eager=eager)
    result.transformations = sorted({*result.transformations, *found.checked})
    result.problems += found.problems
    result.notes = sorted({*result.notes, *found.notes})


def _try_narrow(subject: Subject, trials: Sequence[Trial], whole: bool, result: RowResult) -> list[Scene]:
    """float32 against float64, which mistakes are planted in, and bfloat16, which is only measured.

    Only the first claim, and float32, unless ``whole``: each claim and type compiles anew.
    """
    scenes = []
    names = subject.claims if whole else subject.claims[:1]
    for dtype in ("float32", "bfloat16") if whole else ("float32",):
        for trial in trials:
            evidence, claims, error, fit = in_narrow_type(subject, trial, dtype, names)
            result.worst(result.precision, {dtype: error})
            if dtype == "float32":
                if not fit:
                    result.problems.append(f"in float32 the gradient is off by {error:.2g} at {evidence.example}")
                scenes.append(dataclasses.replace(_scene(subject, trial), right=claims[names[0]], evidence=evidence))
    return scenes


def _try_definition(subject: Subject, trials: Sequence[Trial], result: RowResult) -> None:
    """The definition's own slopes, at a few inputs: in Python, they are slow."""
    for trial in trials:
        for name, comparison in compare_with_definition(subject, trial).items():
            result.worst(result.errors, comparison.errors)
            if not comparison.passed:
                result.problems.append(f"{name}: {comparison.worst} at {trial.evidence.example}")


def _try_exact(subject: Subject, examples: Sequence[Example], result: RowResult) -> None:
    """Value and gradient against rational numbers, with tolerance zero."""
    assert subject.definition is not None
    general = on_any_numbers(subject.definition)
    for example in examples:
        layout = layout_of(example, subject.argnums)
        vector, _ = flat_arguments(example, layout)
        try:
            value, slopes = exact_gradient(_exact_sum(general, example, layout), vector)
        except TypeError as error:
            result.problems.append(f"the definition has no exact value: {error}")
            return
        claims = subject.ask(layout, example, None)[1]
        found = sum((Fraction(float(entry)) for entry in value_of(subject.function, example).ravel()), Fraction(0))
        if found != value:
            result.problems.append(f"the value is {float(found)!r}, exactly {value} at {example}")
        for name, claim in claims.items():
            if any(Fraction(float(a)) != b for a, b in zip(claim, slopes, strict=True)):
                result.problems.append(
                    f"{name} is not exact at {example}: {claim.tolist()} for {list(map(str, slopes))}"
                )
        result.exact += 1


def _exact_sum(definition: Any, example: Example, layout: Layout) -> Any:
    entries = entries_of(definition, example, layout)
    return lambda vector: sum(entries(vector).tolist(), Fraction(0))
