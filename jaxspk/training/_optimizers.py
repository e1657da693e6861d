"""Optimisers and the schedules of their learning rates."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from jaxtyping import PyTree

from jaxspk._checks import check_choice, check_range
from jaxspk.errors import ArgumentError

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine", "exponential", "plateau")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients change the parameters."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """The rule; adamw is Adam with decoupled weight decay."""
    learning_rate: float = 1e-3
    """After the warm-up and before any decay."""
    momentum: float = 0.9
    """Of sgd and rmsprop; beta 1 of adam and adamw."""
    schedule: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    """How the learning rate falls: not at all; to `final_fraction` over the steps, along half a cosine or
    geometrically; or by half whenever validation has not improved `plateau_patience` times in a row."""
    final_fraction: float = 0.01
    """Of cosine and exponential: the last learning rate over the first."""
    plateau_patience: int = 3
    """Of plateau: validations without improvement before the learning rate is halved."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    clip_norm: float | None = None
    """Gradients with a larger norm (over all parameters together) are scaled down to it; None leaves them."""
    weight_decay: float = 0.0
    """Pull towards zero on matrices and kernels (arrays of two or more axes): decoupled in adamw, added to
    the gradient in the others."""

    def __post_init__(self) -> None:
        check_choice("name", self.name, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_range("learning_rate", self.learning_rate, low=0, low_open=True)
        check_range("momentum", self.momentum, low=0, high=1)
        check_range("final_fraction", self.final_fraction, low=0, high=1)
        check_range("plateau_patience", self.plateau_patience, low=1)
        check_range("warmup_steps", self.warmup_steps, low=0)
        check_range("weight_decay", self.weight_decay, low=0)
        if self.clip_norm is not None:
            check_range("clip_norm", self.clip_norm, low=0, low_open=True)
        if self.schedule == "exponential" and self.final_fraction == 0:
            raise ArgumentError("`final_fraction` must be above 0 for the exponential schedule, got 0.")


def make_schedule(config: OptimizerConfig, steps: int) -> Callable[[Any], Any]:
    """The learning rate as a function of the number of updates made (skipped steps make none).

    Args:
      config: the optimiser's.
      steps: after how many a decay ends, the warm-up included.

    Returns:
      A function of an integer or an integer array; a plateau's factor comes on top of it.
    """
    rate, last = config.learning_rate, config.learning_rate * config.final_fraction
    decay: Callable[[Any], Any]
    decay_steps = max(steps - config.warmup_steps, 1)
    if config.schedule == "cosine":
        decay = optax.schedules.cosine_decay_schedule(rate, decay_steps, config.final_fraction)
    elif config.schedule == "exponential":
        decay = optax.schedules.exponential_decay(rate, decay_steps, config.final_fraction, end_value=last)
    else:
        decay = optax.schedules.constant_schedule(rate)
    if not config.warmup_steps:
        return decay
    # The first update already moves: a warm-up from exactly zero would waste a step.
    warmup = optax.schedules.linear_schedule(rate / config.warmup_steps, rate, max(config.warmup_steps - 1, 1))
    joined: Callable[[Any], Any] = optax.schedules.join_schedules([warmup, decay], [config.warmup_steps])
    return joined


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The optimiser of a config: clipping, then the rule, then the learning rate.

    Args:
      config: the optimiser's.
      steps: after how many a decay of the learning rate ends.

    Returns:
      An optax transformation from gradients to updates.
    """
    schedule = make_schedule(config, steps)
    clipping = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    decayed = (
        [optax.add_decayed_weights(config.weight_decay, mask=_matrices)]
        if config.weight_decay and config.name != "adamw"
        else []
    )
    rules: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adam": lambda: optax.adam(schedule, b1=config.momentum),
        "adamw": lambda: optax.adamw(schedule, b1=config.momentum, weight_decay=config.weight_decay, mask=_matrices),
        "sgd": lambda: optax.sgd(schedule, momentum=config.momentum or None),
        "rmsprop": lambda: optax.rmsprop(schedule, momentum=config.momentum or None),
    }
    return optax.chain(*clipping, *decayed, rules[config.name]())


def _matrices(params: PyTree) -> PyTree:
    return jax.tree.map(lambda param: param.ndim >= 2, params)
