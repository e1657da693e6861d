"""The saves of one call of ``fit``: which of them it may go on from, and how one is made.

Of several processes the leader alone reads and writes them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxspk.errors import CheckpointError
from jaxspk.training._checkpoints import Checkpoint, Checkpoints
from jaxspk.training._config import config_differences, config_from_dict, config_to_dict
from jaxspk.training._fit_config import FitConfig
from jaxspk.training._log import LogPosition
from jaxspk.training._processes import arrays_from_leader, check_equal, from_leader, processes
from jaxspk.training._run import Run
from jaxspk.training._tally import Tally


class Saves:
    """Checkpoints of a stage of a run.

    Args:
      run: whose folder they lie in, and whose log has a place in each.
      stage: of the run.
      config: what the training was told.
      begun_with: digest of what it begins with: model and key.
    """

    def __init__(self, run: Run, stage: str, config: FitConfig, begun_with: str) -> None:
        self._run, self._config, self._begun_with = run, config, begun_with
        self._checkpoints = Checkpoints(run.checkpoints / stage, keep=config.keep_checkpoints)
        check_equal(begun_with, "a model or key")

    @property
    def folder(self) -> str:
        """Where they lie."""
        return str(self._checkpoints.folder)

    def place(self, step: int) -> str:
        """Where that of a step lies."""
        return str(self._checkpoints.path(step))

    def steps(self) -> list[int]:
        """Of which there is one."""
        found: list[int] = from_leader(self._checkpoints.steps)
        return found

    def latest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest one that is whole and belongs to this training, with the log gone to its place.

        Raises:
          CheckpointError: none can be used though there are some, or it is of another config.
        """
        if processes().count == 1:
            checkpoint = self._find(say)
        else:
            found: list[Checkpoint | None] = []

            def find() -> dict[str, Any] | None:
                found.append(self._find(say))
                newest = found[0]
                return None if newest is None else {"step": newest.step, "record": newest.record}

            told = from_leader(find)
            if told is None:
                return None
            arrays = arrays_from_leader(found[0].arrays if found and found[0] else None)
            checkpoint = Checkpoint(told["step"], arrays, told["record"])
        if checkpoint is not None:
            self._run.metrics.seek(LogPosition(**checkpoint.record["log"]))
        return checkpoint

    def save(self, arrays: Mapping[str, np.ndarray], tally: Tally, batches: Mapping[str, Any]) -> None:
        """Makes one; of several processes, none goes on before it is made.

        Args:
          arrays: of the state and the best model.
          tally: of the loop.
          batches: where they stand.

        Raises:
          CheckpointError: the file system refuses.
          ArgumentError: JSON cannot hold the state of the batches.
        """
        record = {
            "config": config_to_dict(self._config),
            "begun_with": self._begun_with,
            "batches": batches,
            "tally": dataclasses.asdict(tally),
            "log": dataclasses.asdict(self._run.metrics.position),
        }

        def write() -> None:
            self._run.metrics.sync()
            self._checkpoints.save(tally.step, arrays, record)

        from_leader(write)

    def _find(self, say: Callable[[str], None]) -> Checkpoint | None:
        checkpoint = self._checkpoints.latest(refuse=self._refuse, say=say)
        if checkpoint is not None:
            self._check_config(checkpoint)
        return checkpoint

    def _refuse(self, checkpoint: Checkpoint) -> str | None:
        """What speaks against going on from a checkpoint, in a few words."""
        if checkpoint.record.get("begun_with") != self._begun_with:
            return "begun with another model or key than the ones given now."
        if not self._run.metrics.holds(LogPosition(**checkpoint.record["log"])):
            return "the lines of metrics.jsonl up to it are not as they were written."
        return None

    def _check_config(self, checkpoint: Checkpoint) -> None:
        where = self.place(checkpoint.step)
        before = config_from_dict(FitConfig, checkpoint.record["config"], where=where)
        if different := config_differences(before, self._config):
            names = ", ".join(f"`{name}`" for name in different)
            raise CheckpointError(
                f"{where}: trained with another FitConfig, different in {names}; take another folder, or the "
                "config it was begun with."
            )
