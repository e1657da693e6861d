"""Noticing that a training is stuck, which jax does not: a peer that lives but does nothing is waited for forever."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from jaxspk.training._processes import end_as_lost

HEARTBEAT = "JAXSPK_HEARTBEAT"
"""Variable of the environment that names a file which a process rewrites every second, for its supervisor."""

SLOW = 30.0
"""How many times as long as a step compiling, validating and saving may take."""

_BEAT_SECONDS = 1.0


class Watchdog:
    """Ends the process when what it is at takes too long.

    A thread looks at the clock, so that it works while the main thread waits for a device or a peer; the process ends
    by :func:`jaxspk.training._processes.end_as_lost`, in one line.

    Args:
      seconds: that a step, or the batch for it, may take.
      active: False looks at nothing.
      end: called with the reason.
    """

    def __init__(self, seconds: float, *, active: bool = True, end: Callable[[str], object] = end_as_lost) -> None:
        self._seconds, self._active, self._end = seconds, active, end
        self._at: tuple[str, float, float] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="jaxspk-watchdog", daemon=True)

    def begin(self, what: str, *, patience: float = 1.0) -> None:
        """Notes what the process is at from now on.

        Args:
          what: in a few words, for the message.
          patience: how many times as long as a step it may take.
        """
        self._at = (what, time.monotonic(), patience * self._seconds)

    def __enter__(self) -> "Watchdog":
        if self._active:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._active:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(min(_BEAT_SECONDS, self._seconds / 10)):
            at = self._at
            if at is not None and time.monotonic() - at[1] > at[2]:
                what, _, limit = at
                self._end(
                    f"stuck in {what} for more than {limit:g} s, waiting for another process or for itself "
                    "(`stuck_after_seconds` says how long is too long)"
                )
                return


_beating = threading.Lock()


def begin_heartbeat() -> None:
    """Rewrites the file that :data:`HEARTBEAT` names, if it names one, every second until the process ends."""
    named = os.environ.get(HEARTBEAT)
    if named and _beating.acquire(blocking=False):
        threading.Thread(target=_beat, args=(Path(named),), name="jaxspk-heartbeat", daemon=True).start()


def is_supervised() -> bool:
    """Whether somebody starts this process again when it ends as lost."""
    return bool(os.environ.get(HEARTBEAT))


def _beat(file: Path) -> None:
    count = 0
    while True:
        # Its folder goes with the supervisor.
        with contextlib.suppress(OSError):
            file.write_text(str(count))
        count += 1
        time.sleep(_BEAT_SECONDS)
