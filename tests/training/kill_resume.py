"""Kills real trainings at random moments and compares what comes of them with a training left alone.

    python -m tests.training.kill_resume --trials 20

Each trial starts a process that trains a tiny model in two stages, kills it (SIGKILL) at a random moment,
starts it again, kills it again, and lets the third one finish. Compared are sha-256 sums of all in the last
checkpoint of each stage (parameters, optimiser, random state, best model, counts, state of the data) and of
metrics.jsonl but for its times, both with those of an undisturbed run. Exits with 1 if any differ.

The processes are forks of one that imported everything and computed nothing, and share a cache of compiled
code that the undisturbed run fills: starting and compiling would otherwise take most of the time.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint  # noqa: F401  # before the forks, not in each of them
from flax import nnx

from jaxspk.training import Checkpoints, FitConfig, OptimizerConfig, Run, fit, read_metrics


def train(folder: Path) -> None:
    """The training that gets killed: everything that has a state is in it."""

    class Batches:
        """A function of the number of the batch; some are not finite."""

        def __init__(self, seed: int) -> None:
            self.seed, self.index = seed, 0

        def __next__(self):
            draw = np.random.default_rng((self.seed, self.index))
            self.index += 1
            inputs = draw.normal(size=(16, 24)).astype(np.float32)
            if self.index % 13 == 0:
                inputs[0, 0] = np.nan
            return {"inputs": inputs, "targets": np.tanh(np.nan_to_num(inputs[:, :8]))}

        def get_state(self):
            return {"index": self.index}

        def set_state(self, state):
            self.index = state["index"]

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.first = nnx.Linear(24, 32, rngs=rngs)
            self.norm = nnx.BatchNorm(32, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)
            self.second = nnx.Linear(32, 8, rngs=rngs)

        def __call__(self, inputs, deterministic: bool):
            hidden = self.norm(self.first(inputs), use_running_average=deterministic)
            return self.second(self.dropout(nnx.relu(hidden), deterministic=deterministic))

    def loss(model, batch, key):
        noise = 0.01 * jax.random.normal(key, batch["inputs"].shape)
        error = jnp.mean(jnp.square(model(batch["inputs"] + noise, False) - batch["targets"]))
        return error, {"largest": jnp.max(jnp.abs(batch["targets"]))}

    held = next(Batches(1))

    @jax.jit
    def held_loss(state):
        return jnp.mean(jnp.square(nnx.merge(graph, state)(held["inputs"], True) - held["targets"]))

    model = Network(nnx.Rngs(0))
    graph = nnx.split(model)[0]
    config = FitConfig(
        steps=60,
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=0.1, weight_decay=0.01, schedule="plateau", clip_norm=1.0, plateau_patience=1
        ),
        weight_noise=0.02,
        log_every=5,
        validate_every=5,
        checkpoint_every=4,
    )
    with Run(folder, config) as run:
        run.log(0, "validation", loss=held_loss(nnx.split(model)[1]))
        for stage, steps in (("first", 40), ("second", 60)):
            result = fit(
                model,
                loss,
                Batches(len(stage)),
                dataclasses.replace(config, steps=steps),
                key=jax.random.key(len(stage)),
                run=run,
                stage=stage,
                validate=lambda model: {"loss": float(held_loss(nnx.split(model)[1]))},
            )
            model = result.model
        run.log(result.step, "test", loss=held_loss(nnx.split(model)[1]))


def digests(folder: Path) -> dict[str, str]:
    """Sums of everything that must not depend on whether the run was interrupted."""
    sums = {}
    for stage in ("first", "second"):
        checkpoint = Checkpoints(folder / "checkpoints" / stage).latest()
        assert checkpoint is not None, f"{folder}: no checkpoint of stage {stage}"
        for name, array in sorted(checkpoint.arrays.items()):
            described = f"{array.dtype}{array.shape}".encode()
            sums[f"{stage}/{name}"] = hashlib.sha256(described + array.tobytes()).hexdigest()
        record = dict(checkpoint.record)
        record["tally"] = {key: value for key, value in record["tally"].items() if not key.endswith("seconds")}
        sums[f"{stage}/record"] = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    lines = [{key: value for key, value in line.items() if key != "times"} for line in read_metrics(folder)]
    sums["metrics.jsonl"] = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    return sums


def start(work: Callable[[Path], Any], folder: Path, talk: Connection | None = None) -> multiprocessing.Process:
    """A process that does some work, its messages in a file beside the folder."""

    def begin() -> None:
        with folder.with_suffix(".stderr").open("a") as errors:
            os.dup2(errors.fileno(), 2)
            found = work(folder)
            if talk is not None:
                talk.send(found)

    with warnings.catch_warnings():
        # JAX warns of forks because of its threads, of which there are none yet.
        warnings.simplefilter("ignore", RuntimeWarning)
        process = multiprocessing.get_context("fork").Process(target=begin)
        process.start()
    return process


def finish(process: multiprocessing.Process, folder: Path) -> None:
    """Waits for a process that must end well."""
    process.join()
    if process.exitcode != 0:
        errors = folder.with_suffix(".stderr").read_text()
        raise RuntimeError(f"the training ended with {process.exitcode}: {errors[-2000:]}")


def found_in(folder: Path) -> dict[str, str]:
    """The sums, taken by a process of their own: this one must not start JAX."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = start(digests, folder, send)
    send.close()
    try:
        sums = receive.recv()
    except EOFError:
        sums = {}
    finish(process, folder)
    return sums


def trial(folder: Path, lines: int, seconds: float, draw: random.Random, kills: int) -> list[str]:
    """One run killed so many times, then finished; says where it stood when it was killed.

    The moments are even over the lines of the log, not over the time: a busy machine stretches that at will.
    """
    moments = []
    for _ in range(kills):
        process = start(train, folder)
        wanted = draw.uniform(min(_lines(folder), lines - 1), lines)
        while process.is_alive() and _lines(folder) < int(wanted):
            time.sleep(0.001)
        time.sleep(wanted % 1 * 2 * seconds / lines)
        process.kill()
        process.join()
        moments.append(_standing(folder) if process.exitcode == -signal.SIGKILL else "the end")
    finish(start(train, folder), folder)
    return moments


def _lines(folder: Path) -> int:
    log = folder / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _standing(folder: Path) -> str:
    saving = any(folder.glob("checkpoints/*/.unfinished-*"))
    return f"line {_lines(folder)}{' in a save' if saving else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="runs to kill")
    parser.add_argument("--kills", type=int, default=2, help="times each is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--compile-anew", action="store_true", help="in every process, as without a cache")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    different = 0
    with tempfile.TemporaryDirectory() as parent:
        if not arguments.compile_anew:
            jax.config.update("jax_compilation_cache_dir", f"{parent}/compiled")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        undisturbed = Path(parent) / "undisturbed"
        finish(start(train, Path(parent) / "compiling"), Path(parent) / "compiling")
        began = time.monotonic()
        finish(start(train, undisturbed), undisturbed)
        seconds = time.monotonic() - began
        expected = found_in(undisturbed)
        for number in range(arguments.trials):
            folder = Path(parent) / str(number)
            moments = trial(folder, _lines(undisturbed), seconds, draw, arguments.kills)
            found = found_in(folder)
            names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            different += bool(names)
            verdict = f"DIFFERENT: {', '.join(names)}" if names else "identical"
            print(f"trial {number + 1}: killed at {' and '.join(moments)}: {verdict}", flush=True)
    print(f"{arguments.trials - different} of {arguments.trials} identical ({len(expected)} sums each)")
    return 1 if different or not expected else 0


if __name__ == "__main__":
    sys.exit(main())
