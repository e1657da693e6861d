"""Long runs of the gradient suite with fresh seeds, gathered into one page; each goes on where it was stopped.

    python -m benchmarks.gradient_runs --seeds 1 2 3 -o docs/results/gradient_runs

A run is `jaxspk gradcheck --long --seed N`: about ten minutes on two cores. Runs that are complete in the folder are
only read; `--only-read` leaves out the others instead of running them.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")

from jaxspk._files import write_whole
from jaxspk.reports import Table, provenance, write_results_markdown
from jaxspk.testing import Certificate, run_suite
from jaxspk.testing._mutants import smallest_line
from jaxspk.testing._run import row_names

Cell = str | int | float


def summary_row(certificate: Certificate) -> dict[str, Cell]:
    """The numbers of one run."""
    planted = [outcome for outcome in certificate.outcomes if not outcome.equivalent]
    above = [outcome for outcome in planted if outcome.size >= outcome.line]
    return {
        "Seed": certificate.seed,
        "Verdict": "passed" if certificate.passed else "FAILED",
        "Gradients": len(certificate.results),
        "Correct checks": sum(result.examples for result in certificate.results),
        "false alarms": sum(bool(result.problems) for result in certificate.results),
        "Mistakes planted": len(planted),
        "fewest for a loss": min(sum(not o.equivalent for o in result.outcomes) for result in certificate.results),
        "above the line": len(above),
        "survived": sum(outcome.survived for outcome in above),
        "all caught from": smallest_line(planted),
        "Worst relative error": max(max(result.errors.values(), default=0.0) for result in certificate.results),
        "Minutes, one process": sum(result.seconds for result in certificate.results) / 60,
    }


def complete(folder: Path, seed: int) -> bool:
    """Whether every loss of a run is there."""
    return all(any((folder / "progress").glob(f"{name}-{seed}-*.json")) for name in row_names())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--folder", type=Path, default=Path("runs/gradcheck-long"), help="a run in seed-N below it")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--only-read", action="store_true", help="run nothing")
    parser.add_argument("-o", "--output", type=Path, help="writes OUTPUT.md and OUTPUT.json")
    options = parser.parse_args(arguments)
    rows = []
    for seed in options.seeds:
        place = options.folder / f"seed-{seed}"
        if options.only_read and not complete(place, seed):
            print(f"seed {seed}: not complete in {place}, left out", file=sys.stderr)
            continue
        certificate = run_suite(long=True, seed=seed, workers=options.workers, progress=place / "progress")
        rows.append(summary_row(certificate))
        print(f"seed {seed}: {certificate.summary()}", flush=True)
    if options.output is not None and rows:
        _write(options.output, rows)
    return 0 if rows and all(row["Verdict"] == "passed" for row in rows) else 1


def _write(output: Path, rows: Sequence[dict[str, Cell]]) -> None:
    table = Table(
        list(rows[0]),
        [list(row.values()) for row in rows],
        "One row a run. The line is 1e-6 of a coordinate in float64 and 1e-3 of the largest entry in float32; mistakes "
        "that change nothing are not counted as planted. The error is relative to the coordinate's scale, against the "
        "witness that knows best.",
        formats={"all caught from": ".1e", "Worst relative error": ".1e", "Minutes, one process": ".1f"},
    )
    write_results_markdown(
        output.with_suffix(".md"),
        "Long runs of the gradient suite",
        [table],
        provenance(),
        introduction="Every gradient of every loss against all witnesses on fresh random inputs, and planted mistakes "
        "of every size; `jaxspk gradcheck --long`. The certificate of one run in full: "
        "[certificate](../gradients/certificate.md).",
    )
    write_whole(output.with_suffix(".json"), (json.dumps(rows, indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
