"""Times jaxspk against independent implementations, side by side.

    python -m benchmarks                        # all of them
    python -m benchmarks bss_eval -o results    # one; results.md and results.json

Each file of this package that defines ``COMPARISON`` is one comparison and is found by its name; the others are pages
of their own (``python -m benchmarks.gradient_checkers``, ``.gradient_runs``). Exits with 1 where a required number was
not reached, and with 2 where a comparison could not run.
"""

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import benchmarks
from benchmarks._frame import Comparison, Result
from benchmarks._table import from_json, to_json, to_markdown
from jaxspk._files import write_whole
from jaxspk.reports import provenance

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparisons named on the command line."""
    names = comparisons()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("-o", "--output", type=Path, help="writes OUTPUT.md and OUTPUT.json")
    parser.add_argument("--seconds", type=float, default=10, help="for each pair of sides, about (default: 10)")
    options = parser.parse_args(arguments)
    for unknown in sorted(set(options.names) - set(names)):
        parser.error(f"no comparison is called {unknown!r}; there are {', '.join(names)}")

    results: dict[str, tuple[str, list[Result]]] = {}
    failed = []
    for name in options.names or names:
        comparison: Comparison = importlib.import_module(f"benchmarks.{name}").COMPARISON
        print(comparison.title, flush=True)
        rows = _run(name, comparison.threads, options.seconds)
        if rows is None:
            failed.append(name)
        else:
            results[name] = comparison.title, rows
    if options.output is not None:
        origin = provenance().items()
        for suffix, text in ((".md", to_markdown), (".json", to_json)):
            _write(options.output.with_name(options.output.name + suffix), text(origin, results, options.seconds))
    for name in failed:
        print(f"{name} could not be run: see above", file=sys.stderr)
    missed = [row for _, rows in results.values() for row in rows if row.missed]
    return 2 if failed else 1 if missed else 0


def comparisons() -> list[str]:
    """Names of the comparisons, found without importing them: each is to be imported by a process of its own."""
    files = Path(benchmarks.__path__[0])
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_")
    return sorted(name for name in found if "\nCOMPARISON = " in (files / f"{name}.py").read_text(encoding="utf-8"))


def _run(name: str, threads: int | None, seconds: float) -> list[Result] | None:
    """The rows of one comparison, from a process with its number of threads; ``None`` where it failed."""
    limits = {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        command = [sys.executable, "-m", "benchmarks._child", name, str(seconds), str(output)]
        if subprocess.run(command, env={**os.environ, **limits}, check=False).returncode != 0:
            return None
        return [from_json(row) for row in json.loads(output.read_text(encoding="utf-8"))]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
