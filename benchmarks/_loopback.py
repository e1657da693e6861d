"""The model of a step's time, held against two real processes on the loopback interface, each on a core of its own.

Run by ``python -m benchmarks.scaling --check``. The network is measured first, by sums of arrays of several sizes; what
the model says of a step then follows from the step of one process and the bytes of the compiled program.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (1, 2**12, 2**16, 2**20, 2**22)
"""Numbers in the arrays that are added up, float32."""

_TURNS = 15


def measure(count: int, folder: Path, *, rows: int) -> dict[str, Any]:
    """What ``count`` processes measure, each with so many rows.

    Returns:
      "step", seconds of a training step, and "sums", seconds of a sum by size; medians.

    Raises:
      RuntimeError: they did not come to an end.
    """
    from jaxspk.training import Command, supervise

    result = folder / f"{count}.json"

    def start(index: int, environment: Mapping[str, str], logs: Path) -> Command:
        command = [sys.executable, "-m", "benchmarks._loopback", str(result), str(rows)]
        return Command(
            command, {**environment, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, logs / f"{index}.log"
        )

    said: list[str] = []
    if supervise(start, processes=count, restarts=0, say=said.append):
        raise RuntimeError("; ".join(said))
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def fit_network(sums: Mapping[str, float], processes: int) -> tuple[float, float]:
    r"""Bandwidth and latency by least squares of :math:`2 (n - 1) L + 2 (n - 1) / n \cdot S / B`."""
    sizes = np.array([4 * int(size) for size in sums])
    seconds = np.array(list(sums.values()))
    design = np.stack([np.full(len(sizes), 2.0 * (processes - 1)), 2 * (processes - 1) / processes * sizes], axis=1)
    # Each to its own scale: the small ones tell the latency, the large ones the bandwidth.
    (latency, inverse), *_ = np.linalg.lstsq(design / seconds[:, None], np.ones(len(sizes)), rcond=None)
    return 1 / float(inverse), float(latency)


def _median(run: Callable[[], Any]) -> float:
    import jax

    wait: Callable[[Any], Any] = jax.block_until_ready  # Not typed in jax.
    times = []
    for _ in range(_TURNS + 2):
        began = time.perf_counter()
        wait(run())
        times.append(time.perf_counter() - began)
    return float(np.median(times[2:]))


def _child(result: Path, rows: int) -> None:
    from jaxspk.training import connect

    who = connect()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[who.index % len(cores)]})
    from benchmarks.scaling import WORKLOADS, placed_step

    placement, step, state, batch = placed_step(WORKLOADS[0], who.count, rows)
    measured: dict[str, Any] = {"sums": {}}
    if who.count > 1:
        for size in SIZES:
            measured["sums"][str(size)] = _median(_sum(placement, who.count, size))
    state, batch = placement.put_state(state), placement.put_batch(batch)
    with placement.entered():
        compiled = step.lower(state, batch).compile()
        held = [state]

        def one() -> Any:
            held[0], bad_run = compiled(held[0], batch)
            return bad_run

        measured["step"] = _median(one)
    if who.is_leader:
        result.write_text(json.dumps(measured))


def _sum(placement: Any, count: int, size: int) -> Callable[[], Any]:
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    spec: Callable[..., PartitionSpec] = PartitionSpec
    rows = placement.put_batch({"x": np.ones((1, size), np.float32)})["x"]
    whole = NamedSharding(placement.row_sharding().mesh, spec())
    return functools.partial(jax.jit(lambda x: x.sum(0), out_shardings=whole), rows)


def main(arguments: Sequence[str]) -> None:
    """A process of the measurement."""
    _child(Path(arguments[0]), int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
