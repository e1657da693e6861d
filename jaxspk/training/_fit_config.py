"""What a training is told."""

import dataclasses
from typing import Literal

from jaxspk._checks import check_choice, check_range
from jaxspk.training._config import MAY_CHANGE, may_change
from jaxspk.training._optimizers import OptimizerConfig
from jaxspk.training._parallel import ParallelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long to train, and what happens on the way."""

    steps: int = 1000
    """Training steps; one batch each."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which the model gets its parameters; they are kept and updated in their own."""
    accumulate: int = 1
    """Parts that a batch is cut into (rows k, k + accumulate, ...), one after another in memory, for one update by the
    mean of their gradients. A loss that compares rows then sees those of a part, and batch norm takes its statistics
    from it."""
    weight_noise: float = 0.0
    """Standard deviation of the noise on the parameters at which the gradient is taken."""
    log_every: int = 50
    """Steps between two lines of metrics.jsonl, each with the means over these steps."""
    validate_every: int = 500
    """Steps between two validations; the last step is always followed by one."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; the last step is always followed by one."""
    keep_checkpoints: int = 2
    """The newest ones that are kept; each also holds the best model so far."""
    score: str = "loss"
    """Which number of the validation tells the best model."""
    higher_is_better: bool = False
    """Whether the best score is the largest."""
    patience: int | None = None
    """Validations in a row without a new best after which training stops; None goes on to the last step."""
    max_consecutive_bad_steps: int = 20
    """Steps in a row with a non-finite loss or gradient after which training gives up; each is skipped."""
    max_minutes: float | None = may_change(None)
    """Time, over all resumptions, after which training stops with a checkpoint; given more, it goes on."""
    parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig, metadata=MAY_CHANGE)
    """Devices, and when a step is taken for stuck; a resumed run may have more or fewer."""
    profile: bool = may_change(False)
    """Measure where the time goes, phase by phase, and trace five steps: a table on the console, and `profile/` in the
    run directory."""

    def __post_init__(self) -> None:
        check_choice("compute_dtype", self.compute_dtype, ("float32", "bfloat16"))
        counts = ("steps", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "accumulate")
        for name in (*counts, "max_consecutive_bad_steps"):
            check_range(name, getattr(self, name), low=1)
        check_range("weight_noise", self.weight_noise, low=0)
        if self.patience is not None:
            check_range("patience", self.patience, low=1)
        if self.max_minutes is not None:
            check_range("max_minutes", self.max_minutes, low=0, low_open=True)
