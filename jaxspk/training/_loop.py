"""The one training loop: model, loss and batches in, a trained model out; killed anywhere, it resumes."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import PyTree

from jaxspk.errors import ArgumentError, TrainingError
from jaxspk.training._arrays import digest, from_named_arrays, to_named_arrays
from jaxspk.training._checkpoints import Checkpoint
from jaxspk.training._fit_config import FitConfig
from jaxspk.training._optimizers import make_optimizer, make_schedule
from jaxspk.training._pace import Pace
from jaxspk.training._parallel import Placement, own_rows
from jaxspk.training._processes import from_leader, peers_needed, processes
from jaxspk.training._profile import Profile
from jaxspk.training._progress import Progress
from jaxspk.training._result import FitResult
from jaxspk.training._run import Run
from jaxspk.training._saves import Saves
from jaxspk.training._state import TrainState, init_state
from jaxspk.training._step import (
    RESERVED,
    Batch,
    BatchIterator,
    Loss,
    make_objective,
    make_step,
    metric_shapes,
    split_model,
)
from jaxspk.training._step_metrics import StepMetrics
from jaxspk.training._tally import Tally
from jaxspk.training._watchdog import SLOW, Watchdog, is_supervised

# Steps sent to the device before the first of them must be done: enough to keep it busy, few enough to hold
# their batches in memory and to notice bad steps soon.
_STEPS_AHEAD = 4

_Model = TypeVar("_Model", bound=nnx.Module)


def fit(
    model: _Model,
    loss: Loss,
    batches: BatchIterator,
    config: FitConfig,
    *,
    key: Any,
    run: Run,
    validate: Callable[[Any], Mapping[str, float]] | None = None,
    stage: str = "",
    progress: bool = True,
) -> FitResult[_Model]:
    """Trains a model, or goes on training it where a killed process left off.

    Called again with the same arguments and a :class:`Run` on the same folder, it ends in the same state, bit
    by bit, and the same metrics.jsonl but for its times, as if it had never been interrupted (on the same
    machine, versions and number of threads). Called again after its end, it returns the same result at once.

    On several devices (``config.parallel``) the batch is divided between them; in several processes
    (:func:`connect`) the same call in all of them trains one model; each feeds its rows of every batch, and ``batches``
    may make these alone, which it tells by an attribute ``shard_count`` (those of :mod:`jaxspk.data` do).
    Both change the last digits of the numbers and nothing else, and a run may go on with more or fewer.

    A curriculum is several calls with different stages in one run, each beginning with the model before it::

        short = fit(model, loss, short_batches, config.short, key=key_1, run=run, stage="short")
        final = fit(short.model, loss, long_batches, config.long, key=key_2, run=run, stage="long")

    Args:
      model: trained in a copy; its ``nnx.Param`` are learned, its other variables follow the steps.
      loss: called as ``loss(model, batch, key)`` inside ``jax.jit``, gives a scalar and a dictionary of
        scalars to log. ``key`` is new at every step.
      batches: endless; every batch of the same shapes, or the step is compiled again.
      config: how long to train, and what happens on the way.
      key: a JAX key; everything random in the loop derives from it and the step.
      run: where checkpoints and metrics go.
      validate: gives scores of a model by name, ``config.score`` among them; must depend on nothing but the
        model, or a resumed run may differ.
      stage: name of this part of the run, needed where there is more than one.
      progress: whether to show a bar on a terminal, lines elsewhere.

    Returns:
      The models and how the training went.

    Raises:
      TrainingError: the steps stay non-finite, or the batches end.
      CheckpointError: the checkpoints are of another model or config, are all damaged, or cannot be written.
      ArgumentError: an argument does not fit the others.
    """
    run.begin_stage(stage)
    return _Fit(model, loss, batches, config, key, run, validate, stage, progress).result()


class _Fit(Generic[_Model]):
    """One call of :func:`fit`."""

    def __init__(
        self,
        model: _Model,
        loss: Loss,
        batches: BatchIterator,
        config: FitConfig,
        key: Any,
        run: Run,
        validate: Callable[[Any], Mapping[str, float]] | None,
        stage: str,
        progress: bool,
    ) -> None:
        self._batches, self._config, self._run = batches, config, run
        self._validate, self._stage = validate, stage
        self._key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
        self._graph, self._params, self._rest = split_model(model)
        self._optimizer = make_optimizer(config.optimizer, config.steps)
        self._objective = make_objective(
            self._graph, loss, None if config.compute_dtype == "float32" else config.compute_dtype
        )
        begin = {"params": self._params, "rest": self._rest, "key": self._key}
        self._saves = Saves(run, stage, config, digest(to_named_arrays(begin, "begin")))
        self._compilations = 0
        self._tally = Tally()
        self._best: dict[str, np.ndarray] = {}
        self._bad_runs: collections.deque[Array] = collections.deque()
        self._stepping_since: float | None = None
        leading = processes().is_leader
        self._progress = Progress(stage or "training", total=config.steps, shown=progress, silent=not leading)
        self._profile = Profile(run.folder / "profile" / stage if config.profile and leading else None)
        self._watchdog = Watchdog(config.parallel.stuck_after_seconds, active=processes().count > 1 or is_supervised())

    def result(self) -> FitResult[_Model]:
        """Trains what is left to train."""
        checkpoint = self._saves.latest(self._progress.say)
        if checkpoint is not None:
            self._tally = Tally(**checkpoint.record["tally"])
            if self._tally.finished is not None:
                self._progress.note(f"was finished at step {self._tally.step}.")
                return self._finished_result(checkpoint)
        self._began = time.monotonic() - self._tally.seconds
        with peers_needed(lambda: f"near step {self._tally.step}"), self._watchdog:
            self._watchdog.begin("the first batch", patience=SLOW)
            if checkpoint is not None:
                self._batches.set_state(checkpoint.record["batches"])
            batch = self._next_batch()
            self._begin(batch, checkpoint)
            with Pace() as self._pace, self._progress:
                if checkpoint is not None and self._out_of_time():
                    self._stop_in_time()
                else:
                    self._train(batch)
            self._profile.finish(self._progress.say)
            return self._make_result(self._local(self._state.params), self._local(self._state.rest))

    def _begin(self, batch: Batch, checkpoint: Checkpoint | None) -> None:
        metrics = metric_shapes(self._objective, self._params, self._rest, batch, self._key)
        state = init_state(self._params, self._rest, self._optimizer, self._key, metrics)
        if checkpoint is not None:
            where = self._saves.place(checkpoint.step)
            state = from_named_arrays(state, checkpoint.arrays, "state", where)
            self._best = {name: array for name, array in checkpoint.arrays.items() if name.startswith("best/")}
            self._progress.note(f"resumed at step {checkpoint.step} of {self._config.steps}.")
        self._placement = Placement(self._config.parallel, batch, parts=self._config.accumulate)
        if self._placement.note:
            self._progress.note(self._placement.note)
        self._step = jax.jit(self._counted_step(), donate_argnums=0)
        self._state: TrainState = self._placement.put_state(state)
        self._local = self._placement.local
        self._progress.begin(self._tally.step)
        schedule = make_schedule(self._config.optimizer, self._config.steps)
        self._metrics = StepMetrics(self._run, self._stage, schedule, self._progress, self._tally)

    # --- The loop. ---

    def _train(self, batch: Batch) -> None:
        config, tally = self._config, self._tally
        while True:
            self._advance(batch)
            last = tally.step == config.steps
            if last or tally.step % config.log_every == 0:
                self._cut_metrics()
            if last or tally.step % config.validate_every == 0:
                tally.finished = self._validated_finish()
            if last:
                tally.finished = tally.finished or "steps"
            if tally.finished:
                self._cut_metrics()
            if tally.finished or tally.step % config.checkpoint_every == 0:
                self._save()
            if tally.finished:
                return
            # Before the next batch is fetched: the state of the data saved here is that after this step.
            if self._out_of_time():
                return self._stop_in_time()
            batch = self._next_batch()

    def _advance(self, batch: Batch) -> None:
        """Sends a step to the device, and looks at the one sent a few steps ago."""
        first = self._stepping_since is None
        self._watchdog.begin(f"step {self._tally.step + 1}", patience=SLOW if first else 1.0)
        self._profile.step()
        with self._profile.phase("transfer") as wait:
            placed = self._placement.put_batch(batch)
            wait(placed)
        with self._profile.phase("compiling" if first else "step") as wait, self._placement.entered():
            self._state, bad_run = self._step(self._state, placed)
            wait(bad_run)
        bad_run.copy_to_host_async()
        self._pace.sent(bad_run)
        self._bad_runs.append(bad_run)
        self._tally.step += 1
        if first:
            # The first step compiles, which is no time in which data could be waited for.
            bad_run.block_until_ready()
            self._stepping_since = time.perf_counter()
        while len(self._bad_runs) > _STEPS_AHEAD:
            self._check_bad_run(self._bad_runs.popleft())
        self._metrics.write(only_if_ready=True)
        self._progress.step(self._tally.step, seconds_left=self._seconds_left())

    def _next_batch(self) -> Batch:
        began = time.perf_counter()
        if self._stepping_since is not None:
            self._watchdog.begin(f"making the batch of step {self._tally.step + 1}")
        try:
            with self._profile.phase("data"):
                batch = own_rows(next(self._batches), getattr(self._batches, "shard_count", 1))
        except StopIteration:
            raise TrainingError(
                f"the batches ended at step {self._tally.step} of {self._config.steps}; they must not end."
            ) from None
        if self._stepping_since is not None:
            self._tally.waiting_seconds += self._pace.idle(began, time.perf_counter())
        return batch

    def _check_bad_run(self, bad_run: Array) -> None:
        bad, optimizer = int(bad_run), self._config.optimizer
        if bad < self._config.max_consecutive_bad_steps:
            return
        norm = optimizer.clip_norm
        clipping = "set `clip_norm`" if norm is None else f"lower `clip_norm` ({norm:g})"
        saved = self._saves.steps()
        last = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
        raise TrainingError(
            f"loss or gradient was not finite in {bad} steps in a row, up to about step {self._tally.step}; "
            f"lower `learning_rate` ({optimizer.learning_rate:g}), {clipping}, or look at the batches and "
            f"the loss ({last})."
        )

    @contextlib.contextmanager
    def _paused(self) -> Iterator[None]:
        """All steps done and looked at, all metrics written; what happens inside is no training time."""
        while self._bad_runs:
            self._check_bad_run(self._bad_runs.popleft())
        self._metrics.write()
        self._tally.stepping_seconds = self._stepping_seconds()
        self._watchdog.begin(f"validating or saving after step {self._tally.step}", patience=SLOW)
        yield
        self._stepping_since = time.perf_counter()

    def _stepping_seconds(self) -> float:
        now = time.perf_counter()
        return self._tally.stepping_seconds + now - (self._stepping_since or now)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _seconds_left(self) -> float | None:
        return None if self._config.max_minutes is None else 60 * self._config.max_minutes - self._seconds()

    def _out_of_time(self) -> bool:
        left = self._seconds_left()
        if left is None or (processes().count > 1 and self._tally.step % self._config.log_every):
            # Of several processes one clock decides, and is not asked at every step.
            return False
        over: bool = from_leader(lambda: left <= 0)
        return over

    def _stop_in_time(self) -> None:
        """Saves the state between two steps, so that with more time the run goes on as if never stopped.

        The validation comes after that: it chooses the model of the result and is no part of the history.
        """
        tally, config = self._tally, self._config
        stepped = self._stepping_since is not None
        self._progress.say(
            f"{self._progress.title}: stopped by its time budget of {config.max_minutes:g} minutes at step "
            f"{tally.step} of {config.steps}; with a larger `max_minutes` it goes on."
        )
        if tally.step not in self._saves.steps():
            self._save()
        if tally.step % config.validate_every:
            self._validated_finish()
        if stepped:
            # An earlier process may have come further before it was killed.
            self._run.metrics.truncate()

    # --- Metrics, validation, checkpoints. ---

    def _cut_metrics(self) -> None:
        self._state = self._metrics.cut(self._state, self._stepping_seconds())

    def _validated_finish(self) -> Literal["patience"] | None:
        """Validates; says whether that ends the training."""
        if self._validate is None:
            return None
        config, tally = self._config, self._tally
        with self._paused(), self._profile.phase("evaluation"):
            params, rest = self._local(self._state.params), self._local(self._state.rest)
            scores = self._scores(self._validate, params, rest)
            if clash := (RESERVED - {"loss"}) & set(scores):
                raise ArgumentError(f"`validate` must not give a score named {min(clash)!r}: the loop's own is.")
            if config.score not in scores:
                raise ArgumentError(
                    f"`score` of FitConfig is {config.score!r}, but `validate` gives {', '.join(scores) or 'nothing'}."
                )
            self._run.log(tally.step, "validation", stage=self._stage, **scores)
            self._progress.metrics(
                tally.step, {f"validation {name}": float(scores[name]) for name in scores}, always=True
            )
            score = float(scores[config.score])
            if tally.note_score(score, higher_is_better=config.higher_is_better):
                self._best = to_named_arrays({"params": params, "rest": rest}, "best")
            else:
                self._lower_rate_on_plateau()
        return "patience" if config.patience and tally.validations_since_best >= config.patience else None

    def _scores(self, validate: Callable[[Any], Mapping[str, float]], params: PyTree, rest: PyTree) -> dict[str, Any]:
        """What a validation by the first process gives, in all of them."""
        scores: dict[str, Any] = from_leader(lambda: dict(validate(nnx.merge(self._graph, params, rest, copy=True))))
        return scores

    def _lower_rate_on_plateau(self) -> None:
        optimizer, tally = self._config.optimizer, self._tally
        if optimizer.schedule == "plateau" and tally.validations_on_plateau >= optimizer.plateau_patience:
            tally.validations_on_plateau = 0
            self._state = dataclasses.replace(self._state, rate_scale=self._state.rate_scale * 0.5)

    def _save(self) -> None:
        with self._paused(), self._profile.phase("checkpoint"):
            self._tally.seconds = self._seconds()
            self._tally.skipped = int(self._state.skipped)
            arrays = to_named_arrays(self._local(self._state), "state") | self._best
            self._saves.save(arrays, self._tally, self._batches.get_state())

    # --- The result. ---

    def _finished_result(self, checkpoint: Checkpoint) -> FitResult[_Model]:
        where = self._saves.place(checkpoint.step)
        self._best = {name: array for name, array in checkpoint.arrays.items() if name.startswith("best/")}
        params = from_named_arrays(self._params, checkpoint.arrays, "state/params", where)
        rest = from_named_arrays(self._rest, checkpoint.arrays, "state/rest", where)
        return self._make_result(params, rest)

    def _make_result(self, params: PyTree, rest: PyTree) -> FitResult[_Model]:
        tally = self._tally
        last: _Model = nnx.merge(self._graph, params, rest, copy=True)
        best = last
        if self._best:
            template = {"params": self._params, "rest": self._rest}
            restored = from_named_arrays(template, self._best, "best", self._saves.folder)
            best = nnx.merge(self._graph, restored["params"], restored["rest"], copy=True)
        return FitResult(
            model=best,
            last=last,
            step=tally.step,
            best_step=tally.best_step if self._best else tally.step,
            best_score=tally.best_score,
            skipped=tally.skipped,
            stopped=tally.finished or "time budget",
            data_wait_share=tally.data_wait_share,
            seconds=tally.seconds,
            compilations=self._compilations,
        )

    def _counted_step(self) -> Any:
        step = make_step(
            self._objective,
            self._optimizer,
            weight_noise=self._config.weight_noise,
            parts=self._config.accumulate,
            gathered=self._placement.gathered,
        )

        def counted(state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
            # Runs when traced only.
            self._compilations += 1
            self._watchdog.begin("compiling a step", patience=SLOW)
            new_state, bad_run = step(state, batch)
            return self._placement.kept(new_state), bad_run

        return counted
