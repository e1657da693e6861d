"""Flips bits of checkpoints and resumes: `python -m tests.torture.checkpoints --minutes 2`.

Three checkpoints lie in a folder. A bit of any file of the newest is flipped (now and then the file is cut, removed or
given another's content); loading it must be refused in one line that names it, and the one before, bit by bit as it was
saved, must be found instead. In one case of ten all are damaged: then there must be an error and no checkpoint.
"""

import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import orbax.checkpoint  # noqa: F401  # before the forks, not in each of them

from jaxspk.errors import CheckpointError
from jaxspk.training import Checkpoints
from tests.torture import ledger

STEPS = (2, 4, 6)


class Saved(NamedTuple):
    """A folder of checkpoints as they were saved, and one to damage."""

    sound: Path
    folder: Path


def arrays_of(step: int) -> dict[str, np.ndarray]:
    """What a state is made of: shapes and dtypes of all kinds."""
    rng = np.random.default_rng(step)
    return {
        "params/kernel": rng.normal(size=(17, 24)).astype(np.float32),
        "params/half": rng.normal(size=50).astype(ml_dtypes.bfloat16),
        "optimizer/count": np.array(step, np.int32),
        "optimizer/empty": np.zeros((0, 3), np.float32),
        "random/key": rng.integers(0, 2**32, 2, dtype=np.uint32),
    }


def begin(folder: Path) -> Saved:
    """Saves them once."""
    checkpoints = Checkpoints(folder / "sound", keep=len(STEPS))
    for step in STEPS:
        checkpoints.save(step, arrays_of(step), {"batches": {"index": step}, "note": "x" * 200})
    return Saved(folder / "sound", folder / "damaged")


def outcome(saved: Saved, seed: int, number: int) -> str:
    """Damages one file of the newest checkpoint, or of all, and looks for the newest that is whole."""
    rng = np.random.default_rng([seed, number])
    shutil.rmtree(saved.folder, ignore_errors=True)
    shutil.copytree(saved.sound, saved.folder)
    checkpoints = Checkpoints(saved.folder, keep=len(STEPS))
    every = rng.random() < 0.1
    kinds = {damage(checkpoints.path(step), rng) for step in (STEPS if every else STEPS[-1:])}
    kind = f"{'all: ' if every else ''}{' and '.join(sorted(kinds)) if not every else 'damaged'}"
    newest = checkpoints.path(STEPS[-1])
    try:
        checkpoints.load(STEPS[-1])
        return f"BROKEN {kind}: not noticed"
    except CheckpointError as error:
        what = ledger.refused(error, str(newest))
        if what.startswith("BROKEN"):
            return what
    said: list[str] = []
    try:
        found = checkpoints.latest(say=said.append)
    except CheckpointError as error:
        what = ledger.refused(error, str(newest))
        return f"{kind}: {what}" if every or what.startswith("BROKEN") else f"BROKEN {kind}: {error}"
    if every:
        return "BROKEN all damaged: something was found"
    if found is None or found.step != STEPS[-2] or not same(found.arrays, arrays_of(STEPS[-2])):
        return f"BROKEN {kind}: not the one before"
    return f"{kind}: the one before" if len(said) == 1 and "\n" not in said[0] else f"BROKEN said {said!r}"


def damage(folder: Path, rng: np.random.Generator) -> str:
    """Changes one file, the larger the likelier by half; says how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = np.array([path.stat().st_size for path in files], float)
    chances = 0.5 * sizes / sizes.sum() + 0.5 / len(files)
    path = files[int(rng.choice(len(files), p=chances))]
    content = bytearray(path.read_bytes())
    draw = rng.random()
    if draw < 0.8 and content:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        return "a bit flipped"
    if draw < 0.9 and content:
        path.write_bytes(bytes(content[: int(rng.integers(len(content)))]))
        return "a file cut"
    path.unlink()
    return "a file removed"


def same(found: Any, expected: dict[str, np.ndarray]) -> bool:
    """Bit by bit."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


TORTURE = ledger.Torture(
    name="checkpoints",
    what="bits flipped in (and files cut from) the newest of three checkpoints, or in all: noticed, and the one before "
    "found bit by bit as it was saved",
    total=1_000,
    chunk=100,
    begin=begin,
    outcome=outcome,
    seconds=60.0,
)

if __name__ == "__main__":
    sys.exit(ledger.main(TORTURE, __doc__))
