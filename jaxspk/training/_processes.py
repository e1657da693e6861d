"""Several processes that run one program together: joining them, and telling all what the first one found.

All processes run the same code on the same arguments. The first, the leader, alone reads and writes the run's folder;
what it finds there reaches the others by :func:`from_leader` and :func:`arrays_from_leader`, which all of them call at
the same place. A process that fails ends at once, so that the others notice, and a supervisor, if there is one.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np

from jaxspk import errors
from jaxspk.errors import ArgumentError, JaxspkError, TrainingError

EXIT_LOST = 75
"""Exit status of a process whose peers are lost or stuck, or that is stuck itself: to be started again. It is
``EX_TEMPFAIL``, which no command of ours gives for anything else."""

COORDINATOR, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAXSPK_PROCESS_COUNT", "JAXSPK_PROCESS_INDEX"
"""Variables of the environment that name the leader's address (host:port), the number of processes, and this one."""

DETECT = "JAXSPK_PROCESSES"
"""Variable that, set to "auto", lets jax ask the cluster instead: SLURM, a TPU pod, MPI, Kubernetes."""

# A peer that is gone is noticed by its connections at once; this is for a machine that lost its network.
_HEARTBEAT_SECONDS = 60
# Whoever is done first waits for the others, which may be scoring; the ones that fail do not wait.
_SHUTDOWN_SECONDS = 7 * 24 * 3600
_PIECE = 2**24
_LOST = re.compile(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION)\b")


@dataclasses.dataclass(frozen=True)
class Processes:
    """How many there are, and which of them this is."""

    count: int
    index: int

    @property
    def is_leader(self) -> bool:
        """Whether this is the one that reads and writes the run's folder."""
        return self.index == 0


def connect(
    coordinator: str | None = None,
    *,
    count: int | None = None,
    index: int | None = None,
    timeout_seconds: int = 300,
) -> Processes:
    """Joins the processes of a training, once; before anything is computed.

    :class:`Run` calls it, so an experiment need not. Without arguments the environment decides (``jaxspk launch`` sets
    it): :data:`COORDINATOR`, :data:`COUNT` and :data:`INDEX`, or :data:`DETECT`; where it says nothing, this process is
    the only one.

    Args:
      coordinator: where the first process listens, host:port.
      count: number of processes.
      index: number of this one, from 0.
      timeout_seconds: to wait for the others.

    Returns:
      What came of it, the same at every later call.

    Raises:
      ArgumentError: the address or a number is missing, or JAX has computed something already.
    """
    if jax.distributed.is_initialized():
        return Processes(jax.process_count(), jax.process_index())
    coordinator = os.environ.get(COORDINATOR) if coordinator is None else coordinator
    count = _number(COUNT) if count is None else count
    index = _number(INDEX) if index is None else index
    detect = os.environ.get(DETECT)
    if detect not in (None, "", "auto"):
        raise ArgumentError(f"{DETECT} must be auto where it is set, got {detect!r}.")
    if detect != "auto":
        if count in (None, 1) and coordinator is None:
            return Processes(1, 0)
        if coordinator is None or count is None or index is None or not 0 <= index < count:
            raise ArgumentError(
                f"{COORDINATOR}, {COUNT} and {INDEX} belong together, got {coordinator!r}, {count} and {index}; "
                f"let `jaxspk launch` set them, or set all three, the last from 0 to the number of processes less 1."
            )
    # It would swallow SIGTERM, by which schedulers end a process; a run goes on from its last save anyway.
    config: Any = jax.config
    config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            cluster_detection_method=None if detect == "auto" else "deactivate",
            initialization_timeout=timeout_seconds,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except RuntimeError as error:
        if "before any JAX" not in str(error):
            end_as_lost(f"could not join the other processes at {coordinator} ({_first_line(error)})")
        raise ArgumentError(
            "JAX has computed something before the processes were joined; call jaxspk.training.connect() first of all."
        ) from None
    except ValueError as error:
        raise ArgumentError(f"{DETECT}=auto: {_first_line(error)} Take `jaxspk launch`, which is told.") from None
    # Run before jax's own, which would wait for the others.
    atexit.register(_leave_at_once_if_failed)
    return processes()


