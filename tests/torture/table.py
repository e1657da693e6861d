"""Writes docs/reliability.md from what the torture commands counted: `python -m tests.torture.table`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from jaxspk import reports
from jaxspk.reports import Table
from tests.torture import ledger

COMMANDS = {
    "models": "make torture-models",
    "checkpoints": "make torture-checkpoints",
    "kills": "make torture-kills",
    "failing disk": "make torture-disk",
    "systems": "make torture-systems",
    "text": "make torture-text",
    "audio": "make fuzz-audio",
}
"""What counts each line up."""

AUDIO = Path("build/fuzz-audio.json")


def audio_line(state: Path) -> dict[str, Any]:
    """What `python -m tests.audio.fuzz` counted, in the form of the other lines."""
    counted = json.loads(state.read_text())
    made = reports.provenance(seed=counted["seed"])
    return {
        "what": "damaged recordings of all formats: read, or one error of one line; nothing printed, no crash, no "
        "hang, no sample that is not finite, no flood of memory",
        "total": 1_000_000,
        "seed": counted["seed"],
        "done": counted["done"],
        "broken": counted["broken"],
        "outcomes": counted["outcomes"],
        "slowest_seconds": round(counted["slowest"], 3),
        "cpu_seconds": None,
        "date": made.date,
        "commit": made.commit,
    }


def write(state: Path, page: Path) -> Path:
    """Makes the page of the state."""
    lines = ledger.read(state)
    rows: list[list[reports.Cell]] = []
    for name, command in COMMANDS.items():
        if name not in lines:
            continue
        line = lines[name]
        minutes = None if line["cpu_seconds"] is None else line["cpu_seconds"] / 60
        rows.append([command, line["done"], line["total"], len(line["broken"]), line["slowest_seconds"], minutes])
    columns = ["Command", "Cases so far", "Wanted", "Rules broken", "Slowest case (s)", "CPU time (min)"]
    outcomes: list[list[reports.Cell]] = [
        [name, what, times]
        for name in COMMANDS
        if name in lines
        for what, times in sorted(lines[name]["outcomes"].items(), key=lambda item: (-item[1], item[0]))
    ]
    about = "\n".join(
        f"- **{name}**: {lines[name]['what']}. Seed {lines[name]['seed']}, last counted {lines[name]['date']} at "
        f"{lines[name]['commit'] or 'no commit'}."
        for name in COMMANDS
        if name in lines
    )
    return reports.write_results_markdown(
        page,
        "Hard to break",
        [
            Table(columns, rows, "Each command goes on where it stopped and may be stopped at any time."),
            Table(["Line", "What came of it", "Cases"], outcomes, "What came of the cases."),
        ],
        reports.provenance(),
        introduction="Cases are functions of a seed and a number, so that every one can be run again (`--case`).\n\n"
        + about,
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, default=ledger.STATE)
    parser.add_argument(
        "--audio", type=Path, default=AUDIO, help="counts of `python -m tests.audio.fuzz`, if there are"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/reliability.md"))
    arguments = parser.parse_args()
    if arguments.audio.is_file():
        ledger.keep(arguments.state, "audio", audio_line(arguments.audio))
    if not ledger.read(arguments.state):
        sys.exit(f"{arguments.state}: nothing was counted yet; run one of {', '.join(COMMANDS.values())}.")
    print(f"written: {write(arguments.state, arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
