"""Doing the same to many files: go on past a bad one, count it, list it at the end."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxspk.cli._shards import Journal
from jaxspk.errors import JaxspkError

Report = Callable[[float], None]
"""Told the share of a file's work that is done, from 0 to 1."""

_FIRST_LINE_AFTER, _SECONDS_BETWEEN_LINES = 20.0, 30.0


def for_each(
    paths: Sequence[Path],
    work: Callable[[Path, Report], Mapping[str, Any]],
    *,
    describe: Callable[[Mapping[str, Any]], str],
    verb: str,
    as_json: bool,
    journal: Journal | None = None,
) -> int:
    """Runs ``work`` on each path and reports, as lines for a person or as one JSON document.

    Args:
      paths: the files.
      work: does one file and returns facts about it, JSON values; ``seconds`` is the duration of its sound. It may tell
        how far it is, which is shown for a file that takes long.
      describe: those facts as one line.
      verb: what is done, for the progress bar and the summary ("separated").
      as_json: print ``{"done": [...], "failed": [...], "summary": {...}}`` to stdout when all is done, and nothing
        else there.
      journal: knows what was done before, which is passed over, and is told what is.

    Returns:
      0 if all went well, 1 if some failed.

    Raises:
      JaxspkError: the only file failed.
    """
    done: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    started = time.perf_counter()
    with _progress(len(paths), verb) as begin:
        for path in paths:
            if journal is not None and (before := journal.facts(path)) is not None:
                begin(path)(1.0)
                done.append({**before, "done_before": True})
                continue
            began = time.perf_counter()
            try:
                facts = work(path, begin(path))
            except JaxspkError as error:
                if len(paths) == 1:
                    raise
                failed.append({"recording": str(path), "error": str(error)})
                print(f"jaxspk: {error}", file=sys.stderr)
            else:
                done.append({**facts, "took_seconds": round(time.perf_counter() - began, 3)})
                if journal is not None:
                    journal.note(path, done[-1])
                if not as_json:
                    print(describe(done[-1]), flush=True)
    summary = _summary(done, failed, time.perf_counter() - started)
    if as_json:
        print(json.dumps({"done": done, "failed": failed, "summary": summary}, indent=2))
    elif len(paths) > 1:
        earlier = sum("done_before" in facts for facts in done)
        print(
            f"{verb} {len(done)} of {len(paths)}{_pace(summary)}" + (f", {earlier} of them before" if earlier else "")
        )
        for trouble in failed:
            print(f"  failed: {trouble['error']}")
    return 1 if failed else 0


def clock(seconds: float) -> str:
    """A duration as people write it.

    Example:
      >>> clock(9.04), clock(75.0), clock(3 * 3600.0 + 62)
      ('9.0 s', '1:15', '3:01:02')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _summary(done: Sequence[Mapping[str, Any]], failed: Sequence[Any], took: float) -> dict[str, Any]:
    seconds = sum(float(facts.get("seconds", 0)) for facts in done if "done_before" not in facts)
    return {
        "files": len(done) + len(failed),
        "done": len(done),
        "failed": len(failed),
        "seconds": round(seconds, 3),
        "took_seconds": round(took, 3),
        "real_time_factor": round(took / seconds, 4) if seconds else None,
    }


def _pace(summary: Mapping[str, Any]) -> str:
    if summary["real_time_factor"] is None:
        return ""
    return (
        f": {clock(summary['seconds'])} of sound in {clock(summary['took_seconds'])}, "
        f"{summary['real_time_factor']:.3f} of real time"
    )


@contextlib.contextmanager
def _progress(total: int, verb: str) -> Iterator[Callable[[Path], Report]]:
    """Begins a file: a bar with the time left on a terminal; elsewhere a line now and then where a file takes long."""
    if not sys.stderr.isatty():
        yield lambda path: _Lines(f"{verb} {path.name}")
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    # A file's name is no markup, whatever brackets it has.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        files = bar.add_task(verb, total=total, visible=total > 1)
        file = bar.add_task("", total=1.0)
        begun = 0

        def begin(path: Path) -> Report:
            nonlocal begun
            before, begun = begun, begun + 1
            bar.reset(file, description=path.name)

            def report(share: float) -> None:
                bar.update(file, completed=share)
                bar.update(files, completed=before + share)

            return report

        yield begin


class _Lines:
    """Says how far a file is, once it has taken a while and then not too often."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._next = self._began + _FIRST_LINE_AFTER

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now >= self._next and 0 < share < 1:
            left = (now - self._began) * (1 - share) / share
            print(f"{self._title}: {share:.0%}, about {clock(left)} left", file=sys.stderr, flush=True)
            self._next = now + _SECONDS_BETWEEN_LINES
