"""What people call: check one gradient, and say what was found."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity

from jaxspk.errors import ArgumentError
from jaxspk.testing._compare import (
    Claim,
    Comparison,
    Discrepancy,
    accepts_cotangent,
    claim_of_gradient,
    claim_of_rule,
    compare,
    compare_low_precision,
    low_precision_evidence,
    value_and_rule,
    value_of,
)
from jaxspk.testing._examples import (
    Example,
    Function,
    Layout,
    Vector,
    as_example,
    coordinate_scales,
    flat_arguments,
    layout_of,
    options_key,
)
from jaxspk.testing._transformations import Transformations, check_transformations
from jaxspk.testing._witnesses import Evidence, gather_evidence

Inputs = Any
"""A hypothesis strategy, an :class:`Example`, or a tuple of arguments."""

_TAYLOR_STEPS: Vector = np.ldexp(1.0, -np.arange(2, 28, 2))
_VALUE_TOLERANCE = 1e-9
_VALUE_ROUNDING = 1e-13


@dataclasses.dataclass(frozen=True)
class TaylorRow:
    """One step of the Taylor test along one direction.

    Attributes:
      step: length of the step, relative to the coordinates' scales.
      first: |f(x + h d) − f(x)|.
      second: |f(x + h d) − f(x) − h ⟨g, d⟩|, with the claimed g.
      order: the power of the step with which ``second`` shrank: 2 for a right gradient, towards 1 for a wrong one.
    """

    step: float
    first: float
    second: float
    order: float


@dataclasses.dataclass(frozen=True)
class GradientReport:
    """What a check found; ``str(report)`` tells it in a few lines.

    Attributes:
      name: of the function.
      passed: nothing was wrong.
      examples: inputs tried.
      worst_error: largest relative error against any witness.
      errors: the same, witness by witness.
      worst: where that was: argument, index, both values.
      problems: everything else that was wrong, in words.
      notes: what could not be judged, in words.
      counterexample: the smallest failing input found, or None.
      kinks: coordinates met where the slopes from both sides differ.
      undecided: coordinates met that no witness could judge to one part in a million.
      taylor: slope table at the worst input.
      precision: worst error of the claim in narrower types, relative to the largest entry of the gradient.
      seed: of the inputs, perturbations and directions.
      replay: one line of Python that shows the finding again.
    """

    name: str
    passed: bool
    examples: int
    worst_error: float
    errors: Mapping[str, float]
    worst: Discrepancy | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    counterexample: Example | None
    kinks: int
    undecided: int
    taylor: tuple[TaylorRow, ...]
    precision: Mapping[str, float]
    seed: int
    replay: str

    def __str__(self) -> str:
        verdict = "right" if self.passed else "WRONG"
        lines = [f"{self.name}: gradient {verdict} on {self.examples} inputs, worst relative error {self.worst_error:.2g}"]
        lines += [f"  {witness}: {error:.2g}" for witness, error in self.errors.items()]
        lines += [f"  {dtype} against float64: {error:.2g}" for dtype, error in self.precision.items()]
        if self.kinks:
            lines.append(f"  {self.kinks} coordinates sat on a kink; the claim lies between the slopes from both sides")
        if self.undecided:
            lines.append(f"  {self.undecided} coordinates were too ill-conditioned to judge to 1e-6")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        if not self.passed:
            if self.worst is not None:
                lines.append(f"  at {self.worst}")
            lines.append("  step      f(x+hd)-f(x)   less h<g,d>   order")
            lines += [f"  {row.step:<8.2g}  {row.first:<13.3e}  {row.second:<12.3e}  {row.order:.2f}" for row in self.taylor]
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A gradient on trial.

    Attributes:
      name: of the function.
      function: computes the value; its own rule is a claim unless ``reference`` is None and ``gradient`` is given.
      gradient: the gradient written by hand, or None.
      reference: the same value without any custom rule, or None.
      definition: the same value in NumPy, sharing no code, or None.
      argnums: positions of the differentiable arguments; None for every floating one.
    """

    name: str
    function: Function
    gradient: Function | None = None
    reference: Function | None = None
    definition: Function | None = None
    argnums: tuple[int, ...] | None = None

    @property
    def plain(self) -> Function:
        """What the witnesses look at."""
        return self.function if self.reference is None else self.reference

    @property
    def autodiff(self) -> bool:
        """Whether reverse and forward mode of ``plain`` are independent of what is claimed."""
        return self.reference is not None or self.gradient is not None

    def claims(self, layout: Layout) -> dict[str, Claim]:
        """Everything that claims to be the gradient."""
        claims = {}
        if self.gradient is not None:
            claims["gradient"] = claim_of_gradient(self.gradient, layout)
        if self.reference is not None or self.gradient is None:
            claims["own rule"] = claim_of_rule(self.function, layout)
        return claims


