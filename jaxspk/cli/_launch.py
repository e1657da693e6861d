"""``jaxspk launch``."""

import dataclasses
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import tyro

from jaxspk.errors import ArgumentError

if TYPE_CHECKING:
    from jaxspk.training import Command


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Run a training in one or more processes; start it again from its last save when one dies, hangs or is stopped.

    One process drives all accelerators of a machine; several on one machine are for a CPU with many cores. On a cluster
    each machine runs this command, with its own --node. What the first process of each prints is shown; of the others,
    the last line when they fail. Ends with 0 when the training is done, with the status of a process that refused to
    work (a wrong argument, say), and with 75 after too many restarts.

    Example: jaxspk launch --processes 2 -- jaxspk train metric-learning --data speech -o runs/voices

    Example: jaxspk launch --nodes 4 --node 0 --coordinator host0:9876 -- python -m experiments.metric_learning paper
    """

    command: tyro.conf.Positional[tuple[str, ...]]
    """The command, after two dashes."""
    processes: int = 1
    """Processes on this machine."""
    nodes: int = 1
    """Machines that take part."""
    node: int = 0
    """Which of them this is, from 0."""
    coordinator: str | None = None
    """With several machines: host:port on the first one, a port that is free and can be reached."""
    restarts: int = 20
    """How often to start again at most."""
    silence_seconds: float = 60.0
    """Seconds without a sign of life after which a process is taken for stopped."""


def run(options: Options) -> int:
    """Starts the processes, and watches over them."""
    if not options.command:
        raise ArgumentError("name the command to run: jaxspk launch --processes 2 -- COMMAND ...")
    from jaxspk.training import Command, supervise

    def start(index: int, environment: Mapping[str, str], folder: Path) -> "Command":
        log = None if index == options.node * options.processes else folder / f"process-{index}.log"
        return Command(options.command, environment, log)

    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return supervise(
            start,
            processes=options.processes,
            nodes=options.nodes,
            node=options.node,
            coordinator=options.coordinator,
            restarts=options.restarts,
            silence_seconds=options.silence_seconds,
        )
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    """A scheduler ends this process: its children must not stay behind."""
    sys.exit(128 + number)
