"""What the loop counts on the host; part of every checkpoint."""

import dataclasses
import math
from typing import Literal


@dataclasses.dataclass
class Tally:
    """Steps, scores and times.

    Attributes:
      step: steps sent to the device.
      skipped: of them, not finite, when last looked at.
      best_step: step of the best validation.
      best_score: its score; None before the first finite one.
      validations_since_best: validations since then.
      validations_on_plateau: the same, since the learning rate was last lowered.
      finished: what ended the training, None before its end.
      seconds: spent in all, when last saved; this and the next two differ when a run is repeated.
      stepping_seconds: of them, in steps: without compiling, validating and saving.
      waiting_seconds: of these, in which the device waited for data.
    """

    step: int = 0
    skipped: int = 0
    best_step: int = 0
    best_score: float | None = None
    validations_since_best: int = 0
    validations_on_plateau: int = 0
    finished: Literal["steps", "patience"] | None = None
    seconds: float = 0.0
    stepping_seconds: float = 0.0
    waiting_seconds: float = 0.0

    @property
    def data_wait_share(self) -> float:
        """The part of the time in steps that was spent in waiting for data."""
        return min(self.waiting_seconds / self.stepping_seconds, 1.0) if self.stepping_seconds else 0.0

    def note_score(self, score: float, *, higher_is_better: bool) -> bool:
        """Counts a validation; says whether it is the best so far. One that is not finite never is."""
        best = self.best_score
        better = best is None or (score > best if higher_is_better else score < best)
        if math.isfinite(score) and better:
            self.best_step, self.best_score = self.step, score
            self.validations_since_best = self.validations_on_plateau = 0
            return True
        self.validations_since_best += 1
        self.validations_on_plateau += 1
        return False
