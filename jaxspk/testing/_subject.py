"""A gradient on trial: who claims what, at one input, and what the witnesses say of it."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxspk.testing._claims import BY_HAND, OWN_RULE, accepts_cotangent, ask, has_own_rule, rules_of, value_shape
from jaxspk.testing._compare import Comparison, compare, compare_low_precision, excused, low_precision_evidence
from jaxspk.testing._definitions import definition_witness
from jaxspk.testing._examples import Example, Function, Layout, Vector, coordinate_scales, flat_arguments, layout_of
from jaxspk.testing._transformations import Transformations, check_transformations
from jaxspk.testing._witnesses import SHAKE, Evidence, gather_evidence

_VALUE_TOLERANCE = 1e-9
_VALUE_ROUNDING = 1e-13
_SHAKEN = 8.0
_SHAKES = 24


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

    def autodiff(self, example: Example) -> bool:
        """Whether reverse and forward mode of ``plain`` are independent of what is claimed."""
        return self.reference is not None or not has_own_rule(self.function, example)

    @property
    def claims(self) -> tuple[str, ...]:
        """Everything that claims to be the gradient, by name."""
        by_hand = () if self.gradient is None else (BY_HAND,)
        return (*by_hand, OWN_RULE) if self.reference is not None or not by_hand else by_hand

    def ask(
        self, layout: Layout, example: Example, cotangent: Vector | None, names: tuple[str, ...] | None = None
    ) -> tuple[Vector, dict[str, Vector]]:
        """The value and the claims at one input."""
        return ask(self.function, self.gradient, names or self.claims, layout, example, cotangent)


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


def try_example(subject: Subject, example: Example, seed: int) -> Trial:
    """Evidence, claims and verdicts at one input."""
    layout = layout_of(example, subject.argnums)
    with jax.enable_x64(True):
        wide = example.cast(np.float64)
        cotangent = _cotangent(subject, value_shape(subject.function, wide), seed)
        evidence = gather_evidence(
            subject.plain, wide, layout, cotangent=cotangent, autodiff=subject.autodiff(wide), seed=seed
        )
        (value, claims), (_, again) = (subject.ask(layout, wide, cotangent) for _ in range(2))
    problems = _value_problems(subject, wide, value, evidence)
    for name, claim in claims.items():
        if claim.tobytes() != again[name].tobytes():
            problems.append(f"{name}: two runs on the same input differ bit by bit")
    comparisons = {name: compare(claim, evidence) for name, claim in claims.items()}
    return Trial(evidence, cotangent, claims, comparisons, tuple(problems))


def compare_with_definition(subject: Subject, trial: Trial) -> dict[str, Comparison]:
    """Every claim at one input against the definition alone; nothing where there is none."""
    if subject.definition is None:
        return {}
    witness = definition_witness(subject.definition, trial.evidence)
    evidence = dataclasses.replace(trial.evidence, witnesses=(witness,))
    return {name: compare(claim, evidence) for name, claim in trial.claims.items()}


def transformations_of(subject: Subject, trial: Trial, *, eager: bool = True) -> Transformations:
    """Whether the function's own rule survives every transformation, near one input."""
    evidence = trial.evidence
    name = OWN_RULE if OWN_RULE in trial.claims else BY_HAND

    def gradient(example: Example) -> Vector:
        return subject.ask(evidence.layout, example, trial.cotangent)[1][name]

    return check_transformations(
        subject.function, evidence.example, evidence.layout, trial.cotangent, gradient, eager=eager
    )


