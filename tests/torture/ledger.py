"""What all torture commands share: cases by number, in processes that may die, counted over as many runs as it takes.

A case is a function of (seed, number). Cases are run in chunks, each in a process of its own, forked from one that has
imported everything and computed nothing. What was counted stands in one file, a line a command, from which
``python -m tests.torture.table`` makes docs/reliability.md.
"""

import argparse
import collections
import dataclasses
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxspk._files import write_whole
from jaxspk.reports import provenance

STATE = Path("docs/results/reliability.json")
MEMORY_BYTES = 6 << 30
_PATIENCE = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Torture:
    """A command.

    Attributes:
      name: of the line.
      what: one sentence for the table.
      total: cases that are wanted.
      chunk: cases a process.
      seconds: a case that computes longer, or waits thirty times as long, hangs.
      begin: makes what all cases of a process need, in a folder of its own.
      outcome: of one case, a few words; beginning with BROKEN where a rule is broken.
    """

    name: str
    what: str
    total: int
    chunk: int
    begin: Callable[[Path], Any]
    outcome: Callable[[Any, int, int], str]
    seconds: float = 20.0


def main(torture: Torture, description: str | None) -> int:
    """The command line of a torture; exits with 1 if a rule is broken."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=torture.total, help="cases in all, those of earlier runs included")
    parser.add_argument("--seed", type=int, default=0, help="another seed begins anew")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long; call again to go on")
    parser.add_argument("--state", type=Path, default=STATE, help="where counts are kept")
    parser.add_argument("--case", type=int, help="run one case here and show what comes of it")
    arguments = parser.parse_args()
    if arguments.case is not None:
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
            print(torture.outcome(torture.begin(Path(folder)), arguments.seed, arguments.case))
        return 0
    line = run(torture, arguments.count, arguments.seed, arguments.state, arguments.minutes)
    for what, times in sorted(line["outcomes"].items(), key=lambda item: -item[1]):
        print(f"{times:10,}  {what}")
    for number, what in line["broken"]:
        print(f"case {number}: {what}")
    return 1 if line["broken"] else 0


def run(torture: Torture, count: int, seed: int, state: Path, minutes: float = float("inf")) -> dict[str, Any]:
    """Goes on to so many cases; returns the line."""
    line = read(state).get(torture.name, {})
    if line.get("seed") != seed:
        line = {"seed": seed, "done": 0, "outcomes": {}, "broken": [], "slowest_seconds": 0.0, "cpu_seconds": 0.0}
    line |= {"what": torture.what, "total": torture.total}
    until = time.monotonic() + 60 * minutes
    while line["done"] < count and time.monotonic() < until:
        began = time.monotonic()
        last = min(count, line["done"] + torture.chunk)
        part = run_chunk(torture, seed, line["done"], last)
        line["outcomes"] = dict(collections.Counter(line["outcomes"]) + part["outcomes"])
        line["broken"] += part["broken"]
        line["slowest_seconds"] = round(max(line["slowest_seconds"], part["slowest"]), 3)
        line["cpu_seconds"] = round(line["cpu_seconds"] + part["cpu"], 1)
        rate = (last - line["done"]) / (time.monotonic() - began)
        line["done"] = last
        line |= part["made"]
        keep(state, torture.name, line)
        print(f"{last:,} of {count:,}, {rate:.1f} a second, {len(line['broken'])} broken", flush=True)
    return line


def run_chunk(torture: Torture, seed: int, first: int, last: int) -> dict[str, Any]:
    """What came of some cases; a crash or a hang is one more broken rule, and the cases after it are run."""
    merged: dict[str, Any] = {"outcomes": collections.Counter(), "broken": [], "slowest": 0.0, "cpu": 0.0, "made": {}}
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        while first < last:
            notes = Path(folder, f"notes-{first}")
            code = _in_child(lambda: _work(torture, seed, first, last, notes, Path(folder, f"work-{first}")))  # noqa: B023
            found = list(_noted(notes))
            for number, outcome, took, worked in found:
                merged["slowest"] = max(merged["slowest"], took)
                merged["cpu"] += worked
                if outcome.startswith("BROKEN"):
                    merged["broken"].append([number, outcome])
                    outcome = "BROKEN"
                merged["outcomes"][outcome] += 1
            first += len(found)
            made = notes.with_suffix(".made")
            if made.is_file():
                merged["made"] = json.loads(made.read_text())
            if code and first < last:
                what = "hung" if code in (-signal.SIGALRM, -signal.SIGPROF) else f"died with code {code}"
                merged["broken"].append([first, f"BROKEN {what}"])
                merged["outcomes"]["BROKEN"] += 1
                first += 1
    return merged


def read(state: Path) -> dict[str, Any]:
    """All lines by name."""
    return dict(json.loads(state.read_text())) if state.is_file() else {}


def keep(state: Path, name: str, line: dict[str, Any]) -> None:
    """Writes one line and leaves the others as they are, whoever writes them meanwhile."""
    state.parent.mkdir(parents=True, exist_ok=True)
    lines = read(state) | {name: line}
    write_whole(state, (json.dumps(lines, indent=1, sort_keys=True) + "\n").encode())


def memory_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def refused(error: Exception, *names: str) -> str:
    """The outcome of a documented error: its kind, or what is wrong with its message."""
    text = str(error)
    if "\n" in text or not text.strip():
        return f"BROKEN message {text!r}"
    # A cell may be long and stand in the message; the whole file may not.
    if len(text) > 20_000:
        return f"BROKEN message of {len(text)} characters"
    if names and not any(name in text for name in names):
        return f"BROKEN message does not name what is wrong: {text!r}"
    return type(error).__name__


def _work(torture: Torture, seed: int, first: int, last: int, notes: Path, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    folder.mkdir()
    prepared = torture.begin(folder)
    with notes.open("w") as stream:
        for number in range(first, last):
            # Unhandled, both end the process: one that computes, and one that waits, on however busy a machine.
            signal.setitimer(signal.ITIMER_PROF, torture.seconds)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE * torture.seconds)
            began, worked = time.monotonic(), sum(os.times()[:4])
            try:
                outcome = torture.outcome(prepared, seed, number)
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                outcome = f"BROKEN {type(error).__name__}: {str(error)[:300]} ({where})"
            took, worked = time.monotonic() - began, sum(os.times()[:4]) - worked
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
            stream.write(json.dumps([number, outcome, round(took, 4), round(worked, 4)]) + "\n")
            stream.flush()
    # Here, for it starts JAX, which the process that forks must not.
    made = provenance(seed=seed)
    facts = {"date": made.date, "commit": made.commit, "machine": made.machine, "versions": dict(made.versions)}
    notes.with_suffix(".made").write_text(json.dumps(facts))


def _noted(notes: Path) -> Iterator[tuple[int, str, float, float]]:
    if notes.is_file():
        for line in notes.read_text().splitlines():
            yield tuple(json.loads(line))


def _in_child(work: Callable[[], None]) -> int:
    """Runs something in a fork of this process, which must not have started JAX; its exit status."""
    with warnings.catch_warnings():
        # JAX warns of forks because of its threads, of which there are none yet.
        warnings.simplefilter("ignore", RuntimeWarning)
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
    process.join()
    return process.exitcode or 0


if __name__ == "__main__":
    sys.exit("this is what the torture commands share; run one of them")