@dataclasses.dataclass(frozen=True)
class Trial:
    """One input's evidence and what became of every claim there.

    Attributes:
      evidence: the witnesses.
      cotangent: in the shape of the value.
      claims: the gradients claimed, flat.
      comparisons: the verdicts.
      problems: what else was wrong.
    """

    evidence: Evidence
    cotangent: Vector
    claims: Mapping[str, Vector]
    comparisons: Mapping[str, Comparison]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Nothing was wrong."""
        return not self.problems and all(comparison.passed for comparison in self.comparisons.values())


def check_gradient(
    function: Function,
    inputs: Inputs,
    *,
    gradient: Function | None = None,
    reference: Function | None = None,
    definition: Function | None = None,
    argnums: int | Sequence[int] | None = None,
    examples: int = 25,
    seed: int = 0,
    fast: bool = False,
    name: str | None = None,
) -> GradientReport:
    r"""Compares a claimed gradient with independent witnesses, every coordinate and in random directions.

    The claim is ``gradient`` if given, and the function's own rule (``jax.custom_vjp``) if there is a
    ``reference`` to compare it with or no ``gradient``. The witnesses work in float64: reverse and forward mode
    of ``reference`` (of ``function`` where it has no rule of its own and ``gradient`` is given), and adaptive
    Richardson differences of its value. A coordinate fails when it is off by more than the witness's own error
    bar and :math:`10^{-8}\max(|g_i|, 10^{-3}\max|g|)`, whatever the size of the input. At a kink the claim
    must lie between the slopes from both sides.

    Args:
      function: of arrays; returns a number or an array of per-example values, which are added up with random
        weights where the claim allows it.
      inputs: a hypothesis strategy of :class:`Example` or of tuples of arguments; or one of these itself. Few
        different shapes: each compiles anew.
      gradient: takes the same arguments, returns one array for each differentiable argument (no tuple for a
        single one): the gradient of the sum of the values; with a keyword ``cotangent`` (the shape of the
        value) the gradient of their weighted sum.
      reference: the same value, without custom rules.
      definition: the same value in NumPy; where it accepts complex numbers it testifies by complex step.
      argnums: positions of the differentiable arguments; None for every floating one.
      examples: how many inputs to try.
      seed: of everything random.
      fast: a third of the examples, no transformations and no narrow types: for use inside a test suite.
      name: to print, the function's own by default.

    Returns:
      What was found; never raises because a gradient is wrong (:func:`assert_gradient` does).

    Raises:
      ArgumentError: ``inputs`` or ``argnums`` fit no function.
    """
    if isinstance(argnums, int):
        argnums = (argnums,)
    subject = Subject(
        name=name or getattr(function, "__name__", type(function).__name__),
        function=function,
        gradient=gradient,
        reference=reference,
        definition=definition,
        argnums=None if argnums is None else tuple(argnums),
    )
    return check_subject(subject, inputs, examples=max(1, examples // 3) if fast else examples, seed=seed, thorough=not fast)


def assert_gradient(function: Function, inputs: Inputs, **options: Any) -> GradientReport:
    """As :func:`check_gradient`, and raises ``AssertionError`` with the report where the gradient is wrong."""
    report = check_gradient(function, inputs, **options)
    if not report.passed:
        raise AssertionError(str(report))
    return report


def check_subject(
    subject: Subject, inputs: Inputs, *, examples: int, seed: int, thorough: bool = True
) -> GradientReport:
    """Runs all checks of one subject; ``thorough`` adds transformations and narrow types, at one input."""
    gathered = Gathered(subject, seed)
    failing = search(gathered.try_one, inputs, examples, seed)
    problems: list[str] = []
    notes: list[str] = []
    precision: dict[str, float] = {}
    if thorough and failing is None and gathered.calmest is not None:
        trial = gathered.calmest
        found = transformations_of(subject, trial)
        problems += found.problems
        notes += found.notes
        for dtype in ("float32", "bfloat16"):
            narrow = precision_of(subject, trial, dtype)
            precision[dtype] = narrow[0]
            if not narrow[1] and dtype == "float32":
                problems.append(f"in float32 the gradient is off by {narrow[0]:.2g} of its largest entry")
    return gathered.report(failing, problems, notes, precision, slopes=thorough)


def try_example(subject: Subject, example: Example, seed: int) -> Trial:
    """Evidence, claims and verdicts at one input."""
    layout = layout_of(example, subject.argnums)
    claims = subject.claims(layout)
    with jax.enable_x64(True):
        wide = example.cast(np.float64)
        shape = _value_shape(subject.function, wide)
        cotangent = _cotangent(subject, shape, seed)
        value, _ = value_and_rule(subject.function, layout, wide, cotangent)
        evidence = gather_evidence(
            subject.plain, wide, layout, cotangent=cotangent, autodiff=subject.autodiff, seed=seed
        )
        problems = _value_problems(subject, wide, value, evidence)
        found, comparisons = {}, {}
        for claim_name, claim in claims.items():
            first, second = claim(wide, cotangent), claim(wide, cotangent)
            if first.tobytes() != second.tobytes():
                problems.append(f"{claim_name}: two runs on the same input differ bit by bit")
            found[claim_name], comparisons[claim_name] = first, compare(first, evidence)
    return Trial(evidence, cotangent, found, comparisons, tuple(problems))


def transformations_of(subject: Subject, trial: Trial, *, eager: bool = True) -> Transformations:
    """Whether the function's own rule survives every transformation, near one input."""
    evidence = trial.evidence
    with jax.enable_x64(True):
        expected = claim_of_rule(subject.function, evidence.layout)(evidence.example, trial.cotangent)
    return check_transformations(
        subject.function,
        evidence.example,
        evidence.layout,
        trial.cotangent,
        expected,
        reference=subject.plain if subject.autodiff else None,
        eager=eager,
    )


