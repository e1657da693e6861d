"""What a batch of u-vector training costs, noise included, and what share of the training step behind it that is."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks._frame import Case, Comparison, Figure
from jaxspk import data, systems
from jaxspk.data import ClassSource, PairSource
from jaxspk.systems import UVectorTraining

_SEGMENTS, _REPEATS = 250, 10
_FRAMES = {"paper": 5, "cpu": 17}
"""Frames of a segment: those of the paper follow each other, those of the other preset overlap."""


def _training(preset: str) -> UVectorTraining:
    """The training of a preset; in the paper's, the compact DenseNet stands for the large one."""
    training = systems.U_VECTOR_PRESETS[preset]().training
    if preset == "cpu":
        return training
    return UVectorTraining(pairwise=training.pairwise, noise=training.noise)


@functools.cache
def _source(preset: str) -> PairSource | ClassSource:
    """Noise instead of voices: what is said makes no difference here."""
    training, rng = _training(preset), np.random.default_rng(0)
    cut, each = training.system.segments, _FRAMES[preset]
    labelled = data.PseudoLabelled(
        frames=rng.normal(scale=0.1, size=(_SEGMENTS * each, cut.frame_samples)).astype(np.float32),
        labels=np.repeat(np.arange(_SEGMENTS), each),
        apart=np.arange(_SEGMENTS),
        protocol="as_described",
    )
    noises = data.generated_noises(8, cut.sample_rate, seed=0)
    if training.twin == "pairwise":
        return PairSource(labelled, training.pairwise.pairs, seed=0, noise=training.noise, noises=noises)
    size = training.classwise
    return ClassSource(labelled, size.classes, size.frames, seed=0, noise=training.noise, noises=noises)


def _processor_seconds(run: Callable[[], Any]) -> float:
    """Of all threads of this process, the least of several turns: other work on the machine does not count."""
    times = []
    for _ in range(1 + _REPEATS):
        start = time.process_time()
        jax.block_until_ready(run())  # type: ignore[no-untyped-call]
        times.append(time.process_time() - start)
    return min(times[1:])


@functools.cache
def _batch_seconds(preset: str) -> float:
    source = _source(preset)
    return _processor_seconds(lambda: source[0])


@functools.cache
def _step_seconds(preset: str) -> float:
    """Features, network, loss and all gradients of one batch."""
    training = _training(preset)
    learner = systems.UVectorLearner(training, classes=_SEGMENTS, rngs=nnx.Rngs(0))
    objective, batch = systems.u_vector_objective(training), jax.device_put(_source(preset)[0])

    @nnx.jit
    def gradients(learner: systems.UVectorLearner, batch: Any) -> Any:
        return nnx.grad(lambda some: objective(some, batch, jax.random.key(0))[0])(learner)

    return _processor_seconds(lambda: jax.tree.leaves(gradients(learner, batch)))


def _figures() -> Sequence[Figure]:
    names = {"paper": "128 pairs, compact DenseNet", "cpu": "240 x 4 frames, band statistics"}
    figures = []
    for preset, name in names.items():
        figures += [
            Figure(name=f"a batch: {name}", measure=functools.partial(_batch_seconds, preset), unit="s"),
            Figure(name=f"a step: {name}", measure=functools.partial(_step_seconds, preset), unit="s"),
            Figure(
                name=f"share of the batch in both: {name}",
                measure=functools.partial(_share, preset),
                unit="%",
                at_most=5.0,
            ),
        ]
    return figures


def _share(preset: str) -> float:
    batch = _batch_seconds(preset)
    return 100 * batch / (batch + _step_seconds(preset))


def _no_cases() -> Sequence[Case]:
    return ()


COMPARISON = Comparison(title="Pairs and classes of frames for u-vectors", cases=_no_cases, figures=_figures, threads=1)
