"""Runs one comparison in a process of its own: ``python -m benchmarks._child NAME SECONDS OUTPUT``."""

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

from benchmarks._frame import Comparison, measure
from benchmarks._table import describe


def main(name: str, seconds: str, output: str) -> None:
    """Prints a line a result and writes all of them, as JSON."""
    comparison: Comparison = importlib.import_module(f"benchmarks.{name}").COMPARISON
    if comparison.threads is not None and hasattr(os, "sched_setaffinity"):
        # The variables of the environment reach BLAS; this reaches every other pool of threads too.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: comparison.threads])
    results = []
    for result in measure(comparison, seconds=float(seconds)):
        print(f"  {describe(result)}", flush=True)
        results.append(result)
    Path(output).write_text(json.dumps([dataclasses.asdict(result) for result in results]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
