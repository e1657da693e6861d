"""``jaxspk corpus``."""

import dataclasses
import json
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Say what a folder of speech holds, how it was understood, and what is wrong with it.

    Example: jaxspk corpus ~/LibriSpeech
    """

    path: tyro.conf.Positional[Path]
    """Speech in any layout of docs/data.md: a folder, or a table (.csv) with at least the columns path and speaker."""
    layout: str = "auto"
    """How the recordings are laid out, if "auto" is mistaken."""
    decode: bool = False
    """Decode every recording too: finds silence, damage behind the header, and doubles."""
    problems: int = 20
    """Problems to print; 0 prints none."""
    json: bool = False
    """Print one JSON document, with all problems."""


def run(options: Options) -> int:
    """Prints the summary; 1 if anything is wrong."""
    from jaxspk import data

    scan = data.read_corpus(options.path, options.layout, decode=options.decode)
    summary = data.summarize(scan)
    if options.json:
        print(json.dumps(summary, indent=2))
        return 1 if scan.problems else 0
    for name, value in summary.items():
        if name != "problems":
            print(f"{name:<12} {value}")
    print(f"{'problems':<12} {len(scan.problems)}")
    for problem in scan.problems[: options.problems]:
        print(f"  {problem.path}: {problem.message}")
    hidden = len(scan.problems) - max(options.problems, 0)
    if options.problems and hidden > 0:
        print(f"  and {hidden} more: --problems {len(scan.problems)}, or --json")
    return 1 if scan.problems else 0
