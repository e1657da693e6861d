"""The suite: every row of the table of losses checked, planted with mistakes, and summed up."""

import dataclasses
import functools
import inspect
import math
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspk import losses
from jaxspk.testing._check import Gathered, Subject, Trial, restlessness, search, transformations_of
from jaxspk.testing._compare import compare, compare_low_precision, low_precision_evidence, value_of
from jaxspk.testing._differences import STEPS, Slopes
from jaxspk.testing._exact import complex_step_gradient, exact_gradient, on_any_numbers
from jaxspk.testing._examples import Example, Layout, Vector, coordinate_scales, flat_arguments, layout_of
from jaxspk.testing._inputs import INPUTS, Inputs
from jaxspk.testing._misprints import formulas_for
from jaxspk.testing._mutants import Outcome, judge, kinds_for, plant
from jaxspk.testing._scenes import Scene
from jaxspk.testing._strategies import draw_many
from jaxspk.testing._witnesses import Witness, weighted_slopes

Row = losses.LossEntry

_ROUNDING_OF_DEFINITIONS = 1e-14


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


SHORT = Effort(examples=30, mistakes=100)
LONG = Effort(
    examples=560, mistakes=1000, definitions=10, narrow=20, exact=50, transformed=9, every_kind=True
)


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


@functools.lru_cache(maxsize=512)
def by_name(function: Any, keywords: tuple[str, ...]) -> Any:
    """The function with its last arguments passed on by these names; itself where there are none."""
    if not keywords:
        return function

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        first, last = arguments[: -len(keywords)], arguments[-len(keywords) :]
        return function(*first, **dict(zip(keywords, last, strict=True)), **options)

    return called


