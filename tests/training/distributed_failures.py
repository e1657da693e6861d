"""Disturbs trainings of several real processes and compares what comes of them with one left alone.

    python -m tests.training.distributed_failures --trials 20            # of each kind
    python -m tests.training.distributed_failures --trials 20 --record runs/failures.json   # goes on where it stopped

Each trial trains a tiny model in two processes on the loopback interface, under the supervisor of ``jaxspk launch``,
and disturbs it once at a random moment:

  killed worker        SIGKILL to the second process
  killed coordinator   SIGKILL to the first, which also holds the run's folder
  stopped process      SIGSTOP to one of them: it lives, and its connections stay open
  stuck process        one of them does nothing any more; jax would wait for it forever

Nobody helps. Compared are sha-256 sums of all in the last checkpoint and of metrics.jsonl but for its times, with those
of an undisturbed run of two processes, and the parameters with those of one process. Exits with 1 if any differ.

The processes are forks of one that imported everything and computed nothing, and share a cache of compiled code.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain  # noqa: F401  # before the forks, not in each of them
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint  # noqa: F401
from flax import nnx

from jaxspk.training import (
    Checkpoints,
    FitConfig,
    OptimizerConfig,
    ParallelConfig,
    Run,
    fit,
    processes,
    read_metrics,
    supervise,
)

KINDS = ("killed worker", "killed coordinator", "stopped process", "stuck process")

STEPS, ROWS = 60, 24
STUCK_SECONDS, SILENCE_SECONDS = 3.0, 6.0


class Batches:
    """The whole batch, a function of its number, in every process; one may be told to stop here forever."""

    def __init__(self, stuck: Path) -> None:
        self.index, self.stuck = 0, stuck

    def __next__(self) -> dict[str, np.ndarray]:
        if self.stuck.exists() and self.stuck.read_text() == str(processes().index):
            self.stuck.unlink()
            while True:
                time.sleep(1)
        draw = np.random.default_rng(self.index)
        self.index += 1
        inputs = draw.normal(size=(ROWS, 24)).astype(np.float32)
        return {"inputs": inputs, "label": draw.integers(6, size=ROWS).astype(np.int32)}

    def get_state(self) -> dict[str, int]:
        return {"index": self.index}

    def set_state(self, state: Mapping[str, int]) -> None:
        self.index = state["index"]


class Network(nnx.Module):
    """Batch norm and dropout: statistics of the whole batch, random numbers that every process must draw alike."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        # No bias: batch norm takes it away, and what is left of its gradient is rounding, which Adam would follow.
        self.first = nnx.Linear(24, 32, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.second = nnx.Linear(32, 8, rngs=rngs)

    def __call__(self, inputs: Any, deterministic: bool) -> Any:
        hidden = self.norm(self.first(inputs), use_running_average=deterministic)
        return self.second(self.dropout(nnx.relu(hidden), deterministic=deterministic))


def loss(model: Network, batch: Mapping[str, Any], key: Any) -> Any:
    """All rows of all processes against each other."""
    embeddings = model(batch["inputs"], False)
    embeddings = embeddings / (1e-3 + jnp.linalg.norm(embeddings, axis=-1, keepdims=True))
    same = batch["label"][:, None] == batch["label"]
    return -jnp.mean(jnp.where(same, jax.nn.log_softmax(5.0 * embeddings @ embeddings.T), 0.0)), {}


def train(folder: Path, *, steps: int = STEPS, pause: float = 0.0) -> None:
    """The training that is disturbed, in one of its processes."""
    config = FitConfig(
        steps=steps,
        optimizer=OptimizerConfig(name="adamw", learning_rate=0.01, schedule="plateau", plateau_patience=1),
        weight_noise=0.01,
        log_every=4,
        validate_every=8,
        checkpoint_every=6,
        parallel=ParallelConfig(stuck_after_seconds=STUCK_SECONDS),
    )

    class Paced(Batches):
        def __next__(self) -> dict[str, np.ndarray]:
            time.sleep(pause)
            return super().__next__()

    def validate(model: Network) -> dict[str, float]:
        return {"loss": float(jnp.sum(jnp.square(model.second.kernel[...])))}

    with Run(folder, config) as run:
        fit(
            Network(nnx.Rngs(0)),
            loss,
            Paced(folder.with_suffix(".stuck")),
            config,
            key=jax.random.key(0),
            run=run,
            validate=validate,
            progress=False,
        )


class Fork:
    """One process of a training, for the supervisor; ``look`` is called whenever it asks after it."""

    def __init__(self, work: Callable[[], Any], errors: Path, look: Callable[["Fork"], None]) -> None:
        self._look, self._errors = look, errors

        def begin() -> None:
            with errors.open("a") as file:
                os.dup2(file.fileno(), 2)
                work()
                if jax.distributed.is_initialized():
                    jax.distributed.shutdown()

        with warnings.catch_warnings():
            # JAX warns of forks because of its threads, of which there are none yet.
            warnings.simplefilter("ignore", RuntimeWarning)
            self.process = multiprocessing.get_context("fork").Process(target=begin)
            self.process.start()

    def poll(self) -> int | None:
        self._look(self)
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def last_line(self) -> str:
        lines = self._errors.read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""


def launch(
    work: Callable[[], Any],
    errors: Path,
    *,
    count: int,
    look: Callable[[int, Fork], None] = lambda index, fork: None,
    restarts: int = 10,
) -> list[str]:
    """Trains under the supervisor until it is done; gives what that said.

    Raises:
      RuntimeError: it did not get there.
    """
    said: list[str] = []

    def start(index: int, environment: Mapping[str, str], folder: Path) -> Fork:
        def begin() -> None:
            os.environ.update(environment)
            work()

        return Fork(begin, errors.with_suffix(f".{index}.stderr"), lambda fork: look(index, fork))

    status = supervise(start, processes=count, restarts=restarts, silence_seconds=SILENCE_SECONDS, say=said.append)
    if status:
        tails = "\n".join(path.read_text()[-2000:] for path in sorted(errors.parent.glob(f"{errors.name}.*.stderr")))
        raise RuntimeError(f"the training ended with {status}: {said}\n{tails}")
    return said


def disturb(kind: str, folder: Path, draw: random.Random, *, steps: int = STEPS) -> Callable[[int, Fork], None]:
    """What happens once, when the log has reached a random line, to one of two processes."""
    wanted = draw.uniform(0, steps / 4)
    moment, victim = int(wanted), draw.randrange(2)
    done = False

    def look(index: int, fork: Fork) -> None:
        nonlocal done
        target = {"killed worker": 1, "killed coordinator": 0}.get(kind, victim)
        if done or index != target or lines(folder) < moment or fork.process.exitcode is not None:
            return
        done = True
        time.sleep(wanted % 1 * 0.2)
        if kind == "stuck process":
            folder.with_suffix(".stuck").write_text(str(index))
        elif fork.process.pid is not None:
            os.kill(fork.process.pid, signal.SIGSTOP if kind == "stopped process" else signal.SIGKILL)

    return look


def lines(folder: Path) -> int:
    log = folder / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def digests(folder: Path) -> dict[str, str]:
    """Sums of everything that must not depend on whether the run was disturbed."""
    checkpoint = Checkpoints(folder / "checkpoints").latest()
    assert checkpoint is not None and checkpoint.step == STEPS, f"{folder}: not trained to the end"
    sums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in checkpoint.arrays.items()}
    record = dict(checkpoint.record)
    record["tally"] = {key: value for key, value in record["tally"].items() if not key.endswith("seconds")}
    sums["record"] = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    timeless = [{key: value for key, value in line.items() if key != "times"} for line in read_metrics(folder)]
    sums["metrics.jsonl"] = hashlib.sha256(json.dumps(timeless).encode()).hexdigest()
    return sums


