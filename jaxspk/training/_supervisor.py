"""Starting the processes of a training, and starting all of them again when one dies, hangs or is stopped.

A training saves itself and goes on from its last save, so a supervisor has little to do: to notice, to end what is
left, and to give the same command again.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxspk._checks import check_range
from jaxspk.errors import ArgumentError
from jaxspk.training._processes import COORDINATOR, COUNT, EXIT_LOST, INDEX
from jaxspk.training._watchdog import HEARTBEAT

REFUSED = (1, 2, 130)
"""Statuses after which nothing is started again: it would end the same way, or a person interrupted it."""

_POLL_SECONDS = 0.05
# When one process has failed, why the others end, and how, is still told.
_LAST_WORDS_SECONDS = 2.0


@runtime_checkable
class Started(Protocol):
    """A process that was started."""

    def poll(self) -> int | None:
        """Its status, negative for a signal; None while it runs, stopped or not."""
        ...

    def kill(self) -> None:
        """Ends it whatever state it is in, with all it started, and waits for that."""
        ...

    def last_line(self) -> str:
        """The last it said, where nobody has seen it; else nothing."""
        ...


class Command:
    """A command in a process group of its own.

    Args:
      command: program and arguments.
      environment: added to this process's own.
      log: receives what it prints; None lets it print where this process does.

    Raises:
      ArgumentError: there is no such program.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path | None) -> None:
        self._log = log
        with contextlib.ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("ab"))
            try:
                self._process = subprocess.Popen(
                    list(command),
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=None if output is None else subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ArgumentError(f"{command[0]}: cannot be started ({error.strerror}).") from None

    def poll(self) -> int | None:
        """Its status."""
        return self._process.poll()

    def kill(self) -> None:
        """Ends it, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_line(self) -> str:
        """The last line of its log."""
        if self._log is None:
            return ""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def supervise(
    start: Callable[[int, Mapping[str, str], Path], Started],
    *,
    processes: int,
    nodes: int = 1,
    node: int = 0,
    coordinator: str | None = None,
    restarts: int = 20,
    silence_seconds: float = 60.0,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> int:
    """Keeps the processes of this machine running until all have ended well.

    Each finds in its environment where the first one listens, how many there are, and which it is
    (:func:`jaxspk.training.connect` reads it), and a file that it rewrites every second. When one ends in any other way
    than by refusing to work, or rewrites its file no more, all are killed and started again.

    Args:
      start: starts the process of a number, from 0 over all machines, with an environment; may put files in the folder.
      processes: on this machine.
      nodes: machines, each with a supervisor of its own and as many processes.
      node: which of them this is, from 0.
      coordinator: where the first process listens, host:port; needed with several machines.
      restarts: how often to start again at most.
      silence_seconds: after which a process that rewrote its file before is taken for stopped.
      say: told, in a line each, what went wrong.

    Returns:
      0 when all ended well; the status of one that refused to work; :data:`EXIT_LOST` after too many restarts.

    Raises:
      ArgumentError: the numbers do not fit.
    """
    check_range("processes", processes, low=1)
    check_range("nodes", nodes, low=1)
    check_range("node", node, low=0, high=nodes - 1)
    check_range("restarts", restarts, low=0)
    if nodes > 1 and coordinator is None:
        raise ArgumentError("`coordinator` is needed with several nodes: the first one's host, and a free port of it.")
    for attempt in itertools.count():
        with tempfile.TemporaryDirectory(prefix="jaxspk-launch-") as folder:
            address = coordinator or f"127.0.0.1:{_free_port()}"
            group = _Group(silence_seconds, total=nodes * processes)
            try:
                for index in range(node * processes, (node + 1) * processes):
                    beat = Path(folder) / f"heartbeat-{index}"
                    environment = {HEARTBEAT: str(beat)}
                    if nodes * processes > 1:
                        environment |= {COORDINATOR: address, COUNT: str(nodes * processes), INDEX: str(index)}
                    group.add(index, start(index, environment, Path(folder)), beat)
                status, trouble = group.wait()
            finally:
                group.kill()
        if not trouble:
            return 0
        if status in REFUSED:
            say(f"jaxspk launch: {trouble}; it is not started again.")
            return status
        if attempt == restarts:
            say(f"jaxspk launch: {trouble}; given up after {restarts} restarts.")
            return EXIT_LOST
        say(
            f"jaxspk launch: {trouble}; all start again from the last save ({attempt + 1} of at most {restarts} times)."
        )
    raise AssertionError("unreachable")


class _Group:
    """The processes of one attempt."""

    def __init__(self, silence_seconds: float, *, total: int) -> None:
        self._silence, self._total = silence_seconds, total
        self._started: dict[int, Started] = {}
        self._beats: dict[int, _Beat] = {}

    def add(self, index: int, started: Started, beat: Path) -> None:
        self._started[index], self._beats[index] = started, _Beat(beat)

    def kill(self) -> None:
        for started in self._started.values():
            started.kill()

    def wait(self) -> tuple[int, str]:
        """The status of what went wrong and what that was; nothing where all ended well."""
        while True:
            statuses = self._statuses()
            if all(status == 0 for status in statuses.values()):
                return 0, ""
            if any(statuses.values()):
                return self._failure()
            for index, beat in self._beats.items():
                if statuses[index] is None and beat.silent_seconds() > self._silence:
                    return EXIT_LOST, f"{self._name(index)} has given no sign of life for {self._silence:g} s"
            time.sleep(_POLL_SECONDS)

    def _statuses(self) -> dict[int, int | None]:
        return {index: started.poll() for index, started in self._started.items()}

    def _failure(self) -> tuple[int, str]:
        """Waits a little, for the first to fall is not always the one that says why."""
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < until and None in self._statuses().values():
            time.sleep(_POLL_SECONDS)
        failed = {index: status for index, status in self._statuses().items() if status}
        # Who refused to work counts before who lost him, and who died before who noticed it.
        index = min(failed, key=lambda index: (failed[index] not in REFUSED, failed[index] == EXIT_LOST, index))
        words = self._started[index].last_line()
        return failed[index], f"{self._name(index)} {_ending(failed[index])}" + (f" ({words})" if words else "")

    def _name(self, index: int) -> str:
        return f"process {index + 1} of {self._total}"


class _Beat:
    """When a heartbeat was last seen to change.

    By the clock of this process, which stands still while the machine sleeps.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: str | None = None
        self._seen = time.monotonic()

    def silent_seconds(self) -> float:
        try:
            now = self._file.read_text()
        except OSError:
            # Not begun yet, or no program of ours.
            return 0.0
        if now != self._last:
            self._last, self._seen = now, time.monotonic()
        return time.monotonic() - self._seen


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return "was stuck or lost the others" if status == EXIT_LOST else f"ended with status {status}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
