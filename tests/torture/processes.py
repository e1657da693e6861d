"""Trainings in forks of a process that has imported everything and computed nothing: started, killed, compared."""

import hashlib
import json
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import jax

_WORDS: dict[int | None, Path] = {}


class Failed(Exception):
    """A process that must end well did not."""


def keep_compiled(folder: Path) -> None:
    """All forks share what was compiled."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def start(work: Callable[[], Any]) -> BaseProcess:
    """A process that does some work; what it prints goes to a file."""
    descriptor, name = tempfile.mkstemp(prefix="jaxspk-words-")

    def begin() -> None:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()

    with warnings.catch_warnings():
        # JAX warns of forks because of its threads, of which there are none yet.
        warnings.simplefilter("ignore", RuntimeWarning)
        process = multiprocessing.get_context("fork").Process(target=begin)
        process.start()
    os.close(descriptor)
    _WORDS[process.pid] = Path(name)
    return process


def last_words(process: BaseProcess) -> str:
    """How it ended, and the last line it printed."""
    path = _WORDS.pop(process.pid, None)
    words = path.read_text(errors="replace").strip() if path else ""
    if path:
        path.unlink()
    return f"ended with {process.exitcode}: {words.splitlines()[-1][:400] if words else 'nothing printed'}"


def finish(process: BaseProcess, name: str) -> None:
    """Waits for a process that must end well.

    Raises:
      Failed: it did not.
    """
    process.join()
    words = last_words(process)
    if process.exitcode != 0:
        raise Failed(f"{name} {words}")


def result_of(work: Callable[[], Any]) -> Any:
    """What some work gives, computed by a process of its own: this one must not start JAX."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = start(lambda: send.send(work()))
    send.close()
    try:
        found = receive.recv()
    except EOFError:
        found = None
    finish(process, "looking at what came of it")
    return found


def digests(folder: Path, checkpoints_of: Callable[[Path], Any], read_metrics: Callable[[Path], Any]) -> dict[str, str]:
    """Sums of everything that must not depend on whether a run was interrupted: last checkpoints and log."""
    sums = {}
    root = folder / "checkpoints"
    # A run of one stage without a name has its checkpoints there, others a folder a stage.
    stages = [root] if checkpoints_of(root).steps() else sorted(path for path in root.iterdir() if path.is_dir())
    for stage in stages:
        checkpoint = checkpoints_of(stage).latest()
        if checkpoint is None:
            raise Failed(f"{stage}: holds no checkpoint")
        for name, array in sorted(checkpoint.arrays.items()):
            described = f"{array.dtype}{array.shape}".encode()
            sums[f"{stage.name}/{name}"] = hashlib.sha256(described + array.tobytes()).hexdigest()
        record = dict(checkpoint.record)
        record["tally"] = {key: value for key, value in record["tally"].items() if not key.endswith("seconds")}
        sums[f"{stage.name}/record"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    lines = [{key: value for key, value in line.items() if key != "times"} for line in read_metrics(folder)]
    sums["metrics.jsonl"] = hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()
    return sums


def lines_of(folder: Path) -> int:
    """Lines in the log of a run."""
    log = folder / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0