def processes() -> Processes:
    """How many processes run this program together, and which of them this is."""
    if not jax.distributed.is_initialized():
        return Processes(1, 0)
    return Processes(jax.process_count(), jax.process_index())


def end_as_lost(why: str) -> NoReturn:
    """Ends this process at once, from any thread, with one line and :data:`EXIT_LOST`."""
    who = processes()
    name = f"process {who.index + 1} of {who.count}: " if who.count > 1 else ""
    # Nothing of Python's end: it would wait for peers, or for the thread that is stuck.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os.write(2, f"jaxspk: {name}{' '.join(why.split())}; ends, to be started again from the last save.\n".encode())
    os._exit(EXIT_LOST)


@contextlib.contextmanager
def peers_needed(during: Callable[[], str]) -> Iterator[None]:
    """Ends this process where JAX reports that a computation with the others failed; ``during`` says in what."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # XLA's status comes as one or the other. Our own memory being full is no fault of theirs, and would come again.
        if processes().count == 1 or isinstance(error, JaxspkError) or not _LOST.match(str(error)):
            raise
        end_as_lost(f"lost another process {during()} ({_first_line(error)})")


_failed_with: int | None = None


def note_failure(error: BaseException | None) -> None:
    """Lets this process, if it ends with this error, end without waiting for the others, which wait for it."""
    global _failed_with
    _failed_with = (
        None
        if error is None
        else 2
        if isinstance(error, JaxspkError)
        else 130
        if isinstance(error, KeyboardInterrupt)
        else 1
    )


def _leave_at_once_if_failed() -> None:
    if _failed_with is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(_failed_with)


# --- What the leader tells. ---


def from_leader(work: Callable[[], Any]) -> Any:
    """What ``work`` gives in the first process, in all of them; all call this at the same place.

    Args:
      work: called in the first process only; gives what JSON can hold.

    Raises:
      JaxspkError: the one that ``work`` raised, in all processes.
    """
    who = processes()
    if who.count == 1:
        return work()
    told = b""
    if who.is_leader:
        try:
            told = json.dumps({"found": work()}).encode()
        except JaxspkError as error:
            told = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
        except BaseException as error:
            note_failure(error)
            raise
    found = json.loads(_broadcast(told))
    if "error" in found:
        kind = getattr(errors, found["error"], TrainingError)
        raise kind(found["message"])
    return found["found"]


def arrays_from_leader(arrays: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """The arrays of the first process, in all of them; the others give None."""
    who = processes()
    if who.count == 1:
        return dict(arrays or {})
    arrays = arrays or {}
    described = from_leader(lambda: {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()})
    held = _broadcast(b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in arrays))
    found, start = {}, 0
    for name, (dtype, shape) in described.items():
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        found[name] = np.frombuffer(held[start : start + size], np.dtype(dtype)).reshape(shape).copy()
        start += size
    return found


def check_equal(value: str, what: str) -> None:
    """Refuses to go on where a process holds something else than the first.

    Raises:
      TrainingError: in the processes that differ.
    """
    if from_leader(lambda: value) != value:
        raise TrainingError(
            f"process {processes().index + 1} has {what} other than the first process; start all with the same "
            "command, versions and files."
        )


def _broadcast(content: bytes) -> bytes:
    """The leader's bytes, in pieces of few sizes, so that few programs are compiled."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    with peers_needed(lambda: "while telling each other where to go on"):
        pieces, rest = map(int, broadcast_one_to_all(np.array(divmod(len(content), _PIECE), np.int32)))
        told, size = b"", pieces * _PIECE + rest
        while len(told) < size:
            piece = np.zeros(min(_PIECE, max(1024, 1 << (size - len(told) - 1).bit_length())), np.uint8)
            held = content[len(told) : len(told) + len(piece)]
            piece[: len(held)] = np.frombuffer(held, np.uint8)
            told += np.asarray(broadcast_one_to_all(piece), np.uint8).tobytes()
    return told[:size]


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is None or text == "":
        return None
    if not text.isdecimal():
        raise ArgumentError(f"{variable} must be a number, got {text!r}.")
    return int(text)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
