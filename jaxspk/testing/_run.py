"""Running the suite over all rows, on several processes, and going on where a long run was stopped."""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxspk._files import write_whole
from jaxspk.errors import ArgumentError
from jaxspk.testing._certificate import Certificate
from jaxspk.testing._suite import LONG, SHORT, Effort, RowResult, loss_names, missing_rows, run_named
from jaxspk.testing._symbolic import symbolic_identities

DEVICES_FLAG = "--xla_force_host_platform_device_count=4"
"""Four simulated devices on one CPU, for the checks of sharding."""


def run_suite(
    only: Sequence[str] = (),
    *,
    long: bool = False,
    seed: int = 0,
    workers: int = 1,
    progress: Path | None = None,
    tell: Callable[[RowResult], None] = lambda result: None,
) -> Certificate:
    """Runs the suite over the losses of this package.

    Args:
      only: parts of the names of the functions to check; all by default.
      long: at least 1,000 planted mistakes a loss and 10,000 correct checks in all, instead of a short run.
      seed: of everything random.
      workers: processes.
      progress: a folder where finished losses are kept and found again.
      tell: called with each result as it comes.

    Returns:
      Everything found; ``certificate.passed`` says whether all is well.

    Raises:
      ArgumentError: no loss has such a name.
    """
    start = time.perf_counter()
    names = row_names(only)
    effort = LONG if long else SHORT
    results = run_rows(names, effort, seed, workers=workers, progress=progress, tell=tell)
    command = " ".join(["jaxspk gradcheck", *only, *(["--long"] if long else []), f"--seed {seed}"])
    return Certificate(
        results=results,
        effort=effort,
        seed=seed,
        command=command,
        seconds=sum(r.seconds for r in results) / max(1, workers) if long else time.perf_counter() - start,
        identities=None if only else symbolic_identities(),
        problems=() if only else missing_rows(),
    )


def row_names(only: Sequence[str] = ()) -> list[str]:
    """The functions of the table of losses in its order, or those of them whose name contains one of ``only``."""
    names = loss_names()
    chosen = [name for name in names if not only or any(part in name for part in only)]
    if not chosen:
        raise ArgumentError(f"no loss is called like {', '.join(only)}; there are {', '.join(names)}.")
    return chosen


def run_rows(
    names: Sequence[str],
    effort: Effort,
    seed: int,
    *,
    workers: int,
    progress: Path | None = None,
    tell: Callable[[RowResult], None] = lambda result: None,
) -> list[RowResult]:
    """Checks rows of the table, several at a time.

    Args:
      names: of the functions.
      effort: for each.
      seed: of everything random.
      workers: processes; 1 runs everything in this one.
      progress: a folder for the results of finished rows, which are not run again; None keeps nothing.
      tell: called with each result as it comes.

    Returns:
      One result a name, in their order.
    """
    found: dict[str, RowResult] = {}
    for name in names:
        if progress is not None and (kept := _read(progress, name, effort, seed)):
            found[name] = kept
            tell(kept)
    waiting = [name for name in names if name not in found]
    for result in _run(waiting, effort, seed, workers):
        found[result.name] = result
        if progress is not None:
            _write(progress, result, effort, seed)
        tell(result)
    return [found[name] for name in names]


def _run(names: Sequence[str], effort: Effort, seed: int, workers: int) -> Iterator[RowResult]:
    if workers <= 1 or len(names) <= 1:
        for name in names:
            yield run_named(name, effort, seed)
        return
    # Spawned, because a forked process cannot use JAX; each sees the simulated devices.
    before = os.environ.get("XLA_FLAGS")
    if "device_count" not in (before or ""):
        os.environ["XLA_FLAGS"] = f"{before or ''} {DEVICES_FLAG}".strip()
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = [pool.submit(run_named, name, effort, seed) for name in names]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
    finally:
        if before is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = before


def _path(folder: Path, name: str, effort: Effort, seed: int) -> Path:
    # Another effort is another run.
    key = hashlib.sha256(json.dumps(dataclasses.asdict(effort), sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{name}-{seed}-{key}.json"


def _read(folder: Path, name: str, effort: Effort, seed: int) -> RowResult | None:
    path = _path(folder, name, effort, seed)
    if not path.is_file():
        return None
    try:
        return RowResult.from_dict(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError):
        return None  # Half a file, or one of an older version: run the row again.


def _write(folder: Path, result: RowResult, effort: Effort, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(_path(folder, result.name, effort, seed), json.dumps(result.to_dict()).encode())
