"""``jaxspk gradcheck``."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from jaxspk.testing._suite import RowResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Verify every hand-derived gradient against independent witnesses, and plant mistakes to see them caught.

    Example: jaxspk gradcheck --output certificate
    """

    functions: tyro.conf.Positional[tuple[str, ...]] = ()
    """Losses to check, by a part of their name; all by default."""
    long: bool = False
    """Plant 1,000 mistakes a loss and make 10,000 correct checks; takes hours, and goes on where it was stopped."""
    seed: int = 0
    """Of inputs, perturbations and mistakes."""
    output: Path | None = None
    """Folder for the certificate, as Markdown and HTML; by default only the table is printed, with --long it is
    the folder "gradcheck-long"."""
    workers: int = dataclasses.field(default_factory=lambda: min(os.cpu_count() or 1, 8))
    """Processes."""
    json: bool = False
    """Print one JSON document instead of the table."""


def run(options: Options) -> int:
    """Prints a table, equation by equation; 1 if anything is wrong."""
    # Before JAX is imported: four devices on one CPU, so that sharding can be checked.
    flags = os.environ.get("XLA_FLAGS", "")
    if "device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=4".strip()
    from jaxspk.testing import run_suite, write_certificate

    output = options.output or (Path("gradcheck-long") if options.long else None)
    if not options.json:
        print(_line("function", "gradient", "checks", "worst error", "caught", "seconds", "equation"), flush=True)
    certificate = run_suite(
        options.functions,
        long=options.long,
        seed=options.seed,
        workers=options.workers,
        progress=output / "progress" if options.long and output is not None else None,
        tell=(lambda result: None) if options.json else _tell,
    )
    if options.json:
        results = [result.to_dict() for result in certificate.results]
        print(json.dumps({"passed": certificate.passed, "summary": certificate.summary(), "results": results}))
    else:
        print(certificate.summary())
    for problem in [*certificate.problems, *(p for result in certificate.results for p in result.problems)]:
        print(f"jaxspk: {problem}", file=sys.stderr)
    for result in certificate.results:
        for outcome in result.survivors:
            print(f"jaxspk: {result.name}: survived: {outcome.kind}, size {outcome.size:.2g}", file=sys.stderr)
    if output is not None:
        for path in write_certificate(certificate, output):
            print(path, file=sys.stderr if options.json else sys.stdout)
    return 0 if certificate.passed else 1


def _tell(result: "RowResult") -> None:
    above = [o for o in result.outcomes if not o.equivalent and o.size >= o.line]
    caught = f"{sum(o.caught for o in above)}/{len(above)}"
    worst = f"{max(result.errors.values(), default=0.0):.1e}"
    verdict = "right" if result.passed else "WRONG"
    seconds = f"{result.seconds:.0f}"
    print(_line(result.name, verdict, str(result.examples), worst, caught, seconds, result.reference), flush=True)


def _line(name: str, verdict: str, checks: str, worst: str, caught: str, seconds: str, reference: str) -> str:
    return f"{name:<28} {verdict:<8} {checks:>6} {worst:>11} {caught:>10} {seconds:>7}  {reference}"
