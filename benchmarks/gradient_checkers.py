"""How small a mistake do gradient checkers see? f = sum of squares, one coordinate of a hand-written rule scaled.

    python -m benchmarks.gradient_checkers -o docs/results/gradient_checkers.md

Each checker is asked 40 times, with fresh random inputs, about a right gradient and about wrong ones. It should accept
the first and reject the others. ``chex`` and ``torch`` are asked where they are installed.
"""

import argparse
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from jaxspk._files import write_whole
from jaxspk.reports import provenance
from jaxspk.testing import check_gradient

REPEATS = 40
SIZES = (10, 1000)
MISTAKES = (0.0, 1.0, 1e-2, 1e-3, 1e-6)
"""By how much the first coordinate of the gradient is scaled up; 0 is a right gradient."""

Array = npt.NDArray[np.float64]
Checker = Callable[[Array, float], bool]
"""From an input and the size of the mistake to whether the gradient was accepted."""


@dataclasses.dataclass(frozen=True)
class Row:
    """How often a checker accepted a gradient."""

    checker: str
    dtype: str
    coordinates: int
    mistake: float
    accepted: int
    asked: int


@functools.lru_cache
def squares(mistake: float) -> Callable[[jax.Array], jax.Array]:
    """The sum of squares with a rule whose first coordinate is wrong by ``mistake``."""

    @jax.custom_vjp
    def function(x: jax.Array) -> jax.Array:
        return jnp.sum(x * x)

    def backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
        return (cotangent * (2 * x).at[0].multiply(1 + mistake),)

    function.defvjp(lambda x: (function(x), x), backward)
    return function


def ours(dtype: str) -> Checker:
    """jaxspk.testing, by values alone: it is told no other form of the function."""

    def accepts(x: Array, mistake: float) -> bool:
        function = squares(mistake)
        if dtype == "float64":
            return check_gradient(function, (x,), examples=1, fast=True).passed
        # The rule is wrong in float32 only, so that the float64 side of the check cannot give it away.
        return check_gradient(_wrong_in_float32(mistake), (x,), examples=1).passed

    return accepts


@functools.lru_cache
def _wrong_in_float32(mistake: float) -> Callable[[jax.Array], jax.Array]:
    @jax.custom_vjp
    def function(x: jax.Array) -> jax.Array:
        return jnp.sum(x * x)

    def backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
        size = mistake if x.dtype == jnp.float32 else 0.0
        return (cotangent * (2 * x).at[0].multiply(1 + size),)

    function.defvjp(lambda x: (function(x), x), backward)
    return function


def jax_check_grads(dtype: str) -> Checker:
    """jax.test_util.check_grads, reverse mode, first order, its default tolerances."""
    from jax.test_util import check_grads

    def accepts(x: Array, mistake: float) -> bool:
        with jax.enable_x64(dtype == "float64"):
            try:
                check_grads(  # type: ignore[no-untyped-call]
                    squares(mistake), (jnp.asarray(x, dtype),), order=1, modes=["rev"]
                )
            except AssertionError:
                return False
            return True

    return accepts


def chex_numerical_grads(dtype: str) -> Checker:
    """chex.assert_numerical_grads with the tolerance of its documentation."""
    import chex  # type: ignore[import-untyped,unused-ignore]

    def accepts(x: Array, mistake: float) -> bool:
        with jax.enable_x64(dtype == "float64"):
            try:
                chex.assert_numerical_grads(squares(mistake), (jnp.asarray(x, dtype),), order=1, modes=["rev"])
            except AssertionError:
                return False
            return True

    return accepts


def torch_gradcheck(*, fast: bool) -> Checker:
    """torch.autograd.gradcheck in float64."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    def accepts(x: Array, mistake: float) -> bool:
        class Squares(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
            @staticmethod
            def forward(context: Any, x: Any) -> Any:
                context.save_for_backward(x)
                return (x * x).sum()

            @staticmethod
            def backward(context: Any, cotangent: Any) -> Any:
                (x,) = context.saved_tensors
                gradient = 2 * x
                gradient[0] *= 1 + mistake
                return cotangent * gradient

        given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        return bool(torch.autograd.gradcheck(Squares.apply, (given,), fast_mode=fast, raise_exception=False))

    return accepts


def checkers() -> dict[tuple[str, str], Checker]:
    """Those that are installed, by name and type."""
    found: dict[tuple[str, str], Checker] = {}
    for dtype in ("float32", "float64"):
        found["jax.test_util.check_grads", dtype] = jax_check_grads(dtype)
        try:
            found["chex.assert_numerical_grads", dtype] = chex_numerical_grads(dtype)
        except ImportError:
            print("chex is not installed: left out")
        found["jaxspk.testing", dtype] = ours(dtype)
    try:
        found["torch gradcheck, slow", "float64"] = torch_gradcheck(fast=False)
        found["torch gradcheck, fast", "float64"] = torch_gradcheck(fast=True)
    except ImportError:
        print("torch is not installed: left out")
    return found


def measure(repeats: int, seed: int) -> list[Row]:
    """Asks every checker everything."""
    rows = []
    for (name, dtype), accepts in checkers().items():
        for size in SIZES:
            generator = np.random.default_rng(seed)
            inputs = [generator.normal(size=size) for _ in range(repeats)]
            for mistake in MISTAKES:
                accepted = sum(accepts(x, mistake) for x in inputs)
                rows.append(Row(name, dtype, size, mistake, accepted, repeats))
                print(_line(rows[-1]), flush=True)
    return rows


def verdict(row: Row) -> str:
    """Whether the checker answered as it should have, every time."""
    if row.dtype == "float32" and 0 < row.mistake < 1e-3:
        return "beyond the type"  # one part in a million is below what float32 can hold
    return "right" if row.accepted == (row.asked if row.mistake == 0 else 0) else "WRONG"


def _line(row: Row) -> str:
    counts = f"accepted {row.accepted:>3} of {row.asked}"
    what = f"{row.checker:<30} {row.dtype:<8} {row.coordinates:>5} coordinates  {_gradient(row.mistake):<16}"
    return f"{what} {counts}  {verdict(row)}"


def _gradient(mistake: float) -> str:
    return "right gradient" if mistake == 0 else f"off by {mistake:g}"


def to_markdown(rows: Sequence[Row], repeats: int, seed: int) -> str:
    """A page: where the numbers come from, and a row for each checker, type and number of coordinates."""
    lines = [
        "# What gradient checkers see",
        "",
        f"$f(x) = \\sum_i x_i^2$ with a hand-written rule whose first coordinate is scaled up by a mistake. Each "
        f"checker is asked {repeats} times, with fresh normal inputs, whether it accepts: it should always accept the "
        "right gradient and never a wrong one (bold where it did not). All are asked with their default tolerances.",
        "",
        *(f"- {name}: {text}" for name, text in provenance(seed=seed).items()),
        "",
        "| checker | type | coordinates | " + " | ".join(map(_gradient, MISTAKES)) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(MISTAKES),
    ]
    groups = itertools.groupby(rows, key=lambda row: (row.checker, row.dtype, row.coordinates))
    for (checker, dtype, coordinates), group in groups:
        cells = [_cell(row) for row in group]
        lines.append(f"| {checker} | {dtype} | {coordinates} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    text = f"{row.accepted} of {row.asked}"
    return {"right": text, "WRONG": f"**{text}**"}.get(verdict(row), f"({text})")


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file for the table")
    options = parser.parse_args()
    rows = measure(options.repeats, options.seed)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.output, to_markdown(rows, options.repeats, options.seed).encode())


if __name__ == "__main__":
    main()