def in_narrow_type(
    subject: Subject, trial: Trial, dtype: str, names: tuple[str, ...] | None = None
) -> tuple[Evidence, dict[str, Vector], float, bool]:
    """The claims in a narrow type, at the input of a trial rounded to it.

    Args:
      subject: on trial.
      trial: its input and cotangent are used.
      dtype: "float32" or "bfloat16".
      names: of the claims, all by default.

    Returns:
      The evidence in float64, the claims, their worst error relative to the largest entry, and whether all are fit:
      off by no more than the rounding of the input explains, or autodiff of the plain form loses in the same type.
    """
    layout, example = trial.evidence.layout, trial.evidence.example.cast(jnp.dtype(dtype))
    autodiff = subject.autodiff(trial.evidence.example)
    evidence = low_precision_evidence(subject.plain, example, layout, trial.cotangent, autodiff=autodiff, dtype=dtype)
    with jax.enable_x64(False):
        claims = subject.ask(layout, example, trial.cotangent, names)[1]
        judged = [compare_low_precision(claim, evidence, dtype) for claim in claims.values()]
        if autodiff and not all(result.passed for result in judged):
            plain = rules_of((subject.plain,), layout, example, trial.cotangent)[0]
            evidence = excused(evidence, plain)
            judged = [compare_low_precision(claim, evidence, dtype) for claim in claims.values()]
    return evidence, claims, max(r.error for r in judged), all(r.passed for r in judged)


def _cotangent(subject: Subject, shape: tuple[int, ...], seed: int) -> Vector:
    """Random weights, exact in every dtype; ones for a gradient that takes none."""
    if subject.gradient is not None and not accepts_cotangent(subject.gradient):
        return np.ones(shape)
    generator = np.random.default_rng([seed, 1])
    return np.asarray(generator.choice([-1.5, -1.0, 0.5, 1.0, 2.0], size=shape))


def _value_problems(subject: Subject, example: Example, value: Vector, evidence: Evidence) -> list[str]:
    """Where the value differs from the plain form's or from the definition's."""
    found = value.ravel()
    # A definition written out naively cancels to a few units in the last place of 1.
    tolerance = _VALUE_TOLERANCE * np.abs(evidence.value) + 64 * evidence.value_noise + _VALUE_ROUNDING
    problems = _differences(found, evidence.value, tolerance, "the reference")
    if subject.definition is None:
        return problems
    defined = _defined(subject.definition, example)
    if _differences(found, defined, tolerance, ""):
        # The definition may be badly conditioned where the loss is not, as an arc cosine near 1.
        tolerance = tolerance + _SHAKEN * _noise_of(subject.definition, example, evidence.layout, defined)
        problems += _differences(found, defined, tolerance, "the definition")
    return problems


def _differences(found: Vector, other: Vector, tolerance: Vector, name: str) -> list[str]:
    if other.shape != found.shape:
        return [f"the value has {found.size} entries, that of {name} {other.size}"]
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - other)
    wrong = (apart > tolerance) | (np.isfinite(other) & ~np.isfinite(found))
    if not wrong.any():
        return []
    worst = int(np.argmax(np.where(wrong, np.nan_to_num(apart, nan=np.inf), -1)))
    return [f"value {float(found[worst])!r} where {name} says {float(other[worst])!r} (entry {worst})"]


def _defined(definition: Function, example: Example) -> Vector:
    arguments = [None if a is None else np.asarray(a) for a in example.arguments]
    return np.asarray(definition(*arguments, **example.options), np.float64).ravel()


def _noise_of(definition: Function, example: Example, layout: Layout, value: Vector) -> Vector:
    """How far rounding of the input moves the definition.

    What is computed on the way, a cosine of 1 say, may stay the same number under moves of the last place alone;
    hence a ladder of moves, up to some hundred units.
    """
    vector, _ = flat_arguments(example, layout)
    scales = coordinate_scales(example, layout)
    generator = np.random.default_rng(len(vector))
    noise = np.zeros_like(value)
    for rung in range(_SHAKES):
        move = SHAKE * 2.0 ** (rung % 8)
        shaken = vector + move * scales * generator.uniform(-1, 1, len(vector))
        moved = dataclasses.replace(example, arguments=tuple(layout.rebuild(shaken, example.arguments)))
        noise = np.maximum(noise, np.abs(_defined(definition, moved) - value))
    return noise
