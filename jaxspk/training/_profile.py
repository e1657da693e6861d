"""Where the time of a training goes: a table by phase, and a trace of a few steps."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxspk._files import write_whole
from jaxspk.training._files import writing

PHASES = ("compiling", "data", "transfer", "step", "evaluation", "checkpoint")
"""In which a training spends its time; what is left is the loop's own."""

_TRACE_FROM, _TRACED = 3, 5


class Profile:
    """Seconds by phase, and ``jax.profiler``'s trace of five steps.

    The device is waited for at the end of each phase, so a profiled training is a little slower than another one: its
    steps do not overlap with the making and moving of batches.

    Args:
      folder: receives ``profile.json`` and the trace; None measures nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._counts = dict.fromkeys(PHASES, 0)
        self._steps = 0
        self._tracing = False
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Callable[[Any], None]]:
        """Measures what happens inside; gives a function that waits for arrays, if anything is measured."""
        if self._folder is None:
            yield _pass
            return
        began = time.perf_counter()
        try:
            yield jax.block_until_ready
        finally:
            self._seconds[name] += time.perf_counter() - began
            self._counts[name] += 1

    def step(self) -> None:
        """Notes that a step is about to begin."""
        if self._folder is None:
            return
        if self._steps == _TRACE_FROM and not self._tracing:
            # Somebody else may be tracing the whole program.
            with contextlib.suppress(RuntimeError):
                jax.profiler.start_trace(str(self._folder))
                self._tracing = True
        elif self._steps == _TRACE_FROM + _TRACED:
            self._stop_trace()
        self._steps += 1

    def finish(self, say: Callable[[str], None]) -> None:
        """Writes ``profile.json`` and says the table."""
        if self._folder is None:
            return
        self._stop_trace()
        total = time.perf_counter() - self._began
        rows = self.rows(total)
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            content = {"steps": self._steps, "seconds": round(total, 4), "phases": rows}
            write_whole(self._folder / "profile.json", (json.dumps(content, indent=2) + "\n").encode())
        for line in _table(rows):
            say(line)
        say(f"profile: {self._folder}, to be opened with xprof or TensorBoard")

    def rows(self, total: float) -> list[dict[str, Any]]:
        """One row a phase that came, and the loop's own rest of all seconds."""
        rest = max(total - sum(self._seconds.values()), 0.0)
        measured = [(name, self._counts[name], self._seconds[name]) for name in PHASES if self._counts[name]]
        return [
            {
                "phase": name,
                "count": count,
                "seconds": round(seconds, 4),
                "milliseconds_each": round(1000 * seconds / max(count, 1), 3),
                "share": round(seconds / total, 4) if total else 0.0,
            }
            for name, count, seconds in [*measured, ("loop", self._steps, rest)]
        ]

    def _stop_trace(self) -> None:
        if self._tracing:
            self._tracing = False
            stop: Callable[[], None] = jax.profiler.stop_trace  # Not typed in jax.
            stop()


def _pass(arrays: Any) -> None:
    """Waits for nothing."""


def _table(rows: list[dict[str, Any]]) -> list[str]:
    head = f"{'phase':<12}{'times':>8}{'seconds':>10}{'ms each':>10}{'share':>8}"
    return [
        head,
        *(
            f"{row['phase']:<12}{row['count']:>8}{row['seconds']:>10.2f}{row['milliseconds_each']:>10.2f}"
            f"{row['share']:>8.1%}"
            for row in rows
        ),
    ]
