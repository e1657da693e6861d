"""Metrics of the steps on their way from the device to the log, without the loop waiting for them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxspk.training._progress import Progress
from jaxspk.training._run import Run
from jaxspk.training._state import TrainState
from jaxspk.training._tally import Tally


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A line of the log whose numbers may not have been computed yet."""

    step: int
    means: dict[str, Array]
    skipped: Any  # an Array; `is_ready` is missing from its type
    times: dict[str, float | None]


class StepMetrics:
    """Writes the means over the steps between two log points.

    Args:
      run: whose log it writes.
      stage: of the run.
      schedule: the learning rate by the number of updates.
      progress: shows the loss, too.
      tally: of the loop.
    """

    def __init__(self, run: Run, stage: str, schedule: Callable[[Any], Any], progress: Progress, tally: Tally) -> None:
        self._run, self._stage, self._progress, self._tally = run, stage, progress, tally
        self._cut = jax.jit(functools.partial(_cut, schedule))
        self._pending: _Pending | None = None
        self._before = (tally.step, tally.stepping_seconds, tally.waiting_seconds)

    def cut(self, state: TrainState, stepping_seconds: float) -> TrainState:
        """Ends an interval: takes its means and sets the sums to zero; at the same step again, does nothing.

        Args:
          state: after the last step of the interval.
          stepping_seconds: spent in steps up to now, for the pace.

        Returns:
          The state to go on with.
        """
        step, stepping, waiting = self._before
        if self._tally.step == step:
            return state
        self.write()
        means, skipped, sums, summed = self._cut(state.sums, state.summed, state.step, state.skipped, state.rate_scale)
        for array in (*means.values(), skipped):
            array.copy_to_host_async()
        spent = stepping_seconds - stepping
        times = {
            "steps_per_second": round((self._tally.step - step) / spent, 3) if spent > 0 else None,
            "data_wait_share": round(min((self._tally.waiting_seconds - waiting) / spent, 1), 4) if spent > 0 else None,
        }
        self._before = (self._tally.step, stepping_seconds, self._tally.waiting_seconds)
        self._pending = _Pending(self._tally.step, means, skipped, times)
        return dataclasses.replace(state, sums=sums, summed=summed)

    def write(self, *, only_if_ready: bool = False) -> None:
        """Writes the line that is pending, if there is one."""
        pending = self._pending
        if pending is None or (only_if_ready and not pending.skipped.is_ready()):
            return
        self._pending = None
        # The loss first; jit has sorted the rest.
        names = sorted(pending.means, key=lambda name: (name != "loss", name))
        means = {name: _shortest(pending.means[name]) for name in names}
        skipped = int(pending.skipped)
        self._run.log(pending.step, "train", stage=self._stage, times=pending.times, **means, skipped=skipped)
        shown: dict[str, float | str] = {"loss": means["loss"]}
        if (share := pending.times["data_wait_share"]) is not None:
            shown["waiting for data"] = f"{share:.1%}"
        if skipped:
            shown["skipped"] = str(skipped)
        self._progress.metrics(pending.step, shown)


def _cut(
    schedule: Callable[[Any], Any],
    sums: dict[str, Array],
    summed: Array,
    step: Array,
    skipped: Array,
    rate_scale: Array,
) -> tuple[dict[str, Array], Array, dict[str, Array], Array]:
    """(means with the last learning rate, skipped, new sums, new summed), none in the memory of an argument.

    The next step takes the arguments' memory over while the first two are still on their way to the host.
    """
    means = {name: jnp.where(summed > 0, total / summed, jnp.nan) for name, total in sums.items()}
    last_update = jnp.maximum(step - skipped - 1, 0)
    means["learning_rate"] = (schedule(last_update) * rate_scale).astype(rate_scale.dtype)
    return means, jnp.copy(skipped), jax.tree.map(jnp.zeros_like, sums), jnp.zeros_like(summed)


def _shortest(number: Array) -> float:
    """The decimal with the fewest digits that is this number in its own precision."""
    return float(str(np.asarray(number)))
