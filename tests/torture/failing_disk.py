"""Lets every write of a training fail once: `python -m tests.torture.failing_disk --minutes 2`.

A tiny training with checkpoints is run with its n-th write, fsync, rename or creation of a file failing once, with
ENOSPC, EIO or EROFS. It may go on, or end with one line that says what to do; then it is resumed without a failure. At
most one save may be lost, and what comes of it must be, bit by bit, what comes of a training left alone. Needs a C
compiler, for the failures are made where every library of the process passes: in the calls of libc.
"""

import ctypes
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint  # noqa: F401  # before the forks, not in each of them
from flax import nnx

from jaxspk.errors import JaxspkError
from jaxspk.training import Checkpoints, FitConfig, OptimizerConfig, Run, fit, read_metrics
from tests.torture import ledger, processes

LIBRARY = "JAXSPK_FAILING_DISK"
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
EVERY, STEPS = 3, 9
REFUSED = 3


def train(folder: Path) -> None:
    """A training with all that is saved: parameters, optimiser, random state, place in the data, the best model."""

    class Batches:
        index = 0

        def __next__(self) -> dict[str, np.ndarray]:
            draw = np.random.default_rng(self.index)
            self.index += 1
            inputs = draw.normal(size=(8, 6)).astype(np.float32)
            return {"inputs": inputs, "targets": np.tanh(inputs[:, :2])}

        def get_state(self) -> dict[str, int]:
            return {"index": self.index}

        def set_state(self, state: dict[str, int]) -> None:
            self.index = state["index"]

    def loss(model: nnx.Linear, batch: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        noise = 0.01 * jax.random.normal(key, batch["inputs"].shape)
        return jnp.mean(jnp.square(model(batch["inputs"] + noise) - batch["targets"])), {}

    config = FitConfig(
        steps=STEPS,
        optimizer=OptimizerConfig(learning_rate=0.1),
        log_every=1,
        validate_every=EVERY,
        checkpoint_every=EVERY,
    )
    with Run(folder, config) as run:
        fit(
            nnx.Linear(6, 2, rngs=nnx.Rngs(0)),
            loss,
            Batches(),
            config,
            key=jax.random.key(0),
            run=run,
            stage="only",
            validate=lambda model: {"loss": float(jnp.sum(jnp.square(model.kernel[...])))},
            progress=False,
        )


def failing(folder: Path, at: int, error: int, report: Path) -> None:
    """The training with one operation failing; 0 only counts. Says in a report which it was and what was refused."""
    library = ctypes.CDLL(None)
    library.torture_failed.restype = ctypes.c_char_p
    refusal = None
    library.torture_arm(str(folder).encode(), ctypes.c_long(at), error)
    try:
        train(folder)
    except JaxspkError as trouble:
        refusal = str(trouble)
    finally:
        count, failed = library.torture_count(), library.torture_failed().decode()
        library.torture_arm(b"", ctypes.c_long(0), 0)
        report.write_text(json.dumps({"count": count, "failed": failed, "refusal": refusal}))


def digests(folder: Path) -> dict[str, str]:
    """Sums of the last checkpoint and of the log, without times."""
    return processes.digests(folder, Checkpoints, read_metrics)


@dataclasses.dataclass(frozen=True)
class Alone:
    """What comes of the training left alone, and how many operations it takes."""

    folder: Path
    sums: dict[str, str]
    operations: int


def begin(folder: Path) -> Alone:
    """Compiles, counts the operations, and takes the sums."""
    processes.keep_compiled(folder / "compiled")
    for name in ("compiling", "alone"):
        processes.finish(processes.start(lambda name=name: failing(folder / name, 0, 0, folder / "report")), name)
    counted = json.loads((folder / "report").read_text())["count"]
    return Alone(folder, processes.result_of(lambda: digests(folder / "alone")), counted)


def outcome(alone: Alone, seed: int, number: int) -> str:
    """One operation fails with one error, in an order that is another for every round of all of them."""
    cases = len(ERRORS) * alone.operations
    number_in_round, which_round = number % cases, number // cases
    place = int(np.random.default_rng([seed, which_round]).permutation(cases)[number_in_round])
    at, error = 1 + place // len(ERRORS), ERRORS[place % len(ERRORS)]
    folder, report = alone.folder / f"case-{number}", alone.folder / f"report-{number}"
    try:
        process = processes.start(lambda: failing(folder, at, error, report))
        process.join()
        if process.exitcode != 0:
            return f"BROKEN operation {at}, {errno.errorcode[error]}: {processes.last_words(process)}"
        told = json.loads(report.read_text())
        what = f"{told['failed'] or 'nothing'} fails with {errno.errorcode[error]}"
        if told["refusal"] and ("\n" in told["refusal"] or not told["failed"]):
            return f"BROKEN operation {at}: message {told['refusal']!r}"
        lost = _saves_lost(folder)
        if lost > 1:
            return f"BROKEN operation {at}, {what}: {lost} saves lost"
        processes.finish(processes.start(lambda: train(folder)), f"resuming after operation {at}, {what}")
        sums = processes.result_of(lambda: digests(folder))
        names = sorted(name for name in sums.keys() | alone.sums.keys() if sums.get(name) != alone.sums.get(name))
        if names:
            return f"BROKEN operation {at}, {what}: different {', '.join(names)}"
        return f"{what}: {'one line' if told['refusal'] else 'went on'}, resumed, identical"
    except processes.Failed as failure:
        return f"BROKEN {failure}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _saves_lost(folder: Path) -> int:
    """How many of the saves that the log says were due cannot be resumed from."""
    log = folder / "metrics.jsonl"
    steps = [int(json.loads(line).get("step", 0)) for line in log.read_text().splitlines()] if log.is_file() else []
    due = max(steps, default=0) // EVERY
    newest: Callable[[], int] = lambda: _newest(folder)  # noqa: E731
    return due - processes.result_of(newest) // EVERY


def _newest(folder: Path) -> int:
    checkpoints = Checkpoints(folder / "checkpoints" / "only")
    found = checkpoints.latest(say=lambda line: None) if checkpoints.steps() else None
    return 0 if found is None else found.step


TORTURE = ledger.Torture(
    name="failing disk",
    what="every write, fsync, rename and creation of a file during a training fails once, with ENOSPC, EIO and EROFS "
    "each: it goes on or ends in one line, loses one save at most, and resumes to the very parameters",
    total=len(ERRORS) * 404,  # As many operations as the training takes, about.
    chunk=15,
    begin=begin,
    outcome=outcome,
    seconds=300.0,
)


def with_library() -> None:
    """Starts this program anew with the library before libc, if it is not there yet."""
    if os.environ.get(LIBRARY):
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        sys.exit("this needs Linux and a C compiler; install gcc or clang.")
    folder = Path(tempfile.mkdtemp(prefix="jaxspk-torture-"))
    library = folder / "failing.so"
    source = Path(__file__).with_name("failing.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), LIBRARY: hashlib.sha256(library.read_bytes()).hexdigest()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.failing_disk", *sys.argv[1:]], env=environment, check=False
    )
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(done.returncode)


if __name__ == "__main__":
    with_library()
    sys.exit(ledger.main(TORTURE, __doc__))