def distance(one: Path, other: Path) -> float:
    """The largest difference of two trainings' parameters, as a share of the largest parameter."""
    first, second = (Checkpoints(folder / "checkpoints").latest() for folder in (one, other))
    assert first is not None and second is not None
    names = [name for name in first.arrays if name.startswith("state/params/")]
    largest = max(float(np.max(np.abs(second.arrays[name]))) for name in names)
    return max(float(np.max(np.abs(first.arrays[name] - second.arrays[name]))) for name in names) / largest


def in_a_process(work: Callable[[], Any]) -> Any:
    """The result of some work that starts JAX, which this process must not."""
    receive, send = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        fork = Fork(lambda: send.send(work()), Path(folder) / "stderr", lambda fork: None)
        send.close()
        try:
            found = receive.recv()
        except EOFError:
            fork.process.join()
            raise RuntimeError((Path(folder) / "stderr").read_text()[-2000:]) from None
        fork.process.join()
    return found


def share_compiled_code(folder: Path) -> None:
    """A cache on disk for all processes."""
    for name, value in {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }.items():
        jax.config.update(name, value)


def quick(parent: Path) -> float:
    """A worker is killed in a short training of two processes; how far its parameters are from those of one process."""
    alone, disturbed = parent / "alone", parent / "disturbed"
    steps = 16
    launch(lambda: train(alone, steps=steps), alone, count=1)
    look = disturb("killed worker", disturbed, random.Random(1), steps=steps)
    said = launch(lambda: train(disturbed, steps=steps), disturbed, count=2, look=look)
    print(*said, sep="\n")
    return float(in_a_process(lambda: distance(disturbed, alone))) if said else math.inf


