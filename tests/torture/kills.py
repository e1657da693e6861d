"""Kills trainings at random moments: `python -m tests.torture.kills --minutes 2`.

Each case is a training that is killed (SIGKILL) twice at random moments and then left to finish; parameters, optimiser,
random state, best model, place in the data and log must be, bit by bit, those of a training left alone. The training is
that of `python -m tests.training.kill_resume`.
"""

import dataclasses
import random
import shutil
import sys
import time
from pathlib import Path

from tests.torture import ledger, processes
from tests.training import kill_resume

KILLS = 2


@dataclasses.dataclass(frozen=True)
class Alone:
    """What comes of the training left alone, and how long it takes."""

    folder: Path
    sums: dict[str, str]
    lines: int
    seconds: float


def begin(folder: Path) -> Alone:
    """Compiles, then trains undisturbed."""
    processes.keep_compiled(folder / "compiled")
    alone = folder / "alone"
    kill_resume.finish(kill_resume.start(kill_resume.train, folder / "compiling"), folder / "compiling")
    began = time.monotonic()
    kill_resume.finish(kill_resume.start(kill_resume.train, alone), alone)
    seconds = time.monotonic() - began
    return Alone(folder, kill_resume.found_in(alone), processes.lines_of(alone), seconds)


def outcome(alone: Alone, seed: int, number: int) -> str:
    """One training, killed and killed again."""
    folder = alone.folder / f"case-{number}"
    try:
        moments = kill_resume.trial(folder, alone.lines, alone.seconds, random.Random(f"{seed} {number}"), KILLS)
        found = kill_resume.found_in(folder)
    except RuntimeError as error:
        return f"BROKEN {' '.join(str(error).split())[:400]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    names = sorted(name for name in alone.sums.keys() | found.keys() if alone.sums.get(name) != found.get(name))
    if names:
        return f"BROKEN killed at {' and '.join(moments)}: different {', '.join(names)}"
    saving = sum("in a save" in moment for moment in moments)
    ended = sum(moment == "the end" for moment in moments)
    return f"{KILLS - ended} kills, {saving} in a save: identical"


TORTURE = ledger.Torture(
    name="kills",
    what="trainings killed twice at random moments (SIGKILL), then left to finish: all they save and log is bit by bit "
    "that of one left alone",
    total=500,
    chunk=10,
    begin=begin,
    outcome=outcome,
    seconds=600.0,
)

if __name__ == "__main__":
    sys.exit(ledger.main(TORTURE, __doc__))
