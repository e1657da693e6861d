"""Checkpoints: arrays by Orbax, everything else as JSON, and a sha-256 of every file.

Orbax does not notice a flipped bit in what it restores, so no file is read that does not match our manifest.
A checkpoint is a folder that appears whole, by a rename, and refers to no other one::

    step-00000400/
      arrays/           Orbax
      record.json       what is not an array
      manifest.sha256   one line a file, as `sha256sum -c` reads it; the first line guards the others
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxspk._files import is_unfinished, sync_folder, unfinished_name
from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.training._files import writing
from jaxspk.training._processes import processes
from jaxspk.training._progress import say

_FORMAT = 1
_MANIFEST = "manifest.sha256"
_RECORD = "record.json"
_ARRAYS = "arrays"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds.

    Attributes:
      step: the number of steps done when it was written.
      arrays: named NumPy arrays of any shape and dtype, bfloat16 included.
      record: everything else, as JSON can hold it.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one stage of a run: the newest few, verified before they are used.

    Args:
      folder: made when the first checkpoint is saved.
      keep: how many to keep; with two or more, damage to the last costs the steps since the one before.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, damaged or not, oldest first."""
        if not self.folder.is_dir():
            return []
        matches = (re.fullmatch(r"step-(\d{8,})", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
        """Writes a checkpoint; a kill at any moment leaves the earlier ones as they were.

        Args:
          step: its name; a checkpoint of the same step is replaced.
          arrays: named arrays.
          record: what is not an array.

        Raises:
          CheckpointError: the file system refuses.
          ArgumentError: JSON cannot hold the record.
        """
        described = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
        try:
            content = json.dumps({"format": _FORMAT, "step": step, "arrays": described, "record": record})
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"the state of batches must be what JSON can hold: {error}.") from None
        path = self.path(step)
        unfinished = path.with_name(unfinished_name(path.name))
        replaced = path.with_name(unfinished_name(f"{path.name}-replaced"))
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
            try:
                unfinished.mkdir()
                _write_arrays(unfinished / _ARRAYS, arrays)
                (unfinished / _RECORD).write_text(content)
                (unfinished / _MANIFEST).write_bytes(_manifest(unfinished))
                _sync_tree(unfinished)
                if path.exists():
                    path.rename(replaced)
                unfinished.rename(path)
                sync_folder(self.folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            shutil.rmtree(replaced, ignore_errors=True)
            steps = self.steps()
            # Later ones are of a history that is being written anew: they were passed over on resuming.
            done, later = [s for s in steps if s <= step], [s for s in steps if s > step]
            for old in [*done[: -self.keep], *later]:
                # Renamed first, so that a kill in between leaves no half of a checkpoint under its name.
                doomed = self.folder / unfinished_name(f"{self.path(old).name}-old")
                self.path(old).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def load(self, step: int) -> Checkpoint:
        """Reads a checkpoint after every one of its files was found as it was written.

        Args:
          step: one of :meth:`steps`.

        Returns:
          The checkpoint.

        Raises:
          CheckpointError: a file is missing, added, truncated or altered, or of a later version of jaxspk.
        """
        path = self.path(step)
        _verify(path)
        described = json.loads((path / _RECORD).read_text())
        if described["format"] != _FORMAT:
            raise CheckpointError(
                f"{path}: written in format {described['format']}, this version of jaxspk reads {_FORMAT}."
            )
        return Checkpoint(step, _read_arrays(path / _ARRAYS, described["arrays"]), described["record"])

    def latest(
        self,
        *,
        refuse: Callable[[Checkpoint], str | None] = lambda checkpoint: None,
        say: Callable[[str], None] = say,
    ) -> Checkpoint | None:
        """The newest checkpoint that is whole.

        Args:
          refuse: may find another reason not to take one, in a few words.
          say: receives one line for each checkpoint passed over.

        Returns:
          The checkpoint, or None where none was ever written.

        Raises:
          CheckpointError: there are checkpoints and none can be used.
        """
        troubles: list[str] = []
        for step in reversed(self.steps()):
            try:
                checkpoint = self.load(step)
                trouble = refuse(checkpoint)
                trouble = f"{self.path(step)}: {trouble}" if trouble else None
            except CheckpointError as error:
                trouble = str(error)
            if trouble is None:
                if troubles:
                    say(f"{troubles[0]} Going back to step {step}.")
                return checkpoint
            troubles.append(trouble)
        if troubles:
            raise CheckpointError(
                f"{troubles[0]} No other checkpoint can be used; to begin anew, remove {self.folder}."
            )
        return None

    def _remove_unfinished(self) -> None:
        for path in self.folder.iterdir():
            if is_unfinished(path):
                shutil.rmtree(path, ignore_errors=True)


def _checkpointer() -> Any:
    """Orbax's; of several processes only this one takes part, where all would wait for each other."""
    import orbax.checkpoint as ocp

    who = processes()
    if who.count == 1:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    alone = ocp.options.MultiprocessingOptions(
        primary_host=who.index, active_processes={who.index}, barrier_sync_key_prefix="jaxspk"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp

    # Orbax refuses arrays without elements; their shapes, in the record, say everything about them.
    filled = {name: np.asarray(array) for name, array in arrays.items() if array.size}
    if not filled:
        return
    with _quiet_orbax(), _checkpointer() as checkpointer:
        try:
            checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(filled))
        except OSError:
            raise
        except Exception as error:
            # Tensorstore tells of a full disk by errors of several classes, over many lines.
            raise OSError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _read_arrays(path: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    arrays = {name: np.zeros(shape, np.dtype(dtype)) for name, (dtype, shape) in described.items()}
    names = [name for name, array in arrays.items() if array.size]
    if not names:
        return arrays
    with _quiet_orbax(), _checkpointer() as checkpointer:
        filled: dict[str, np.ndarray] = checkpointer.restore(
            path.absolute(),
            args=ocp.args.PyTreeRestore(
                item=dict.fromkeys(names, 0),
                restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names},
            ),
        )
    return arrays | filled


def _manifest(folder: Path) -> bytes:
    """A line for every file below the folder, and before them their own digest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _MANIFEST)
    lines = "".join(f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths).encode()
    return f"# sha-256 of the lines below: {hashlib.sha256(lines).hexdigest()}\n".encode() + lines


def _verify(folder: Path) -> None:
    try:
        written = (folder / _MANIFEST).read_bytes()
        found = _manifest(folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: damaged, cannot be read ({error.strerror}).") from None
    if found == written:
        return
    head, _, lines = written.partition(b"\n")
    if not head.endswith(hashlib.sha256(lines).hexdigest().encode()):
        raise CheckpointError(f"{folder}: damaged, {_MANIFEST} is not as it was written.")
    before = {line[66:]: line[:64] for line in lines.decode().splitlines()}
    now = {line[66:]: line[:64] for line in found.decode().splitlines()[1:]}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            what = "missing" if name not in now else "not of it" if name not in before else "not as it was written"
            raise CheckpointError(f"{folder}: damaged, {name} is {what}.")
    raise CheckpointError(f"{folder}: damaged, {_MANIFEST} is not as it was written.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    """Flushes all files to the disk before the rename that makes them the newest checkpoint."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Orbax reports its every move through absl; what matters comes as an exception."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
