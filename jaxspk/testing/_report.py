"""What a check of a gradient found, and how it is told."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxspk.testing._claims import value_of
from jaxspk.testing._compare import Discrepancy
from jaxspk.testing._examples import Example, Function, Vector, coordinate_scales, flat_arguments
from jaxspk.testing._subject import Subject, Trial

_TAYLOR_STEPS: Vector = np.ldexp(1.0, -np.arange(2, 28, 2))


@dataclasses.dataclass(frozen=True)
class TaylorRow:
    """One step of the Taylor test along one direction.

    Attributes:
      step: length of the step, relative to the coordinates' scales.
      first: ``|f(x + h d) − f(x)|``.
      second: ``|f(x + h d) − f(x) − h ⟨g, d⟩|``, with the claimed g.
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
      cotangent: weights of the value's entries at the input shown; derivatives are those of the weighted sum.
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
    cotangent: Vector | None
    seed: int
    replay: str

    def __str__(self) -> str:
        verdict = "right" if self.passed else "WRONG"
        lines = [
            f"{self.name}: gradient {verdict} on {self.examples} inputs, worst relative error {self.worst_error:.2g}"
        ]
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
            if self.cotangent is not None and self.cotangent.size <= 16:
                lines.append(f"  of the value's entries weighted by {self.cotangent.tolist()}")
            lines.append("  step      f(x+hd)-f(x)   less h<g,d>   order")
            lines += [
                f"  {row.step:<8.2g}  {row.first:<13.3e}  {row.second:<12.3e}  {row.order:.2f}" for row in self.taylor
            ]
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)


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


def replay_line(subject: Subject, trial: Trial | None, seed: int) -> str:
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