def precision_of(subject: Subject, trial: Trial, dtype: str) -> tuple[float, bool]:
    """Worst error of the claims in a narrow type against float64 at the same rounded input, and whether it is fit."""
    narrow = jnp.dtype(dtype)
    layout = trial.evidence.layout
    evidence = low_precision_evidence(
        subject.plain, trial.evidence.example, layout, trial.cotangent, autodiff=subject.autodiff, dtype=narrow
    )
    example = trial.evidence.example.cast(narrow)
    worst, passed = 0.0, True
    with jax.enable_x64(False):
        for claim in subject.claims(layout).values():
            result = compare_low_precision(claim(example, trial.cotangent), evidence, dtype)
            worst, passed = max(worst, result.error), passed and result.passed
    return worst, passed


def _cotangent(subject: Subject, shape: tuple[int, ...], seed: int) -> Vector:
    """Random weights, exact in every dtype; ones for a gradient that takes none."""
    if subject.gradient is not None and not accepts_cotangent(subject.gradient):
        return np.ones(shape)
    generator = np.random.default_rng([seed, 1])
    return np.asarray(generator.choice([-1.5, -1.0, 0.5, 1.0, 2.0], size=shape))


def _value_shape(function: Function, example: Example) -> tuple[int, ...]:
    shapes = tuple(None if a is None else (np.shape(a), np.asarray(a).dtype) for a in example.arguments)
    return _traced_shape(function, shapes, options_key(example.options))


@functools.lru_cache(maxsize=512)
def _traced_shape(
    function: Function, shapes: tuple[Any, ...], options: tuple[tuple[str, Any], ...]
) -> tuple[int, ...]:
    arguments = [None if shape is None else jax.ShapeDtypeStruct(*shape) for shape in shapes]
    return tuple(jax.eval_shape(lambda *given: function(*given, **dict(options)), *arguments).shape)


