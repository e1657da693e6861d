"""What people call: check one gradient at many inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity

from jaxspk.errors import ArgumentError
from jaxspk.testing._compare import Comparison, Discrepancy
from jaxspk.testing._examples import Example, Function, as_example
from jaxspk.testing._report import GradientReport, replay_line, taylor_table
from jaxspk.testing._subject import (
    Subject,
    Trial,
    compare_with_definition,
    in_narrow_type,
    transformations_of,
    try_example,
)

Inputs = Any
"""A hypothesis strategy, an :class:`Example`, or a tuple of arguments."""


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
    of ``reference`` (of ``function``, where it has no rule of its own), and adaptive Richardson differences of its
    value. A coordinate fails when it is off by more than the witness's own error
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
        name=name or str(getattr(function, "__name__", type(function).__name__)),
        function=function,
        gradient=gradient,
        reference=reference,
        definition=definition,
        argnums=None if argnums is None else tuple(argnums),
    )
    return check_subject(
        subject, inputs, examples=max(1, examples // 3) if fast else examples, seed=seed, thorough=not fast
    )


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
        for claim_name, comparison in compare_with_definition(subject, trial).items():
            gathered.note(comparison)
            if not comparison.passed:
                problems.append(f"{claim_name} differs from the definition: {comparison.worst}")
        if restlessness(trial) >= 1:
            notes.append("every input sits on a kink or is badly conditioned: no transformations or narrow types tried")
        else:
            found = transformations_of(subject, trial)
            problems += found.problems
            notes += found.notes
            for dtype in ("float32", "bfloat16"):
                try:
                    _, _, precision[dtype], fit = in_narrow_type(subject, trial, dtype)
                except (TypeError, ValueError, NotImplementedError) as error:
                    # Much of JAX's linear algebra knows no bfloat16; that says nothing about the gradient.
                    notes.append(f"not tried in {dtype}: {_first_line(error)}")
                    continue
                if not fit and dtype == "float32":
                    problems.append(f"in float32 the gradient is off by {precision[dtype]:.2g} of its largest entry")
    return gathered.report(failing, problems, notes, precision, slopes=thorough)


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
            self.note(comparison)
        return trial

    def note(self, comparison: Comparison) -> None:
        """Keeps the worst errors."""
        for witness, error in comparison.errors.items():
            self.errors[witness] = max(error, self.errors.get(witness, 0.0))
        if comparison.worst is not None and comparison.worst.relative_error > self.worst[0]:
            self.worst = (comparison.worst.relative_error, comparison.worst)

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
            cotangent=None if shown is None else shown.cotangent,
            seed=self.seed,
            replay=replay_line(self.subject, shown, self.seed),
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


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

    def try_drawn(drawn: Any) -> None:
        trial = try_one(as_example(drawn))
        if not trial.passed:
            failing.append(trial)
            raise _Found

    run: Any = hypothesis.seed(seed)(search_settings(examples)(hypothesis.given(inputs)(try_drawn)))
    try:
        run()
    except _Found:
        # hypothesis ends with the smallest failing input that it knows.
        return failing[-1]
    except hypothesis.errors.InvalidArgument as error:
        raise ArgumentError(f"`inputs` is no usable strategy: {error}.") from error
    return None


def search_settings(examples: int) -> Any:
    """Hypothesis settings under which a search depends on its seed alone."""
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
