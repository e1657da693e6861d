"""How long the device waited for data, measured without waiting for the device."""

import contextlib
import queue
import threading
import time
from types import TracebackType

from jax import Array


class Pace:
    """Finish times of the steps sent to the device, taken by a thread of its own.

    The host is ahead of the device, so the time it spends in fetching a batch says little: waiting for data
    is the part of it during which the device had nothing left to do.
    """

    def __init__(self) -> None:
        self._sent: queue.SimpleQueue[Array | None] = queue.SimpleQueue()
        self._count_sent = 0
        self._finished = (0, 0.0)
        self._thread = threading.Thread(target=self._watch, name="jaxspk-pace", daemon=True)

    def __enter__(self) -> "Pace":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sent.put(None)
        self._thread.join()

    def sent(self, output: Array) -> None:
        """Notes a step just sent to the device, by one of its outputs that no later step takes over."""
        self._count_sent += 1
        self._sent.put(output)

    def idle(self, began: float, ended: float) -> float:
        """Seconds between two moments (of ``time.perf_counter``) during which all steps sent were done."""
        count, finished = self._finished
        return max(ended - max(began, finished), 0.0) if count == self._count_sent else 0.0

    def _watch(self) -> None:
        while (output := self._sent.get()) is not None:
            # What went wrong on the device is the loop's to find.
            with contextlib.suppress(Exception):
                output.block_until_ready()
            self._finished = (self._finished[0] + 1, time.perf_counter())