def _value_problems(subject: Subject, example: Example, value: Vector, evidence: Evidence) -> list[str]:
    """Where the value differs from the plain form's or from the definition's."""
    problems = []
    # A definition written out naively cancels to a few units in the last place of 1.
    tolerance = _VALUE_TOLERANCE * np.abs(evidence.value) + 64 * evidence.value_noise + _VALUE_ROUNDING
    others = {"the reference": evidence.value}
    if subject.definition is not None:
        arguments = [None if a is None else np.asarray(a) for a in example.arguments]
        others["the definition"] = np.asarray(
            subject.definition(*arguments, **example.options), np.float64
        ).ravel()
    for name, other in others.items():
        if other.shape != value.ravel().shape:
            problems.append(f"the value has {value.size} entries, that of {name} {other.size}")
            continue
        with np.errstate(invalid="ignore"):
            apart = np.abs(value.ravel() - other)
        wrong = (apart > tolerance) | (np.isfinite(other) & ~np.isfinite(value.ravel()))
        if wrong.any():
            worst = int(np.argmax(np.where(wrong, apart, -1)))
            problems.append(f"value {value.ravel()[worst]!r} where {name} says {other[worst]!r} (entry {worst})")
    return problems


class Gathered:
    """The running totals of one check."""

    def __init__(self, subject: Subject, seed: int) -> None:
        self.subject, self.seed = subject, seed
        self.tried = self.kinks = self.undecided = 0
        self.errors: dict[str, float] = {}
        self.worst: tuple[float, Discrepancy | None] = (-1.0, None)
        self.calmest: Trial | None = None
        self.last: Trial | None = None
        self.trials: list[Trial] = []

    def try_one(self, example: Example) -> Trial:
        trial = try_example(self.subject, example, self.seed)
        self.last = trial
        if not trial.passed:
            return trial
        self.tried += 1
        self.trials.append(trial)
        self.kinks += int(trial.evidence.kinks.sum())
        if self.calmest is None or restlessness(trial) < restlessness(self.calmest):
            self.calmest = trial
        for comparison in trial.comparisons.values():
            self.undecided += comparison.undecided
            for witness, error in comparison.errors.items():
                self.errors[witness] = max(error, self.errors.get(witness, 0.0))
            if comparison.worst is not None and comparison.worst.relative_error > self.worst[0]:
                self.worst = (comparison.worst.relative_error, comparison.worst)
        return trial

    def report(
        self,
        failing: Trial | None,
        problems: list[str],
        notes: list[str],
        precision: dict[str, float],
        *,
        slopes: bool = True,
    ) -> GradientReport:
        shown, worst, errors = failing or self.last, self.worst[1], self.errors
        if failing is not None:
            wrong = [c for c in failing.comparisons.values() if not c.passed]
            worst = wrong[0].worst if wrong else None
            errors = dict(wrong[0].errors) if wrong else errors
            problems = [*failing.problems, *problems]
            problems += [f"{name} disagrees" for name, c in failing.comparisons.items() if not c.passed]
        return GradientReport(
            name=self.subject.name,
            passed=failing is None and not problems,
            examples=self.tried + (failing is not None),
            worst_error=worst.relative_error if failing is not None and worst else max(errors.values(), default=0.0),
            errors=errors,
            worst=worst,
            problems=tuple(problems),
            notes=tuple(notes),
            counterexample=None if failing is None else failing.evidence.example,
            kinks=self.kinks,
            undecided=self.undecided,
            taylor=taylor_table(self.subject.plain, shown, worst) if shown and (failing or slopes) else (),
            precision=precision,
            seed=self.seed,
            replay=_replay(self.subject, shown, self.seed),
        )


def restlessness(trial: Trial) -> float:
    """Larger for inputs near kinks or badly conditioned, where transformations may differ by more than rounding."""
    evidence = trial.evidence
    largest = float(evidence.scale.max(initial=0.0))
    if largest == 0 or not np.isfinite(evidence.fine).all():
        return np.inf
    bars = np.stack([w.bars for w in evidence.witnesses if w.name != "Richardson"] or [evidence.fine])
    return float(bars.max() / largest) + float(evidence.kinks.any())