def missing_rows() -> list[str]:
    """Public losses without a row, and rows without inputs: names, each with what is missing."""
    found = []
    rows = {row.loss.__name__ for row in losses.LOSSES.values()}
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
            _try_definition(subject, inputs, calm[: effort.definitions], result)
            scenes = [_scene(subject, trial) for trial in trials]
            _try_laws(inputs, scenes, result)
            if number < effort.transformed:
                _try_transformations(subject, calm[0], effort.every_kind, result)
            narrow = _try_narrow(subject, trials[:: max(1, len(trials) // effort.narrow)], effort.every_kind or number == 0, result)
            kinds = kinds_for(scenes[0], names, formulas_for(subject.name))
            if not effort.every_kind:
                # Each kind once, in the first case where it shows.
                kinds = [kind for kind in kinds if kind.name not in seen]
            mistakes = plant(kinds, scenes, math.ceil(effort.mistakes / cases), seed + number)
            planted = judge(mistakes, scenes, narrow)
            tried = {kind.name for kind in kinds}
            result.outcomes = [o for o in result.outcomes if not (o.equivalent and o.kind in tried)] + planted
            seen |= {o.kind for o in planted if not o.equivalent}
        if inputs.exact is not None:
            _try_exact(subject, inputs, draw_many(inputs.exact, effort.exact, seed), result)
    result.seconds = time.perf_counter() - start
    return result


def run_named(name: str, effort: Effort, seed: int) -> RowResult:
    """:func:`run_row` by name, as a worker process calls it."""
    row = next(row for row in losses.LOSSES.values() if row.loss.__name__ == name)
    return run_row(row, INPUTS[name], effort, seed)


def _scene(subject: Subject, trial: Trial) -> Scene:
    name = next(iter(trial.claims))
    claim = subject.claims(trial.evidence.layout)[name]
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

    Only the gradient in float32 unless ``whole``; each claim and type compiles anew.
    """
    scenes = []
    for dtype in ("float32", "bfloat16") if whole else ("float32",):
        for trial in trials:
            layout, example = trial.evidence.layout, trial.evidence.example.cast(jnp.dtype(dtype))
            evidence = low_precision_evidence(
                subject.plain, example, layout, trial.cotangent, autodiff=True, dtype=jnp.dtype(dtype)
            )
            with jax.enable_x64(False):
                claims = {
                    name: claim(example, trial.cotangent)
                    for name, claim in list(subject.claims(layout).items())[: 2 if whole else 1]
                }
            for name, claim in claims.items():
                judged = compare_low_precision(claim, evidence, dtype)
                result.worst(result.precision, {dtype: judged.error})
                if not judged.passed and dtype == "float32":
                    result.problems.append(f"in float32 {name} is off by {judged.error:.2g} at {example}")
            if dtype == "float32":
                first = next(iter(claims))
                claim = subject.claims(layout)[first]
                scenes.append(Scene(example, trial.cotangent, claims[first], evidence, claim))
    return scenes


def _try_definition(subject: Subject, inputs: Inputs, trials: Sequence[Trial], result: RowResult) -> None:
    """The definition's own slopes: by complex step where it is analytic, else by Richardson differences."""
    assert subject.definition is not None
    for trial in trials:
        example, layout, evidence = trial.evidence.example, trial.evidence.layout, trial.evidence
        vector, _ = flat_arguments(example, layout)
        scales = coordinate_scales(example, layout)
        weights = trial.cotangent.ravel()
        general = by_name(on_any_numbers(inspect.unwrap(subject.definition)), inputs.keywords)
        of_complex = _contracted(general, example, layout, weights)
        gradient = complex_step_gradient(of_complex, vector, scales)
        none = np.zeros(len(vector), bool)
        if gradient is not None:
            witness = Witness("complex step", gradient, gradient, evidence.fine, none)
        else:
            slopes = _richardson(_entries(subject.definition, example, layout), vector, scales, weights, evidence.value_noise)
            witness = Witness("Richardson, definition", slopes.low, slopes.high, slopes.bars, slopes.kinks)
        only = dataclasses.replace(evidence, witnesses=(witness,))
        for name, claim in trial.claims.items():
            comparison = compare(claim, only)
            result.worst(result.errors, {witness.name: comparison.errors[witness.name]})
            if not comparison.passed:
                result.problems.append(f"{name} differs from the definition: {comparison.worst} at {example}")


def _entries(definition: Any, example: Example, layout: Layout) -> Any:
    data = [None if argument is None else np.asarray(argument) for argument in example.arguments]
    return lambda vector: np.ravel(definition(*layout.rebuild(vector, data), **example.options))


def _contracted(definition: Any, example: Example, layout: Layout, weights: Vector) -> Any:
    entries = _entries(definition, example, layout)
    return lambda vector: (entries(vector) * weights).sum()


def _richardson(entries: Any, vector: Vector, scales: Vector, weights: Vector, noise: Vector) -> Slopes:
    """All coordinates, one call of the definition at a time."""
    base = np.asarray(entries(vector), np.float64)
    rises = np.empty((len(vector), 2, len(STEPS), len(base)))
    for k in range(len(vector)):
        for side, sign in enumerate((1.0, -1.0)):
            for level, step in enumerate(STEPS):
                moved = vector.copy()
                moved[k] += sign * step * scales[k]
                rises[k, side, level] = np.asarray(entries(moved), np.float64) - base
    # The definition adds up in another order and cancels where the loss does not.
    rounding = 4 * noise + _ROUNDING_OF_DEFINITIONS * np.maximum(1.0, np.abs(base))
    return weighted_slopes(rises, scales, weights, rounding)


def _try_exact(subject: Subject, inputs: Inputs, examples: Sequence[Example], result: RowResult) -> None:
    """Value and gradient against rational numbers, with tolerance zero."""
    assert subject.definition is not None
    general = by_name(on_any_numbers(inspect.unwrap(subject.definition)), inputs.keywords)
    for example in examples:
        layout = layout_of(example, subject.argnums)
        vector, _ = flat_arguments(example, layout)
        value, slopes = exact_gradient(_exact_sum(general, example, layout), vector)
        claims = {name: claim(example, None) for name, claim in subject.claims(layout).items()}
        found = sum((Fraction(float(entry)) for entry in value_of(subject.function, example).ravel()), Fraction(0))
        if found != value:
            result.problems.append(f"the value is {float(found)!r}, exactly {value} at {example}")
        for name, claim in claims.items():
            if any(Fraction(float(a)) != b for a, b in zip(claim, slopes, strict=True)):
                result.problems.append(f"{name} is not exact at {example}: {claim.tolist()} for {list(map(str, slopes))}")
        result.exact += 1


def _exact_sum(definition: Any, example: Example, layout: Layout) -> Any:
    entries = _entries(definition, example, layout)
    return lambda vector: sum(entries(vector).tolist(), Fraction(0))
