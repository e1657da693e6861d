"""Doing the same to many files: go on past a bad one, count it, list it at the end."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxspk.errors import JaxspkError


def for_each(
    paths: Sequence[Path],
    work: Callable[[Path], Mapping[str, Any]],
    *,
    describe: Callable[[Mapping[str, Any]], str],
    verb: str,
    as_json: bool,
) -> int:
    """Runs ``work`` on each path and reports, as lines for a person or as one JSON document.

    Args:
      paths: the files.
      work: does one file and returns facts about it, JSON values.
      describe: those facts as one line.
      verb: what is done, for the progress bar and the summary ("separated").
      as_json: print ``{"done": [...], "failed": [...]}`` to stdout, and nothing else.

    Returns:
      0 if all went well, 1 if some failed.

    Raises:
      JaxspkError: the only file failed.
    """
    done: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    with _progress(len(paths), verb) as advance:
        for path in paths:
            try:
                facts = work(path)
            except JaxspkError as error:
                if len(paths) == 1:
                    raise
                failed.append({"recording": str(path), "error": str(error)})
                print(f"jaxspk: {error}", file=sys.stderr)
            else:
                done.append(facts)
                if not as_json:
                    print(describe(facts), flush=True)
            advance()
    if as_json:
        print(json.dumps({"done": done, "failed": failed}, indent=2))
    elif len(paths) > 1:
        print(f"{verb} {len(done)} of {len(paths)}")
        for trouble in failed:
            print(f"  failed: {trouble['recording']}")
    return 1 if failed else 0


@contextlib.contextmanager
def _progress(total: int, verb: str) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; nothing elsewhere, where the lines themselves show progress."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda: bar.advance(task)
