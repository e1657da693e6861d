"""Progress of a training: a bar on a terminal, plain lines elsewhere; on stderr, out of the way of output."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


def say(line: str) -> None:
    """One line to the user."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Shows how far a training is, how it goes, and when it will be done.

    Args:
      title: what is being trained, in a word or two.
      total: steps to do.
      shown: False shows no progress.
      silent: True says nothing at all: another process does.
    """

    def __init__(self, title: str, *, total: int, shown: bool = True, silent: bool = False) -> None:
        self.title, self._total, self._shown, self._silent = title, total, shown and not silent, silent
        self._done = 0
        self._eta: float | None = None
        self._bar: Any = None
        self._first_step: tuple[float, int] | None = None
        self._said = float("-inf")
        self._texts: dict[str, str] = {}

    def begin(self, done: int) -> None:
        """Sets the steps done before the first."""
        self._done = done

    def __enter__(self) -> "Progress":
        if self._shown and sys.stderr.isatty():
            self._bar = _rich_bar()
            self._task = self._bar.add_task(
                self.title, total=self._total, completed=self._done, note="compiling", eta=""
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, *, seconds_left: float | None = None) -> None:
        """Notes that a step is done.

        Args:
          step: how many are.
          seconds_left: of a time budget, which may end the training before its steps do.
        """
        self._done = step
        now = time.monotonic()
        if self._first_step is None:
            # The first step compiles; the pace is that of the others.
            self._first_step = (now, step)
        self._eta = self._seconds_to_go(now)
        if seconds_left is not None:
            seconds_left = max(seconds_left, 0.0)
            self._eta = seconds_left if self._eta is None else min(self._eta, seconds_left)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, eta=self._to_go())

    def metrics(self, step: int, metrics: Mapping[str, float | str], *, always: bool = False) -> None:
        """Shows metrics: in the bar, beside the last ones of other names, or as a line if that is not too soon.

        Args:
          step: the training step they are of.
          metrics: numbers, or texts as they are, by name.
          always: a line however soon.
        """
        texts = {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in metrics.items()}
        self._texts |= texts
        if self._bar is not None:
            self._bar.update(self._task, note=_listed(self._texts))
            return
        now = time.monotonic()
        if self._shown and (always or now - self._said >= _SECONDS_BETWEEN_LINES):
            self._said = now
            say(f"{self.title}: step {step} of {self._total}  {_listed(texts)}  {self._to_go()}".rstrip())

    def note(self, line: str) -> None:
        """One line to the user, if progress is shown at all."""
        if self._shown:
            self.say(f"{self.title}: {line}")

    def say(self, line: str) -> None:
        """One line to the user in any case, above the bar."""
        if self._silent:
            return
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line)

    def _to_go(self) -> str:
        return "" if self._eta is None else f"{_duration(self._eta)} to go"

    def _seconds_to_go(self, now: float) -> float | None:
        assert self._first_step is not None
        began, first = self._first_step
        if self._done <= first:
            return None
        return (now - began) / (self._done - first) * (self._total - self._done)


def _listed(texts: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {text}" for name, text in texts.items())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TextColumn("{task.fields[eta]}"),
        console=Console(stderr=True),
    )