def search(try_one: Callable[[Example], Trial], inputs: Inputs, examples: int, seed: int) -> Trial | None:
    """The smallest failing trial, or None."""
    if not isinstance(inputs, hypothesis.strategies.SearchStrategy):
        trial = try_one(as_example(inputs))
        return None if trial.passed else trial
    failing: list[Trial] = []

    @hypothesis.seed(seed)
    @search_settings(examples)
    @hypothesis.given(inputs)
    def run(drawn: Any) -> None:
        trial = try_one(as_example(drawn))
        if not trial.passed:
            failing.append(trial)
            raise _Found

    try:
        run()
    except _Found:
        # hypothesis ends with the smallest failing input that it knows.
        return failing[-1]
    except hypothesis.errors.InvalidArgument as error:
        raise ArgumentError(f"`inputs` is no usable strategy: {error}.") from error
    return None


def search_settings(examples: int) -> hypothesis.settings:
    """Settings under which a search depends on its seed alone."""
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        verbosity=Verbosity.quiet,
        phases=[Phase.generate, Phase.shrink],
        # Compiling inside the first example is slow, and says nothing about the strategy.
        suppress_health_check=[HealthCheck.too_slow],
        report_multiple_bugs=False,
        print_blob=False,
    )


class _Found(Exception):
    """Tells hypothesis that an input fails."""


def taylor_table(function: Function, trial: Trial, worst: Discrepancy | None) -> tuple[TaylorRow, ...]:
    """How fast the remainder shrinks along the worst coordinate, or a random direction where none is wrong."""
    evidence = trial.evidence
    layout = evidence.layout
    vector, _ = flat_arguments(evidence.example, layout)
    claims = [trial.claims[n] for n, c in trial.comparisons.items() if not c.passed] or list(trial.claims.values())
    direction = evidence.directions[0]
    if worst is not None and not trial.passed:
        flat = int(np.ravel_multi_index(worst.index, np.shape(evidence.example.arguments[worst.argument])))
        start = sum(
            int(np.prod(shape))
            for argument, shape in zip(layout.argnums, layout.shapes, strict=True)
            if argument < worst.argument
        )
        direction = np.zeros(len(vector))
        direction[start + flat] = coordinate_scales(evidence.example, layout)[start + flat]
    slope = float(claims[0] @ direction)

    def at(step: float) -> float:
        arguments = layout.rebuild(vector + step * direction, evidence.example.arguments)
        moved = value_of(function, dataclasses.replace(evidence.example, arguments=tuple(arguments)))
        return float(trial.cotangent.ravel() @ (moved.ravel() - evidence.value))

    rows: list[TaylorRow] = []
    with jax.enable_x64(True), np.errstate(all="ignore"):
        for step in map(float, _TAYLOR_STEPS):
            first = at(step)
            second = abs(first - step * slope)
            order = np.nan
            if rows and second > 0 and rows[-1].second > 0:
                order = float(np.log2(rows[-1].second / second) / np.log2(rows[-1].step / step))
            rows.append(TaylorRow(step, abs(first), second, order))
    return tuple(rows)


def _replay(subject: Subject, trial: Trial | None, seed: int) -> str:
    """One line of Python; arrays too large to read are drawn again from the seed instead."""
    names = {
        key: getattr(value, "__name__", repr(value))
        for key in ("gradient", "reference", "definition")
        if (value := getattr(subject, key)) is not None
    }
    keywords = "".join(f", {key}={value}" for key, value in names.items())
    if trial is None or sum(np.size(a) for a in trial.evidence.example.arguments if a is not None) > 200:
        return f"check_gradient({subject.name}, <the same inputs>{keywords}, seed={seed})"
    shown = ", ".join(_code(argument) for argument in trial.evidence.example.arguments)
    options = f", {dict(trial.evidence.example.options)!r}" if trial.evidence.example.options else ""
    return f"check_gradient({subject.name}, Example(({shown},){options}){keywords}, seed={seed})"


def _code(argument: Any) -> str:
    if argument is None:
        return "None"
    array = np.asarray(argument)
    return f"np.array({array.tolist()!r}, np.{array.dtype.name})".replace("np.bool)", "bool)")
