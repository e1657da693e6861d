"""How time grows with the size of the work, against the ideal: frames, batch, speakers, utterances, trials.

    python -m benchmarks.growth -o docs/results/growth    # table and plot

A number of sizes a kind of work, the shortest of several runs each. How processes and devices scale is told by
``python -m benchmarks.scaling``.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._frame import Run, best_seconds
from jaxspk import losses, metrics, models, reports
from jaxspk._files import write_whole

_RNG_SEED = 0


def _jitted(function: Callable[..., Any], *arguments: Any) -> Run:
    return functools.partial(jax.jit(jax.value_and_grad(function)), *arguments)


def _normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(_RNG_SEED).normal(size=shape), jnp.float32)


def _clustering_loss(frames: int) -> Run:
    """Deep clustering of one segment: linear in the number of bins, although it compares all pairs."""
    bins, dim, sources = 129, 40, 2
    embeddings = _normal(1, frames * bins, dim)
    embeddings = embeddings / jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
    assignments = jax.nn.one_hot(jnp.arange(frames * bins)[None] % sources, sources)
    return _jitted(lambda v: jnp.sum(losses.deep_clustering_loss(v, assignments)), embeddings)


def _prototypical(speakers: int) -> Run:
    """Every speaker against every other."""
    return _jitted(
        lambda x: jnp.mean(losses.angular_prototypical_loss(x, jnp.float32(10.0), jnp.float32(-5.0))),
        _normal(speakers, 2, 512),
    )


def _mining(utterances: int) -> Run:
    """Every pair of a batch against the margin; quadratic, never cubic."""
    labels = jnp.arange(utterances) // 2
    return _jitted(lambda x: jnp.mean(losses.semi_hard_triplet_loss(x, labels, margin=0.2)), _normal(utterances, 128))


def _separation_step(segments: int) -> Run:
    """Network and loss of a small separator, forward and backward."""
    frames, bins = 100, 129
    graph, state = nnx.split(models.EmbeddingNetwork(bins, layers=2, units=100, dim=20, rngs=nnx.Rngs(0)))
    features = _normal(segments, frames, bins)
    assignments = jax.nn.one_hot((features > 0).reshape(segments, -1).astype(int), 2)
    return _jitted(
        lambda state: jnp.sum(losses.deep_clustering_loss(nnx.merge(graph, state)(features), assignments)), state
    )


def _encoder_step(recordings: int) -> Run:
    """A small time-delay encoder, forward and backward, on two seconds each."""
    graph, state = nnx.split(models.SPEAKER_NETWORKS["tdnn"](40, dim=128, width=128, pooling="asp", rngs=nnx.Rngs(0)))
    features = _normal(recordings, 200, 40)
    return _jitted(lambda state: jnp.sum(jnp.square(nnx.merge(graph, state)(features))), state)


def _error_rate(trials: int) -> Run:
    """Equal error rate: sorting, so a little more than linear."""
    rng = np.random.default_rng(_RNG_SEED)
    labels = np.arange(trials) % 10 == 0
    return functools.partial(metrics.equal_error_rate, rng.normal(size=trials) + 2.0 * labels, labels)


WORK: tuple[tuple[str, str, Callable[[int], Run], tuple[int, ...], int], ...] = (
    ("Deep clustering loss", "frames", _clustering_loss, (100, 200, 400, 800, 1600), 1),
    ("Separation step", "segments", _separation_step, (4, 8, 16, 32), 1),
    ("Encoder step", "recordings", _encoder_step, (16, 32, 64, 128), 1),
    ("Angular prototypical", "speakers", _prototypical, (200, 400, 800, 1600), 2),
    ("Semi-hard triplets", "utterances", _mining, (200, 400, 800, 1600), 2),
    ("Equal error rate", "trials", _error_rate, (10_000, 100_000, 1_000_000), 1),
)
"""Name, what its size counts, how it is made, sizes, and the power of the size that time should grow with."""


def measured(work: Sequence[tuple[str, str, Callable[[int], Run], tuple[int, ...], int]]) -> Iterator[reports.Growth]:
    """Times all sizes of all kinds of work."""
    for name, label, make, sizes, power in work:
        seconds = [best_seconds(make(size), turns=7) for size in sizes]
        yield reports.Growth(name=name, size_label=label, sizes=sizes, seconds=seconds, power=power)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes table and plot."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, help="writes OUTPUT.md, OUTPUT.csv and OUTPUT.svg")
    options = parser.parse_args(arguments)
    growths = []
    for growth in measured(WORK):
        growths.append(growth)
        times = ", ".join(
            f"{size:,}: {1e3 * took:.3g} ms" for size, took in zip(growth.sizes, growth.seconds, strict=True)
        )
        print(f"{growth.name} by {growth.size_label}: {times}", flush=True)
    if options.output:
        _write(options.output, growths)
    return 0


def _write(output: Path, growths: Sequence[reports.Growth]) -> None:
    columns = ["Work", "Counted", "Size", "Time (ms)", "Over the ideal"]
    rows = [
        (growth.name, growth.size_label, size, 1e3 * took, took / ideal)
        for growth in growths
        for size, took, ideal in zip(growth.sizes, growth.seconds, growth.ideal, strict=True)
    ]
    figure = reports.growth_curves(growths)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output.with_suffix(".svg"), figure.image)
    reports.write_csv(output.with_suffix(".csv"), columns, rows)
    page = reports.write_results_markdown(
        output.with_suffix(".md"),
        "How time grows",
        [reports.Table(columns, rows, formats={"Size": ",d", "Time (ms)": ".3g", "Over the ideal": ".2f"})],
        reports.provenance(),
        introduction="Loss and gradient, or a score, at growing sizes; the shortest of seven runs each. The ideal is "
        "the power that the method asks for, drawn through the largest size: smaller sizes lie below it where they "
        "fit into the caches, above it where what every call costs shows.\n\n"
        f"![{figure.alt}]({output.with_suffix('.svg').name})",
    )
    print(f"written: {page}")


if __name__ == "__main__":
    sys.exit(main())