def with_changing_counts(folder: Path, counts: Sequence[int]) -> None:
    """One training by so many processes, killed and gone on with by another number of them, and so on."""
    for place, count in enumerate(counts):
        until = math.inf if place == len(counts) - 1 else STEPS / 4 * (place + 1) / len(counts)

        def look(index: int, fork: Fork, until: float = until) -> None:
            if index == 0 and lines(folder) >= until:
                fork.process.kill()

        try:
            launch(lambda: train(folder), folder, count=count, look=look, restarts=0)
        except RuntimeError:
            if until == math.inf:
                raise
            print(f"{count} processes killed at line {lines(folder)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--record", type=Path, help="JSON of the trials done; a later command goes on from there")
    parser.add_argument("--quick", action="store_true", help="one short training instead, against one process")
    parser.add_argument(
        "--counts", nargs="+", type=int, help="instead, a training gone on with by these numbers of processes"
    )
    arguments = parser.parse_args()
    if arguments.counts:
        with tempfile.TemporaryDirectory() as parent:
            share_compiled_code(Path(parent) / "compiled")
            alone, changed = Path(parent) / "alone", Path(parent) / "changed"
            launch(lambda: train(alone), alone, count=1)
            with_changing_counts(changed, arguments.counts)
            apart = float(in_a_process(lambda: distance(changed, alone)))
        print(f"{arguments.counts} processes: parameters {apart:.1e} from those of one process")
        return int(apart > 1e-4)
    if arguments.quick:
        with tempfile.TemporaryDirectory() as parent:
            share_compiled_code(Path(parent) / "compiled")
            apart = quick(Path(parent))
        print(f"parameters {apart:.1e} from those of one process")
        return int(apart > 1e-4)
    done: list[dict[str, Any]] = []
    if arguments.record and arguments.record.exists():
        done = json.loads(arguments.record.read_text())["trials"]
    with tempfile.TemporaryDirectory() as parent:
        share_compiled_code(Path(parent) / "compiled")
        alone, undisturbed = Path(parent) / "alone", Path(parent) / "undisturbed"
        launch(lambda: train(alone), alone, count=1)
        launch(lambda: train(undisturbed), undisturbed, count=2)
        expected = in_a_process(lambda: digests(undisturbed))
        apart = in_a_process(lambda: distance(undisturbed, alone))
        print(f"two processes left alone: parameters {apart:.1e} from those of one", flush=True)
        for kind in arguments.kinds:
            for number in range(arguments.trials):
                if any((one["kind"], one["number"], one["seed"]) == (kind, number, arguments.seed) for one in done):
                    continue
                began = time.monotonic()
                folder = Path(parent) / f"{kind.replace(' ', '-')}-{number}"
                draw = random.Random(f"{arguments.seed} {kind} {number}")
                trial = {"kind": kind, "number": number, "seed": arguments.seed}
                said = launch(lambda: train(folder, pause=0.01), folder, count=2, look=disturb(kind, folder, draw))  # noqa: B023
                found = in_a_process(lambda: digests(folder))  # noqa: B023
                names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
                trial |= {"restarts": len(said), "different": names, "seconds": round(time.monotonic() - began, 1)}
                done.append(trial)
                if arguments.record:
                    arguments.record.parent.mkdir(parents=True, exist_ok=True)
                    arguments.record.write_text(json.dumps({"trials": done}, indent=1) + "\n")
                verdict = f"DIFFERENT: {', '.join(names)}" if names else "identical"
                told = "; ".join(said) or "too late, nothing happened"
                print(f"{kind} {number + 1}: {verdict}, {trial['seconds']} s; {told}", flush=True)
    failed = sum(bool(one["different"]) for one in done)
    for kind in arguments.kinds:
        trials = [one for one in done if one["kind"] == kind]
        identical = sum(not one["different"] for one in trials)
        print(f"{kind}: {identical} of {len(trials)} identical, {sum(one['restarts'] for one in trials)} restarts")
    return 1 if failed or apart > 1e-4 or not expected else 0


if __name__ == "__main__":
    sys.exit(main())
