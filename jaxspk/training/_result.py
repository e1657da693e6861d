"""What comes of a training."""

import dataclasses
from typing import Generic, Literal, TypeVar

from flax import nnx

_Model = TypeVar("_Model", bound=nnx.Module)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult(Generic[_Model]):
    """What came of a training.

    Attributes:
      model: the one with the best validation score; the last one where nothing was validated.
      last: the model after the last step.
      step: steps done.
      best_step: the step of ``model``.
      best_score: its score, None where nothing was validated.
      skipped: steps that were not finite and changed nothing.
      stopped: what ended it: its steps, its patience, or its time.
      data_wait_share: part of the training time in which the device had nothing to do but wait for data.
      seconds: time spent, resumptions added up.
      compilations: how often the step was compiled by this process; more than once if batches change shape.
    """

    model: _Model
    last: _Model
    step: int
    best_step: int
    best_score: float | None
    skipped: int
    stopped: Literal["steps", "patience", "time budget"]
    data_wait_share: float
    seconds: float
    compilations: int
